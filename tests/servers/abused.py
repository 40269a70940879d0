"""The project that is abused, and what its process holds."""

import asyncio
import ctypes
import gc
import json
import os
import time
from collections import Counter

os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"

from asgiref.sync import sync_to_async
from django.conf import settings
from django.http import HttpResponse
from django.urls import path

from django_asgi_ext import get_asgi_application, websocket
from django_asgi_ext.websockets import inbox
from django_asgi_ext.websockets.connection import WebSocket
from django_asgi_ext.websockets.connections import connections
from django_asgi_ext.websockets.request import WebSocketRequest
from django_asgi_ext.websockets.running import RunningView
from django_asgi_ext.websockets.transport import Transport

THREADS = 6
MAX_MESSAGE_SIZE = 100_000

settings.ROOT_URLCONF = "abused"
settings.MIDDLEWARE = [*settings.MIDDLEWARE, "abused.slow_middleware"]
settings.ASGI_EXT = {
    "MAX_MESSAGE_SIZE": MAX_MESSAGE_SIZE,
    "THREADS": THREADS,
    "OPEN_TIMEOUT": 20,
    "CLOSE_TIMEOUT": 2,
}
settings.LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}
# Half a minute is too long to wait for at the end of each round.
inbox.FULL_TIMEOUT = 1

OF_A_CONNECTION = {WebSocket, WebSocketRequest, RunningView, Transport, inbox.Inbox}


@websocket
async def echo(socket):
    async for message in socket:
        await socket.send(message)


@websocket
async def busy(socket):
    """Never look at the socket."""
    await socket.accept()
    await asyncio.sleep(3600)


@websocket
async def pushing(socket):
    """Only send."""
    while True:
        await socket.send("x" * 65536)


@websocket
async def closing(socket):
    await socket.accept()
    await socket.close(4000, "enough")


@websocket
async def in_thread(socket):
    """Wait for a thread at each message."""
    async for message in socket:
        await sync_to_async(time.sleep)(0.2)
        await socket.send(message)


@websocket
async def parsing(socket):
    while True:
        await socket.send_json(await socket.recv_json())


@websocket
async def user(socket):
    await socket.send(str(socket.user))
    await socket.recv()


@websocket
async def denial(socket):
    return HttpResponse("no" * 1000, status=418)


urlpatterns = [
    path("echo/", echo),
    path("busy/", busy),
    path("pushing/", pushing),
    path("closing/", closing),
    path("in-thread/", in_thread),
    path("parsing/", parsing),
    path("user/", user),
    path("denial/", denial),
    path("slow/", echo),
]


def slow_middleware(get_response):
    """Middleware that takes its time for one path."""

    def middleware(request):
        if request.path == "/slow/":
            time.sleep(0.1)
        return get_response(request)

    return middleware


def held():
    """Count what this process holds."""
    gc.collect()
    # What is free goes back to the system, so that the rest can be compared.
    ctypes.CDLL(None).malloc_trim(0)
    objects = gc.get_objects()
    with open("/proc/self/statm") as statm:
        pages = int(statm.read().split()[1])
    return {
        "tasks": Counter(task.get_coro().__qualname__ for task in asyncio.all_tasks()),
        "threads": len(os.listdir("/proc/self/task")),
        "files": len(os.listdir("/proc/self/fd")),
        "connections": connections().number,
        "sockets": sum(type(thing) in OF_A_CONNECTION for thing in objects),
        "objects": len(objects),
        "kilobytes": pages * os.sysconf("SC_PAGE_SIZE") // 1024,
    }


async def report(scope, receive, send):
    """Answer every HTTP request with what the process holds."""
    body = json.dumps(held()).encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


# Last, for it loads the middleware above. HTTP takes no way through Django, whose
# threads would be counted.
application = get_asgi_application(protocols={"http": report})
