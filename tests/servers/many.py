"""The project that many peers are connected to when its server shuts down."""

import asyncio
import json
import os
from collections import Counter
from contextlib import asynccontextmanager

os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"

from django.conf import settings
from django.urls import path

from django_asgi_ext import get_asgi_application, websocket

settings.ROOT_URLCONF = "many"
# The handshakes are not what matters here.
settings.MIDDLEWARE = []
settings.ASGI_EXT = {"OPEN_TIMEOUT": 30}

ended = Counter()


@asynccontextmanager
async def lifespan():
    """Say at the end which views have ended by then."""
    yield
    print(f"SHUTDOWN {json.dumps(ended)}", flush=True)


@websocket
async def waiting(socket):
    """Wait for messages."""
    try:
        async for _ in socket:
            pass
    finally:
        ended["waiting"] += 1


@websocket
async def pushing(socket):
    """Only send."""
    try:
        while True:
            await socket.send("tick")
            await asyncio.sleep(1)
    finally:
        ended["pushing"] += 1


@websocket
async def busy(socket):
    """Never look at the socket."""
    await socket.accept()
    try:
        await asyncio.sleep(3600)
    finally:
        ended["busy"] += 1


@websocket
async def cleaning_up(socket):
    """Take a moment to clean up."""
    try:
        async for _ in socket:
            pass
    finally:
        await asyncio.sleep(0.3)
        ended["cleaning_up"] += 1


VIEWS = [waiting, pushing, busy, cleaning_up]

urlpatterns = [path(view.__name__, view) for view in VIEWS]

application = get_asgi_application(lifespan=lifespan)
