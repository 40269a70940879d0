"""
Time messages to the members of a group, in one process.

There is no server and no network: a member's send() counts and does no more. So
it is the cost of the fan-out itself that is measured.
"""

import argparse
import asyncio
import gc
import threading
import time
import tracemalloc
from statistics import median

import side_by_side
from members import Members, publisher
from side_by_side import Competitor

OURS = Competitor("django_asgi_ext", "django_asgi_ext", "/group/", "django_asgi_ext")
COMPETITORS = [
    Competitor("a bare loop", "bare", "/group/"),
    OURS,
    Competitor("django-socket", "django_socket", "/group/", "django_socket"),
    Competitor("Channels", "channels", "/group/", "channels"),
]

MESSAGE = "0123456789abcdef" * 2

# Where more would take too long.
FEW = 500

# How many times a bare loop a delivery may take.
AIM = 8

# Between two messages while one member reads nothing, in seconds, and by how much
# it may delay the others.
PAUSE, DELAY = 0.01, 0.01

# What being in a group may add to a socket, in bytes.
MEMORY = 2048

_members = {}


async def fan_out(application, path, number, messages):
    """Return the seconds per message and member."""
    if number not in _members:
        # They stay for all rounds.
        _members[number] = Members(application)
        await _members[number].join(number, path)
    members, publish = _members[number], publisher()
    members.heard = 0
    start = time.perf_counter()
    for message in range(messages):
        await publish(MESSAGE)
        await members.wait_for((message + 1) * number)
    return (time.perf_counter() - start) / messages / number


async def slow_member(application, path, number, messages, is_stuck):
    """Return the 99th percentile of the time until a member has a message."""
    members, stuck = Members(application), Members(application)
    await members.join(number - is_stuck, path)
    await stuck.join(int(is_stuck), path, stuck=True)
    members.delays, publish = [], publisher()
    gc.collect()
    for message in range(messages):
        members.published_at = time.perf_counter()
        await publish(MESSAGE)
        await members.wait_for((message + 1) * (number - is_stuck))
        await asyncio.sleep(PAUSE)
    await members.leave()
    await stuck.leave()
    members.delays.sort()
    return members.delays[len(members.delays) * 99 // 100]


async def thread(application, path, messages):
    """Return the seconds per message that a thread without a loop publishes."""
    from django_asgi_ext import groups

    members = Members(application)
    await members.join(1, path)
    members.texts = []

    def publish():
        for number in range(messages):
            groups.publish("benchmark", str(number))

    start = time.perf_counter()
    publishing = threading.Thread(target=publish)
    publishing.start()
    while publishing.is_alive() or members.heard < messages:
        await asyncio.sleep(0.001)
    seconds = time.perf_counter() - start
    await members.leave()
    assert members.texts == [str(number) for number in range(messages)]
    return seconds / messages


async def memory(application, path, number):
    """Return the bytes of one socket."""
    members = Members(application)
    await members.join(100, path)
    await members.leave()
    gc.collect()
    tracemalloc.start()
    await members.join(number, path)
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    await members.leave()
    return size / number


def main():
    options = _options()
    side_by_side.print_versions(COMPETITORS)
    _compare_fan_out(options)
    _compare_slow_member(options)
    with side_by_side.children([OURS], thread) as (ours,):
        times = [ours.measure(20_000) for _ in range(options.rounds)]
    print(
        "\n20,000 messages of a thread, to one member: all of them, in order, "
        f"{1 / median(times):,.0f} in a second"
    )
    _compare_memory(options)


def _compare_fan_out(options):
    # Not all of them can have so many members.
    for competitors, members in (COMPETITORS, FEW), (COMPETITORS[:2], options.members):
        with side_by_side.children(competitors, fan_out) as children:
            seconds = side_by_side.compare(
                children, options.rounds, members, options.messages
            )
        title = f"One message to one of {members:,} members"
        side_by_side.print_table(title, seconds, "a bare loop")
    print(f"\nThe bar for django_asgi_ext: at most {AIM} times a bare loop.")


def _compare_slow_member(options):
    found = {False: [], True: []}
    with side_by_side.children([OURS], slow_member) as (ours,):
        for _ in range(3):
            for is_stuck, times in found.items():
                times.append(ours.measure(1000, 300, is_stuck))
    without, with_it = (median(times) * 1000 for times in found.values())
    print(
        f"\nUntil one of 1,000 members has a message, 99th percentile: {without:.2f} "
        f"ms, and {with_it:.2f} ms while one of them never reads.\n"
        f"The bar: at most {DELAY * 1000:.0f} ms more."
    )


def _compare_memory(options):
    alone = Competitor("alone", OURS.module, "/alone/", OURS.package)
    with side_by_side.children([alone, OURS], memory) as children:
        without, with_it = (child.measure(FEW) for child in children)
    print(
        f"\nMemory of a socket: {without:,.0f} bytes, and {with_it:,.0f} as a member "
        f"of a group: {with_it - without:,.0f} more.\nThe bar: at most {MEMORY:,} more."
    )


def _options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--members", type=int, default=5000)
    parser.add_argument("--messages", type=int, default=5, help="in a round")
    return parser.parse_args()


if __name__ == "__main__":
    main()
