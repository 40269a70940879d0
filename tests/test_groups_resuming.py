"""Views that go on in a group with history where they were."""

import asyncio
import json
import re

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.urls import path

from django_asgi_ext import groups, websocket

pytest_plugins = ["redis_fixtures"]

POLICIES = {
    "plain": {},
    "here": {"history": 3, "presence": True},
    "*": {"history": 1000},
}


@websocket
async def taking(socket, group):
    """Take what is published to a group, and send it on with its id."""
    last_id = socket.request.GET.get("last_id")
    messages = socket.subscribe(group, last_id=last_id, presence=True)
    assert messages.last_id == last_id
    await socket.accept()
    async for message in messages:
        await socket.send_json([message, messages.last_id])


@pytest.fixture
def taker(backend, connect, urls):
    """Connect a peer to a view that takes the messages of a group."""
    urls(path("ws/<group>/", taking))

    async def make(group, last_id=None):
        peer = connect(f"/ws/{group}/" + (f"?last_id={last_id}" if last_id else ""))
        await peer.accepted()
        return peer

    return make


async def hear(peer):
    return json.loads(await peer.hear())


@pytest.fixture
def group(request):
    """Return the name of a group that no other test has."""
    return re.sub(r"[^\w.]", ".", request.node.name)


async def publish(group, *messages):
    for message in messages:
        await groups.apublish(group, message)


async def first_message(taker, group):
    """Return a peer that has heard the message "first", and the id of that."""
    # With an id that is none a view begins with a message.
    peer = await taker(group, "none")
    message, last_id = await hear(peer)
    assert message == {"@id": last_id, "@missed": True}
    await publish(group, "first")
    message, last_id = await hear(peer)
    assert message == "first"
    return peer, last_id


async def test_what_was_missed(taker, group):
    """A view with an id takes what came after it, then what comes, in order."""
    peer, last_id = await first_message(taker, group)
    await peer.leave()
    await publish(group, "1", {"a": 2}, b"3".decode())
    peer = await taker(group, last_id)
    await publish(group, "live")
    heard = [await hear(peer) for _ in range(4)]
    assert [message for message, _ in heard] == ["1", {"a": 2}, "3", "live"]
    assert len({last_id for _, last_id in heard}) == 4
    assert await peer.receive_nothing()
    await peer.leave()
    # Each id is one to go on from.
    peer = await taker(group, heard[1][1])
    assert [await hear(peer) for _ in range(2)] == heard[2:]
    await peer.leave()


async def test_nothing_missed(taker, group):
    """A view that has missed nothing takes what is new."""
    peer, last_id = await first_message(taker, group)
    await peer.leave()
    peer = await taker(group, last_id)
    assert await peer.receive_nothing()
    await publish(group, "new")
    assert (await hear(peer))[0] == "new"
    await peer.leave()


@pytest.mark.parametrize("last_id", ["nonsense", "other@1-0", "@1-0", "group@0-0"])
async def test_too_much_missed(taker, group, last_id):
    """A view that has missed more than is kept is told, with an id to go on from."""
    await publish(group, "before")
    peer = await taker(group, last_id.replace("group", group))
    message, here = await hear(peer)
    assert message == {"@id": here, "@missed": True}
    await peer.leave()
    await publish(group, "after")
    peer = await taker(group, here)
    assert (await hear(peer))[0] == "after"
    await peer.leave()


async def test_presence_behind_what_was_missed(taker):
    """In a group with presence what was missed comes before who is there."""
    peer = await taker("here", "none")
    assert "@missed" in (await hear(peer))[0]
    message, last_id = await hear(peer)
    assert message["@presence"] == "members"
    await peer.leave()
    await publish("here", "missed")
    peer = await taker("here", last_id)
    assert (await hear(peer))[0] == "missed"
    assert (await hear(peer))[0]["@presence"] == "members"
    await peer.leave()


async def test_all_while_others_publish(taker, group):
    """Between what was missed and what comes live nothing is lost or doubled."""
    is_over, number = asyncio.Event(), 0

    async def talk():
        nonlocal number
        while not is_over.is_set():
            await publish(group, number)
            number += 1
            await asyncio.sleep(0.005)

    peer, last_id = await first_message(taker, group)
    talking, heard = asyncio.create_task(talk()), []
    try:
        for _ in range(10):
            for _ in range(3):
                message, last_id = await hear(peer)
                heard.append(message)
            await peer.leave()
            peer = await taker(group, last_id)
    finally:
        is_over.set()
        await talking
    while len(heard) < number:
        heard.append((await hear(peer))[0])
    assert heard == list(range(number))
    await peer.leave()


@websocket(group="{group}")
async def listening(socket, group):
    """Wait until the peer leaves."""
    await socket.recv()


@pytest.mark.parametrize("others", [0, 1])
async def test_here_while_others_publish(backend, connect, urls, group, others):
    """No message lies between where the group was and the first one that comes."""
    is_over = asyncio.Event()

    async def talk():
        number = 0
        while not is_over.is_set():
            await publish(group, number)
            number += 1
            await asyncio.sleep(0.001)

    async def come(query=""):
        peer = connect(f"/ws/{group}/{query}")
        await peer.accepted()
        return peer, await hear(peer)

    urls(path("ws/<group>/", listening))
    staying = [(await come())[0] for _ in range(others)]
    talking = asyncio.create_task(talk())
    try:
        for _ in range(10):
            peer, here = await come()
            assert list(here) == ["@id"]
            live = [await hear(peer) for _ in range(2)]
            assert live[1]["data"] == live[0]["data"] + 1
            await peer.leave()
            peer, missed = await come(f"?last_id={here['@id']}")
            assert [missed, await hear(peer)] == live
            await peer.leave()
    finally:
        is_over.set()
        await talking
    for peer in staying:
        await peer.leave()


async def test_own_message(backend, connect, group):
    """What a socket is excluded from it does not miss when it joins again."""

    @websocket
    async def view(socket):
        last_id = socket.request.GET["last_id"]
        await socket.join(group)
        await groups.apublish(group, "own", exclude=socket)
        await groups.apublish(group, "for all")
        assert (await socket.recv(), await socket.leave(group)) == ("again", None)
        await socket.join(group)
        assert await socket.recv() == "and the view"
        async for message in socket.subscribe(group, last_id=last_id):
            await socket.send_json(message)

    peer = connect(view)
    peer.scope["query_string"] = f"last_id={group}@0-0".encode()
    await peer.accepted()
    last_id = (await hear(peer))["@id"]
    assert (await hear(peer))["data"] == "for all"
    await peer.leave()
    peer = connect(view)
    peer.scope["query_string"] = f"last_id={last_id}".encode()
    await peer.accepted()
    heard = [(await hear(peer))["data"] for _ in range(3)]
    assert heard == ["own", "for all", "for all"]
    await peer.say("again")
    heard = [(await hear(peer))["data"] for _ in range(3)]
    assert heard == ["own", "for all", "for all"]
    await peer.say("and the view")
    assert [await hear(peer) for _ in range(3)] == ["own", "for all", "for all"]
    assert await peer.receive_nothing()
    await peer.leave()


async def test_where_a_subscription_begins(backend, connect, group):
    """A subscription without an id has one to go on from once its group is joined."""

    @websocket
    async def view(socket):
        await socket.accept()
        messages = socket.subscribe(group)
        assert messages.last_id is None
        waiting = asyncio.ensure_future(anext(messages))
        while messages.last_id is None:
            await asyncio.sleep(0)
        here = messages.last_id
        await publish(group, "one")
        assert await waiting == "one"
        assert messages.last_id != here
        assert await anext(socket.subscribe(group, last_id=here)) == "one"

    peer = connect(view)
    await peer.accepted()
    assert await peer.closed() == (1000, "")


async def test_without_history(connect, settings_of_ours):
    """A subscription to a group without history has no ids, and can take none."""
    settings_of_ours(GROUPS={"POLICIES": POLICIES})

    @websocket
    async def view(socket):
        await socket.accept()
        messages = socket.subscribe("plain")
        waiting = asyncio.ensure_future(anext(messages))
        while not socket.groups:
            await asyncio.sleep(0)
        groups.publish("plain", "message")
        assert await waiting == "message"
        assert messages.last_id is None
        with pytest.raises(ImproperlyConfigured) as error:
            socket.subscribe("plain", last_id="plain@1-0")
        assert str(error.value) == (
            "The group 'plain' has no history. Set it in "
            "ASGI_EXT['GROUPS']['POLICIES'], as {'chat.*': {'history': 100}}."
        )
        with pytest.raises(TypeError) as error:
            socket.subscribe("chat", last_id=(1, 0))
        assert str(error.value) == "An id to go on from is a str, not (1, 0)."

    peer = connect(view)
    await peer.accepted()
    assert await peer.closed() == (1000, "")
