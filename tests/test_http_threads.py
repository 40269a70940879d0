"""Which requests have a thread to themselves, and for how long."""

import asyncio
import threading

import pytest
from asgiref.sync import sync_to_async
from django.core.signals import request_finished
from django.db import connection, transaction
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path
from exchanges import Exchange, async_stream, fused, held, opened, stream, until
from project.http import request

from django_asgi_ext import ASGIHandler
from django_asgi_ext.http import leases
from django_asgi_ext.threads import WorkerThreads

pytest_plugins = ["http_fixtures"]

pytestmark = fused


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
    urls(path("", async_stream if is_async else stream))
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


@pytest.mark.parametrize(
    "begin",
    [
        lambda: transaction.atomic().__enter__(),
        lambda: transaction.set_autocommit(False),
    ],
    ids=["atomic", "autocommit"],
)
async def test_a_stream_in_a_transaction_keeps_its_thread(urls, threads, begin):
    """A thread goes to nobody else while a transaction is open in it."""

    async def events():
        await sync_to_async(begin)()
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
    """A request that leaves a transaction behind leaves it to nobody, nor a thread."""
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
    await until(lambda: held(threads) == 0)


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


async def test_a_task_that_outlives_its_request_keeps_a_thread(urls, threads):
    """What such a task leaves in its thread it finds there again, and nobody else."""
    go = asyncio.Event()
    here = threading.local()
    tasks = []

    async def later(user):
        await go.wait()
        await sync_to_async(setattr)(here, "user", user)
        await asyncio.sleep(0)
        return await sync_to_async(getattr)(here, "user", None)

    async def view(request, user):
        tasks.append(asyncio.create_task(later(user)))
        return HttpResponse()

    def other(request):
        return HttpResponse(getattr(here, "user", ""))

    urls(path("other/", other), path("<user>/", view))
    application = ASGIHandler()
    for user in "abcd":
        await request(application, f"/{user}/")
    go.set()
    assert await asyncio.wait_for(asyncio.gather(*tasks), 5) == ["a", "b", "c", "d"]
    assert (await request(application, "/other/"))[2] == ""
