"""Let sockets come, call the ORM, talk and leave, for minutes."""

import asyncio
import random
import time
from statistics import linear_regression, median

from competitors.project import USERNAME
from competitors.work import LOOK_UP
from stage import OURS

MESSAGE = "0123456789abcdef" * 2

# How often a peer talks, and how long it waits before, at most, in seconds.
TALKS, PAUSE = 5, 4

# Every tenth peer breaks off, without a closing handshake.
BREAKS_OFF = 0.1

# Which part of the time is not counted: the crowd forms, and caches fill.
WARM_UP = 0.2

# By how much the memory may grow for each visit, in bytes.
GROWTH = 100


def add_arguments(parser):
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--sockets", type=int, default=500, help="at the same time")


def run(stage, options):
    print(
        f"\n{OURS.name} on {stage.server}: {options.sockets} sockets at a time come, "
        f"call the ORM, talk and leave for {options.minutes:g} minutes\n"
    )
    before = len(stage.logged())
    with stage.run(OURS) as server:
        soak = Soak(stage, server, options.minutes * 60)
        asyncio.run(soak.run(options.sockets))
    logged = stage.logged()[before:].splitlines()
    start, end, slope = soak.growth()
    print(f"{soak.visits} visits, {soak.answers} answers, {len(soak.errors)} errors")
    print(
        f"memory {start / 1024**2:.1f} MB at the start and {end / 1024**2:.1f} MB "
        f"at the end, {slope:.0f} bytes more with each visit"
    )
    for text in [*soak.errors[:5], *logged[-20:]]:
        print(text)
    print()
    stage.bar("no error, and nothing in the log", not soak.errors and not logged)
    stage.bar(f"at most {GROWTH} bytes more with each visit", slope <= GROWTH)


class Soak:
    """One run; ``samples`` are visits so far and memory, one each second."""

    def __init__(self, stage, server, seconds):
        self._stage = stage
        self._server = server
        self._end = time.monotonic() + seconds
        self.visits = self.answers = 0
        self.errors = []
        self.samples = []

    async def run(self, sockets):
        async with asyncio.TaskGroup() as tasks:
            for _ in range(sockets):
                tasks.create_task(self._come_and_go())
            while not self._is_over():
                self.samples.append((self.visits, self._server.memory()))
                await asyncio.sleep(1)

    def growth(self):
        """Return the memory at the start, that at the end, and bytes per visit."""
        counted = self.samples[int(len(self.samples) * WARM_UP) :]
        visits, memory = zip(*counted, strict=True)
        tenth = max(1, len(counted) // 10)
        slope = linear_regression(visits, memory).slope
        return median(memory[:tenth]), median(memory[-tenth:]), slope

    async def _come_and_go(self):
        # Not all at once.
        await self._wait()
        while not self._is_over():
            try:
                await self._visit()
            except (AssertionError, EOFError, OSError) as error:
                self.errors.append(repr(error))
                await self._wait()

    async def _visit(self):
        peer = await self._stage.connect(self._server)
        await peer.time(LOOK_UP, USERNAME)
        for _ in range(TALKS):
            await self._wait()
            await peer.time(MESSAGE, MESSAGE)
        await peer.time(LOOK_UP, USERNAME)
        if random.random() < BREAKS_OFF:
            await peer.break_off()
        else:
            await peer.leave()
        self.visits += 1
        self.answers += TALKS + 2

    async def _wait(self):
        await asyncio.sleep(random.uniform(0, PAUSE))

    def _is_over(self):
        return time.monotonic() >= self._end
