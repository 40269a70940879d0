"""Members of groups, on every server."""

import contextlib
import json
import time
import urllib.request

import pytest
from raw import RawClient
from serving import ENVIRONMENT, Server
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


@pytest.fixture(scope="session")
def grouped(server_name, tmp_path_factory):
    """Run the project in grouped.py, for all tests here."""
    folder = tmp_path_factory.mktemp(f"{server_name}-grouped")
    running = Server(server_name, "grouped:application", folder, ENVIRONMENT)
    yield running
    running.stop()


@pytest.fixture
def member(grouped):
    """Connect peers to groups."""
    with contextlib.ExitStack() as stack:

        def make(path):
            return stack.enter_context(connect(grouped.url(path), max_queue=None))

        yield make


def publish(server, group, **arguments):
    """Ask the page to publish, and wait for its answer."""
    query = "&".join(f"{name}={value}" for name, value in arguments.items())
    url = server.url(f"/publish/{group}/?{query}", "http")
    with urllib.request.urlopen(url, timeout=30) as response:
        assert response.read() == b"published"


def number(message):
    return int(message.partition(":")[0])


def test_members_get_all(grouped, member, token):
    """Members get what a page publishes, in order, whatever their views do."""
    peers = [member(f"/{view}/{token}/") for view in ("asleep", "talking")]
    publish(grouped, token, count=100)
    for peer in peers:
        assert [number(peer.recv(10)) for _ in range(100)] == list(range(100))
    publish(grouped, token, count=2, size=200_000)
    for peer in peers:
        assert [len(peer.recv(10)) for _ in range(2)] == [200_002] * 2


def test_messages_of_a_thread(grouped, member, token):
    """A member gets what a thread without an event loop publishes, in order."""
    peer = member(f"/talking/{token}/")
    publish(grouped, token, count=5000, thread=1)
    for expected in range(5000):
        assert number(peer.recv(10)) == expected


def test_messages_between_others(grouped, member, token):
    """Messages of the view and of the group come whole, each kind in order."""
    peer = member(f"/talking/{token}/")
    publish(grouped, token, count=200, thread=1)
    for said in range(200):
        peer.send(f"{said}:said")
    heard = [peer.recv(10) for _ in range(400)]
    of_view = [number(message) for message in heard if message.endswith("said")]
    of_group = [number(message) for message in heard if message.endswith(":")]
    assert of_view == of_group == list(range(200))


def test_close_among_messages(grouped, member, token):
    """A view that closes while messages come is closed once, and cleanly."""
    grouped.begin_log()
    for _ in range(5):
        peer = member(f"/talking/{token}/")
        publish(grouped, token, count=1000, size=100, thread=1)
        peer.send("close")
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                peer.recv(10)
        assert closed.value.rcvd.code == 4000
    assert "Traceback" not in grouped.log


def test_peers_that_break_off(grouped, member, token):
    """Peers that break off while messages come harm nobody."""
    grouped.begin_log()
    staying = member(f"/talking/{token}/")
    for _ in range(10):
        peer = RawClient(grouped)
        peer.open(f"/talking/{token}/")
        peer.reset()
        publish(grouped, token, count=10)
    assert [number(staying.recv(10)) for _ in range(100)] == list(range(10)) * 10
    assert "Traceback" not in grouped.log


def test_peer_that_never_reads(grouped, member, token):
    """A member that reads nothing is ended, and the others get everything meanwhile."""
    grouped.begin_log()
    with RawClient(grouped, 4096) as peer:
        peer.open(f"/asleep/{token}/")
        other = member(f"/talking/{token}/")
        for _ in range(30):
            publish(grouped, token, count=20, size=20_000)
            assert [number(other.recv(10)) for _ in range(20)] == list(range(20))
        grouped.wait_for_log("ASLEEP ENDED 1013")
    assert "too slow" in grouped.log
    assert "Traceback" not in grouped.log


def test_peer_that_reads_late(grouped, member, token):
    """A member that may lose messages gets the newest once it reads again."""
    group = f"news.{token}"
    with RawClient(grouped, 4096) as peer:
        peer.open(f"/talking/{group}/")
        other = member(f"/talking/{group}/")
        for _ in range(30):
            publish(grouped, group, count=20, size=20_000)
            assert [number(other.recv(10)) for _ in range(20)] == list(range(20))
        publish(grouped, group, count=1, size=3)
        heard = b""
        deadline = time.monotonic() + 10
        while not heard.endswith(b"0:xxx"):
            assert time.monotonic() < deadline
            heard = (heard + peer.connection.recv(65536))[-100:]


def test_resuming(grouped, member, token):
    """A peer that comes back with an id gets what it has missed, on a real server."""
    group = f"kept.{token}"
    peer = member(f"/talking/{group}/")
    # Where the group is.
    last_id = json.loads(peer.recv(10))["@id"]
    for _ in range(2):
        peer.close()
        publish(grouped, group, count=3)
        peer = member(f"/talking/{group}/?last_id={last_id}")
        messages = [json.loads(peer.recv(10)) for _ in range(3)]
        assert [message["data"] for message in messages] == ["0:", "1:", "2:"]
        last_id = messages[-1]["@id"]
