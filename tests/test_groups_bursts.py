"""Messages that wait go to a member several at a time."""

import asyncio
import random

import pytest

from django_asgi_ext import groups, websocket
from django_asgi_ext.groups.delivery import BATCH, deliver, delivery
from django_asgi_ext.groups.message import PRESENCE, Message, encode


@pytest.fixture
async def members(connect):
    """Return three sockets in a group, two of them in another too, and their peers."""
    sockets = []

    @websocket(group="chat")
    async def view(socket):
        if len(sockets) < 2:
            await socket.join("news")
        sockets.append(socket)
        await socket.send("there")
        await socket.recv()

    peers = [connect(view)] + [connect("/ws/") for _ in range(2)]
    for peer in peers:
        await peer.accepted()
        assert await peer.hear() == "there"
    yield list(zip(peers, sockets, strict=True))
    for peer in peers:
        await peer.leave()


def replace_send(socket, send):
    """Have what goes to the peer go through a send() of a test."""
    socket.member.connection.asgi_send = send
    socket.member.places["chat"].change()


def watch(members):
    """Return a list of who is sent what, by the number of the member."""
    seen = []
    for number, (_, socket) in enumerate(members):

        async def send(event, number=number, send=socket.member.connection.asgi_send):
            seen.append((number, event["text"]))
            await send(event)

        replace_send(socket, send)
    return seen


@pytest.mark.parametrize("seed", range(5))
async def test_order(members, seed):
    """A burst reaches each member in its order, whatever groups and exclude mix."""
    chance = random.Random(seed)
    expected = [[] for _ in members]
    for number in range(10 * BATCH):
        excluded = chance.choice([0, 1, 2, *[None] * 20])
        exclude = None if excluded is None else members[excluded][1]
        group = chance.choice(["chat"] * 9 + ["news"])
        groups.publish(group, str(number), exclude=exclude)
        for one, texts in enumerate(expected):
            if one != excluded and (group == "chat" or one < 2):
                texts.append(str(number))
    for (peer, _), texts in zip(members, expected, strict=True):
        assert [await peer.hear() for _ in texts] == texts
        assert await peer.receive_nothing()


async def test_one_member_after_the_other(members):
    """What waits goes to one member, and then to the next."""
    seen = watch(members)
    texts = [str(number) for number in range(BATCH + 1)]
    for text in texts:
        groups.publish("chat", text)
    for peer, _ in members:
        assert [await peer.hear() for _ in texts] == texts
    first = [(number, text) for number in range(3) for text in texts[:BATCH]]
    assert seen == first + [(number, texts[BATCH]) for number in range(3)]


@pytest.mark.parametrize(
    ("settings", "size"),
    [({"OUTBOX": 8}, 1), ({"OUTBOX": 1}, 1), ({"OUTBOX_SIZE": 1000}, 125)],
)
async def test_bounds(members, settings_of_ours, settings, size):
    """No more goes to a member at a time than a quarter of what may wait for it."""
    settings_of_ours(**settings)
    most = max(1, settings.get("OUTBOX", 8) // 4)
    seen = watch(members)
    for _ in range(2 * most):
        groups.publish("chat", "x" * size)
    for peer, _ in members:
        assert [len(await peer.hear()) for _ in range(2 * most)] == [size] * 2 * most
    once = [number for number in range(3) for _ in range(most)]
    assert [number for number, _ in seen] == once * 2


async def test_member_that_leaves_meanwhile(members):
    """A member that leaves after the first of several messages gets no other."""
    peer, socket = members[1]
    send = socket.member.connection.asgi_send

    async def send_and_leave(event):
        await send(event)
        socket.member.leave("chat")

    replace_send(socket, send_and_leave)
    for text in "123":
        groups.publish("chat", text)
    for other in (members[0][0], members[2][0]):
        assert [await other.hear() for _ in range(3)] == list("123")
    assert await peer.hear() == "1"
    assert await peer.receive_nothing()
    # Nobody holds on to it.
    assert [place is None for place in delivery()._rosters["chat"].places] == [
        False,
        True,
        False,
    ]


async def test_send_that_fails_after_leaving(members):
    """A send() that makes its member leave and then fails is nobody else's matter."""
    _, socket = members[1]

    async def leave_and_fail(event):
        socket.member.leave("chat")
        raise ConnectionResetError

    replace_send(socket, leave_and_fail)
    for text in "12":
        groups.publish("chat", text)
    for other in (members[0][0], members[2][0]):
        assert [await other.hear() for _ in range(2)] == list("12")
    assert "news" not in socket.member.groups


@pytest.mark.parametrize("exclude", [False, True])
async def test_member_that_only_listens(connect, settings_of_ours, exclude):
    """What comes from a group keeps a connection from being idle."""
    settings_of_ours(IDLE_TIMEOUT=0.4)
    sockets = []

    @websocket(group="chat")
    async def view(socket):
        sockets.append(socket)
        await socket.recv()

    listens, speaks = connect(view), connect("/ws/")
    await listens.accepted()
    await speaks.accepted()
    loop = asyncio.get_running_loop()
    until = loop.time() + 1.2
    while loop.time() < until:
        groups.publish("chat", "hello", exclude=sockets[1] if exclude else None)
        assert await listens.hear() == "hello"
        await asyncio.sleep(0.05)
    if exclude:
        # It has neither said nor heard anything.
        assert await speaks.closed() == (1001, "idle")
    else:
        await speaks.leave()
    await listens.leave()


async def test_joining_meanwhile(connect, monkeypatch):
    """Who joins while a message goes out does not get that one."""
    monkeypatch.setattr("django_asgi_ext.groups.delivery.SLICE", 0)
    monkeypatch.setattr("django_asgi_ext.groups.delivery.CHUNK", 1)
    sockets = []

    @websocket
    async def view(socket):
        sockets.append(socket)
        await socket.accept()
        await socket.recv()

    peers = [connect(view)] + [connect("/ws/") for _ in range(4)]
    for peer in peers:
        await peer.accepted()
    *first, late = sockets
    for socket in first:
        await socket.join("chat")
    groups.publish("chat", "1")
    assert await peers[0].hear() == "1"
    assert delivery()._batch is not None
    await late.join("chat")
    groups.publish("chat", "2")
    assert await peers[-1].hear() == "2"
    for peer in peers[1:-1]:
        assert [await peer.hear(), await peer.hear()] == ["1", "2"]
    for peer in peers:
        await peer.leave()


async def test_group_that_was_empty(members):
    """Who joins when the last member has left gets nothing of what waited for that."""
    (_, first), (peer, second), _ = members
    await second.leave("news")
    groups.publish("news", "before")
    await first.leave("news")
    await second.join("news")
    groups.publish("news", "after")
    assert await peer.hear() == "after"
    assert await peer.receive_nothing()


async def test_message_that_cannot_be_read(members):
    """What another process has spoilt takes nothing with it that came before."""
    spoilt = Message(PRESENCE, "no JSON")
    failed = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: failed.set())
    for message in (encode("1"), encode("2"), spoilt, encode("3")):
        deliver("chat", message)
    for peer, _ in members:
        assert [await peer.hear() for _ in range(3)] == list("123")
    assert failed.is_set()
    loop.set_exception_handler(None)
