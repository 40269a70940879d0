"""Publishing from wherever one may be."""

import asyncio
import os
import threading

import django
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.exceptions import SynchronousOnlyOperation
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path
from programs import run_python
from project.http import request
from wire import Wire

from django_asgi_ext import ASGIHandler, groups, websocket
from django_asgi_ext.groups import publishing
from django_asgi_ext.groups.delivery import Delivery, delivery
from django_asgi_ext.groups.member import Member
from django_asgi_ext.groups.message import encode


@websocket(group="chat")
async def listening(socket):
    """Wait until the peer leaves."""
    await socket.recv()


@pytest.fixture
async def peer(connect):
    """Return a peer that is in the group chat."""
    peer = connect(listening)
    await peer.accepted()
    yield peer
    await peer.leave()


async def test_from_a_websocket_view(peer, connect, urls):
    """A view publishes what its peer says."""

    @websocket
    async def view(socket):
        async for message in socket:
            groups.publish("chat", f"{message} 1")
            await groups.apublish("chat", f"{message} 2")
            await sync_to_async(groups.publish)("chat", f"{message} 3")

    speaker = connect(view)
    await speaker.accepted()
    await speaker.say("hello")
    assert [await peer.hear() for _ in range(3)] == ["hello 1", "hello 2", "hello 3"]
    await speaker.leave()


async def test_from_a_sync_view(peer, urls):
    """A sync view publishes."""

    def page(_):
        groups.publish("chat", "from a page")
        return HttpResponse()

    urls(path("page/", page))
    assert (await request(ASGIHandler(), "/page/"))[0] == 200
    assert await peer.hear() == "from a page"


@pytest.mark.skipif(
    django.VERSION < (3, 1), reason="there are no async views before Django 3.1"
)
async def test_from_an_async_view(peer, urls):
    """An async view publishes."""

    async def page(_):
        await groups.apublish("chat", "from a page")
        return HttpResponse()

    urls(path("page/", page))
    assert (await request(ASGIHandler(), "/page/"))[0] == 200
    assert await peer.hear() == "from a page"


async def test_from_async_to_sync(peer):
    """apublish() may be called from sync code, through a loop of its own."""
    await asyncio.to_thread(async_to_sync(groups.apublish), "chat", "hello")
    assert await peer.hear() == "hello"


def test_without_anybody():
    """Publishing to nobody, without a loop, does nothing and is no error."""
    groups.publish("chat", "hello")


def test_without_a_project_that_serves():
    """A script publishes without an application or a server, which reaches nobody."""
    program = (
        "import django; django.setup(); from django_asgi_ext import groups; "
        "groups.publish('chat', 'hello'); print('done')"
    )
    result = run_python(program, timeout=50)
    assert result.stdout == "done\n"
    # That it reaches nobody: the backend is that in memory.
    (line,) = result.stderr.splitlines()
    assert line.startswith("asgi_ext.W145: ")


async def test_on_commit(peer):
    """With on_commit the message goes out when the transaction is committed."""

    def work():
        with transaction.atomic():
            groups.publish("chat", "committed", on_commit=True)
            groups.publish("chat", "at once")

    await sync_to_async(work)()
    assert [await peer.hear(), await peer.hear()] == ["at once", "committed"]


async def test_on_commit_with_rollback(peer):
    """What is rolled back is not published."""

    def work():
        with transaction.atomic():
            groups.publish("chat", "rolled back", on_commit=True)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await sync_to_async(work)()
    groups.publish("chat", "after")
    assert await peer.hear() == "after"


async def test_on_commit_encodes_at_once(peer):
    """What is published on commit is the value at the moment of the call."""
    value = ["before"]

    def work():
        with transaction.atomic():
            groups.publish("chat", value, on_commit=True, using="default")
            value[0] = "after"
            with pytest.raises(TypeError):
                groups.publish("chat", object(), on_commit=True)

    await sync_to_async(work)()
    assert await peer.hear() == '["before"]'


async def test_on_commit_without_a_transaction(peer):
    """Outside of a transaction on_commit means at once, in async code too."""
    await sync_to_async(groups.publish)("chat", "one", on_commit=True)
    await groups.apublish("chat", "two", on_commit=True)
    assert [await peer.hear(), await peer.hear()] == ["one", "two"]


async def test_on_commit_of_an_async_view(peer):
    """In async code the transaction is that of the thread which the ORM uses."""

    def begin():
        block.__enter__()

    def end():
        block.__exit__(None, None, None)

    block = transaction.atomic()
    await sync_to_async(begin)()
    await groups.apublish("chat", "committed", on_commit=True)
    await groups.apublish("chat", "at once")
    assert await peer.hear() == "at once"
    await sync_to_async(end)()
    assert await peer.hear() == "committed"


ON_COMMIT_ON_A_LOOP = (
    "groups.publish(..., on_commit=True) asks the database for its transaction, which "
    "async code has in another thread. Write await groups.apublish(..., "
    "on_commit=True)."
)


async def test_on_commit_on_an_event_loop():
    """On an event loop, which has no transaction, on_commit names apublish()."""
    with pytest.raises(SynchronousOnlyOperation) as raised:
        groups.publish("chat", "hello", on_commit=True)
    assert str(raised.value) == ON_COMMIT_ON_A_LOOP


async def test_on_commit_in_a_websocket_view(connect, caplog):
    """A WebSocket view is told that, and no other remedy."""

    @websocket
    async def view(socket):
        await socket.accept()
        groups.publish("chat", "hello", on_commit=True)

    peer = connect(view)
    await peer.accepted()
    assert await peer.closed() == (1011, "")
    error = caplog.records[-1].exc_info[1]
    assert str(error) == ON_COMMIT_ON_A_LOOP
    assert getattr(error, "__notes__", []) == []


async def test_several_loops(connect):
    """Members on several event loops get what is published on any of them."""
    heard, ready, done = [], threading.Event(), threading.Event()

    async def other_loop():
        other = connect("/ws/")
        await other.accepted()
        ready.set()
        heard.extend([await other.hear() for _ in range(2)])
        await groups.apublish("chat", "from the other loop")
        await other.hear()
        await other.leave()
        done.set()

    peer = connect(listening)
    await peer.accepted()
    thread = threading.Thread(target=lambda: asyncio.run(other_loop()))
    thread.start()
    await asyncio.to_thread(ready.wait, 5)
    groups.publish("chat", "one")
    await groups.apublish("chat", "two")
    assert [await peer.hear() for _ in range(2)] == ["one", "two"]
    assert await peer.hear() == "from the other loop"
    await asyncio.to_thread(thread.join, 5)
    assert heard == ["one", "two"]
    assert done.is_set()
    await peer.leave()


async def test_loop_that_is_gone(peer):
    """A loop that was closed with its connections open is forgotten."""

    async def join():
        member = Member(Wire(), None)
        await member.join("chat", None, None, None)
        return member

    def abandon():
        loop = asyncio.new_event_loop()
        member = loop.run_until_complete(join())
        loop.close()
        return member

    member = await asyncio.to_thread(abandon)
    assert member.groups == {"chat"}
    for text in ("one", "two"):
        await groups.apublish("chat", text)
        assert await peer.hear() == text
    assert member.groups == frozenset()


def test_nothing_waits_for_a_loop_that_is_gone():
    """What is published to a loop that was closed does not pile up."""
    loop = asyncio.new_event_loop()
    loop.close()
    gone = Delivery(loop)
    for text in ("one", "two"):
        gone.put("chat", encode(text))
        assert not gone._queue


def test_loop_that_is_closed_before_it_delivers():
    """A loop that is closed while messages wait for it is forgotten with them."""

    async def join():
        member = Member(Wire(), None)
        await member.join("chat", None, None, None)
        return member, delivery()

    loop = asyncio.new_event_loop()
    member, closed = loop.run_until_complete(join())
    groups.publish("chat", "one")
    assert len(closed._queue) == 1
    loop.close()
    assert member.groups == {"chat"}
    groups.publish("chat", "two")
    assert member.groups == frozenset()
    assert not closed._queue


def test_crowd_on_a_loop_that_is_closed(settings_of_ours, caplog):
    """All who were on a loop that is closed are taken out, and told of as such."""
    settings_of_ours(GROUPS={"POLICIES": {"chat": {"presence": True}}})

    async def send(event):
        pass

    async def join():
        for number in range(300):
            member = Member(Wire(), None)
            members.append(member)
            await member.join("chat", HttpRequest(), send, {"id": number})
        while delivery()._is_awake:
            await asyncio.sleep(0)
        await asyncio.sleep(0)

    loop = asyncio.new_event_loop()
    members = []
    loop.run_until_complete(join())
    loop.close()
    caplog.clear()
    groups.publish("chat", "hello")
    assert {member.groups for member in members} == {frozenset()}
    assert groups.members("chat") == []
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


_FORK = """
import asyncio, os, signal
import django; django.setup()
from django_asgi_ext import groups
from django_asgi_ext.groups import delivery
from django_asgi_ext.groups.member import Member

class Wire:
    is_open, asgi_send = True, None

async def join():
    member = Member(Wire(), None)
    await member.join("chat", None, None, None)
    return member

async def run():
    member, of_parent = await join(), delivery.delivery()
    # As another thread may.
    with delivery._lock:
        child = os.fork()
        if not child:
            signal.alarm(20)
            groups.publish("chat", "hello")
            print(len(of_parent._queue), flush=True)
            asyncio.run(join())
            print(len(delivery._by_group["chat"]), flush=True)
            os._exit(0)
    os.waitpid(child, 0)
    print(delivery._by_group["chat"] == (of_parent,), flush=True)

asyncio.run(run())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows does not fork")
def test_process_that_was_forked():
    """A forked process leaves members and locks to that which it comes from."""
    result = run_python(_FORK, timeout=50)
    assert result.stdout.splitlines() == ["0", "1", "True"], result.stderr


async def test_order_over_slices(connect):
    """Messages to many members are in order for each, however long they take."""
    peers = [connect(listening)] + [connect("/ws/") for _ in range(99)]
    for peer in peers:
        await peer.accepted()
    for number in range(50):
        groups.publish("chat", str(number))
    for peer in peers:
        assert [await peer.hear() for _ in range(50)] == [str(n) for n in range(50)]
    for peer in peers:
        await peer.leave()


async def test_loop_goes_on_meanwhile(connect, monkeypatch):
    """While much is delivered, other callbacks of the loop have their turn."""
    monkeypatch.setattr("django_asgi_ext.groups.delivery.SLICE", 0.001)
    peers = [connect(listening)] + [connect("/ws/") for _ in range(49)]
    for peer in peers:
        await peer.accepted()
    turns = 0
    for number in range(500):
        groups.publish("chat", str(number))
    while delivery()._is_awake:
        await asyncio.sleep(0)
        turns += 1
    assert turns > 3
    for peer in peers:
        await peer.leave()


async def test_loop_goes_on_within_a_message(connect, monkeypatch):
    """While one message goes to many members, others have their turn as well."""
    monkeypatch.setattr("django_asgi_ext.groups.delivery.SLICE", 0)
    peers = [connect(listening)] + [connect("/ws/") for _ in range(99)]
    for peer in peers:
        await peer.accepted()
    turns = 0
    groups.publish("chat", "hello")
    while delivery()._is_awake:
        await asyncio.sleep(0)
        turns += 1
    assert turns >= 3
    for peer in peers:
        assert await peer.hear() == "hello"
        await peer.leave()


async def test_publisher_is_held_back(peer, monkeypatch):
    """A thread that publishes more than the loop delivers waits for it."""
    monkeypatch.setattr("django_asgi_ext.groups.delivery.BACKLOG", 10)
    longest = 0

    def publish():
        nonlocal longest
        for number in range(1000):
            groups.publish("chat", str(number))
            longest = max(longest, len(waiting))

    waiting = delivery()._queue
    thread = threading.Thread(target=publish)
    thread.start()
    for number in range(1000):
        assert await peer.hear() == str(number)
    await asyncio.to_thread(thread.join, 5)
    assert longest <= 12


async def test_publisher_is_not_held_back_for_ever(peer, monkeypatch):
    """A loop that stands still holds no publisher back for more than a moment."""
    monkeypatch.setattr("django_asgi_ext.groups.delivery.BACKLOG", 1)
    monkeypatch.setattr(publishing, "PATIENCE", 0.01)

    def publish():
        for number in range(5):
            groups.publish("chat", str(number))

    thread = threading.Thread(target=publish)
    thread.start()
    # The loop does nothing here.
    thread.join(5)
    assert not thread.is_alive()
    assert [await peer.hear() for _ in range(5)] == list("01234")
