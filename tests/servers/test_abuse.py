"""
What a server still holds when hundreds of connections were broken off.

ABUSE_ROUNDS sets how many rounds of 300 connections are measured, ABUSE_SEED which
order and which moments they take: a failure prints the one it had.
"""

import asyncio
import http.client
import json
import os
import random
import re
import time
from contextlib import closing

import pytest
from abuse import WAYS, abuse, say_hello
from serving import COMMANDS, ENVIRONMENT, Server

ROUNDS = int(os.environ.get("ABUSE_ROUNDS", "3"))
SEED = int(os.environ.get("ABUSE_SEED", random.randrange(2**32)))

# Caches and pools grow until they have met everything once.
WARM_UP = 2

# The project in abused.py waits for a peer for two seconds at most, some servers do
# for five.
QUIET_WITHIN = 20

# As in abused.py.
THREADS = 6

# What comes and goes between two readings on a server that has no leak. What one
# connection of ours consists of takes some 100 objects and 10 KB at least, and the
# default of three rounds opens 900.
MOST_OBJECTS = 10_000
MOST_KILOBYTES = 6 * 1024
# Its half in Rust has an allocator of its own, which gives back what it likes: up and
# down by 16 MB, with nothing to be seen behind it.
MOST_KILOBYTES_ON = {"granian": 24 * 1024}

# What a server logs for a reason of its own; a bare ASGI application gets it too.
EXCUSED = {
    # It logs with a traceback what the peer does wrong.
    "uvicorn": ["in send_receive_event_to_app"],
    # It is not told of a peer that is gone before the application is called. In the
    # end it writes to that peer, fails, and forgets the task that reads.
    "gunicorn": ["_send_close(CLOSE_INTERNAL_ERROR", "WebSocketProtocol._read_frames"],
}
COMPLAINT = re.compile(
    r"^(?:Traceback \(.*\n(?:[ ].*\n)*.*|Task was destroyed.*\n.*"
    r"|Exception ignored.*|.*never retrieved.*)$",
    re.MULTILINE,
)

pytestmark = [
    pytest.mark.alone,
    pytest.mark.timeout(60 + 40 * (WARM_UP + ROUNDS)),
]


def readings(server, seconds):
    """Yield what the server holds, again and again."""
    deadline = time.monotonic() + seconds
    # One connection for all: each leaves its traces for a while.
    with closing(
        http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    ) as connection:
        while time.monotonic() < deadline:
            connection.request("GET", "/")
            held = json.loads(connection.getresponse().read())
            yield held | {"tasks": sum(held["tasks"].values()), "which": held["tasks"]}
            time.sleep(0.1)


def held_when_quiet(server, before):
    for held in readings(server, QUIET_WITHIN):
        if all(held[what] <= before[what] for what in ("tasks", "files", "sockets")):
            break
    return held


@pytest.fixture(scope="module", params=list(COMMANDS))
def server(request, tmp_path_factory):
    """Run the project in abused.py."""
    folder = tmp_path_factory.mktemp(request.param)
    running = Server(request.param, "abused:application", folder, ENVIRONMENT)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def held(server):
    """Return what the server holds before it is abused, and after each round."""
    print(f"ABUSE_SEED={SEED}")
    chance = random.Random(SEED)
    asyncio.run(say_hello(server.port))
    *_, before = readings(server, 2)
    held = [before]
    for _ in range(WARM_UP + ROUNDS):
        asyncio.run(abuse(server.port, chance))
        held.append(held_when_quiet(server, before))
        print(held[-1])
    return held


def test_there_are_twenty_ways():
    """Connections are broken off in more than twenty ways."""
    assert len(WAYS) > 20


@pytest.mark.parametrize("what", ["connections", "sockets"])
def test_connections(held, what):
    """No connection is counted any more, and no object of one is alive."""
    assert [after[what] for after in held] == [0] * len(held)


def test_tasks(held):
    """No task is left."""
    assert max(after["tasks"] for after in held) == held[0]["tasks"]


def test_files(held):
    """No file handle is left."""
    assert max(after["files"] for after in held) == held[0]["files"]


def test_threads(held):
    """No thread is left but those that wait for work, THREADS at most."""
    assert max(after["threads"] for after in held) <= held[0]["threads"] + THREADS


def test_objects(held):
    """Once it is warm, the process holds no more objects."""
    assert held[-1]["objects"] - held[WARM_UP]["objects"] < MOST_OBJECTS


def test_memory(server, held):
    """Once it is warm, the process does not grow."""
    most = MOST_KILOBYTES_ON.get(server.name, MOST_KILOBYTES)
    assert held[-1]["kilobytes"] - held[WARM_UP]["kilobytes"] < most


def test_log(server, held):
    """No traceback is logged, and no task is forgotten."""
    excused = EXCUSED.get(server.name, [])
    complaints = [
        complaint
        for complaint in COMPLAINT.findall(server.log)
        if "django_asgi_ext" in complaint
        or not any(excuse in complaint for excuse in excused)
    ]
    assert complaints == []
