"""Groups: who joins one gets what is published to it."""

import asyncio
import datetime
import threading

import pytest
from django.urls import path

from django_asgi_ext import (
    ConnectionClosed,
    WebSocketView,
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


async def test_subscription_is_left_with_its_loop(connect):
    """A view that leaves the loop over a subscription has left the group."""

    @websocket
    async def view(socket):
        await socket.send("there")
        async for message in socket.subscribe("chat"):
            await socket.send(message)
            break
        assert await socket.recv() == "and now?"
        await socket.send(str(sorted(socket.groups)))

    peer = connect(view)
    await peer.accepted()
    assert await peer.hear() == "there"
    groups.publish("chat", "one")
    assert await peer.hear() == "one"
    await peer.say("and now?")
    assert await peer.hear() == "[]"
    assert await peer.closed() == (1000, "")


async def test_subscription_in_place_of_membership(connect):
    """A socket that subscribes to a group that it is in gets no message twice."""

    @websocket(group="chat")
    async def view(socket):
        await socket.accept()
        async for message in socket.subscribe("chat"):
            await socket.send(f"taken: {message}")

    peer = connect(view)
    await peer.accepted()
    await asyncio.sleep(0)
    groups.publish("chat", "one")
    assert await peer.hear() == "taken: one"
    assert await peer.receive_nothing()
    await peer.leave()


async def test_end_of_a_subscription(connect):
    """When the peer leaves, the loop ends and the view finishes in its own time."""
    finished = asyncio.Event()

    @websocket
    async def view(socket):
        await socket.accept()
        async for _ in socket.subscribe("chat"):
            pass
        # Longer than a view has that was not told.
        await asyncio.sleep(0.7)
        finished.set()

    peer = connect(view)
    await peer.accepted()
    await peer.leave()
    assert finished.is_set()


async def test_several_that_wait(connect):
    """A task that waits in a subscription is no hindrance to recv()."""

    @websocket
    async def view(socket):
        async def forward():
            async for message in socket.subscribe("chat"):
                await socket.send(f"group: {message}")

        async with asyncio.TaskGroup() as tasks:
            forwarding = tasks.create_task(forward())
            async for message in socket:
                await socket.send(f"peer: {message}")
            forwarding.cancel()

    peer = connect(view)
    await peer.accepted()
    await peer.say("one")
    assert await peer.hear() == "peer: one"
    groups.publish("chat", "two")
    assert await peer.hear() == "group: two"
    await peer.leave()


@pytest.mark.parametrize(
    "name", ["", "a b", "ü", "a/b", "a@b", "x" * 201, "\u0661", "a\n"]
)
async def test_names(name):
    """A name is short, and of characters that are safe everywhere."""
    shown = name if len(name) <= 200 else name[:200] + "..."
    with pytest.raises(ValueError) as error:
        groups.publish(name, "hello")
    assert str(error.value) == (
        f"{shown!r} cannot name a group: it takes 1 to 200 of the ASCII letters, "
        "digits and '._-:'."
    )


@pytest.mark.parametrize("name", [None, 5, b"chat"])
async def test_name_that_is_no_str(name):
    """A name is a str."""
    with pytest.raises(TypeError) as error:
        await groups.apublish(name, "hello")
    assert str(error.value) == f"The name of a group is a str, not {name!r}."


async def test_names_in_a_view(connect):
    """join(), leave() and subscribe() take no name that cannot be one."""
    outcome = asyncio.get_running_loop().create_future()

    @websocket
    async def view(socket):
        for method in (socket.join, socket.leave):
            with pytest.raises(ValueError):
                await method("a b")
        with pytest.raises(ValueError):
            socket.subscribe("a b")
        outcome.set_result(socket.accepted)

    peer = connect(view)
    await peer.denied()
    assert await outcome is False


async def test_url_that_names_no_group(connect, urls, caplog):
    """A peer that chooses a URL which no group can be named after gets 404."""
    urls(path("ws/<path:room>/", listening))
    status, _, _ = await connect("/ws/a/b/").denied()
    assert status == 404
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == ("WARNING", "Not Found: /ws/a/b/")


async def test_url_without_the_argument(connect, urls, caplog):
    """A URL that lacks the argument of the group is an error of the project's."""
    urls(path("ws/", listening))
    status, _, _ = await connect("/ws/").denied()
    assert status == 500
    assert "has no argument 'room' for its group" in caplog.text


@pytest.mark.parametrize(
    ("group", "error", "text"),
    [
        (
            "chat.{other}",
            TypeError,
            "test_groups.view has no argument 'other' for the group 'chat.{other}'.",
        ),
        (
            "chat.{room.name}",
            ValueError,
            "'chat.{room.name}' cannot name a group: a field is the name of an "
            "argument and no more, as in 'chat.{room}'.",
        ),
        (
            "chat.{room!r}",
            ValueError,
            "'chat.{room!r}' cannot name a group: a field is the name of an "
            "argument and no more, as in 'chat.{room}'.",
        ),
        (
            "chat.{}",
            ValueError,
            "'chat.{}' cannot name a group: a field is the name of an argument and "
            "no more, as in 'chat.{room}'.",
        ),
        (
            "chat {room}",
            ValueError,
            "'chat {room}' cannot name a group: it takes 1 to 200 of the ASCII "
            "letters, digits and '._-:'.",
        ),
        (
            "chat.{room",
            ValueError,
            "'chat.{room' cannot name a group: expected '}' before end of string.",
        ),
        (
            ["chat", ""],
            ValueError,
            "'' cannot name a group: it takes 1 to 200 of the ASCII letters, digits "
            "and '._-:'.",
        ),
        ([5], TypeError, "The name of a group is a str, not 5."),
    ],
)
def test_group_that_cannot_be(group, error, text):
    """What can never name a group is an error when the view is made."""

    async def view(socket, room):
        pass

    view.__qualname__ = "view"
    with pytest.raises(error) as raised:
        websocket(group=group)(view)
    assert str(raised.value) == text


async def test_denied(connect):
    """A socket that was never accepted joins no group."""
    sockets = []

    @websocket(group="chat")
    async def view(socket):
        sockets.append(socket)

    status, _, _ = await connect(view).denied()
    assert status == 403
    assert sockets[0].groups == frozenset()


async def test_join_accepts(connect):
    """join() completes the opening handshake, as send() does."""

    @websocket
    async def view(socket):
        await socket.join("chat")
        await asyncio.sleep(1000)

    peer = connect(view)
    await peer.accepted()
    groups.publish("chat", "hello")
    assert await peer.hear() == "hello"
    await peer.leave()


@pytest.mark.parametrize("how", ["leaves", "raises", "returns", "cancelled"])
async def test_members_leave_by_themselves(connect, how):
    """However a connection ends, it leaves its groups."""
    sockets = []

    @websocket(group=["a", "b"])
    async def view(socket):
        sockets.append(socket)
        await socket.accept()
        if how == "cancelled":
            await asyncio.sleep(1000)
        async for message in socket:
            if message == "raises":
                raise ValueError
            break

    peer = connect(view)
    await peer.accepted()
    assert sockets[0].groups == {"a", "b"}
    if how in ("raises", "returns"):
        await peer.say(how)
        await peer.closed()
    else:
        await peer.leave()
    assert sockets[0].groups == frozenset()
    # Nobody is there, and that is no error.
    await groups.apublish("a", "hello")


async def test_leaving_during_fan_out(connect):
    """A member that another one's message makes leave gets nothing more."""
    sockets = []

    @websocket(group="chat")
    async def view(socket):
        sockets.append(socket)
        await socket.recv()

    peers = [connect(view)] + [connect("/ws/") for _ in range(2)]
    for peer in peers:
        await peer.accepted()
    first = sockets[0].member
    send = first.connection.asgi_send

    async def send_and_leave(event):
        sockets[1].member.end()
        await send(event)

    first.connection.asgi_send = send_and_leave
    groups.publish("chat", "hello")
    assert await peers[0].hear() == "hello"
    assert await peers[2].hear() == "hello"
    assert await peers[1].receive_nothing()
    for peer in peers:
        await peer.leave()
