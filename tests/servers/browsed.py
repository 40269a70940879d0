"""The project that a browser looks at: a page, and WebSockets for its scripts."""

import asyncio
import functools
import os
from pathlib import Path

os.environ["DJANGO_SETTINGS_MODULE"] = "browsed_settings"

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.urls import path
from django.views.decorators.cache import never_cache

from django_asgi_ext import get_asgi_application, websocket

PAGE = Path(__file__).with_name("browsed.html").read_bytes()


def page(request):
    return HttpResponse(PAGE)


@websocket
async def echo(socket):
    async for message in socket:
        await socket.send(message)


@websocket(subprotocols=["v2", "v1"])
async def subprotocol(socket):
    await socket.send(str(socket.subprotocol))


@websocket
async def cookie(socket):
    """Send a cookie with the 101, and say which one the peer had."""
    await socket.accept(headers={"Set-Cookie": "color=green; Path=/"})
    await socket.send(socket.request.COOKIES.get("color", "none"))


def count_visits(view):
    """Count the handshakes of a session, before the answer to each."""

    @functools.wraps(view)
    def counting(request):
        request.session["visits"] = request.session.get("visits", 0) + 1
        return view(request)

    return counting


@count_visits
@websocket
async def visits(socket):
    await socket.send(str(socket.session["visits"]))


@websocket
async def denial(socket, kind):
    """Deny the handshake in the way that the URL says."""
    if kind == "forbidden":
        raise PermissionDenied
    if kind == "missing":
        raise Http404
    if kind == "raise":
        raise ValueError("no")
    return HttpResponse(status=401)


@websocket(max_message_size=1000)
async def ending(socket, kind):
    """End after accepting, in the way that the URL says."""
    await socket.accept()
    if kind == "raise":
        raise ValueError("no")
    if kind == "forbidden":
        raise PermissionDenied
    if kind == "json":
        await socket.recv_json()
    if kind == "big":
        await socket.recv()


@websocket
async def close(socket):
    """Close with the code and the reason that the peer wants."""
    code, reason = await socket.recv_json()
    await socket.close(code, reason)


@websocket
async def left(socket, name):
    """Say how the peer has left."""
    async for _ in socket:
        pass
    print(f"{name} LEFT {socket.close_code} {socket.close_reason!r}", flush=True)


@websocket
async def busy(socket, name):
    """Never look at the socket."""
    await socket.send("ready")
    try:
        await asyncio.sleep(60)
    finally:
        print(f"{name} ENDED", flush=True)


@websocket
async def push(socket, number, size):
    """Send numbered messages as fast as the peer takes them."""
    for index in range(number):
        await socket.send(str(index).ljust(size))


@websocket
async def count(socket):
    """Count the bytes that come until the first text."""
    total = 0
    async for message in socket:
        if isinstance(message, str):
            await socket.send(str(total))
        total += len(message)


urlpatterns = [
    # Browsers keep other pages for the way back, and their WebSockets open.
    path("page/", never_cache(page)),
    path("kept-page/", page),
    path("echo/", echo),
    path("everybody/", websocket(echo.__wrapped__, origins=["*"])),
    path("subprotocol/", subprotocol),
    path("cookie/", cookie),
    path("visits/", visits),
    path("denial/<slug:kind>/", denial),
    path("members/", login_required(echo)),
    path("ending/<slug:kind>/", ending),
    path("close/", close),
    path("left/<slug:name>/", left),
    path("busy/<slug:name>/", busy),
    path("push/<int:number>/<int:size>/", push),
    path("count/", count),
]

application = get_asgi_application()
