"""
Competitors side by side, in one run, on a machine that others use as well.

Each competitor lives in a process of its own: one process cannot configure
Django twice, and some libraries change Django for everybody in theirs. A round
is one measurement of each, in turn. Who is not measured waits for its pipe and
uses no processor time.
"""

import asyncio
import gc
import multiprocessing
import platform
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from multiprocessing.connection import Connection
from statistics import median
from typing import Any

# Nothing takes this long: whoever does, hangs. In seconds.
ROUND_TIMEOUT = 60

# What is measured: seconds per operation, from an ASGI application, the path
# that the peer asks for, and what a round was called with.
Measure = Callable[..., Awaitable[float]]


@dataclass(frozen=True)
class Competitor:
    name: str
    # In the folder competitors/, with an ASGI application named "application".
    module: str
    path: str
    # What must be installed, None if nothing.
    package: str | None = None

    def is_installed(self) -> bool:
        return self.package is None or find_spec(self.package) is not None


class Child:
    """The process of one competitor."""

    def __init__(self, competitor: Competitor, measure: Measure) -> None:
        self.name = competitor.name
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_measure_on_demand, args=(theirs, competitor, measure), daemon=True
        )
        self._process.start()
        # So that the end of the process is the end of the pipe.
        theirs.close()

    def measure(self, *args: Any) -> float:
        """Return the seconds per operation of one round."""
        try:
            self._pipe.send(args)
            seconds: float = self._pipe.recv()
        except (EOFError, BrokenPipeError):
            raise SystemExit(f"{self.name} failed, see above.") from None
        return seconds

    def end(self) -> None:
        self._pipe.close()
        self._process.join(ROUND_TIMEOUT)


def _measure_on_demand(
    pipe: Connection, competitor: Competitor, measure: Measure
) -> None:
    application = import_module(f"competitors.{competitor.module}").application
    with asyncio.Runner() as runner:
        while True:
            try:
                args = pipe.recv()
            except EOFError:
                return
            gc.collect()
            round_ = measure(application, competitor.path, *args)
            pipe.send(runner.run(asyncio.wait_for(round_, ROUND_TIMEOUT)))


@contextmanager
def children(
    competitors: Iterable[Competitor], measure: Measure
) -> Iterator[list[Child]]:
    """Start a process for each competitor that is installed."""
    with ExitStack() as stack:
        started = []
        for competitor in competitors:
            if not competitor.is_installed():
                print(f"Skipped: {competitor.name}, {competitor.package} is missing.")
                continue
            child = Child(competitor, measure)
            stack.callback(child.end)
            started.append(child)
        yield started


def compare(
    started: Sequence[Child], rounds: int, *args: Any
) -> dict[str, list[float]]:
    """Return the seconds per operation of each competitor in each round."""
    seconds: dict[str, list[float]] = {child.name: [] for child in started}
    for child in started:
        # Not counted: imports, caches, connections to the database.
        child.measure(*args)
    for _ in range(rounds):
        for child in started:
            seconds[child.name].append(child.measure(*args))
    return seconds


def print_table(title: str, seconds: dict[str, list[float]], reference: str) -> None:
    """Print medians, and the median of each round's ratio to the reference."""
    width = max(map(len, seconds))
    ratio_title = f"ratio to {reference}" if reference in seconds else ""
    print(f"\n{title}\n")
    titles = f"{'':{width}}  {'median us':>10}  {'fastest us':>10}  {ratio_title}"
    print(titles.rstrip())
    for name, own in seconds.items():
        ratio = ""
        if reference in seconds:
            pairs = zip(own, seconds[reference], strict=True)
            ratio = f"{median(mine / theirs for mine, theirs in pairs):.2f}"
        line = f"{name:{width}}  {median(own) * 1e6:10.1f}  {min(own) * 1e6:10.1f}  "
        print(f"{line}{ratio:>{len(ratio_title)}}".rstrip())


def print_versions(competitors: Iterable[Competitor]) -> None:
    packages = ["django", "asgiref"]
    packages += [c.package for c in competitors if c.package and c.is_installed()]
    versions = [f"Python {platform.python_version()}"]
    versions += [f"{p} {import_module(p).__version__}" for p in dict.fromkeys(packages)]
    print(", ".join(versions))
