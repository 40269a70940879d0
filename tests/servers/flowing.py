"""The project whose peers send too much, or read too little."""

import asyncio
import os

os.environ["DJANGO_SETTINGS_MODULE"] = "flowing_settings"

from django.urls import path

from django_asgi_ext import ConnectionClosed, get_asgi_application, websocket


@websocket
async def deaf(socket):
    """Never receive."""
    await socket.accept()
    try:
        await asyncio.sleep(60)
    finally:
        print("DEAF ENDED", flush=True)


@websocket
async def slow(socket):
    """Receive less than the peer sends."""
    async for _ in socket:
        await asyncio.sleep(0.01)


@websocket
async def pushing(socket):
    """Send more than the peer reads."""
    print("PUSHING", flush=True)
    message, sent = b"x" * 65536, 0
    try:
        while True:
            await socket.send(message)
            sent += 1
    except ConnectionClosed as error:
        print(f"PUSHING ENDED {error.code} after {sent}", flush=True)
        raise


@websocket
async def fan_out(socket):
    """Send in a task, as to a member of a group, while another one receives."""

    async def push():
        while True:
            await socket.send(b"x" * 65536)

    pushing = asyncio.ensure_future(push())
    try:
        await socket.recv()
    except ConnectionClosed as error:
        print(f"FAN OUT ENDED {error.code}", flush=True)
    finally:
        pushing.cancel()


urlpatterns = [
    path("deaf/", deaf),
    path("slow/", slow),
    path("pushing/", pushing),
    path("fan-out/", fan_out),
]

application = get_asgi_application()
