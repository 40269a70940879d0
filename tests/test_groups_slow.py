"""A member that does not take what it is sent."""

import asyncio
import contextvars
from collections import defaultdict

import pytest
from django.urls import path

from django_asgi_ext import group_messages_dropped, groups, websocket
from django_asgi_ext.groups.delivery import delivery

GROUPS = {
    "POLICIES": {
        "news": {"slow": "drop_oldest"},
        "prices": {"slow": "latest"},
    }
}


@websocket(group="{group}")
async def listening(socket, group):
    """Wait until the peer leaves."""
    await socket.recv()


class Slow:
    """A peer that reads only while it is told to."""

    def __init__(self, peer):
        self._peer = peer
        self._reads = asyncio.Event()
        self._reads.set()
        self.is_waited_for = asyncio.Event()
        self.in_send = []
        application = peer.application

        async def slow(scope, receive, send):
            async def slow_send(event):
                if event["type"] == "websocket.send" and not self._reads.is_set():
                    self.in_send.append(asyncio.current_task())
                    self.is_waited_for.set()
                    await self._reads.wait()
                await send(event)

            await application(scope, receive, slow_send)

        peer.application = slow

    def __getattr__(self, name):
        return getattr(self._peer, name)

    def stop_reading(self):
        self._reads.clear()

    def read(self):
        self._reads.set()


@pytest.fixture
def member(connect, urls, settings_of_ours):
    """Connect a peer that may be slow; its outbox has room for three messages."""
    settings_of_ours(OUTBOX=3, OUTBOX_SIZE=1000, CLOSE_TIMEOUT=0.2, GROUPS=GROUPS)
    urls(path("ws/<group>/", listening))

    async def make(group="chat"):
        peer = Slow(connect(f"/ws/{group}/"))
        await peer.accepted()
        return peer

    return make


@pytest.fixture
def dropped():
    """Collect what the signal tells."""
    told = []

    def receive(sender, socket, group, count, **kwargs):
        told.append((socket, group, count))

    group_messages_dropped.connect(receive)
    yield told
    group_messages_dropped.disconnect(receive)


async def test_within_the_bound(member):
    """A slow member gets all that its outbox has room for, in order."""
    peer = await member()
    peer.stop_reading()
    for number in range(4):
        groups.publish("chat", str(number))
    await peer.is_waited_for.wait()
    peer.read()
    assert [await peer.hear() for _ in range(4)] == list("0123")
    # And then what comes at once.
    await groups.apublish("chat", "more")
    assert await peer.hear() == "more"
    await peer.leave()


async def test_too_slow(member, caplog):
    """A member that is slower than its outbox allows is closed with 1013."""
    before = groups.counters()
    peer, other = await member(), await member()
    peer.stop_reading()
    # More than it takes, and all at once.
    for number in range(9):
        groups.publish("chat", str(number))
    assert [await other.hear() for _ in range(9)] == list("012345678")
    assert await peer.closed() == (1013, "")
    (text,) = [r.getMessage() for r in caplog.records if "too slow" in r.message]
    assert text == "A member of the group chat is too slow for it."
    assert groups.counters() == {**before, "closed": before["closed"] + 1}
    await other.leave()


async def test_drop_oldest(member, dropped):
    """A group may lose the oldest messages; a signal and a counter tell how many."""
    before = groups.counters()
    peer = await member("news")
    peer.stop_reading()
    for number in range(10):
        await groups.apublish("news", str(number))
    await delivered()
    peer.read()
    assert [await peer.hear() for _ in range(4)] == list("0789")
    await peer.leave()
    assert {group for _, group, _ in dropped} == {"news"}
    assert sum(count for *_, count in dropped) == 6
    assert groups.counters() == {**before, "dropped": before["dropped"] + 6}
    assert dropped[0][0].path == "/ws/news/"


async def test_latest(member, dropped):
    """A group may keep the latest message of each key only."""
    peer = await member("prices")
    peer.stop_reading()
    for number in range(10):
        await groups.apublish("prices", f"A{number}", key="A")
        await groups.apublish("prices", f"B{number}", key="B")
    await delivered()
    peer.read()
    assert [await peer.hear() for _ in range(3)] == ["A0", "B9", "A9"]
    await peer.leave()
    assert sum(count for *_, count in dropped) == 17


async def test_loss_is_logged_once(member, caplog):
    """The log has one warning for a member that loses messages, not one for each."""
    peer = await member("news")
    peer.stop_reading()
    for number in range(10):
        await groups.apublish("news", str(number))
    await delivered()
    peer.read()
    await peer.leave()
    assert [r.getMessage() for r in caplog.records if "too slow" in r.message] == [
        "A member of the group news is too slow and loses messages."
    ]


async def test_others_do_not_wait(member):
    """While a member does not read, others get every message at once."""
    slow, other = await member("news"), await member("news")
    slow.stop_reading()
    for number in range(100):
        await groups.apublish("news", str(number))
        assert await other.hear() == str(number)
    slow.read()
    await slow.leave()
    await other.leave()


async def test_never_reads(connect, urls, settings_of_ours):
    """A member that never reads is ended after SEND_TIMEOUT, as in a send()."""
    settings_of_ours(SEND_TIMEOUT=0.2, CLOSE_TIMEOUT=0.2)
    urls(path("ws/<group>/", listening))
    peer = Slow(connect("/ws/chat/"))
    await peer.accepted()
    peer.stop_reading()
    groups.publish("chat", "hello")
    await peer.wait(timeout=5)
    assert (await groups_left())["chat"] == 0


async def delivered():
    """Wait until everything is with the members or in their outboxes."""
    async with asyncio.timeout(5):
        while delivery()._is_awake:
            await asyncio.sleep(0.001)


async def groups_left():
    """Return how many members the groups of this loop have."""
    found = defaultdict(int)
    found.update({name: len(p) for name, p in delivery()._rosters.items()})
    return found


async def test_send_sees_one_task(connect, urls):
    """What a server's send() finds as the current task goes on with that send()."""
    urls(path("ws/<group>/", listening))
    peer = connect("/ws/chat/")
    application, seen = peer.application, []

    async def watched(scope, receive, send):
        async def watched_send(event):
            if event["type"] == "websocket.send":
                seen.append(asyncio.current_task())
                async with asyncio.timeout(5):
                    await asyncio.sleep(0.01)
                seen.append(asyncio.current_task())
            await send(event)

        await application(scope, receive, watched_send)

    peer.application = watched
    await peer.accepted()
    groups.publish("chat", "hello")
    assert await peer.hear() == "hello"
    assert seen[0] is seen[1]
    assert seen[0] not in (None, asyncio.current_task())
    await peer.leave()


async def test_timeout_within_send(connect, urls):
    """A timeout in a server's send() ends that send(), and nobody else's."""
    urls(path("ws/<group>/", listening))
    impatient, other = connect("/ws/chat/"), connect("/ws/chat/")
    application = impatient.application

    async def timed(scope, receive, send):
        async def timed_send(event):
            if event["type"] == "websocket.send":
                async with asyncio.timeout(0.01):
                    await asyncio.Event().wait()
            await send(event)

        await application(scope, receive, timed_send)

    impatient.application = timed
    await impatient.accepted()
    await other.accepted()
    groups.publish("chat", "hello")
    assert await other.hear() == "hello"
    # TimeoutError is an OSError: nobody is there any more.
    deadline = asyncio.get_running_loop().time() + 5
    while (await groups_left())["chat"] > 1:
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)
    await impatient.leave()
    await other.leave()


variable = contextvars.ContextVar("variable", default="untouched")


@pytest.mark.parametrize("waits", [False, True])
async def test_context_of_a_send(connect, urls, waits):
    """What a server's send() does to context variables only its own next one sees."""
    urls(path("ws/<group>/", listening))
    seen = {"one": [], "two": []}

    def make(name):
        peer = connect("/ws/chat/")
        application = peer.application

        async def changing(scope, receive, send):
            async def changing_send(event):
                if event["type"] == "websocket.send":
                    seen[name].append(variable.get())
                    variable.set(name)
                    if waits:
                        await asyncio.sleep(0)
                    seen[name].append(variable.get())
                await send(event)

            await application(scope, receive, changing_send)

        peer.application = changing
        return peer

    one, two = make("one"), make("two")
    await one.accepted()
    await two.accepted()
    variable.set("publisher")
    for _ in range(2):
        await groups.apublish("chat", "hello")
        await one.hear()
        await two.hear()
    assert seen == {
        "one": ["untouched", "one", "one", "one"],
        "two": ["untouched", "two", "two", "two"],
    }
    assert variable.get() == "publisher"
    await one.leave()
    await two.leave()


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("error", [ValueError, OSError, asyncio.CancelledError])
async def test_send_that_fails(connect, urls, caplog, error, waits):
    """A member whose send() fails is no member any more; nobody else notices."""
    urls(path("ws/<group>/", listening))
    broken, other = connect("/ws/chat/"), connect("/ws/chat/")
    application = broken.application
    calls = []

    async def failing(scope, receive, send):
        async def failing_send(event):
            if event["type"] == "websocket.send":
                calls.append(event)
                if waits:
                    await asyncio.sleep(0)
                raise error("broken")
            await send(event)

        await application(scope, receive, failing_send)

    broken.application = failing
    await broken.accepted()
    await other.accepted()
    await groups.apublish("chat", "one")
    assert await other.hear() == "one"
    async with asyncio.timeout(5):
        while (await groups_left())["chat"] > 1:
            await asyncio.sleep(0.001)
    await groups.apublish("chat", "two")
    assert await other.hear() == "two"
    assert len(calls) == 1
    logged = [r for r in caplog.records if r.name == "django_asgi_ext.groups"]
    assert [r.levelname for r in logged] == (["ERROR"] if error is ValueError else [])
    await broken.leave()
    await other.leave()


async def test_close_while_messages_wait(connect, settings_of_ours):
    """Nothing that waits is sent after the close, though the peer reads again."""
    settings_of_ours(CLOSE_TIMEOUT=5)

    @websocket(group="chat")
    async def view(socket):
        await socket.recv()

    peer = Slow(connect(view))
    await peer.accepted()
    peer.stop_reading()
    for number in range(3):
        await groups.apublish("chat", str(number))
    await peer.say("end")
    event = await peer.receive_output(timeout=5)
    assert event["type"] == "websocket.close"
    peer.read()
    # This one was with the server before.
    assert await peer.hear() == "0"
    assert await peer.receive_nothing()
    await peer.leave()


async def test_burst(connect, urls, settings_of_ours):
    """A member that takes messages is not closed for a burst larger than its outbox."""
    settings_of_ours(OUTBOX=50)
    urls(path("ws/<group>/", listening))
    peer = connect("/ws/chat/")
    application = peer.application

    async def waiting(scope, receive, send):
        async def waiting_send(event):
            # As granian's does, whatever there is to send.
            await asyncio.sleep(0)
            await send(event)

        await application(scope, receive, waiting_send)

    peer.application = waiting
    await peer.accepted()
    for number in range(2000):
        groups.publish("chat", str(number))
    assert [await peer.hear() for _ in range(2000)] == [str(n) for n in range(2000)]
    await peer.leave()


async def test_burst_for_a_view(connect, settings_of_ours):
    """A view that takes the messages by itself gets all of a burst too."""
    settings_of_ours(OUTBOX=50)

    @websocket
    async def view(socket):
        await socket.send("there")
        async for message in socket.subscribe("chat"):
            await socket.send(message)

    peer = connect(view)
    await peer.accepted()
    assert await peer.hear() == "there"
    for number in range(2000):
        groups.publish("chat", str(number))
    assert [await peer.hear() for _ in range(2000)] == [str(n) for n in range(2000)]
    await peer.leave()


async def test_burst_with_a_member_that_never_reads(member):
    """Nobody waits longer than a moment for a member that takes nothing."""
    slow, other = await member("news"), await member("news")
    slow.stop_reading()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for number in range(1000):
        groups.publish("news", str(number))
    assert [await other.hear() for _ in range(1000)] == [str(n) for n in range(1000)]
    # A few milliseconds, if the machine has nothing else to do.
    assert loop.time() - begun < 1
    slow.read()
    await slow.leave()
    await other.leave()


async def test_burst_with_a_member_that_takes_just_enough(
    connect, urls, settings_of_ours, monkeypatch
):
    """A slow member that goes on reading holds the other groups up for a while only."""
    monkeypatch.setattr("django_asgi_ext.groups.delivery.MOST_WAIT", 0.2)
    settings_of_ours(OUTBOX=50, GROUPS=GROUPS)
    urls(path("ws/<group>/", listening))
    slow, other = connect("/ws/news/"), connect("/ws/chat/")
    application = slow.application

    async def slowed(scope, receive, send):
        async def slow_send(event):
            if event["type"] == "websocket.send":
                await asyncio.sleep(0.001)
            await send(event)

        await application(scope, receive, slow_send)

    slow.application = slowed
    await slow.accepted()
    await other.accepted()
    for number in range(9000):
        groups.publish("news", str(number))
    groups.publish("chat", "hello")
    assert (await other.receive_output(timeout=5))["text"] == "hello"
    # The next burst is waited for anew.
    await delivered()
    assert delivery()._waits_until is None
    await slow.leave()
    await other.leave()
