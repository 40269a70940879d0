"""
Echo the message of echo.py end to end: real servers, each on its processor.

Linux only.
"""

import argparse
import os
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from statistics import median, quantiles

import side_by_side
from real_server import COMMANDS, RealServer, kept_awake
from side_by_side import Competitor

OURS = "django_asgi_ext"
BARE = "bare ASGI"

COMPETITORS = [
    Competitor(BARE, "bare", "/echo/"),
    # What its ratio differs from 100% is noise.
    Competitor(f"{BARE} again", "bare", "/echo/"),
    Competitor("two coroutines", "least", "/echo/"),
    Competitor(OURS, OURS, "/echo/", OURS),
]
PEERS = [
    Competitor("Starlette", "starlette", "/echo/", "starlette"),
    Competitor("Channels", "channels", "/echo/", "channels"),
]

# What the servers are built on.
PARTS = ["hypercorn", "wsproto", "uvicorn", "websockets", "uvloop"]

# How many connections talk at the same time.
AT_ONCE = [1, 50]


def compare(server, competitors, options, cpu):
    """Return the seconds per message and the busyness of each, by connections."""
    seconds = {number: {c.name: [] for c in competitors} for number in AT_ONCE}
    busy = {number: {c.name: [] for c in competitors} for number in AT_ONCE}
    for _ in range(options.starts):
        with ExitStack() as stack:
            running = []
            for competitor in competitors:
                running.append(RealServer(server, competitor, cpu))
                stack.callback(running[-1].end)
            for one in running:
                one.wait_until_it_listens()
            for number in AT_ONCE:
                for one in running:
                    one.connect(number)
                found = side_by_side.compare(running, options.rounds, options.seconds)
                for one in running:
                    seconds[number][one.name] += found[one.name]
                    busy[number][one.name].append(one.busy)
                    one.leave()
    return seconds, busy


def print_table(title, seconds, busy):
    """Print medians, and those of each round's ratio to the bare application."""
    width = max(map(len, seconds))
    print(f"\n{title}\n")
    print(f"{'':{width}}  messages/s   ratio   middle half  server busy")
    for name, own in seconds.items():
        ratios = [bare / mine for bare, mine in zip(seconds[BARE], own, strict=True)]
        low, middle, high = (f"{100 * part:.1f}" for part in quantiles(ratios))
        print(
            f"{name:{width}}  {1 / median(own):10,.0f}  {middle:>5}%  "
            f"{low:>5} {high:>5}%  {100 * median(busy[name]):10.0f}%"
        )


def print_versions(competitors):
    side_by_side.print_versions(competitors)
    versions = []
    for part in PARTS:
        try:
            versions.append(f"{part} {version(part)}")
        except PackageNotFoundError:
            versions.append(f"no {part}")
    print(", ".join(versions))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=3, help="of each server")
    parser.add_argument("--rounds", type=int, default=25, help="after each start")
    parser.add_argument("--seconds", type=float, default=0.1, help="of a round")
    parser.add_argument("--peers", action="store_true", help="Starlette and Channels")
    parser.add_argument("--servers", nargs="+", choices=COMMANDS, default=COMMANDS)
    options = parser.parse_args()
    server_cpu, *client_cpus = sorted(os.sched_getaffinity(0))
    if not client_cpus:
        parser.error("Server and client need a processor each.")
    os.sched_setaffinity(0, client_cpus)

    competitors = [*COMPETITORS, *(PEERS if options.peers else [])]
    competitors = [c for c in competitors if c.is_installed()]
    print_versions(competitors)
    print(f"{options.starts} x {options.rounds} rounds of {options.seconds} s each")
    with kept_awake(server_cpu):
        for server in filter(find_spec, options.servers):
            seconds, busy = compare(server, competitors, options, server_cpu)
            for number in AT_ONCE:
                title = f"Echo on {server}, {number} connection{'s' * (number > 1)}"
                print_table(title, seconds[number], busy[number])
    print(f"\nThe bar for {OURS}: at least 97% of {BARE}'s messages per second.")


if __name__ == "__main__":
    main()
