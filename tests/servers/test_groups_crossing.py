"""Groups of several processes, while these and their Redis are killed."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
from client import connect
from serving import ENVIRONMENT, Server
from websockets.exceptions import ConnectionClosed

pytest_plugins = ["redis_fixtures"]

# On a machine with other things to do.
pytestmark = [pytest.mark.alone, pytest.mark.timeout(180)]

HERE = Path(__file__).parent

# How many sockets there are in each process, and how many of them talk.
SOCKETS, TALKERS = 100, 3

# What is published until all have joined.
BEGIN = "begin"

# How long anything may take, in seconds, on a machine with other things to do.
TIMEOUT = 40

# For how long Redis is away, in seconds.
OUTAGE = 1.5


@pytest.fixture
def environment(own_redis):
    """Return the environment of processes that share a Redis."""
    return {**ENVIRONMENT, "CROSSING_REDIS": own_redis.url}


@pytest.fixture
def servers(environment, tmp_path):
    """Run hypercorn twice."""
    started = []
    try:
        for name in ("one", "two"):
            folder = tmp_path / name
            folder.mkdir()
            started.append(
                Server("hypercorn", "crossing:application", folder, environment)
            )
        yield started
    finally:
        for server in started:
            server.stop()


class Member:
    """A client that keeps what it hears, and comes back when it is cut off."""

    def __init__(self, server, group, comes_back_to=None):
        self.heard = []
        self.accepted = []
        self.times_closed = 0
        self._group = group
        self._server = server
        self._comes_back_to = comes_back_to
        self._last_id = None
        self._answers = asyncio.Queue()
        self.connected = asyncio.Event()
        # Set when it hears what is published, a moment later.
        self.joined = asyncio.Event()

    async def stay(self):
        """Be connected until this is cancelled."""
        while True:
            url = self._server.url(f"/ws/{self._group}/")
            if self._last_id is not None:
                url += f"?last_id={self._last_id}"
            async with connect(url) as self._websocket:
                self.connected.set()
                with suppress(ConnectionClosed):
                    async for message in self._websocket:
                        self._take(message)
            self.times_closed += 1
            self._answers.put_nowait("closed")
            if self._comes_back_to is None:
                return
            self._server = self._comes_back_to

    def _take(self, message):
        if message.startswith(("accepted ", "refused ")):
            self._answers.put_nowait(message)
        elif message.startswith("{"):
            value = json.loads(message)
            self._last_id = value["@id"]
            if "data" in value:
                self._hear(value["data"])
        else:
            self._hear(message)

    def _hear(self, message):
        if message == BEGIN:
            self.joined.set()
        else:
            self.heard.append(message)

    async def say(self, message):
        """Publish a message; return whether it was accepted."""
        async with asyncio.timeout(TIMEOUT):
            await self._websocket.send(message)
            answer = await self._answers.get()
        if answer == f"accepted {message}":
            self.accepted.append(message)
        return answer == f"accepted {message}"

    async def hear(self, message):
        """Wait until a message has come."""
        async with asyncio.timeout(TIMEOUT):
            while message not in self.heard:
                await asyncio.sleep(0.02)


@pytest.fixture
async def join():
    """Return a function that lets members join; they leave at the end."""
    async with AsyncExitStack() as stack:
        tasks = []

        async def leave():
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        stack.push_async_callback(leave)

        async def make(server, group, number, **options):
            members = [Member(server, group, **options) for _ in range(number)]
            tasks.extend(asyncio.create_task(member.stay()) for member in members)
            async with asyncio.timeout(TIMEOUT):
                for member in members:
                    await member.connected.wait()
                while not all(member.joined.is_set() for member in members):
                    assert await members[0].say(BEGIN)
                    await asyncio.sleep(0.02)
            members[0].accepted.clear()
            return members

        yield make


async def talk(member, name, is_over):
    """Publish numbered messages one after the other."""
    number = 0
    while not is_over.is_set():
        if not await member.say(f"{name}-{number}"):
            await asyncio.sleep(0.05)
        number += 1
        await asyncio.sleep(0.005)


async def cross(here, there, name):
    """Publish in one process until it is heard in the other."""
    async with asyncio.timeout(TIMEOUT):
        while name not in there.heard:
            assert await here.say(name)
            await asyncio.sleep(0.02)


async def test_redis_is_killed(own_redis, servers, join):
    """No socket closes, and all that was accepted arrives exactly once, in order."""
    group = "kept.lobby"
    here, there = [await join(server, group, SOCKETS) for server in servers]
    members = [*here, *there]
    is_over = asyncio.Event()
    talkers = [*here[:TALKERS], *there[:TALKERS]]
    talking = [
        asyncio.create_task(talk(member, f"talker{number}", is_over))
        for number, member in enumerate(talkers)
    ]
    await here[-1].hear("talker5-20")
    await asyncio.to_thread(own_redis.kill)
    await asyncio.sleep(OUTAGE)
    await asyncio.to_thread(own_redis.start)
    before = [len(member.heard) for member in members]
    async with asyncio.timeout(TIMEOUT):
        for member, number in zip(members, before, strict=True):
            while len(member.heard) == number:
                await asyncio.sleep(0.02)
    is_over.set()
    await asyncio.gather(*talking)
    while not await talkers[0].say("end"):
        await asyncio.sleep(0.05)
    for member in members:
        await member.hear("end")
        assert member.times_closed == 0
    accepted = {message for member in talkers for message in member.accepted}
    heard = members[0].heard
    assert len(heard) == len(set(heard))
    assert accepted <= set(heard)
    # What was stored though Redis could not say so is rare: one for each talker.
    assert len(heard) - len(accepted) <= len(talkers)
    for member in members:
        assert member.heard == heard


async def test_redis_is_back(own_redis, servers, join):
    """Messages cross processes within five seconds after Redis is back."""
    group = "chat.lobby"
    [here], [there] = [await join(server, group, 1) for server in servers]
    await cross(here, there, "before")
    await asyncio.to_thread(own_redis.kill)
    # Members in the same process go on.
    assert await here.say("meanwhile")
    await here.hear("meanwhile")
    await asyncio.sleep(OUTAGE)
    await asyncio.to_thread(own_redis.start)
    start = time.monotonic()
    await cross(here, there, "after")
    assert time.monotonic() - start < 5
    assert here.times_closed == there.times_closed == 0
    assert "meanwhile" not in there.heard


async def test_worker_is_killed(servers, join):
    """The clients of a worker that dies go on at another one and miss nothing."""
    group = "kept.lobby"
    doomed, other = servers
    others = await join(other, group, 10)
    cut_off = await join(doomed, group, SOCKETS, comes_back_to=other)
    is_over = asyncio.Event()
    talking = asyncio.create_task(talk(others[0], "talker", is_over))
    for member in cut_off:
        await member.hear("talker-20")
    for pid in reversed(doomed.family()):
        os.kill(pid, signal.SIGKILL)
    doomed.process.wait(TIMEOUT)
    async with asyncio.timeout(TIMEOUT):
        while not all(member.times_closed for member in cut_off):
            await asyncio.sleep(0.02)
    is_over.set()
    await talking
    assert await others[0].say("end")
    for member in (*others, *cut_off):
        await member.hear("end")
    heard = others[1].heard
    assert heard == [*others[0].accepted]
    begin = {member.heard[0] for member in cut_off}
    assert begin == {"talker-0"}
    for member in cut_off:
        assert member.heard == heard
        assert member.times_closed == 1


async def test_reload_in_another_process(servers):
    """A page that reloads, and is in another process then, leaves nobody's sight."""

    async def come(server, name):
        peer = await stack.enter_async_context(
            connect(server.url(f"/ws/present.lobby/{name}/"))
        )
        members = json.loads(await peer.recv())["members"]
        return peer, [member["id"] for member in members]

    async def hear(peer):
        async with asyncio.timeout(TIMEOUT):
            message = json.loads(await peer.recv())
        return message["@presence"], message["member"]["id"]

    here, there = servers
    async with AsyncExitStack() as stack:
        watching, _ = await come(there, "watching")
        ada, _ = await come(here, "ada")
        assert await hear(watching) == ("join", "ada")
        await ada.close()
        ada, members = await come(there, "ada")
        assert members == ["watching", "ada"]
        start = time.monotonic()
        await ada.close()
        assert await hear(watching) == ("leave", "ada")
        assert time.monotonic() - start >= 4
        _, members = await come(here, "grace")
        assert members == ["watching", "grace"]
        assert await hear(watching) == ("join", "grace")


async def test_script(environment, servers, join):
    """A plain script publishes 20,000 messages, and all arrive in order."""
    members = []
    for server in servers:
        members += await join(server, "chat.lobby", 2)
    script = await asyncio.create_subprocess_exec(
        sys.executable,
        HERE / "crossing.py",
        "chat.lobby",
        "20000",
        env={
            **os.environ,
            **environment,
            "DJANGO_SETTINGS_MODULE": "crossing_settings",
        },
        stderr=subprocess.PIPE,
    )
    _, errors = await script.communicate()
    assert (script.returncode, errors) == (0, b"")
    for member in members:
        await member.hear("19999")
        assert member.heard == [str(number) for number in range(20_000)]
