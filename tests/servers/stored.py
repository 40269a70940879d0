"""The project whose views work with a database."""

import os
import time

os.environ["DJANGO_SETTINGS_MODULE"] = "stored_settings"

from asgiref.sync import sync_to_async
from django.db import Error, connection
from django.urls import path

from django_asgi_ext import get_asgi_application, websocket


def query(seconds):
    """Make a query that takes some seconds."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_sleep(%s)", [seconds])
        else:
            cursor.execute("SELECT 1")
            time.sleep(seconds)


@websocket
async def querying(socket):
    """Make a query for each message, which says how long, and say how it went."""
    async for seconds in socket:
        try:
            await sync_to_async(query)(float(seconds))
        except Error:
            await socket.send("failed")
        else:
            await socket.send("done")


@websocket
async def echo(socket):
    """Make no query."""
    async for message in socket:
        await socket.send(message)


urlpatterns = [path("querying/", querying), path("echo/", echo)]

application = get_asgi_application()
