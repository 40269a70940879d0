"""Groups: who joins one gets what is published to it."""

import asyncio
import datetime
import threading

import pytest

from django_asgi_ext import (
    ConnectionClosed,
    WebSocketView,
    groups,
    websocket,
)


@websocket(group="chat.{room}")
async def asleep(socket, room="lobby"):
    """Accept, and never look at the socket again."""
    await socket.accept()
    await asyncio.sleep(1000)


@pytest.fixture
def member(connect, urls):
    """Return a peer that is in the group chat.lobby, or in another room."""
    from django.urls import path

    urls(path("ws/<room>/", asleep))

    async def make(room="lobby"):
        peer = connect(f"/ws/{room}/")
        await peer.accepted()
        return peer

    return make


@pytest.mark.parametrize(
    ("message", "heard"),
    [
        ("hello", "hello"),
        ("", ""),
        ("Grüße", "Grüße"),
        (b"\x00\xff", b"\x00\xff"),
        (bytearray(b"abc"), b"abc"),
        (memoryview(b"abc"), b"abc"),
        ({"a": [1, None]}, '{"a": [1, null]}'),
        (datetime.date(2026, 1, 2), '"2026-01-02"'),
        (None, "null"),
    ],
)
async def test_publish(member, message, heard):
    """str and bytes go to the members as they are, anything else as JSON."""
    one, two = await member(), await member()
    groups.publish("chat.lobby", message)
    await groups.apublish("chat.lobby", message)
    for peer in (one, two):
        assert [await peer.hear(), await peer.hear()] == [heard, heard]
        await peer.leave()


async def test_other_group(member):
    """A member gets what is published to its own group, and nothing else."""
    lobby, kitchen = await member("lobby"), await member("kitchen")
    groups.publish("chat.lobby", "to the lobby")
    groups.publish("chat.kitchen", "to the kitchen")
    groups.publish("chat.cellar", "to nobody")
    assert await lobby.hear() == "to the lobby"
    assert await kitchen.hear() == "to the kitchen"
    assert await lobby.receive_nothing()
    await lobby.leave()
    await kitchen.leave()


@pytest.mark.parametrize(
    ("message", "error"), [(object(), TypeError), (float("nan"), ValueError)]
)
async def test_message_that_cannot_be_sent(message, error):
    """A message that cannot be encoded is an error of the publisher's."""
    with pytest.raises(error):
        groups.publish("chat.lobby", message)
    with pytest.raises(error):
        await groups.apublish("chat.lobby", message)


async def test_publish_from_threads(member):
    """Messages of one thread arrive in its order, without an event loop there."""
    peer = await member()

    def publish():
        for number in range(20_000):
            groups.publish("chat.lobby", str(number))

    thread = threading.Thread(target=publish)
    thread.start()
    for number in range(20_000):
        assert await peer.hear() == str(number)
    thread.join()
    await peer.leave()


async def test_exclude(connect):
    """Whoever is excluded does not get the message, all others do."""

    @websocket(group="chat")
    async def view(socket):
        async for message in socket:
            groups.publish("chat", message, exclude=socket)

    one, two = connect(view), connect("/ws/")
    await one.accepted()
    await two.accepted()
    await one.say("from one")
    assert await two.hear() == "from one"
    await two.say("from two")
    assert await one.hear() == "from two"
    await one.leave()
    await two.leave()


async def test_leave(connect):
    """Who has left gets nothing more, and may join again."""

    @websocket
    async def view(socket):
        await socket.join("chat")
        assert socket.groups == {"chat"}
        async for message in socket:
            if message == "leave":
                await socket.leave("chat")
            elif message == "join":
                await socket.join("chat")
            await socket.send(message)

    peer = connect(view)
    await peer.accepted()
    for message in ("join", "leave"):
        await peer.say(message)
        assert await peer.hear() == message
    groups.publish("chat", "lost")
    await peer.say("join")
    assert await peer.hear() == "join"
    groups.publish("chat", "heard once")
    assert await peer.hear() == "heard once"
    assert await peer.receive_nothing()
    await peer.leave()


async def test_several_groups(connect):
    """A view may be in several groups from the beginning."""

    @websocket(group=["a", "b"])
    async def view(socket):
        await socket.recv()

    peer = connect(view)
    await peer.accepted()
    groups.publish("a", "one")
    groups.publish("b", "two")
    assert [await peer.hear(), await peer.hear()] == ["one", "two"]
    await peer.leave()


async def test_group_of_a_class(connect):
    """The attribute group of a class means what the argument of @websocket does."""

    class View(WebSocketView):
        group = "chat"

    peer = connect(View.as_view())
    await peer.accepted()
    groups.publish("chat", "hello")
    assert await peer.hear() == "hello"
    await peer.leave()


async def test_join_after_the_end(connect):
    """join() raises ConnectionClosed once the connection is over; leave() does not."""
    outcome = asyncio.get_running_loop().create_future()

    @websocket
    async def view(socket):
        await socket.join("before")
        await socket.close()
        assert socket.groups == frozenset()
        await socket.leave("before")
        with pytest.raises(ConnectionClosed) as error:
            await socket.join("after")
        outcome.set_result(error.value.code)

    peer = connect(view)
    await peer.accepted()
    assert await peer.closed() == (1000, "")
    assert await asyncio.wait_for(outcome, 5) == 1000


async def test_subscribe(connect):
    """A view that subscribes takes the messages by itself; the peer gets none."""

    @websocket
    async def view(socket):
        await socket.send("there")
        async for message in socket.subscribe("chat"):
            await socket.send(f"taken: {message!r}")

    peer = connect(view)
    await peer.accepted()
    assert await peer.hear() == "there"
    groups.publish("chat", "text")
    groups.publish("chat", b"bytes")
    groups.publish("chat", {"a": 1})
    assert await peer.hear() == "taken: 'text'"
    assert await peer.hear() == "taken: b'bytes'"
    assert await peer.hear() == "taken: {'a': 1}"
    await peer.leave()
