"""The opening handshake on its way through middleware, URLconf and decorators."""

import asyncio
import functools
import io
import itertools
import json
import logging
import sqlite3
import sys
import threading

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.conf import settings
from django.conf.urls.i18n import i18n_patterns, is_language_prefix_patterns_used
from django.contrib import messages
from django.contrib.auth import decorators as auth_decorators, middleware as auth
from django.contrib.auth.decorators import (
    login_required,
    permission_required,
    user_passes_test,
)
from django.contrib.auth.mixins import LoginRequiredMixin, PermissionRequiredMixin
from django.contrib.messages.storage.cookie import CookieStorage
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.core.signals import request_finished, request_started
from django.db import connection, connections, transaction
from django.db.backends.signals import connection_created
from django.http import (
    FileResponse,
    HttpResponse,
    HttpResponsePermanentRedirect,
    StreamingHttpResponse,
)
from django.template import engines
from django.template.response import TemplateResponse
from django.test import RequestFactory, override_settings
from django.urls import include, path, re_path, reverse
from django.utils import decorators, timezone, translation
from django.utils.decorators import method_decorator
from django.utils.deprecation import MiddlewareMixin
from django.views.decorators.cache import cache_page, never_cache
from project.http import request
from project.users import change_password, expire_sessions, log_in

from django_asgi_ext import ASGIHandler, WebSocketView, websocket

needs_async_middleware = pytest.mark.skipif(
    not hasattr(decorators, "async_only_middleware"),
    reason="Django before 3.1 has no async middleware.",
)
needs_login_required_middleware = pytest.mark.skipif(
    not hasattr(auth, "LoginRequiredMiddleware"),
    reason="Django before 5.1 has no LoginRequiredMiddleware.",
)


@websocket
async def echo(socket, **kwargs):
    async for message in socket:
        await socket.send(message)


def tells(tell, **options):
    """Return a view that sends what a function says of its socket."""

    @websocket(**options)
    async def view(socket, *args, **kwargs):
        await socket.send_json(tell(socket))

    return view


async def told(peer):
    """Return what a view of tells() sends."""
    await peer.accepted()
    value = json.loads(await peer.hear())
    await peer.closed()
    return value


def header_names(accept):
    return {name for name, _ in accept["headers"]}


def set_cookies(accept):
    return [
        value.decode() for name, value in accept["headers"] if name == b"set-cookie"
    ]


@pytest.fixture
def middleware(monkeypatch):
    """Put middleware before the project's own, and some after it."""
    module = sys.modules[__name__]
    overrides = []

    def names(factories):
        for factory in factories:
            if isinstance(factory, str):
                yield factory
                continue
            name = f"middleware_{id(factory)}"
            monkeypatch.setattr(module, name, factory, raising=False)
            yield f"{__name__}.{name}"

    def use(*before, after=()):
        chain = [*names(before), *settings.MIDDLEWARE, *names(after)]
        overrides.append(override_settings(MIDDLEWARE=chain))
        overrides[-1].enable()

    yield use
    for override in reversed(overrides):
        override.disable()


@pytest.fixture
def opened():
    """Return the list of the database connections that are opened."""
    found = []

    def remember(connection, **kwargs):
        found.append(connection.connection)

    connection_created.connect(remember)
    yield found
    connection_created.disconnect(remember)


# URLconf


async def test_converters(connect, urls):
    """What the URL's converters make of it are the view's arguments."""
    got = []

    @websocket
    async def view(socket, *args, **kwargs):
        got.append((args, kwargs))

    urls(
        path("ws/<int:number>/<slug:room>/", view, {"extra": True}),
        re_path(r"^re/(\d+)/$", view),
    )
    await connect("/ws/7/lobby/").denied()
    await connect("/re/7/").denied()
    assert got == [
        ((), {"number": 7, "room": "lobby", "extra": True}),
        (("7",), {}),
    ]
    assert (await connect("/ws/seven/lobby/").denied())[0] == 404


async def test_include(connect, urls):
    """Included URLconfs and their namespaces are seen, and reversed in the view."""
    view = tells(
        lambda socket: [
            socket.request.resolver_match.view_name,
            reverse("rooms:chat", kwargs={"room": "b"}),
            reverse("page"),
        ]
    )
    rooms = [path("<slug:room>/", view, name="chat")]
    urls(
        path("rooms/", include((rooms, "chat"), namespace="rooms")),
        path("page/", HttpResponse, name="page"),
    )
    assert await told(connect("/rooms/a/")) == ["rooms:chat", "/rooms/b/", "/page/"]


async def test_url_tag(connect, urls):
    """{% url %} in a template that an async view renders knows the URLs."""
    template = engines["django"].from_string("{% url 'ws' %}")
    view = tells(lambda socket: template.render({}, socket.request))
    urls(path("ws/", view, name="ws"))
    assert await told(connect("/ws/")) == "/ws/"


async def test_root_path(connect, urls):
    """root_path is the script prefix: cut off the path, and put on by reverse()."""
    view = tells(lambda socket: [socket.request.path_info, reverse("ws"), socket.path])
    urls(path("ws/", view, name="ws"))
    expected = ["/ws/", "/app/ws/", "/app/ws/"]
    assert await told(connect("/app/ws/", root_path="/app")) == expected
    # So it is in ASGI since 2.4. Not every server puts it in front.
    assert await told(connect("/ws/", root_path="/app")) == expected
    assert await told(connect("/ws/", root_path="/app/")) == expected
    # Not for the next connection.
    assert await told(connect("/ws/")) == ["/ws/", "/ws/", "/ws/"]


@pytest.mark.parametrize("target", ["/app/ws/", "/ws/"])
@pytest.mark.parametrize("root_path", ["", "/other"])
async def test_force_script_name(connect, urls, target, root_path):
    """FORCE_SCRIPT_NAME goes before root_path, whether the path has it or not."""
    view = tells(lambda socket: [socket.request.path_info, reverse("ws")])
    urls(path("ws/", view, name="ws"))
    with override_settings(FORCE_SCRIPT_NAME="/app"):
        peer = connect(target, root_path=root_path)
        assert await told(peer) == ["/ws/", "/app/ws/"]


async def test_urlconf_of_the_request(connect, urls, middleware):
    """request.urlconf is what the handshake and reverse() in the view follow."""
    other = type(sys)("other_urls_of_a_test")
    view = tells(lambda socket: [reverse("ws"), socket.request.urlconf])
    other.urlpatterns = [path("other/", view, name="ws")]
    sys.modules[other.__name__] = other

    def use_other(get_response):
        def middleware(request):
            request.urlconf = other.__name__
            return get_response(request)

        return middleware

    middleware(use_other)
    try:
        assert await told(connect("/other/")) == ["/other/", other.__name__]
        assert (await connect("/ws/").denied())[0] == 404
    finally:
        del sys.modules[other.__name__]


async def test_unknown_path(connect, caplog):
    """Where there is no URL the answer is 404, with one warning."""
    status, headers, body = await connect("/nowhere/").denied()
    assert (status, len(headers["content-type"])) == (404, 1)
    assert headers["content-type"][0].startswith("text/html")
    assert "Not Found" in body
    (record,) = caplog.records
    assert (record.name, record.getMessage()) == (
        "django.request",
        "Not Found: /nowhere/",
    )


async def test_append_slash(connect, urls, caplog):
    """A path without its slash is redirected, with one warning."""
    urls(path("ws/", echo))
    status, headers, _ = await connect("/ws?a=1").denied()
    assert (status, headers["location"]) == (301, ["/ws/?a=1"])
    (record,) = caplog.records
    assert (record.name, record.levelname, record.getMessage()) == (
        "django_asgi_ext.websocket",
        "WARNING",
        "WebSocket denied with 301 to /ws/?a=1: /ws",
    )


async def test_query_string(connect):
    """The query string is request.GET."""
    view = tells(lambda socket: [socket.request.GET.getlist("a"), socket.path])
    peer = connect(view, query_string=b"a=%C3%BC&a=2")
    assert await told(peer) == [["ü", "2"], "/ws/"]


async def test_query_string_that_is_no_utf_8(connect, caplog):
    """A query string that is no UTF-8 is 400, with one warning."""
    assert (await connect(echo, query_string=b"\xff").denied())[0] == 400
    (record,) = caplog.records
    assert (record.name, record.getMessage(), record.status_code) == (
        "django.request",
        "Bad Request (UnicodeDecodeError)",
        400,
    )


async def test_path_outside_ascii(connect, urls):
    """A path outside ASCII is found, and reversed as a URL."""
    view = tells(lambda socket: [socket.path, reverse("ws", args=["ß"])])
    urls(path("ü/<str:name>/", view, name="ws"))
    assert await told(connect("/ü/日本/")) == ["/ü/日本/", "/%C3%BC/%C3%9F/"]


async def test_request(connect):
    """The request of a socket is a GET that came over http."""
    view = tells(
        lambda socket: [
            isinstance(socket.request, ASGIRequest),
            socket.request.method,
            socket.request.scheme,
            socket.request.build_absolute_uri("/page/"),
            socket.request.headers["Upgrade"],
            socket.request.META["REMOTE_ADDR"],
        ]
    )
    assert await told(connect(view, query_string=b"a=1")) == [
        True,
        "GET",
        "http",
        "http://testserver/page/",
        "websocket",
        "127.0.0.1",
    ]


async def test_request_over_tls(connect):
    """Over wss the request is a secure one."""
    view = tells(lambda s: [s.request.is_secure(), s.request.build_absolute_uri("/a/")])
    assert await told(connect(view, scheme="wss")) == [True, "https://testserver/a/"]


async def test_uri(connect):
    """The absolute URI of a handshake is that of its WebSocket."""
    view = tells(lambda socket: socket.request.build_absolute_uri())
    peer = connect(view, query_string=b"a=1")
    assert await told(peer) == "ws://testserver/ws/?a=1"
    peer = connect(view, scheme="wss", headers={"host": "http.testserver"})
    with override_settings(ALLOWED_HOSTS=["*"]):
        assert await told(peer) == "wss://http.testserver/ws/"


async def test_request_has_an_empty_body(connect):
    """The body of a socket's request is empty, for error reporters that read it."""
    view = tells(
        lambda socket: [
            socket.request.body.decode(),
            len(socket.request.POST),
            len(socket.request.FILES),
        ]
    )
    assert await told(connect(view)) == ["", 0, 0]


async def test_host(connect, caplog):
    """A Host header that is not allowed is 400."""
    assert (await connect(echo, headers={"host": "evil.example"}).denied())[0] == 400
    assert caplog.records[0].name == "django.security.DisallowedHost"


async def test_host_without_middleware(connect):
    """The Host header is checked without CommonMiddleware as well."""
    with override_settings(MIDDLEWARE=[]):
        peer = connect(echo, headers={"host": "evil.example"})
        assert (await peer.denied())[0] == 400


# Language and time zone


@pytest.fixture
def languages(urls, middleware):
    """Choose the language by URL, cookie or Accept-Language."""
    is_language_prefix_patterns_used.cache_clear()
    middleware(after=["django.middleware.locale.LocaleMiddleware"])
    with override_settings(
        USE_I18N=True, LANGUAGE_CODE="en", LANGUAGES=[("en", "English"), ("de", "")]
    ):
        yield
    is_language_prefix_patterns_used.cache_clear()
    translation.deactivate()


tells_language = tells(
    lambda socket: [
        translation.get_language(),
        socket.request.LANGUAGE_CODE,
        translation.gettext("Yes"),
        reverse("ws"),
    ]
)


async def test_language_of_the_browser(connect, urls, languages):
    """The language that LocaleMiddleware chose is active in the view."""
    urls(path("ws/", tells_language, name="ws"))
    peer = connect("/ws/", headers={"accept-language": "de"})
    assert await told(peer) == ["de", "de", "Ja", "/ws/"]
    # Not for the next connection.
    assert await told(connect("/ws/")) == ["en", "en", "Yes", "/ws/"]


async def test_language_of_the_url(connect, urls, languages):
    """The language in the URL is active in the view, and reversed."""
    urls(*i18n_patterns(path("ws/", tells_language, name="ws")))
    assert await told(connect("/de/ws/")) == ["de", "de", "Ja", "/de/ws/"]
    status, headers, _ = await connect("/ws/").denied()
    assert (status, headers["location"]) == (302, ["/en/ws/"])


async def test_time_zone(connect, middleware):
    """A time zone that middleware activated is active in the view."""

    def activate(get_response):
        def middleware(request):
            timezone.activate(timezone.get_fixed_timezone(60))
            return get_response(request)

        return middleware

    middleware(activate)
    view = tells(lambda socket: timezone.get_current_timezone_name())
    assert await told(connect(view)) == "+0100"
    timezone.deactivate()


# Decorators and mixins


class LoginView(LoginRequiredMixin, WebSocketView):
    async def connect(self):
        await self.socket.send_json(self.socket.user.username)


@method_decorator(login_required, name="dispatch")
class DecoratedView(WebSocketView):
    async def connect(self):
        await self.socket.send_json(self.socket.user.username)


tells_user = tells(lambda socket: socket.user.username)


@pytest.mark.parametrize(
    "view",
    [
        login_required(tells_user),
        login_required(login_url="/accounts/login/")(tells_user),
        user_passes_test(lambda user: user.is_authenticated)(tells_user),
        never_cache(login_required(tells_user)),
        functools.partial(login_required(tells_user)),
        login_required(functools.partial(tells_user)),
        LoginView.as_view(),
        login_required(WebSocketView.as_view()),
        DecoratedView.as_view(),
    ],
)
async def test_login_required(connect, view):
    """Who is not logged in is sent to the login page; who is gets through."""
    status, headers, _ = await connect(view, query_string=b"a=1").denied()
    location = "/accounts/login/?next=/ws/%3Fa%3D1"
    assert (status, headers["location"]) == (302, [location])
    peer = connect(view, headers=await log_in())
    await peer.accepted()
    await peer.leave()


class PermissionView(PermissionRequiredMixin, WebSocketView):
    permission_required = "auth.add_user"
    raise_exception = True


@pytest.mark.parametrize(
    "view",
    [
        permission_required("auth.add_user", raise_exception=True)(echo),
        PermissionView.as_view(),
    ],
)
async def test_permission_required(connect, view):
    """Who has not the permission gets 403; who has gets through."""
    assert (await connect(view).denied())[0] == 403
    assert (await connect(view, headers=await log_in("bob")).denied())[0] == 403
    peer = connect(view, headers=await log_in("eve", "add_user"))
    await peer.accepted()
    await peer.leave()


async def test_permission_required_without_exception(connect):
    """Who has not the permission is sent to the login page by default."""
    view = permission_required("auth.add_user")(echo)
    status, headers, _ = await connect(view, headers=await log_in("bob")).denied()
    assert (status, headers["location"]) == (302, ["/accounts/login/?next=/ws/"])


@needs_login_required_middleware
async def test_login_required_middleware(connect, middleware):
    """LoginRequiredMiddleware holds for sockets, but for login_not_required ones."""
    middleware(after=["django.contrib.auth.middleware.LoginRequiredMiddleware"])
    assert (await connect(echo).denied())[0] == 302
    peer = connect(echo, headers=await log_in())
    await peer.accepted()
    await peer.leave()
    login_not_required = auth_decorators.login_not_required
    above = login_not_required(websocket(echo.__wrapped__))

    @websocket
    @login_not_required
    async def below(socket):
        await socket.recv()

    for view in above, below, login_not_required(WebSocketView.as_view()):
        peer = connect(view)
        await peer.accepted()
        await peer.leave()


@needs_login_required_middleware
async def test_page_without_login_keeps_its_socket_shut(connect, middleware):
    """A page that needs no login does not open the socket of the same URL."""
    middleware(after=["django.contrib.auth.middleware.LoginRequiredMiddleware"])

    async def view(socket):
        await socket.recv()

    page = auth_decorators.login_not_required(lambda request: HttpResponse("page"))
    assert (await connect(websocket(view, http=page)).denied())[0] == 302


@needs_login_required_middleware
async def test_socket_without_login_keeps_its_page_shut(urls, middleware):
    """A socket that needs no login does not open the page of the same URL."""
    middleware(after=["django.contrib.auth.middleware.LoginRequiredMiddleware"])

    @auth_decorators.login_not_required
    async def view(socket):
        await socket.recv()

    urls(path("ws/", websocket(view, http=lambda request: HttpResponse("page"))))
    assert (await request(ASGIHandler(), "/ws/"))[0] == 302


async def test_decorator_without_wraps(connect, caplog):
    """A view behind a decorator that hides it is 404, with a hint for its author."""

    def hides(view):
        def hidden(request, *args, **kwargs):
            raise AssertionError("This ran.")

        return hidden

    assert (await connect(hides(echo)).denied())[0] == 404
    with override_settings(DEBUG=True):
        _, _, body = await connect(hides(echo)).denied()
    assert "hides.&lt;locals&gt;.hidden, which is no WebSocket view." in body
    assert "If a decorator has made it, use functools.wraps() there;" in body


async def test_partial(connect):
    """A partial of a WebSocket view is one, with the arguments of all of them."""
    got = []

    @websocket
    async def view(socket, **kwargs):
        got.append(kwargs)

    view = functools.partial(view, room="lobby", extra=1)
    await connect(functools.partial(view, extra=2)).denied()
    assert got == [{"room": "lobby", "extra": 2}]


async def test_decorator_that_answers(connect):
    """A decorator that answers in place of the view denies the handshake."""

    def teapot(view):
        @functools.wraps(view)
        def decorated(request, *args, **kwargs):
            response = HttpResponse("tea", status=418)
            response["X-Pot"] = "1"
            return response

        return decorated

    status, headers, body = await connect(teapot(echo)).denied()
    assert (status, headers["x-pot"], body) == (418, ["1"], "tea")


async def test_decorator_that_sets_a_header(connect):
    """A decorator may put headers on the 101."""

    def decorate(view):
        @functools.wraps(view)
        def decorated(request, *args, **kwargs):
            response = view(request, *args, **kwargs)
            response["X-Status"] = str(response.status_code)
            return response

        return decorated

    peer = connect(decorate(echo))
    assert (b"x-status", b"101") in (await peer.accepted())["headers"]
    await peer.leave()


async def test_decorator_that_raises(connect):
    """A decorator that raises denies the handshake as it denies a request."""

    def deny(view):
        @functools.wraps(view)
        def decorated(request, *args, **kwargs):
            raise PermissionDenied

        return decorated

    assert (await connect(deny(echo)).denied())[0] == 403


# Middleware


def sync_function(get_response):
    def middleware(request):
        request.seen = "sync function"
        response = get_response(request)
        response["X-Seen"] = f"{request.seen} {response.status_code}"
        return response

    return middleware


class SyncClass:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        request.seen = "sync class"
        response = self.get_response(request)
        response["X-Seen"] = f"{request.seen} {response.status_code}"
        return response


class HybridClass:
    sync_capable = True
    async_capable = True

    def __init__(self, get_response):
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)

    def __call__(self, request):
        assert not self.is_async
        request.seen = "hybrid class"
        response = self.get_response(request)
        response["X-Seen"] = f"{request.seen} {response.status_code}"
        return response


class MixinClass(MiddlewareMixin):
    def process_request(self, request):
        request.seen = "mixin"

    def process_response(self, request, response):
        response["X-Seen"] = f"{request.seen} {response.status_code}"
        return response


@pytest.mark.parametrize(
    "factory, seen",
    [
        (sync_function, "sync function"),
        (SyncClass, "sync class"),
        (HybridClass, "hybrid class"),
        (MixinClass, "mixin"),
    ],
)
async def test_middleware(connect, middleware, factory, seen):
    """Sync middleware sees the request and the 101, and sets headers on it."""
    middleware(factory)
    peer = connect(tells(lambda socket: socket.request.seen))
    assert (b"x-seen", f"{seen} 101".encode()) in (await peer.accepted())["headers"]
    assert json.loads(await peer.hear()) == seen
    await peer.closed()


def async_function(get_response):
    async def middleware(request):
        await asyncio.sleep(0)
        request.seen = "async function"
        response = await get_response(request)
        response["X-Seen"] = f"{request.seen} {response.status_code}"
        return response

    return middleware


async_function.sync_capable = False
async_function.async_capable = True


def hybrid_function(get_response):
    if iscoroutinefunction(get_response):
        return async_function(get_response)
    return sync_function(get_response)


hybrid_function.sync_capable = True
hybrid_function.async_capable = True


@needs_async_middleware
@pytest.mark.parametrize(
    "factories",
    [
        [async_function],
        [sync_function, async_function],
        [async_function, sync_function, async_function],
        [hybrid_function, async_function],
    ],
)
async def test_async_middleware(connect, middleware, factories):
    """Async-only middleware runs too, also between sync ones."""
    middleware(*factories, after=[async_function])
    peer = connect(tells(lambda socket: socket.request.seen))
    headers = (await peer.accepted())["headers"]
    assert b"x-seen" in [name for name, _ in headers]
    assert json.loads(await peer.hear()) == "async function"
    await peer.closed()


@needs_async_middleware
async def test_async_middleware_and_the_database(connect, middleware):
    """A user is loaded behind async-only middleware as well."""
    middleware(async_function, after=[async_function])
    assert await told(connect(tells_user, headers=await log_in())) == "ada"


def answers(make_response):
    """Return middleware that answers itself."""

    def factory(get_response):
        return lambda request: make_response(request)

    return factory


@pytest.mark.parametrize(
    "make_response, status, body",
    [
        (lambda request: HttpResponse("Maintenance", status=503), 503, "Maintenance"),
        (lambda request: HttpResponsePermanentRedirect("/there/"), 301, ""),
        (lambda request: StreamingHttpResponse(iter(["a", b"b"])), 200, "ab"),
        (
            lambda request: FileResponse(io.BytesIO(b"file"), filename="a.txt"),
            200,
            "file",
        ),
        (
            lambda request: TemplateResponse(
                request, engines["django"].from_string("{{ a }}"), {"a": 1}, status=503
            ),
            503,
            "1",
        ),
    ],
)
async def test_middleware_that_answers(
    connect, middleware, make_response, status, body
):
    """An answer of middleware denies the handshake, and the view does not run."""
    middleware(answers(make_response))

    @websocket
    async def view(socket):
        raise AssertionError("This ran.")

    got_status, headers, got_body = await connect(view).denied()
    assert (got_status, got_body) == (status, body)
    assert headers["content-length"] == [str(len(body))]


async def test_middleware_that_streams_for_ever(connect, middleware):
    """An answer without an end is cut after a megabyte."""

    def endless(request):
        return StreamingHttpResponse(itertools.repeat(b"x" * 65_000))

    middleware(answers(endless))
    _, headers, body = await connect(echo).denied()
    assert len(body) == 1024 * 1024
    assert headers["content-length"] == [str(1024 * 1024)]


@pytest.mark.skipif(
    not hasattr(StreamingHttpResponse, "__aiter__"),
    reason="Django before 4.2 does not stream from async iterators.",
)
async def test_middleware_that_streams_async(connect, middleware):
    """An answer from an async iterator is read likewise, and cut likewise."""

    async def chunks():
        for _ in range(20):
            yield b"x" * 65_000

    middleware(answers(lambda request: StreamingHttpResponse(chunks())))
    status, _, body = await connect(echo).denied()
    assert (status, len(body)) == (200, 1024 * 1024)


async def test_middleware_that_raises(connect, middleware, caplog):
    """Middleware that raises denies the handshake with 500, and is logged."""

    def fail(request):
        raise ZeroDivisionError

    middleware(answers(fail))
    assert (await connect(echo).denied())[0] == 500
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("django.request", "ERROR")
    assert record.exc_info[0] is ZeroDivisionError
    assert record.request.path == "/ws/"


async def test_middleware_that_raises_late(connect, middleware):
    """Middleware that raises on the way back denies the handshake."""

    def fail_late(get_response):
        def middleware(request):
            get_response(request)
            raise PermissionDenied

        return middleware

    ran = []

    @websocket
    async def view(socket):
        ran.append(True)

    middleware(fail_late)
    assert (await connect(view).denied())[0] == 403
    assert ran == []


async def test_middleware_that_replaces_the_101(connect, middleware):
    """Middleware that puts another response in place of the 101 denies."""

    def replace(get_response):
        def middleware(request):
            return HttpResponse(f"was {get_response(request).status_code}", status=429)

        return middleware

    middleware(replace)
    status, _, body = await connect(echo).denied()
    assert (status, body) == (429, "was 101")


async def test_process_view(connect, middleware):
    """process_view sees the view and its arguments, and may answer for it."""
    seen = []

    class Middleware(SyncClass):
        def process_view(self, request, view, args, kwargs):
            seen.append((view.__name__, args, kwargs))
            if "deny" in request.GET:
                return HttpResponse("No", status=429)

    middleware(Middleware)
    peer = connect(echo)
    await peer.accepted()
    await peer.leave()
    assert seen == [("echo", (), {})]
    assert (await connect("/ws/?deny=1").denied())[0] == 429


async def test_process_exception(connect, middleware):
    """process_exception answers what a view raises before it accepts."""
    seen = []

    class Middleware(SyncClass):
        def process_exception(self, request, exception):
            seen.append(type(exception))
            if isinstance(exception, ZeroDivisionError):
                return HttpResponse("Division", status=409)

    middleware(Middleware)

    @websocket
    async def view(socket):
        raise ZeroDivisionError

    status, _, body = await connect(view).denied()
    assert (status, body) == (409, "Division")
    assert seen == [ZeroDivisionError]


async def test_process_exception_of_a_decorator(connect, middleware):
    """process_exception answers what a decorator raises, once."""
    seen = []

    class Middleware(SyncClass):
        def process_exception(self, request, exception):
            seen.append(type(exception))
            return HttpResponse("Division", status=409)

    middleware(Middleware)

    @functools.wraps(echo)
    def view(request):
        raise ZeroDivisionError

    assert (await connect(view).denied())[0] == 409
    assert seen == [ZeroDivisionError]


async def test_process_template_response(connect, middleware):
    """process_template_response sees the template with which a decorator denies."""

    class Middleware(SyncClass):
        def process_template_response(self, request, response):
            response.context_data["a"] = "changed"
            return response

    middleware(Middleware)
    template = engines["django"].from_string("{{ a }}")

    @functools.wraps(echo)
    def view(request):
        return TemplateResponse(request, template, {"a": 1}, status=403)

    status, _, body = await connect(view).denied()
    assert (status, body) == (403, "changed")


async def test_headers_of_middleware(connect, middleware):
    """Cookies and headers go out with the accept; what is the server's does not."""

    def decorate(get_response):
        def middleware(request):
            response = get_response(request)
            response.set_cookie("a", "1", httponly=True)
            response.set_cookie("b", "ü")
            response["X-Header"] = "ü"
            for name in [
                "Connection",
                "Upgrade",
                "Keep-Alive",
                "Transfer-Encoding",
                "Content-Length",
                "content-type",
                "Content-Encoding",
                "Sec-WebSocket-Accept",
                "Sec-WebSocket-Protocol",
            ]:
                response[name] = "x"
            return response

        return middleware

    middleware(decorate)
    peer = connect(echo)
    accept = await peer.accepted()
    await peer.leave()
    assert set_cookies(accept) == ["a=1; HttpOnly; Path=/", 'b="\\374"; Path=/']
    assert (b"x-header", "ü".encode("latin-1")) in accept["headers"]
    assert header_names(accept) <= {
        b"set-cookie",
        b"x-header",
        b"x-frame-options",
        b"x-content-type-options",
        b"referrer-policy",
        b"cross-origin-opener-policy",
        b"vary",
    }


@pytest.mark.parametrize("status", [101, 403])
async def test_line_break_in_a_cookie(connect, middleware, status, caplog):
    """A cookie whose path a peer has chosen adds no header of the peer's choice."""

    def decorate(get_response):
        def middleware(request):
            response = get_response(request) if status == 101 else HttpResponse()
            response.status_code = status
            response.set_cookie("room", "1", path="/a\r\nX-Evil: 1")
            return response

        return middleware

    middleware(decorate)
    assert (await connect(echo).denied())[0] == 500
    assert "The header 'Set-Cookie' has a control character in it." in caplog.text


@pytest.mark.parametrize("status", [101, 403])
async def test_nul_in_a_header(connect, middleware, status, caplog):
    """A header that no server would send denies the handshake with 500."""

    def decorate(get_response):
        def middleware(request):
            response = get_response(request) if status == 101 else HttpResponse()
            response.status_code = status
            response["X-Header"] = "a\0b"
            return response

        return middleware

    middleware(decorate)
    assert (await connect(echo).denied())[0] == 500
    assert "The header 'X-Header' has a control character in it." in caplog.text


async def test_cookies_of_middleware_on_a_denial(connect, middleware):
    """Cookies of middleware go out with a denial by the view, beside its own."""

    def decorate(get_response):
        def middleware(request):
            response = get_response(request)
            response.set_cookie("a", "middleware")
            response.set_cookie("b", "middleware")
            return response

        return middleware

    @websocket
    async def view(socket):
        response = HttpResponse(status=403)
        response.set_cookie("b", "view")
        return response

    middleware(decorate)
    _, headers, _ = await connect(view).denied()
    assert sorted(headers["set-cookie"]) == ["a=middleware; Path=/", "b=view; Path=/"]


async def test_security_headers(connect):
    """What the middleware of startproject sets goes out, and nothing of a body."""
    peer = connect(echo)
    accept = await peer.accepted()
    await peer.leave()
    assert b"x-frame-options" in header_names(accept)
    assert not header_names(accept) & {
        b"content-length",
        b"content-type",
        b"connection",
        b"upgrade",
    }


async def test_headers_that_cannot_be_sent(connect, middleware):
    """A cookie that no server can send is answered as over HTTP: it is an error."""

    def decorate(get_response):
        def middleware(request):
            response = get_response(request)
            response.set_cookie("a", "日本")
            return response

        return middleware

    middleware(decorate)
    assert (await connect(echo).denied())[0] == 500


async def test_ssl_redirect(connect):
    """SECURE_SSL_REDIRECT redirects ws and lets wss through."""
    with override_settings(SECURE_SSL_REDIRECT=True):
        status, headers, _ = await connect(echo, query_string=b"a=1").denied()
        assert (status, headers["location"]) == (301, ["https://testserver/ws/?a=1"])
        peer = connect(echo, scheme="wss")
        await peer.accepted()
        await peer.leave()


@pytest.mark.parametrize("forwarded", ["https", "wss"])
async def test_ssl_behind_a_proxy(connect, forwarded):
    """A proxy says in SECURE_PROXY_SSL_HEADER that it has TLS, as https or wss."""
    headers = {"x-forwarded-proto": forwarded, "origin": "https://testserver"}
    with override_settings(
        SECURE_SSL_REDIRECT=True,
        SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
    ):
        peer = connect(echo, headers=headers)
        await peer.accepted()
        await peer.leave()


async def test_no_ssl_behind_a_proxy(connect):
    """A proxy without TLS is not believed to have it."""
    with override_settings(
        SECURE_SSL_REDIRECT=True,
        SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
    ):
        for forwarded in ("http", "ws", ""):
            peer = connect(echo, headers={"x-forwarded-proto": forwarded})
            assert (await peer.denied())[0] == 301


@pytest.fixture
def cached(middleware):
    """Cache every page of the site."""
    middleware(
        "django.middleware.cache.UpdateCacheMiddleware",
        after=["django.middleware.cache.FetchFromCacheMiddleware"],
    )
    cache.clear()
    yield
    cache.clear()


def page(request):
    return HttpResponse("page")


async def talk(socket):
    await socket.send("talk")


@pytest.mark.parametrize("first", ["page", "socket"])
async def test_cache(connect, cached, first):
    """A cached page never answers a handshake, and a 101 no request for a page."""
    view = websocket(talk, http=page)
    peers = [connect(view), connect(view)]

    async def get_page():
        status, headers, body = await request(ASGIHandler(), "/ws/")
        assert (status, body) == (200, "page")

    async def get_socket():
        peer = peers.pop()
        await peer.accepted()
        assert await peer.hear() == "talk"
        await peer.closed()

    steps = [get_page, get_socket, get_page, get_socket, get_page]
    for step in steps[first == "socket" :]:
        await step()


async def test_cache_of_a_page_that_asked_for_an_upgrade(connect, cached):
    """A request for a page that bears the Upgrade header of a handshake is none."""
    view = websocket(talk, http=page)
    peer = connect(view)
    for _ in range(2):
        headers = {"upgrade": "websocket"}
        status, _, body = await request(ASGIHandler(), "/ws/", headers=headers)
        assert (status, body) == (200, "page")
    await peer.accepted()
    assert await peer.hear() == "talk"
    await peer.closed()


async def test_cached_page_of_an_http_view(connect, urls, cached):
    """The cached page of an HTTP view does not answer a handshake."""
    urls(path("page/", page))
    for _ in range(2):
        assert (await request(ASGIHandler(), "/page/"))[2] == "page"
    assert (await connect("/page/").denied())[0] == 404


@pytest.mark.parametrize("order", ["page first", "socket first"])
async def test_cache_page(connect, order):
    """cache_page around a view with a page keeps page and socket apart."""
    cache.clear()
    view = cache_page(60)(websocket(talk, http=page))
    peer = connect(view)
    if order == "page first":
        assert (await request(ASGIHandler(), "/ws/"))[2] == "page"
    await peer.accepted()
    assert await peer.hear() == "talk"
    await peer.closed()
    assert (await request(ASGIHandler(), "/ws/"))[2] == "page"
    cache.clear()


@pytest.mark.parametrize(
    "name",
    [
        "django.middleware.http.ConditionalGetMiddleware",
        "django.middleware.gzip.GZipMiddleware",
    ],
)
async def test_middleware_for_bodies(connect, middleware, name):
    """Middleware that is there for the bodies of pages leaves the 101 alone."""
    middleware(name)
    headers = {"accept-encoding": "gzip", "if-none-match": "*"}
    peer = connect(echo, headers=headers)
    accept = await peer.accepted()
    await peer.leave()
    assert not header_names(accept) & {b"etag", b"content-encoding"}


async def test_compressed_denial(connect, middleware):
    """A denial that middleware compressed says so, and how long it is."""
    middleware("django.middleware.gzip.GZipMiddleware")
    response = HttpResponse("a" * 1000, status=403)
    view = functools.wraps(echo)(lambda request: response)
    peer = connect(view, headers={"accept-encoding": "gzip"})
    start = await peer.connect()
    body = (await peer.receive_output(timeout=5))["body"]
    assert (b"content-encoding", b"gzip") in start["headers"]
    assert (b"content-length", str(len(body)).encode()) in start["headers"]
    assert body.startswith(b"\x1f\x8b")


# Session and user


async def test_session_that_middleware_changes(connect, middleware):
    """A session that middleware changed is saved, and its cookie goes out."""

    def change(get_response):
        def middleware(request):
            request.session["color"] = "red"
            return get_response(request)

        return middleware

    middleware(after=[change])
    view = tells(lambda socket: socket.session["color"])
    peer = connect(view)
    (cookie,) = set_cookies(await peer.accepted())
    assert json.loads(await peer.hear()) == "red"
    await peer.closed()
    middleware(after=[])
    with override_settings(MIDDLEWARE=settings.MIDDLEWARE[:-1]):
        headers = {"cookie": cookie.partition(";")[0]}
        assert await told(connect(view, headers=headers)) == "red"


async def test_session_saved_with_every_request(connect):
    """SESSION_SAVE_EVERY_REQUEST renews the cookie with a handshake."""
    with override_settings(SESSION_SAVE_EVERY_REQUEST=True):
        peer = connect(echo, headers=await log_in())
        (cookie,) = set_cookies(await peer.accepted())
        await peer.leave()
    assert cookie.startswith("sessionid=")


async def test_messages(connect, middleware):
    """Messages that middleware added can be read in the view."""

    def add(get_response):
        def middleware(request):
            messages.info(request, "Hello")
            return get_response(request)

        return middleware

    middleware(after=[add])
    view = tells(lambda s: [str(m) for m in messages.get_messages(s.request)])
    assert await told(connect(view)) == ["Hello"]


async def test_messages_of_a_page(connect):
    """Messages that an HTTP view added can be read in the view."""
    message = messages.storage.base.Message(messages.INFO, "Hello")
    cookie = CookieStorage(RequestFactory().get("/"))._encode([message])
    view = tells(lambda s: [str(m) for m in messages.get_messages(s.request)])
    peer = connect(view, headers={"cookie": f"messages={cookie}"})
    assert await told(peer) == ["Hello"]


async def test_messages_without_middleware(connect):
    """Without MessageMiddleware a view can neither read nor add messages."""

    def tell(socket):
        try:
            messages.info(socket.request, "Hello")
        except messages.MessageFailure:
            return list(messages.get_messages(socket.request))

    with override_settings(MIDDLEWARE=[]):
        assert await told(connect(tells(tell))) == []


tells_who = tells(
    lambda socket: [
        socket.user.is_authenticated,
        socket.user.username,
        socket.session.get("color"),
        socket.request.user is socket.user,
    ]
)


async def test_user(connect, opened):
    """User and session are loaded before the view runs."""
    headers = await log_in()
    opened.clear()
    peer = connect(tells_who, headers=headers)
    assert await told(peer) == [True, "ada", "green", True]
    assert len(opened) == 1


async def test_user_without_a_cookie(connect, opened):
    """Without a cookie the user is AnonymousUser, and no database is asked."""
    assert await told(connect(tells_who)) == [False, "", None, True]
    assert opened == []


@pytest.mark.parametrize("session_key", ["nonsense", "a" * 32, "", "ü"])
async def test_user_with_an_invalid_cookie(connect, session_key):
    """A cookie of no session is of nobody."""
    headers = {"cookie": f"sessionid={session_key}"}
    assert await told(connect(tells_who, headers=headers)) == [False, "", None, True]


async def test_expired_session(connect):
    """A session that is gone is of nobody, and its cookie is deleted."""
    headers = await log_in()
    await expire_sessions()
    peer = connect(tells_who, headers=headers)
    (cookie,) = set_cookies(await peer.accepted())
    assert cookie.startswith('sessionid=""; expires=Thu, 01 Jan 1970')
    assert json.loads(await peer.hear()) == [False, "", None, True]
    await peer.closed()


async def test_session_ended_by_a_new_password(connect):
    """A new password ends the old sessions, for sockets as well."""
    headers = await log_in("mallory")
    await change_password("mallory")
    peer = connect(tells_who, headers=headers)
    (cookie,) = set_cookies(await peer.accepted())
    assert cookie.startswith('sessionid=""; expires=Thu, 01 Jan 1970')
    assert json.loads(await peer.hear()) == [False, "", None, True]
    await peer.closed()


async def test_load_user_off(connect, opened):
    """With load_user off nothing is loaded until the view asks in a thread."""
    asked = []

    @websocket(load_user=False)
    async def view(socket):
        asked.append(len(opened))
        name = await sync_to_async(lambda: socket.user.username)()
        color = await sync_to_async(lambda: socket.session["color"])()
        await socket.send_json([name, color])

    headers = await log_in()
    opened.clear()
    assert await told(connect(view, headers=headers)) == ["ada", "green"]
    assert asked == [0]


async def test_load_user_off_in_a_class(connect, opened):
    """load_user of a WebSocketView counts as attribute and as argument."""

    class View(WebSocketView):
        load_user = False

    headers = await log_in()
    for view, queries in (View.as_view(), 0), (View.as_view(load_user=True), 1):
        opened.clear()
        peer = connect(view, headers=headers)
        await peer.accepted()
        await peer.leave()
        assert len(opened) == queries


@pytest.mark.parametrize("name", ["user", "session"])
async def test_no_middleware_for_it(connect, name):
    """Without middleware for it socket.user says which one is missing."""
    texts = {
        "user": "socket.user needs a middleware that sets request.user, as "
        "django.contrib.auth.middleware.AuthenticationMiddleware.",
        "session": "socket.session needs a middleware that sets request.session, as "
        "django.contrib.sessions.middleware.SessionMiddleware.",
    }

    def tell(socket):
        with pytest.raises(AttributeError) as error:
            getattr(socket, name)
        return str(error.value)

    with override_settings(MIDDLEWARE=[]):
        assert await told(connect(tells(tell))) == texts[name]


async def test_user_of_own_middleware(connect, middleware):
    """A user that a project's own middleware sets is socket.user."""

    def set_user(get_response):
        def middleware(request):
            request.user = "token 5"
            return get_response(request)

        return middleware

    middleware(after=[set_user])
    assert await told(connect(tells(lambda socket: socket.user))) == "token 5"


# The database


@pytest.fixture
def atomic(monkeypatch):
    """Turn ATOMIC_REQUESTS on."""
    monkeypatch.setitem(connections.databases["default"], "ATOMIC_REQUESTS", True)


def notes_transactions(blocks):
    """Return a decorator that notes whether a transaction is open around a view."""

    def decorator(view):
        @functools.wraps(view)
        def decorated(request):
            blocks.append(connection.in_atomic_block)
            return view(request)

        return decorated

    return decorator


async def test_atomic_requests(connect, atomic):
    """Decorators run in the transaction of ATOMIC_REQUESTS, the view does not."""
    blocks = []

    @notes_transactions(blocks)
    @websocket
    async def view(socket):
        blocks.append(await sync_to_async(lambda: connection.in_atomic_block)())

    await connect(view, headers=await log_in()).denied()
    assert blocks == [True, False]


@pytest.mark.parametrize("above", [True, False])
async def test_non_atomic_requests(connect, atomic, above):
    """non_atomic_requests holds above @websocket and below it."""
    blocks = []

    async def view(socket):
        """Deny."""

    if above:
        view = notes_transactions(blocks)(websocket(view))
        view = transaction.non_atomic_requests(view)
    else:
        view = websocket(transaction.non_atomic_requests(view))
        view = notes_transactions(blocks)(view)
    await connect(view).denied()
    assert blocks == [False]


async def test_database_is_closed(connect, monkeypatch):
    """After the handshake the database connection is closed; the socket lives on."""
    closed = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Connection(sqlite3.Connection):
        def close(self):
            super().close()
            loop.call_soon_threadsafe(closed.set)

    headers = await log_in()
    options = connections.databases["default"]["OPTIONS"]
    monkeypatch.setitem(options, "factory", Connection)
    peer = connect(echo, headers=headers)
    await peer.accepted()
    await asyncio.wait_for(closed.wait(), 5)
    await peer.say("hello")
    assert await peer.hear() == "hello"
    await peer.leave()


async def test_request_signals(connect):
    """request_started and request_finished are sent once for a handshake."""
    sent = []

    def started(sender, scope, **kwargs):
        sent.append(("started", scope["path"]))

    def finished(sender, **kwargs):
        sent.append("finished")

    request_started.connect(started)
    request_finished.connect(finished)
    try:
        peer = connect(echo)
        await peer.accepted()
        assert sent == [("started", "/ws/"), "finished"]
        await peer.leave()
        assert sent == [("started", "/ws/"), "finished"]
        sent.clear()
        await connect("/nowhere/").denied()
        assert sent == [("started", "/nowhere/"), "finished"]
    finally:
        request_started.disconnect(started)
        request_finished.disconnect(finished)


@pytest.mark.parametrize("status", [403, 101])
async def test_request_signals_of_a_denial_by_the_view(connect, status):
    """request_finished is sent as often as request_started if the view denies."""
    sent = []

    def started(sender, **kwargs):
        sent.append("started")

    def finished(sender, **kwargs):
        sent.append("finished")

    @websocket
    async def view(socket):
        return HttpResponse(status=status)

    request_started.connect(started)
    request_finished.connect(finished)
    try:
        await connect(view).denied()
    finally:
        request_started.disconnect(started)
        request_finished.disconnect(finished)
    assert sent.count("started") == sent.count("finished")


# What servers do differently


async def test_daphne(connect):
    """A handshake of daphne has few keys, and lists in them."""
    view = tells(lambda s: [s.request.META["REMOTE_ADDR"], s.request.scheme])
    peer = connect(view, client=["192.0.2.1", 1], server=["192.0.2.2", 80])
    for key in ("extensions", "state", "scheme", "http_version", "root_path"):
        peer.scope.pop(key, None)
    assert await told(peer) == ["192.0.2.1", "http"]


async def test_granian(connect):
    """A handshake of granian has its ports as str, and a state of the server."""
    view = tells(lambda s: s.request.build_absolute_uri("/a/"))
    headers = {"host": None}
    peer = connect(
        view,
        client=("192.0.2.1", "1"),
        server=("127.0.0.1", "8000"),
        headers=headers,
        state={},
    )
    assert await told(peer) == "http://127.0.0.1:8000/a/"


async def test_http_2(connect):
    """A handshake over HTTP/2 has no Upgrade header, and is one all the same."""
    headers = {
        "connection": None,
        "upgrade": None,
        "sec-websocket-key": None,
    }
    peer = connect(echo, http_version="2", headers=headers)
    await peer.accepted()
    await peer.leave()


@pytest.mark.parametrize("key", ["subprotocols", "extensions", "client", "server"])
@pytest.mark.parametrize("value", [None, "missing"])
async def test_optional_keys(connect, key, value):
    """What a scope may lack, by the specification, may be None as well."""
    peer = connect(websocket(subprotocols=["chat"])(echo.__wrapped__))
    if value is None:
        peer.scope[key] = None
    else:
        del peer.scope[key]
    assert (await peer.accepted())["subprotocol"] is None
    await peer.leave()


async def test_denial_without_the_extension(connect, caplog):
    """A server that knows no response to a handshake gets a plain close."""
    peer = connect("/nowhere/", extensions={})
    event = await peer.connect()
    await peer.wait(timeout=5)
    assert event == {"type": "websocket.close", "code": 1000, "reason": ""}
    assert peer.output_queue.empty()
    assert [r.getMessage() for r in caplog.records] == ["Not Found: /nowhere/"]


async def test_disconnect_first(connect, middleware):
    """A peer that left before it was answered costs no handshake."""
    ran = []

    def note(get_response):
        def middleware(request):
            ran.append(True)
            return get_response(request)

        return middleware

    middleware(note)
    peer = connect(echo)
    await peer.send_input({"type": "websocket.disconnect", "code": 1006})
    await peer.wait(timeout=5)
    assert peer.output_queue.empty()
    assert ran == []


async def test_disconnect_while_the_handshake_runs(connect, middleware, caplog):
    """A peer that leaves in the middle of the handshake ends the view."""
    loop = asyncio.get_running_loop()
    running, go_on = asyncio.Event(), threading.Event()
    ended = []

    def wait(get_response):
        def middleware(request):
            loop.call_soon_threadsafe(running.set)
            assert go_on.wait(5)
            return get_response(request)

        return middleware

    @websocket
    async def view(socket):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    middleware(wait)
    peer = connect(view)
    await peer.send_input({"type": "websocket.connect"})
    await asyncio.wait_for(running.wait(), 5)
    await peer.send_input({"type": "websocket.disconnect", "code": 1006})
    go_on.set()
    await peer.wait(timeout=5)
    assert ended == [True]
    assert peer.output_queue.empty()
    assert caplog.records == []


async def test_many_at_once(connect):
    """Handshakes that run at once keep to themselves."""
    view = tells(lambda socket: socket.request.GET["n"])
    peers = [connect(view, query_string=f"n={n}".encode()) for n in range(50)]
    values = await asyncio.gather(*[told(peer) for peer in peers])
    assert values == [str(n) for n in range(50)]


def test_handler_serves_from_a_thread(connect):
    """The handler may run on an event loop inside another one's thread."""

    async def talk():
        peer = connect(echo)
        await peer.accepted()
        await peer.say("hello")
        assert await peer.hear() == "hello"
        await peer.leave()

    async_to_sync(talk)()


def test_logging_level():
    """INFO lines are off unless a project turns them on."""
    assert not logging.getLogger("django_asgi_ext.websocket").isEnabledFor(logging.INFO)
