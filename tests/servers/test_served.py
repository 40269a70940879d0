"""What a client sees of a project behind a real server."""

import asyncio
import contextlib
import http.client
import os
import socket
import time

import pytest
from serving import (
    DENIES_WITH_403_ONLY,
    DROPS_COOKIES_OF_DENIAL_BUT_ONE,
    DROPS_HEADERS_OF_ACCEPT,
    HAS_NO_LIFESPAN,
    HIDES_CLOSE_CODE,
    HIDES_CLOSE_REASON,
    VANISHING_IS_1005,
)
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

# A client on this machine needs no proxy and no compression to be slow with.
OPTIONS = {"proxy": None, "open_timeout": 10, "close_timeout": 5}


async def close_of(websocket):
    """Return close code and reason once the server has closed."""
    with pytest.raises(ConnectionClosed):
        async with asyncio.timeout(5):
            while True:
                await websocket.recv()
    return websocket.close_code, websocket.close_reason


async def denial_of(url, **options):
    """Return the response that denies a handshake."""
    with pytest.raises(InvalidStatus) as error:
        async with connect(url, **OPTIONS, **options):
            pass
    return error.value.response


def status_on(server, status):
    """Return the status of a denial as the server can tell it."""
    return 403 if server.name in DENIES_WITH_403_ONLY else status


@pytest.mark.parametrize(
    "message",
    ["", "hello", "é😀" * 1000, b"", b"\0\xff", b"x" * 999_999],
    ids=["no text", "text", "unicode", "no bytes", "bytes", "large"],
)
async def test_echo(server, message):
    """A message comes back as it was sent."""
    async with connect(server.url("/echo/"), **OPTIONS) as websocket:
        await websocket.send(message)
        assert await asyncio.wait_for(websocket.recv(), 5) == message


async def test_fragments(server):
    """A message in several frames arrives as one."""
    async with connect(server.url("/echo/"), **OPTIONS) as websocket:
        await websocket.send(["a", "b", "c"])
        assert await asyncio.wait_for(websocket.recv(), 5) == "abc"


async def test_many_at_once(server):
    """Two hundred connections talk at the same time."""

    async def talk(number):
        async with connect(server.url("/echo/"), **OPTIONS) as websocket:
            for turn in range(5):
                await websocket.send(f"{number} {turn}")
                assert await websocket.recv() == f"{number} {turn}"

    async with asyncio.timeout(30):
        await asyncio.gather(*(talk(number) for number in range(200)))


async def test_ping(server):
    """A ping is answered while the view is busy."""
    async with connect(server.url("/busy/"), **OPTIONS) as websocket:
        pong = await websocket.ping()
        await asyncio.wait_for(pong, 5)


async def test_lifespan_state(server):
    """What the lifespan yields is in the state of each connection's scope."""
    if server.name in HAS_NO_LIFESPAN:
        assert "STARTUP" not in server.log
        return
    async with connect(server.url("/state/"), **OPTIONS) as websocket:
        assert await websocket.recv() == "hello"


@pytest.mark.parametrize(
    ("offered", "chosen"), [(["v1", "v2"], "v1"), (["v0"], None), (None, None)]
)
async def test_subprotocol(server, offered, chosen):
    """The first of the client's subprotocols that the view supports is taken."""
    async with connect(
        server.url("/subprotocol/"), subprotocols=offered, **OPTIONS
    ) as websocket:
        assert websocket.subprotocol == chosen
        assert await websocket.recv() == str(chosen)


async def test_headers_and_cookies_on_the_101(server):
    """Cookies of middleware and headers of the view come with the 101."""
    async with connect(server.url("/cookie/"), **OPTIONS) as websocket:
        headers = websocket.response.headers
        if server.name in DROPS_HEADERS_OF_ACCEPT:
            assert "X-View" not in headers
            assert "Set-Cookie" not in headers
            return
        assert headers["X-View"] == "yes"
        assert headers["Set-Cookie"] == "visited=yes; Path=/"
        assert "Content-Length" not in headers
        assert "Content-Type" not in headers


@pytest.mark.parametrize(
    ("kind", "message", "close"),
    [
        ("return", None, (1000, "")),
        ("raise", None, (1011, "")),
        ("forbidden", None, (1008, "")),
        ("json", "{", (1007, "")),
        ("big", "x" * 1_000_001, (1009, "over 1000000 bytes")),
        ("close", None, (4001, "because")),
    ],
)
async def test_endings(server, kind, message, close):
    """However a view ends after accepting, the peer sees a close code that says so."""
    async with connect(server.url(f"/ending/{kind}/"), **OPTIONS) as websocket:
        if message is not None:
            await websocket.send(message)
        assert await close_of(websocket) == close


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("return", 403),
        ("close", 403),
        ("raise", 500),
        ("forbidden", 403),
        ("missing", 404),
        ("response", 418),
    ],
)
async def test_denials(server, kind, status):
    """However a view ends before accepting, the peer gets a response that says so."""
    response = await denial_of(server.url(f"/denial/{kind}/"))
    assert response.status_code == status_on(server, status)


async def test_denial_with_headers_and_body(server):
    """A denial has the headers, the cookies and the body of the view's response."""
    response = await denial_of(server.url("/denial/response/"))
    assert response.status_code == status_on(server, 418)
    if server.name in DENIES_WITH_403_ONLY:
        return
    assert bytes(response.body) == b'{"error": "teapot"}'
    assert response.headers["X-Reason"] == "tea"
    assert response.headers["Content-Type"] == "application/json"
    cookies = ["a=1; Path=/", "b=2; Path=/", "visited=yes; Path=/"]
    if server.name in DROPS_COOKIES_OF_DENIAL_BUT_ONE:
        cookies = cookies[:1]
    assert sorted(response.headers.get_all("Set-Cookie")) == cookies


async def test_unknown_path(server):
    """A handshake for a path that no URLconf knows gets 404."""
    response = await denial_of(server.url("/nowhere/"))
    assert response.status_code == status_on(server, 404)


async def test_handshake_for_a_page(server):
    """A handshake for a view that is not a WebSocket view gets 404."""
    response = await denial_of(server.url("/only-page/"))
    assert response.status_code == status_on(server, 404)


def test_login_required(server):
    """A guard made for pages sends an anonymous peer to the login page."""
    # By hand, for the client of websockets follows a redirect.
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    handshake = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    connection.request("GET", "/user/", headers=handshake)
    with contextlib.closing(connection), connection.getresponse() as response:
        assert response.status == status_on(server, 302)
        if response.status == 302:
            assert response.headers["Location"] == "/accounts/login/?next=/user/"


async def test_other_origin(server):
    """A page of another site is refused with 403."""
    response = await denial_of(server.url("/echo/"), origin="http://evil.example")
    assert response.status_code == 403


async def test_own_origin(server):
    """A page of the same origin is let in."""
    async with connect(
        server.url("/echo/"), origin=server.url("", "http"), **OPTIONS
    ) as websocket:
        await websocket.send("hello")
        assert await websocket.recv() == "hello"


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/page/", 200, b"page"),
        ("/only-page/", 200, b"page"),
        ("/echo/", 426, b"This URL is for WebSocket connections.\n"),
    ],
)
def test_http(server, path, status, body):
    """HTTP goes on beside it; a WebSocket URL answers 426 and says what to use."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", path)
    response = connection.getresponse()
    assert (response.status, response.read()) == (status, body)
    if status == 426:
        assert response.headers["Upgrade"] == "websocket"
    connection.close()


async def test_close_of_the_peer(server):
    """The view sees with which code and reason the peer has closed."""
    async with connect(server.url("/left/"), **OPTIONS) as websocket:
        await websocket.close(4001, "because")
    code = 1005 if server.name in HIDES_CLOSE_CODE else 4001
    reason = "" if server.name in HIDES_CLOSE_REASON else "because"
    await asyncio.to_thread(server.wait_for_log, f"LEFT {code} {reason!r}")


async def test_peer_that_vanishes(server):
    """The view sees 1006 if the connection breaks, where the server knows."""
    websocket = await connect(server.url("/left/"), **OPTIONS)
    before = server.log.count("LEFT")
    websocket.transport.abort()
    code = 1005 if server.name in VANISHING_IS_1005 else 1006
    async with asyncio.timeout(5):
        while server.log.count("LEFT") == before:
            await asyncio.sleep(0.02)
    assert server.log.split("LEFT")[-1].startswith(f" {code} ''")


async def test_busy_view_is_cancelled(server):
    """A view that awaits something else ends when the peer has left."""
    async with connect(server.url("/busy/"), **OPTIONS):
        pass
    await asyncio.to_thread(server.wait_for_log, "BUSY ENDED")


async def test_pushing_view_is_told(server):
    """A view that only sends ends when the peer has left."""
    async with connect(server.url("/pushing/"), **OPTIONS) as websocket:
        assert await websocket.recv() == "tick"
    await asyncio.to_thread(server.wait_for_log, "PUSHING ENDED 10")


async def test_nothing_is_left_over(server):
    """After a thousand connections the process holds what it held before."""

    async def one():
        async with connect(server.url("/echo/"), **OPTIONS) as websocket:
            await websocket.send("hello")
            await websocket.recv()

    def held():
        folder = f"/proc/{server.process.pid}"
        return len(os.listdir(f"{folder}/fd")), len(os.listdir(f"{folder}/task"))

    for _ in range(4):
        await asyncio.gather(*(one() for _ in range(50)))
    files, threads = held()
    for _ in range(20):
        await asyncio.gather(*(one() for _ in range(50)))
    async with asyncio.timeout(20):
        # The worker threads are started as they are needed: THREADS is 3.
        while held()[0] > files or held()[1] > threads + 3:
            await asyncio.sleep(0.05)


def test_frame_before_the_accept(server):
    """A peer that sends before it is accepted, and leaves, leaves no view behind."""
    handshake = (
        "GET /left/ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n"
    )
    before = server.log.count("LEFT")
    # A text frame of one masked byte.
    frame = bytes([0x81, 0x81, 0, 0, 0, 0]) + b"x"
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", server.port), 5) as connection:
            connection.sendall(handshake.encode() + frame)
    deadline = time.monotonic() + 8
    while server.log.count("LEFT") < before + 5:
        assert time.monotonic() < deadline, server.log[-2000:]
        time.sleep(0.05)
