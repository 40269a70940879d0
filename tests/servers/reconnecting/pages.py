"""The project whose pages use the browser client, and its WebSockets."""

import asyncio
import json
import os
import secrets
from pathlib import Path

os.environ["DJANGO_SETTINGS_MODULE"] = "pages_settings"

from django.contrib.staticfiles.views import serve
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.template import engines
from django.urls import path
from documents import blocks

from django_asgi_ext import get_asgi_application, groups, websocket

PAGE = Path(__file__).with_name("page.html").read_text()
WORKER = """
import { ReconnectingWebSocket } from "/static/django_asgi_ext/websocket.js";
const socket = new ReconnectingWebSocket("/ws/echo/");
socket.onmessage = ({ data }) => postMessage(data);
socket.send("hello");
"""


def page(request):
    """Show a page that lets nothing run but scripts with the nonce of this response."""
    request.csp_nonce = secrets.token_urlsafe()
    html = engines["django"].from_string(PAGE).render({"request": request})
    response = HttpResponse(html)
    response["Content-Security-Policy"] = (
        f"script-src 'nonce-{request.csp_nonce}'; worker-src 'self'; connect-src 'self'"
    )
    return response


def worker(request):
    """Show a worker what it echoes with."""
    return HttpResponse(WORKER, content_type="text/javascript")


def documented(request):
    """Show the page of docs/browser.md."""
    [html] = blocks("docs/browser.md", "html")
    return HttpResponse(engines["django"].from_string(html).render())


def static_file(request, name):
    return serve(request, name, insecure=True)


@websocket
async def echo(socket):
    async for message in socket:
        await socket.send(message)


@websocket
async def silent(socket):
    """Say nothing; the log tells that somebody has come, and how they left."""
    name = socket.request.GET.get("name")
    await socket.accept()
    print(f"{name} CAME", flush=True)
    async for message in socket:
        print(f"{name} SAID {message}", flush=True)
    print(f"{name} LEFT {socket.close_code}", flush=True)


@websocket
async def close(socket, code):
    """Close with a code as soon as there is a message."""
    await socket.recv()
    await socket.close(code, "because")


@websocket
async def denied(socket):
    raise PermissionDenied


@websocket
async def hanging(socket):
    """Neither accept nor deny."""
    await asyncio.Event().wait()


@websocket
async def history(socket):
    """Say from where the peer goes on, and then the texts that it asks for."""
    query = socket.request.GET
    await socket.send_json({"last_id": query.getlist("last_id"), "query": query["q"]})
    async for message in socket:
        for text in json.loads(message):
            await socket.send(text)


@websocket(group="kept.{room}")
async def kept(socket, room):
    """Cut the peer off when it says so, and then publish what it has not heard."""
    await socket.recv()
    await socket.leave(f"kept.{room}")
    await groups.apublish(f"kept.{room}", "missed")
    await socket.close(1012)


@websocket(subprotocols=["chat.v2"])
async def subprotocol(socket):
    await socket.recv()


urlpatterns = [
    path("page/", page),
    path("rooms/lobby/", page),
    path("documented/", documented),
    path("ws/chat/lobby/", echo),
    path("worker.js", worker),
    path("static/<path:name>", static_file),
    path("ws/echo/", echo),
    path("ws/silent/", silent),
    path("ws/close/<int:code>/", close),
    path("ws/denied/", denied),
    path("ws/hanging/", hanging),
    path("ws/history/", history),
    path("ws/kept/<room>/", kept),
    path("ws/subprotocol/", subprotocol),
]

application = get_asgi_application()
