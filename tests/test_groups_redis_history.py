"""The histories of groups of several processes, over a real Redis."""

import asyncio
import time
from datetime import timedelta

import pytest
from redis_processes import KEPT, TIMEOUT, eventually

from django_asgi_ext.groups.message import encode
from django_asgi_ext.groups.policy import History

pytest_plugins = ["redis_fixtures"]


async def test_history_has_one_order(shared_redis, processes, group):
    """All processes deliver the messages of a group with history in one order."""
    group = f"kept.{group}"
    one, two = processes(shared_redis)
    for process in (one, two):
        await process.backend.subscribe(group)

    async def publish(process, name):
        for number in range(50):
            await process.publish(group, f"{name}{number}", KEPT)

    await asyncio.gather(publish(one, "a"), publish(two, "b"))
    heard = await one.until(100)
    assert heard == await two.until(100)
    assert [value for value in heard if value[0] == "a"] == [f"a{n}" for n in range(50)]
    positions = [message.position for _, message in one.delivered]
    assert len(set(positions)) == 100


async def test_where_a_member_begins(shared_redis, processes, group):
    """All that comes after the position that subscribe() returns is delivered."""
    group = f"kept.{group}"
    one, two = processes(shared_redis)
    first = await one.backend.subscribe(group)
    assert await two.backend.subscribe(group) == first
    for number in range(5):
        await one.publish(group, number, KEPT)
    assert await two.until(5) == [0, 1, 2, 3, 4]
    # The next member in the same process, and the first one in another.
    third = processes(shared_redis, 1)
    later = [await process.backend.subscribe(group) for process in (two, third)]
    assert later == [two.delivered[-1][1].position] * 2
    await one.publish(group, 5, KEPT)
    assert await third.until(1) == [5]
    missed = await third.backend.since(group, first, KEPT)
    assert [message.value for message in missed.messages] == [0, 1, 2, 3, 4, 5]
    missed = await third.backend.since(group, later[0], KEPT)
    assert (missed.is_complete, len(missed.messages)) == (True, 1)


async def test_where_a_member_begins_that_waits(shared_redis, processes, group):
    """What is published while the first member of a process joins comes after it."""
    group = f"kept.{group}"
    one = processes(shared_redis, 1)
    is_over = asyncio.Event()

    async def publish():
        number = 0
        while not is_over.is_set():
            await one.publish(group, number, KEPT)
            number += 1

    publishing = asyncio.create_task(publish())
    try:
        for process in processes(shared_redis, 5):
            position = await process.backend.subscribe(group)
            heard = await process.until(3)
            missed = await one.backend.since(group, position, KEPT)
            assert heard[:3] == [message.value for message in missed.messages[:3]]
    finally:
        is_over.set()
        await publishing


async def test_message_that_comes_twice(shared_redis, processes, group):
    """What is read from the history and comes on the connection is delivered once."""
    group = f"kept.{group}"
    one, two = processes(shared_redis)
    await two.backend.subscribe(group)
    flow, loop = two.backend._flows[group], two.backend._thread._loop
    loop.call_soon_threadsafe(flow.hold)
    for number in range(3):
        await one.publish(group, number, KEPT)

    async def all_are_held():
        return len(flow._held) == 3

    await eventually(all_are_held)
    catching_up = asyncio.run_coroutine_threadsafe(flow.catch_up(), loop)
    assert await asyncio.wrap_future(catching_up)
    await one.publish(group, 3, KEPT)
    assert await two.until(4) == [0, 1, 2, 3]


async def test_since(shared_redis, processes, group):
    """What came after a position is known in all processes, once and in order."""
    one, two = processes(shared_redis)
    messages = [encode(number) for number in range(10)]
    for message in messages:
        await one.backend.apublish(group, message, KEPT)
    missed = await two.backend.since(group, messages[3].position, KEPT)
    assert missed.is_complete
    assert [message.value for message in missed.messages] == [4, 5, 6, 7, 8, 9]
    assert missed.messages[-1].event == messages[-1].event
    assert missed.position == messages[-1].position


async def test_since_the_newest(shared_redis, processes, group):
    """Who has the newest message has missed nothing."""
    process = processes(shared_redis, 1)
    message = encode("last")
    await process.backend.apublish(group, message, KEPT)
    missed = await process.backend.since(group, message.position, KEPT)
    assert (missed.is_complete, missed.messages) == (True, [])


@pytest.mark.parametrize(
    "position",
    [(0, 0), (1, 1), (10**14, 0), (2**64 - 1, 2**64 - 1), (10**20 - 1, 0)],
)
async def test_since_what_cannot_be(shared_redis, processes, group, position):
    """A position that the group cannot have is too old, whatever a peer sends."""
    process = processes(shared_redis, 1)
    message = encode("one")
    await process.backend.apublish(group, message, KEPT)
    missed = await process.backend.since(group, position, KEPT)
    assert (missed.is_complete, missed.messages) == (False, [])
    assert missed.position == message.position


async def test_history_is_refused(shared_redis, processes, group, caplog):
    """What comes while Redis refuses the history is delivered, and what comes later."""
    from django_asgi_ext.groups.redis.flow import Flow
    from django_asgi_ext.groups.redis.log import RedisLog

    delivered = []
    clients = processes(shared_redis, 1).backend._clients
    flow = Flow(group, lambda _, m: delivered.append(m.value), RedisLog(clients, KEPT))
    await flow.begin()
    flow.hold()
    flow.take(encode("meanwhile"))
    # No history can be there.
    key = f"asgi_ext:0:{{{group}}}:log"
    await asyncio.to_thread(shared_redis.ask, "SET", key, "other")
    assert not await flow.catch_up()
    flow.take(encode("later"))
    assert delivered == ["meanwhile", "later"]
    assert caplog.messages[0].startswith(f"The history of the group {group} is lost: ")


@pytest.mark.parametrize("is_early", [True, False])
async def test_messages_for_the_flow_before(shared_redis, processes, group, is_early):
    """What comes before a flow has begun is delivered once, and is where it begins."""
    from django_asgi_ext.groups.redis.flow import Flow
    from django_asgi_ext.groups.redis.log import RedisLog

    process, delivered = processes(shared_redis, 1), []
    messages = [encode(number) for number in range(4)]
    for message in messages:
        await process.backend.apublish(group, message, KEPT)
    log = RedisLog(process.backend._clients, KEPT)
    flow = Flow(group, lambda _, m: delivered.append(m.value), log)
    beginning = asyncio.ensure_future(flow.begin())
    if not is_early:
        # It asks Redis now.
        await asyncio.sleep(0)
    flow.take(messages[1])
    await beginning
    flow.hold()
    assert flow.begun_at == messages[1].position
    assert await flow.catch_up()
    assert delivered == [1, 2, 3]


async def test_since_nothing(shared_redis, processes, group):
    """A group without messages has a position from which a peer can go on."""
    process = processes(shared_redis, 1)
    missed = await process.backend.since(group, (5, 0), KEPT)
    assert not missed.is_complete
    await process.publish(group, "first", KEPT)
    missed = await process.backend.since(group, missed.position, KEPT)
    assert missed.is_complete
    assert [message.value for message in missed.messages] == ["first"]


async def test_history_by_number(shared_redis, processes, group):
    """Redis keeps about as many messages as asked for, and says what is too old."""
    process = processes(shared_redis, 1)
    messages = [encode(number) for number in range(400)]
    history = History(messages=100)
    for message in messages:
        await process.backend.apublish(group, message, history)
    missed = await process.backend.since(group, messages[0].position, history)
    assert not missed.is_complete
    missed = await process.backend.since(group, messages[298].position, history)
    assert [message.value for message in missed.messages] == list(range(299, 400))
    length = await asyncio.to_thread(
        shared_redis.ask, "XLEN", f"asgi_ext:0:{{{group}}}:log"
    )
    assert 101 <= length <= 201


async def test_history_by_age(shared_redis, processes, group):
    """Who has the last message before a quiet time has missed nothing by age."""
    process = processes(shared_redis, 1)
    history = History(seconds=0.2)
    first, second = encode("first"), encode("second")
    await process.backend.apublish(group, first, history)
    await process.backend.apublish(group, second, history)
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        await asyncio.sleep(0.02)
    await process.publish(group, "third", history)
    missed = await process.backend.since(group, second.position, history)
    assert missed.is_complete
    assert [message.value for message in missed.messages] == ["third"]


@pytest.mark.parametrize(
    ("history", "seconds"),
    [
        (History(messages=5), 24 * 60 * 60),
        (History(seconds=60), 24 * 60 * 60),
        (History(seconds=timedelta(days=3).total_seconds()), 3 * 24 * 60 * 60),
    ],
)
async def test_unused_history_goes(shared_redis, processes, group, history, seconds):
    """A history to which nobody publishes goes after a day, or when all is too old."""
    process = processes(shared_redis, 1)
    await process.publish(group, "message", history)
    left = await asyncio.to_thread(
        shared_redis.ask, "TTL", f"asgi_ext:0:{{{group}}}:log"
    )
    assert seconds - TIMEOUT < left <= seconds
