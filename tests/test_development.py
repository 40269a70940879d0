"""The server of runserver, and the lines that it logs."""

import gc
import logging
import re
import socket
import threading
from contextlib import contextmanager
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.servers.basehttp import run
from django.http import HttpResponse
from django.urls import path
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as connect_to

from django_asgi_ext import ASGIHandler, deployment, websocket
from django_asgi_ext.development import log, server
from django_asgi_ext.development.server import DevelopmentServer
from django_asgi_ext.management.commands.runserver import Command
from django_asgi_ext.signals import websocket_connected, websocket_disconnected

open_url = build_opener(ProxyHandler({})).open


@pytest.fixture(autouse=True)
def in_development(monkeypatch):
    """Leave the signals and the warnings of this process as they were."""
    monkeypatch.setattr(deployment, "_has_warned", False)
    yield
    websocket_connected.disconnect(log._log_connected)
    websocket_disconnected.disconnect(log._log_disconnected)


@pytest.fixture
def lines(caplog):
    """Return what is logged, each line with its level and status."""
    log.logger.addHandler(caplog.handler)
    caplog.set_level(logging.INFO, "django.server")

    def lines():
        return [
            (record.levelname, vars(record).get("status_code"), record.getMessage())
            for record in caplog.records
            if record.name == "django.server"
        ]

    yield lines
    log.logger.removeHandler(caplog.handler)


# Of Django's older releases, which leave a file of each request open.
leaves_files_open = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)


@contextmanager
def running(application, address=("127.0.0.1", 0), ipv6=False):
    """Run the server in a thread, and stop it."""
    development = DevelopmentServer(address, ipv6)
    development.set_app(application)
    thread = threading.Thread(target=development.serve_forever)
    thread.start()
    try:
        yield development
    finally:
        development.stop()
        thread.join(10)
        assert not thread.is_alive()
        # For the mark above.
        gc.collect()


@websocket
async def echo(socket):
    async for message in socket:
        await socket.send(message)


def page(request):
    return HttpResponse("a page")


@leaves_files_open
def test_pages_and_websockets(urls):
    """It serves pages and WebSockets, and closes these with 1012 when it stops."""
    urls(path("", page), path("ws/", echo))
    with running(ASGIHandler()) as development:
        address = f"127.0.0.1:{development.server_port}"
        assert open_url(f"http://{address}/").read() == b"a page"
        with connect_to(f"ws://{address}/ws/", proxy=None) as client:
            client.send("hello")
            assert client.recv(5) == "hello"
            development.stop()
            with pytest.raises(ConnectionClosed) as error:
                client.recv(5)
            assert error.value.rcvd.code == 1012


@leaves_files_open
def test_nothing_is_said_about_deployment(urls, caplog):
    """What is dangerous in production is no matter here."""
    urls(path("ws/", echo))
    with running(ASGIHandler()) as development:
        url = f"ws://127.0.0.1:{development.server_port}/ws/"
        with connect_to(url, proxy=None) as client:
            client.send("hello")
            client.recv(5)
    assert "django_asgi_ext.deployment" not in [rec.name for rec in caplog.records]


def test_stop_twice():
    """To stop it once more, or before it has begun, does nothing."""
    with running(ASGIHandler()) as development:
        pass
    development.stop()
    development = DevelopmentServer(("127.0.0.1", 0))
    development.stop()
    development._socket.close()


@leaves_files_open
def test_stop_frees_the_port():
    """Once it has stopped, another may listen there."""
    with running(ASGIHandler()) as development:
        port = development.server_port
        open_404(port)
    with running(ASGIHandler(), ("127.0.0.1", port)):
        open_404(port)


def open_404(port):
    with pytest.raises(HTTPError):
        open_url(f"http://127.0.0.1:{port}/", timeout=5)


@leaves_files_open
def test_ipv6(urls):
    """It listens at an address of IPv6."""
    urls(path("", page))
    with running(ASGIHandler(), ("::1", 0), ipv6=True) as development:
        url = f"http://[::1]:{development.server_port}/"
        assert open_url(url, timeout=5).read() == b"a page"


def test_port_in_use():
    """Where somebody listens it cannot."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        with pytest.raises(OSError, match="in use"):
            DevelopmentServer(other.getsockname())


def test_no_port():
    """A port beyond 65535 is an error that Django reports."""
    with pytest.raises(OSError, match=r"^There is no port 65536\.$"):
        DevelopmentServer(("127.0.0.1", 65536))


def test_endless_page(monkeypatch):
    """A page that never ends is cut off, and the lifespan ends all the same."""
    monkeypatch.setattr(server, "PATIENCE", 0.5)
    passed = []

    async def application(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            passed.append("shutdown")
            await send({"type": "lifespan.shutdown.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        try:
            while (await receive())["type"] != "never":
                pass
        finally:
            passed.append("cut off")

    with running(application) as development:
        url = f"http://127.0.0.1:{development.server_port}/"
        with open_url(url, timeout=5) as answer:
            assert answer.read(1) == b"x"
            development.stop()
    assert passed == ["cut off", "shutdown"]


def test_lifespan_that_does_not_begin():
    """What keeps the application from starting is raised, and the port is free."""

    async def application(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    development = DevelopmentServer(("127.0.0.1", 0))
    development.set_app(application)
    with pytest.raises(Exception, match="no database"):
        development.serve_forever()
    assert development._socket.fileno() == -1


def test_lifespan_that_does_not_end(lines):
    """What goes wrong at the end is logged."""

    async def application(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.failed", "message": "no way"})

    with running(application):
        pass
    (line,) = lines()
    assert line[0] == "ERROR" and "no way" in line[2]


def test_run_of_django():
    """Django's run() makes, fills and starts it."""
    command = Command()

    async def application(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "that far"})

    with pytest.raises(Exception, match="that far"):
        run("127.0.0.1", 0, application, server_cls=command.server_cls)


def answers(*events):
    """Return an application that answers with some events."""

    async def application(scope, receive, send):
        for event in events:
            await send(event)

    return application


def scope(**changes):
    """Return the scope of a request."""
    return {
        "type": "http",
        "method": "GET",
        "http_version": "1.1",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        **changes,
    }


async def logged(lines, application, **changes):
    """Return the lines for one request."""

    async def logging_application(scope, receive, send):
        await log.serve_and_log(application, scope, receive, send)

    communicator = ApplicationCommunicator(logging_application, scope(**changes))
    await communicator.wait()
    return lines()


def response(status, *parts):
    """Return the events of a response."""
    return [
        {"type": "http.response.start", "status": status},
        *({"type": "http.response.body", "body": part} for part in parts),
    ]


@pytest.mark.parametrize(
    "status, level",
    [
        (200, "INFO"),
        (304, "INFO"),
        (404, "WARNING"),
        (500, "ERROR"),
    ],
)
async def test_line(lines, status, level):
    """A request is logged as by Django's server, by its status."""
    application = answers(*response(status, b"abc", b"de"))
    text = f'"GET / HTTP/1.1" {status} 5'
    assert await logged(lines, application) == [(level, status, text)]


async def test_target(lines):
    """The target of the request is logged as it came."""
    found = await logged(
        lines,
        answers(*response(200)),
        method="POST",
        raw_path=b"/a%20b/\xff",
        query_string=b"c=%0a",
    )
    text = r'"POST /a%20b/\xff?c=%0a HTTP/1.1" 200 0'
    assert found == [("INFO", 200, text)]


async def test_no_answer(lines):
    """A request that nobody waits for has no status."""
    assert await logged(lines, answers()) == [("INFO", None, '"GET / HTTP/1.1" - -')]


async def test_failure(lines):
    """An application that fails is logged as the 500 that the server makes of it."""

    async def application(scope, receive, send):
        raise ValueError

    with pytest.raises(ValueError):
        await logged(lines, application)
    assert lines() == [("ERROR", 500, '"GET / HTTP/1.1" 500 0')]


async def test_time(lines, caplog):
    """The time is written as Django's server does on every release."""
    await logged(lines, answers(*response(200)))
    (record,) = caplog.records
    formatted = log.logger.handlers[0].format(record)
    assert formatted.startswith(f"[{record.server_time}] ")
    assert record.server_time[2] == "/" and len(record.server_time) == 20


@pytest.mark.parametrize(
    "code, level, status",
    [
        (1000, "INFO", 200),
        (1001, "INFO", 200),
        (1005, "INFO", 200),
        (1012, "INFO", 200),
        (4001, "INFO", 200),
        (1006, "WARNING", 400),
        (1008, "WARNING", 400),
        (1011, "ERROR", 500),
    ],
)
async def test_websocket(lines, connect, code, level, status):
    """A WebSocket is logged when it opens and, by its close code, when it ends."""

    @websocket
    async def view(socket):
        async for _ in socket:
            raise ValueError

    log.log_websockets()
    peer = connect(view)
    await peer.accepted()
    if code == 1011:
        await peer.say("fail")
        await peer.closed()
    else:
        await peer.leave(code)
    connected, disconnected = lines()
    assert connected == ("INFO", 101, "WebSocket CONNECT /ws/")
    assert disconnected[:2] == (level, status)
    text = rf"WebSocket DISCONNECT /ws/ {code} \d\.\ds"
    assert re.fullmatch(text, disconnected[2])
