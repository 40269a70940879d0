"""The test client: what an async test sees through it."""

import asyncio
import threading

import django
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import Group, User
from django.http import HttpResponse
from django.test import TestCase
from django.urls import path
from project.databases import in_a_thread
from talking import echo, run

from django_asgi_ext import ConnectionClosed, InvalidState, websocket
from django_asgi_ext.test import AsyncClient, HandshakeDenied


async def test_messages(serve):
    """Text, binary and JSON come back as they were sent."""
    serve(echo)
    async with AsyncClient().websocket("/ws/", ["echo.v1"]) as socket:
        assert socket.subprotocol == "echo.v1"
        await socket.send("hello")
        assert await socket.recv() == "hello"
        await socket.send(b"\x00\xff")
        assert await socket.recv() == b"\x00\xff"
        await socket.send_json({"a": [1]})
        assert await socket.recv_json() == {"a": [1]}
        await socket.recv_nothing()


async def test_iteration(serve):
    """A loop over the messages ends when the view closes."""

    @websocket
    async def view(socket):
        await socket.send("bye")
        await socket.close(4000, "enough")

    serve(view)
    async with AsyncClient().websocket("/ws/") as socket:
        assert [message async for message in socket] == ["bye"]
        assert (socket.close_code, socket.close_reason) == (4000, "enough")
        with pytest.raises(ConnectionClosed):
            await socket.recv()


async def test_denied(serve):
    """A denial has the whole response."""
    serve(login_required(echo))
    with pytest.raises(HandshakeDenied) as denied:
        async with AsyncClient().websocket("/ws/"):
            pass
    assert denied.value.response["Location"] == "/accounts/login/?next=/ws/"


async def test_cookies(urls):
    """Cookies of responses and of accepts are those of one client."""

    def page(request):
        response = HttpResponse(request.COOKIES.get("socket", ""))
        response.set_cookie("page", "1")
        return response

    @websocket
    async def view(socket):
        await socket.accept(headers=[("Set-Cookie", "socket=2; Path=/")])
        await socket.send_json(socket.request.COOKIES)

    urls(path("", page), path("ws/", view))
    client = AsyncClient()
    await client.get("/")
    async with client.websocket("/ws/") as socket:
        assert await socket.recv_json() == {"page": "1"}
        assert socket.cookies["socket"].value == "2"
    assert (await client.get("/")).content == b"2"


@pytest.fixture
async def grace():
    user = await sync_to_async(User.objects.create_user)("grace", password="hopper")
    yield user
    await sync_to_async(user.delete)()


async def test_login(serve, grace):
    """Who logs in through the client is the user of its sockets, on every Django."""

    @websocket
    async def view(socket):
        await socket.send(socket.user.username)

    async def name():
        async with client.websocket("/ws/") as socket:
            return await socket.recv()

    serve(view)
    client = AsyncClient()
    assert await name() == ""
    await client.aforce_login(grace)
    assert await name() == "grace"
    await client.alogout()
    assert await name() == ""
    assert await client.alogin(username="grace", password="hopper")
    assert await name() == "grace"
    await client.alogout()


async def test_view_fails(serve):
    """What a view raises reaches the test, at the end of the block at the latest."""

    @websocket
    async def view(socket):
        raise ValueError(await socket.recv())

    serve(view)
    async with AsyncClient().websocket("/ws/") as socket:
        await socket.send("boom")
        with pytest.raises(ValueError, match=r"^boom$"):
            await socket.recv()
    with pytest.raises(ValueError, match=r"^boom$"):
        async with AsyncClient().websocket("/ws/") as socket:
            await socket.send("boom")


async def test_not_open(serve):
    """Before its block a socket says that it is not open."""
    serve(echo)
    socket = AsyncClient().websocket("/ws/")
    for use in (lambda: socket.send("hello"), socket.recv, socket.close):
        with pytest.raises(InvalidState) as raised:
            await use()
        assert str(raised.value) == (
            "The socket is open inside of the block only: with client.websocket(...)."
        )


@pytest.mark.parametrize("test", ["receives", "leaves"])
async def test_timeout(serve, test):
    """A wait that ends in vain shows where the view is."""

    @websocket
    async def view(socket):
        try:
            await socket.recv()
        except ConnectionClosed:
            pass
        await asyncio.Event().wait()

    serve(view)
    with pytest.raises(TimeoutError) as raised:
        async with AsyncClient().websocket("/ws/") as socket:
            socket.timeout = 0.2
            if test == "receives":
                await socket.send("")
                await socket.recv()
    assert "in view\n    await asyncio.Event().wait()" in str(raised.value)


async def test_test_is_cancelled(serve):
    """A test that is cancelled leaves no view behind."""
    ended = []

    @websocket
    async def view(socket):
        async for _ in socket:
            pass
        ended.append(True)

    serve(view)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            async with AsyncClient().websocket("/ws/") as socket:
                await socket.recv(timeout=5)
    assert ended == [True]


async def test_sync_code(serve):
    """Synchronous code of a view runs on the thread where that of the test runs."""

    @websocket
    async def view(socket):
        await socket.send_json(await sync_to_async(threading.get_ident)())
        task = asyncio.create_task(sync_to_async(threading.get_ident)())
        await socket.send_json(await task)

    serve(view)
    client = AsyncClient()
    async with client.websocket("/ws/") as socket, client.websocket("/ws/") as other:
        threads = [await socket.recv_json(), await socket.recv_json()]
        threads += [await other.recv_json(), await other.recv_json()]
        threads.append(await sync_to_async(threading.get_ident)())
    assert len(set(threads)) == 1


@pytest.mark.skipif(
    django.VERSION < (3, 1), reason="Django 3.0 does not await the tests of a TestCase"
)
def test_test_case(serve):
    """A view is in the transaction of a TestCase with an async test."""

    @websocket
    async def view(socket):
        name = await socket.recv()
        await sync_to_async(Group.objects.create)(name=name)
        names = Group.objects.values_list("name", flat=True)
        await socket.send_json(await sync_to_async(list)(names))

    class Case(TestCase):
        async_client_class = AsyncClient

        async def test(self):
            await sync_to_async(Group.objects.create)(name="test")
            async with self.async_client.websocket("/ws/") as socket:
                await socket.send("view")
                self.assertEqual(await socket.recv_json(), ["test", "view"])
            self.assertEqual(await sync_to_async(Group.objects.count)(), 2)

    serve(view)
    run(Case)
    assert in_a_thread(Group.objects.count) == 0


@pytest.mark.skipif(django.VERSION < (3, 1), reason="Django 3.0 has no async views")
async def test_view_fails_during_a_request(urls):
    """A page that is requested meanwhile does not raise what a view raises."""
    begin = asyncio.Event()

    @websocket
    async def view(socket):
        await socket.send("ready")
        begin.set()
        await asyncio.sleep(0)
        raise ValueError("boom")

    async def page(request):
        await begin.wait()
        await asyncio.sleep(0.1)
        return HttpResponse("page")

    urls(path("", page), path("ws/", view))
    client = AsyncClient()
    with pytest.raises(ValueError, match=r"^boom$"):
        async with client.websocket("/ws/") as socket:
            assert (await client.get("/")).content == b"page"
            assert await socket.recv() == "ready"
