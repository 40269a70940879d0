"""A view that takes the messages of a group by itself."""

import asyncio

import pytest

from django_asgi_ext import groups, websocket
from django_asgi_ext.exceptions import InvalidState


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


async def test_for_in_place_of_async_for(connect):
    """A subscription that is iterated over by for says what to write."""
    said = []

    @websocket
    async def view(socket):
        await socket.accept()
        with pytest.raises(TypeError) as raised:
            for _ in socket.subscribe("chat"):
                pass
        said.append(str(raised.value))

    peer = connect(view)
    await peer.accepted()
    assert await peer.closed() == (1000, "")
    assert said == ["socket.subscribe(...) is iterated over by async for."]


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


async def test_block(connect):
    """Within a block a subscription has joined, and behind it it has left."""

    @websocket
    async def view(socket):
        async with socket.subscribe("chat") as messages:
            groups.publish("chat", "at once")
            async for message in messages:
                await socket.send(message)
                if message == "end":
                    break
        await socket.send(str(sorted(socket.groups)))
        assert [message async for message in messages] == []

    peer = connect(view)
    await peer.accepted()
    assert await peer.hear() == "at once"
    groups.publish("chat", "end")
    assert await peer.hear() == "end"
    assert await peer.hear() == "[]"
    assert await peer.closed() == (1000, "")


@pytest.mark.parametrize("is_there", [True, False])
async def test_two_tasks(connect, is_there):
    """A second task that takes from a subscription is refused; the first goes on."""

    @websocket
    async def view(socket):
        messages = socket.subscribe("chat")
        await socket.accept()
        if is_there:
            await messages.__aenter__()
        first = asyncio.ensure_future(anext(messages))
        await asyncio.sleep(0)
        for second in (messages.__anext__, messages.__aenter__):
            with pytest.raises(InvalidState) as error:
                await second()
            assert str(error.value) == (
                "Cannot take a message: another task takes from this subscription "
                "already. Take them in one task and hand them on."
            )
        await socket.send("there")
        await socket.send(await first)
        async with asyncio.timeout(1):
            await socket.send(await anext(messages))

    peer = connect(view)
    await peer.accepted()
    assert await peer.hear() == "there"
    groups.publish("chat", "one")
    groups.publish("chat", "two")
    assert [await peer.hear() for _ in range(2)] == ["one", "two"]
    assert await peer.closed() == (1000, "")


async def test_join_behind_the_loop(connect):
    """A view that leaves the loop over a subscription may join the group at once."""

    @websocket
    async def view(socket):
        await socket.send("there")
        async for message in socket.subscribe("chat"):
            await socket.send(message)
            break
        await socket.join("chat")
        async for _ in socket:
            await socket.send(str(sorted(socket.groups)))

    peer = connect(view)
    await peer.accepted()
    assert await peer.hear() == "there"
    groups.publish("chat", "one")
    assert await peer.hear() == "one"
    await peer.say("joined?")
    assert await peer.hear() == "['chat']"
    groups.publish("chat", "two")
    assert await peer.hear() == "two"
    await peer.leave()


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
