"""Presence of those who leave and come back at once, as pages that reload do."""

import asyncio
import json
import os
import re
import sys
import threading
import time

import pytest
from django.urls import path

from django_asgi_ext import groups, websocket
from django_asgi_ext.groups import departures as module
from django_asgi_ext.groups.departures import Departure, Departures, departures
from django_asgi_ext.groups.memory import MemoryBackend

pytest_plugins = ["redis_fixtures"]

# For how long who has left is there, in seconds: briefly, and longer than a test.
GRACE, LONG = 0.4, 300

POLICIES = {
    "brief.*": {"presence": True, "grace": GRACE},
    "long.*": {"presence": True, "grace": LONG},
    "none.*": {"presence": True},
}

ADA, GRACE_HOPPER = {"id": "ada"}, {"id": "grace"}


@pytest.fixture
def backend(backend):
    """Use one of the backends; nobody has left in the end."""
    yield
    for departure in list(departures._due):
        departures.call_back(departure)


@websocket
async def introduced(socket, group, name):
    """Join a group by a name, and leave it and join again as the peer says."""
    await socket.join(group, info={"id": name})
    async for message in socket:
        if message == "leave":
            await socket.leave(group)
        else:
            await socket.join(group, info=json.loads(message))
        await socket.send(message)


@pytest.fixture
def suffix(request):
    """Return the end of the names of this test's groups: others may still be there."""
    return re.sub(r"[^\w.]", ".", request.node.name)


@pytest.fixture
def member(backend, suffix, connect, urls):
    """Connect a peer that joins; return it and the ids of who is there."""
    urls(path("ws/<group>/<name>/", introduced))

    async def make(group, name):
        peer = connect(f"/ws/{group}.{suffix}/{name}/")
        await peer.accepted()
        told = json.loads(await peer.hear())
        return peer, [member["id"] for member in told["members"]]

    return make


async def heard(peer):
    message = json.loads(await peer.hear())
    return message["@presence"], message["member"]["id"]


async def time_is_over():
    """Let the time be over of all who have left, and wait until they are told of."""
    for departure in list(departures._due):
        departures.add(departure, 0.001)
    async with asyncio.timeout(20):
        while departures:
            await asyncio.sleep(0.005)


async def test_coming_back(member):
    """Who comes back in time has never left, as far as others see."""
    grace, _ = await member("long", "grace")
    ada, _ = await member("long", "ada")
    assert await heard(grace) == ("join", "ada")
    await ada.leave()
    ada, there = await member("long", "ada")
    assert there == ["grace", "ada"]
    await time_is_over()
    assert await grace.receive_nothing()
    await ada.leave()
    await time_is_over()
    assert await heard(grace) == ("leave", "ada")
    await grace.leave()


async def test_not_coming_back(member, suffix):
    """Who does not come back leaves when the time is over, once."""
    grace, _ = await member("brief", "grace")
    ada, _ = await member("brief", "ada")
    assert await heard(grace) == ("join", "ada")
    start = time.monotonic()
    await ada.leave()
    assert await groups.amembers(f"brief.{suffix}") == [GRACE_HOPPER, ADA]
    assert await heard(grace) == ("leave", "ada")
    assert time.monotonic() - start >= GRACE
    assert await groups.amembers(f"brief.{suffix}") == [GRACE_HOPPER]
    ada, there = await member("brief", "ada")
    assert there == ["grace", "ada"]
    assert await heard(grace) == ("join", "ada")
    for peer in (ada, grace):
        await peer.leave()


async def test_same_socket(member):
    """A socket that leaves a group and joins it again is there, also afterwards."""
    grace, _ = await member("long", "grace")
    ada, _ = await member("long", "ada")
    assert await heard(grace) == ("join", "ada")
    await ada.say("leave")
    assert await ada.hear() == "leave"
    await ada.say('{"id": "ada"}')
    assert json.loads(await ada.hear())["@presence"] == "members"
    assert await ada.hear() == '{"id": "ada"}'
    await time_is_over()
    later, there = await member("long", "later")
    assert there == ["grace", "ada", "later"]
    assert await heard(grace) == ("join", "later")
    for peer in (later, ada, grace):
        await peer.leave()


async def test_no_grace(member):
    """Without a time, who leaves has left at once."""
    grace, _ = await member("none", "grace")
    ada, _ = await member("none", "ada")
    assert await heard(grace) == ("join", "ada")
    await ada.leave()
    assert not departures
    assert await heard(grace) == ("leave", "ada")
    await grace.leave()


async def test_long_and_short(member):
    """A long time in one group does not hold up who leaves another one."""
    grace, _ = await member("brief", "grace")
    one, _ = await member("long", "ada")
    two, _ = await member("brief", "ada")
    assert await heard(grace) == ("join", "ada")
    await one.leave()
    await two.leave()
    assert await heard(grace) == ("leave", "ada")
    # It is told a moment before it is taken out.
    await asyncio.to_thread(wait, lambda: len(departures) == 1)
    await grace.leave()


class Told:
    """A backend that is told who leaves; it may take its time for it, or fail."""

    def __init__(self):
        self.told = []
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.may_end.set()

    def exit(self, group, key, token):
        """Note it."""
        self.begun.set()
        assert self.may_end.wait(20)
        if token == "fails":
            raise ConnectionError("exit failed")
        self.told.append((group, key, token))


def wait(condition):
    """Wait until a condition holds."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_order():
    """Each is told of when its own time is over, by one thread that then ends."""
    backend, leaving = Told(), Departures()
    leaving.add(Departure(backend, "g", "k", "last"), 0.3)
    leaving.add(Departure(backend, "g", "k", "first"), 0.05)
    leaving.add(Departure(backend, "g", "k", "at once"), 0)
    wait(lambda: leaving._thread is None)
    assert [token for *_, token in backend.told] == ["at once", "first", "last"]
    assert not leaving


def test_called_back():
    """Who was called back is not told of; who leaves again has the time anew."""
    backend, leaving = Told(), Departures()
    departure = Departure(backend, "g", "k", "t")
    leaving.add(departure, 0.1)
    leaving.call_back(departure)
    assert not leaving
    leaving.call_back(departure)
    start = time.monotonic()
    leaving.add(departure, 0.3)
    wait(lambda: backend.told)
    assert time.monotonic() - start >= 0.3
    wait(lambda: leaving._thread is None)
    assert backend.told == [("g", "k", "t")]


def test_called_back_too_late():
    """Who is called back while it is told of waits for the end of that."""
    backend, leaving = Told(), Departures()
    backend.may_end.clear()
    departure = Departure(backend, "g", "k", "t")
    leaving.add(departure, 0.01)
    assert backend.begun.wait(20)
    calling = threading.Thread(target=leaving.call_back, args=[departure])
    calling.start()
    calling.join(0.1)
    assert calling.is_alive()
    backend.may_end.set()
    calling.join(20)
    assert backend.told == [("g", "k", "t")]


def test_failure(caplog):
    """A backend that fails is logged, and the others are told all the same."""
    backend, leaving = Told(), Departures()
    leaving.add(Departure(backend, "g", "k", "fails"), 0.01)
    leaving.add(Departure(backend, "g", "k", "t"), 0.02)
    wait(lambda: leaving._thread is None)
    assert backend.told == [("g", "k", "t")]
    assert caplog.messages == ["Leaving the group g failed."]
    assert not leaving


@pytest.mark.parametrize("seconds", [sys.maxsize, sys.float_info.max])
def test_grace_for_ever(seconds):
    """Who is there for longer than a thread can wait keeps nobody else there."""
    backend, leaving = Told(), Departures()
    for_ever = Departure(backend, "g", "k", "stays")
    leaving.add(for_ever, seconds)
    # The thread waits, and has let go of this.
    wait(lambda: leaving._changed._waiters)
    leaving.add(Departure(backend, "g", "k", "t"), 0.01)
    wait(lambda: len(leaving) == 1)
    assert backend.told == [("g", "k", "t")]
    leaving.call_back(for_ever)
    assert not leaving


def test_no_thread(monkeypatch, caplog):
    """Where no thread can begin, who leaves is told of at once."""

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    backend, leaving = Told(), Departures()
    with monkeypatch.context() as patch:
        patch.setattr(module.Thread, "start", refuse)
        leaving.add(Departure(backend, "g", "k", "t"), 300)
    assert backend.told == [("g", "k", "t")]
    assert caplog.messages == [
        "Who has left is told of at once: no thread can begin.",
    ]
    assert not leaving
    leaving.add(Departure(backend, "g", "k", "next"), 0.01)
    wait(lambda: len(backend.told) == 2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_fork():
    """A process that is forked leaves those who have left to the first one."""
    backend = Told()
    departure = Departure(backend, "g", "k", "t")
    departures.add(departure, LONG)
    try:
        pid = os.fork()
        if not pid:
            os._exit(bool(departures) or departures._thread is not None)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert list(departures._due) == [departure]
    finally:
        departures.call_back(departure)


def test_closed_backend():
    """Who leaves a backend that is closed is not told of."""
    delivered = []
    backend = MemoryBackend(None, lambda *message: delivered.append(message))
    asyncio.run(backend.enter("g", "k", "t", ADA))
    delivered.clear()
    backend.close()
    backend.exit("g", "k", "t")
    assert delivered == []
