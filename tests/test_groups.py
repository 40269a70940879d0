"""Groups: who joins one gets what is published to it."""

import asyncio
import datetime
import threading

import pytest
from django.urls import path

from django_asgi_ext import (
    groups,
    websocket,
)


@websocket(group="chat.{room}")
async def listening(socket, room):
    """Wait until the peer leaves."""
    await socket.recv()


@pytest.fixture
def member(connect, urls):
    """Return a peer that is in the group chat.lobby, or in another room."""
    urls(path("ws/<room>/", listening))

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


async def test_view_that_never_looks(connect):
    """A member gets messages though its view sleeps and never calls recv()."""

    @websocket(group="chat")
    async def asleep(socket):
        await socket.accept()
        await asyncio.sleep(1000)

    peer = connect(asleep)
    await peer.accepted()
    groups.publish("chat", "hello")
    assert await peer.hear() == "hello"
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
