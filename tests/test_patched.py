"""A Django with the hook of patches/: the handler overrides it, and nothing else."""

import asyncio
import inspect
from functools import partial

import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.asgi import get_asgi_application as django_application
from django.core.handlers import asgi
from django.http import JsonResponse
from django.urls import path
from peer import Peer, websocket_scope
from project.http import http_scope, request

from django_asgi_ext import ASGIHandler, UnsupportedProtocol, protocols, websocket

PATCHED = hasattr(asgi.ASGIHandler, "get_protocol_handler")

pytestmark = pytest.mark.skipif(
    not PATCHED, reason="This Django has no hook: python patches/apply.py adds it."
)


@websocket
async def echo(socket):
    async for message in socket:
        await socket.send(message)


def page(request):
    return JsonResponse({"state": request.scope.get("state")})


async def mqtt(scope, receive, send):
    await send({"type": "mqtt.connack"})


@pytest.fixture
def site(urls):
    urls(path("", page), path("ws/", echo))


async def first_event(application, scope_type):
    server = ApplicationCommunicator(application, {"type": scope_type, "path": "/"})
    await server.wait(timeout=5)
    return await server.receive_output(timeout=5)


async def converse(application):
    peer = Peer(application, websocket_scope())
    await peer.accepted()
    await peer.say("hello")
    assert await peer.hear() == "hello"
    await peer.leave()


def frames_of(coroutine):
    """Return the functions that wait for each other in a coroutine."""
    names = []
    while inspect.iscoroutine(coroutine):
        names.append(coroutine.cr_code.co_qualname)
        coroutine = coroutine.cr_await
    return names


def test_hook_only():
    """The handler has no __call__ of its own."""
    assert "get_protocol_handler" in vars(ASGIHandler)
    assert ASGIHandler.__call__ is asgi.ASGIHandler.__call__


async def test_websocket(site):
    """A WebSocket is served."""
    await converse(ASGIHandler())


async def test_http(site):
    """HTTP is served."""
    assert (await request(ASGIHandler()))[::2] == (200, '{"state": null}')


async def test_unknown_protocol():
    """A connection of an unknown type is the same error as without the hook."""
    with pytest.raises(UnsupportedProtocol) as error:
        await first_event(ASGIHandler(), "mqtt")
    assert str(error.value) == (
        "No protocol for scope type 'mqtt' (registered: http, lifespan, websocket)."
    )


async def test_plain_handler():
    """Django's own handler still serves HTTP only."""
    with pytest.raises(ValueError) as error:
        await first_event(asgi.ASGIHandler(), "websocket")
    assert str(error.value) == (
        "Django can only handle ASGI/HTTP connections, not websocket."
    )


async def test_state_of_the_lifespan(site):
    """The state is handed on where the server does not do it."""
    application = ASGIHandler()
    application.lifespan.state = {"pool": 1}
    assert (await request(application))[2] == '{"state": {"pool": 1}}'
    assert (await request(application, state={}))[2] == '{"state": {}}'


async def test_replaced_http(site):
    """HTTP can be replaced, by what serves it with what is built in as well."""
    inner = protocols["http"]

    async def wrapper(scope, receive, send):
        await inner({**scope, "state": "wrapped"}, receive, send)

    application = ASGIHandler(protocols={"http": wrapper})
    assert (await request(application))[2] == '{"state": "wrapped"}'


async def test_overridden_hook(site):
    """A subclass adds a protocol as a subclass of Django's handler does."""

    class Handler(ASGIHandler):
        def get_protocol_handler(self, scope):
            if scope["type"] == "mqtt":
                return mqtt
            return super().get_protocol_handler(scope)

    application = Handler()
    assert await first_event(application, "mqtt") == {"type": "mqtt.connack"}
    assert (await request(application))[0] == 200
    await converse(application)


async def test_overridden_http(site):
    """A subclass that overrides handle_http() is asked for HTTP."""

    class Handler(ASGIHandler):
        async def handle_http(self, scope, receive, send):
            await super().handle_http({**scope, "state": "own"}, receive, send)

    assert (await request(Handler()))[2] == '{"state": "own"}'


async def test_handler_class(site):
    """Django's get_asgi_application() returns the handler if it is asked to."""
    application = django_application(handler_class=ASGIHandler)
    assert type(application) is ASGIHandler
    await converse(application)
    application = django_application(
        handler_class=partial(ASGIHandler, protocols={"mqtt": mqtt})
    )
    assert await first_event(application, "mqtt") == {"type": "mqtt.connack"}


@pytest.mark.parametrize("state", [None, {}])
async def test_frames_of_an_idle_socket(site, state):
    """No frame but that of Django's __call__ is kept around an idle WebSocket."""
    inner = protocols["websocket"]

    async def wrapper(scope, receive, send):
        await inner(scope, receive, send)

    for own, between in [({}, []), ({"websocket": wrapper}, [wrapper.__qualname__])]:
        application = ASGIHandler(protocols=own)
        application.lifespan.state = state
        scope = websocket_scope() if state is None else websocket_scope(state=state)
        peer = Peer(application, scope)
        await peer.accepted()
        frames = frames_of(peer.future.get_coro())
        wanted = ["ASGIHandler.__call__", *between, "WebSocketHandler.__call__"]
        assert frames[: len(wanted)] == wanted
        await peer.leave()


async def test_built_in_protocol_below_a_view(urls):
    """What is built in can be used by a view, with the handler that serves it."""

    @websocket
    async def view(socket):
        received = asyncio.Queue()
        received.put_nowait({"type": "http.request"})
        events = []

        async def send(event):
            events.append(event)

        await protocols["http"](http_scope("/"), received.get, send)
        await socket.send(events[1]["body"].decode())

    urls(path("", page), path("ws/", view))
    peer = Peer(ASGIHandler(), websocket_scope())
    await peer.accepted()
    assert await peer.hear() == '{"state": null}'
    assert await peer.closed() == (1000, "")
