"""Time calls and echoes while other sockets wait for slow queries."""

import asyncio
import time
from statistics import median

from competitors.project import USERNAME
from competitors.work import LOOK_UP, SECONDS, SLEEP
from crowd import each
from stage import AT_ONCE, CHANNELS, DJANGO_SOCKET, OURS

MESSAGE = "0123456789abcdef" * 2

# How long a peer waits before it speaks again, in seconds: what is looked for is
# delay, and not how much the server can do.
PAUSE = 0.05

# By how much slow queries may delay others, in seconds.
CALL_DELAY, ECHO_DELAY = 0.02, 0.001


def add_arguments(parser):
    parser.add_argument("--echoes", type=int, default=20, help="sockets that echo")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6, help="of a round")


def run(stage, options):
    print(
        f"\nOn {stage.server}, while {stage.threads - 1} sockets run queries of "
        f"{SECONDS} s each, and without: median and maximum in ms\n"
    )
    titles = ["call without", "call with", "echo without", "echo with"]
    print(f"{'':15}" + "".join(f"  {title:>16}" for title in titles))
    for competitor in filter(
        lambda c: c.is_installed(), [OURS, CHANNELS, DJANGO_SOCKET]
    ):
        calls, echoes = asyncio.run(measure(stage, competitor, options))
        cells = [_cell(times) for part in (calls, echoes) for times in part.values()]
        print(f"{competitor.name:15}" + "".join(f"  {cell:>16}" for cell in cells))
        if competitor is OURS:
            call_delay, echo_delay = _delay(calls), _delay(echoes)
    print()
    stage.bar(
        f"an ORM call takes at most {CALL_DELAY * 1000:.0f} ms more "
        f"(it is {call_delay * 1000:.1f})",
        call_delay <= CALL_DELAY,
    )
    stage.bar(
        f"an echo takes at most {ECHO_DELAY * 1000:.0f} ms more "
        f"(it is {echo_delay * 1000:.1f})",
        echo_delay <= ECHO_DELAY,
    )


async def measure(stage, competitor, options):
    """Return the seconds of calls and echoes, without slow queries and with them."""
    calls, echoes = {False: [], True: []}, {False: [], True: []}

    async def connect(_):
        return await stage.connect(server)

    with stage.run(competitor) as server:
        sleeping = await each(connect, range(stage.threads - 1), AT_ONCE)
        caller = await connect(0)
        echoing = await each(connect, range(options.echoes), AT_ONCE)
        # Not counted: imports, caches, threads.
        await _repeat(caller, LOOK_UP, USERNAME, 0.5, PAUSE)
        for _ in range(options.rounds):
            for is_slow in (False, True):
                async with asyncio.TaskGroup() as tasks:
                    if is_slow:
                        for peer in sleeping:
                            tasks.create_task(
                                _repeat(peer, SLEEP, SLEEP, options.seconds)
                            )
                    call = tasks.create_task(
                        _repeat(caller, LOOK_UP, USERNAME, options.seconds, PAUSE)
                    )
                    echo = [
                        tasks.create_task(
                            _repeat(peer, MESSAGE, MESSAGE, options.seconds, PAUSE)
                        )
                        for peer in echoing
                    ]
                calls[is_slow] += call.result()
                for task in echo:
                    echoes[is_slow] += task.result()
        for peer in [*sleeping, caller, *echoing]:
            await peer.leave()
    return calls, echoes


async def _repeat(peer, question, answer, seconds, pause=0.0):
    """Ask for some time, and return how long each answer took."""
    times = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        times.append(await peer.time(question, answer))
        await asyncio.sleep(pause)
    return times


def _delay(times):
    return median(times[True]) - median(times[False])


def _cell(times):
    return f"{median(times) * 1000:,.1f} {max(times) * 1000:9,.1f}"
