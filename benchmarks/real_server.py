"""A competitor behind a real server, in a process of its own, on one processor."""

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import raw_client

COMMANDS = {
    "hypercorn": ["hypercorn", "--log-level=error", "--workers=0", "--bind={address}"],
    # No ping comes in between: the client knows nothing of them.
    "uvicorn": [
        "uvicorn",
        "--log-level=error",
        "--port={port}",
        "--ws-ping-interval=600",
    ],
}

# Both have 64 KiB or more ready before each recv(). Whether the allocator hands
# the same memory out again or goes to the kernel for it each time depends on what
# else the process has loaded, and can cost more than all the rest of an echo. So
# that all are equally lucky, it keeps what it has (mallopt(3)).
_ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "16777216",
    "MALLOC_TOP_PAD_": "16777216",
    "MALLOC_TRIM_THRESHOLD_": "268435456",
}


class RealServer:
    """One running server; ``busy`` is the part of the time that it worked."""

    def __init__(self, server, competitor, cpu):
        self.name = competitor.name
        self._path = competitor.path
        self._connections = []
        self._working = self._measured = 0.0
        self._port = _free_port()
        address = {"port": self._port, "address": f"127.0.0.1:{self._port}"}
        command = [part.format(**address) for part in COMMANDS[server]]
        with pinned(cpu):
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", *command),
                    f"competitors.{competitor.module}:application",
                ],
                env={
                    **os.environ,
                    **_ALLOCATOR,
                    "PYTHONPATH": os.pathsep.join(sys.path),
                },
                # Servers look for applications in their folder.
                cwd=Path(__file__).parent,
            )

    @property
    def busy(self):
        return self._working / self._measured

    def wait_until_it_listens(self):
        deadline = time.monotonic() + raw_client.TIMEOUT
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self._port)).close()
                return
            except ConnectionRefusedError:
                time.sleep(0.05)
        raise SystemExit(f"{self.name} does not listen.")

    def connect(self, number):
        self._connections = [
            raw_client.connect(self._port, self._path) for _ in range(number)
        ]
        self._working = self._measured = 0.0

    def measure(self, seconds):
        """Return the seconds per message of one round."""
        working = self._processor_time()
        start = time.perf_counter()
        result = raw_client.echo(self._connections, seconds)
        self._measured += time.perf_counter() - start
        self._working += self._processor_time() - working
        return result

    def leave(self):
        raw_client.leave(self._connections)
        self._connections = []

    def end(self):
        self._process.terminate()
        try:
            self._process.wait(raw_client.TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _processor_time(self):
        schedstat = Path(f"/proc/{self._process.pid}/schedstat").read_text()
        return int(schedstat.split()[0]) / 1e9


@contextmanager
def pinned(cpu):
    """Start processes on one processor."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def kept_awake(cpu):
    """
    Keep a processor from going to sleep, with work that gives way to any other.

    With one connection the server waits for a few microseconds at a time. To wake
    up from a deeper sleep takes longer than an echo, and whoever is a bit slower
    finds the next message there and sleeps less.
    """
    with pinned(cpu):
        process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    os.sched_setscheduler(process.pid, os.SCHED_IDLE, os.sched_param(0))
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
