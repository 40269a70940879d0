"""What is said to whoever begins: docs/errors.md shows it, code and text."""

import functools
import re
import traceback
from importlib.util import find_spec

import pytest
from asgiref.sync import sync_to_async
from browser import require
from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import path
from django.views import View
from documents import ROOT
from project.http import request
from redis_server import free_port

from django_asgi_ext import (
    ASGIHandler,
    GroupsUnavailable,
    WebSocketView,
    groups,
    websocket,
)
from django_asgi_ext.dangers import DANGERS

# What the page leaves out.
IMPORTS = {
    "HttpResponse": HttpResponse,
    "User": User,
    "View": View,
    "WebSocketView": WebSocketView,
    "functools": functools,
    "groups": groups,
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
        *made_by("redis: "),
        *made_by("danger: "),
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
    except (AttributeError, TypeError, ValueError) as error:
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


@pytest.fixture
def no_redis(settings_of_ours):
    """Let groups be those of a Redis that is not there; return its port."""
    require(find_spec("redis"), "redis: pip install redis")
    port = free_port()
    settings_of_ours(
        GROUPS={
            "BACKEND": "django_asgi_ext.groups.redis.RedisBackend",
            "LOCATION": f"redis://127.0.0.1:{port}",
            "POLICIES": {"chat.*": {"history": 100}},
        }
    )
    return port


@pytest.mark.parametrize("how, text", made_by("redis: "))
async def test_redis_is_away(how, text, no_redis, caplog):
    """Who publishes without a Redis, or makes others wait for it, is told so."""
    publish = sync_to_async(groups.publish)
    await publish("chat.lobby", "hello", on_commit=True)
    with pytest.raises(GroupsUnavailable) as raised:
        await publish("chat.lobby", "hello")
    with pytest.warns(RuntimeWarning) as warned:
        groups.publish("news", "hello")
    found = {
        "redis: log": caplog.messages,
        "redis: error": traceback.format_exception_only(raised.value),
        "redis: warning": [f"RuntimeWarning: {each.message}" for each in warned],
    }[how]
    here = text.replace("127.0.0.1:6379", f"127.0.0.1:{no_redis}")
    assert here in [line.strip() for line in found]


@pytest.mark.parametrize("how, text", made_by("danger: "))
def test_groups_in_memory(how, text):
    """Who publishes to groups in memory is told whom that does not reach."""
    danger = DANGERS[int(how.removeprefix("danger: "))]
    assert text == f"{danger.id}: {danger.message} {danger.hint}"


async def _echo(socket, room):
    async for message in socket:
        await socket.send(message)
