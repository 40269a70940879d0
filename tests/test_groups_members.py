"""How sockets become members, and how they leave."""

import asyncio
import json
from contextlib import suppress

import pytest
from django.http import HttpRequest
from wire import Wire

from django_asgi_ext import ConnectionClosed, WebSocketView, groups, websocket
from django_asgi_ext.groups.backends import backend
from django_asgi_ext.groups.member import Member
from django_asgi_ext.groups.message import write_id


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
    first.places["chat"].change()
    groups.publish("chat", "hello")
    assert await peers[0].hear() == "hello"
    assert await peers[2].hear() == "hello"
    assert await peers[1].receive_nothing()
    for peer in peers:
        await peer.leave()


async def test_join_that_fails_late(settings_of_ours):
    """A join that fails leaves the place alone that a later one has taken."""
    settings_of_ours(GROUPS={"POLICIES": {"chat": {"presence": True}}})
    member = Member(Wire(), None)
    is_sending, goes_on = asyncio.Event(), asyncio.Event()

    async def fail(event):
        is_sending.set()
        await goes_on.wait()
        raise ConnectionResetError

    async def take(event):
        pass

    failing = asyncio.create_task(member.join("chat", None, fail, {"id": 1}))
    await asyncio.wait_for(is_sending.wait(), 5)
    member.leave("chat")
    await member.join("chat", None, take, {"id": 2})
    goes_on.set()
    with pytest.raises(ConnectionResetError):
        await failing
    assert member.groups == {"chat"}
    assert groups.members("chat") == [{"id": 2}]
    member.end()


async def test_leave_while_joining(settings_of_ours):
    """Who leaves a group while it still joins gets no more of what comes first."""
    policy = {"history": 10, "presence": True}
    settings_of_ours(GROUPS={"POLICIES": {"chat": policy}})
    here = write_id("chat", await backend().subscribe("chat"))
    for number in range(3):
        groups.publish("chat", number)
    request = HttpRequest()
    request.scope = {"query_string": f"last_id={here}".encode()}
    member, sent = Member(Wire(), None), []

    async def send(event):
        sent.append(json.loads(event["text"]))
        # As another task of the view may, while the peer takes its time.
        member.leave("chat")

    await member.join("chat", request, send, {"id": 1})
    (first,) = sent
    assert first["data"] == 0
    assert groups.members("chat") == []


async def test_send_that_cannot_be_cancelled(settings_of_ours, caplog):
    """A connection that is over while the server still sends is no error."""
    settings_of_ours(CLOSE_TIMEOUT=0.05)
    wire, is_sending, goes_on = Wire(), asyncio.Event(), asyncio.Event()

    async def send(event):
        await asyncio.sleep(0)
        is_sending.set()
        while not goes_on.is_set():
            with suppress(asyncio.CancelledError):
                await goes_on.wait()

    wire.asgi_send = send
    member = Member(wire, None)
    await member.join("chat", None, None, None)
    await groups.apublish("chat", "hello")
    await asyncio.wait_for(is_sending.wait(), 5)
    sending = member.sending
    await member.finish()
    assert not sending.done()
    wire.is_open = False
    goes_on.set()
    await asyncio.wait_for(sending, 5)
    assert wire.pulse.begun == wire.pulse.done
    assert [r for r in caplog.records if r.name == "django_asgi_ext.groups"] == []
