"""
Time messages from another process to the members of a group, over a real Redis.

The members are on a real server on one processor; Redis, what publishes and the
peers share the other one. Linux only.

What is written by hand runs twice: so much the same program differs from itself.
"""

import argparse
import asyncio
import multiprocessing
import os
import select
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.util import find_spec
from statistics import median
from typing import NamedTuple

import raw_client
import redis_server
from observed_server import observed
from real_server import COMMANDS, pinned
from side_by_side import Competitor, print_versions

BARE = Competitor("redis-py by hand", "bare_redis", "/group/", "redis")
AGAIN = Competitor("the same again", "bare_redis", "/group/", "redis")
OURS = Competitor("django_asgi_ext", "django_asgi_ext", "/group/", "django_asgi_ext")
CHANNELS = Competitor("Channels", "channels", "/group/", "channels_redis")

# How many bytes a message has: the time at which it was published.
SIZE = 32
_FRAME = SIZE + 2

# For how long nothing may come, in seconds.
TIMEOUT = 60

# How much of what is written by hand is to be reached, and how many times Channels.
PART, TIMES = 0.9, 12


class Round(NamedTuple):
    """
    What one round was like: the deliveries in a second, and of each in seconds the
    processor time, the median delay and its 99th percentile.
    """

    rate: float
    work: float
    middle: float
    high: float


class Runner:
    """A competitor behind a server, its members, and a process that publishes."""

    def __init__(self, competitor, server, stack, log, members):
        self.name = competitor.name
        # Whoever is started from here on finds it.
        os.environ["BENCHMARK_REDIS"] = stack.enter_context(redis_server.running())
        with pinned(1):
            self._server = stack.enter_context(observed(server, competitor, log))
        self._publisher = stack.enter_context(publisher(competitor))
        self._members = [
            raw_client.connect(self._server.port, competitor.path)
            for _ in range(members)
        ]
        stack.callback(self._leave)
        self._poll = select.epoll()
        self._by_number = {}
        for member in self._members:
            member.setblocking(False)
            self._by_number[member.fileno()] = member
            self._poll.register(member, select.EPOLLIN)
        self._wait_until_all_have_joined()

    def measure(self, messages, pause):
        """Publish; return what that was like."""
        working = self._server.processor_time()
        self._publisher.send((messages, pause))
        start, expected = time.perf_counter(), messages * len(self._members)
        delays = self._hear(expected)
        seconds = time.perf_counter() - start
        assert self._publisher.recv() == messages
        working = self._server.processor_time() - working
        delays.sort()
        middle, high = (delays[len(delays) * part // 100] for part in (50, 99))
        return Round(expected / seconds, working / expected, middle, high)

    def _hear(self, expected):
        """Return how long each message took, in seconds."""
        delays, rest = [], {}
        while len(delays) < expected:
            ready = self._poll.poll(TIMEOUT)
            if not ready:
                raise SystemExit(
                    f"{self.name}: {len(delays):,} of {expected:,} messages arrived."
                )
            for number, _ in ready:
                data = rest.pop(number, b"") + self._by_number[number].recv(65536)
                assert data, "closed"
                now = time.perf_counter()
                for at in range(0, len(data) - _FRAME + 1, _FRAME):
                    delays.append(now - float(data[at + 2 : at + _FRAME]))
                if len(data) % _FRAME:
                    rest[number] = data[-(len(data) % _FRAME) :]
        return delays

    def _wait_until_all_have_joined(self):
        missing = set(self._by_number)
        deadline = time.monotonic() + TIMEOUT
        while missing and time.monotonic() < deadline:
            self._publisher.send((1, 0))
            self._publisher.recv()
            for number, _ in self._poll.poll(0.5):
                missing.discard(number)
                self._by_number[number].recv(65536)
        # What is left of it.
        while ready := self._poll.poll(1):
            for number, _ in ready:
                self._by_number[number].recv(65536)

    def _leave(self):
        raw_client.leave(self._members)


@contextmanager
def publisher(competitor):
    """Start a process that publishes as a competitor does; give a pipe to it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    arguments = (theirs, competitor.module)
    process = context.Process(target=_publish_on_demand, args=arguments, daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        process.join(TIMEOUT)


def _publish_on_demand(pipe, module):
    publish = import_module(f"competitors.{module}").publish

    async def publish_all(messages, pause):
        due = time.perf_counter()
        for _ in range(messages):
            await publish(f"{time.perf_counter():.9f}".ljust(SIZE))
            due += pause
            await asyncio.sleep(max(0, due - time.perf_counter()))

    with asyncio.Runner() as runner:
        while True:
            try:
                messages, pause = pipe.recv()
            except EOFError:
                return
            runner.run(publish_all(messages, pause))
            pipe.send(messages)


class Found:
    """What the rounds of each competitor have measured."""

    def __init__(self):
        self._by_name = {}

    def add(self, runners, rounds, *arguments):
        """Measure some rounds, in turn."""
        for number in range(rounds + 1):
            for runner in runners:
                result = runner.measure(*arguments)
                # The first is not counted.
                if number:
                    self._by_name.setdefault(runner.name, []).append(result)

    def __iter__(self):
        return iter(self._by_name)

    def median(self, name, of):
        """Return the median of one figure of the rounds."""
        return median(getattr(one, of) for one in self._by_name[name])

    def ratio(self, name, other, of):
        """Return the median of the rounds' ratios."""
        pairs = zip(self._by_name[name], self._by_name[other], strict=True)
        return median(getattr(one, of) / getattr(two, of) for one, two in pairs)


def report(server, options, burst, calm):
    """Print what was found; return what is missed."""
    print(f"\n{server}, {options.members} members: deliveries\n")
    print(f"{'':20}{'in a second':>12}{'us of processor':>18}{'by hand = 1':>14}")
    for name in burst:
        columns = burst.median(name, "rate"), burst.median(name, "work") * 1e6
        ratio = burst.ratio(name, BARE.name, "rate")
        print(f"{name:20}{columns[0]:>12,.0f}{columns[1]:>18.1f}{ratio:>14.2f}")
    when = {"in a burst": burst, f"at {options.rate} messages a second": calm}
    for text, found in when.items():
        _print_delays(text, found)
    times = burst.ratio(OURS.name, BARE.name, "rate")
    bars = {f"{PART:.0%} of redis-py by hand": times >= PART}
    for text, found in when.items():
        ratio = found.ratio(OURS.name, BARE.name, "high")
        bars[f"p99 no worse than by hand {text}"] = ratio <= 1
    if CHANNELS.name in burst:
        times = burst.ratio(OURS.name, CHANNELS.name, "rate")
        bars[f"{TIMES} times Channels, here {times:.1f}"] = times >= TIMES
    print()
    for text, is_held in bars.items():
        print(f"The bar: {text}. {'Held.' if is_held else 'MISSED.'}")
    return [f"{server}: {text}" for text, is_held in bars.items() if not is_held]


def _print_delays(text, found):
    print(f"\nDelay {text}, in ms\n")
    print(f"{'':20}{'median':>12}{'99th percentile':>18}{'by hand = 1':>14}")
    for name in found:
        columns = found.median(name, "middle") * 1e3, found.median(name, "high") * 1e3
        ratio = found.ratio(name, BARE.name, "high")
        print(f"{name:20}{columns[0]:>12,.2f}{columns[1]:>18,.2f}{ratio:>14.2f}")


def measure(server, options):
    """Return what is found in bursts, and at a steady rate."""
    burst, calm = Found(), Found()
    competitors = [c for c in (BARE, OURS, AGAIN, CHANNELS) if c.is_installed()]
    # One start may be luckier than the next.
    for _ in range(options.starts):
        with tempfile.TemporaryFile() as log, ExitStack() as stack, pinned(0):
            runners = [
                Runner(competitor, server, stack, log, options.members)
                for competitor in competitors
            ]
            burst.add(runners, options.rounds, options.messages, 0)
            steady = options.rate * options.seconds, 1 / options.rate
            calm.add(runners[:3], options.rounds, *steady)
    return burst, calm


def main():
    options = _options()
    print_versions([BARE, OURS, CHANNELS])
    missed = []
    for server in filter(find_spec, options.servers):
        missed += report(server, options, *measure(server, options))
    if missed:
        sys.exit("\n".join(["", "Missed:", *missed]))


def _options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", nargs="+", choices=COMMANDS, default=COMMANDS)
    parser.add_argument("--members", type=int, default=500)
    parser.add_argument("--messages", type=int, default=100, help="in a round")
    parser.add_argument("--rate", type=int, default=40, help="messages a second")
    parser.add_argument("--seconds", type=int, default=5, help="at that rate")
    parser.add_argument("--rounds", type=int, default=4, help="of each start")
    parser.add_argument("--starts", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
