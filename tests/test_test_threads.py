"""The test client: where the code of a view runs in a sync test, and what it costs."""

import asyncio
import statistics
import threading
import time
from contextvars import ContextVar

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.exceptions import SynchronousOnlyOperation
from django.core.signals import got_request_exception
from django.http import HttpResponse
from django.test import (
    override_settings,
)
from django.urls import path
from talking import ask, echo, telling

from django_asgi_ext import websocket
from django_asgi_ext.test import Client

# Threads


def test_sync_code_is_on_the_tests_thread(serve):
    """Synchronous code of middleware and view runs on the thread of the test."""

    @websocket
    async def view(socket):
        await socket.send_json(await sync_to_async(threading.get_ident)())
        task = asyncio.create_task(sync_to_async(threading.get_ident)())
        await socket.send_json(await task)

    serve(view)
    with Client().websocket("/ws/") as socket:
        assert [socket.recv_json() for _ in range(2)] == [threading.get_ident()] * 2


def note_thread(get_response):
    """Middleware that notes where it is loaded."""
    loaded_on.append(threading.get_ident())
    return get_response


loaded_on = []


def test_middleware_is_loaded_on_the_tests_thread(serve):
    """The middleware is loaded once for a client, on the thread of the test."""
    serve(echo)
    loaded_on.clear()
    with override_settings(MIDDLEWARE=[f"{__name__}.note_thread"]):
        client = Client()
        for _ in range(2):
            with client.websocket("/ws/"):
                pass
    # Once for HTTP, and once for handshakes.
    assert loaded_on == [threading.get_ident()] * 2


def test_sync_code_waits_for_the_test(serve):
    """While the test is not in a method of a socket, no synchronous code runs."""
    begin = []
    asked = threading.Event()
    ran = threading.Event()

    @websocket
    async def view(socket):
        loop = asyncio.get_running_loop()
        begun = asyncio.Event()
        begin.append(lambda: loop.call_soon_threadsafe(begun.set))
        await socket.accept()
        await begun.wait()
        loop.call_soon(asked.set)
        await sync_to_async(ran.set)()
        await socket.send("done")

    serve(view)
    with Client().websocket("/ws/") as socket:
        begin[0]()
        assert asked.wait(5)
        assert not ran.is_set()
        assert socket.recv() == "done"
        assert ran.is_set()


def test_sockets_meet(serve):
    """The views of several clients run on one event loop."""
    members = set()

    @websocket
    async def room(socket):
        await socket.accept()
        members.add(socket)
        async for message in socket:
            await asyncio.gather(*(member.send(message) for member in members))

    serve(room)
    with Client().websocket("/ws/") as ada, Client().websocket("/ws/") as grace:
        ada.send("hello")
        assert ada.recv() == grace.recv() == "hello"
        async_to_sync(next(iter(members)).send)("from the test")
        ada.send("")
        assert {ada.recv(), grace.recv()} == {"from the test", ""}


def test_page_reaches_sockets(urls):
    """A request of the test reaches the sockets that are open."""
    members = set()

    @websocket
    async def room(socket):
        await socket.accept()
        members.add(socket)
        async for _ in socket:
            pass

    def page(request):
        for member in members:
            async_to_sync(member.send)("from a page")
        return HttpResponse()

    urls(path("", page), path("ws/", room))
    client = Client()
    with client.websocket("/ws/") as socket:
        client.get("/")
        assert socket.recv() == "from a page"


def test_sync_code_calls_async_code(serve):
    """Synchronous code of a view may call async code in turn."""

    async def on_the_loop():
        return [
            await sync_to_async(threading.get_ident)(),
            id(asyncio.get_running_loop()),
        ]

    @websocket
    async def view(socket):
        answer = await sync_to_async(async_to_sync(on_the_loop))()
        await socket.send_json(answer == [caller, id(asyncio.get_running_loop())])

    caller = threading.get_ident()
    serve(view)
    with Client().websocket("/ws/") as socket:
        assert socket.recv_json() is True


def test_nothing_is_left(serve):
    """After the last socket there is no thread, no receiver and no task of a view."""
    ended = []

    async def background():
        try:
            await asyncio.Event().wait()
        finally:
            await sync_to_async(ended.append)(True)

    @websocket
    async def view(socket):
        tasks.append(asyncio.create_task(background()))
        await socket.send("")

    tasks = []
    serve(view)
    threads = set(threading.enumerate())
    receivers = list(got_request_exception.receivers)
    with Client().websocket("/ws/") as socket:
        socket.recv()
    assert set(threading.enumerate()) <= threads
    assert got_request_exception.receivers == receivers
    assert tasks[0].cancelled()
    assert ended == [True]
    assert async_to_sync(sync_to_async(threading.get_ident))() == threading.get_ident()


variable = ContextVar("variable", default="unset")


def test_context(serve):
    """Context variables of the test are not those of the view, as on a server."""
    serve(telling(lambda socket: variable.get()))
    token = variable.set("set")
    try:
        with Client().websocket("/ws/") as socket:
            assert ask(socket) == "unset"
    finally:
        variable.reset(token)


def test_interrupted(serve):
    """What ends a test in the middle of synchronous code ends the test."""

    class Interrupt(BaseException):
        pass

    def interrupt():
        raise Interrupt

    @websocket
    async def view(socket):
        await socket.recv()
        await sync_to_async(interrupt)()

    serve(view)
    with pytest.raises(Interrupt):
        with Client().websocket("/ws/") as socket:
            socket.send("")
            socket.recv()


async def test_in_an_async_test(serve):
    """The sync client refuses to block the event loop of an async test."""
    serve(echo)
    with pytest.raises(SynchronousOnlyOperation) as raised:
        with Client().websocket("/ws/"):
            pass
    assert str(raised.value) == (
        "Client.websocket() would block the event loop of this test. "
        "Use AsyncClient.websocket()."
    )


# Cost


def test_cost(serve):
    """A socket costs a test less than 10 milliseconds."""
    serve(echo)
    seconds = []
    for _ in range(200):
        began = time.perf_counter()
        with Client().websocket("/ws/") as socket:
            socket.send("hello")
            assert socket.recv() == "hello"
        seconds.append(time.perf_counter() - began)
    # Of a quarter, for others use the machine as well.
    assert statistics.quantiles(seconds)[0] < 0.01
