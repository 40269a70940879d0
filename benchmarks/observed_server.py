"""A competitor behind a real server, and what its process holds."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from postgres import free_port
from real_server import COMMANDS

# How long a server may take to start, in seconds, and to stop.
TIMEOUT = 30


class ObservedServer:
    """One running server."""

    def __init__(self, server, competitor, log, settings):
        self.name = competitor.name
        self.port = free_port()
        address = {"port": self.port, "address": f"127.0.0.1:{self.port}"}
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m"),
                *(part.format(**address) for part in COMMANDS[server]),
                f"competitors.{competitor.module}:application",
            ],
            env={**os.environ, **settings, "PYTHONPATH": os.pathsep.join(sys.path)},
            # Servers look for applications in their folder.
            cwd=Path(__file__).parent,
            stderr=log,
        )

    def wait_until_it_listens(self):
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except ConnectionRefusedError:
                time.sleep(0.05)
        raise SystemExit(f"{self.name} does not listen.")

    def processor_time(self):
        """Return for how long all of its threads have worked, in seconds."""
        threads = Path(f"/proc/{self._process.pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9

    def threads(self):
        return self._status("Threads")

    def memory(self):
        """Return the size of what is in memory, in bytes."""
        return self._status("VmRSS") * 1024

    def handles(self):
        """Return how many files and sockets it has open."""
        return len(os.listdir(f"/proc/{self._process.pid}/fd"))

    def end(self):
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _status(self, name):
        for line in Path(f"/proc/{self._process.pid}/status").open():
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
        raise SystemExit(f"{self.name} has ended.")


@contextmanager
def observed(server, competitor, log, **settings):
    """Run a competitor behind a server, with environment variables of its own."""
    running = ObservedServer(server, competitor, log, settings)
    try:
        running.wait_until_it_listens()
        yield running
    finally:
        running.end()
