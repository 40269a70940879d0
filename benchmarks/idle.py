"""Count what sockets hold that have called the ORM once and wait for a message."""

import asyncio
import resource
from dataclasses import dataclass

from competitors.project import USERNAME
from competitors.work import LOOK_UP
from crowd import each
from stage import AT_ONCE, BARE, CHANNELS, DJANGO_SOCKET, OURS, SETTLED

# Each of its sockets has a thread, and each thread a connection.
MOST = {DJANGO_SOCKET: 200}

# How many connections come and go before any is counted: then all threads have run.
WARM_UP = 100

# How many files a process has open besides its sockets.
_FILES = 100

# What ours may add to the bare application, in bytes for each socket.
AIM = 8 * 1024


@dataclass
class Found:
    sockets: int
    threads: int
    connections: int
    # Of the server, in bytes for each socket.
    memory: float


def add_arguments(parser):
    parser.add_argument("--sockets", type=int, default=10_000)


def run(stage, options):
    sockets = min(options.sockets, _allowed())
    if sockets < options.sockets:
        print(f"Only {sockets} sockets: the system allows no more open files.")
    print(f"\nIdle sockets on {stage.server}, {SETTLED} s after the last call\n")
    titles = "sockets  threads  connections  KB/socket  over bare"
    print(f"{'':31}  {titles}")
    found = {}
    for competitor, age in [
        (BARE, 0),
        (OURS, 0),
        (OURS, 60),
        (CHANNELS, 0),
        (DJANGO_SOCKET, 0),
    ]:
        if competitor.is_installed():
            number = min(sockets, MOST.get(competitor, sockets))
            one = asyncio.run(measure(stage, competitor, number, age))
            found[competitor, age] = one
            name = competitor.name + (f", CONN_MAX_AGE={age}" if age else "")
            over = one.memory - found[BARE, 0].memory
            print(
                f"{name:31}  {one.sockets:7}  {one.threads:7}  {one.connections:11}  "
                f"{one.memory / 1024:9.1f}  {over / 1024:9.1f}"
            )
    print()
    _judge(stage, found)


async def measure(stage, competitor, sockets, conn_max_age):
    answer = LOOK_UP if competitor is BARE else USERNAME

    async def begin(number):
        peer = await stage.connect(server, number)
        await peer.time(LOOK_UP, answer)
        return peer

    with stage.run(competitor, conn_max_age) as server:
        # Not counted: imports, caches, threads.
        for peer in await each(begin, range(min(WARM_UP, sockets)), AT_ONCE):
            await peer.leave()
        before = server.memory()
        peers = await each(begin, range(sockets), AT_ONCE)
        await asyncio.sleep(SETTLED)
        found = Found(
            sockets,
            server.threads(),
            stage.connections(),
            (server.memory() - before) / sockets,
        )
        for peer in peers:
            await peer.break_off()
    return found


def _judge(stage, found):
    ours, kept = found[OURS, 0], found[OURS, 60]
    most = stage.threads + 5
    stage.bar(
        f"at most THREADS + 5 = {most} threads",
        max(ours.threads, kept.threads) <= most,
    )
    stage.bar("no database connection with CONN_MAX_AGE = 0", not ours.connections)
    stage.bar(
        f"at most THREADS = {stage.threads} of them with CONN_MAX_AGE = 60",
        kept.connections <= stage.threads,
    )
    if (CHANNELS, 0) in found:
        stage.bar("less memory than Channels", ours.memory < found[CHANNELS, 0].memory)
    over = ours.memory - found[BARE, 0].memory
    stage.bar(f"at most {AIM // 1024} KB over the bare application", over <= AIM)


def _allowed():
    """Return how many sockets this process and a server may have open each."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most - _FILES
