"""When the peer leaves."""

import asyncio
import time

import pytest
from client import connect, hear
from grid import behaviour
from raw import CLOSE, FIN, TEXT, RawClient, close_frame, frame, handshake

MESSAGES = b"".join(frame(FIN | TEXT, str(number).encode()) for number in range(20))


@behaviour(
    "The view sees the peer's close code and reason",
    rfc="7.1.5, 7.1.6",
    impossible={"granian": "the code, but no reason"},
)
@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, ""), (4001, "bye é")])
async def test_close_code(server, differs, token, code, reason):
    """It is that of the peer's close frame."""
    async with connect(server.url(f"/left/?{token}")) as websocket:
        await websocket.close(code, reason)
    expected = "" if differs else reason
    await asyncio.to_thread(server.wait_for_log, f"LEFT {code} {expected!r} {token}")


@behaviour("The server answers a close with the same code", rfc="5.5.1")
def test_close_is_answered(server):
    """The peer gets its own code back, and then the TCP connection ends."""
    with RawClient(server) as client:
        client.open("/left/")
        client.send(close_frame(4001, "bye"))
        first, payload = client.read_frame()
        assert (first, payload[:2]) == (FIN | CLOSE, b"\x0f\xa1")
        client.wait_for_end()


@behaviour("A close without a code is 1005 for the view", rfc="7.1.5")
def test_close_without_code(server, token):
    """1005 stands for no code at all."""
    with RawClient(server) as client:
        client.open(f"/left/?{token}")
        client.send(frame(FIN | CLOSE))
        assert client.read_frame()[0] == FIN | CLOSE
        server.wait_for_log(f"LEFT 1005 '' {token}")


@behaviour(
    "A peer that vanishes is 1006 for the view",
    rfc="7.1.5",
    impossible={"granian": "1005, it does not tell"},
)
@pytest.mark.parametrize("way", ["finish", "reset"])
def test_vanishing(server, differs, token, way):
    """1006 stands for an end without a close frame, by FIN or by RST."""
    with RawClient(server) as client:
        client.open(f"/left/?{token}")
        getattr(client, way)()
        server.wait_for_log(f"LEFT {1005 if differs else 1006} '' {token}")


@behaviour("`recv()` and `send()` raise `ConnectionClosed`, iterating ends")
async def test_told(server, token):
    """Whatever the view asks of its socket, it is told, and nothing is made up."""
    async with connect(server.url(f"/asking-on/?{token}")) as websocket:
        await websocket.close(1001)
    await asyncio.to_thread(server.wait_for_log, f"SEND RAISED 1001 {token}")
    assert f"RECV RAISED 1001 {token}" in server.log
    assert f"A MESSAGE {token}" not in server.log


@behaviour("`send()` raises it too in a view that only sends")
@pytest.mark.parametrize("way", ["close", "finish", "reset"])
def test_only_sending(server, token, way):
    """Such a view is told when the peer closes or vanishes."""
    with RawClient(server) as client:
        client.open(f"/pushing/?{token}")
        assert client.read_frame() == (FIN | TEXT, b"tick")
        if way == "close":
            client.send(close_frame(1000))
        else:
            getattr(client, way)()
        server.wait_for_log(f"PUSHING TOLD {token}")


@behaviour("The close is answered within a second though the view only sends")
def test_only_sending_close_is_answered(server, token):
    """A peer that closes need not wait for the view to receive."""

    def close(client, name):
        client.open(f"/pushing/?{name}")
        yield
        client.send(close_frame(1000))
        while client.read_frame()[0] != FIN | CLOSE:
            pass

    assert quickest(server, token, close) < 1


@behaviour("A view that awaits something else is cancelled within a second")
@pytest.mark.parametrize("way", ["close", "finish", "reset"])
def test_cancelled(server, token, way):
    """It has no need to look at its socket."""

    def leave(client, name):
        client.open(f"/busy/?{name}")
        yield
        if way == "close":
            client.send(close_frame(1000))
        else:
            getattr(client, way)()
        server.wait_for_log(f"BUSY ENDED {name}")

    assert quickest(server, token, leave) < 1


@behaviour(
    "A peer that leaves before the accept ends the view within a second",
    impossible={"granian": "it does not tell; `OPEN_TIMEOUT` ends it"},
)
@pytest.mark.parametrize("way", ["finish", "reset"])
def test_before_the_accept(server, differs, token, way):
    """The view is cancelled."""

    def leave(client, name):
        client.send(handshake(f"/opening/?{name}"))
        server.wait_for_log(f"OPENING {name}")
        yield
        getattr(client, way)()
        server.wait_for_log(f"OPENING ENDED {name}")

    # Where it cannot be quick there is no need to try it more than once.
    assert (quickest(server, token, leave, 1 if differs else 3) < 1) is not differs


def quickest(server, token, steps, times=3):
    """Return how long it takes from the yield on, at best: the machine is busy."""
    best = None
    for number in range(times):
        with RawClient(server) as client:
            running = steps(client, f"{token}-{number}")
            next(running)
            begun = time.monotonic()
            next(running, None)
            took = time.monotonic() - begun
        best = took if best is None else min(best, took)
        if best < 1:
            break
    return best


@behaviour("No message that came before the end is lost on a busy view")
@pytest.mark.parametrize("way", ["close", "finish", "reset by closing"])
def test_no_message_is_lost(server, token, way):
    """The view, busy at first, receives all twenty in order and then the end."""
    with RawClient(server) as client:
        client.open(f"/counting/300/?{token}")
        client.send(MESSAGES, close_frame(1000) if way == "close" else b"")
        if way == "finish":
            client.finish()
        if way != "reset by closing":
            server.wait_for_log(f"COUNTED 20 {token}")
    server.wait_for_log(f"COUNTED 20 {token}")


@behaviour("A peer that sends a frame before the 101 and leaves is noticed")
def test_frame_before_the_accept(server, token):
    """It leaves no view behind."""
    for number in range(5):
        with RawClient(server) as client:
            client.send(handshake(f"/left/?{token}-{number}"), frame(FIN | TEXT, b"x"))
    for number in range(5):
        deadline = time.monotonic() + 8
        while not ended(server.log, f"{token}-{number}"):
            assert time.monotonic() < deadline, server.log
            time.sleep(0.02)


def ended(log, name):
    return any("LEFT" in line and name in line for line in log.splitlines())


@behaviour("A TCP connection that ends mid-handshake harms nobody")
@pytest.mark.parametrize("way", ["finish", "reset"])
async def test_half_a_handshake(server, way):
    """No view begins, and the next peer is served."""
    for length in (1, 10, 60, len(handshake("/echo/")) - 1):
        with RawClient(server) as client:
            client.send(handshake("/echo/")[:length])
            getattr(client, way)()
    async with connect(server.url("/echo/")) as websocket:
        await websocket.send("alive")
        assert await hear(websocket) == "alive"
    assert "Traceback" not in server.log
