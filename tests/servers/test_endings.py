"""What ends a connection, and how its peer sees it."""

import asyncio
import os
import time

import pytest
from client import close_of, connect, hear
from grid import behaviour
from raw import CLOSE, FIN, TEXT, RawClient, close_frame, frame


async def ends(server, kind, message, code, reason=""):
    """Assert how a connection ends, as a client sees it and on the wire."""
    path = f"/ending/{kind}/"
    async with connect(server.url(path)) as websocket:
        if message is not None:
            await websocket.send(message)
        assert await close_of(websocket) == (code, reason)
    await asyncio.to_thread(ends_on_the_wire, server, path, message, code, reason)


def ends_on_the_wire(server, path, message, code, reason):
    with RawClient(server) as client:
        client.open(path)
        if message is not None:
            client.send(frame(FIN | TEXT, message.encode()))
        payload = code.to_bytes(2, "big") + reason.encode()
        assert client.read_frame() == (FIN | CLOSE, payload)
        client.send(close_frame(code))
        client.wait_for_end()


@behaviour("A view that returns closes with 1000", rfc="7.4.1")
async def test_return(server):
    """After a view that has returned the close frame says 1000."""
    await ends(server, "return", None, 1000)


@behaviour("A view that raises closes with 1011, without a reason", rfc="7.4.1")
async def test_raise(server):
    """After a view that has raised the close frame says 1011 and nothing else."""
    await ends(server, "raise", None, 1011)


@behaviour("A view that raises `PermissionDenied` closes with 1008", rfc="7.4.1")
async def test_forbidden(server):
    """After a view that has raised PermissionDenied the close frame says 1008."""
    await ends(server, "forbidden", None, 1008)


@behaviour("A message that should have been JSON closes with 1007", rfc="7.4.1")
async def test_json(server):
    """After a view that did not handle InvalidJSON the close frame says 1007."""
    await ends(server, "json", "{", 1007)


@behaviour("The view's own close code and reason arrive", rfc="7.1.5, 7.1.6")
async def test_close(server):
    """The close frame says what the view gave to close()."""
    await ends(server, "close", None, 4001, "because")


@behaviour("A message over `MAX_MESSAGE_SIZE` bytes closes with 1009", rfc="7.4.1")
@pytest.mark.parametrize("message", ["x" * 1_000_001, "é" * 500_001])
async def test_too_big(server, message):
    """Text is counted in bytes, and one too many closes with 1009."""
    await ends(server, "big", message, 1009, "over 1000000 bytes")


@behaviour("A message of exactly `MAX_MESSAGE_SIZE` bytes passes")
async def test_just_not_too_big(server):
    """A message as large as it may be comes back."""
    async with connect(server.url("/echo/")) as websocket:
        await websocket.send("é" * 500_000)
        assert await hear(websocket) == "é" * 500_000


@behaviour(
    "After both close frames the server ends the TCP connection in good order",
    rfc="7.1.1",
    differs={"granian": "after its own already"},
)
def test_nothing_open(server, differs):
    """The peer reads the end of the stream, and no RST."""
    with RawClient(server) as client:
        client.open("/ending/return/")
        assert client.read_frame() == (FIN | CLOSE, b"\x03\xe8")
        if not differs:
            client.send(close_frame(1000))
        assert client.read_to_end() == b""


@behaviour(
    "The server waits for the peer's close",
    rfc="7.1.1",
    differs={"granian": "it does not wait"},
)
def test_close_is_waited_for(server, differs):
    """Nothing happens for two seconds, when CLOSE_TIMEOUT is five."""
    with RawClient(server) as client:
        client.open("/ending/return/")
        assert client.read_frame() == (FIN | CLOSE, b"\x03\xe8")
        assert client.is_silent_for(2) is not differs


@behaviour("A peer that never answers the close is cut off after `CLOSE_TIMEOUT`")
def test_close_is_not_answered(limited_server):
    """The TCP connection ends soon after the half second that was set."""
    with RawClient(limited_server) as client:
        client.open("/ending/return/")
        assert client.read_frame() == (FIN | CLOSE, b"\x03\xe8")
        closed = time.monotonic()
        client.wait_for_end()
        assert time.monotonic() - closed < 4


@behaviour("A message that crosses the server's close is ignored")
def test_message_after_close(server):
    """It changes nothing of the closing handshake."""
    with RawClient(server) as client:
        client.open("/ending/return/")
        assert client.read_frame() == (FIN | CLOSE, b"\x03\xe8")
        client.send(frame(FIN | TEXT, b"late"), close_frame(1000))
        client.wait_for_end()


@behaviour("After hundreds of connections no file and no thread is left")
async def test_nothing_is_left_over(server):
    """The process holds what it held before."""

    async def one():
        async with connect(server.url("/echo/")) as websocket:
            await websocket.send("hello")
            await websocket.recv()

    def held():
        folder = f"/proc/{server.process.pid}"
        return len(os.listdir(f"{folder}/fd")), len(os.listdir(f"{folder}/task"))

    for _ in range(4):
        await asyncio.gather(*(one() for _ in range(50)))
    files, threads = held()
    for _ in range(10):
        await asyncio.gather(*(one() for _ in range(50)))
    async with asyncio.timeout(20):
        # The worker threads are started as they are needed: THREADS is 3.
        while held()[0] > files or held()[1] > threads + 3:
            await asyncio.sleep(0.05)
