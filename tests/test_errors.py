"""What is said to whoever begins: docs/errors.md shows it, code and text."""

import functools
import re
import traceback

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import path
from django.views import View
from documents import ROOT
from project.http import request

from django_asgi_ext import ASGIHandler, WebSocketView, websocket

# What the page leaves out.
IMPORTS = {
    "HttpResponse": HttpResponse,
    "User": User,
    "View": View,
    "WebSocketView": WebSocketView,
    "functools": functools,
    "path": path,
    "websocket": websocket,
}

TARGET = "/ws/chat/lobby/"

HANDSHAKE = {
    "connection": "keep-alive, Upgrade",
    "upgrade": "websocket",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-version": "13",
}


def shown():
    """Yield each text of the page, with its title and what makes it."""
    title = made_by = None
    for heading, comment, language, block in re.findall(
        r"^##+ ([^\n]*)$|^<!-- ([^\n]*) -->$|^```(\w+)\n(.*?)\n```$",
        (ROOT / "docs/errors.md").read_text(),
        re.M | re.S,
    ):
        if heading:
            title, made_by = heading, None
        elif language == "text":
            yield title, made_by, block
        else:
            made_by = comment or block


def made_by(begin):
    """Return the texts whose code or comment begins so."""
    return [
        pytest.param(how, text, id=title)
        for title, how, text in shown()
        if how.startswith(begin)
    ]


def test_all_is_tested():
    """Each text of the page stands below what makes it."""
    tested = [
        *made_by("# chat/views.py\n"),
        *made_by("# mysite/asgi.py\n"),
        *made_by("handshake: "),
    ]
    assert len(tested) == len(list(shown())) > 30


def run(code):
    """Run the code of a chat/views.py and return its urlpatterns."""
    module = {"__name__": "chat.views", **IMPORTS}
    exec(compile(code, "chat/views.py", "exec"), module)
    chat = path("ws/chat/<slug:room>/", module["chat"]) if "chat" in module else None
    return module.get("urlpatterns", [chat])


async def said(code, caplog, connect, urls):
    """Return all that is said of a chat/views.py until its peer has left."""
    try:
        urls(*run(code))
    except (AttributeError, TypeError) as error:
        return traceback.format_exception_only(error)
    with override_settings(DEBUG=True):
        peer = connect(TARGET)
        await peer.send_input({"type": "websocket.connect"})
        await peer.say("hello")
        await peer.leave()
    texts = []
    for record in caplog.records:
        texts.append(record.getMessage())
        if record.exc_info:
            texts += traceback.format_exception_only(record.exc_info[1])
    return texts


@pytest.mark.parametrize("code, text", made_by("# chat/views.py\n"))
async def test_view(code, text, caplog, connect, urls):
    """Who makes a mistake in a view is told so, and what to do."""
    assert text in [line.strip() for line in await said(code, caplog, connect, urls)]


@pytest.mark.parametrize("code, text", made_by("# mysite/asgi.py\n"))
def test_asgi_module(code, text, project):
    """Who has left the import in asgi.py is warned by manage.py check."""
    project(code)
    with override_settings(WSGI_APPLICATION="mysite.wsgi.application"):
        found = [f"{warning.msg} {warning.hint}" for warning in run_checks()]
    assert text in found


@pytest.mark.parametrize("how, text", made_by("handshake: "))
@pytest.mark.parametrize("debug", [False, True])
async def test_handshake_as_plain_http(how, text, debug, caplog, urls):
    """A handshake that comes as plain HTTP is told from other requests, and why."""
    urls(path("ws/chat/<slug:room>/", websocket(_echo)))
    what, _, detail = how.removeprefix("handshake: ").partition(" ")
    with override_settings(DEBUG=debug, WSGI_APPLICATION="mysite.wsgi.application"):
        if what in ("wsgi", "runserver"):
            name = "WSGIServer/0.2" if what == "runserver" else "gunicorn/27"
            response = await sync_to_async(Client(SERVER_SOFTWARE=name).get)(
                TARGET, HTTP_UPGRADE="websocket"
            )
            status, body = response.status_code, response.content.decode()
        else:
            headers = {k: v for k, v in HANDSHAKE.items() if k != detail}
            version = what.removeprefix("HTTP/") if "/" in what else "1.1"
            status, _, body = await request(
                ASGIHandler(), TARGET, headers=headers, http_version=version
            )
    (record,) = caplog.records
    assert (status, record.getMessage()) == (426, text)
    why = text.partition("(")[2].removesuffix(")")
    told = f"{why}\n" if debug else ""
    assert body == f"This URL is for WebSocket connections.\n{told}"


async def _echo(socket, room):
    async for message in socket:
        await socket.send(message)
