"""Leases at their edges: what takes long, what fails, what is left behind."""

import asyncio
import functools
import gc
import os
import threading
import time

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.core.signals import request_finished
from django.db import connections
from django.http import HttpResponse, StreamingHttpResponse
from django.test import override_settings
from django.urls import path
from django.utils.deprecation import MiddlewareMixin
from exchanges import (
    Exchange,
    InThread,
    async_stream,
    fused,
    held,
    opened,
    stream,
    until,
)
from programs import run_python
from project.databases import in_a_thread
from project.http import http_scope, request

from django_asgi_ext import ASGIHandler
from django_asgi_ext.http import leases
from django_asgi_ext.threads import WorkerThreads

pytest_plugins = ["http_fixtures"]

pytestmark = fused


class OnlyResponses(MiddlewareMixin):
    """A project's own middleware that has nothing to do with a request."""

    def process_response(self, request, response):
        response["X-Seen"] = "yes"
        return response


async def test_middleware_for_responses_holds_no_thread(urls, threads):
    """While an async view waits, only hooks that have run can have left something."""
    go = asyncio.Event()
    waiting = asyncio.Event()

    async def view(request):
        waiting.set()
        await go.wait()
        return HttpResponse()

    urls(path("", view))
    with override_settings(MIDDLEWARE=[f"{__name__}.OnlyResponses"]):
        exchange = Exchange(ASGIHandler())
    await asyncio.wait_for(waiting.wait(), 5)
    await until(lambda: held(threads) == 0)
    go.set()
    await exchange.task


@pytest.mark.parametrize("keeps", [True, False])
async def test_a_stream_finds_what_middleware_has_left(
    urls, threads, in_thread, monkeypatch, keeps
):
    """What a request hook has left in its thread is kept for a stream, if it is to."""
    monkeypatch.setattr(InThread, "keeps_thread", keeps, raising=False)
    urls(path("", async_stream))
    async with opened(ASGIHandler(), 3) as exchanges:
        for exchange in exchanges:
            await exchange.events.get()
        await until(lambda: held(threads) == (3 if keeps else 0))


class SyncOnly:
    """A project's own middleware that is called as a whole."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        return self.get_response(request)


@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize("keeps", [True, False])
async def test_a_stream_finds_what_sync_middleware_below_djangos_has_left(
    urls, threads, monkeypatch, is_async, keeps
):
    """What is called together keeps its thread if any part of it may need that."""
    monkeypatch.setattr(SyncOnly, "keeps_thread", keeps, raising=False)
    urls(path("", async_stream if is_async else stream))
    below_djangos = [
        "django.middleware.common.CommonMiddleware",
        f"{__name__}.SyncOnly",
    ]
    with override_settings(MIDDLEWARE=below_djangos):
        application = ASGIHandler()
    async with opened(application, 3) as exchanges:
        for exchange in exchanges:
            await exchange.events.get()
        await until(lambda: held(threads) == (3 if keeps else 0))


async def test_what_an_async_view_leaves_below_sync_middleware_is_kept(
    urls, threads, monkeypatch
):
    """It keeps its thread for a call in it, even if the middleware does not."""
    monkeypatch.setattr(SyncOnly, "keeps_thread", False, raising=False)
    sending, go = asyncio.Event(), asyncio.Event()

    async def view(request):
        await sync_to_async(threading.get_ident)()
        return HttpResponse()

    async def send(event):
        sending.set()
        await go.wait()

    urls(path("", view))
    with override_settings(MIDDLEWARE=[f"{__name__}.SyncOnly"]):
        application = ASGIHandler()
    incoming = asyncio.Queue()
    incoming.put_nowait({"type": "http.request"})
    task = asyncio.create_task(application(http_scope(), incoming.get, send))
    await asyncio.wait_for(sending.wait(), 5)
    # The thread would give itself back before it waits again.
    await asyncio.sleep(0.05)
    assert held(threads) == 1
    go.set()
    await task


def in_djangos_name(get_response):
    """Make a project's own middleware that has the name of what is below it."""

    @functools.wraps(get_response)
    def middleware(request):
        return get_response(request)

    return middleware


async def test_middleware_is_not_djangos_for_its_name(urls, threads):
    """functools.wraps(get_response) does not make a project's middleware Django's."""
    urls(path("", async_stream))
    with override_settings(MIDDLEWARE=[f"{__name__}.in_djangos_name"]):
        application = ASGIHandler()
    async with opened(application, 2) as exchanges:
        for exchange in exchanges:
            await exchange.events.get()
        await until(lambda: held(threads) == 2)


async def test_a_stream_keeps_its_thread_for_a_receiver(urls, threads):
    """What a sync view has left in a thread is there for one's own request_finished."""
    idents = []

    async def events():
        yield b"data: 1\n\n"
        await go.wait()

    def view(request):
        idents.append(threading.get_ident())
        return StreamingHttpResponse(events())

    def finished(**kwargs):
        idents.append(threading.get_ident())

    go = asyncio.Event()
    urls(path("", view), path("other/", lambda request: HttpResponse()))
    application = ASGIHandler()
    request_finished.connect(finished)
    try:
        exchange = Exchange(application)
        for _ in range(2):
            await exchange.events.get()
        assert held(threads) == 1
        go.set()
        await exchange.task
    finally:
        request_finished.disconnect(finished)
    assert len(set(idents)) == 1


async def test_a_queryset_in_a_stream_keeps_its_thread(urls, threads):
    """A stream reads the next chunk of a queryset where it has read the last one."""
    in_a_thread(Group.objects.bulk_create, [Group(name=f"{n}") for n in range(6)])

    def others(request):
        barrier.wait(10)
        return HttpResponse()

    async def events():
        async for group in Group.objects.order_by("pk").aiterator(chunk_size=2):
            yield group.name.encode()
            if group.name == "1":
                await go.wait()

    async def view(request):
        return StreamingHttpResponse(events())

    go = asyncio.Event()
    barrier = threading.Barrier(4)
    urls(path("", view), path("others/", others))
    application = ASGIHandler()
    try:
        exchange = Exchange(application)
        for _ in range(3):
            await asyncio.wait_for(exchange.events.get(), 5)
        # They need more threads than there are.
        await asyncio.gather(*(request(application, "/others/") for _ in range(4)))
        go.set()
        await asyncio.wait_for(exchange.task, 5)
        names = b"".join(
            exchange.events.get_nowait().get("body", b"")
            for _ in range(exchange.events.qsize())
        )
    finally:
        in_a_thread(Group.objects.all().delete)
    assert names == b"2345"


async def test_a_request_within_a_request_leaves_the_thread_alone(urls, threads):
    """A view that calls the application keeps what it has left in its thread."""
    idents = []

    async def events():
        yield b"1"

    async def inner(request):
        return StreamingHttpResponse(events())

    async def view(request):
        idents.append(await sync_to_async(threading.get_ident)())
        await Exchange(application, "/inner/").task
        assert held(threads) == 1
        idents.append(await sync_to_async(threading.get_ident)())
        return HttpResponse()

    urls(path("", view), path("inner/", inner))
    application = ASGIHandler()
    status, *_ = await request(application)
    assert status == 200
    assert len(set(idents)) == 1


@pytest.mark.parametrize("cancels", [1, 2])
async def test_what_a_cancelled_call_raises_is_not_reported(urls, threads, cancels):
    """A call of a cancelled request is waited for, and its error goes nowhere."""
    begun, go = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    reported = []

    def fail():
        loop.call_soon_threadsafe(begun.set)
        go.wait(5)
        raise ValueError

    async def view(request):
        await sync_to_async(fail)()

    urls(path("", view))
    loop.set_exception_handler(lambda loop, context: reported.append(context))
    exchange = Exchange(ASGIHandler())
    await asyncio.wait_for(begun.wait(), 5)
    for _ in range(cancels):
        exchange.task.cancel()
        await asyncio.wait({exchange.task}, timeout=0.05)
    assert exchange.task.done() is (cancels == 2)
    go.set()
    await asyncio.wait({exchange.task}, timeout=5)
    assert exchange.task.cancelled()
    await until(lambda: held(threads) == 0)
    gc.collect()
    assert reported == []


async def test_a_database_that_cannot_be_had_is_in_nobodys_way(
    urls, threads, monkeypatch
):
    """A request that does not use a broken database is answered."""
    broken = {**connections.databases["default"], "ENGINE": "no.such.engine"}
    monkeypatch.setitem(connections.databases, "broken", broken)
    urls(path("", lambda request: HttpResponse()))
    status, *_ = await asyncio.wait_for(request(ASGIHandler()), 5)
    assert status == 200


async def test_threads_end_under_load(urls, monkeypatch):
    """Threads that were needed for a crowd end while few requests go on."""
    pool = WorkerThreads(None, 0.002, 0.5)
    monkeypatch.setattr(leases, "_threads", pool)
    barrier = threading.Barrier(20)

    def crowd(request):
        barrier.wait(10)
        return HttpResponse()

    urls(path("", lambda request: HttpResponse()), path("crowd/", crowd))
    application = ASGIHandler()
    await asyncio.gather(*(request(application, "/crowd/") for _ in range(20)))
    assert pool._started >= 20
    deadline = time.monotonic() + 10
    while pool._started > 5 and time.monotonic() < deadline:
        await request(application)
    assert pool._started <= 5


async def test_a_busy_loop_does_not_keep_views_from_threads(urls, threads):
    """Views that wait for a moment do so at once while the event loop computes."""
    waiting = set()
    most = 0

    def view(request):
        nonlocal most
        waiting.add(request)
        most = max(most, len(waiting))
        threading.Event().wait(0.008)
        waiting.discard(request)
        return HttpResponse()

    async def compute():
        while True:
            until = time.perf_counter() + 0.003
            while time.perf_counter() < until:
                pass
            await asyncio.sleep(0.001)

    urls(path("", view))
    application = ASGIHandler()
    busy = asyncio.create_task(compute())
    try:
        await asyncio.gather(*(request(application) for _ in range(60)))
    finally:
        busy.cancel()
    assert most >= 3


FORKING = """
import asyncio
import functools
import gc
import os
import sys
import warnings

import django

warnings.simplefilter("ignore", DeprecationWarning)
os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
django.setup()

from project.http import http_scope, request
from django_asgi_ext import get_asgi_application

application = get_asgi_application()
asyncio.run(request(application, "/nowhere/"))
if child := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
status, *_ = asyncio.run(asyncio.wait_for(request(application, "/nowhere/"), 5))
os._exit(0 if status == 404 else 1)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Needs fork()")
def test_a_child_process_has_threads_of_its_own():
    """A process that was forked after a request serves requests, too."""
    finished = run_python(FORKING, timeout=30)
    assert finished.returncode == 0, finished.stderr


ENDING = """
import asyncio
import os
import sys
import threading
import warnings

import django
from django.conf import settings

warnings.simplefilter("ignore", DeprecationWarning)
os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
django.setup()

from django.http import HttpResponse
from django.urls import path
from django_asgi_ext import get_asgi_application
from exchanges import Exchange

settings.MIDDLEWARE = ["exchanges.InThread"]
settings.ROOT_URLCONF = __name__
waiting = threading.Event()


async def view(request):
    waiting.set()
    await asyncio.get_running_loop().create_future()


async def serve():
    await Exchange(get_asgi_application()).task


urlpatterns = [path("", view)]
threading.Thread(target=asyncio.run, args=[serve()], daemon=True).start()
waiting.wait(5)
sys.exit(3)
"""


def test_a_request_does_not_keep_the_process_from_its_end():
    """A process ends with a request that has a thread, as a server's on reload."""
    finished = run_python(ENDING, timeout=20)
    assert finished.returncode == 3, finished.stderr
