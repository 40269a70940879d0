"""The project whose WebSocket URLs a browser opens, with DEBUG on."""

import asyncio
import os
from collections import Counter

os.environ["DJANGO_SETTINGS_MODULE"] = "consoled_settings"

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.urls import path

from django_asgi_ext import get_asgi_application, websocket

HEADER = "Content-Security-Policy"

# What middleware of a project may do with the header, by the query of the page.
POLICIES = {
    "fill": "default-src 'none'; connect-src 'self'",
    "replace": "default-src 'self'",
    "add": "default-src 'self'",
    "forbid": "default-src 'none'; connect-src 'self'",
    "unconnected": "default-src 'self'; connect-src 'none'",
}


def policies(get_response):
    """Set a Content-Security-Policy, as the query says."""

    def middleware(request):
        response = get_response(request)
        kind = request.GET.get("policy")
        if kind == "fill":
            response.setdefault(HEADER, POLICIES[kind])
        elif kind == "add":
            response[HEADER] = f"{response.get(HEADER, '')}, {POLICIES[kind]}"
        elif kind in POLICIES:
            response[HEADER] = POLICIES[kind]
        return response

    return middleware


@websocket(subprotocols=["chat.v2", "chat.v1"], max_message_size=1000)
async def echo(socket, room="lobby"):
    """
    Say everything again.

    <b>A room</b> has no walls & no memory.
    """
    async for message in socket:
        await socket.send(message)


@websocket
async def hello(socket):
    """Say what the handshake was."""
    request = socket.request
    await socket.send(request.META["QUERY_STRING"])
    await socket.send(request.headers.get("Sec-WebSocket-Protocol", "none"))
    await socket.recv()


@websocket
async def say(socket):
    """Send what the peer wants, as it is."""
    async for message in socket:
        number, text = message.split(" ", 1)
        for _ in range(int(number)):
            await socket.send(text)


@websocket
async def close(socket):
    """Close with the code and the reason that the peer wants."""
    code, reason = await socket.recv_json()
    if code == 1011:
        raise ValueError("no")
    if code == 1008:
        raise PermissionDenied
    await socket.close(code, reason)


@websocket
async def refuse(socket):
    return HttpResponse(status=403)


@websocket
async def slow(socket):
    """Take as long for the handshake as is allowed."""
    await asyncio.sleep(60)


@websocket
async def left(socket):
    """Say how the peer has left."""
    async for _ in socket:
        pass
    print(f"LEFT {socket.close_code}", flush=True)


attempts: Counter = Counter()


@websocket
async def restart(socket, name):
    """Go away at first, then refuse twice, then stay."""
    attempts[name] += 1
    if attempts[name] == 1:
        await socket.accept()
        await socket.close(1012)
    elif attempts[name] > 3:
        async for message in socket:
            await socket.send(message)


urlpatterns = [
    path("echo/", echo),
    path("echo/<str:room>/", echo, name="echo"),
    path("members/", login_required(echo)),
    path("hello/", hello),
    path("say/", say),
    path("close/", close),
    path("refuse/", refuse),
    path("slow/", slow),
    path("left/", left),
    path("restart/<slug:name>/", restart),
    path("accounts/login/", lambda request: HttpResponse("Log in")),
]

application = get_asgi_application()
