"""The Django project that all competitors share, as startproject makes it."""

import os
from typing import Any

import django
from django.conf import settings

HOST = "benchmark.example"
USERNAME = "ada"

# Of django_asgi_ext, None for its default.
THREADS = int(os.environ.get("BENCHMARK_THREADS", 0)) or None

# The URL of what carries groups to other processes, None if nothing does.
REDIS = os.environ.get("BENCHMARK_REDIS")

# By which PostgreSQL knows a competitor.
APPLICATION_NAME = "competitor"

# As startproject writes it.
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]


def configure(app: str | None = None) -> None:
    """Configure Django, with the app of one competitor."""
    settings.configure(
        SECRET_KEY="only for benchmarks",
        ALLOWED_HOSTS=[HOST],
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "django.contrib.staticfiles",
            *([app] if app else []),
        ],
        MIDDLEWARE=MIDDLEWARE,
        ROOT_URLCONF="competitors.urls",
        DATABASES={"default": _database()},
        # Django's would mail what goes wrong. Without any it is on stderr.
        LOGGING_CONFIG=None,
        # How long a handshake takes is another matter than what comes of it.
        ASGI_EXT={"THREADS": THREADS, "OPEN_TIMEOUT": 60, "GROUPS": _groups()},
        # What is dangerous about the servers as they are run here is known, and that
        # some benchmarks have none.
        SILENCED_SYSTEM_CHECKS=["asgi_ext.W101", "asgi_ext.W102", "asgi_ext.W121"],
        CHANNEL_LAYERS={"default": _channel_layer()},
        TIME_ZONE="UTC",
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    )


def _groups() -> dict[str, Any]:
    if REDIS is None:
        return {}
    backend = "django_asgi_ext.groups.redis.RedisBackend"
    return {"BACKEND": backend, "LOCATION": REDIS}


def _channel_layer() -> dict[str, Any]:
    if REDIS is None:
        return {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    layer = "channels_redis.pubsub.RedisPubSubChannelLayer"
    return {"BACKEND": layer, "CONFIG": {"hosts": [REDIS]}}


def _database() -> dict[str, Any]:
    if "BENCHMARK_POSTGRES_PORT" not in os.environ:
        name = os.environ.get("BENCHMARK_DATABASE", ":memory:")
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": name}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": "127.0.0.1",
        "PORT": os.environ["BENCHMARK_POSTGRES_PORT"],
        "USER": "postgres",
        "NAME": "postgres",
        "CONN_MAX_AGE": int(os.environ.get("BENCHMARK_CONN_MAX_AGE", 0)),
        "OPTIONS": {"application_name": APPLICATION_NAME},
    }


def make_database(path: str) -> str:
    """Make an SQLite database with a user who is logged in, as fill_database()."""
    os.environ["BENCHMARK_DATABASE"] = path
    return fill_database()


def fill_database() -> str:
    """Make the tables and a user who is logged in; return the Cookie header."""
    configure()
    django.setup()

    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.db import connections
    from django.test import Client

    call_command("migrate", verbosity=0, skip_checks=True)
    client = Client()
    client.force_login(User.objects.create_user(USERNAME))
    connections.close_all()
    return f"{settings.SESSION_COOKIE_NAME}={client.cookies['sessionid'].value}"


def more_cookies(number: int) -> list[str]:
    """Log the user in as many times more; return the Cookie headers."""
    from django.contrib.sessions.models import Session
    from django.db import connections

    login = Session.objects.get()
    logins = [
        Session(
            session_key=f"{login.session_key[:24]}{index:08}",
            session_data=login.session_data,
            expire_date=login.expire_date,
        )
        for index in range(number)
    ]
    Session.objects.bulk_create(logins)
    connections.close_all()
    return [f"{settings.SESSION_COOKIE_NAME}={one.session_key}" for one in logins]
