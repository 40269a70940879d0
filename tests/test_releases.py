"""What works on which Django: docs/django.md."""

import asyncio
import gc
import inspect
import platform
import threading
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.metadata import metadata
from types import CoroutineType

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.contrib import auth
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import Group
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.db import connection, connections, transaction
from django.db.utils import ConnectionHandler
from django.dispatch import Signal
from django.http import HttpResponse, StreamingHttpResponse
from django.test import override_settings
from django.urls import path
from django.views import View
from peer import Peer, websocket_scope
from project.databases import default_database
from project.http import http_scope, request
from project.users import log_in
from releases import HERE, OURS, PYTHONS, Section, shown, table

from django_asgi_ext import (
    WebSocketView,
    get_asgi_application,
    websocket,
    websocket_connected,
)

SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
USERS = "django.contrib.auth.middleware.AuthenticationMiddleware"


ours = Section("What django_asgi_ext brings")
pages = Section("Pages")
calls = Section("Async calls in a view, of a WebSocket or a page")
databases = Section("Databases")


@pytest.fixture
def unawaited():
    """Close the coroutines that a Django which does not know them has left."""
    yield
    for thing in gc.get_objects():
        # Not isinstance(): objects are about that load what they are at any look.
        if type(thing) is CoroutineType and thing.cr_code.co_filename == __file__:
            if inspect.getcoroutinestate(thing) == inspect.CORO_CREATED:
                thing.close()


def maybe_not_awaited(test):
    """Let Django leave coroutines of this test alone."""
    ignored = pytest.mark.filterwarnings("ignore:.* was never awaited:RuntimeWarning")
    return pytest.mark.usefixtures("unawaited")(ignored(test))


async def in_a_view(connect, function, **scope):
    """Return what a function returns, or raise what it raises, in a WebSocket view."""
    outcome = asyncio.get_running_loop().create_future()

    @websocket
    async def view(socket):
        await socket.accept()
        try:
            outcome.set_result(await function(socket))
        except Exception as error:
            outcome.set_exception(error)

    peer = connect(view, **scope)
    await peer.accepted()
    assert await peer.closed() == (1000, "")
    return await outcome


async def page(urls, view, **changes):
    """Return status and body of a page at /."""
    urls(path("", view))
    status, _, body = await request(get_asgi_application(), **changes)
    return status, body


@websocket
async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def lamp(scope, receive, send):
    await send({"type": "mqtt.connack"})


def async_middleware(get_response):
    async def middleware(request):
        response = await get_response(request)
        response["X-Middleware"] = "async"
        return response

    return middleware


async_middleware.async_capable = True
async_middleware.sync_capable = False


@ours("`@websocket` views, behind `MIDDLEWARE` and in the URLconf")
async def test_websocket_view(connect):
    """A WebSocket view answers, and middleware has put its headers on the 101."""
    peer = connect(echo)
    accept = await peer.accepted()
    assert b"x-frame-options" in dict(accept["headers"])
    await peer.say("Hello")
    assert await peer.hear() == "Hello"
    await peer.leave()


@ours("`WebSocketView`")
async def test_websocket_class(connect):
    """A WebSocket view may be a class."""

    class Echo(WebSocketView):
        async def receive(self, message):
            await self.socket.send(message)

    peer = connect(Echo.as_view())
    await peer.accepted()
    await peer.say("Hello")
    assert await peer.hear() == "Hello"
    await peer.leave()


@ours("`login_required` and other decorators on them")
async def test_websocket_login_required(connect):
    """A decorator for views refuses a handshake."""
    status, headers, _ = await connect(login_required(echo)).denied()
    assert (status, headers["location"]) == (302, ["/accounts/login/?next=/ws/"])


@ours("`socket.user` and `socket.session`, without `await`")
async def test_websocket_user(connect):
    """User and session are there when the view begins."""

    async def look(socket):
        return socket.user.username, socket.session["color"]

    headers = await log_in()
    assert await in_a_view(connect, look, headers=headers) == ("ada", "green")


@ours("Sync and async receivers of `websocket_connected`")
async def test_websocket_receivers(connect):
    """A receiver may be sync or async."""
    received = []

    def sync_receiver(socket, **kwargs):
        received.append("sync")

    async def async_receiver(socket, **kwargs):
        received.append("async")

    websocket_connected.connect(sync_receiver)
    websocket_connected.connect(async_receiver)
    try:
        peer = connect(echo)
        await peer.accepted()
        await peer.leave()
    finally:
        websocket_connected.disconnect(sync_receiver)
        websocket_connected.disconnect(async_receiver)
    assert sorted(received) == ["async", "sync"]


@ours("The lifespan, and its state")
async def test_lifespan(connect):
    """The application starts and stops with the server."""

    @asynccontextmanager
    async def lifespan():
        yield {"pool": 1}

    application = get_asgi_application(lifespan=lifespan)
    scope = {"type": "lifespan", "state": {}}
    server = ApplicationCommunicator(application, scope)
    for phase in ("startup", "shutdown"):
        await server.send_input({"type": f"lifespan.{phase}"})
        event = await server.receive_output(timeout=5)
        assert event == {"type": f"lifespan.{phase}.complete"}
    assert scope["state"] == {"pool": 1}


@ours("Protocols of your own")
async def test_protocols():
    """A protocol serves its type of scope."""
    application = get_asgi_application(protocols={"mqtt": lamp})
    server = ApplicationCommunicator(application, {"type": "mqtt"})
    assert await server.receive_output(timeout=5) == {"type": "mqtt.connack"}


@pages("Views, class-based ones too")
async def test_page(urls):
    """A sync view serves a page."""

    class Page(View):
        def get(self, request):
            return HttpResponse("Hello")

    assert await page(urls, Page.as_view()) == (200, "Hello")


@pages("Static files by `ASGIStaticFilesHandler`, with WebSockets behind it")
async def test_static_files(urls):
    """Django's handler for static files lets everything else through."""
    urls(path("ws/", echo))
    finders = ["project.finders.ProjectFinder"]
    with override_settings(STATIC_URL="/static/", STATICFILES_FINDERS=finders):
        application = ASGIStaticFilesHandler(get_asgi_application())
        assert (await request(application, "/static/settings.py"))[0] == 200
        peer = Peer(application, websocket_scope())
        await peer.accepted()
        await peer.leave()


@pages("`async def` views", since="3.1", without=AssertionError)
@maybe_not_awaited
async def test_async_page(urls):
    """An async view serves a page."""

    async def view(request):
        return HttpResponse("Hello")

    assert await page(urls, view) == (200, "Hello")


@pages(
    "Async middleware, in front of WebSockets too",
    since="3.1",
    without=AssertionError,
)
@maybe_not_awaited
async def test_async_middleware(connect):
    """Async middleware sees handshakes."""
    with override_settings(MIDDLEWARE=["test_releases.async_middleware"]):
        peer = connect(echo)
    accept = await peer.accepted()
    assert (b"x-middleware", b"async") in accept["headers"]
    await peer.leave()


@pages("`django.test.AsyncClient`", since="3.1", without=ImportError)
async def test_async_client(urls):
    """The async test client gets a page."""
    from django.test import AsyncClient

    urls(path("", lambda request: HttpResponse("Hello")))
    assert (await AsyncClient().get("/")).content == b"Hello"


@pages(
    "`async def get()` in a class, in `WebSocketView` too",
    since="4.1",
    without=AssertionError,
)
@maybe_not_awaited
@pytest.mark.parametrize("base", [View, WebSocketView])
async def test_async_class(urls, base):
    """A class-based view may have async methods."""

    class Page(base):
        async def get(self, request):
            return HttpResponse("Hello")

    assert await page(urls, Page.as_view()) == (200, "Hello")


@pages("Middleware in few hops to a thread", since="4.2", without=AssertionError)
async def test_fused(urls):
    """A page is served on a thread that later ones use again."""

    def thread(request):
        return HttpResponse(threading.current_thread().name)

    _, name = await page(urls, thread)
    assert name.startswith("django-asgi-ext")


@pages(
    "Async iterators in `StreamingHttpResponse`", since="4.2", without=AssertionError
)
@maybe_not_awaited
async def test_async_streaming(urls):
    """A page may be streamed from an async iterator."""

    async def parts():
        yield "Hel"
        yield "lo"

    view = sync_view(lambda: StreamingHttpResponse(parts()))
    assert await page(urls, view) == (200, "Hello")


def sync_view(respond):
    return lambda request: respond()


@pages(
    "An async view is cancelled when the client leaves",
    since="5.0",
    without=TimeoutError,
)
async def test_page_is_cancelled(urls):
    """A page that nobody waits for any more is cancelled."""
    begun, cancelled, end = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def view(request):
        begun.set()
        try:
            await end.wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return HttpResponse()

    urls(path("", view))
    server = ApplicationCommunicator(get_asgi_application(), http_scope())
    await server.send_input({"type": "http.request"})
    await asyncio.wait_for(begun.wait(), 5)
    await server.send_input({"type": "http.disconnect"})
    try:
        await asyncio.wait_for(cancelled.wait(), 3)
    finally:
        end.set()
        await server.wait(timeout=5)


@pages("`login_required` on an `async def` view", since="5.1", without=AssertionError)
@maybe_not_awaited
async def test_async_login_required(urls):
    """A page behind login_required may be async."""

    async def view(request):
        return HttpResponse("Hello")

    headers = await log_in()
    assert await page(urls, login_required(view), headers=headers) == (200, "Hello")


@pages(
    "`LoginRequiredMiddleware`, in front of WebSockets too",
    since="5.1",
    without=ImportError,
)
async def test_login_required_middleware(connect):
    """Who has not logged in gets no WebSocket."""
    required = "django.contrib.auth.middleware.LoginRequiredMiddleware"
    with override_settings(MIDDLEWARE=[SESSIONS, USERS, required]):
        peer = connect(echo)
    assert (await peer.denied())[0] == 302


@calls("`sync_to_async()` with the ORM in it")
async def test_sync_to_async(connect):
    """A view uses the database in a worker thread."""

    async def count(socket):
        return await sync_to_async(Group.objects.filter(name="nobody").count)()

    assert await in_a_view(connect, count) == 0


@calls("A query without either is refused")
async def test_sync_only(connect):
    """A query on the event loop raises, it does not block."""

    async def count(socket):
        return Group.objects.count()

    with pytest.raises(SynchronousOnlyOperation):
        await in_a_view(connect, count)


@calls("The cache: `cache.aget()`", since="4.0", without=AttributeError)
async def test_async_cache(connect):
    """A view awaits the cache."""

    async def look(socket):
        return await cache.aget("nothing", "default")

    assert await in_a_view(connect, look) == "default"


@calls(
    "Querysets: `acreate()`, `aget()`, `async for`", since="4.1", without=AttributeError
)
async def test_async_querysets(connect):
    """A view awaits queries."""

    async def store(socket):
        await Group.objects.acreate(name="bakers")
        found = Group.objects.filter(name="bakers")
        names = [group.name async for group in found]
        await found.adelete()
        return names

    assert await in_a_view(connect, store) == ["bakers"]


@calls("Models: `asave()`, `adelete()`", since="4.2", without=AttributeError)
async def test_async_models(connect):
    """A view awaits what a model's instance does."""

    async def store(socket):
        group = Group(name="cooks")
        await group.asave()
        return await group.adelete()

    assert await in_a_view(connect, store) == (1, {"auth.Group": 1})


@calls("`request.auser()`", since="5.0", without=AttributeError)
async def test_auser(connect):
    """A view awaits its user."""

    async def look(socket):
        return (await socket.request.auser()).username

    assert await in_a_view(connect, look, headers=await log_in()) == "ada"


@calls("`aauthenticate()`", since="5.0", without=AttributeError)
async def test_aauthenticate(connect):
    """A view awaits the check of a password."""

    async def check(socket):
        return await auth.aauthenticate(username="nobody", password="wrong")

    assert await in_a_view(connect, check) is None


@calls("Signals: `asend()`", since="5.0", without=AttributeError)
async def test_asend(connect):
    """A view awaits the receivers of a signal."""

    async def send(socket):
        return await Signal().asend(sender=None)

    assert await in_a_view(connect, send) == []


@calls("`session.aset()`, `aget()`, `asave()`", since="5.1", without=AttributeError)
async def test_async_session(connect):
    """A view awaits its session."""

    async def store(socket):
        await socket.session.aset("color", "red")
        await socket.session.asave()
        stored = socket.session.__class__(socket.session.session_key)
        return await stored.aget("color")

    assert await in_a_view(connect, store, headers=await log_in()) == "red"


def double(number):
    return 2 * number


@calls("Tasks: `aenqueue()`", since="6.0", without=ImportError)
async def test_tasks(connect):
    """A view enqueues a task."""

    async def enqueue(socket):
        from django.tasks import task

        return (await task(double).aenqueue(21)).return_value

    assert await in_a_view(connect, enqueue) == 42


@calls("Transactions: `async with transaction.atomic()`", since=None, without=TypeError)
async def test_async_transactions(connect):
    """A view makes a transaction without a thread."""

    async def enter(socket):
        async with transaction.atomic():
            pass

    await in_a_view(connect, enter)


@databases("`CONN_HEALTH_CHECKS`", since="4.1", without=AssertionError)
async def test_health_checks(connect, settings_of_ours):
    """A broken connection is noticed and opened again before the next query."""
    settings_of_ours(THREADS=1)
    used = []

    def query():
        with connection.cursor():
            used.append(connection.connection)
        connection.is_usable = lambda: False

    def leave():
        del connection.is_usable
        connections.close_all()

    async def use(socket):
        await sync_to_async(query)()

    async def use_and_leave(socket):
        await sync_to_async(query)()
        await sync_to_async(leave)()

    kept = {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True}
    with default_database(kept):
        await in_a_view(connect, use)
        await in_a_view(connect, use_and_leave)
    assert used[0] is not used[1]


def postgresql(**options):
    """Return Django's side of a connection to PostgreSQL, not opened."""
    engine = "django.db.backends.postgresql"
    entry = {"ENGINE": engine, "NAME": "tests", "OPTIONS": options}
    return ConnectionHandler({"default": {}, "other": entry})["other"]


@databases("psycopg 3", since="4.2", without=(ImproperlyConfigured, AssertionError))
async def test_psycopg():
    """The PostgreSQL backend uses psycopg, not psycopg2."""
    assert postgresql().Database is import_module("psycopg")


@databases(
    "The pool of the PostgreSQL backend",
    since="5.1",
    without=(ImproperlyConfigured, AttributeError),
)
async def test_pool():
    """The PostgreSQL backend has a pool."""
    backend = postgresql(pool={"max_size": 4})
    assert backend.pool.max_size == 4
    backend.close_pool()


def test_python():
    """The table says on which Pythons a release runs, and which it names itself."""
    theirs = {
        classifier.rpartition(" ")[2]
        for classifier in metadata("Django").get_all("Classifier")
    }
    named, others = PYTHONS[HERE]
    assert set(named) == theirs.intersection(OURS)
    assert ".".join(platform.python_version_tuple()[:2]) in named + others


def test_page_is_what_is_declared():
    """docs/django.md shows what the tests declare."""
    assert shown() == table(), (
        "docs/django.md is not what the tests declare. Write it: "
        "python tests/releases.py"
    )
