"""A Redis of a benchmark's own, which keeps nothing."""

import shutil
import socket
import subprocess
import time
from contextlib import contextmanager

from postgres import free_port

BINARY = shutil.which("redis-server")

# How long it may take to start, and to stop, in seconds.
TIMEOUT = 30


@contextmanager
def running():
    """Run Redis, and give its URL."""
    if BINARY is None:
        raise SystemExit("redis-server is missing (Debian: redis-server).")
    port = free_port()
    process = subprocess.Popen(
        [BINARY, "--port", str(port), "--bind", "127.0.0.1", "--save", ""],
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait_until_it_listens(port)
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(TIMEOUT)


def _wait_until_it_listens(port):
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise SystemExit("Redis does not listen.")
