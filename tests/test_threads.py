"""Worker threads and the units they are leased for."""

import asyncio
import re
import threading
import time
from concurrent.futures import wait

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection, connections
from django.test import override_settings

from django_asgi_ext import websocket
from django_asgi_ext.threads import WorkerThreads, WorkUnit, WorkUnits, databases


def idle(pool):
    """Return how many threads of a pool have nothing to do."""
    with pool.lock:
        return len(pool._free)


async def until(condition):
    """Wait for a condition that another thread makes true."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


def test_calls_of_a_unit_stay_on_one_thread():
    """All calls of one unit run on the same thread, in order."""
    unit = WorkUnit(WorkerThreads(4))
    seen = []
    futures = [
        unit.submit(lambda n=n: seen.append((n, threading.get_ident())))
        for n in range(50)
    ]
    wait(futures, 5)
    unit.end()
    assert [n for n, _ in seen] == list(range(50))
    assert len({ident for _, ident in seen}) == 1


def test_results_and_exceptions():
    """A call's result and exception reach its future."""
    unit = WorkUnit(WorkerThreads(1))
    assert unit.submit(divmod, 7, 2).result(5) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        unit.submit(divmod, 7, 0).result(5)
    unit.end()


async def test_end_gives_the_thread_back():
    """A unit that has ended holds no thread, and the next one reuses it."""
    pool = WorkerThreads(8)
    idents = set()
    for _ in range(5):
        unit = WorkUnit(pool)
        idents.add(unit.submit(threading.get_ident).result(5))
        assert unit.is_busy
        unit.end()
        await until(lambda: idle(pool) == 1)
        assert not unit.is_busy
    assert len(idents) == 1


async def test_end_waits_for_the_calls():
    """end() lets the calls that have been submitted finish first."""
    pool = WorkerThreads(1)
    unit = WorkUnit(pool)
    go = threading.Event()
    first, second = unit.submit(go.wait, 5), unit.submit(threading.get_ident)
    unit.end()
    assert unit.is_busy
    go.set()
    assert first.result(5)
    assert second.result(5)
    await until(lambda: idle(pool) == 1)


async def test_units_wait_in_order_when_all_threads_are_busy():
    """With every thread leased, units wait, and the first to come goes first."""
    pool = WorkerThreads(1)
    go = threading.Event()
    holder = WorkUnit(pool)
    holder.submit(go.wait, 5)
    order = []
    waiting = [WorkUnit(pool) for _ in range(5)]
    futures = [unit.submit(order.append, number) for number, unit in enumerate(waiting)]
    for unit in waiting:
        unit.end()
    assert order == []
    go.set()
    holder.end()
    wait(futures, 5)
    assert order == [0, 1, 2, 3, 4]
    await until(lambda: idle(pool) == 1)


async def test_a_call_cancelled_while_it_waits_does_not_run():
    """A call whose future was cancelled is skipped, and its unit still ends."""
    pool = WorkerThreads(1)
    go = threading.Event()
    holder = WorkUnit(pool)
    holder.submit(go.wait, 5)
    waiting = WorkUnit(pool)
    ran = []
    future = waiting.submit(ran.append, 1)
    waiting.end()
    assert future.cancel()
    go.set()
    holder.end()
    await until(lambda: idle(pool) == 1)
    assert ran == []


async def test_no_more_threads_than_the_bound():
    """Many units at once share no more threads than there may be."""
    pool = WorkerThreads(3)
    barrier = threading.Barrier(3)
    units = [WorkUnit(pool) for _ in range(9)]
    futures = []
    for unit in units:
        futures.append(unit.submit(lambda: (barrier.wait(5), threading.get_ident())))
        unit.end()
    async with asyncio.timeout(10):
        results = await asyncio.gather(*map(asyncio.wrap_future, futures))
    assert len({ident for _, ident in results}) == 3


async def test_close_old_connections_after_each_unit():
    """A unit leaves no database connection behind with CONN_MAX_AGE at 0."""
    pool = WorkerThreads(1)
    unit = WorkUnit(pool)
    unit.submit(lambda: connection.ensure_connection()).result(5)
    assert unit.submit(lambda: connection.connection).result(5) is not None
    unit.end()
    await until(lambda: idle(pool) == 1)
    unit = WorkUnit(pool)
    assert unit.submit(lambda: connection.connection).result(5) is None
    unit.end()
    await until(lambda: idle(pool) == 1)


async def test_queries_of_others_are_not_logged():
    """With DEBUG, connection.queries has those of a unit and none of those before."""

    def query():
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return len(connection.queries)

    pool = WorkerThreads(1)
    with override_settings(DEBUG=True):
        for _ in range(2):
            unit = WorkUnit(pool)
            assert unit.submit(query).result(5) == 1
            unit.end()
            await until(lambda: idle(pool) == 1)


async def test_failing_to_close_is_logged_and_the_thread_goes_on(caplog, monkeypatch):
    """A thread is given back even if closing old connections fails."""

    def fail():
        raise OSError("gone")

    monkeypatch.setattr(databases, "close_old_connections", fail)
    pool = WorkerThreads(1)
    unit = WorkUnit(pool)
    assert unit.submit(divmod, 7, 2).result(5) == (3, 1)
    unit.end()
    await until(lambda: idle(pool) == 1)
    assert {record.message for record in caplog.records} == {
        "Closing old database connections failed."
    }


def test_a_database_that_is_added_meanwhile(monkeypatch):
    """A call returns although another thread adds a database, as for a new tenant."""
    looked = []

    class Connection:
        queries_log: list = []
        connection = None
        settings_dict = {"AUTOCOMMIT": True}

        def close_if_unusable_or_obsolete(self):
            pass

        @property
        def in_atomic_block(self):
            if not looked:
                connections.databases["tenant"] = connections.databases["default"]
            looked.append(self)
            return False

    def use():
        connections["default"] = Connection()

    unit = WorkUnit(WorkerThreads(1))
    monkeypatch.setattr(
        WorkUnit, "note_call", lambda *args: databases.is_in_transaction()
    )
    try:
        unit.submit(use).result(5)
    finally:
        connections.databases.pop("tenant", None)
    assert looked
    unit.end()


async def test_work_units_carry_sync_to_async():
    """Inside WorkUnits() sync_to_async runs on the unit's thread."""
    async with WorkUnits() as unit:
        first = await sync_to_async(threading.get_ident)()
        assert unit.is_busy
        assert await sync_to_async(threading.get_ident)() == first
        unit.end()
        await until(lambda: not unit.is_busy)
    assert first != threading.get_ident()


def test_work_units_keep_to_a_thread_that_waits():
    """Below async_to_sync, as in a TestCase, calls run on the thread that waits."""

    async def inside():
        async with WorkUnits() as unit:
            ident = await sync_to_async(threading.get_ident)()
            assert not unit.is_busy
            unit.end()
            return ident

    # In a thread of its own, for pytest-asyncio may have a loop on this one.
    idents = []

    def outside():
        idents.append((async_to_sync(inside)(), threading.get_ident()))

    thread = threading.Thread(target=outside)
    thread.start()
    thread.join(5)
    assert idents
    assert idents[0][0] == idents[0][1]


async def test_number_of_threads_is_a_setting():
    """ASGI_EXT["THREADS"] bounds the threads of the process."""
    with override_settings(ASGI_EXT={"THREADS": 2}):
        barrier = threading.Barrier(2)

        async def connection_of_its_own():
            async with WorkUnits():
                await sync_to_async(barrier.wait)(5)
                return await sync_to_async(threading.get_ident)()

        idents = await asyncio.gather(*(connection_of_its_own() for _ in range(8)))
    assert len(set(idents)) == 2


async def test_loop_that_was_closed(monkeypatch):
    """Units of one loop do not wait for the tick of another one."""
    pool = WorkerThreads(2)
    go = threading.Event()
    holder = WorkUnit(pool)

    async def busy():
        holder.submit(go.wait, 5)
        WorkUnit(pool).submit(go.wait, 5)

    # A loop that is gone before its tick.
    await asyncio.to_thread(asyncio.run, busy())
    unit = WorkUnit(pool)
    answer = asyncio.wrap_future(unit.submit(threading.get_ident))
    try:
        async with asyncio.timeout(5):
            await until(lambda: len(pool._leased) == 2)
    finally:
        go.set()
    assert await asyncio.wait_for(answer, 5)
    unit.end()
    holder.end()


async def test_unit_that_nobody_ends():
    """A unit ends by itself when it makes no call for a while."""
    pool = WorkerThreads(1)
    unit = WorkUnit(pool)
    unit.submit(threading.get_ident).result(5)
    assert unit.is_busy
    await until(lambda: idle(pool) == 1)
    assert not unit.is_busy


def test_a_unit_iterates_until_its_last_iterator_is_at_its_end():
    """An inner loop that ends does not take the thread from the outer one."""
    unit = WorkUnit(WorkerThreads(1))
    outer, inner = (n for n in range(2)), (n for n in range(2))
    unit.submit(next, outer).result(5)
    unit.submit(list, inner).result(5)
    assert unit.is_iterating(time.monotonic())
    unit.submit(list, outer).result(5)
    assert not unit.is_iterating(time.monotonic())
    unit.end()


async def test_unit_that_ends_after_its_call():
    """end_after_next() ends the next unit without another word."""
    pool = WorkerThreads(1)
    unit = WorkUnit(pool)
    unit.end_after_next()
    unit.submit(threading.get_ident).result(5)
    async with asyncio.timeout(0.2):
        await until(lambda: idle(pool) == 1)


@pytest.mark.parametrize("debug", [True, False])
async def test_slow_call(connect, caplog, debug):
    """With DEBUG, synchronous code that takes too long is logged with its view."""

    @websocket
    async def view(socket):
        await socket.accept()
        for seconds in (0, 0.2):
            await sync_to_async(threading.Event().wait)(seconds)
        await socket.send("done")

    with override_settings(DEBUG=debug, ASGI_EXT={"SLOW_CALL": 0.1}):
        peer = connect(view)
        await peer.accepted()
        assert await peer.hear() == "done"
        assert (await peer.closed())[0] == 1000
        await until(lambda: ("synchronous" in caplog.text) is debug)
    for text in [r.message for r in caplog.records if "synchronous" in r.message]:
        name, seconds = re.fullmatch(
            r"The view (\S+) ran synchronous code for (\S+) seconds\.", text
        ).groups()
        assert name.startswith("test_threads.")
        assert float(seconds) >= 0.2


async def test_slow_handshake(connect, caplog, monkeypatch):
    """So is a slow middleware, of which no view is known yet."""

    def slow(get_response):
        def middleware(request):
            threading.Event().wait(0.2)
            return get_response(request)

        return middleware

    monkeypatch.setattr(f"{__name__}.slow", slow, raising=False)
    settings = {"DEBUG": True, "ASGI_EXT": {"SLOW_CALL": 0.1}}
    with override_settings(MIDDLEWARE=[f"{__name__}.slow"], **settings):
        peer = connect(websocket(echo))
        await peer.accepted()
        await peer.leave()
        # The thread logs it after it has handed the answer over.
        await until(lambda: "The handshake ran synchronous code for 0." in caplog.text)


async def echo(socket):
    async for message in socket:
        await socket.send(message)
