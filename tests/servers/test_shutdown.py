"""A server that shuts down with WebSockets open."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from grid import behaviour
from serving import ENVIRONMENT, HAS_NO_LIFESPAN, Server
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

PATHS = ["/echo/", "/busy/", "/pushing/", "/cleaning-up/"]


@pytest.fixture
def start(tmp_path):
    """Start servers, and stop them in the end."""
    servers = []

    def start(name="hypercorn", *options):
        servers.append(
            Server(name, "served:application", tmp_path, ENVIRONMENT, *options)
        )
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


async def open_all(server, number):
    """Open connections to each of the views, in equal parts."""
    websockets = []
    for index in range(number):
        url = server.url(PATHS[index % len(PATHS)])
        websockets.append(await connect(url, proxy=None, ping_interval=None))
    return websockets


async def end_of(websocket):
    """Return close code and time at which a connection ends."""
    with pytest.raises(ConnectionClosed):
        while True:
            await websocket.recv()
    return websocket.close_code, time.monotonic()


@behaviour("A shutdown closes with 1012 within a second, and lets views clean up")
@pytest.mark.parametrize(
    "command",
    [
        "hypercorn",
        "hypercorn --workers 2",
        "hypercorn --worker-class uvloop",
        "uvicorn",
        "granian",
        "daphne",
        "gunicorn",
    ],
)
@pytest.mark.parametrize("signal_name", ["SIGTERM", "SIGINT"])
async def test_shutdown(start, command, signal_name):
    """Each peer sees 1012 within a second, each view cleans up, then comes lifespan."""
    if command == "gunicorn" and signal_name == "SIGINT":
        pytest.skip("gunicorn means to cut everything off on SIGINT")
    server = start(*command.split())
    websockets = await open_all(server, 40)
    ends = [asyncio.ensure_future(end_of(websocket)) for websocket in websockets]

    signalled = time.monotonic()
    server.process.send_signal(getattr(signal, signal_name))
    async with asyncio.timeout(10):
        results = await asyncio.gather(*ends)
    assert {code for code, _ in results} == {1012}
    assert max(end for _, end in results) - signalled < 1.2

    exit_code = await asyncio.to_thread(server.process.wait, 5)
    # Uvicorn ends by the signal in the end, as a program without a handler.
    assert exit_code in (0, -getattr(signal, signal_name) * (command == "uvicorn"))
    lines = server.log.splitlines()
    assert lines.count("BUSY ENDED") == 10
    assert lines.count("PUSHING ENDED 1012") == 10
    assert lines.count("CLEANED UP") == 10
    last = max(index for index, line in enumerate(lines) if line == "CLEANED UP")
    if command not in HAS_NO_LIFESPAN:
        assert "SHUTDOWN" in lines[last:]
    assert lines.count("SHUTDOWN") == lines.count("STARTUP")
    assert "Traceback" not in server.log


async def test_view_that_does_not_end(start):
    """A view that takes too long to clean up is left behind."""
    server = start()
    async with connect(server.url("/stubborn/"), proxy=None) as websocket:
        assert await websocket.recv() == "ready"
        server.process.send_signal(signal.SIGTERM)
        assert (await end_of(websocket))[0] == 1012
        # SHUTDOWN_TIMEOUT is 3 seconds.
        await asyncio.to_thread(server.process.wait, 6)
    assert (
        "The view served.stubborn did not end within 3 seconds of its connection."
        in server.log
    )


async def test_reload(start):
    """On SIGHUP the peers see 1012 and find new workers when they come back."""
    server = start("hypercorn", "--workers", "2")
    websockets = await open_all(server, 8)
    server.process.send_signal(signal.SIGHUP)
    async with asyncio.timeout(10):
        ends = await asyncio.gather(*(end_of(websocket) for websocket in websockets))
        assert {code for code, _ in ends} == {1012}
        while True:
            try:
                async with connect(server.url("/echo/"), proxy=None) as websocket:
                    await websocket.send("again")
                    assert await websocket.recv() == "again"
                    break
            except (OSError, InvalidHandshake, ConnectionClosed):
                await asyncio.sleep(0.05)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no /proc")
async def test_worker_that_is_ended_alone(start):
    """A worker that gets SIGTERM by itself closes its connections and dies of it."""
    server = start("hypercorn", "--workers", "1")
    websocket = await connect(server.url("/busy/"), proxy=None)
    children = f"/proc/{server.process.pid}/task/{server.process.pid}/children"
    with open(children) as file:
        workers = [
            int(pid)
            for pid in file.read().split()
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
    assert len(workers) == 1
    os.kill(workers[0], signal.SIGTERM)
    assert (await asyncio.wait_for(end_of(websocket), 5))[0] == 1012
    await asyncio.to_thread(server.process.wait, 25)
    assert "BUSY ENDED" in server.log
