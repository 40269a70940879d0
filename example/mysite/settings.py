"""Settings of the demo, the same for every Django from 3.0 on."""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent

# For the demo only: whoever knows the key can forge a session.
SECRET_KEY = "for-the-demo-only-and-known-to-everybody"

# For the demo only: an error page tells a visitor everything.
DEBUG = True

ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django_asgi_ext",
    "django.contrib.staticfiles",
    "chat",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "mysite.urls"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
            ],
        },
    },
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(BASE_DIR / "db.sqlite3"),
        # In seconds: sessions are written by several threads.
        "OPTIONS": {"timeout": 20},
    }
}

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "chat:lobby"
LOGOUT_REDIRECT_URL = "login"

USE_TZ = True

STATIC_URL = "/static/"

# What is said in a room reaches a browser that was away for a while, too, and
# everybody in it knows who is there.
ASGI_EXT = {
    "GROUPS": {"POLICIES": {"chat.*": {"history": 100, "presence": True}}},
}

# Several workers need a place where they meet.
if "REDIS_URL" in os.environ:
    ASGI_EXT["GROUPS"]["BACKEND"] = "django_asgi_ext.groups.redis.RedisBackend"
    ASGI_EXT["GROUPS"]["LOCATION"] = os.environ["REDIS_URL"]

# Django's own logging goes on; this adds a line for every socket that opens,
# closes or is denied, with the id of the worker's process.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "{asctime} {process} {levelname} {message}", "style": "{"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {"django_asgi_ext": {"handlers": ["console"], "level": "INFO"}},
}
