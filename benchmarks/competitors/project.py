"""The Django project that all competitors share, as startproject makes it."""

import os

import django
from django.conf import settings

HOST = "benchmark.example"
USERNAME = "ada"


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
        MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
            "django.middleware.clickjacking.XFrameOptionsMiddleware",
        ],
        ROOT_URLCONF="competitors.urls",
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": os.environ.get("BENCHMARK_DATABASE", ":memory:"),
            }
        },
        TIME_ZONE="UTC",
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    )


def make_database(path: str) -> str:
    """Make a database with a user who is logged in; return the Cookie header."""
    os.environ["BENCHMARK_DATABASE"] = path
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
