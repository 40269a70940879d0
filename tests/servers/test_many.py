"""
A server that shuts down with many WebSockets open.

The environment says how many: SOCKETS=2000 is the full test.
"""

import asyncio
import json
import os
import signal
import time

import pytest
from raw import CLOSE, FIN, close_frame, handshake
from serving import ENVIRONMENT, Server

SOCKETS = int(os.environ.get("SOCKETS", "300"))
VIEWS = ["waiting", "pushing", "busy", "cleaning_up"]

# From SIGTERM to the end of the process, in seconds.
LIMIT = 5

# Handshakes at once: fewer than a server's backlog.
AT_ONCE = 50

pytestmark = [pytest.mark.alone, pytest.mark.timeout(60 + SOCKETS / 20)]


class Peer(asyncio.Protocol):
    """A client of few lines, for both sides share the processors."""

    def __init__(self, path, answers):
        loop = asyncio.get_running_loop()
        # Done when the handshake is, and when the TCP connection has ended.
        self.opened, self.left = loop.create_future(), loop.create_future()
        self.close_code = None
        self._path, self._answers = path, answers
        self._unread = b""

    def connection_made(self, transport):
        self._transport = transport
        transport.write(handshake(self._path))

    def data_received(self, data):
        self._unread += data
        if not self.opened.done():
            head, end, rest = self._unread.partition(b"\r\n\r\n")
            if not end:
                return
            assert head.startswith(b"HTTP/1.1 101 "), head
            self._unread = rest
            self.opened.set_result(None)
        # No frame here is longer than a header of two bytes can say.
        while len(self._unread) >= 2 and len(self._unread) >= 2 + self._unread[1]:
            first, end = self._unread[0], 2 + self._unread[1]
            payload, self._unread = self._unread[2:end], self._unread[end:]
            if first == FIN | CLOSE:
                self.close_code = int.from_bytes(payload[:2])
                if self._answers:
                    self._transport.write(close_frame(self.close_code))

    def connection_lost(self, error):
        self.left.set_result(None)
        if not self.opened.done():
            self.opened.set_exception(error or EOFError())


@pytest.fixture(autouse=True)
def files():
    """Allow this process and its servers as many open files as they need."""
    resource = pytest.importorskip("resource", reason="Windows has no such limit")
    needed = SOCKETS + 200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.skip(f"{needed} open files are needed and {hard} allowed (ulimit -Hn)")
    if soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def server(tmp_path):
    """Run the project in many.py on hypercorn."""
    running = Server("hypercorn", "many:application", tmp_path, ENVIRONMENT)
    yield running
    running.stop()


async def open_all(port, number, deaf):
    """Connect to each of the views in equal parts; every second may be deaf."""
    loop = asyncio.get_running_loop()
    turn = asyncio.Semaphore(AT_ONCE)

    async def open_one(index):
        answers = not deaf or index // len(VIEWS) % 2 == 0
        async with turn:
            _, peer = await loop.create_connection(
                lambda: Peer(f"/{VIEWS[index % len(VIEWS)]}", answers),
                "127.0.0.1",
                port,
            )
            await peer.opened
            return peer

    return await asyncio.gather(*(open_one(index) for index in range(number)))


@pytest.mark.parametrize("deaf", [False, True], ids=["all answer", "half are deaf"])
async def test_shutdown(server, deaf, record_property):
    """All peers see 1012, all views end, then the lifespan, and the process in time."""
    peers = await open_all(server.port, SOCKETS, deaf)
    assert not any(peer.left.done() for peer in peers)

    start = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    exit_code = await asyncio.to_thread(server.process.wait, 10 * LIMIT)
    seconds = time.monotonic() - start
    await asyncio.wait_for(asyncio.gather(*(peer.left for peer in peers)), LIMIT)

    record_property("seconds", seconds)
    print(f"{SOCKETS} WebSockets: {seconds:.2f} s from SIGTERM to the end")
    assert {peer.close_code for peer in peers} == {1012}
    assert exit_code == 0
    last = server.log.splitlines()[-1]
    assert last.startswith("SHUTDOWN "), server.log
    assert json.loads(last.removeprefix("SHUTDOWN ")) == {
        view: len(range(index, SOCKETS, len(VIEWS))) for index, view in enumerate(VIEWS)
    }
    assert seconds <= LIMIT
