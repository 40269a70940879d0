"""What the first connection says about the server it comes by."""

import os
import re
import socket
import time

import h2.connection
import h2.events
import pytest
from serving import ENVIRONMENT, Server
from websockets.asyncio.client import connect

from django_asgi_ext.deployment import dangers_of

APPLICATION = """
import os

os.environ["DJANGO_SETTINGS_MODULE"] = "deployed_settings"

from django.urls import path

from django_asgi_ext import get_asgi_application, websocket


@websocket
async def echo(socket):
    async for message in socket:
        await socket.send(message)


urlpatterns = [path("echo/", echo)]
application = get_asgi_application()


async def wrapped(scope, receive, send):
    async def send_on(event):
        await send(event)

    await application(scope, receive, send_on)
"""

SETTINGS = """
from project.settings import *

ROOT_URLCONF = "deployed"
"""

NO_PINGS, TOO_SMALL, TOO_SHORT = "W102", "W103", "W104"
HTTP_2, SMALL_HEADERS, CONCURRENCY, UNPACKS = "W111", "W121", "W122", "W123"
ROOT_PATH, CONNECT_TIMEOUT = "W131", "W132"
UNKNOWN = "W101"

# What each server warns of as it comes.
DEFAULT = {
    "hypercorn": [NO_PINGS],
    "uvicorn": [SMALL_HEADERS],
    "granian": [NO_PINGS],
    "daphne": [ROOT_PATH],
    "gunicorn": [NO_PINGS],
}

IDLE_TIMEOUT = 'ASGI_EXT = {"IDLE_TIMEOUT": 60}\n'

# Its remedy for that: options, settings, environment.
REMEDIES = {
    "hypercorn": (["--websocket-ping-interval", "20"], "", {}),
    "uvicorn": (
        [],
        "",
        {
            "WEBSOCKETS_MAX_LINE_LENGTH": "65536",
            "WEBSOCKETS_MAX_NUM_HEADERS": "1024",
        },
    ),
    "granian": ([], IDLE_TIMEOUT, {}),
    "daphne": ([], 'FORCE_SCRIPT_NAME = "/site"\n', {}),
    "gunicorn": ([], IDLE_TIMEOUT, {}),
}

# Options and settings that are dangerous, and what is said of them.
MISTAKES = {
    "hypercorn": (
        ["--config", "small.toml"],
        "",
        [NO_PINGS, TOO_SMALL],
    ),
    "uvicorn": (
        [
            *("--ws", "wsproto"),
            *("--ws-ping-interval", "0"),
            *("--ws-max-size", "1000"),
            *("--timeout-graceful-shutdown", "1"),
            *("--limit-concurrency", "100"),
        ],
        "",
        [NO_PINGS, TOO_SMALL, TOO_SHORT, CONCURRENCY, UNPACKS],
    ),
    "granian": (
        [],
        'ASGI_EXT = {"MAX_MESSAGE_SIZE": 20_000_000}\n',
        [NO_PINGS, TOO_SMALL],
    ),
    "daphne": (
        ["--websocket-max-frame-size", "1000", "--websocket_connect_timeout", "2"],
        "",
        [TOO_SMALL, ROOT_PATH, CONNECT_TIMEOUT],
    ),
    "gunicorn": (
        ["--websocket-max-message-size", "1000", "--graceful-timeout", "1"],
        "",
        [NO_PINGS, TOO_SMALL, TOO_SHORT],
    ),
}


@pytest.fixture
def start(tmp_path):
    """Start servers with a project of their own, and stop them in the end."""
    servers = []
    path = os.pathsep.join([str(tmp_path), ENVIRONMENT["PYTHONPATH"]])
    (tmp_path / "deployed.py").write_text(APPLICATION)
    (tmp_path / "small.toml").write_text("websocket_max_message_size = 1000\n")

    def start(name, *options, settings="", environment=None, application="application"):
        (tmp_path / "deployed_settings.py").write_text(SETTINGS + settings)
        environment = {"PYTHONPATH": path, **(environment or {})}
        servers.append(
            Server(name, f"deployed:{application}", tmp_path, environment, *options)
        )
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


async def connect_twice(server, path="/echo/"):
    """Let two peers connect and talk, one after the other."""
    for _ in range(2):
        async with connect(server.url(path), proxy=None) as websocket:
            await websocket.send("hello")
            assert await websocket.recv() == "hello"


def warned(server):
    """Return the numbers of what the server has logged, in order."""
    return re.findall(r"asgi_ext\.(W\d+): ", server.log)


@pytest.mark.parametrize("name", DEFAULT)
async def test_default(start, name):
    """As a server comes, the first connection logs its dangers, and no other does."""
    server = start(name)
    await connect_twice(server)
    assert warned(server) == DEFAULT[name]
    for danger in dangers_of(name):
        if danger.id.endswith(tuple(DEFAULT[name])):
            assert f"{danger.id}: {danger.message} {danger.hint}\n" in server.log


@pytest.mark.parametrize("name", REMEDIES)
async def test_remedy(start, name):
    """With the remedy nothing is logged."""
    options, settings, environment = REMEDIES[name]
    server = start(name, *options, settings=settings, environment=environment)
    path = "/site/echo/" if "SCRIPT_NAME" in settings else "/echo/"
    await connect_twice(server, path)
    assert warned(server) == []


@pytest.mark.parametrize("name", MISTAKES)
async def test_mistakes(start, name):
    """The server's own options are what is looked at."""
    options, settings, expected = MISTAKES[name]
    server = start(name, *options, settings=settings)
    await connect_twice(server)
    assert warned(server) == expected


@pytest.mark.parametrize("name", DEFAULT)
async def test_silenced(start, name):
    """SILENCED_SYSTEM_CHECKS silences what it names."""
    silenced = [f"asgi_ext.{number}" for number in DEFAULT[name]]
    server = start(name, settings=f"SILENCED_SYSTEM_CHECKS = {silenced}\n")
    await connect_twice(server)
    assert warned(server) == []


async def test_compression_with_wsproto(start):
    """Uvicorn with wsproto is dangerous as long as it takes compressed messages."""
    server = start("uvicorn", "--ws", "wsproto")
    await connect_twice(server)
    assert warned(server) == [UNPACKS]


async def test_no_compression_on_uvicorn(start):
    """Uvicorn with wsproto and without compression is not dangerous."""
    server = start("uvicorn", "--ws", "wsproto", "--ws-per-message-deflate", "false")
    await connect_twice(server)
    assert warned(server) == []


@pytest.mark.parametrize("name", DEFAULT)
async def test_middleware_that_wraps_send(start, name):
    """A server behind ASGI middleware that replaces send() is not known."""
    server = start(name, application="wrapped")
    async with connect(server.url("/echo/"), proxy=None) as websocket:
        await websocket.send("hello")
        assert await websocket.recv() == "hello"
    assert warned(server) == [UNKNOWN]


def test_http_2(start):
    """A WebSocket over HTTP/2 is dangerous, without TLS as well."""
    server = start("hypercorn", settings=IDLE_TIMEOUT)
    connection = h2.connection.H2Connection()
    connection.initiate_connection()
    headers = {
        ":method": "CONNECT",
        ":protocol": "websocket",
        ":scheme": "http",
        ":path": "/echo/",
        ":authority": f"127.0.0.1:{server.port}",
        "sec-websocket-version": "13",
    }
    with socket.create_connection(("127.0.0.1", server.port), 5) as wire:
        wire.sendall(connection.data_to_send())
        connection.send_headers(1, list(headers.items()))
        wire.sendall(connection.data_to_send())
        deadline = time.monotonic() + 10
        events = []
        while not any(isinstance(e, h2.events.ResponseReceived) for e in events):
            assert time.monotonic() < deadline, server.log
            events = connection.receive_data(wire.recv(65536))
    assert warned(server) == [HTTP_2]
