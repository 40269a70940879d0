"""Look at what is left after rounds of connects, calls of the ORM and closes."""

import asyncio
from dataclasses import astuple, dataclass

from competitors.project import USERNAME
from competitors.work import LOOK_UP, SLEEP
from crowd import each
from stage import AT_ONCE, OURS, SETTLED

# By how much the memory may differ, in bytes: what the allocator does is its own.
TOLERANCE = 2 * 1024 * 1024

# After how many rounds the allocator has all that the largest crowd needs at once.
WARM_UP = 3


@dataclass
class Left:
    connections: int
    threads: int
    handles: int
    memory: int


def add_arguments(parser):
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sockets", type=int, default=1000, help="in a round")


def run(stage, options):
    for age in (0, 60):
        print(
            f"\n{OURS.name} on {stage.server} with CONN_MAX_AGE = {age}, "
            f"after each round of {options.sockets} sockets\n"
        )
        print("connections  threads  open files  memory MB")
        rounds = asyncio.run(measure(stage, options, age))
        print(f"{'before:':>11}")
        for index, left in enumerate(rounds):
            if index == WARM_UP:
                print(f"{'counted:':>11}")
            print(
                f"{left.connections:11}  {left.threads:7}  {left.handles:10}  "
                f"{left.memory / 1024**2:9.1f}"
            )
        print()
        rounds = rounds[WARM_UP:]
        stage.bar(
            "as many connections, threads and open files after each round",
            len({astuple(left)[:3] for left in rounds}) == 1,
        )
        more = rounds[-1].memory - rounds[0].memory
        stage.bar(
            f"at most {TOLERANCE / 1024**2:.0f} MB more after the last round than "
            f"after the first (it is {more / 1024**2:.1f})",
            more <= TOLERANCE,
        )


async def measure(stage, options, conn_max_age):
    """Return what is left after each round."""

    async def begin(number):
        peer = await stage.connect(server, number)
        await peer.time(LOOK_UP, USERNAME)
        return peer

    async def sleep(number):
        peer = await stage.connect(server, number)
        await peer.time(SLEEP, SLEEP)
        await peer.leave()

    found = []
    with stage.run(OURS, conn_max_age) as server:
        # All threads start, each with a connection.
        await each(sleep, range(stage.threads), AT_ONCE)
        for _ in range(WARM_UP + options.rounds):
            peers = await each(begin, range(options.sockets), AT_ONCE)
            await each(lambda peer: peer.leave(), peers, AT_ONCE)
            await asyncio.sleep(SETTLED)
            found.append(
                Left(
                    stage.connections(),
                    server.threads(),
                    server.handles(),
                    server.memory(),
                )
            )
    return found
