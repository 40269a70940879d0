"""Views: @websocket, WebSocketView, and what ends a connection how."""

import asyncio
import functools
import http.client
import io
import logging
import sys
import threading
import traceback
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import got_request_exception
from django.http import (
    FileResponse,
    Http404,
    HttpResponse,
    HttpResponseNotModified,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.template import engines
from django.template.response import TemplateResponse
from django.test import Client, override_settings
from django.urls import path, re_path
from django.utils import decorators
from django.utils.log import AdminEmailHandler
from project.http import request

from django_asgi_ext import (
    ASGIHandler,
    InvalidJSON,
    WebSocket,
    WebSocketView,
    websocket,
    websocket_connected,
    websocket_disconnected,
)

needs_async_views = pytest.mark.skipif(
    not hasattr(decorators, "async_only_middleware"),
    reason="Django before 3.1 has no async views.",
)
needs_async_classes = pytest.mark.skipif(
    not hasattr(django.views.View, "view_is_async"),
    reason="Django before 4.1 has no async methods of View.",
)


async def talk(socket, **kwargs):
    async for message in socket:
        await socket.send(message)


async def assert_talks(peer):
    await peer.accepted()
    await peer.say("hello")
    assert await peer.hear() == "hello"
    await peer.leave()


# Forms of @websocket


async def test_echo(connect):
    """A view answers each message and the connection ends with the peer's close."""
    peer = connect(websocket(talk))
    await peer.accepted()
    await peer.say("hello")
    assert await peer.hear() == "hello"
    await peer.say(b"\0\1")
    assert await peer.hear() == b"\0\1"
    await peer.leave()


class CallableObject:
    """An object with a coroutine function for a call."""

    def __init__(self):
        self.calls = []

    async def __call__(self, socket, **kwargs):
        await talk(socket)

    async def method(self, socket, **kwargs):
        await talk(socket)


@pytest.mark.parametrize(
    "view",
    [
        websocket(talk),
        websocket()(talk),
        websocket(subprotocols=["chat"], origins=["*"], max_message_size=10)(talk),
        websocket(talk, http=HttpResponse),
        websocket(functools.partial(talk, extra=1)),
        websocket(CallableObject()),
        websocket(CallableObject().method),
        WebSocketView.as_view(),
    ],
)
async def test_forms(connect, view):
    """@websocket takes every callable that is async, with and without arguments."""
    peer = connect(view)
    await peer.accepted()
    await peer.leave()


def test_wrapped():
    """A view keeps name, docstring and attributes of its function."""

    async def chat(socket):
        """Talk."""

    chat.color = "green"
    view = websocket(chat)
    assert (view.__name__, view.__doc__, view.color) == ("chat", "Talk.", "green")
    assert view.__wrapped__ is chat


def plain(socket):
    """Do nothing."""


class PlainObject:
    def __call__(self, socket):
        """Do nothing."""

    def __repr__(self):
        return "<PlainObject>"


async def generates(socket):
    yield


async def lonely(*, room):
    """Do nothing."""


def made_sync(view):
    return functools.wraps(view)(lambda *args: view(*args))


NEEDS = "@websocket needs an async def, and"
WRITE = "Write async def, below all decorators for views."


@pytest.mark.parametrize(
    "view, text",
    [
        (plain, f"{NEEDS} test_views.plain() is sync. {WRITE}"),
        (functools.partial(plain), f"{NEEDS} test_views.plain() is sync. {WRITE}"),
        (PlainObject(), f"{NEEDS} <PlainObject>() is sync. {WRITE}"),
        (
            generates,
            f"{NEEDS} test_views.generates() yields. Write await socket.send(...) in "
            "place of yield.",
        ),
        (
            made_sync(talk),
            f"{NEEDS} a decorator below it has made test_views.talk() a sync function. "
            "Put that decorator above @websocket.",
        ),
        (
            CallableObject,
            f"{NEEDS} test_views.CallableObject is a class. Derive it from "
            "WebSocketView and put CallableObject.as_view() into the URLconf.",
        ),
        ("ws/", f"{NEEDS} 'ws/' is a str. A path goes into path() in the URLconf."),
        (5, f"{NEEDS} 5 is not one."),
        (
            lonely,
            "@websocket gives test_views.lonely() a socket, and it takes none. Write "
            "async def lonely(socket).",
        ),
    ],
)
def test_no_function_for_a_socket(view, text):
    """What is no async function that takes a socket fails at import."""
    for decorate in (websocket, websocket()):
        with pytest.raises(TypeError) as error:
            decorate(view)
        assert str(error.value) == text


def test_function_without_a_signature():
    """What does not tell its arguments is taken as it is."""

    async def view(socket):
        """Do nothing."""

    view.__signature__ = "unknown"
    websocket(view)


async def test_login_required_below(connect, caplog):
    """login_required below @websocket fails at import or, made async, at first use."""
    try:
        view = websocket(login_required(talk))
    except TypeError as error:
        assert str(error) == (
            f"{NEEDS} a decorator below it has made test_views.talk() a sync function. "
            "Put that decorator above @websocket."
        )
    else:
        assert (await connect(view).denied())[0] == 500
        (record,) = caplog.records
        assert str(record.exc_info[1]) == (
            "'WebSocket' object has no attribute 'auser'. The request has: "
            "socket.request.auser. If a decorator asked for it, put that above "
            "@websocket."
        )


@pytest.mark.parametrize(
    "view, text",
    [
        (
            websocket(talk),
            "test_views.talk is a WebSocket view already. Give its @websocket the "
            "arguments, as in @websocket(http=page).",
        ),
        (
            WebSocketView,
            "django_asgi_ext.websockets.views.WebSocketView is a class. Use "
            "WebSocketView.as_view() in the URLconf; a method get() serves a page.",
        ),
    ],
)
def test_view_already(view, text):
    """What is a view already fails at import, with what to do."""
    with pytest.raises(TypeError) as error:
        websocket(view)
    assert str(error.value) == text


def test_page_that_is_not_callable():
    """A page that cannot be called fails at import."""
    with pytest.raises(TypeError):
        websocket(talk, http="page.html")


@pytest.mark.parametrize(
    "options, error, text",
    [
        (
            {"subprotocols": "chat"},
            TypeError,
            "subprotocols must be a list of str, not 'chat'.",
        ),
        (
            {"subprotocols": ["a b"]},
            ValueError,
            "'a b' is no name for a subprotocol (RFC 6455, 4.1).",
        ),
        (
            {"subprotocols": [""]},
            ValueError,
            "'' is no name for a subprotocol (RFC 6455, 4.1).",
        ),
        ({"origins": [5]}, TypeError, "origins must be a list of str, not [5]."),
        (
            {"max_message_size": 0},
            ValueError,
            "max_message_size must be a number of bytes above 0, not 0.",
        ),
        (
            {"max_message_size": True},
            ValueError,
            "max_message_size must be a number of bytes above 0, not True.",
        ),
        (
            {"max_message_size": "1M"},
            ValueError,
            "max_message_size must be a number of bytes above 0, not '1M'.",
        ),
    ],
)
def test_wrong_options(options, error, text):
    """A wrong option fails at import, on a function and on a class."""
    for make in (
        lambda: websocket(**options)(talk),
        lambda: WebSocketView.as_view(**options),
    ):
        with pytest.raises(error) as caught:
            make()
        assert str(caught.value) == text


@pytest.mark.parametrize("form", ["argument", "attribute", "as_view"])
async def test_subprotocol(connect, form):
    """The first subprotocol of the client's that the view supports is taken."""
    if form == "argument":
        view = websocket(subprotocols=["chat", "v2.chat"])(talk)
    elif form == "attribute":

        class View(WebSocketView):
            subprotocols = ["chat", "v2.chat"]

        view = View.as_view()
    else:
        view = WebSocketView.as_view(subprotocols=["chat", "v2.chat"])
    for offered, taken in [
        (["v9.chat", "v2.chat", "chat"], "v2.chat"),
        (["v9.chat"], None),
        ([], None),
    ]:
        peer = connect(view, subprotocols=offered)
        assert (await peer.accepted())["subprotocol"] == taken
        await peer.leave()


async def test_max_message_size(connect):
    """max_message_size of a view stands in place of the setting."""
    peer = connect(websocket(max_message_size=4)(talk))
    await peer.accepted()
    await peer.say("four")
    assert await peer.hear() == "four"
    await peer.say("fiver")
    assert await peer.closed() == (1009, "over 4 bytes")


# Plain HTTP


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "OPTIONS"])
@pytest.mark.parametrize("view", [websocket(talk), WebSocketView.as_view()])
async def test_upgrade_required(urls, view, method):
    """A request that is no handshake gets 426 and is told what to upgrade to."""
    urls(path("ws/", view))
    status, headers, body = await request(ASGIHandler(), "/ws/", method=method)
    assert status == 426
    assert headers["upgrade"] == ["websocket"]
    assert headers["connection"] == ["Upgrade"]
    if method != "HEAD":
        assert body == "This URL is for WebSocket connections.\n"


async def test_handshake_as_plain_http(urls, caplog):
    """The log says why a handshake came as plain HTTP, and its peer learns nothing."""
    urls(path("ws/", websocket(talk)))
    status, _, body = await request(
        ASGIHandler(),
        "/ws/",
        headers={"Upgrade": "WebSocket", "Connection": "upgrade"},
    )
    assert (status, body) == (426, "This URL is for WebSocket connections.\n")
    (record,) = caplog.records
    assert record.getMessage() == (
        "Upgrade Required: /ws/ (The server has passed the handshake on as plain HTTP. "
        "Run one that speaks WebSocket: hypercorn asgi:application (or, for "
        "uvicorn, pip install websockets))"
    )


async def test_upgrade_required_over_http_2(urls):
    """Over HTTP/2 there are no headers of the connection."""
    urls(path("ws/", websocket(talk)))
    status, headers, _ = await request(ASGIHandler(), "/ws/", http_version="2")
    assert status == 426
    assert not {"upgrade", "connection"} & headers.keys()


@pytest.mark.parametrize("method", ["get", "head", "post", "options"])
async def test_upgrade_required_in_a_test(urls, method):
    """Django's test client gets 426 as well."""
    urls(path("ws/", websocket(talk)))
    response = await sync_to_async(getattr(Client(), method))("/ws/")
    assert response.status_code == 426
    assert response["Upgrade"] == "websocket"


class QuietHandler(WSGIRequestHandler):
    def log_message(self, *args):
        """Log nothing."""


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_upgrade_required_under_wsgi(urls, method):
    """A WSGI server, which allows no header of the connection, answers 426."""
    urls(path("ws/", websocket(talk)))

    def serve_one():
        with make_server(
            "127.0.0.1", 0, WSGIHandler(), handler_class=QuietHandler
        ) as server:
            thread = threading.Thread(target=server.handle_request)
            thread.start()
            client = http.client.HTTPConnection(*server.server_address, timeout=5)
            client.request(method, "/ws/", headers={"host": "localhost"})
            response = client.getresponse()
            body = response.read()
            client.close()
            thread.join(5)
            return response.status, body

    with override_settings(MIDDLEWARE=[]):
        status, body = await asyncio.to_thread(serve_one)
    assert status == 426
    assert body == (
        b"" if method == "HEAD" else b"This URL is for WebSocket connections.\n"
    )


def page(request, **kwargs):
    return HttpResponse(f"page {request.method}")


async def async_page(request, **kwargs):
    await asyncio.sleep(0)
    return HttpResponse(f"page {request.method}")


class PageView(WebSocketView):
    def get(self, request, **kwargs):
        return page(request)


class AsyncPageView(WebSocketView):
    async def get(self, request, **kwargs):
        return await async_page(request)


@pytest.mark.parametrize(
    "view",
    [
        websocket(talk, http=page),
        websocket(http=page)(talk),
        PageView.as_view(),
        pytest.param(websocket(talk, http=async_page), marks=needs_async_views),
        pytest.param(AsyncPageView.as_view(), marks=needs_async_classes),
    ],
)
async def test_page(connect, view):
    """One URL serves a page and its socket."""
    peer = connect(view)
    status, headers, body = await request(ASGIHandler(), "/ws/")
    assert (status, body) == (200, "page GET")
    assert "upgrade" not in headers
    await peer.accepted()
    await peer.leave()


async def test_page_in_a_test(urls):
    """Django's test client gets the page, under WSGI."""
    urls(path("ws/", websocket(talk, http=page)))
    response = await sync_to_async(Client().get)("/ws/")
    assert response.content == b"page GET"


async def test_page_of_a_class_knows_its_methods(urls):
    """A class with a page answers a method it has not with 405."""
    urls(path("ws/", PageView.as_view()))
    response = await sync_to_async(Client().post)("/ws/")
    assert response.status_code == 405
    response = await sync_to_async(Client().options)("/ws/")
    assert response["Allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("is_async", [False, True])
async def test_handshake_on_a_page(connect, caplog, is_async):
    """A handshake for an HTTP view gets 404, and that view does not run."""
    ran = []

    def sync_view(request):
        ran.append("sync")
        return HttpResponse()

    async def async_view(request):
        ran.append("async")
        return HttpResponse()

    view = async_view if is_async else sync_view
    assert (await connect(view).denied())[0] == 404
    assert ran == []
    (record,) = caplog.records
    assert record.getMessage() == (
        f"Not Found: /ws/ (The URL is that of test_views.{view.__qualname__}, which is "
        "no WebSocket view. If a decorator has made it, use functools.wraps() there; "
        "else put @websocket on it.)"
    )


async def test_handshake_on_a_class_for_pages(connect):
    """A handshake for a View of Django's gets 404, and none of its methods runs."""
    ran = []

    class View(django.views.View):
        def dispatch(self, request, *args, **kwargs):
            ran.append(True)
            return HttpResponse()

    assert (await connect(View.as_view()).denied())[0] == 404
    assert ran == []


# WebSocketView


def recording(calls, **methods):
    """Return a WebSocketView that records its calls."""

    class View(WebSocketView):
        async def connect(self):
            calls.append(("connect", self.args, self.kwargs))
            if "connect" in methods:
                return await methods["connect"](self)

        async def receive(self, message):
            calls.append(("receive", message))
            if "receive" in methods:
                await methods["receive"](self, message)

        async def disconnect(self, code):
            calls.append(("disconnect", code))
            if "disconnect" in methods:
                await methods["disconnect"](self, code)

    return View


async def test_class(connect, urls):
    """connect(), receive() and disconnect() are called in this order."""
    calls = []
    urls(path("ws/<slug:room>/", recording(calls).as_view(), {"extra": 1}))
    peer = connect("/ws/lobby/")
    await peer.accepted()
    await peer.say("a")
    await peer.say(b"b")
    await peer.leave(4001)
    assert calls == [
        ("connect", (), {"room": "lobby", "extra": 1}),
        ("receive", "a"),
        ("receive", b"b"),
        ("disconnect", 4001),
    ]


async def test_class_is_made_for_each_connection(connect):
    """Each connection has an instance of its own."""
    instances = []

    class View(WebSocketView):
        async def connect(self):
            instances.append((self, self.socket, self.request))

    view = View.as_view()
    for _ in range(2):
        peer = connect(view)
        await peer.accepted()
        await peer.leave()
    (first, second) = instances
    assert first[0] is not second[0]
    for instance, socket, own_request in instances:
        assert isinstance(socket, WebSocket)
        assert socket is instance.socket
        assert own_request is socket.request


async def test_class_without_methods(connect):
    """A WebSocketView that does nothing accepts and reads."""
    peer = connect(WebSocketView.as_view())
    await peer.accepted()
    await peer.say("hello")
    await peer.leave()


async def test_class_accepts_itself(connect):
    """connect() may accept by itself, with a subprotocol and headers."""

    class View(WebSocketView):
        async def connect(self):
            await self.socket.accept(subprotocol="chat", headers={"X-A": "1"})

    peer = connect(View.as_view(), subprotocols=["chat"])
    accept = await peer.accepted()
    assert accept["subprotocol"] == "chat"
    assert (b"x-a", b"1") in accept["headers"]
    await peer.leave()


async def yields(self, *args):
    yield


async def takes_too_much(self, one, two):
    """Do nothing."""


@pytest.mark.parametrize(
    "method, text",
    [
        (lambda self, *args: None, "View.{}() must be an async def."),
        (
            yields,
            "View.{}() yields. Write await self.socket.send(...) in place of yield.",
        ),
        (
            websocket(talk),
            "View.{}() is no view of its own. Take @websocket away.",
        ),
        (
            takes_too_much,
            "View.{}() takes other arguments than it is called with. Write async def "
            "{}({}); those of the URL are in self.kwargs.",
        ),
    ],
)
@pytest.mark.parametrize(
    "name, arguments",
    [("connect", "self"), ("receive", "self, message"), ("disconnect", "self, code")],
)
def test_class_with_a_wrong_method(name, arguments, method, text):
    """A method that cannot be awaited as it is called fails in as_view()."""
    view = type("View", (WebSocketView,), {name: method})
    with pytest.raises(TypeError) as error:
        view.as_view()
    assert str(error.value) == text.format(name, name, arguments)


def test_class_with_a_static_method():
    """A method that is none of the instance's is called as it is."""

    class View(WebSocketView):
        @staticmethod
        async def connect():
            """Do nothing."""

    View.as_view()


async def test_class_whose_receive_returns(connect, caplog):
    """What receive() returns is logged once for each connection."""

    async def receive(self, message):
        return message

    view = type("View", (WebSocketView,), {"receive": receive})
    peer = connect(view.as_view())
    await peer.accepted()
    for _ in range(3):
        await peer.say("hello")
    await peer.leave()
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "name, text",
    [
        ("close", ". The socket has: self.socket.close."),
        ("user", ". The socket has: self.socket.user."),
        ("nothing", ""),
        ("socket", ""),
    ],
)
def test_attribute_of_a_class_that_is_missing(name, text):
    """Who asks a WebSocketView for what its socket has is told where it is."""
    with pytest.raises(AttributeError) as error:
        getattr(WebSocketView(), name)
    assert traceback.format_exception_only(error.value) == [
        f"AttributeError: 'WebSocketView' object has no attribute '{name}'{text}\n"
    ]


def test_class_with_an_unknown_argument():
    """as_view() takes what the class has, as that of any View."""
    with pytest.raises(TypeError):
        WebSocketView.as_view(subprotocol=["chat"])


async def raises(error):
    raise error


@pytest.mark.parametrize(
    "receive, code",
    [
        (lambda view, message: view.socket.close(4002, "bye"), 4002),
        (lambda view, message: raises(ZeroDivisionError()), 1011),
        (lambda view, message: raises(PermissionDenied()), 1008),
        (lambda view, message: raises(InvalidJSON("No.")), 1007),
    ],
)
async def test_disconnect_tells_what_the_view_did(connect, receive, code):
    """disconnect() is called once with the code that the view has chosen."""
    calls = []
    peer = connect(recording(calls, receive=receive).as_view())
    await peer.accepted()
    await peer.say("a")
    assert (await peer.closed())[0] == code
    assert calls[2:] == [("disconnect", code)]


@pytest.mark.parametrize("event, code", [({"code": 1001}, 1001), ({}, 1005)])
async def test_disconnect_tells_what_the_peer_did(connect, event, code):
    """disconnect() is called with the code of the peer, 1005 without one."""
    calls = []
    peer = connect(recording(calls).as_view())
    await peer.accepted()
    await peer.send_input({"type": "websocket.disconnect", **event})
    await peer.wait(timeout=5)
    assert calls[1:] == [("disconnect", code)]


async def test_disconnect_of_a_view_that_is_busy(connect):
    """disconnect() is called if the peer leaves while receive() does something else."""
    calls = []

    async def receive(view, message):
        await asyncio.Event().wait()

    peer = connect(recording(calls, receive=receive).as_view())
    await peer.accepted()
    await peer.say("a")
    await peer.leave(1001)
    assert calls[2:] == [("disconnect", 1001)]


async def test_disconnect_of_a_server_that_shuts_down(connect):
    """disconnect() is called if the server cancels the application."""
    calls = []
    receiving = asyncio.Event()

    async def receive(view, message):
        receiving.set()

    peer = connect(recording(calls, receive=receive).as_view())
    await peer.accepted()
    await peer.say("a")
    await receiving.wait()
    peer.future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await peer.future
    assert peer.output_queue.get_nowait()["code"] == 1012
    assert calls[2:] == [("disconnect", 1012)]


async def test_disconnect_that_fails(connect, caplog):
    """A failure of disconnect() is logged, and the connection ends with 1011."""
    calls = []

    async def disconnect(view, code):
        raise ZeroDivisionError

    async def receive(view, message):
        raise ValueError

    methods = {"disconnect": disconnect, "receive": receive}
    peer = connect(recording(calls, **methods).as_view())
    await peer.accepted()
    await peer.say("a")
    assert (await peer.closed())[0] == 1011
    (record,) = caplog.records
    error = record.exc_info[1]
    assert isinstance(error, ZeroDivisionError)
    assert isinstance(error.__context__, ValueError)


async def refuses(view):
    return HttpResponse("No", status=429)


async def denies(view):
    raise PermissionDenied


async def closes(view):
    await view.socket.close()


@pytest.mark.parametrize("connect_method, status", [(refuses, 429), (denies, 403)])
async def test_connect_that_refuses(connect, connect_method, status):
    """connect() refuses by a response and by raising; nothing else is called."""
    calls = []
    peer = connect(recording(calls, connect=connect_method).as_view())
    assert (await peer.denied())[0] == status
    assert [call[0] for call in calls] == ["connect"]


async def test_connect_that_closes(connect):
    """connect() refuses by close(); nothing else is called."""
    calls = []
    peer = connect(recording(calls, connect=closes).as_view())
    event = await peer.connect()
    await peer.wait(timeout=5)
    assert (event["type"], peer.output_queue.empty()) == ("websocket.close", True)
    assert [call[0] for call in calls] == ["connect"]


# Denials by the view


def returns(make_response):
    """Return a view that returns a response before it accepts."""

    @websocket
    async def view(socket):
        return make_response(socket.request)

    return view


async def test_return_nothing(connect, caplog):
    """A view that returns None before it accepts denies the handshake with 403."""
    status, _, body = await connect(returns(lambda request: None)).denied()
    assert (status, body) == (403, "")
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("django.request", "WARNING")
    assert record.getMessage() == (
        "Forbidden (test_views.returns.<locals>.view returned before it accepted): /ws/"
    )


async def test_return_a_response(connect):
    """A response goes out with its status, headers, cookies and body."""

    def make_response(request):
        response = HttpResponse("wait", status=429, content_type="text/x")
        response["Retry-After"] = "10"
        response["Connection"] = "close"
        response.set_cookie("a", "1")
        response.set_cookie("b", "2")
        return response

    status, headers, body = await connect(returns(make_response)).denied()
    assert (status, body) == (429, "wait")
    assert headers["retry-after"] == ["10"]
    assert headers["content-type"] == ["text/x"]
    assert headers["content-length"] == ["4"]
    assert headers["set-cookie"] == ["a=1; Path=/", "b=2; Path=/"]
    assert "connection" not in headers


@pytest.mark.parametrize(
    "make_response, status, body",
    [
        (lambda request: HttpResponseRedirect("/there/"), 302, ""),
        (lambda request: JsonResponse({"a": 1}, status=409), 409, '{"a": 1}'),
        (
            lambda request: FileResponse(io.BytesIO(b"file"), filename="a.txt"),
            200,
            "file",
        ),
        (
            lambda request: StreamingHttpResponse(iter([b"a", "ü"]), status=503),
            503,
            "aü",
        ),
        (
            lambda request: TemplateResponse(
                request, engines["django"].from_string("{{ a }}"), {"a": 1}, status=402
            ),
            402,
            "1",
        ),
    ],
)
async def test_return_other_responses(connect, make_response, status, body):
    """Every kind of response is rendered and read to its end."""
    got_status, headers, got_body = await connect(returns(make_response)).denied()
    assert (got_status, got_body) == (status, body)
    assert headers["content-length"] == [str(len(body.encode()))]


@pytest.mark.parametrize(
    "make_response",
    [lambda request: HttpResponse(status=204), lambda r: HttpResponseNotModified()],
)
async def test_return_a_response_without_a_body(connect, make_response):
    """A status that has no body goes out without one, and without a length."""
    status, headers, body = await connect(returns(make_response)).denied()
    assert status in (204, 304)
    assert body == ""
    assert "content-length" not in headers


@pytest.mark.skipif(
    not hasattr(StreamingHttpResponse, "__aiter__"),
    reason="Django before 4.2 does not stream from async iterators.",
)
async def test_return_an_async_stream(connect):
    """A response that streams from an async iterator is read as any other."""

    async def chunks():
        yield b"a"
        yield b"b"

    view = returns(lambda request: StreamingHttpResponse(chunks(), status=503))
    status, _, body = await connect(view).denied()
    assert (status, body) == (503, "ab")


async def test_response_is_closed(connect):
    """A response is closed, with the file that it comes from."""
    file = io.BytesIO(b"file")
    await connect(returns(lambda request: FileResponse(file))).denied()
    assert file.closed


async def test_denial_bears_the_headers_of_middleware(connect):
    """What middleware has put on the 101 goes out with the denial."""
    view = returns(lambda request: HttpResponse("No", status=403))
    _, headers, _ = await connect(view).denied()
    assert headers["x-frame-options"] == ["DENY"]
    assert headers["x-content-type-options"] == ["nosniff"]


@pytest.mark.parametrize("status", [100, 101, 103, 1000])
async def test_return_a_status_that_is_none(connect, caplog, status):
    """A response that answers nothing is an error of the view."""

    def answer(request):
        response = HttpResponse()
        # Its constructor refuses 1000, up to which point nobody checks.
        response.status_code = status
        return response

    view = returns(answer)
    assert (await connect(view).denied())[0] == 500
    record = caplog.records[-1]
    assert record.levelname == "ERROR"
    assert str(record.exc_info[1]) == (
        f"A handshake cannot be answered with status {status}. "
        "Use 200 to 999; only a WebSocket view answers 101."
    )


class Awaitable:
    def __await__(self):
        """Wait for nothing."""

    def __repr__(self):
        return "<Awaitable>"


@pytest.mark.parametrize(
    "answer, remedy",
    [
        ("Hello", "Send it by await socket.send(...)."),
        (b"Hello", "Send it by await socket.send(...)."),
        ({"a": 1}, "Send it by await socket.send_json(...)."),
        (Awaitable(), "Await it."),
    ],
)
async def test_return_what_is_no_response(connect, caplog, answer, remedy):
    """A value that is no response is an error of the view."""
    assert (await connect(returns(lambda request: answer)).denied())[0] == 500
    (record,) = caplog.records
    assert str(record.exc_info[1]) == (
        "A WebSocket view returns an HttpResponse or None before it accepts, and "
        f"test_views.returns.<locals>.view returned {answer!r}. {remedy}"
    )


async def test_template_that_fails(connect, caplog):
    """A template that cannot be rendered is an error of the view."""
    template = engines["django"].from_string("{% include nothing %}")
    view = returns(lambda request: TemplateResponse(request, template))
    assert (await connect(view).denied())[0] == 500
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def raising(error):
    """Return a view that raises before it accepts."""

    @websocket
    async def view(socket):
        raise error

    return view


@pytest.mark.parametrize(
    "error, status",
    [
        (Http404("Nothing."), 404),
        (PermissionDenied("No."), 403),
        (SuspiciousOperation("Odd."), 400),
        (ZeroDivisionError("Bad."), 500),
    ],
)
async def test_raise_before_accept(connect, urls, caplog, error, status):
    """An exception before accept is answered and logged as over HTTP."""

    def http_view(request):
        raise error

    urls(path("ws/", http_view))
    http_status, _, http_body = await request(ASGIHandler(), "/ws/")
    lines = [(r.name, r.levelname, r.getMessage()) for r in caplog.records]
    caplog.clear()
    got_status, _, body = await connect(raising(error)).denied()
    assert (got_status, body) == (http_status, http_body)
    assert got_status == status
    assert [(r.name, r.levelname, r.getMessage()) for r in caplog.records] == lines
    assert caplog.records[-1].request.path == "/ws/"
    assert caplog.records[-1].status_code == status


@pytest.mark.parametrize(
    "errors, status",
    [([Http404()], 404), ([PermissionDenied()], 403), ([Http404(), KeyError()], 500)],
)
async def test_raise_a_group_before_accept(connect, errors, status):
    """A group of one exception, as of a task group, counts as that exception."""
    error = ExceptionGroup("outer", [ExceptionGroup("inner", errors)])
    assert (await connect(raising(error)).denied())[0] == status


async def test_raise_before_accept_says_nothing_to_the_peer(connect):
    """The peer learns nothing of a failure."""
    _, _, body = await connect(raising(ZeroDivisionError("secret"))).denied()
    assert "secret" not in body


@pytest.mark.parametrize(
    "error, status", [(Http404("Nothing here."), 404), (ValueError("Wrong."), 500)]
)
async def test_raise_before_accept_while_debugging(connect, error, status):
    """With DEBUG on the peer gets Django's page for it."""
    with override_settings(DEBUG=True):
        got_status, headers, body = await connect(raising(error)).denied()
    assert got_status == status
    assert headers["content-type"][0].startswith("text/html")
    assert str(error) in body


def page_404(request, exception):
    return HttpResponse(f"own 404 {request.path}", status=404)


def page_500(request):
    return HttpResponse("own 500", status=500)


async def test_own_error_pages(connect, urls):
    """handler404 and handler500 of the URLconf make the pages."""
    import urls_of_a_test

    urls_of_a_test.handler404 = page_404
    urls_of_a_test.handler500 = page_500
    assert (await connect(raising(Http404())).denied())[2] == "own 404 /ws/"
    assert (await connect(raising(KeyError())).denied())[2] == "own 500"


async def test_error_page_that_fails(connect, urls):
    """If handler500 fails the peer gets a bare 500, and the server is told."""
    import urls_of_a_test

    def fails(request):
        raise LookupError("No page.")

    urls_of_a_test.handler500 = fails
    peer = connect(raising(KeyError()))
    await peer.send_input({"type": "websocket.connect"})
    with pytest.raises(LookupError):
        await peer.wait(timeout=5)
    assert peer.output_queue.get_nowait()["status"] == 500


async def test_exceptions_that_propagate(connect):
    """With DEBUG_PROPAGATE_EXCEPTIONS the server is told, and the peer gets 500."""
    with override_settings(DEBUG_PROPAGATE_EXCEPTIONS=True):
        peer = connect(raising(KeyError("a")))
        await peer.send_input({"type": "websocket.connect"})
        with pytest.raises(KeyError):
            await peer.wait(timeout=5)
    assert peer.output_queue.get_nowait()["status"] == 500


async def test_close_before_accept(connect):
    """close() before accept refuses the handshake."""

    @websocket
    async def view(socket):
        await socket.close(4000, "no")

    peer = connect(view)
    event = await peer.connect()
    await peer.wait(timeout=5)
    assert event["type"] == "websocket.close"
    assert peer.output_queue.empty()


# Endings after accept


async def test_close_on_return(connect):
    """A view that returns after accepting closes the connection with 1000."""

    @websocket
    async def hello(socket):
        await socket.send("hello")

    peer = connect(hello)
    await peer.accepted()
    assert await peer.hear() == "hello"
    assert await peer.closed() == (1000, "")


def raising_late(error):
    """Return a view that raises after it accepted."""

    @websocket
    async def view(socket):
        await socket.accept()
        raise error

    return view


async def grouped(error):
    async with asyncio.TaskGroup() as group:
        group.create_task(raises(error))


@websocket
async def raises_in_a_group(socket):
    await socket.accept()
    await grouped(PermissionDenied())


@websocket
async def raises_two_in_a_group(socket):
    await socket.accept()
    raise ExceptionGroup("two", [PermissionDenied(), ValueError()])


@pytest.mark.parametrize(
    "view, code",
    [
        (raising_late(ZeroDivisionError()), 1011),
        (raising_late(Http404()), 1011),
        (raising_late(SuspiciousOperation()), 1011),
        (raising_late(PermissionDenied("secret")), 1008),
        (raising_late(InvalidJSON("secret")), 1007),
        (raises_in_a_group, 1008),
        (raises_two_in_a_group, 1011),
    ],
)
async def test_raise_after_accept(connect, view, code):
    """An exception after accept is a close code without a reason."""
    peer = connect(view)
    await peer.accepted()
    assert await peer.closed() == (code, "")
    assert peer.output_queue.empty()


async def test_failure_is_logged(connect, caplog):
    """A failure goes to django.request with request and traceback, once."""
    error = ZeroDivisionError("Bad.")
    peer = connect(raising_late(error))
    await peer.accepted()
    await peer.closed()
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("django.request", "ERROR")
    assert record.getMessage() == "Internal Server Error: /ws/"
    assert record.exc_info[1] is error
    assert record.request.path == "/ws/"
    assert record.status_code == 500


async def test_failure_is_signalled(connect):
    """A failure sends got_request_exception, once, before and after accept."""
    seen = []

    def receiver(sender, request, **kwargs):
        seen.append((request.path, sys.exc_info()[0]))

    got_request_exception.connect(receiver)
    try:
        await connect(raising(KeyError())).denied()
        peer = connect(raising_late(KeyError()))
        await peer.accepted()
        await peer.closed()
    finally:
        got_request_exception.disconnect(receiver)
    assert seen == [("/ws/", KeyError)] * 2


async def test_failure_is_mailed(connect, monkeypatch):
    """A failure is mailed to the admins, as one of an HTTP view."""
    mails = []

    def send_mail(handler, subject, message, *args, **kwargs):
        mails.append((subject, message))

    monkeypatch.setattr(AdminEmailHandler, "send_mail", send_mail)
    admins = ["a@example.com"]
    if django.VERSION < (6, 0):
        admins = [("A", "a@example.com")]
    with override_settings(ADMINS=admins):
        peer = connect(raising_late(KeyError("missing")), query_string=b"a=1")
        await peer.accepted()
        await peer.closed()
    ((subject, message),) = mails
    assert subject == "ERROR (EXTERNAL IP): Internal Server Error: /ws/"
    assert "KeyError" in message
    assert "testserver/ws/?a=1" in message


async def test_permission_denied_is_logged(connect, caplog):
    """PermissionDenied after accept is a warning of django.request."""
    peer = connect(raising_late(PermissionDenied("No.")))
    await peer.accepted()
    await peer.closed()
    (record,) = caplog.records
    assert (record.name, record.levelname, record.status_code) == (
        "django.request",
        "WARNING",
        403,
    )
    assert record.getMessage() == "Forbidden (Permission denied): /ws/"


async def test_invalid_json_is_logged(connect, caplog):
    """InvalidJSON that a view does not handle is a warning without a traceback."""

    @websocket
    async def view(socket):
        await socket.recv_json()

    peer = connect(view)
    await peer.accepted()
    await peer.say("{")
    assert await peer.closed() == (1007, "")
    (record,) = caplog.records
    assert (record.levelname, record.exc_info) == ("WARNING", None)
    assert record.getMessage().startswith("WebSocket /ws/: The message is no JSON: ")


async def test_peer_that_leaves_is_no_failure(connect, caplog):
    """ConnectionClosed that a view does not handle is logged nowhere."""

    @websocket
    async def view(socket):
        async with asyncio.TaskGroup() as group:
            group.create_task(socket.recv())

    peer = connect(view)
    await peer.accepted()
    await peer.leave(1006)
    assert caplog.records == []


@pytest.mark.parametrize("code", [1001, 1005, 1006, 4000])
async def test_other_peer_that_has_left(connect, caplog, code):
    """ConnectionClosed of another socket is a failure, whatever its code is."""
    sockets = []

    @websocket
    async def view(socket):
        sockets.append(socket)
        async for message in socket:
            for each in sockets:
                await each.send(message)

    gone, peer = connect(view), connect(view)
    await gone.accepted()
    await gone.leave(code)
    await peer.accepted()
    await peer.say("hello")
    assert await peer.closed() == (1011, "")
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("django.request", "ERROR")


async def test_failure_after_the_peer_left(connect, caplog):
    """What goes wrong after the peer has left is logged all the same."""

    @websocket
    async def view(socket):
        async for _ in socket:
            pass
        raise ZeroDivisionError

    peer = connect(view)
    await peer.accepted()
    await peer.leave(1001)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert peer.output_queue.empty()


async def test_server_that_shuts_down(connect):
    """A view that the server cancels ends with 1012."""
    peer = connect(websocket(talk))
    await peer.accepted()
    await peer.say("a")
    await peer.hear()
    peer.future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await peer.future
    assert peer.output_queue.get_nowait() == {
        "type": "websocket.close",
        "code": 1012,
        "reason": "",
    }


async def test_server_that_shuts_down_before_accept(connect):
    """A handshake that the server cancels is refused."""
    running = asyncio.Event()

    @websocket
    async def view(socket):
        running.set()
        await asyncio.Event().wait()

    peer = connect(view)
    await peer.send_input({"type": "websocket.connect"})
    await asyncio.wait_for(running.wait(), 5)
    peer.future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await peer.future
    refusals = {"websocket.close", "websocket.http.response.start"}
    assert peer.output_queue.get_nowait()["type"] in refusals


# Logs and signals


async def test_log_of_a_connection(connect, caplog):
    """A connection is two INFO lines, for its beginning and its end."""
    caplog.set_level(logging.INFO, logger="django_asgi_ext.websocket")
    peer = connect(websocket(talk))
    await peer.accepted()
    await peer.leave(1001)
    first, second = caplog.records
    assert {first.name, second.name} == {"django_asgi_ext.websocket"}
    assert {first.levelname, second.levelname} == {"INFO"}
    assert first.getMessage() == "WebSocket CONNECT /ws/"
    assert second.getMessage() == "WebSocket DISCONNECT /ws/ 1001 0.0s"


async def test_log_of_a_denial(connect, caplog):
    """A denial is one warning and no connection."""
    caplog.set_level(logging.INFO, logger="django_asgi_ext.websocket")
    await connect(returns(lambda request: HttpResponseRedirect("/"))).denied()
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == "WebSocket denied with 302 to /: /ws/"
    assert record.status_code == 302
    assert record.request.path == "/ws/"


@pytest.mark.parametrize(
    "view",
    [
        websocket(talk),
        returns(lambda request: None),
        returns(lambda request: HttpResponseRedirect("/")),
        raising_late(KeyError()),
        raising_late(PermissionDenied()),
    ],
)
async def test_log_on_one_line(connect, urls, caplog, view):
    """A path of a peer's choice cannot begin a new line in the log."""
    caplog.set_level(logging.INFO)
    urls(re_path(r"(?s)^.*$", view))
    peer = connect("/")
    peer.scope["path"] = "/a\nERROR \x1b[31m/"
    event = await peer.connect()
    if event["type"] == "websocket.accept":
        await peer.send_input({"type": "websocket.disconnect", "code": 1000})
    await peer.wait(timeout=5)
    records = [r for r in caplog.records if r.name.startswith("django")]
    assert records
    for record in records:
        assert record.getMessage().isprintable(), record


@pytest.fixture
def receivers():
    """Connect receivers of the two signals, until the end of the test."""
    connected = []

    def connect_both(receiver):
        for signal in (websocket_connected, websocket_disconnected):
            signal.connect(receiver)
            connected.append((signal, receiver))

    yield connect_both
    for signal, receiver in connected:
        signal.disconnect(receiver)


def name_of(signal):
    return "connected" if signal is websocket_connected else "disconnected"


@pytest.mark.parametrize("is_async", [False, True])
async def test_signals(connect, receivers, is_async):
    """The signals are sent with socket, code and seconds, to sync and async ones."""
    sent = []

    def sync_receiver(sender, signal, **kwargs):
        sent.append((name_of(signal), sender, kwargs))

    async def async_receiver(sender, signal, **kwargs):
        await asyncio.sleep(0)
        sent.append((name_of(signal), sender, kwargs))

    receivers(async_receiver if is_async else sync_receiver)
    peer = connect(websocket(talk))
    await assert_talks(peer)
    (name, sender, arguments), (late_name, late_sender, late_arguments) = sent
    assert (name, late_name) == ("connected", "disconnected")
    assert (sender, late_sender) == (WebSocket, WebSocket)
    assert arguments.keys() == {"socket"}
    assert late_arguments.keys() == {"socket", "code", "seconds"}
    assert late_arguments["socket"] is arguments["socket"]
    assert late_arguments["code"] == 1000
    assert 0 <= late_arguments["seconds"] < 5


async def test_signals_come_before_what_the_view_does(connect, receivers):
    """websocket_connected is over before the view goes on after accept()."""
    order = []

    async def receiver(sender, signal, **kwargs):
        await asyncio.sleep(0)
        order.append(name_of(signal))

    @websocket
    async def view(socket):
        await socket.accept()
        order.append("view")

    receivers(receiver)
    peer = connect(view)
    await peer.accepted()
    await peer.closed()
    assert order == ["connected", "view", "disconnected"]


async def test_signals_of_a_failure(connect, receivers):
    """websocket_disconnected tells the code with which a failure ended."""
    codes = []

    def receiver(sender, signal, **kwargs):
        codes.append(kwargs.get("code"))

    receivers(receiver)
    peer = connect(raising_late(KeyError()))
    await peer.accepted()
    await peer.closed()
    assert codes == [None, 1011]


async def test_signals_of_a_denial(connect, receivers):
    """A handshake that was denied was no connection."""
    sent = []

    def receiver(sender, **kwargs):
        sent.append(kwargs)

    receivers(receiver)
    await connect(returns(lambda request: None)).denied()
    await connect(raising(KeyError())).denied()
    await connect("/nowhere/").denied()
    assert sent == []


@pytest.mark.parametrize("is_async", [False, True])
async def test_receiver_that_fails(connect, receivers, caplog, is_async):
    """A receiver that fails is logged, and harms neither the others nor the view."""
    others = []

    def sync_receiver(sender, **kwargs):
        raise ZeroDivisionError

    async def async_receiver(sender, **kwargs):
        raise ZeroDivisionError

    def other(sender, **kwargs):
        others.append(True)

    receivers(async_receiver if is_async else sync_receiver)
    receivers(other)
    await assert_talks(connect(websocket(talk)))
    assert others == [True, True]
    records = [r for r in caplog.records if r.name == "django_asgi_ext.websocket"]
    assert len(records) == 2
    for record in records:
        assert record.levelname == "ERROR"
        assert record.getMessage().startswith("Signal receiver <function ")
        assert record.exc_info[0] is ZeroDivisionError


async def test_receiver_may_use_the_database(connect, receivers):
    """A sync receiver runs in a worker thread, where it may query."""
    threads = []

    def receiver(sender, **kwargs):
        threads.append(threading.current_thread() is threading.main_thread())

    receivers(receiver)
    await assert_talks(connect(websocket(talk)))
    assert threads == [False, False]


async def test_decorator_that_changes_the_arguments(connect):
    """A decorator below @websocket may give the view other arguments than it gets."""

    def with_number(view):
        @functools.wraps(view)
        async def wrapper(socket):
            await view(socket, 5)

        return wrapper

    @websocket
    @with_number
    async def view(socket, number):
        await socket.send(f"{number}")

    peer = connect(view)
    await peer.accepted()
    assert await peer.hear() == "5"
    await peer.closed()


async def test_decorator_of_a_method_that_changes_the_arguments(connect):
    """A decorator may give receive() more than the message."""

    def with_length(method):
        @functools.wraps(method)
        async def wrapper(self, message):
            await method(self, message, len(message))

        return wrapper

    class Lengths(WebSocketView):
        @with_length
        async def receive(self, message, length):
            await self.socket.send(f"{message} {length}")

    peer = connect(Lengths.as_view())
    await peer.accepted()
    await peer.say("hello")
    assert await peer.hear() == "hello 5"
    await peer.leave()


def test_property_that_fails():
    """A property of a class that fails says why."""

    class View(WebSocketView):
        @property
        def room(self):
            return self.kwagrs["room"]

    with pytest.raises(AttributeError, match="kwagrs"):
        View().room  # noqa: B018
