"""A peer that sends too much, or reads too little."""

import contextlib
import json
import os
import re
import struct
import time
import zlib
from pathlib import Path

import pytest
from grid import behaviour
from raw import BINARY, CLOSE, CONTINUATION, FIN, PATIENCE, RawClient, frame
from serving import ENVIRONMENT, Server

MIB = 1024 * 1024

# What a process may grow by, whatever a peer does. It has up to 32 messages in a
# queue of the server's (gunicorn) and 1 MiB of them in the inbox, and each that
# comes or goes is in two or three buffers for a moment.
BOUND = 48 * MIB

# The largest message that a server takes, which granian does not let one change.
LARGEST = 64 * MIB

# The first reserved bit: the message is compressed.
RSV1 = 0x40

# It takes long to unmask a large message.
OPTIONS = {"gunicorn": ["--websocket-max-message-size", str(2 * MIB)]}

LIMITS = {"SEND_TIMEOUT": 1, "CLOSE_TIMEOUT": 1, "SHUTDOWN_SPREAD": 0}


@pytest.fixture(scope="session")
def flowing(server_name, tmp_path_factory):
    """Run the project in flowing.py, for all tests here."""
    running = Server(
        server_name,
        "flowing:application",
        tmp_path_factory.mktemp(server_name),
        {**ENVIRONMENT, "SERVED_ASGI_EXT": json.dumps(LIMITS)},
        *OPTIONS.get(server_name, []),
    )
    yield running
    running.stop()


def memory(server):
    """Return how many bytes of memory the processes of a server take."""
    return sum(
        int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        * os.sysconf("SC_PAGE_SIZE")
        for pid in server.family()
    )


def growth(server, seconds):
    """Return by how much the memory of a server grows at most in some seconds."""
    before = most = memory(server)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        most = max(most, memory(server))
        time.sleep(0.02)
    return most - before


def flood(peer, message, seconds):
    """Send a message again and again; return how many bytes went out."""
    sent = 0
    peer.connection.settimeout(0.2)
    deadline = time.monotonic() + seconds
    with contextlib.suppress(ConnectionError):
        while time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                sent += peer.connection.send(message)
    return sent


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="memory is read from /proc"
)


@needs_proc
@pytest.mark.parametrize(
    ("view", "size"), [("deaf", 10), ("deaf", 900_000), ("slow", 65536)]
)
@behaviour("A peer that sends more than the view receives is held back")
def test_flood(flowing, view, size):
    """Memory stays bounded while a peer sends what the view does not receive."""
    with RawClient(flowing) as peer:
        peer.open(f"/{view}/")
        before = memory(flowing)
        message = frame(FIN | BINARY, b"x" * size)
        sent = flood(peer, message * max(1, 65536 // size), 2)
        grown = memory(flowing) - before
    assert grown < BOUND, f"{sent / MIB:.1f} MiB sent"


@needs_proc
@behaviour(
    "A message that does not end is refused with 1009, and nothing more of it is kept",
    rfc="7.4.1",
    impossible={"granian": "the peer sees a close without a code"},
)
def test_message_without_end(flowing, differs):
    """Memory stays bounded while a message goes on and on."""
    with RawClient(flowing) as peer:
        peer.open("/slow/")
        before = memory(flowing)
        peer.send(frame(BINARY, b"x" * 65536))
        flood(peer, frame(CONTINUATION, b"x" * 65536), 3)
        assert memory(flowing) - before < LARGEST + BOUND
        peer.connection.settimeout(PATIENCE)
        first, payload = peer.read_frame()
    assert first == FIN | CLOSE
    assert payload[:2] == (b"" if differs else struct.pack("!H", 1009))


def deflated(size):
    """Return the payload of a message of zeros (RFC 7692, section 7.2.1)."""
    compressor = zlib.compressobj(wbits=-15)
    payload = b"".join(compressor.compress(bytes(MIB)) for _ in range(size // MIB))
    return (payload + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def peak(server):
    """Return how many bytes of memory the processes of a server have taken at most."""
    statuses = [Path(f"/proc/{pid}/status").read_text() for pid in server.family()]
    found = [re.search(r"VmHWM:\s+(\d+) kB", status)[1] for status in statuses]
    return sum(map(int, found)) * 1024


@needs_proc
@behaviour(
    "A small message that unpacks to a large one is refused",
    rfc="7.4.1",
    differs={
        "granian": "as one with a reserved bit, since it takes no compression",
        "gunicorn": "as one with a reserved bit, since it takes no compression",
        "daphne": "as one with a reserved bit, since it takes no compression",
    },
)
def test_small_message_that_unpacks_to_a_large_one(flowing, differs):
    """No more is unpacked than the server takes in a message."""
    bomb = deflated(300 * MIB)
    with RawClient(flowing) as peer:
        headers = peer.open("/slow/", "Sec-WebSocket-Extensions: permessage-deflate")
        assert ("sec-websocket-extensions" in dict(headers)) is not differs
        for pid in flowing.family():
            # From now on (proc(5)).
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        before = peak(flowing)
        peer.send(frame(FIN | RSV1 | BINARY, bomb))
        first, payload = peer.read_frame()
        assert first == FIN | CLOSE
        assert differs or payload[:2] == struct.pack("!H", 1009)
        assert peak(flowing) - before < BOUND


@needs_proc
@behaviour("A peer that does not read holds send() back, and is cut off")
def test_peer_that_never_reads(flowing):
    """send() waits while the peer does not read; SEND_TIMEOUT ends the connection."""
    before = flowing.log.count("PUSHING ENDED 1013")
    with RawClient(flowing) as peer:
        peer.open("/pushing/")
        assert growth(flowing, 1) < BOUND
        deadline = time.monotonic() + 8
        while flowing.log.count("PUSHING ENDED 1013") == before:
            assert time.monotonic() < deadline, flowing.log[-2000:]
            time.sleep(0.05)
        # Only what the kernel holds is still there.
        with contextlib.suppress(ConnectionError):
            assert len(peer.read_to_end()) < 64 * MIB
    assert "Traceback" not in flowing.log


@behaviour("A task that waits in recv() is told that the peer does not read")
def test_fan_out(flowing):
    """SEND_TIMEOUT ends recv() too when another task's send() is stuck."""
    before = flowing.log.count("FAN OUT ENDED 1013")
    with RawClient(flowing) as peer:
        peer.open("/fan-out/")
        deadline = time.monotonic() + 8
        while flowing.log.count("FAN OUT ENDED 1013") == before:
            assert time.monotonic() < deadline, flowing.log[-2000:]
            time.sleep(0.05)
