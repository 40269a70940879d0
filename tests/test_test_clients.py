"""The test client: what a sync test sees through it."""

import asyncio
import re
import statistics
import threading
import time
import unittest
from contextvars import ContextVar

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied, SynchronousOnlyOperation
from django.core.signals import got_request_exception
from django.http import HttpResponse
from django.test import (
    Client as DjangoClient,
    TestCase,
    TransactionTestCase,
    override_settings,
)
from django.urls import path
from project.databases import in_a_thread

from django_asgi_ext import ConnectionClosed, InvalidState, websocket
from django_asgi_ext.test import Client, HandshakeDenied


@websocket(subprotocols=["echo.v2", "echo.v1"])
async def echo(socket):
    async for message in socket:
        await socket.send(message)


def telling(tell):
    """Return a view that answers each message with tell(socket)."""

    @websocket
    async def view(socket):
        async for _ in socket:
            await socket.send_json(tell(socket))

    return view


def ask(socket):
    """Return what a telling view tells."""
    socket.send("")
    return socket.recv_json()


def without_times(text):
    """Return a transcript as it would be if each event came at once."""
    return re.sub(r"^ +\d+\.\d{3} ", "", text, flags=re.M)


@pytest.fixture
def serve(urls):
    """Put a view at /ws/."""

    def use(view):
        urls(path("ws/", view))

    return use


def run(case):
    """Run the test of a case, in a thread with no event loop."""
    result = unittest.TestResult()
    in_a_thread(unittest.TestSuite([case("test")]).run, result)
    assert result.testsRun == 1
    assert not result.errors + result.failures, result.errors + result.failures


# Messages


@pytest.mark.parametrize("message", ["hello", "", "\u20ac", b"\x00\xff", b""])
def test_messages(serve, message):
    """A message comes back as it was sent, text as str and binary as bytes."""
    serve(echo)
    with Client().websocket("/ws/") as socket:
        socket.send(message)
        answer = socket.recv()
    assert answer == message
    assert type(answer) is type(message)


def test_no_message(serve):
    """What is neither str nor bytes is no message."""
    serve(echo)
    with Client().websocket("/ws/") as socket:
        with pytest.raises(TypeError) as raised:
            socket.send(1)
    assert str(raised.value) == "A message is a str or bytes, not 1."


def test_json(serve):
    """A value goes to the view and back as JSON."""
    serve(echo)
    with Client().websocket("/ws/") as socket:
        socket.send_json({"text": ["\u20ac", None]})
        assert socket.recv_json() == {"text": ["\u20ac", None]}


def test_order(serve):
    """Messages that nobody has waited for come in order."""
    serve(echo)
    with Client().websocket("/ws/") as socket:
        for number in range(100):
            socket.send(str(number))
        assert [socket.recv() for _ in range(100)] == [str(n) for n in range(100)]


def test_recv_nothing(serve):
    """recv_nothing() returns if no message comes, and leaves later ones alone."""
    serve(echo)
    with Client().websocket("/ws/") as socket:
        socket.recv_nothing()
        socket.send("hello")
        assert socket.recv() == "hello"


def test_recv_nothing_but_something(serve):
    """recv_nothing() fails with the message that comes."""
    serve(echo)
    with Client().websocket("/ws/") as socket:
        socket.send("hello")
        with pytest.raises(AssertionError) as raised:
            socket.recv_nothing(timeout=5)
    assert str(raised.value).startswith("A message came: websocket.send text='hello'\n")


# The opening handshake


def test_subprotocol(serve):
    """The view takes one of the subprotocols that the client offers."""
    serve(echo)
    with Client().websocket("/ws/", ["echo.v1", "other"]) as socket:
        assert socket.subprotocol == "echo.v1"
    with Client().websocket("/ws/") as socket:
        assert socket.subprotocol is None


def test_path(urls):
    """Path and query arrive decoded, as those of a browser."""
    tell = telling(lambda socket: [socket.path, socket.request.GET["q"]])

    @websocket
    async def view(socket, name):
        await socket.send_json([name, socket.path, socket.request.GET["q"]])

    urls(path("ws/<str:name>/", view), path("ws/", tell))
    with Client().websocket("/ws/caf\u00e9 1/?q=\u20ac%26") as socket:
        assert socket.recv_json() == ["caf\u00e9 1", "/ws/caf\u00e9 1/", "\u20ac&"]
    with Client().websocket("/ws/caf%C3%A9%201/?q=%E2%82%AC%26") as socket:
        assert socket.recv_json() == ["caf\u00e9 1", "/ws/caf\u00e9 1/", "\u20ac&"]


def test_headers(serve):
    """Headers go over those of the client, and None takes one out."""
    names = "HTTP_USER_AGENT", "HTTP_X_TOKEN", "REMOTE_ADDR"
    serve(telling(lambda socket: [socket.request.META.get(name) for name in names]))
    client = Client(HTTP_USER_AGENT="Mozilla", REMOTE_ADDR="192.0.2.1")
    with client.websocket("/ws/", headers={"X-Token": "1"}) as socket:
        assert ask(socket) == ["Mozilla", "1", "192.0.2.1"]
    with client.websocket("/ws/", headers={"User-Agent": None}) as socket:
        assert ask(socket) == [None, None, "192.0.2.1"]
    with client.websocket("/ws/", headers={"User-Agent": ""}) as socket:
        assert ask(socket) == ["", None, "192.0.2.1"]


@pytest.mark.parametrize(("secure", "uri"), [(False, "ws"), (True, "wss")])
def test_origin(serve, secure, uri):
    """The client says to be a page of the same site."""
    serve(
        telling(
            lambda socket: [
                socket.request.META["HTTP_ORIGIN"],
                socket.request.build_absolute_uri(),
            ]
        )
    )
    with Client().websocket("/ws/", secure=secure) as socket:
        origin = f"{uri.replace('ws', 'http')}://testserver"
        assert ask(socket) == [origin, f"{uri}://testserver/ws/"]


def test_other_origin(serve):
    """The handshake of another site's page is denied."""
    serve(echo)
    with pytest.raises(HandshakeDenied) as denied:
        with Client().websocket("/ws/", headers={"Origin": "https://evil.example"}):
            pass
    assert denied.value.response.status_code == 403


def test_no_origin(serve, settings_of_ours):
    """A script, which sends no Origin, is let in unless REQUIRE_ORIGIN is set."""
    serve(echo)
    with Client().websocket("/ws/", headers={"Origin": None}):
        pass
    settings_of_ours(REQUIRE_ORIGIN=True)
    with Client().websocket("/ws/"):
        pass
    with pytest.raises(HandshakeDenied):
        with Client().websocket("/ws/", headers={"Origin": None}):
            pass


def test_denied(serve):
    """A denial has the whole response."""

    @websocket
    async def view(socket):
        response = HttpResponse("Pay first.", status=402, content_type="text/plain")
        response["X-Price"] = "1"
        response.set_cookie("seen", "yes")
        return response

    serve(view)
    client = Client()
    with pytest.raises(HandshakeDenied) as denied:
        with client.websocket("/ws/"):
            pass
    response = denied.value.response
    assert response.status_code == 402
    assert response.content == b"Pay first."
    assert response["Content-Type"] == "text/plain"
    assert response["X-Price"] == "1"
    assert response.cookies["seen"].value == client.cookies["seen"].value == "yes"
    text = "The handshake was denied with 402 Payment Required."
    assert str(denied.value) == text
    assert "<- websocket.http.response.start status=402" in denied.value.__notes__[0]


def test_denied_to_login(serve):
    """A denial says where it redirects to."""
    serve(login_required(echo))
    with pytest.raises(HandshakeDenied) as denied:
        with Client().websocket("/ws/"):
            pass
    assert denied.value.response["Location"] == "/accounts/login/?next=/ws/"
    assert str(denied.value) == (
        "The handshake was denied with 302 Found to /accounts/login/?next=/ws/."
    )


def test_application(serve):
    """Another application may be tested, and its close before the accept is a 403."""

    async def application(scope, receive, send):
        await receive()
        await send({"type": "websocket.close"})

    with pytest.raises(HandshakeDenied) as denied:
        with Client(application=application).websocket("/ws/"):
            pass
    assert denied.value.response.status_code == 403


def test_application_ends(serve):
    """An application that ends without a word has denied the handshake."""

    async def application(scope, receive, send):
        await receive()

    with pytest.raises(HandshakeDenied):
        with Client(application=application).websocket("/ws/"):
            pass


def test_application_fails():
    """What an application raises reaches the test."""

    async def application(scope, receive, send):
        raise LookupError("no such protocol")

    with pytest.raises(LookupError, match="no such protocol"):
        with Client(application=application).websocket("/ws/"):
            pass


# Cookies and users


def test_cookies(urls):
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
    client = Client()
    client.get("/")
    with client.websocket("/ws/") as socket:
        assert socket.recv_json() == {"page": "1"}
        assert socket.cookies["socket"].value == "2"
        assert socket.cookies["socket"]["path"] == "/"
    assert client.get("/").content == b"2"


def test_login(serve):
    """Who logs in through the client is the user of its sockets."""
    serve(telling(lambda socket: socket.user.username))

    class Case(TestCase):
        client_class = Client

        def name(self):
            with self.client.websocket("/ws/") as socket:
                return ask(socket)

        def test(self):
            user = User.objects.create_user("ada", password="lovelace")
            self.assertEqual(self.name(), "")
            self.client.force_login(user)
            self.assertEqual(self.name(), "ada")
            self.client.logout()
            self.assertEqual(self.name(), "")
            self.assertTrue(self.client.login(username="ada", password="lovelace"))
            self.assertEqual(self.name(), "ada")

    run(Case)


# The end


def test_view_closes(serve):
    """After the view's last message its close code and reason are there."""

    @websocket
    async def view(socket):
        await socket.send("bye")
        await socket.close(4000, "enough")

    serve(view)
    with Client().websocket("/ws/") as socket:
        assert socket.recv() == "bye"
        for _ in range(2):
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv()
            assert (closed.value.code, closed.value.reason) == (4000, "enough")
        with pytest.raises(ConnectionClosed):
            socket.send("wait")
    assert (socket.close_code, socket.close_reason) == (4000, "enough")


def test_iteration(serve):
    """A loop over the messages ends when the view closes."""

    @websocket
    async def view(socket):
        for number in range(3):
            await socket.send(str(number))

    serve(view)
    with Client().websocket("/ws/") as socket:
        assert list(socket) == ["0", "1", "2"]
        assert socket.close_code == 1000


def test_client_closes(serve):
    """The view learns code and reason of the client, and has ended after close()."""
    seen = []

    @websocket
    async def view(socket):
        async for _ in socket:
            pass
        await asyncio.sleep(0.05)
        seen.append((socket.close_code, socket.close_reason))

    serve(view)
    with Client().websocket("/ws/") as socket:
        assert (socket.close_code, socket.close_reason) == (None, "")
        socket.close(4001, "changed my mind")
        assert seen == [(4001, "changed my mind")]
        assert (socket.close_code, socket.close_reason) == seen[0]


def test_leaving_the_block(serve):
    """At the end of the block the client closes with 1000, and the view has ended."""
    seen = []

    @websocket
    async def view(socket):
        async for _ in socket:
            pass
        await sync_to_async(seen.append)(socket.close_code)

    serve(view)
    with Client().websocket("/ws/"):
        pass
    assert seen == [1000]


def test_wrong_close_code(serve):
    """The client sends no code that RFC 6455 forbids."""
    serve(echo)
    with Client().websocket("/ws/") as socket:
        with pytest.raises(ValueError, match=r"^Close code 1006 must not be sent\."):
            socket.close(1006)
        socket.send("still open")
        assert socket.recv() == "still open"


def test_sending_after_the_client_has_left():
    """An application that sends to a client that has left gets OSError."""
    seen = []

    async def application(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        assert (await receive())["type"] == "websocket.disconnect"
        # Whoever asks once more learns the same.
        assert (await receive())["type"] == "websocket.disconnect"
        try:
            await send({"type": "websocket.send", "text": "still there?"})
        except OSError as error:
            seen.append(str(error))

    with Client(application=application).websocket("/ws/"):
        pass
    assert seen == ["The client has left."]


# Failures


@websocket
async def fails(socket):
    raise ValueError(await socket.recv())


def test_view_fails(serve):
    """What a view raises reaches the test that waits for a message."""
    serve(fails)
    with Client().websocket("/ws/") as socket:
        socket.send("boom")
        with pytest.raises(ValueError, match=r"^boom$"):
            socket.recv()
        assert socket.close_code == 1011


def test_view_fails_unnoticed(serve):
    """What a view raises reaches the test at the end of the block at the latest."""
    serve(fails)
    with pytest.raises(ValueError, match=r"^boom$"):
        with Client().websocket("/ws/") as socket:
            socket.send("boom")


def test_view_fails_before_it_accepts(serve):
    """What a view raises before it accepts reaches the test in place of the 500."""

    @websocket
    async def view(socket):
        raise ValueError("boom")

    serve(view)
    with pytest.raises(ValueError, match=r"^boom$"):
        with Client().websocket("/ws/"):
            pass
    with pytest.raises(HandshakeDenied) as denied:
        with Client(raise_request_exception=False).websocket("/ws/"):
            pass
    assert denied.value.response.status_code == 500


def test_as_the_peer_sees_it(serve):
    """With raise_request_exception=False a failure is what the peer sees of it."""
    serve(fails)
    with Client(raise_request_exception=False).websocket("/ws/") as socket:
        socket.send("boom")
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv()
    assert closed.value.code == 1011


def test_view_refuses(serve):
    """A PermissionDenied after the accept is an answer, 1008, and no failure."""

    @websocket
    async def view(socket):
        await socket.accept()
        raise PermissionDenied

    serve(view)
    with Client().websocket("/ws/") as socket:
        assert list(socket) == []
        assert socket.close_code == 1008


def test_only_its_own_failure(urls):
    """A socket raises what its own view raised, and not another one's."""
    urls(path("ws/", echo), path("fails/", fails))
    client = Client()
    with client.websocket("/ws/") as socket:
        with client.websocket("/fails/") as other:
            other.send("boom")
            with pytest.raises(ValueError, match=r"^boom$"):
                other.recv()
        socket.send("hello")
        assert socket.recv() == "hello"


def test_test_fails_first(serve):
    """The test's own error goes on, with a note of what the view raised."""
    serve(fails)
    with pytest.raises(ZeroDivisionError) as raised:
        with Client().websocket("/ws/") as socket:
            socket.send("boom")
            _ = 1 / 0
    assert raised.value.__notes__ == ["And at the end of the block, ValueError: boom"]


def test_view_ends_the_test(serve):
    """A view in a test may end it, as pytest.fail() does."""

    @websocket
    async def view(socket):
        await socket.recv()
        pytest.fail("not this message")

    serve(view)
    with pytest.raises(pytest.fail.Exception, match=r"^not this message$"):
        with Client().websocket("/ws/") as socket:
            socket.send("")


def test_not_open(serve):
    """Before and after its block a socket says that it is not open."""
    serve(echo)
    socket = Client().websocket("/ws/")
    for _ in range(2):
        with pytest.raises(InvalidState) as raised:
            socket.send("hello")
        assert str(raised.value) == (
            "The socket is open inside of the block only: with client.websocket(...)."
        )
        with socket:
            pass


# Timeouts


@websocket
async def silent(socket):
    async for _ in socket:
        await asyncio.Event().wait()


def test_timeout(serve):
    """The error of a wait has what passed, and where the view is."""
    serve(silent)
    with Client().websocket("/ws/") as socket:
        socket.send("x" * 100)
        with pytest.raises(TimeoutError) as raised:
            socket.recv(timeout=0.2)
    head, _, stack = without_times(str(raised.value)).partition("The view waits in:\n")
    lines = head.splitlines()
    assert lines[:4] == [
        "No message came within 0.2 seconds.",
        "",
        "/ws/, after seconds:",
        "-> websocket.connect",
    ]
    assert lines[4].startswith("<- websocket.accept headers=[")
    assert lines[5:] == [
        f"-> websocket.receive text='{'x' * 27}...{'x' * 28}'",
        "",
    ]
    first, code, *_ = stack.splitlines()
    assert re.fullmatch(r'  File ".*test_test_clients.py", line \d+, in silent', first)
    assert code == "    await asyncio.Event().wait()"


def test_timeout_of_the_socket(serve):
    """Every wait of a socket has its timeout, unless it has one of its own."""
    serve(silent)
    with Client().websocket("/ws/", timeout=2) as socket:
        with pytest.raises(TimeoutError, match=r"^No message came within 0\.1 seconds"):
            socket.recv(timeout=0.1)
        socket.timeout = 0.2
        with pytest.raises(TimeoutError, match=r"^No message came within 0\.2 seconds"):
            socket.recv()


def test_timeout_of_the_handshake(serve):
    """A view that does not accept is shown, and does not outlive the test."""
    ended = []

    @websocket
    async def view(socket):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    serve(view)
    with pytest.raises(TimeoutError) as raised:
        with Client().websocket("/ws/", timeout=0.1):
            pass
    text = str(raised.value)
    assert text.startswith("The handshake was not answered within 0.1 seconds.\n")
    assert "in view\n    await asyncio.Event().wait()" in text
    assert ended == [True]


def test_view_does_not_end(urls):
    """A view that goes on after the block is shown and cancelled."""
    ended = []

    @websocket
    async def view(socket):
        try:
            await socket.recv()
        except ConnectionClosed:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(True)

    urls(path("ws/", view), path("echo/", echo))
    # While another socket is open, which keeps the event loop.
    with Client().websocket("/echo/"):
        with pytest.raises(TimeoutError) as raised:
            with Client().websocket("/ws/") as socket:
                socket.timeout = 0.2
        assert ended == [True]
    text = str(raised.value)
    assert text.startswith("The view did not end within 0.2 seconds.\n")
    assert "in view\n    await asyncio.Event().wait()" in text


def test_view_that_cannot_be_cancelled(serve, settings_of_ours):
    """Not even a view that swallows its cancellation keeps the test."""
    settings_of_ours(SHUTDOWN_TIMEOUT=0.1)
    patience = time.monotonic() + 15

    @websocket
    async def view(socket):
        await socket.accept()
        while time.monotonic() < patience:
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                pass

    serve(view)
    with pytest.raises(
        TimeoutError, match=r"^The view did not end within 0\.1 seconds"
    ):
        with Client().websocket("/ws/") as socket:
            socket.timeout = 0.1
    assert time.monotonic() < patience


def test_view_blocks_the_loop(serve):
    """A view that blocks the event loop does not block the test, which shows it."""
    free = threading.Event()

    @websocket
    async def view(socket):
        await socket.recv()
        free.wait(30)

    serve(view)
    try:
        with pytest.raises(TimeoutError) as raised:
            with Client().websocket("/ws/") as socket:
                socket.timeout = 0.1
                socket.send("")
                socket.recv()
        # Others are not concerned.
        serve(echo)
        with Client().websocket("/ws/") as socket:
            socket.send("hello")
            assert socket.recv() == "hello"
    finally:
        free.set()
    text = str(raised.value)
    assert text.startswith("The event loop has stood still for 2.2 seconds in:\n")
    assert "in view\n    free.wait(30)" in text


def test_transcript_of_many(serve):
    """A long transcript has the last 50 events."""
    serve(echo)
    with Client().websocket("/ws/") as socket:
        for _ in range(30):
            socket.send("hello")
            socket.recv()
        with pytest.raises(TimeoutError) as raised:
            socket.recv(timeout=0)
    lines = without_times(str(raised.value)).splitlines()
    assert lines[3].strip() == "(12 events before)"
    assert lines[4:54:2] == ["-> websocket.receive text='hello'"] * 25


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


# Django's test cases


@websocket
async def add_group(socket):
    async for name in socket:
        await sync_to_async(Group.objects.create)(name=name)
        await socket.send_json(
            await sync_to_async(list)(Group.objects.values_list("name", flat=True))
        )


@pytest.mark.parametrize("base", [TestCase, TransactionTestCase])
def test_test_cases(serve, base):
    """A view sees what the test has stored, the test what the view has."""
    serve(add_group)

    class Case(base):
        client_class = Client

        def test(self):
            Group.objects.create(name="test")
            with self.client.websocket("/ws/") as socket:
                socket.send("view")
                self.assertEqual(socket.recv_json(), ["test", "view"])
            self.assertEqual(Group.objects.count(), 2)

    run(Case)
    assert in_a_thread(Group.objects.count) == 0


def test_is_djangos():
    """The client is Django's in everything else."""
    assert issubclass(Client, DjangoClient)


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
