"""A project as startproject makes it, with pages: fused, as Django, and over WSGI."""

import asyncio
import os

import django
from django.conf import settings
from django.core.asgi import get_asgi_application as get_stock_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

from competitors.project import MIDDLEWARE

settings.configure(
    SECRET_KEY="only for benchmarks",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
    ],
    MIDDLEWARE=MIDDLEWARE,
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "postgres",
            "USER": "postgres",
            "HOST": "127.0.0.1",
            "PORT": os.environ.get("PAGES_PORT", ""),
            "CONN_MAX_AGE": 60,
        }
    },
)
django.setup(set_prefix=False)

from django.db import connection  # noqa: E402

from django_asgi_ext import get_asgi_application  # noqa: E402


def page(request):
    return HttpResponse("x" * 1000)


async def async_page(request):
    return HttpResponse("x" * 1000)


def query(request):
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return HttpResponse(str(cursor.fetchone()))


async def sleep(request):
    await asyncio.sleep(1)
    return HttpResponse("x")


async def events(request):
    async def stream():
        yield "data: 1\n\n"
        await asyncio.sleep(3600)

    return StreamingHttpResponse(stream(), content_type="text/event-stream")


urlpatterns = [
    path("page/", page),
    path("async/", async_page),
    path("query/", query),
    path("sleep/", sleep),
    path("events/", events),
]

fused = get_asgi_application()
stock = get_stock_application()
wsgi = get_wsgi_application()
