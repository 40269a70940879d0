"""The opening handshake."""

import asyncio
import http.client
import json
import time

import pytest
from client import connect, denial_of, hear
from grid import behaviour
from raw import FIN, TEXT, RawClient, handshake
from serving import HAS_NO_LIFESPAN, LIMITS, mounted_at


def ask(server, path, *headers):
    """Return what the view says that the handshake looked like."""
    with RawClient(server) as client:
        client.open(path, *headers)
        first, payload = client.read_frame()
        assert first == FIN | TEXT
        return {**json.loads(payload), "port": client.port}


@behaviour("The 101 answers the key", rfc="4.2.2")
def test_accept(server):
    """The key's answer is that of the example in the RFC, and no body is announced."""
    with RawClient(server) as client:
        headers = dict(client.open("/echo/"))
    assert headers["upgrade"].lower() == "websocket"
    assert headers["connection"].lower() == "upgrade"
    assert headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert not headers.keys() & {"content-length", "content-type", "transfer-encoding"}


@behaviour("Path and query string arrive, Unicode and percent-encoded", rfc="4.2.1")
def test_path(server):
    """The view has them as a page would."""
    seen = ask(server, "/where/caf%C3%A9%20%25/?q=%C3%A9&r=a+b%26")
    assert seen["path"] == "/where/café %/"
    assert seen["kwargs"] == {"name": "café %"}
    assert seen["query"] == "q=%C3%A9&r=a+b%26"
    assert seen["get"] == {"q": "é", "r": "a b&"}


@behaviour("Mounted under a root path, URLs resolve below it and paths have it")
def test_root_path(server_name, start_server):
    """The URLconf does not see the prefix, socket.path and reverse() have it."""
    server = start_server(*mounted_at(server_name, "/pre"))
    seen = ask(server, "/where/here/")
    assert (seen["path"], seen["reversed"]) == ("/pre/where/here/", "/pre/where/here/")


@behaviour("The view sees the client's address")
def test_client(server):
    """It is the one that the TCP connection comes from."""
    seen = ask(server, "/where/")
    assert seen["client"] == ["127.0.0.1", str(seen["port"])]


@behaviour(
    "Cookies in two headers are two cookies",
    impossible={"daphne": "it joins the headers with a comma"},
)
def test_two_cookie_headers(server, differs):
    """The view sees both."""
    seen = ask(server, "/where/", "Cookie: a=1", "Cookie: b=2")
    assert seen["cookies"] == ({"a": "1,b=2"} if differs else {"a": "1", "b": "2"})


@behaviour("The first offered subprotocol that the view speaks is chosen", rfc="1.9")
@pytest.mark.parametrize(
    ("offered", "chosen"), [(["v1", "v2"], "v1"), (["v0"], None), (None, None)]
)
async def test_subprotocol(server, offered, chosen):
    """Without one that both speak, the 101 names none."""
    async with connect(server.url("/subprotocol/"), subprotocols=offered) as websocket:
        assert websocket.subprotocol == chosen
        assert await hear(websocket) == str(chosen)


@behaviour("Subprotocols may be offered in several headers", rfc="11.3.4")
@pytest.mark.parametrize("offered", [("v1", "v0"), ("v0", "v1")])
def test_two_subprotocol_headers(server, offered):
    """The one that the view speaks is found in either."""
    with RawClient(server) as client:
        headers = client.open(
            "/subprotocol/", *(f"Sec-WebSocket-Protocol: {name}" for name in offered)
        )
        assert ("sec-websocket-protocol", "v1") in headers
        assert client.read_frame() == (FIN | TEXT, b"v1")


@behaviour(
    "Headers and cookies of the accept come with the 101",
    rfc="1.3",
    impossible={"granian": "it drops them"},
)
def test_headers_of_accept(server, differs):
    """Those of the view and of the middleware are there."""
    with RawClient(server) as client:
        headers = client.open("/cookie/")
    assert (("x-view", "yes") in headers) is not differs
    assert (("set-cookie", "visited=yes; Path=/") in headers) is not differs


@behaviour("An unknown version of the protocol is refused", rfc="4.2.2")
def test_version(server):
    """Version 12 is answered with an error."""
    with RawClient(server) as client:
        client.send(handshake("/echo/", version=12))
        assert client.read_response()[0] in (400, 426)


@behaviour("A handshake without a key is refused", rfc="4.2.1")
def test_key(server):
    """It is answered with an error."""
    with RawClient(server) as client:
        client.send(handshake("/echo/", key=None))
        assert client.read_response()[0] in (400, 426)


@behaviour("A view that does not accept within `OPEN_TIMEOUT` answers 503")
async def test_open_timeout(limited_server, token):
    """The view is cancelled."""
    begun = time.monotonic()
    response = await denial_of(limited_server.url(f"/opening/?{token}"))
    assert response.status_code == 503
    assert LIMITS["OPEN_TIMEOUT"] <= time.monotonic() - begun < 4
    await asyncio.to_thread(limited_server.wait_for_log, f"OPENING ENDED {token}")


@behaviour("One connection more than `MAX_CONNECTIONS` gets 503")
async def test_max_connections(limited_server):
    """When another one has left there is room again."""
    url = limited_server.url("/echo/")
    websockets = [await connect(url) for _ in range(LIMITS["MAX_CONNECTIONS"])]
    assert (await denial_of(url)).status_code == 503
    await websockets.pop().close()
    websockets.append(await connect_soon(url))
    for websocket in websockets:
        await websocket.close()


async def connect_soon(url):
    """Connect once there is room."""
    async with asyncio.timeout(5):
        while True:
            try:
                return await connect(url)
            except Exception as error:
                assert error.response.status_code == 503
                await asyncio.sleep(0.02)


@behaviour(
    "What the lifespan yields is in the scope's state",
    impossible={"daphne": "it has no lifespan"},
)
async def test_lifespan_state(server, differs):
    """It is there for each connection."""
    assert differs is (server.name in HAS_NO_LIFESPAN)
    if differs:
        # Which the view takes for granted.
        assert (await denial_of(server.url("/state/"))).status_code == 500
    else:
        async with connect(server.url("/state/")) as websocket:
            assert await hear(websocket) == "hello"


@behaviour("HTTP goes on beside it, at the same URL too")
@pytest.mark.parametrize("path", ["/page/", "/only-page/"])
def test_http(server, path):
    """A page is a page."""
    assert get(server, path)[::2] == (200, b"page")


@behaviour("A GET of a WebSocket's URL answers 426 and says what to use")
def test_upgrade_required(server):
    """The header Upgrade names the protocol."""
    status, headers, body = get(server, "/echo/")
    assert (status, body) == (426, b"This URL is for WebSocket connections.\n")
    assert headers["Upgrade"] == "websocket"


def get(server, path):
    """Return status, headers and body of a page."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", path)
    response = connection.getresponse()
    try:
        return response.status, response.headers, response.read()
    finally:
        connection.close()
