"""Who is in groups of several processes, over a real Redis."""

import asyncio

from redis_processes import ADA, GRACE, eventually, said

from django_asgi_ext.groups.departures import Departure, departures
from django_asgi_ext.groups.message import PRESENCE

pytest_plugins = ["redis_fixtures"]

# It has no replica.
NO_WRITES = "CONFIG", "SET", "min-replicas-to-write", "1"
WRITES = "CONFIG", "SET", "min-replicas-to-write", "0"


async def test_join_once(shared_redis, processes, group):
    """A user who is there in two processes joins once and leaves once."""
    one, two = processes(shared_redis)
    for process in (one, two):
        await process.backend.subscribe(group)
    await one.backend.enter(group, "1", "tab1", ADA)
    await two.backend.enter(group, "1", "tab2", ADA)
    await two.backend.enter(group, "2", "tab3", GRACE)
    assert await one.backend.amembers(group) == [ADA, GRACE]
    one.backend.exit(group, "1", "tab1")
    two.backend.exit(group, "2", "tab3")
    two.backend.exit(group, "1", "tab2")
    for process in (one, two):
        heard = said(await process.until(4))
        assert heard[:2] == [("join", ADA), ("join", GRACE)]
        assert sorted(heard[2:], key=str) == [("leave", ADA), ("leave", GRACE)]
    assert one.delivered[0][1].kind == PRESENCE
    assert one.delivered[0][1].exclude == "tab1"
    assert await asyncio.to_thread(two.backend.members, group) == []


async def test_back_in_another_process(shared_redis, processes, group):
    """Who comes back in another process in time has never left; else it leaves once."""
    one, two = processes(shared_redis)
    for process in (one, two):
        await process.backend.subscribe(group)
    await one.backend.enter(group, "1", "tab1", ADA)
    first = Departure(one.backend, group, "1", "tab1")
    departures.add(first, 300)
    await two.backend.enter(group, "1", "tab2", ADA)

    async def is_told():
        return not departures

    departures.add(first, 0.001)
    await eventually(is_told)
    # It comes after what has been told so far.
    await one.backend.enter(group, "2", "other", GRACE)
    assert await one.backend.amembers(group) == [ADA, GRACE]
    departures.add(Departure(two.backend, group, "1", "tab2"), 0.001)
    for process in (one, two):
        heard = said(await process.until(3))
        assert heard == [("join", ADA), ("join", GRACE), ("leave", ADA)]


async def test_info_changes(shared_redis, processes, group):
    """A member that is there already has new info, and does not join again."""
    one, two = processes(shared_redis)
    await two.backend.subscribe(group)
    await one.backend.enter(group, "1", "tab", ADA)
    await one.backend.enter(group, "1", "tab", {**ADA, "name": "Lady Lovelace"})
    await one.backend.enter(group, "2", "other", GRACE)
    assert await two.backend.amembers(group) == [
        {"id": 1, "name": "Lady Lovelace"},
        GRACE,
    ]
    assert [value["member"] for value in await two.until(2)] == [ADA, GRACE]


async def test_refused(own_redis, processes, monkeypatch, caplog):
    """Who comes or goes while Redis takes no writes is told of once it does."""
    from django_asgi_ext.groups.redis import attendance

    monkeypatch.setattr(attendance, "BEAT_INTERVAL", 0.2)
    one, two = processes(own_redis)
    await two.backend.subscribe("chat")
    await one.backend.enter("chat", "1", "tab1", ADA)
    await one.backend.enter("chat", "2", "tab2", GRACE)
    await asyncio.to_thread(own_redis.ask, *NO_WRITES)
    one.backend.exit("chat", "1", "tab1")
    await one.backend.enter("chat", "3", "tab3", {"id": 3})

    async def is_refused():
        return len(caplog.messages) == 2

    await eventually(is_refused)
    assert await two.backend.amembers("chat") == [ADA, GRACE]
    await asyncio.to_thread(own_redis.ask, *WRITES)
    heard = said(await two.until(4))[2:]
    assert sorted(heard) == [("join", {"id": 3}), ("leave", ADA)]
    assert await two.backend.amembers("chat") == [GRACE, {"id": 3}]
    assert len(caplog.messages) == 2
    assert one.backend._attendance._refused == {}


async def test_refused_for_ever(shared_redis, processes, group, monkeypatch, caplog):
    """A process does not try for ever to tell that somebody has left."""
    quicker(monkeypatch)
    process = processes(shared_redis, 1)
    await process.backend.enter(group, "1", "tab1", ADA)
    # No member can be there.
    key = f"asgi_ext:0:{{{group}}}:about"
    await asyncio.to_thread(shared_redis.ask, "SET", key, "other")
    process.backend.exit(group, "1", "tab1")

    async def is_forgotten():
        return caplog.messages and not process.backend._attendance._refused

    await eventually(is_forgotten)


async def test_lost_process(shared_redis, processes, group, monkeypatch):
    """The members of a process that has died are taken out by the others, once."""
    quicker(monkeypatch)
    one, two, three = processes(shared_redis, 3)
    for process in (one, two):
        await process.backend.subscribe(group)
        await process.backend.subscribe(f"{group}.other")
    await one.backend.enter(group, "1", "tab1", ADA)
    await two.backend.enter(group, "1", "tab2", ADA)
    await three.backend.enter(group, "1", "tab3", ADA)
    await three.backend.enter(group, "2", "tab4", GRACE)
    die(three)
    joins = [("join", ADA), ("join", GRACE)]
    assert said(await one.until(3)) == [*joins, ("leave", GRACE)]
    assert said(await two.until(3)) == [*joins, ("leave", GRACE)]
    assert await one.backend.amembers(group) == [ADA]


async def test_last_process_is_lost(shared_redis, processes, group, monkeypatch):
    """Nothing is left in Redis of a group all of whose processes have died."""
    quicker(monkeypatch)
    process = processes(shared_redis, 1)
    await process.backend.enter(group, "1", "tab", ADA)
    die(process)

    async def is_empty():
        pattern = f"*{{{group}}}*"
        return not await asyncio.to_thread(shared_redis.ask, "KEYS", pattern)

    assert not await is_empty()
    await eventually(is_empty)


def quicker(monkeypatch):
    """Let processes be given up after a second."""
    from django_asgi_ext.groups.redis import attendance

    monkeypatch.setattr(attendance, "BEAT_INTERVAL", 0.2)
    monkeypatch.setattr(attendance, "LIFE", 1.0)


def die(process):
    """Let a backend do nothing more."""
    thread = process.backend._thread
    process.backend._attendance._untold.clear()
    process.backend._attendance._entries.clear()
    thread.stop()
