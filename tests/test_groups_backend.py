"""What is asked of a backend, and what becomes of its failures."""

import asyncio
import json

import pytest
from django.urls import path

from django_asgi_ext import (
    ConnectionClosed,
    groups,
    websocket,
    websocket_connected,
)
from django_asgi_ext.groups.backends import backend
from django_asgi_ext.groups.memory import MemoryBackend


class Watched(MemoryBackend):
    """One that notes what is asked of it, waits if it is told to, and fails."""

    def __init__(self, location, deliver):
        super().__init__(location, deliver)
        self.asked = []
        self.fails = set()
        self.waits = None
        self.is_entering = asyncio.Event()

    def note(self, what, group):
        self.asked.append((what, group))
        if what in self.fails:
            raise ConnectionError(f"{what} failed")

    def publish(self, group, message, history):
        self.note("publish", group)
        super().publish(group, message, history)

    async def subscribe(self, group):
        self.note("subscribe", group)

    def unsubscribe(self, group):
        self.note("unsubscribe", group)

    async def enter(self, group, key, token, info):
        self.is_entering.set()
        if self.waits is not None:
            await self.waits.wait()
        await super().enter(group, key, token, info)

    def exit(self, group, key, token):
        self.note("exit", group)
        super().exit(group, key, token)

    def close(self):
        self.note("close", "")


@pytest.fixture
def watched(settings_of_ours):
    """Use that backend."""
    settings_of_ours(
        GROUPS={
            "BACKEND": "test_groups_backend.Watched",
            "LOCATION": "nowhere",
            "POLICIES": {"who": {"presence": True}},
        }
    )
    assert backend().location == "nowhere"
    return backend()


@websocket(group="chat")
async def listening(socket):
    """Wait until the peer leaves."""
    await socket.recv()


async def test_subscribed_while_there_are_members(watched, connect):
    """The backend is told of the first member that comes and the last that leaves."""
    one, two = connect(listening), connect("/ws/")
    await one.accepted()
    await two.accepted()
    assert set(watched.asked) == {("subscribe", "chat")}
    await one.leave()
    assert ("unsubscribe", "chat") not in watched.asked
    await two.leave()
    assert watched.asked[-1] == ("unsubscribe", "chat")


async def test_publish_without_the_backend(watched, connect):
    """Members here get a message though the backend is away; the publisher is told."""
    peer = connect(listening)
    await peer.accepted()
    watched.fails.add("publish")
    with pytest.raises(ConnectionError):
        groups.publish("chat", "one")
    with pytest.raises(ConnectionError):
        await groups.apublish("chat", "two")
    assert [await peer.hear(), await peer.hear()] == ["one", "two"]
    await peer.leave()


async def test_join_without_the_backend(watched, connect, caplog):
    """A socket that cannot join is closed with 1011, and is in no group."""
    connected = []

    def receive(sender, socket, **kwargs):
        connected.append(socket)

    websocket_connected.connect(receive)
    try:
        watched.fails.add("subscribe")
        peer = connect(listening)
        await peer.accepted()
        assert await peer.closed() == (1011, "")
    finally:
        websocket_connected.disconnect(receive)
    # As it is of every connection that is accepted.
    assert len(connected) == 1
    assert watched.asked[-1] == ("unsubscribe", "chat")
    assert "subscribe failed" in caplog.text


async def test_leave_without_the_backend(watched, connect, caplog):
    """A socket leaves its other groups though the backend fails for one."""

    @websocket(group=["who", "chat"])
    async def view(socket):
        await socket.recv()

    peer = connect(view)
    await peer.accepted()
    await peer.hear()
    watched.fails.add("exit")
    await peer.leave()
    assert watched.asked[-3:] == [
        ("unsubscribe", "who"),
        ("exit", "who"),
        ("unsubscribe", "chat"),
    ]
    (record,) = [r for r in caplog.records if r.name == "django_asgi_ext.groups"]
    assert record.getMessage() == "Leaving the group who failed."


@pytest.mark.parametrize("how", ["leaves", "peer leaves"])
async def test_leaving_while_entering(watched, connect, how):
    """Who leaves before the others know of it has never been there."""
    watched.waits = asyncio.Event()

    @websocket
    async def view(socket):
        await socket.accept()
        joining = asyncio.ensure_future(socket.join("who"))
        await watched.is_entering.wait()
        if how == "leaves":
            await socket.leave("who")
        else:
            with pytest.raises(ConnectionClosed):
                await socket.recv()
        watched.waits.set()
        await asyncio.wait({joining})
        joining.exception()

    peer = connect(view)
    await peer.accepted()
    await peer.leave()
    assert groups.members("who") == []
    assert ("exit", "who") in watched.asked


async def test_cancelled_while_entering(watched, connect):
    """A view that is cancelled while it joins is in no group."""
    watched.waits = asyncio.Event()

    @websocket(group="who")
    async def view(socket):
        await socket.accept()

    peer = connect(view)
    await peer.accepted()
    await watched.is_entering.wait()
    # Nobody receives there, so that the view is cancelled.
    await peer.leave()
    # It may have entered, for all one knows.
    assert watched.asked[-2:] == [("unsubscribe", "who"), ("exit", "who")]
    assert groups.members("who") == []


async def test_other_settings(watched, settings_of_ours):
    """With other settings there is another backend, and the one before is closed."""
    settings_of_ours()
    assert watched.asked[-1] == ("close", "")
    assert type(backend()) is MemoryBackend


async def test_present_while_others_leave(watched, connect, urls):
    """Who joins is told first who is there, and then what has changed meanwhile."""
    watched.waits = asyncio.Event()

    @websocket
    async def view(socket, name):
        await socket.join("who", info={"id": name})
        await socket.recv()

    urls(path("ws/<name>/", view))
    one, two = connect("/ws/one/"), connect("/ws/two/")
    await one.accepted()
    await two.accepted()
    await watched.is_entering.wait()
    watched.waits.set()
    for peer in (one, two):
        assert json.loads(await peer.hear())["@presence"] == "members"
    await one.leave()
    heard = json.loads(await two.hear())
    while heard["@presence"] != "leave":
        assert heard["@presence"] == "join"
        heard = json.loads(await two.hear())
    assert heard["member"] == {"id": "one"}
    await two.leave()
