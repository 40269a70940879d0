"""Count HTTP requests per second: fused, over Django's own chain, and over WSGI."""

import argparse
import asyncio
import importlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import postgres

HERE = Path(__file__).parent
VIEWS = {"page": 3.0, "async": 2.0, "query": 3.0}
SERVERS = {
    "hypercorn": ["hypercorn", "--bind"],
    "uvicorn": ["uvicorn", "--no-access-log", "--port"],
    "gunicorn": ["gunicorn", "--worker-class=gthread", "--threads=8", "--bind"],
}
PATIENCE = 30


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=300, help="in a round")
    parser.add_argument("--in-process", action="store_true", help="without servers")
    options = parser.parse_args()
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")
    with postgres.cluster() as port:
        os.environ["PAGES_PORT"] = str(port)
        pages = importlib.import_module("competitors.pages")
        is_held = in_process(pages, options, port)
        is_held &= asyncio.run(crowds(pages))
        if not options.in_process:
            for view in VIEWS:
                end_to_end(view, options, port)
    return 0 if is_held else 1


def in_process(pages, options, port):
    """Call the applications in turn, and say whether the bars are held."""
    is_held = True
    print("in-process, one request after another, requests per second (medians)\n")
    print(f"{'view':8}{'fused':>9}{'Django':>9}{'ratio':>7}{'bar':>6}  connections")
    for view, bar in VIEWS.items():
        rates = {"fused": [], "stock": []}
        made = {}
        for number in range(options.rounds + 1):
            for name, of_name in rates.items():
                before = count_connections(port)
                rate = asyncio.run(
                    one_after_another(getattr(pages, name), view, options.requests)
                )
                made[name] = count_connections(port) - before
                if number:
                    of_name.append(rate)
        ratio = statistics.median(
            fused / stock for fused, stock in zip(*rates.values(), strict=True)
        )
        is_held &= ratio >= bar
        fused, stock = map(statistics.median, rates.values())
        new = f"{made['fused']} and {made['stock']}" if view == "query" else ""
        print(f"{view:8}{fused:9.0f}{stock:9.0f}{ratio:7.2f}{bar:6.1f}  {new}")
        if view == "query":
            is_held &= made["fused"] == 0
    return is_held


async def one_after_another(application, view, count):
    """Return how many requests a second have an answer."""
    begin = time.perf_counter()
    for _ in range(count):
        status, _ = await ask(application, view)
        assert status == 200, status
    return count / (time.perf_counter() - begin)


async def ask(application, view, stays=False):
    """Return the status of an answer once it is complete, or the task if it stays."""
    incoming = [{"type": "http.request", "body": b""}]
    events = asyncio.Queue()

    async def receive():
        if not incoming:
            await asyncio.get_running_loop().create_future()
        return incoming.pop()

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "path": f"/{view}/",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
    }
    if stays:
        task = asyncio.create_task(application(scope, receive, events.put))
        return (await events.get())["status"], task
    await application(scope, receive, events.put)
    return (await events.get())["status"], None


def count_connections(port):
    """Return how many sessions the cluster has had so far."""
    with postgres.connect(port) as connection:
        query = "SELECT sessions FROM pg_stat_database WHERE datname = 'postgres'"
        connection.execute("SELECT pg_stat_force_next_flush()")
        # Its own is one of them.
        return connection.execute(query).fetchone()[0] - next(_asked)


_asked = iter(range(1_000_000))


async def crowds(pages):
    """Let many wait at once, and say whether the bars are held."""
    before = threading.active_count()
    crowd = asyncio.gather(*(ask(pages.fused, "sleep") for _ in range(1000)))
    begin = time.perf_counter()
    most = 0
    while not crowd.done():
        most = max(most, threading.active_count() - before)
        await asyncio.wait({crowd}, timeout=0.05)
    seconds = time.perf_counter() - begin
    print(f"\n1,000 views that sleep 1 s: {seconds:.2f} s (bar 2.5), ", end="")
    print(f"at most {most} more threads than before")
    answers = [await ask(pages.fused, "events", stays=True) for _ in range(1000)]
    threads = threading.active_count() - before
    print(f"1,000 server-sent events: {threads} more threads than before")
    for _, task in answers:
        task.cancel()
    await asyncio.wait({task for _, task in answers})
    return seconds <= 2.5 and max(most, threads) < 50


def end_to_end(view, options, database):
    """Count what clients get from servers."""
    competitors = [("hypercorn", "fused"), ("hypercorn", "stock")]
    competitors += [("uvicorn", "fused"), ("uvicorn", "stock"), ("gunicorn", "wsgi")]
    if view == "async":
        competitors.pop()
    rates = {competitor: [] for competitor in competitors}
    made = {}
    for _ in range(max(1, options.rounds // 3)):
        for competitor, of_competitor in rates.items():
            with served(*competitor) as port:
                asyncio.run(clients(port, view, options.requests // 4))
                before = count_connections(database)
                for _ in range(3):
                    begin = time.perf_counter()
                    asyncio.run(clients(port, view, options.requests))
                    seconds = time.perf_counter() - begin
                    of_competitor.append(8 * (options.requests // 8) / seconds)
                made[competitor] = count_connections(database) - before
    print(f"\n{view}, 8 clients, requests per second (medians)")
    for (server, name), of_competitor in rates.items():
        new = f"  {made[server, name]} connections" if view == "query" else ""
        print(f"  {server:10}{name:7}{statistics.median(of_competitor):8.0f}{new}")


@contextmanager
def served(server, name):
    """Run a server, and give its port."""
    port = postgres.free_port()
    command = [sys.executable, "-m", *SERVERS[server][:-1]]
    if server == "uvicorn":
        command += ["--port", str(port), "--log-level=warning"]
    else:
        command += [SERVERS[server][-1], f"127.0.0.1:{port}"]
    process = subprocess.Popen(
        [*command, f"competitors.pages:{name}"], cwd=HERE, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", port)):
                    break
            if time.monotonic() > deadline or process.poll() is not None:
                sys.exit(f"{server} does not start.")
            time.sleep(0.05)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()


async def clients(port, view, count):
    """Have eight clients make requests, one after another each."""

    async def client():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(count // 8):
            writer.write(f"GET /{view}/ HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            await read_body(reader, head.lower())
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(client() for _ in range(8)))


async def read_body(reader, head):
    if b"content-length:" in head:
        length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length))
        return
    while size := int(await reader.readline(), 16):
        await reader.readexactly(size + 2)
    await reader.readline()


if __name__ == "__main__":
    sys.exit(main())
