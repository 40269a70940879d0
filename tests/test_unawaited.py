"""Calls of a socket that nobody awaits."""

import asyncio
import gc
import inspect
import warnings

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.test import override_settings

from django_asgi_ext import WebSocket, websocket, websocket_connected


@pytest.fixture
def debug(settings_of_ours):
    """Run the views with DEBUG, and call nothing slow on a busy machine."""
    settings_of_ours(SLOW_CALL=60)
    with override_settings(DEBUG=True):
        yield


async def run(connect, view):
    """Run a view, let its peer say hello and leave; return what it was sent."""
    peer = connect(websocket(view))
    await peer.accepted()
    await peer.say("hello")
    await peer.leave()
    heard = []
    while not peer.output_queue.empty():
        event = peer.output_queue.get_nowait()
        if event["type"] == "websocket.send":
            heard.append(event["text"])
    return heard


@pytest.mark.parametrize(
    "method, arguments, call",
    [
        ("accept", [], "socket.accept(...)"),
        ("recv", [], "socket.recv()"),
        ("recv_json", [], "socket.recv_json()"),
        ("send", ["hello"], "socket.send(...)"),
        ("send_json", [{}], "socket.send_json(...)"),
        ("close", [], "socket.close(...)"),
        ("join", ["chat"], "socket.join(...)"),
        ("leave", ["chat"], "socket.leave(...)"),
    ],
)
async def test_each_method(connect, debug, caplog, method, arguments, call):
    """Each call that is to be awaited is told if it is not, once for each line."""

    async def view(socket):
        await socket.accept()
        for _ in range(3):
            getattr(socket, method)(*arguments)
        getattr(socket, method)(*arguments)

    assert await run(connect, view) == []
    line = view.__code__.co_firstlineno
    name = "test_unawaited.test_each_method.<locals>.view"
    assert [record.getMessage() for record in caplog.records] == [
        f"{__file__}, line {line + number}: {call} of the view {name} does nothing "
        f"without await. Write await {call}."
        for number in (3, 4)
    ]


async def test_awaited(connect, debug, caplog):
    """A call that is awaited in any way does what it does, and nothing is told."""

    async def view(socket):
        message = await asyncio.wait_for(socket.recv(), 5)
        async with asyncio.TaskGroup() as group:
            group.create_task(socket.send(message))
        await asyncio.shield(socket.send("a"))
        await asyncio.gather(socket.send("b"))
        await sync_to_async(async_to_sync(socket.send))("c")
        await socket.send_json({"d": 1})
        await socket.close()

    assert await run(connect, view) == ["hello", "a", "b", "c", '{"d": 1}']
    gc.collect()
    assert caplog.records == []


async def test_given_up(connect, debug, caplog):
    """A call that is closed or cancelled before it begins is not told."""

    async def view(socket):
        await socket.accept()
        socket.send("a").close()
        with pytest.raises(ZeroDivisionError):
            socket.send("b").throw(ZeroDivisionError())
        task = asyncio.create_task(socket.send("c"))
        task.cancel()
        await asyncio.wait([task])

    assert await run(connect, view) == []
    gc.collect()
    assert caplog.records == []


async def test_taken_for_the_result(connect, debug):
    """What is not awaited says so wherever it turns up."""
    seen = []

    async def view(socket):
        message = socket.recv()
        seen.append(repr(message))
        with pytest.raises(AttributeError) as caught:
            message.upper()
        seen.append(str(caught.value))
        with pytest.raises(TypeError) as caught:
            "a" + message
        seen.append(str(caught.value))
        await message

    await run(connect, view)
    assert seen == [
        "<socket.recv() not awaited>",
        "socket.recv() is not awaited yet and has no attribute 'upper'. Write await "
        "socket.recv().",
        'can only concatenate str (not "NotAwaited") to str',
    ]


async def test_said_once(connect, debug, caplog):
    """What is said by an exception is not logged once more."""

    async def view(socket):
        await socket.accept()
        with pytest.raises(AttributeError):
            socket.recv().upper()

    await run(connect, view)
    gc.collect()
    assert caplog.records == []


async def test_without_debug(connect):
    """Without DEBUG a view has a plain socket, and Python itself warns."""

    async def view(socket):
        await socket.accept()
        assert type(socket) is WebSocket
        socket.send("hello")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert await run(connect, view) == []
    (warning,) = caught
    assert str(warning.message) == "coroutine 'WebSocket.send' was never awaited"


async def test_sender_of_the_signal(connect, debug):
    """websocket_connected has WebSocket for its sender with DEBUG too."""
    sockets = []

    def receiver(socket, **kwargs):
        sockets.append(repr(socket))

    async def view(socket):
        await socket.recv()

    websocket_connected.connect(receiver, sender=WebSocket)
    try:
        await run(connect, view)
    finally:
        websocket_connected.disconnect(receiver, sender=WebSocket)
    assert sockets == ["<WebSocket /ws/ OPEN>"]


async def test_libraries_take_it_for_a_coroutine(connect, debug):
    """A call is a coroutine to whoever asks, and to whoever shows where it waits."""
    seen = []

    async def view(socket):
        call = socket.send("hello")
        seen.append((inspect.iscoroutine(call), call.__name__, call.cr_frame.f_lineno))
        await call

    assert await run(connect, view) == ["hello"]
    assert seen == [(True, "send", WebSocket.send.__code__.co_firstlineno)]
