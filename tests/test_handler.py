"""The ASGI handler: what it serves with what, and HTTP as Django serves it."""

import io
import sys

import pytest
from asgiref.testing import ApplicationCommunicator
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.handlers import asgi
from django.http import (
    FileResponse,
    Http404,
    HttpResponse,
    JsonResponse,
    StreamingHttpResponse,
)
from django.test import override_settings
from django.urls import path
from peer import Peer, websocket_scope
from project.http import http_scope, request, request_events

import django_asgi_ext
from django_asgi_ext import (
    ASGIHandler,
    UnsupportedProtocol,
    get_asgi_application,
    websocket,
)


@websocket
async def echo(socket):
    async for message in socket:
        await socket.send(message)


def hello(request):
    return HttpResponse(f"Hello {request.GET.get('name', 'world')}")


def cookies(request):
    response = JsonResponse({"cookies": request.COOKIES})
    response.set_cookie("a", "1", httponly=True)
    response.set_cookie("b", "2", path="/b")
    response["X-Answer"] = "42"
    return response


def streaming(request):
    return StreamingHttpResponse(iter([b"a" * 70_000, b"b", "ü"]))


def file(request):
    return FileResponse(io.BytesIO(b"x" * 100_000), filename="x.txt")


def fails(request):
    raise ZeroDivisionError


def missing(request):
    raise Http404("Nothing here.")


def posted(request):
    return HttpResponse(request.POST.get("a", "") + request.headers["Content-Type"])


posted.csrf_exempt = True


async def mqtt(scope, receive, send):
    await send({"type": "mqtt.connack", "client": scope["client_id"]})


async def later_mqtt(scope, receive, send):
    await send({"type": "mqtt.connack", "later": True})


@pytest.fixture
def site(urls):
    urls(
        path("", hello),
        path("ws/", echo, name="ws"),
        path("cookies/", cookies),
        path("streaming/", streaming),
        path("file/", file),
        path("fails/", fails),
        path("missing/", missing),
        path("posted/", posted),
    )


@pytest.fixture
def protocols():
    """Return the registry of the process, which is as before after the test."""
    registry = django_asgi_ext.protocols
    before = dict(registry)
    yield registry
    for scope_type in set(registry) - set(before):
        registry.unregister(scope_type)
    for scope_type, application in before.items():
        registry.register(scope_type, application, replace=True)


async def first_event(application, scope):
    server = ApplicationCommunicator(application, scope)
    await server.wait(timeout=5)
    return await server.receive_output(timeout=5)


MQTT = {"type": "mqtt", "client_id": "lamp"}
CONNACK = {"type": "mqtt.connack", "client": "lamp"}


async def test_subclass():
    """get_asgi_application() returns a subclass of Django's handler."""
    application = get_asgi_application()
    assert type(application) is ASGIHandler
    assert isinstance(application, asgi.ASGIHandler)


async def test_unknown_protocol():
    """A connection of an unknown type is an error that names the known ones."""
    with pytest.raises(UnsupportedProtocol) as error:
        await first_event(get_asgi_application(), MQTT)
    assert str(error.value) == (
        "No protocol for scope type 'mqtt' (registered: http, lifespan, websocket)."
    )


async def test_registered_protocol(protocols):
    """A protocol that was registered before serves its connections."""
    protocols.register("mqtt", mqtt)
    assert await first_event(get_asgi_application(), MQTT) == CONNACK


async def test_protocol_registered_later(protocols):
    """A protocol that is registered later is seen by an existing application."""
    application = get_asgi_application()
    protocols.register("mqtt", mqtt)
    assert await first_event(application, MQTT) == CONNACK


async def test_protocol_of_one_application():
    """A protocol of one application is not known to another one."""
    application = get_asgi_application(protocols={"mqtt": mqtt})
    assert await first_event(application, MQTT) == CONNACK
    assert "mqtt" not in get_asgi_application().protocols
    assert "mqtt" not in django_asgi_ext.protocols


async def test_protocol_in_settings():
    """ASGI_EXT["PROTOCOLS"] adds a protocol by its dotted path."""
    with override_settings(ASGI_EXT={"PROTOCOLS": {"mqtt": "test_handler.mqtt"}}):
        application = get_asgi_application()
    assert await first_event(application, MQTT) == CONNACK
    assert "mqtt" not in get_asgi_application().protocols


async def test_argument_before_settings_before_registry(protocols):
    """The argument goes before the settings, and those before the registry."""
    protocols.register("mqtt", later_mqtt)
    with override_settings(ASGI_EXT={"PROTOCOLS": {"mqtt": "test_handler.mqtt"}}):
        assert get_asgi_application().protocols["mqtt"] is mqtt
        application = get_asgi_application(protocols={"mqtt": later_mqtt})
    assert application.protocols["mqtt"] is later_mqtt


@pytest.mark.parametrize("scope_type", ["http", "websocket", "lifespan"])
async def test_take_out_by_argument(scope_type):
    """None takes a protocol out of one application."""
    application = get_asgi_application(protocols={scope_type: None})
    with pytest.raises(UnsupportedProtocol):
        await first_event(application, {"type": scope_type})
    assert scope_type in get_asgi_application().protocols


async def test_take_out_by_settings():
    """None in the settings takes a protocol out, which the argument puts back."""
    with override_settings(ASGI_EXT={"PROTOCOLS": {"websocket": None}}):
        assert "websocket" not in get_asgi_application().protocols
        application = get_asgi_application(protocols={"websocket": mqtt})
    assert application.protocols["websocket"] is mqtt


async def test_wrap_what_is_built_in(site):
    """The built-in application can be wrapped for one application."""
    inner = django_asgi_ext.protocols["websocket"]
    seen = []

    async def wrapper(scope, receive, send):
        seen.append(scope["path"])
        await inner(scope, receive, send)

    application = get_asgi_application(protocols={"websocket": wrapper})
    peer = Peer(application, websocket_scope())
    await peer.accepted()
    await peer.leave()
    assert seen == ["/ws/"]


async def test_wrap_for_all_applications(site, protocols):
    """The built-in application can be wrapped for all, existing ones as well."""
    inner = protocols["http"]
    seen = []

    @protocols.register("http", replace=True)
    async def wrapper(scope, receive, send):
        seen.append(scope["path"])
        await inner(scope, receive, send)

    assert (await request(ASGIHandler()))[0] == 200
    assert seen == ["/"]


async def test_wrapped_applications_keep_their_settings(site):
    """What is built in serves with the handler that was called, and no other."""
    with override_settings(MIDDLEWARE=["test_handler.maintenance"]):
        closed = get_asgi_application()
    opened = get_asgi_application()
    status, _, body = await Peer(closed, websocket_scope()).denied()
    assert (status, body) == (503, "Maintenance")
    peer = Peer(opened, websocket_scope())
    await peer.accepted()
    await peer.leave()
    assert (await request(closed))[0] == 503
    assert (await request(opened))[0] == 200


def maintenance(get_response):
    return lambda request: HttpResponse("Maintenance", status=503)


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/?name=%C3%BC",
        "/cookies/",
        "/streaming/",
        "/file/",
        "/fails/",
        "/missing/",
        "/nowhere/",
        "/cookies",
        "/ws/",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume:Warning")
async def test_http_is_that_of_django(site, target, method, debug):
    """HTTP is answered with the same events as by Django's own handler."""
    scope = http_scope(target, method=method, headers={"cookie": "c=3; d=4"})
    with override_settings(DEBUG=debug):
        theirs = await request_events(asgi.ASGIHandler(), dict(scope))
        ours = await request_events(ASGIHandler(), dict(scope))
    if debug and target == "/fails/":
        # The traceback page shows addresses of objects and the frames above.
        assert (ours[0]["status"], len(ours)) == (theirs[0]["status"], len(theirs))
    else:
        assert ours == theirs


async def test_post_is_that_of_django(site):
    """A request with a body is answered with the same events as by Django."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    scope = http_scope("/posted/", method="POST", headers=headers)
    theirs = await request_events(asgi.ASGIHandler(), dict(scope), b"a=%C3%BC")
    ours = await request_events(ASGIHandler(), dict(scope), b"a=%C3%BC")
    assert ours == theirs
    assert ours[1]["body"] == "üapplication/x-www-form-urlencoded".encode()


async def test_bad_request_is_that_of_django(site):
    """A query string that is no UTF-8 is answered as by Django."""
    scope = http_scope("/", query_string=b"\xff")
    theirs = await request_events(asgi.ASGIHandler(), dict(scope))
    ours = await request_events(ASGIHandler(), dict(scope))
    assert ours == theirs
    assert ours[0]["status"] == 400


async def test_http_leaves_the_scope_alone(site):
    """A server's scope is not changed, with the state of a lifespan neither."""
    scope = http_scope("/")
    before = dict(scope)
    application = ASGIHandler()
    application.lifespan.state = {"pool": 1}
    await request_events(application, scope)
    assert scope == before


async def test_static_files(site):
    """ASGIStaticFilesHandler serves files, and lets everything else through."""
    finders = ["project.finders.ProjectFinder"]
    with override_settings(STATIC_URL="/static/", STATICFILES_FINDERS=finders):
        application = ASGIStaticFilesHandler(get_asgi_application())
        assert (await request(application))[2] == "Hello world"
        assert "A project as" in (await request(application, "/static/settings.py"))[2]
        assert (await request(application, "/static/nothing"))[0] == 404
        peer = Peer(application, websocket_scope())
        await peer.accepted()
        await peer.leave()


async def test_asgi_middleware(site):
    """An ASGI middleware around the handler is passed by every protocol."""
    inner = get_asgi_application()
    seen = []

    async def application(scope, receive, send):
        seen.append(scope["type"])
        await inner({**scope, "client": ("192.0.2.1", 1)}, receive, send)

    assert (await request(application))[0] == 200
    peer = Peer(application, websocket_scope())
    await peer.accepted()
    await peer.leave()
    assert seen == ["http", "websocket"]


async def test_setup(monkeypatch):
    """get_asgi_application() sets Django up as Django's own does."""
    calls = []
    monkeypatch.setattr("django.setup", lambda **kwargs: calls.append(kwargs))
    get_asgi_application()
    assert calls == [{"set_prefix": False}]


async def test_protocols_that_are_no_mapping():
    """An argument of the wrong type is a TypeError."""
    with pytest.raises(TypeError):
        get_asgi_application(protocols=["mqtt"])


async def test_import_without_settings():
    """The package can be imported before there are settings."""
    import asyncio

    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import django_asgi_ext",
        env={"PYTHONPATH": ":".join(sys.path)},
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")
