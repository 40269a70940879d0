"""Refusing the opening handshake."""

import json

import pytest
from client import connect, denial_of, hear
from grid import behaviour
from raw import RawClient, handshake


def deny(server, path, *headers):
    """Return status, headers and body of a denial, read from the wire."""
    with RawClient(server) as client:
        client.send(handshake(path, *headers))
        status, headers = client.read_response()
        return status, headers, client.read_body(headers)


@behaviour("A view that returns `None` or closes before it accepts answers 403")
@pytest.mark.parametrize("kind", ["return", "close"])
async def test_nothing_returned(server, kind):
    """The handshake is refused with 403."""
    assert (await denial_of(server.url(f"/denial/{kind}/"))).status_code == 403
    assert deny(server, f"/denial/{kind}/")[0] == 403


@behaviour("What a view raises before it accepts answers as for a page: 400 to 500")
@pytest.mark.parametrize(
    ("kind", "status"),
    [("raise", 500), ("forbidden", 403), ("missing", 404), ("suspicious", 400)],
)
async def test_raise(server, kind, status):
    """The handshake is refused with the status that Django has for it."""
    assert (await denial_of(server.url(f"/denial/{kind}/"))).status_code == status
    assert deny(server, f"/denial/{kind}/")[0] == status


@behaviour("A response before the accept arrives: status, headers, body", rfc="4.2.2")
async def test_response(server):
    """The peer gets the view's response as it is."""
    response = await denial_of(server.url("/denial/response/"))
    assert response.status_code == 418
    assert json.loads(response.body) == {"error": "teapot"}
    assert response.headers["X-Reason"] == "tea"
    assert response.headers["Content-Type"] == "application/json"

    status, headers, body = deny(server, "/denial/response/")
    assert (status, body) == (418, b'{"error": "teapot"}')
    assert ("x-reason", "tea") in headers
    assert ("content-type", "application/json") in headers


@behaviour(
    "A response before the accept may set several cookies",
    impossible={"granian": "only the first arrives; two would end its worker"},
)
def test_cookies(server, differs):
    """Each cookie of the view and the middleware is in a header of its own."""
    status, headers, body = deny(server, "/denial/response/")
    cookies = sorted(value for name, value in headers if name == "set-cookie")
    expected = ["a=1; Path=/", "b=2; Path=/", "visited=yes; Path=/"]
    assert cookies == (expected[:1] if differs else expected)


@behaviour("A streaming response before the accept arrives as a whole")
def test_stream(server):
    """The parts of the body come in one, with their length."""
    status, headers, body = deny(server, "/denial/stream/")
    assert (status, body) == (409, b"part and part")


@behaviour("A status that is none for an answer harms nobody")
@pytest.mark.parametrize("status", [42, 99, 100, 101, 199, 200, 204, 299, 600, 999])
async def test_odd_status(server, status):
    """The handshake is refused with it or with 500, and the server goes on."""
    with RawClient(server) as client:
        client.send(handshake(f"/status/{status}/"))
        answer, _ = client.read_response()
        assert answer == 500 or 200 <= status == answer
    async with connect(server.url("/echo/")) as websocket:
        await websocket.send("alive")
        assert await hear(websocket) == "alive"


@behaviour("A status of more than three digits is 500")
async def test_impossible_status(start_server):
    """What HTTP has no room for is a failure of the view."""
    server = start_server()
    assert deny(server, "/status/1000/")[0] == 500
    async with connect(server.url("/echo/")) as websocket:
        await websocket.send("alive")
        assert await hear(websocket) == "alive"


@behaviour("A path that no URLconf knows, or that is a page's only, answers 404")
@pytest.mark.parametrize("path", ["/nowhere/", "/only-page/"])
async def test_not_found(server, path):
    """There is no WebSocket view."""
    assert (await denial_of(server.url(path))).status_code == 404


@behaviour("`login_required` sends an anonymous peer to the login page")
def test_login_required(server):
    """A guard made for pages guards a WebSocket view."""
    status, headers, _ = deny(server, "/user/")
    assert status == 302
    assert ("location", "/accounts/login/?next=/user/") in headers


@behaviour("A page of another site is refused with 403, one's own let in", rfc="10.2")
async def test_origin(server):
    """The Origin header must be that of the request's own host."""
    response = await denial_of(server.url("/echo/"), origin="http://evil.example")
    assert response.status_code == 403
    async with connect(
        server.url("/echo/"), origin=server.url("", "http")
    ) as websocket:
        await websocket.send("hello")
        assert await hear(websocket) == "hello"


@behaviour(
    "The TCP connection ends with the denial",
    differs={"granian": "it serves the next request, as HTTP allows"},
)
def test_nothing_open(server, differs):
    """After the response the server closes, or serves the next request."""
    with RawClient(server) as client:
        client.send(handshake("/denial/response/"))
        _, headers = client.read_response()
        client.read_body(headers)
        if differs:
            client.send(handshake("/denial/missing/"))
            assert client.read_response()[0] == 404
        else:
            assert client.read_to_end() == b""
