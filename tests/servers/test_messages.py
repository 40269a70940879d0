"""Messages, pings and tasks."""

import asyncio
import time

import pytest
from client import close_of, connect, hear
from grid import behaviour
from raw import CONTINUATION, FIN, PING, PONG, TEXT, RawClient, frame
from serving import PING_EVERY_SECOND


@behaviour(
    "Text and bytes come back as they were sent, empty and large ones", rfc="5.6"
)
@pytest.mark.parametrize(
    "message",
    ["", "hello", "é😀" * 1000, b"", b"\0\xff", b"x" * 999_999],
    ids=["no text", "text", "unicode", "no bytes", "bytes", "large"],
)
async def test_echo(server, message):
    """A message comes back as it was sent."""
    async with connect(server.url("/echo/")) as websocket:
        await websocket.send(message)
        assert await hear(websocket) == message


@behaviour("A message in several frames arrives as one", rfc="5.4")
def test_fragments(server):
    """The view receives it when its last frame is there."""
    with RawClient(server) as client:
        client.open("/echo/")
        client.send(frame(TEXT, b"a"), frame(CONTINUATION), frame(CONTINUATION, b"b"))
        client.send(frame(FIN | CONTINUATION, b"c"))
        assert client.read_frame() == (FIN | TEXT, b"abc")


@behaviour("A ping between the frames of a message is answered at once", rfc="5.4")
def test_ping_within_fragments(server):
    """The pong comes before the message is complete."""
    with RawClient(server) as client:
        client.open("/echo/")
        client.send(frame(TEXT, b"a"), frame(FIN | PING, b"now"))
        assert client.read_frame() == (FIN | PONG, b"now")
        client.send(frame(FIN | CONTINUATION, b"b"))
        assert client.read_frame() == (FIN | TEXT, b"ab")


@behaviour("A character may be split between two frames", rfc="5.6")
def test_split_character(server):
    """UTF-8 is decoded of the whole message."""
    with RawClient(server) as client:
        client.open("/echo/")
        grin = "😀".encode()
        client.send(frame(TEXT, grin[:2]), frame(FIN | CONTINUATION, grin[2:]))
        assert client.read_frame() == (FIN | TEXT, grin)


@behaviour("A ping is answered while the view is busy", rfc="5.5.2")
async def test_ping(server):
    """The pong needs no view that receives."""
    async with connect(server.url("/busy/")) as websocket:
        await asyncio.wait_for(await websocket.ping(), 5)


@behaviour("A peer that answers pings is not cut off while the view is busy")
async def test_busy_with_pings(server_name, start_server):
    """After three seconds with pings each second it gets its answer."""
    server = start_server(*PING_EVERY_SECOND[server_name])
    async with connect(server.url("/counting/3000/"), ping_interval=None) as websocket:
        for number in range(20):
            await websocket.send(str(number))
        begun = time.monotonic()
        assert await hear(websocket) == "20"
        assert time.monotonic() - begun > 2


@behaviour("Several tasks of a view may send at once")
async def test_several_senders(server):
    """Each task's messages arrive whole and in its order."""
    heard = {name: [] for name in "abcdefghij"}
    async with connect(server.url("/crowd/")) as websocket:
        async with asyncio.timeout(20):
            async for message in websocket:
                name, number, padding = message.split()
                assert padding == name * 5000
                heard[name].append(int(number))
    assert heard == {name: list(range(50)) for name in "abcdefghij"}


@behaviour("The second of two tasks that receive at once is told so")
async def test_two_receivers(server):
    """It raises InvalidState, and the first one is not disturbed."""
    async with connect(server.url("/two-receivers/")) as websocket:
        assert await hear(websocket) == (
            "Cannot receive: another task is in recv() already. "
            "Receive in one task and hand the messages on."
        )
        await websocket.send("hello")
        assert await hear(websocket) == "hello"
        assert await close_of(websocket) == (1000, "")


@behaviour("Two hundred connections talk at the same time")
async def test_many_at_once(server):
    """Each gets its own answers."""

    async def talk(number):
        async with connect(server.url("/echo/")) as websocket:
            for turn in range(5):
                await websocket.send(f"{number} {turn}")
                assert await websocket.recv() == f"{number} {turn}"

    async with asyncio.timeout(30):
        await asyncio.gather(*(talk(number) for number in range(200)))
