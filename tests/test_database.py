"""The database behind views: SQLite and a real PostgreSQL, with Django's pool too."""

import asyncio
import itertools
import json
import threading
import time
import unittest
from contextlib import ExitStack, suppress

import django
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import Group
from django.core.signals import request_finished, request_started
from django.db import Error, connection, connections, transaction
from django.db.backends.signals import connection_created
from django.test import TestCase
from project.databases import default_database, in_a_thread
from project.users import log_in

from django_asgi_ext import websocket
from django_asgi_ext.threads import sockets, workers as worker_threads

pytest_plugins = ["postgres"]

# How long anything may take, in seconds.
PATIENCE = 10

without_pool = pytest.mark.parametrize(
    "use_database", ["sqlite", "postgresql"], indirect=True
)
on_postgresql = pytest.mark.parametrize(
    "use_database", ["postgresql", "pool"], indirect=True
)
needs_async_orm = pytest.mark.skipif(
    django.VERSION < (4, 1), reason="there is no async ORM before Django 4.1"
)


@pytest.fixture(params=["sqlite", "postgresql", "pool"])
def use_database(request, settings_of_ours):
    """Return a function that makes a database the project's, and its worker threads."""
    if request.param != "sqlite":
        cluster = request.getfixturevalue("postgres")
    if request.param == "pool" and django.VERSION < (5, 1):
        pytest.skip("Django below 5.1 has no pool")
    with ExitStack() as stack:

        def use(THREADS=2, **database):
            settings_of_ours(THREADS=THREADS)
            if request.param == "pool":
                database["OPTIONS"] = {"pool": {"min_size": 1, "max_size": THREADS}}
            if request.param != "sqlite":
                database = cluster.database(**database)
            stack.enter_context(default_database(database))
            workers = sockets._worker_threads()
            stack.callback(leave_database, workers)
            return workers

        yield use


def leave_database(workers):
    """Close all connections and delete what was stored."""
    deadline = time.monotonic() + PATIENCE
    while workers._leased:
        assert time.monotonic() < deadline, "A thread is leased for ever."
        time.sleep(0.001)
    for worker in workers._free:
        worker.executor.submit(connections.close_all).result(PATIENCE)
    in_a_thread(Group.objects.all().delete)
    if "pool" in connections.databases["default"]["OPTIONS"]:
        in_a_thread(lambda: connection.close_pool())


@pytest.fixture(autouse=True)
def numbers():
    """Number the connections that Django opens, or takes from its pool."""
    numbers = itertools.count(1)

    def number(connection, **kwargs):
        connection.number = next(numbers)

    connection_created.connect(number)
    yield
    connection_created.disconnect(number)


async def until(condition):
    """Wait for a condition that another thread makes true."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)


async def until_idle(workers):
    """Wait until no thread is leased."""
    await until(lambda: not workers._leased)


def connections_held(workers):
    """Return how many threads that are not leased hold a connection."""
    return sum(
        worker.executor.submit(lambda: connection.connection is not None).result(5)
        for worker in workers._free
    )


def place(_=None):
    """Make a query; return its thread, connection and process of PostgreSQL's."""
    is_postgresql = connection.vendor == "postgresql"
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()" if is_postgresql else "SELECT NULL")
        (pid,) = cursor.fetchone()
    return threading.get_ident(), connection.number, pid


def answer_with(function):
    """Return a view that answers with what a sync function makes of a message."""

    @websocket
    async def view(socket):
        async for message in socket:
            try:
                answer = await sync_to_async(function)(message)
            except Error:
                answer = "failed"
            await socket.send_json(answer)

    return view


async def ask(peer, message=""):
    """Send a message and return the answer."""
    await peer.say(message)
    return json.loads(await peer.hear())


class Gate:
    """What a call waits for in its thread."""

    def __init__(self):
        self._reached, self._opened = threading.Event(), threading.Event()

    def wait(self):
        """Wait until the gate opens."""
        self._reached.set()
        assert self._opened.wait(PATIENCE)

    def open(self):
        """Let the calls go on."""
        self._opened.set()

    async def reached(self):
        """Wait until a call waits."""
        await until(self._reached.is_set)


@pytest.fixture
def gate():
    """Return a gate, which is open at the end."""
    gate = Gate()
    yield gate
    gate.open()


# Worker threads


async def test_calls_for_a_message_share_a_connection(use_database, connect):
    """All calls between two messages run on one thread and one connection."""
    use_database()

    @websocket
    async def view(socket):
        async for _ in socket:
            seen = [await sync_to_async(place)() for _ in range(5)]
            seen += await asyncio.gather(*(sync_to_async(place)() for _ in range(5)))
            await socket.send_json(seen)

    peer = connect(view)
    await peer.accepted()
    seen = await ask(peer)
    assert len(seen) == 10
    assert seen == [seen[0]] * 10
    await peer.leave()


async def test_sockets_share_the_threads(use_database, connect):
    """Twelve sockets at work share three threads, and no more connections."""
    use_database(THREADS=3)
    barrier = threading.Barrier(3)
    open_now, most = set(), []

    def work(_):
        ident, number, _ = place()
        open_now.add(number)
        barrier.wait(PATIENCE)
        most.append(len(open_now))
        barrier.wait(PATIENCE)
        open_now.discard(number)
        return ident

    peers = [connect(answer_with(work)), *(connect("/ws/") for _ in range(11))]
    for peer in peers:
        await peer.accepted()
    idents = await asyncio.gather(*map(ask, peers))
    assert len(set(idents)) == 3
    assert set(most) == {3}
    for peer in peers:
        await peer.leave()


async def test_sockets_one_after_another_share_a_thread(use_database, connect):
    """A thread that is free is taken before a new one is started."""
    workers = use_database(THREADS=4)
    idents = set()
    peers = [connect(answer_with(place)), connect("/ws/"), connect("/ws/")]
    for peer in peers:
        await peer.accepted()
        await until_idle(workers)
        idents.add((await ask(peer))[0])
        await until_idle(workers)
    assert len(idents) == 1
    for peer in peers:
        await peer.leave()


def wait_for(gate):
    """Return a view that, once told to wait, makes a query and waits in it."""

    def work(message):
        seen = place()
        if message == "wait":
            gate.wait()
        return seen

    return answer_with(work)


async def test_call_that_waits_holds_nobody_up(use_database, connect, gate):
    """While a call of one socket waits, that of another runs on a free thread."""
    use_database()
    first, second = connect(wait_for(gate)), connect("/ws/")
    await first.accepted()
    await second.accepted()
    await first.say("wait")
    await gate.reached()
    elsewhere = await ask(second)
    gate.open()
    assert json.loads(await first.hear())[0] != elsewhere[0]
    await first.leave()
    await second.leave()


async def test_sockets_wait_for_a_thread_in_order(use_database, connect, gate):
    """While all threads are busy sockets wait, and the first to come goes first."""
    workers = use_database(THREADS=1)
    order = []

    def work(message):
        place()
        order.append(message)
        if message == "first":
            gate.wait()

    peers = {"first": connect(answer_with(work))}
    peers.update((name, connect("/ws/")) for name in "abcde")
    for peer in peers.values():
        await peer.accepted()
    await until_idle(workers)
    for index, (name, peer) in enumerate(peers.items()):
        await peer.say(name)
        await gate.reached()
        await until(lambda: len(workers._waiting) == index)  # noqa: B023
    gate.open()
    for peer in peers.values():
        await peer.hear()
        await peer.leave()
    assert order == ["first", *"abcde"]


async def test_socket_with_many_messages_lets_others_pass(use_database, connect):
    """A peer that has sent much ahead does not keep the thread from others."""
    use_database(THREADS=1)
    busy, other = connect(answer_with(place)), connect("/ws/")
    await busy.accepted()
    await other.accepted()
    for _ in range(100):
        await busy.say("")
    await busy.hear()
    await ask(other)
    # The answers to the busy one until then.
    assert busy.output_queue.qsize() < 80
    await busy.leave()
    await other.leave()


async def test_handshake_waits_for_a_thread(use_database, connect, gate):
    """A handshake is a work unit: it waits while all threads are busy."""
    workers = use_database(THREADS=1)
    first, second = connect(wait_for(gate)), connect("/ws/")
    await first.accepted()
    await first.say("wait")
    await gate.reached()
    await second.send_input({"type": "websocket.connect"})
    await until(lambda: workers._waiting)
    assert second.output_queue.empty()
    gate.open()
    assert (await second.receive_output(PATIENCE))["type"] == "websocket.accept"
    await first.leave()
    await second.leave()


# Around a unit


async def test_handshake_in_its_thread(use_database, connect):
    """request_started and request_finished enclose the handshake in its thread."""
    workers = use_database()
    headers = in_a_thread(log_in.func)
    seen = []

    def started(**kwargs):
        seen.append(("started", threading.get_ident()))

    def query(**kwargs):
        seen.append(("connected", threading.get_ident()))

    def finished(**kwargs):
        seen.append(("finished", threading.get_ident()))

    request_started.connect(started)
    connection_created.connect(query)
    request_finished.connect(finished)
    try:
        peer = connect(answer_with(place), headers=headers)
        await peer.accepted()
    finally:
        request_started.disconnect(started)
        connection_created.disconnect(query)
        request_finished.disconnect(finished)
    assert [name for name, _ in seen] == ["started", "connected", "finished"]
    assert len({ident for _, ident in seen}) == 1
    assert seen[0][1] != threading.get_ident()
    await until_idle(workers)
    assert connections_held(workers) == 0
    await peer.leave()


async def test_socket_that_waits_holds_no_connection(use_database, connect):
    """With CONN_MAX_AGE = 0 each unit closes its connection."""
    workers = use_database(THREADS=1)
    peer = connect(answer_with(place))
    await peer.accepted()
    numbers = set()
    for _ in range(3):
        numbers.add((await ask(peer))[1])
        await until_idle(workers)
        assert connections_held(workers) == 0
    assert len(numbers) == 3
    await peer.leave()


@without_pool
async def test_units_reuse_a_connection(use_database, connect):
    """With CONN_MAX_AGE = 60 units on a thread use one connection."""
    workers = use_database(THREADS=1, CONN_MAX_AGE=60)
    first, second = connect(answer_with(place)), connect("/ws/")
    seen = set()
    for peer in (first, second):
        await peer.accepted()
        for _ in range(2):
            seen.add(tuple(await ask(peer)))
            await until_idle(workers)
    assert len(seen) == 1
    assert connections_held(workers) == 1
    await first.leave()
    await second.leave()


@without_pool
async def test_connection_that_is_too_old(use_database, connect):
    """A connection older than CONN_MAX_AGE is closed when its unit ends."""
    workers = use_database(THREADS=1, CONN_MAX_AGE=0.05)
    peer = connect(answer_with(lambda _: (place(), time.sleep(0.1))))
    await peer.accepted()
    await ask(peer)
    await until_idle(workers)
    assert connections_held(workers) == 0
    await peer.leave()


@pytest.mark.parametrize("use_database", ["pool"], indirect=True)
async def test_units_give_the_connection_back_to_the_pool(use_database, connect):
    """With Django's pool a unit takes a connection and gives it back."""
    workers = use_database(THREADS=1)
    peer = connect(answer_with(place))
    await peer.accepted()
    pids = set()
    for _ in range(3):
        pids.add((await ask(peer))[2])
        await until_idle(workers)
        assert connections_held(workers) == 0
    assert len(pids) == 1
    await peer.leave()


@on_postgresql
async def test_health_checks(use_database, connect, postgres, request):
    """With CONN_HEALTH_CHECKS a unit notices that its connection is broken."""
    kept = {} if "pool" in request.node.callspec.id else {"CONN_MAX_AGE": 60}
    workers = use_database(THREADS=1, CONN_HEALTH_CHECKS=True, **kept)
    peer = connect(answer_with(place))
    await peer.accepted()
    before = await ask(peer)
    await until_idle(workers)
    assert postgres.terminate_clients()
    after = await ask(peer)
    assert after[2] != before[2]
    await peer.leave()


@pytest.mark.parametrize("use_database", ["postgresql"], indirect=True)
async def test_broken_connection_without_health_checks(use_database, connect, postgres):
    """Without them a unit that gets a broken connection fails, and the next works."""
    workers = use_database(THREADS=1, CONN_MAX_AGE=60)
    peer = connect(answer_with(place))
    await peer.accepted()
    before = await ask(peer)
    await until_idle(workers)
    assert postgres.terminate_clients()
    assert await ask(peer) == "failed"
    await until_idle(workers)
    assert (await ask(peer))[2] != before[2]
    await peer.leave()


def sleep_or_place(message):
    if message == "sleep":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(30)")
    return place()


async def until_it_sleeps(postgres):
    query = "SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(30)'"
    await until(lambda: postgres.ask(query))


@on_postgresql
async def test_connection_broken_during_a_call(use_database, connect, postgres):
    """Only the call fails whose connection breaks; the next message's works."""
    use_database(THREADS=1)
    peer = connect(answer_with(sleep_or_place))
    await peer.accepted()
    await peer.say("sleep")
    # Already there when the answer comes.
    await peer.say("")
    await until_it_sleeps(postgres)
    postgres.terminate_clients()
    assert json.loads(await peer.hear()) == "failed"
    assert json.loads(await peer.hear()) != "failed"
    await peer.leave()


@on_postgresql
async def test_database_that_restarts(use_database, connect, postgres):
    """A socket outlives a restart of the database; its next unit works."""
    workers = use_database(THREADS=1, CONN_HEALTH_CHECKS=True)
    peer = connect(answer_with(place))
    await peer.accepted()
    before = await ask(peer)
    await until_idle(workers)
    postgres.stop()
    postgres.start()
    assert (await ask(peer))[2] != before[2]
    await peer.leave()


@pytest.mark.parametrize("use_database", ["postgresql"], indirect=True)
@pytest.mark.parametrize("age", [0, 60])
async def test_database_that_is_down(use_database, connect, postgres, age):
    """While the database is down calls fail, the socket stays open, and then works."""
    workers = use_database(THREADS=1, CONN_MAX_AGE=age)
    peer = connect(answer_with(place))
    await peer.accepted()
    await ask(peer)
    await until_idle(workers)
    postgres.stop()
    try:
        assert await ask(peer) == "failed"
        assert await ask(peer) == "failed"
        await until_idle(workers)
    finally:
        postgres.start()
    assert await ask(peer) != "failed"
    await peer.leave()


# The ORM


@needs_async_orm
async def test_async_orm(use_database, connect):
    """acreate(), aget(), async for and aiterator() work in a view."""
    use_database()

    @websocket
    async def view(socket):
        async for name in socket:
            group = await Group.objects.acreate(name=name)
            found = await Group.objects.aget(pk=group.pk)
            groups = Group.objects.filter(name=name)
            await socket.send_json(
                [
                    found.name,
                    [group.name async for group in groups],
                    [group.name async for group in groups.aiterator()],
                ]
            )

    peer = connect(view)
    await peer.accepted()
    assert await ask(peer, "staff") == ["staff", ["staff"], ["staff"]]
    await peer.leave()
    assert in_a_thread(Group.objects.filter(name="staff").count) == 1


@needs_async_orm
async def test_async_orm_in_tasks(use_database, connect):
    """Tasks of one view use the ORM at once, on one thread."""
    use_database()

    async def create(name):
        await Group.objects.acreate(name=name)
        (await Group.objects.aget(name=name)).name  # noqa: B018
        return await sync_to_async(place)()

    @websocket
    async def view(socket):
        async for _ in socket:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(create(f"{n}")) for n in range(10)]
            await socket.send_json([task.result() for task in tasks])

    peer = connect(view)
    await peer.accepted()
    places = await ask(peer)
    assert places == [places[0]] * 10
    await peer.leave()
    assert in_a_thread(Group.objects.count) == 10


@needs_async_orm
async def test_iterating_while_sending(use_database, connect):
    """A queryset is read on in the same connection while the view sends."""
    use_database()
    groups = [Group(name=f"{n}") for n in range(10)]
    in_a_thread(Group.objects.bulk_create, groups)

    @websocket
    async def view(socket):
        async for _ in socket:
            async for group in Group.objects.order_by("pk").aiterator(chunk_size=3):
                await socket.send(group.name)

    peer = connect(view)
    await peer.accepted()
    await peer.say("")
    assert [await peer.hear() for _ in groups] == [group.name for group in groups]
    await peer.leave()


@needs_async_orm
async def test_iterating_slowly(use_database, connect, monkeypatch):
    """A queryset is read on after a pause in which another unit would have ended."""
    monkeypatch.setattr(worker_threads, "_IDLE", 0.02)
    workers = use_database()
    in_a_thread(Group.objects.bulk_create, [Group(name=f"{n}") for n in range(6)])

    @websocket
    async def view(socket):
        async for _ in socket:
            async for group in Group.objects.order_by("pk").aiterator(chunk_size=2):
                await asyncio.sleep(0.05)
                await socket.send(group.name)
            await until_idle(workers)
            await socket.send("idle")

    peer = connect(view)
    await peer.accepted()
    await peer.say("")
    assert [await peer.hear() for _ in range(7)] == [*"012345", "idle"]
    await peer.leave()


@needs_async_orm
async def test_iterating_no_more(use_database, connect, monkeypatch):
    """A queryset that is not read to its end holds no thread once it is dropped."""
    monkeypatch.setattr(worker_threads, "_IDLE", 0.02)
    workers = use_database()
    in_a_thread(Group.objects.bulk_create, [Group(name=f"{n}") for n in range(6)])

    @websocket
    async def view(socket):
        async for _ in socket:
            groups = Group.objects.order_by("pk").aiterator(chunk_size=2)
            name = (await anext(groups)).name
            await groups.aclose()
            del groups
            await until_idle(workers)
            await socket.send(name)

    peer = connect(view)
    await peer.accepted()
    await peer.say("")
    assert await peer.hear() == "0"
    await peer.leave()


@pytest.mark.skipif(
    django.VERSION < (5, 1), reason="sessions are sync before Django 5.1"
)
async def test_user_and_session(use_database, connect):
    """request.auser() and the async methods of the session work in a view."""
    use_database()
    headers = in_a_thread(log_in.func)

    @websocket(load_user=False)
    async def view(socket):
        user, session = await socket.request.auser(), socket.session
        async for message in socket:
            before = await session.aget("said")
            await session.aset("said", message)
            await session.asave()
            await socket.send_json([user.username, before])

    for before, message in [(None, "one"), ("one", "two")]:
        peer = connect(view, headers=headers)
        await peer.accepted()
        assert await ask(peer, message) == ["ada", before]
        await peer.leave()


async def test_transaction(use_database, connect):
    """transaction.atomic() in a sync function commits, and rolls back if it fails."""
    use_database(THREADS=1)

    def work(name):
        with suppress(ValueError), transaction.atomic():
            Group.objects.create(name=name)
            if name == "bad":
                raise ValueError
        return list(Group.objects.values_list("name", flat=True))

    peer = connect(answer_with(work))
    await peer.accepted()
    assert await ask(peer, "good") == ["good"]
    assert await ask(peer, "bad") == ["good"]
    await peer.leave()


# Cancellation


@pytest.fixture
def slow(gate):
    """Return a sync function that waits at the gate, in a transaction."""

    def slow():
        with transaction.atomic():
            Group.objects.create(name="slow")
            gate.wait()

    return slow


async def test_cancelled_call(use_database, connect, slow, gate):
    """A cancelled call ends in its thread; the calls after it work."""
    workers = use_database(THREADS=1)

    @websocket
    async def view(socket):
        async for _ in socket:
            task = asyncio.ensure_future(sync_to_async(slow)())
            await gate.reached()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            gate.open()
            await socket.send_json(await sync_to_async(place)())
            await socket.recv()
            await socket.send_json(await sync_to_async(place)())

    peer = connect(view)
    await peer.accepted()
    first = await ask(peer)
    await until_idle(workers)
    second = await ask(peer)
    assert first[1] != second[1]
    await until_idle(workers)
    assert connections_held(workers) == 0
    assert in_a_thread(Group.objects.filter(name="slow").count) == 1
    await peer.leave()


async def test_call_cancelled_before_it_began(use_database, connect, slow, gate):
    """A call that is cancelled while it waits for a thread never runs."""
    workers = use_database(THREADS=1)

    @websocket
    async def view(socket):
        async for message in socket:
            if message == "slow":
                await sync_to_async(slow)()
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await sync_to_async(Group.objects.create)(name="never")
            await socket.send_json(message)

    first, second = connect(view), connect("/ws/")
    await first.accepted()
    await second.accepted()
    await first.say("slow")
    await gate.reached()
    assert await ask(second, "cancelled") == "cancelled"
    gate.open()
    assert json.loads(await first.hear()) == "slow"
    await until_idle(workers)
    assert in_a_thread(Group.objects.filter(name="never").count) == 0
    await first.leave()
    await second.leave()


async def test_peer_that_leaves_during_a_call(use_database, connect, slow, gate):
    """A peer that leaves during a call leaves a thread behind that works."""
    workers = use_database(THREADS=1)

    @websocket
    async def view(socket):
        async for message in socket:
            if message == "slow":
                await sync_to_async(slow)()
            await socket.send_json(await sync_to_async(place)())

    peer = connect(view)
    await peer.accepted()
    await peer.say("slow")
    await gate.reached()
    # The view is cancelled, the call is not.
    await peer.leave()
    assert workers._leased
    gate.open()
    await until_idle(workers)
    assert connections_held(workers) == 0
    following = connect("/ws/")
    await following.accepted()
    assert await ask(following)
    await following.leave()


# Django's TestCase


def run(case):
    """Run the test of a TestCase, in a thread with no event loop."""
    result = unittest.TestResult()
    in_a_thread(unittest.TestSuite([case("test")]).run, result)
    assert result.testsRun == 1
    assert not result.errors + result.failures, result.errors + result.failures


def names_after(name):
    """Store a group and return the names of all."""
    Group.objects.create(name=name)
    return sorted(Group.objects.values_list("name", flat=True))


async def talk(connect):
    """Let a view store a group, and say which it sees."""
    peer = connect(answer_with(names_after))
    await peer.accepted()
    try:
        return await ask(peer, "view")
    finally:
        await peer.leave()


def test_sync_test_of_a_test_case(use_database, connect):
    """A view sees what a TestCase has made, and what it stores is rolled back."""
    use_database()

    class Case(TestCase):
        def test(self):
            Group.objects.create(name="test")
            self.assertEqual(async_to_sync(talk)(connect), ["test", "view"])
            self.assertEqual(Group.objects.count(), 2)

    run(Case)
    assert in_a_thread(Group.objects.count) == 0


@pytest.mark.skipif(
    django.VERSION < (3, 1), reason="Django 3.0 does not await the tests of a TestCase"
)
def test_async_test_of_a_test_case(use_database, connect):
    """An async test of a TestCase shares its transaction with a view as well."""
    use_database()

    class Case(TestCase):
        async def test(self):
            await sync_to_async(Group.objects.create)(name="test")
            self.assertEqual(await talk(connect), ["test", "view"])
            self.assertEqual(await sync_to_async(Group.objects.count)(), 2)

    run(Case)
    assert in_a_thread(Group.objects.count) == 0
