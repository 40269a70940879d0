"""Whether anything still goes over a connection, and what follows if not."""

import asyncio

import pytest

from django_asgi_ext import ConnectionClosed, websocket
from django_asgi_ext.websockets.pulse import Pulse


def test_stuck():
    """A connection is stuck since the look at which nothing had moved any more."""
    pulse = Pulse(10.0)
    assert pulse.stuck_for(11.0) == 0
    pulse.begun = 1
    assert pulse.stuck_for(12.0) == 1
    assert pulse.stuck_for(13.0) == 2
    pulse.begun = 3
    pulse.done = 1
    assert pulse.stuck_for(14.0) == 0
    assert pulse.stuck_for(16.0) == 2
    pulse.done = 3
    assert pulse.stuck_for(17.0) == 0


def test_idle():
    """A connection is idle since the look before which it was last used."""
    pulse = Pulse(10.0)
    assert pulse.idle_for(12.0) == 2
    pulse.begun = 1
    assert pulse.idle_for(13.0) == 0
    assert pulse.idle_for(14.0) == 1
    pulse.heard = True
    assert pulse.idle_for(15.0) == 0
    assert pulse.idle_for(18.0) == 3


class Stalled:
    """A peer that does not read any more, behind an application."""

    def __init__(self, peer):
        self.peer = peer
        self.reads = asyncio.Event()
        application = peer.application

        async def stalling(scope, receive, send):
            async def stalled_send(event):
                if event["type"] != "websocket.accept":
                    await self.reads.wait()
                await send(event)

            await application(scope, receive, stalled_send)

        peer.application = stalling


@pytest.fixture
def stall(connect, settings_of_ours):
    """Connect a peer that reads nothing, with a SEND_TIMEOUT that is short."""
    settings_of_ours(SEND_TIMEOUT=0.2, CLOSE_TIMEOUT=0.2)

    def make(view):
        peer = connect(websocket(view))
        Stalled(peer)
        return peer

    return make


async def test_send_timeout(stall, caplog):
    """A send() that makes no progress ends the connection with 1013."""
    outcome = asyncio.get_running_loop().create_future()

    async def view(socket):
        try:
            await socket.send("hello")
        except BaseException as error:
            outcome.set_result((error, socket.close_code))
            raise

    peer = stall(view)
    await peer.accepted()
    error, code = await asyncio.wait_for(outcome, 5)
    # This server does not give up, so nobody but us can end the view.
    assert isinstance(error, asyncio.CancelledError)
    assert code == 1013
    await peer.wait(timeout=5)
    (text,) = [r.getMessage() for r in caplog.records if "not read" in r.message]
    assert text.startswith("The peer of the view test_pulse.")
    assert text.endswith(".view has not read for 0.2 seconds.")


async def test_send_timeout_while_receiving(stall):
    """A task that waits in recv() is told that another one's send() is stuck."""
    outcome = asyncio.get_running_loop().create_future()

    async def view(socket):
        await socket.accept()
        sending = asyncio.ensure_future(socket.send("hello"))
        try:
            await socket.recv()
        except ConnectionClosed as error:
            outcome.set_result(error.code)
        finally:
            sending.cancel()

    peer = stall(view)
    await peer.accepted()
    assert await asyncio.wait_for(outcome, 5) == 1013
    await peer.wait(timeout=5)


async def test_peer_that_reads_slowly(connect, settings_of_ours):
    """As long as the peer reads, a connection lasts longer than SEND_TIMEOUT."""
    settings_of_ours(SEND_TIMEOUT=1)

    async def view(socket):
        await asyncio.gather(*(socket.send(str(number)) for number in range(8)))

    peer = connect(websocket(view))
    application = peer.application
    turn = asyncio.Semaphore(0)

    async def slow(scope, receive, send):
        async def slow_send(event):
            if event["type"] == "websocket.send":
                await turn.acquire()
            await send(event)

        await application(scope, receive, slow_send)

    peer.application = slow
    await peer.accepted()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for number in range(8):
        loop.call_later(0.2, turn.release)
        assert await peer.hear() == str(number)
    assert loop.time() - begun > 1.5
    assert await peer.closed() == (1000, "")


async def test_cancelled_send_is_no_stuck_one(connect, settings_of_ours):
    """A send() that the view itself has given up does not end the connection."""
    settings_of_ours(SEND_TIMEOUT=0.2)

    async def view(socket):
        await socket.accept()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await socket.send("stuck")
        await asyncio.sleep(0.5)
        await socket.send("there")

    peer = connect(websocket(view))
    stalled = Stalled(peer)
    await peer.accepted()
    asyncio.get_running_loop().call_later(0.1, stalled.reads.set)
    assert await peer.hear() == "there"
    assert await peer.closed() == (1000, "")


async def test_cancelled_feed(connect, settings_of_ours):
    """A task that is cancelled wherever it sends leaves no trace of it."""
    settings_of_ours(SEND_TIMEOUT=0.2)

    async def view(socket):
        async def feed():
            while True:
                await socket.send("news")

        await socket.accept()
        feeding = asyncio.ensure_future(feed())
        # It is where it lets others run.
        await asyncio.sleep(0)
        feeding.cancel()
        await asyncio.wait({feeding})
        await asyncio.sleep(0.5)
        await socket.send("there")

    peer = connect(websocket(view))
    await peer.accepted()
    while await peer.hear() != "there":
        pass
    assert await peer.closed() == (1000, "")


async def test_idle_timeout(connect, settings_of_ours):
    """A connection over which nothing is said is closed with 1001."""
    settings_of_ours(IDLE_TIMEOUT=0.2)
    outcome = asyncio.get_running_loop().create_future()

    @websocket
    async def view(socket):
        try:
            await socket.recv()
        except ConnectionClosed as error:
            outcome.set_result((error.code, error.reason))

    peer = connect(view)
    await peer.accepted()
    assert await peer.closed() == (1001, "idle")
    assert await outcome == (1001, "idle")


async def test_idle_view(connect, settings_of_ours):
    """A view that is busy elsewhere is cancelled when its connection is idle."""
    settings_of_ours(IDLE_TIMEOUT=0.2)
    cancelled = asyncio.Event()

    @websocket
    async def view(socket):
        await socket.accept()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    peer = connect(view)
    await peer.accepted()
    assert await peer.closed() == (1001, "idle")
    await asyncio.wait_for(cancelled.wait(), 5)


async def test_idle_before_the_accept(connect, settings_of_ours):
    """How long a handshake may take is for OPEN_TIMEOUT to say."""
    settings_of_ours(IDLE_TIMEOUT=0.1)

    @websocket
    async def view(socket):
        await asyncio.sleep(0.4)
        await socket.send("hello")

    peer = connect(view)
    await peer.accepted()
    assert await peer.hear() == "hello"
    assert await peer.closed() == (1000, "")


@pytest.mark.parametrize("who", ["peer", "view"])
async def test_connection_in_use(connect, settings_of_ours, who):
    """A connection over which something goes, either way, is not idle."""
    settings_of_ours(IDLE_TIMEOUT=1)

    @websocket
    async def view(socket):
        await socket.accept()
        if who == "peer":
            async for message in socket:
                if message == "last":
                    await socket.send(message)
        for _ in range(6):
            await asyncio.sleep(0.25)
            await socket.send("tick")
        await socket.send("last")

    peer = connect(view)
    await peer.accepted()
    if who == "peer":
        loop = asyncio.get_running_loop()
        for number in range(6):
            spoken = loop.create_future()
            loop.call_later(0.25, spoken.set_result, number)
            await peer.say(str(await spoken))
        await peer.say("last")
    while await peer.hear() != "last":
        pass
    await peer.leave()


async def test_recv_with_a_timeout_is_idle(connect, settings_of_ours):
    """A view that asks again and again does not keep a silent connection open."""
    settings_of_ours(IDLE_TIMEOUT=0.4)

    @websocket
    async def view(socket):
        await socket.accept()
        while True:
            try:
                async with asyncio.timeout(0.05):
                    await socket.recv()
            except TimeoutError:
                pass

    peer = connect(view)
    await peer.accepted()
    assert await peer.closed() == (1001, "idle")
