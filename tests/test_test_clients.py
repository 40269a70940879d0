"""The test client: what a sync test sees through it."""

import asyncio

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import Group, User
from django.http import HttpResponse
from django.test import (
    Client as DjangoClient,
    TestCase,
    TransactionTestCase,
)
from django.urls import path
from project.databases import in_a_thread
from talking import ask, echo, run, telling

from django_asgi_ext import ConnectionClosed, websocket
from django_asgi_ext.test import Client, HandshakeDenied

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
            user = User.objects.create_user("grace", password="hopper")
            self.assertEqual(self.name(), "")
            self.client.force_login(user)
            self.assertEqual(self.name(), "grace")
            self.client.logout()
            self.assertEqual(self.name(), "")
            self.assertTrue(self.client.login(username="grace", password="hopper"))
            self.assertEqual(self.name(), "grace")

    run(Case)


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
