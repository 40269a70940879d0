"""Groups of several processes, over a real Redis."""

import asyncio
import gc
import os
import resource
import subprocess
import sys

import pytest
from redis_processes import eventually

from django_asgi_ext.groups.message import encode

pytest_plugins = ["redis_fixtures"]


@pytest.mark.parametrize("value", ["hello", "Grüße", "", b"\x00\xff\n", {"a": [1]}])
async def test_publish(shared_redis, processes, value):
    """A message reaches the other processes as what it was."""
    one, two = processes(shared_redis)
    await two.backend.subscribe("chat")
    await one.publish("chat", value)
    assert await two.until(1) == [value]


async def test_unsubscribed_when_closed(shared_redis, processes, group):
    """Who leaves a backend that is closed does not begin its thread anew."""
    process = processes(shared_redis, 1)
    await process.backend.subscribe(group)
    await asyncio.to_thread(process.backend.close)
    process.backend.unsubscribe(group)
    assert not process.backend._thread.is_running


async def test_own_messages_are_skipped(shared_redis, processes, group):
    """A process does not get its own messages, which its members have already."""
    one, two = processes(shared_redis)
    await one.backend.subscribe(group)
    await one.publish(group, "own")
    await two.publish(group, "other")
    assert await one.until(1) == ["other"]


async def test_key_and_exclude(shared_redis, processes, group):
    """The key of a message and who does not get it are known in all processes."""
    one, two = processes(shared_redis)
    await two.backend.subscribe(group)
    await one.backend.apublish(group, encode("a", "AAPL", "somebody"), None)
    await two.until(1)
    message = two.delivered[0][1]
    assert (message.key, message.exclude) == ("AAPL", "somebody")


async def test_publish_on_any_thread(shared_redis, processes, group):
    """publish() needs no event loop, and keeps the order of its messages."""
    one, two = processes(shared_redis)
    await two.backend.subscribe(group)

    def publish():
        for number in range(2000):
            one.backend.publish(group, encode(number), None)

    await asyncio.to_thread(publish)
    assert await two.until(2000) == list(range(2000))


async def test_several_event_loops(shared_redis, processes, group):
    """Each event loop of a process publishes with connections of its own."""
    one, two = processes(shared_redis)
    await two.backend.subscribe(group)
    for number in range(3):
        await asyncio.to_thread(asyncio.run, one.publish(group, number))
    assert await two.until(3) == [0, 1, 2]


async def test_event_loop_ends_meanwhile(shared_redis, processes, group):
    """A loop that ends on another thread does not disturb a new one that publishes."""
    one, two = processes(shared_redis)
    await two.backend.subscribe(group)
    clients = one.backend._clients._by_loop

    class Ended:
        def is_closed(self):
            clients.pop(self)
            return True

    clients.update({Ended(): None, Ended(): None})
    await one.publish(group, "message")
    assert await two.until(1) == ["message"]
    assert list(clients) == [asyncio.get_running_loop()]


async def test_subscribes_to_its_groups_only(shared_redis, processes, group):
    """A process subscribes to the groups that it has members of."""
    process = processes(shared_redis, 1)

    async def channels():
        command = "PUBSUB", "CHANNELS", f"*{{{group}*"
        return await asyncio.to_thread(shared_redis.ask, *command)

    assert await channels() == []
    await process.backend.subscribe(f"{group}.a")
    await process.backend.subscribe(f"{group}.b")
    assert len(await channels()) == 2
    process.backend.unsubscribe(f"{group}.a")

    async def one_is_left():
        return await channels() == [f"asgi_ext:0:{{{group}.b}}".encode()]

    await eventually(one_is_left)


async def test_subscribe_again_at_once(shared_redis, processes, group):
    """Who joins just when the last member leaves gets what is published then."""
    one, two = processes(shared_redis)
    for number in range(1, 51):
        await two.backend.subscribe(group)
        two.backend.unsubscribe(group)
        await two.backend.subscribe(group)
        await one.publish(group, number)
        assert (await two.until(number))[-1] == number
        two.backend.unsubscribe(group)


async def test_leave_again_at_once(shared_redis, processes, group):
    """Who leaves, joins and leaves at once does not break the connection."""
    one, two = processes(shared_redis)
    await two.backend.subscribe(f"{group}.stays")
    since = two.backend._link.connected_at
    for _ in range(20):
        joining = asyncio.ensure_future(two.backend.subscribe(group))
        await asyncio.sleep(0)
        two.backend.unsubscribe(group)
        await joining
    await two.backend.subscribe(group)
    await one.publish(group, "message")
    assert await two.until(1) == ["message"]
    assert two.backend._link.connected_at == since


async def test_many_groups(shared_redis, processes, group):
    """A process has members of more groups than go into one command."""
    one, two = processes(shared_redis)
    names = [f"{group}.{number}" for number in range(1200)]
    await asyncio.gather(*(two.backend.subscribe(name) for name in names))
    await one.publish(names[0], "first")
    await one.publish(names[-1], "last")
    assert await two.until(2) == ["first", "last"]


async def test_garbage_in_a_channel(shared_redis, processes, group, caplog):
    """What is no message is logged, and others come all the same."""
    one, two = processes(shared_redis)
    await two.backend.subscribe(group)
    channel = f"asgi_ext:0:{{{group}}}"
    for garbage in (b"", b"\xff", b"a b c", b"1-0 []\n"):
        await asyncio.to_thread(shared_redis.ask, "PUBLISH", channel, garbage)
    await one.publish(group, "message")
    assert await two.until(1) == ["message"]
    assert f"Something in the channel {channel} is no message." in caplog.messages


# Python says so of the event loop that it has not finished making.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_no_file_descriptor_is_left(shared_redis, processes, group):
    """Who cannot join for want of a file descriptor is told so, and may try again."""
    one, two = processes(shared_redis)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
        with pytest.raises(RuntimeError, match="The thread of groups cannot begin"):
            await two.backend.subscribe(group)
        two.backend.exit(group, "1", "tab")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    await two.backend.subscribe(group)
    await one.publish(group, "message")
    assert await two.until(1) == ["message"]
    # It is said here, and not in the next test.
    gc.collect()


async def test_prefix(shared_redis, processes, group):
    """Sites with different prefixes share a Redis without hearing each other."""
    ours = processes(shared_redis, 1, prefix="ours")
    theirs, also_theirs = processes(shared_redis, 2, prefix="theirs")
    await theirs.backend.subscribe(group)
    await ours.publish(group, "ours")
    await also_theirs.publish(group, "theirs")
    assert await theirs.until(1) == ["theirs"]


FORKS = """
import asyncio, os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from django.conf import settings
groups = {"BACKEND": sys.argv[1], "LOCATION": sys.argv[2]}
settings.configure(ASGI_EXT={"GROUPS": groups})
import django
django.setup()
from django_asgi_ext import groups
from django_asgi_ext.groups.backends import backend

group = sys.argv[3]
groups.publish(group, "before")
asyncio.run(backend().subscribe(group))
child = os.fork()
if not child:
    groups.publish(group, "child")
    asyncio.run(asyncio.wait_for(backend().subscribe(f"{group}.child"), 20))
    asyncio.run(groups.apublish(group, "child on a loop"))
    sys.exit()
_, status = os.waitpid(child, 0)
groups.publish(group, "after")
sys.exit(status)
"""


async def test_fork(shared_redis, processes, group):
    """A process that was forked has connections of its own, and leaves the others."""
    process = processes(shared_redis, 1)
    await process.backend.subscribe(group)
    backend = f"{type(process.backend).__module__}.RedisBackend"
    script = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", FORKS, backend, shared_redis.url, group),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
    )
    _, errors = await script.communicate()
    assert (script.returncode, errors) == (0, b"")
    assert await process.until(4) == ["before", "child", "child on a loop", "after"]
