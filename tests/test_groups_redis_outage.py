"""Groups of several processes while their Redis is away."""

import asyncio
import socket
import time
from importlib.util import find_spec

import pytest
from browser import require
from redis_processes import ADA, GRACE, KEPT, TIMEOUT, eventually, said
from redis_server import free_port

from django_asgi_ext import GroupsUnavailable, group_gap
from django_asgi_ext.groups.message import encode, write_position

pytest_plugins = ["redis_fixtures"]


@pytest.fixture
def gaps():
    """Return what receivers of group_gap have been told."""
    told = []

    def note(groups, seconds, **kwargs):
        told.append((groups, seconds))

    group_gap.connect(note)
    yield told
    group_gap.disconnect(note)


async def crosses(one, two, group):
    """Wait until a message of one process reaches the other."""

    async def arrives():
        await one.publish(group, "ping")
        return any(message.value == "ping" for _, message in two.delivered)

    await eventually(arrives)


async def test_comes_back(own_redis, processes):
    """Messages cross again by themselves once Redis is back."""
    one, two = processes(own_redis)
    await two.backend.subscribe("chat")
    for _ in range(2):
        await asyncio.to_thread(own_redis.kill)
        await one.publish("chat", "lost")
        await asyncio.to_thread(own_redis.start)
        two.delivered.clear()
        await crosses(one, two, "chat")


async def test_one_line_for_each_change(own_redis, processes, caplog):
    """The log has one line when Redis goes and one when it is back."""
    one, two = processes(own_redis)
    await two.backend.subscribe("chat")
    await asyncio.to_thread(own_redis.kill)
    for _ in range(3):
        await two.publish("chat", "lost")
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        await two.publish("chat", "lost")
        await asyncio.sleep(0.02)
    await asyncio.to_thread(own_redis.start)
    await back(two)
    ours = [r for r in caplog.messages if r.startswith("Redis is ")]
    assert len(ours) == 2
    assert ours[0].startswith(
        "Redis is away, and messages to groups reach this process only: "
    )
    assert ours[1].startswith("Redis is back after ")


async def back(process):
    """Wait until a process has its connection again."""

    async def is_connected():
        return process.backend._link.connected_at is not None

    await eventually(is_connected)


async def test_nothing_accepted_is_lost(own_redis, processes):
    """What was kept while a process was cut off is delivered once, in order."""
    one, two = processes(own_redis)
    for process in (one, two):
        await process.backend.subscribe("kept.a")
    accepted = []

    async def publish(process, name):
        for number in range(60):
            try:
                await process.publish("kept.a", f"{name}{number}", KEPT)
            except GroupsUnavailable:
                await asyncio.sleep(0.05)
            else:
                accepted.append(f"{name}{number}")

    async def break_off():
        await one.until(20)
        await asyncio.to_thread(own_redis.kill)
        await asyncio.to_thread(own_redis.start)

    await asyncio.gather(publish(one, "a"), publish(two, "b"), break_off())
    await one.publish_when_back("kept.a", "end", KEPT)
    for process in (one, two):
        async with asyncio.timeout(TIMEOUT):
            while (heard := await process.until(1))[-1] != "end":
                await process.until(len(heard) + 1)
        # What was kept but not confirmed is there once as well.
        assert len(set(heard)) == len(heard)
        assert set(accepted) <= set(heard)
    assert await one.until(1) == await two.until(1)


async def test_first_message_of_a_group(own_redis, processes):
    """The first message of a group arrives though it came while Redis was away."""
    one, two = processes(own_redis)
    await two.backend.subscribe("kept.new")
    await asyncio.to_thread(own_redis.kill)
    await asyncio.to_thread(own_redis.start)
    await one.publish_when_back("kept.new", "first", KEPT)
    assert await two.until(1) == ["first"]


async def test_too_much_is_missing(own_redis, processes, gaps):
    """Members are told if the history does not go back to their last message."""
    one, two = processes(own_redis)
    await two.backend.subscribe("kept.a")
    await one.publish("kept.a", "first", KEPT)
    await two.until(1)
    await asyncio.to_thread(own_redis.kill)
    # All is lost, as where nothing is written to a disk.
    await asyncio.to_thread(own_redis.forget)
    await asyncio.to_thread(own_redis.start)
    await two.until(2)
    message = two.delivered[1][1]
    position = write_position(message.position)
    assert message.value == {"@id": f"kept.a@{position}", "@missed": True}
    await one.publish_when_back("kept.a", "later", KEPT)
    assert (await two.until(3))[2] == "later"
    await eventually_told(gaps)
    assert gaps[0][0] == ["kept.a"]


async def eventually_told(gaps):
    async def is_told():
        return gaps

    await eventually(is_told)


async def test_gap(own_redis, processes, gaps):
    """A signal tells which groups may have missed messages, and for how long."""
    process = processes(own_redis, 1)
    start = time.monotonic()
    for group in ("chat.a", "chat.b", "kept.a"):
        await process.backend.subscribe(group)
    await asyncio.to_thread(own_redis.kill)
    await asyncio.to_thread(own_redis.start)
    await eventually_told(gaps)
    [(groups, seconds)] = gaps
    assert groups == ["chat.a", "chat.b"]
    assert 0 < seconds < time.monotonic() - start


@pytest.mark.parametrize("is_async", [True, False])
async def test_publish_while_away(own_redis, processes, is_async):
    """A message that cannot be kept raises, any other is let go."""
    process = processes(own_redis, 1)
    await asyncio.to_thread(own_redis.kill)

    async def publish(group, history):
        if is_async:
            await process.publish(group, "message", history)
        else:
            process.backend.publish(group, encode("message"), history)

    await publish("chat", None)
    with pytest.raises(GroupsUnavailable, match="Redis is away: "):
        await publish("kept.a", KEPT)


@pytest.mark.parametrize("is_async", [True, False])
async def test_cluster_is_away(processes, caplog, is_async):
    """A cluster none of whose nodes answers is away, as any other Redis."""
    require(find_spec("redis"), "redis: pip install redis")
    url = f"redis://127.0.0.1:{free_port()}"
    process = processes(url, 1, cluster=True)
    with pytest.raises(GroupsUnavailable, match="Redis is away: "):
        if is_async:
            await process.publish("kept.a", "message", KEPT)
        else:
            process.backend.publish("kept.a", encode("message"), KEPT)
    await process.backend.subscribe("chat")
    assert {record.levelname for record in caplog.records} == {"ERROR"}
    assert [r.exc_info for r in caplog.records] == [None]


@pytest.mark.parametrize("is_async", [True, False])
async def test_redis_hangs(own_redis, processes, is_async):
    """A Redis that does not answer holds a publisher up for seconds at most, once."""
    process = processes(own_redis, 1)
    await process.publish("kept.a", "before", KEPT)
    process.backend.publish("kept.a", encode("before"), KEPT)
    own_redis.freeze()
    start = time.monotonic()
    for _ in range(5):
        with pytest.raises(GroupsUnavailable):
            if is_async:
                await process.publish("kept.a", "message", KEPT)
            else:
                process.backend.publish("kept.a", encode("message"), KEPT)
    assert time.monotonic() - start < 8
    own_redis.thaw()
    await process.publish_when_back("kept.a", "after", KEPT)


async def test_cluster_hangs(processes, monkeypatch):
    """Threads wait for a cluster that does not answer together, and a loop never."""
    require(find_spec("redis"), "redis: pip install redis")
    from django_asgi_ext.groups.redis import clients

    monkeypatch.setattr(clients, "TIMEOUT", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"redis://127.0.0.1:{listener.getsockname()[1]}"
        process = processes(url, 1, cluster=True)
        start = time.monotonic()
        calls = [
            asyncio.to_thread(
                process.backend.publish, "kept.a", encode("message"), KEPT
            )
            for _ in range(6)
        ]
        errors = await asyncio.gather(
            *calls, process.publish("kept.a", "message", KEPT), return_exceptions=True
        )
        assert {type(error) for error in errors} == {GroupsUnavailable}
        assert time.monotonic() - start < 4.5


async def test_silent_connection(own_redis, processes, monkeypatch, gaps):
    """A Redis that is frozen is noticed though its connections stay open."""
    from django_asgi_ext.groups.redis import subscriber

    monkeypatch.setattr(subscriber, "SILENCE", 0.3)
    one, two = processes(own_redis)
    await two.backend.subscribe("chat")
    own_redis.freeze()

    async def is_noticed():
        return two.backend._link.connected_at is None

    await eventually(is_noticed)
    own_redis.thaw()
    await crosses(one, two, "chat")
    await eventually_told(gaps)
    assert gaps[0][0] == ["chat"]


async def test_join_while_away(own_redis, processes):
    """Who joins while Redis is away gets messages once it is back."""
    one, two = processes(own_redis)
    await asyncio.to_thread(own_redis.kill)
    start = time.monotonic()
    await two.backend.subscribe("chat")
    await two.backend.enter("chat", "1", "tab", ADA)
    assert await two.backend.amembers("chat") == [ADA]
    assert time.monotonic() - start < TIMEOUT / 2
    await asyncio.to_thread(own_redis.start)
    await crosses(one, two, "chat")

    async def is_known():
        return await one.backend.amembers("chat") == [ADA]

    await eventually(is_known)


async def test_where_a_member_begins_while_away(own_redis, processes):
    """Where a group is is known while Redis is away if it was before, else not."""
    one, two = processes(own_redis)
    position = await one.backend.subscribe("kept.a")
    await asyncio.to_thread(own_redis.kill)
    assert await two.backend.subscribe("kept.a") is None
    assert await two.backend.subscribe("kept.a") is None
    assert await one.backend.subscribe("kept.a") == position is not None


async def test_what_is_missed_cannot_be_read(own_redis, processes):
    """Who wants to go on while Redis is away is told so, and may come again."""
    process = processes(own_redis, 1)
    await asyncio.to_thread(own_redis.kill)
    with pytest.raises(GroupsUnavailable):
        await process.backend.since("kept.a", (1, 0), KEPT)
    with pytest.raises(GroupsUnavailable):
        await asyncio.to_thread(process.backend.members, "chat")


@pytest.mark.parametrize("forgets", [False, True])
async def test_presence_after_an_outage(own_redis, processes, monkeypatch, forgets):
    """
    Who stayed does not join again, who left leaves, and the members learn who is there.

    So it is even if Redis has forgotten all.
    """
    from django_asgi_ext.groups.redis import attendance

    monkeypatch.setattr(attendance, "SETTLING", 2.5)
    one, two = processes(own_redis)
    for process in (one, two):
        await process.backend.subscribe("chat")
    await one.backend.enter("chat", "1", "tab1", ADA)
    await two.backend.enter("chat", "2", "tab2", GRACE)
    await two.backend.enter("chat", "3", "tab3", {"id": 3})
    await one.until(3)
    await asyncio.to_thread(own_redis.kill)
    two.backend.exit("chat", "3", "tab3")
    if forgets:
        await asyncio.to_thread(own_redis.forget)
    await asyncio.to_thread(own_redis.start)

    def lists():
        values = [message.value for _, message in one.delivered[3:]]
        return [value for value in values if value["@presence"] == "members"]

    async def is_listed():
        return lists()

    await eventually(is_listed)
    [value] = lists()
    assert sorted(value["members"], key=str) == [ADA, GRACE]
    heard = [m.value for _, m in one.delivered[3:] if m.value not in lists()]
    assert said(heard) in ([], [("leave", {"id": 3})])
    assert sorted(await one.backend.amembers("chat"), key=str) == [ADA, GRACE]


async def test_given_up_by_mistake(shared_redis, processes, group, monkeypatch):
    """A process that stood still joins again with all of its members."""
    from django_asgi_ext.groups.redis import attendance

    monkeypatch.setattr(attendance, "BEAT_INTERVAL", 0.2)
    monkeypatch.setattr(attendance, "LIFE", 1.0)
    one, two = processes(shared_redis)
    await one.backend.subscribe(group)
    await one.backend.enter(group, "1", "tab1", ADA)
    await two.backend.subscribe(group)
    await two.backend.enter(group, "2", "tab2", GRACE)
    two.backend._thread.post(time.sleep, 3)
    heard = said(await one.until(4))
    assert heard == [
        ("join", ADA),
        ("join", GRACE),
        ("leave", GRACE),
        ("join", GRACE),
    ]


@pytest.mark.parametrize("steps", (1, 2, 3))
async def test_close_is_cut_off(own_redis, processes, steps):
    """Connections are closed also if the task that closes them is cancelled."""
    from django_asgi_ext.groups.redis.clients import close_client

    client = processes(own_redis, 1).backend._clients.new_client()
    await asyncio.gather(*(client.ping() for _ in range(3)))
    closing = asyncio.create_task(close_client(client))
    for _ in range(steps):
        await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)

    async def only_who_asks_is_there():
        return len(own_redis.ask("CLIENT", "LIST").splitlines()) == 1

    await eventually(only_who_asks_is_there)
