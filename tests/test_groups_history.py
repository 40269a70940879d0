"""Groups with a history: what a peer gets that comes back."""

import asyncio
import base64
import json
import sys
import threading
from datetime import timedelta

import pytest
from django.urls import path

from django_asgi_ext import groups, websocket
from django_asgi_ext.groups import delivery as groups_delivery, history, memory
from django_asgi_ext.groups.backends import backend
from django_asgi_ext.groups.history import Log
from django_asgi_ext.groups.memory import MemoryBackend
from django_asgi_ext.groups.message import encode, read_position, write_position
from django_asgi_ext.groups.policy import History

POLICIES = {
    "short.*": {"history": 3},
    "recent.*": {"history": timedelta(seconds=10)},
    "plain.*": {},
    "*": {"history": 1000},
}


@websocket(group="{group}")
async def listening(socket, group):
    """Wait until the peer leaves."""
    await socket.recv()


@pytest.fixture
def member(connect, urls, settings_of_ours):
    """
    Connect a peer to a group, with the ids that it has seen last.

    One that has seen none of the group is told first where that is: peer.here.
    """
    settings_of_ours(GROUPS={"POLICIES": POLICIES})
    urls(path("ws/<group>/", listening))

    async def make(group, *last_ids):
        query = "&".join(f"last_id={last_id}" for last_id in last_ids)
        peer = connect(f"/ws/{group}/?{query}")
        await peer.accepted()
        is_first = not any(last_id.startswith(f"{group}@") for last_id in last_ids)
        if is_first and not group.startswith("plain."):
            name, peer.here, rest = await hear(peer)
            assert (name, rest) == (group, {})
        return peer

    return make


async def hear(peer):
    """Return position and data of the next message."""
    message = json.loads(await peer.hear())
    group, _, position = message.pop("@id").rpartition("@")
    return group, position, message


async def test_wire_format(member):
    """Each message carries an id, text as a JSON string and bytes as base64."""
    peer = await member("chat")
    published = ['Grüße "\n', {"a": [1, None]}, 5, b"\x00\xff", ""]
    for message in published:
        groups.publish("chat", message)
    found = [await hear(peer) for _ in published]
    assert [group for group, _, _ in found] == ["chat"] * 5
    positions = [read_position(position) for _, position, _ in found]
    assert positions == sorted(set(positions))
    assert None not in positions
    assert [message for *_, message in found] == [
        {"data": 'Grüße "\n'},
        {"data": {"a": [1, None]}},
        {"data": 5},
        {"base64": base64.b64encode(b"\x00\xff").decode()},
        {"data": ""},
    ]
    await peer.leave()


async def test_without_history(member):
    """Messages of a group without history carry nothing but what was published."""
    peer = await member("plain.chat", "plain.chat@1-0")
    groups.publish("plain.chat", "hello")
    assert await peer.hear() == "hello"
    await peer.leave()


@pytest.mark.parametrize("last_ids", [[], ["nonsense"], ["other@1-0"], ["1-0"]])
async def test_first_visit(member, last_ids):
    """A peer without an id of the group gets what is published from then on."""
    groups.publish("chat", "before")
    peer = await member("chat", *last_ids)
    groups.publish("chat", "after")
    assert (await hear(peer))[2] == {"data": "after"}
    await peer.leave()


@pytest.mark.parametrize("published", [0, 2])
async def test_here(member, published):
    """A peer without an id is told where the group is, and may go on from there."""
    for number in range(published):
        groups.publish("chat", number)
    peer = await member("chat")
    assert await peer.receive_nothing()
    await peer.leave()
    groups.publish("chat", "meanwhile")
    peer = await member("chat", f"chat@{peer.here}")
    groups.publish("chat", "live")
    heard = [(await hear(peer))[2]["data"] for _ in range(2)]
    assert heard == ["meanwhile", "live"]
    await peer.leave()


async def test_here_while_others_publish(member):
    """No message lies between where the group was and the first one that comes."""
    is_over = threading.Event()

    def publish():
        while not is_over.wait(0.0002):
            groups.publish("chat", "message")

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        for _ in range(50):
            peer = await member("chat")
            live = (await hear(peer))[1]
            await peer.leave()
            again = await member("chat", f"chat@{peer.here}")
            assert (await hear(again))[1] == live
            await again.leave()
    finally:
        is_over.set()
        thread.join()


class NearBackend(MemoryBackend):
    """One that says where a group is when something else has happened."""

    async def subscribe(self, group):
        """Do what the test wants meanwhile."""
        position = await super().subscribe(group)
        return await self.meanwhile(group, position)


@pytest.fixture
def near(settings_of_ours):
    """Use that backend."""
    backend_path = "test_groups_history.NearBackend"
    settings_of_ours(GROUPS={"BACKEND": backend_path, "POLICIES": POLICIES})
    return backend()


async def test_published_behind_here(near, connect, urls):
    """What is published while a peer is told where the group is comes after that."""

    async def publish(group, position):
        await groups.apublish(group, "at once")
        return position

    near.meanwhile = publish
    urls(path("ws/<group>/", listening))
    peer = connect("/ws/chat/")
    await peer.accepted()
    (_, first, here), (_, second, message) = [await hear(peer) for _ in range(2)]
    assert (here, message) == ({}, {"data": "at once"})
    assert read_position(first) < read_position(second)
    assert await peer.receive_nothing()
    await peer.leave()


async def test_published_before_here(member, connect, urls):
    """What was published before a socket joins does not come, if on its way or not."""

    @websocket
    async def view(socket):
        await socket.accept()
        groups.publish("chat", "before")
        await socket.join("chat")
        groups.publish("chat", "after")
        await socket.recv()

    other = await member("chat")
    urls(path("ws/", view))
    peer = connect("/ws/")
    await peer.accepted()
    assert (await hear(peer))[2] == {}
    assert (await hear(peer))[2] == {"data": "after"}
    assert (await hear(other))[2] == {"data": "before"}
    await peer.leave()
    await other.leave()


async def test_position_that_is_not_known(near, connect, urls):
    """Where a group is may not be known; then a peer joins without being told."""

    async def forget(group, position):
        return None

    near.meanwhile = forget
    urls(path("ws/<group>/", listening))
    peer = connect("/ws/chat/")
    await peer.accepted()
    assert await peer.receive_nothing()
    groups.publish("chat", "1")
    assert (await hear(peer))[2] == {"data": "1"}
    await peer.leave()


async def test_left_before_here(near, connect, urls):
    """A socket that leaves while it joins is not told where the group is."""

    @websocket
    async def view(socket):
        async def leave(group, position):
            await socket.leave(group)
            return position

        near.meanwhile = leave
        await socket.accept()
        await socket.join("chat")
        await socket.send("left")

    peer = connect(view)
    await peer.accepted()
    assert await peer.hear() == "left"
    assert await peer.closed() == (1000, "")


async def test_peer_leaves_before_here(near, connect, urls):
    """A peer that leaves while it joins ends the view as one that leaves later."""
    peer = connect("/ws/chat/")
    joining, going_on = asyncio.Event(), asyncio.Event()

    async def wait(group, position):
        joining.set()
        await going_on.wait()
        return position

    near.meanwhile = wait
    urls(path("ws/<group>/", listening))
    await peer.accepted()
    await joining.wait()
    leaving = asyncio.create_task(peer.leave())
    await asyncio.sleep(0)
    going_on.set()
    await leaving
    assert groups_delivery._by_group == {}


async def test_others_run_meanwhile(connect, urls, settings_of_ours):
    """While a peer gets much that it has missed, other tasks have their turns."""
    settings_of_ours(GROUPS={"POLICIES": POLICIES})
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    @websocket
    async def view(socket):
        await socket.accept()
        counting = asyncio.create_task(count())
        await socket.join("chat")
        counting.cancel()

    groups.publish("chat", "first")
    position = write_position(
        (await backend().since("chat", (0, 0), History(9))).position
    )
    for number in range(900):
        groups.publish("chat", str(number))
    urls(path("ws/", view))
    peer = connect(f"/ws/?last_id=chat@{position}")
    await peer.accepted()
    assert [(await hear(peer))[2]["data"] for _ in range(900)] == [
        str(number) for number in range(900)
    ]
    assert await peer.closed() == (1000, "")
    assert turns >= 900 // 128


async def test_coming_back(member):
    """A peer with an id gets what it has missed, and then what is published."""
    peer = await member("chat")
    groups.publish("chat", "1")
    group, position, _ = await hear(peer)
    await peer.leave()
    for number in (2, 3):
        groups.publish("chat", str(number))
    peer = await member("chat", "other@1-1", f"{group}@{position}")
    groups.publish("chat", "4")
    assert [(await hear(peer))[2]["data"] for _ in range(3)] == ["2", "3", "4"]
    assert await peer.receive_nothing()
    await peer.leave()


async def test_nothing_missed(member):
    """A peer that has missed nothing gets nothing but what is new."""
    peer = await member("chat")
    groups.publish("chat", "1")
    _, position, _ = await hear(peer)
    await peer.leave()
    peer = await member("chat", f"chat@{position}")
    groups.publish("chat", "2")
    assert (await hear(peer))[2] == {"data": "2"}
    await peer.leave()


async def test_too_much_missed(member):
    """A peer that has missed more than is kept is told so, with an id to go on from."""
    peer = await member("short.chat")
    positions = []
    for number in range(6):
        groups.publish("short.chat", str(number))
        positions.append((await hear(peer))[1])
    await peer.leave()
    # The last three are kept, and nobody knows what came before the first of them.
    peer = await member("short.chat", f"short.chat@{positions[1]}")
    group, position, message = await hear(peer)
    assert (group, position, message) == ("short.chat", positions[5], {"@missed": True})
    groups.publish("short.chat", "6")
    assert (await hear(peer))[2] == {"data": "6"}
    await peer.leave()
    peer = await member("short.chat", f"short.chat@{positions[3]}")
    assert [(await hear(peer))[2]["data"] for _ in range(3)] == ["4", "5", "6"]
    await peer.leave()


async def test_as_much_missed_as_is_kept(member):
    """A peer that has missed all that is kept, and no more, gets it."""
    peer = await member("short.chat")
    groups.publish("short.chat", "0")
    _, position, _ = await hear(peer)
    await peer.leave()
    for number in (1, 2, 3):
        groups.publish("short.chat", str(number))
    peer = await member("short.chat", f"short.chat@{position}")
    assert [(await hear(peer))[2]["data"] for _ in range(3)] == ["1", "2", "3"]
    await peer.leave()


@pytest.mark.parametrize(
    "position",
    [
        *("", "x", "1", "1-", "-1", "1-2-3", "0-0", "%D9%A1-%D9%A1", "%00", "1-0%0A"),
        pytest.param("9" * 20 + "-0", id="future"),
        pytest.param("9" * 5000 + "-0", id="huge"),
    ],
)
async def test_id_that_is_none(member, position):
    """An id that the group has never had counts as too old, whatever it is."""
    peer = await member("chat", f"chat@{position}")
    assert (await hear(peer))[2] == {"@missed": True}
    await peer.leave()


async def test_id_of_another_group(member):
    """An id of a group that the socket does not join means nothing."""
    peer = await member("chat", "other@1-0", "nonsense", "@")
    groups.publish("chat", "1")
    assert (await hear(peer))[2] == {"data": "1"}
    await peer.leave()


async def test_many_fields_in_the_query(member, caplog):
    """A query with more fields than Django takes is no error of ours."""
    peer = await member("chat", *["chat@1-0"] * 1001)
    assert (await hear(peer))[2] == {"@missed": True}
    await peer.leave()
    assert not caplog.records


async def test_missed_id_leads_on(member):
    """The id that comes with the news that too much is missing is one to go on from."""
    peer = await member("chat", "chat@1-0")
    _, position, _ = await hear(peer)
    await peer.leave()
    groups.publish("chat", "1")
    peer = await member("chat", f"chat@{position}")
    assert (await hear(peer))[2] == {"data": "1"}
    await peer.leave()


async def test_join_and_leave(member, connect, urls):
    """A view that joins by itself resumes in the same way."""

    @websocket
    async def view(socket):
        async for group in socket:
            await socket.join(group)
            await socket.send("joined")

    urls(path("ws/<group>/", listening), path("own/", view))
    peer = await member("chat")
    groups.publish("chat", "1")
    _, position, _ = await hear(peer)
    await peer.leave()
    groups.publish("chat", "2")
    peer = connect(f"/own/?last_id=chat@{position}")
    await peer.accepted()
    await peer.say("chat")
    assert (await hear(peer))[2] == {"data": "2"}
    assert await peer.hear() == "joined"
    await peer.leave()


async def test_leave_and_join_again(member, connect, urls):
    """A socket that leaves and joins again gets what came after its id once more."""

    @websocket
    async def view(socket):
        for _ in range(2):
            await socket.join("chat")
            await socket.leave("chat")

    urls(path("ws/<group>/", listening), path("own/", view))
    peer = await member("chat")
    groups.publish("chat", "1")
    await hear(peer)
    await peer.leave()
    peer = connect(f"/own/?last_id=chat@{peer.here}")
    await peer.accepted()
    assert [(await hear(peer))[2] for _ in range(2)] == [{"data": "1"}] * 2
    assert await peer.closed() == (1000, "")


async def test_resuming_while_others_publish(member):
    """Between what was missed and what comes live nothing is lost or doubled."""
    number, is_over = 0, threading.Event()

    def publish():
        nonlocal number
        while not is_over.wait(0.0002):
            groups.publish("chat", number)
            number += 1

    peer = await member("chat")
    thread = threading.Thread(target=publish)
    thread.start()
    heard = []
    try:
        for _ in range(100):
            for _ in range(3):
                _, position, message = await hear(peer)
                heard.append(message["data"])
            await peer.leave()
            peer = await member("chat", f"chat@{position}")
    finally:
        is_over.set()
        thread.join()
    while len(heard) < number:
        heard.append((await hear(peer))[2]["data"])
    await peer.leave()
    assert heard == list(range(number))


class LateBackend(MemoryBackend):
    """One whose messages are on their way for a while, as over a network."""

    def __init__(self, location, deliver):
        super().__init__(location, self._send)
        self._deliver = deliver
        self._on_their_way = []

    def _send(self, *message):
        self._on_their_way.append(message)

    def arrive(self):
        for message in self._on_their_way:
            self._deliver(*message)
        self._on_their_way.clear()


async def test_messages_on_their_way(connect, urls, settings_of_ours):
    """A message that was replayed before it arrived does not come twice."""
    settings_of_ours(
        GROUPS={
            "BACKEND": "test_groups_history.LateBackend",
            "POLICIES": {"*": {"history": 10, "presence": True}},
        }
    )
    urls(path("ws/<group>/", listening))
    for number in range(4):
        groups.publish("chat", number)
    first = backend()._on_their_way[0][1].event["text"]
    peer = connect(f"/ws/chat/?last_id={json.loads(first)['@id']}")
    await peer.accepted()
    heard = [json.loads(await peer.hear()) for _ in range(4)]
    backend().arrive()
    groups.publish("chat", 4)
    groups.publish("chat", 5)
    backend().arrive()
    heard += [json.loads(await peer.hear()) for _ in range(2)]
    assert [message.get("data") for message in heard] == [1, 2, 3, None, 4, 5]
    assert await peer.receive_nothing()
    await peer.leave()


@pytest.fixture
def busy_threads():
    """Let threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


async def test_positions_of_several_threads(member, busy_threads):
    """Positions increase, whatever threads publish at the same time."""
    peer = await member("chat")
    threads = [
        threading.Thread(
            target=lambda: [groups.publish("chat", n) for n in range(2000)]
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    heard = [read_position((await hear(peer))[1]) for _ in range(8000)]
    assert heard == sorted(set(heard))
    for thread in threads:
        thread.join()
    await peer.leave()


async def test_live_while_catching_up(member, connect, urls):
    """Messages that are published during the replay come after it, in order."""
    peer = await member("chat")
    groups.publish("chat", 0)
    _, position, _ = await hear(peer)
    await peer.leave()
    for number in (1, 2):
        groups.publish("chat", number)
    peer = connect(f"/ws/chat/?last_id=chat@{position}")
    application, next_number = peer.application, 3

    async def slow(scope, receive, send):
        async def slow_send(event):
            nonlocal next_number
            if event["type"] == "websocket.send" and next_number < 6:
                next_number += 1
                await groups.apublish("chat", next_number - 1)
            await send(event)

        await application(scope, receive, slow_send)

    peer.application = slow
    await peer.accepted()
    assert [(await hear(peer))[2]["data"] for _ in range(5)] == [1, 2, 3, 4, 5]
    assert await peer.receive_nothing()
    await peer.leave()


def positions(missed):
    return [message.payload for message in missed.messages]


def test_age(monkeypatch):
    """A history may be limited by age; what is older than that is missing."""
    now = 1000.0
    monkeypatch.setattr(history.time, "monotonic", lambda: now)
    log, kept = Log(), History(seconds=10)
    messages = [encode(str(number)) for number in range(3)]
    for message in messages:
        log.append("chat", message, kept)
        now += 4
    first, second, third = [message.position for message in messages]
    assert positions(log.since(first, kept)) == ["1", "2"]
    # The first is gone now, but who has it misses nothing else.
    assert log.since(first, kept).is_complete
    now += 3
    assert not log.since(first, kept).is_complete
    assert positions(log.since(second, kept)) == ["2"]


def test_number_of_recent_messages(monkeypatch):
    """A history that is limited by age is bounded all the same."""
    monkeypatch.setattr(history, "MOST", 5)
    log, kept = Log(), History(seconds=1000)
    messages = [encode(str(number)) for number in range(7)]
    for message in messages:
        log.append("chat", message, kept)
    since = log.since(messages[1].position, kept)
    assert positions(since) == ["2", "3", "4", "5", "6"]


def test_clock_that_is_put_back(monkeypatch):
    """Positions increase though the clock does not, and begin with the time in ms."""
    times = iter([5_000_000, 7_000_000, 6_000_000, 6_000_000, 8_000_000])
    monkeypatch.setattr(history.time, "time_ns", lambda: next(times))
    log, found = Log(), []
    for _ in range(4):
        message = encode("x")
        log.append("chat", message, History(messages=10))
        found.append(message.position)
    assert found == [(7, 0), (7, 1), (7, 2), (8, 0)]


@pytest.mark.parametrize("text", ["0-0", "1700000000000-12", "99999999999999999999-0"])
def test_position(text):
    """A position is read and written as it is."""
    assert write_position(read_position(text)) == text


async def test_forgotten_groups(settings_of_ours, monkeypatch):
    """The memory backend does not keep the histories of any number of groups."""
    monkeypatch.setattr(memory, "MOST_LOGS", 3)
    settings_of_ours(GROUPS={"POLICIES": POLICIES})
    for number in range(5):
        groups.publish(f"room.{number}", "x")
    groups.publish("room.2", "y")
    groups.publish("room.5", "x")
    assert list(backend()._logs) == ["room.4", "room.2", "room.5"]


async def test_group_in_use(settings_of_ours, monkeypatch):
    """A history whose position a peer was told is one that somebody needs."""
    now = 1000.0
    monkeypatch.setattr(history.time, "monotonic", lambda: now)
    settings_of_ours(GROUPS={"POLICIES": POLICIES})
    for group in ("one", "two"):
        await backend().subscribe(group)
    now += memory.UNUSED - 1
    await backend().subscribe("one")
    now += 2
    await backend().subscribe("three")
    assert list(backend()._logs) == ["one", "three"]


async def test_cancelled_while_joining(connect, urls, settings_of_ours):
    """A view that is cancelled while it catches up is no member of half a group."""
    settings_of_ours(GROUPS={"POLICIES": POLICIES})
    outcome = asyncio.get_running_loop().create_future()

    @websocket
    async def view(socket):
        await socket.accept()
        joining = asyncio.ensure_future(socket.join("chat"))
        await stuck.wait()
        joining.cancel()
        await asyncio.wait({joining})
        outcome.set_result(socket.groups)
        await socket.recv()

    urls(path("ws/", view))
    peer = connect("/ws/?last_id=chat@0-0")
    application, stuck = peer.application, asyncio.Event()

    async def slow(scope, receive, send):
        async def slow_send(event):
            if event["type"] == "websocket.send":
                stuck.set()
                await asyncio.Event().wait()
            await send(event)

        await application(scope, receive, slow_send)

    peer.application = slow
    await peer.accepted()
    assert await asyncio.wait_for(outcome, 5) == frozenset()
    await peer.leave()
