"""HTTP through the fused chain: threads, overrides, cancellation, the setting."""

import asyncio
import threading
from contextlib import asynccontextmanager

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers import asgi
from django.core.signals import request_finished
from django.db import connection, transaction
from django.http import HttpResponse, StreamingHttpResponse
from django.test import override_settings
from django.urls import path
from django.utils.deprecation import MiddlewareMixin
from project.http import http_scope, request

from django_asgi_ext import ASGIHandler
from django_asgi_ext.http import leases
from django_asgi_ext.http.support import can_fuse
from django_asgi_ext.threads import WorkerThreads

pytestmark = [
    pytest.mark.skipif(
        not can_fuse(), reason="On this Django HTTP goes through Django's own chain"
    ),
    # Where a request is cancelled, Django 4.2 leaves the file of its body open.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

NOTICES_THAT_CLIENTS_LEAVE = hasattr(asgi.ASGIHandler, "listen_for_disconnect")


class Exchange:
    """A request and, as they come, the events of its answer."""

    def __init__(self, application, path="/"):
        self.events = asyncio.Queue()
        self._left = asyncio.Event()
        self._incoming = [{"type": "http.request", "body": b""}]
        self.task = asyncio.create_task(
            application(http_scope(path), self._receive, self.events.put)
        )

    async def _receive(self):
        if self._incoming:
            return self._incoming.pop()
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def leave(self):
        self._left.set()
        if not NOTICES_THAT_CLIENTS_LEAVE:
            self.task.cancel()
        await asyncio.wait({self.task}, timeout=5)
        assert self.task.done()


@pytest.fixture
def threads(monkeypatch):
    """Let requests have threads that no other test has."""
    pool = WorkerThreads(None, 0.002, 30.0)
    monkeypatch.setattr(leases, "_threads", pool)
    return pool


def held(pool):
    """Return how many threads are not for whoever needs one."""
    with pool.lock:
        return len(pool._leased)


async def until(condition):
    """Wait for a condition that another thread makes true."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


@asynccontextmanager
async def opened(application, count, path="/"):
    """Have that many requests whose answers have begun."""
    exchanges = [Exchange(application, path) for _ in range(count)]
    try:
        async with asyncio.timeout(20):
            for exchange in exchanges:
                assert (await exchange.events.get())["status"] == 200
        yield exchanges
    finally:
        for exchange in exchanges:
            await exchange.leave()


class InThread(MiddlewareMixin):
    """A project's own middleware: notes the threads of its hooks."""

    idents: list = []

    def process_request(self, request):
        self.idents.append(threading.get_ident())

    def process_view(self, request, callback, args, kwargs):
        self.idents.append(threading.get_ident())

    def process_response(self, request, response):
        self.idents.append(threading.get_ident())
        return response


@pytest.fixture
def in_thread():
    InThread.idents = []
    with override_settings(MIDDLEWARE=[f"{__name__}.InThread"]):
        yield InThread.idents


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_one_thread_for_a_request(urls, in_thread, kind):
    """All sync code of a request runs in one thread, whatever others do meanwhile."""

    def view(request):
        in_thread.append(threading.get_ident())
        return HttpResponse()

    async def async_view(request):
        for _ in range(3):
            await sync_to_async(in_thread.append)(
                await sync_to_async(threading.get_ident)()
            )
            await asyncio.sleep(0.01)
        return HttpResponse()

    def finished(**kwargs):
        in_thread.append(threading.get_ident())

    urls(path("", view if kind == "sync" else async_view))
    request_finished.connect(finished)
    try:
        await request(ASGIHandler())
    finally:
        request_finished.disconnect(finished)
    assert len(in_thread) >= 5
    assert len(set(in_thread)) == 1


async def test_own_middleware_keeps_its_thread_from_others(urls, in_thread, threads):
    """What such middleware has left in its thread is met by no other request."""
    go = asyncio.Event()

    async def view(request):
        await go.wait()
        return HttpResponse()

    urls(path("", view))
    application = ASGIHandler()
    exchanges = [Exchange(application) for _ in range(3)]
    await until(lambda: len(in_thread) == 6)
    assert held(threads) == 3
    go.set()
    for exchange in exchanges:
        await exchange.task
    assert sorted(map(in_thread.count, set(in_thread))) == [3, 3, 3]


async def test_sleeping_async_views_hold_no_thread(urls, threads):
    """A thousand async views that wait do so at once, and without a thread."""
    go = asyncio.Event()
    waiting = []

    async def view(request):
        waiting.append(request)
        await go.wait()
        return HttpResponse()

    urls(path("", view))
    application = ASGIHandler()
    exchanges = [Exchange(application) for _ in range(1000)]
    async with asyncio.timeout(20):
        while len(waiting) < 1000:
            await asyncio.sleep(0.01)
    await until(lambda: held(threads) == 0)
    go.set()
    for exchange in exchanges:
        await exchange.task


@pytest.mark.parametrize("is_async", [True, False])
async def test_streams_hold_no_thread(urls, threads, is_async):
    """An async stream holds no thread, from a sync view as from an async one."""

    async def events():
        yield b"data: 1\n\n"
        await asyncio.get_running_loop().create_future()

    def view(request):
        return StreamingHttpResponse(events())

    async def async_view(request):
        return StreamingHttpResponse(events())

    urls(path("", async_view if is_async else view))
    async with opened(ASGIHandler(), 200) as exchanges:
        for exchange in exchanges:
            assert (await exchange.events.get())["body"] == b"data: 1\n\n"
        await until(lambda: held(threads) == 0)


async def test_a_view_that_has_called_sync_code_keeps_its_thread(urls, threads):
    """What sync_to_async() has left in a thread is met by the rest of the view only."""
    go = asyncio.Event()
    idents = []

    async def view(request):
        before = await sync_to_async(threading.get_ident)()
        idents.append(before)
        await go.wait()
        assert await sync_to_async(threading.get_ident)() == before
        return HttpResponse()

    urls(path("", view))
    application = ASGIHandler()
    tasks = [asyncio.create_task(request(application)) for _ in range(5)]
    await until(lambda: len(idents) == 5)
    assert held(threads) == len(set(idents)) == 5
    go.set()
    assert [(await task)[0] for task in tasks] == [200] * 5


async def test_a_stream_in_a_transaction_keeps_its_thread(urls, threads):
    """A thread goes to nobody else while a transaction is open in it."""

    async def events():
        await sync_to_async(transaction.atomic().__enter__)()
        yield b"data: 1\n\n"
        await asyncio.get_running_loop().create_future()

    async def view(request):
        return StreamingHttpResponse(events())

    urls(path("", view))
    async with opened(ASGIHandler(), 1) as (exchange,):
        assert (await exchange.events.get())["body"] == b"data: 1\n\n"
        assert held(threads) == 1


async def test_blocking_views_run_at_once(urls, threads):
    """There are as many threads as sync views that block at the same time."""
    barrier = threading.Barrier(20)

    def view(request):
        barrier.wait(10)
        return HttpResponse()

    urls(path("", view))
    application = ASGIHandler()
    answers = await asyncio.gather(*(request(application) for _ in range(20)))
    assert [status for status, *_ in answers] == [200] * 20


async def test_threads_are_reused(urls, threads):
    """Requests one after another run in threads that others have used."""
    idents = []

    def view(request):
        idents.append(threading.get_ident())
        return HttpResponse()

    urls(path("", view))
    application = ASGIHandler()
    for _ in range(30):
        await request(application)
    # On a busy machine a thread may seem to be at work still, and another begin.
    assert len(set(idents)) <= 3


async def test_threads_end_that_nobody_needs(urls, monkeypatch):
    """Threads that were needed for a crowd end once it is gone."""
    pool = WorkerThreads(None, 0.002, 0.05)
    monkeypatch.setattr(leases, "_threads", pool)
    barrier = threading.Barrier(5)

    def view(request):
        barrier.wait(10)
        return HttpResponse()

    urls(path("", view))
    application = ASGIHandler()
    before = threading.active_count()
    await asyncio.gather(*(request(application) for _ in range(5)))
    assert pool._started >= 5
    await until(lambda: pool._started == 0)
    await until(lambda: threading.active_count() <= before)


async def test_a_transaction_that_was_left_open_is_met_by_nobody(urls, threads):
    """A request that leaves a transaction behind leaves none to the next."""
    found = []

    def view(request):
        found.append(connection.in_atomic_block)
        transaction.atomic().__enter__()
        return HttpResponse()

    urls(path("", view))
    application = ASGIHandler()
    await request(application)
    await request(application)
    assert found == [False, False]


async def test_a_task_that_outlives_its_request_may_use_the_database(urls, threads):
    """A task started by a view still finds a thread when the request is over."""
    go = asyncio.Event()
    tasks = []

    async def later():
        await go.wait()
        return await sync_to_async(threading.get_ident)()

    async def view(request):
        tasks.append(asyncio.create_task(later()))
        return HttpResponse()

    urls(path("", view))
    await request(ASGIHandler())
    go.set()
    assert await asyncio.wait_for(tasks[0], 5)
    await until(lambda: held(threads) == 0)


@pytest.mark.parametrize("make_handler", [asgi.ASGIHandler, ASGIHandler])
async def test_no_hook_follows_when_the_client_has_left(urls, in_thread, make_handler):
    """A sync view runs to its end, and no response hook after it; as on Django."""
    if not NOTICES_THAT_CLIENTS_LEAVE:
        pytest.skip("This Django does not notice that a client leaves")
    running, go, done = asyncio.Event(), threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def view(request):
        loop.call_soon_threadsafe(running.set)
        go.wait(5)
        done.set()
        return HttpResponse()

    urls(path("", view))
    exchange = Exchange(make_handler())
    await asyncio.wait_for(running.wait(), 5)
    leaving = asyncio.create_task(exchange.leave())
    for _ in range(20):
        # It is told of by the loop alone, in fewer turns.
        await asyncio.sleep(0)
    go.set()
    await leaving
    assert done.is_set()
    # The request hook and process_view.
    assert len(in_thread) == 2


async def test_overridden_parts_are_honoured(urls):
    """A subclass resolves, checks and responds in its own way."""
    called = []

    def overriding(name):
        def method(self, *args, **kwargs):
            called.append(name)
            return getattr(super(Handler, self), name)(*args, **kwargs)

        return method

    names = [
        "resolve_request",
        "make_view_atomic",
        "check_response",
        "get_response_async",
        "_get_response_async",
    ]
    for name in names:
        Handler = type("Handler", (ASGIHandler,), {name: overriding(name)})
        urls(path("", lambda request: HttpResponse()))
        status, *_ = await request(Handler())
        assert (status, called.pop()) == (200, name)


async def test_django_is_left_alone_if_told_so(urls, settings_of_ours):
    """With ASGI_EXT["HTTP"] = "django" each request has a thread of its own."""
    idents = []

    def view(request):
        idents.append(threading.current_thread().name)
        return HttpResponse()

    urls(path("", view))
    settings_of_ours(HTTP="django")
    await request(ASGIHandler())
    assert not idents[0].startswith("django-asgi-ext")
    settings_of_ours(HTTP="fused")
    await request(ASGIHandler())
    assert idents[1].startswith("django-asgi-ext")


def test_setting_must_name_a_chain(settings_of_ours):
    """Another value of ASGI_EXT["HTTP"] is refused."""
    settings_of_ours(HTTP="wsgi")
    with pytest.raises(ImproperlyConfigured) as raised:
        ASGIHandler()
    assert str(raised.value) == (
        "ASGI_EXT['HTTP'] must be 'django' or, on Django 4.2 and later, 'fused', "
        "not 'wsgi'. Leave it out for the default."
    )
