"""Many WebSockets and one database, on real servers."""

import json
import os
import time
from contextlib import ExitStack
from pathlib import Path

import django
import pytest
from django.conf import settings
from raw import FIN, TEXT, RawClient, frame
from serving import ENVIRONMENT, Server

pytest_plugins = ["postgres"]

pytestmark = pytest.mark.alone

THREADS = 4

# Those that break connections, and those that hold none.
AT_WORK, IDLE = 200, 300

# How long a call or an echo may take that nothing stands in the way of, in seconds.
QUICK = 1

# Which database, and how its connections are kept.
DATABASES = {
    "sqlite": {"CONN_MAX_AGE": 0},
    "postgresql": {"CONN_MAX_AGE": 0},
    "postgresql kept": {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True},
    "postgresql pool": {
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"pool": {"min_size": 1, "max_size": THREADS}},
    },
}


@pytest.fixture(scope="module", params=["hypercorn", "uvicorn"])
def server_name(request):
    """Run the test on each of these."""
    return request.param


@pytest.fixture(scope="module", params=DATABASES)
def stored(request, server_name, tmp_path_factory):
    """Run the project in stored.py on a database."""
    name, database = request.param, DATABASES[request.param]
    if "pool" in name and django.VERSION < (5, 1):
        pytest.skip("Django below 5.1 has no pool")
    if "postgresql" in name:
        postgres = request.getfixturevalue("postgres")
        database = postgres.database(**database)
    running = Server(
        server_name,
        "stored:application",
        tmp_path_factory.mktemp(server_name),
        {**ENVIRONMENT, "STORED_DATABASE": json.dumps(database)},
    )
    yield running
    still_runs = running.process.poll() is None
    running.stop()
    assert still_runs, running.log


def on(*databases):
    """Run the test on these databases only."""
    return pytest.mark.parametrize("stored", databases, indirect=True, scope="module")


@pytest.fixture
def connect(stored):
    """Return a function that opens WebSockets, which are closed at the end."""
    with ExitStack() as stack:

        def connect(path, number):
            peers = [stack.enter_context(RawClient(stored)) for _ in range(number)]
            for peer in peers:
                peer.open(path)
            return peers

        yield connect


def say(peer, text):
    peer.send(frame(FIN | TEXT, text.encode()))


def hear(peer):
    first, payload = peer.read_frame()
    assert first == FIN | TEXT
    return payload.decode()


@on("postgresql", "postgresql kept", "postgresql pool")
def test_connections_that_break(connect, postgres):
    """When all database connections break, only the calls in flight fail."""
    peers = connect("/querying/", AT_WORK)
    for peer in peers:
        say(peer, "0.01")
        # Already there when the first is answered.
        say(peer, "0.01")
    answers = {peer: [] for peer in peers}
    answers[peers[0]].append(hear(peers[0]))
    # None in the moment between two of them.
    deadline = time.monotonic() + 5
    while not (broken := postgres.terminate_clients()):
        assert time.monotonic() < deadline
    for peer, heard in answers.items():
        while len(heard) < 2:
            heard.append(hear(peer))
    assert max(heard.count("failed") for heard in answers.values()) <= 1
    assert sum(heard.count("failed") for heard in answers.values()) <= broken

    for peer in peers:
        say(peer, "0")
    assert {hear(peer) for peer in peers} == {"done"}


def connections_of(server, request):
    """Return how many database connections a server has."""
    if "postgresql" in request.node.callspec.params["stored"]:
        return len(request.getfixturevalue("postgres").clients())
    name = os.path.realpath(settings.DATABASES["default"]["NAME"])
    return sum(
        os.path.realpath(file) == name
        for pid in server.family()
        for file in Path(f"/proc/{pid}/fd").iterdir()
    )


@pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="open files are read from /proc"
)
def test_idle_sockets_hold_no_connection(stored, connect, request):
    """Idle sockets hold no database connection; at most the threads keep one each."""
    database = request.node.callspec.params["stored"]
    peers = connect("/querying/", IDLE)
    for peer in peers:
        say(peer, "0")
    assert {hear(peer) for peer in peers} == {"done"}
    if database in ("sqlite", "postgresql"):
        deadline = time.monotonic() + 2
        while connections_of(stored, request):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    else:
        assert 1 <= connections_of(stored, request) <= THREADS


@on("sqlite", "postgresql", "postgresql pool")
def test_calls_that_take_long(stored, connect):
    """While all threads but one are in a call, nobody else is held up."""
    sleeping = connect("/querying/", THREADS - 1)
    (quick,) = connect("/querying/", 1)
    others = connect("/echo/", 20)
    for peer in sleeping:
        say(peer, "2")
    for _ in range(2):
        times = {"query": timed(quick, "0", "done")}
        times.update((peer.port, timed(peer, "hello", "hello")) for peer in others)
        assert max(times.values()) < QUICK
    # All of it was while they slept.
    assert all(peer.is_silent_for(0) for peer in sleeping)
    assert {hear(peer) for peer in sleeping} == {"done"}


def timed(peer, question, answer):
    """Return how long an answer takes, in seconds."""
    start = time.monotonic()
    say(peer, question)
    assert hear(peer) == answer
    return time.monotonic() - start
