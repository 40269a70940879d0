"""A Redis of the tests' own: Debian's, in a folder that is thrown away."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import pytest
from browser import require

# How long it may take to start or to stop, in seconds.
PATIENCE = 30

BINARY = shutil.which("redis-server")


class RedisServer:
    """One redis-server, which forgets nothing that it has confirmed."""

    def __init__(self, folder, *options):
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._folder = folder
        self._options = options
        self.process = None

    def start(self):
        """Start it and wait until it takes commands."""
        with open(self._log_path, "ab") as log:
            self.process = subprocess.Popen(
                [
                    BINARY,
                    *("--port", str(self.port)),
                    *("--bind", "127.0.0.1"),
                    *("--dir", self._folder),
                    *("--save", ""),
                    *("--appendonly", "yes"),
                    *("--appendfsync", "always"),
                    *self._options,
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                pytest.fail(f"Redis does not start:\n{self.log}")
            time.sleep(0.02)

    def stop(self, how=signal.SIGTERM):
        """Stop it; with SIGKILL it has no time for anything."""
        if self.process is None or self.process.poll() is not None:
            return
        # A stopped process takes no other signal.
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(how)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(PATIENCE)

    def kill(self):
        """Kill it."""
        self.stop(signal.SIGKILL)

    def forget(self):
        """Lose all that it knows, while it does not run."""
        shutil.rmtree(f"{self._folder}/appendonlydir")

    def freeze(self):
        """Let it answer nothing more, with its connections open."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def ask(self, *command):
        """Return what it answers to a command, as it comes."""
        import redis

        with redis.Redis.from_url(self.url, socket_timeout=PATIENCE) as client:
            client.response_callbacks.clear()
            return client.execute_command(*command)

    @property
    def log(self):
        return Path(self._log_path).read_text()

    @property
    def _log_path(self):
        return f"{self._folder}/log"

    def _answers(self):
        with suppress(OSError):
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(5) in (b"+PONG", b"-NOAU")
        return False


def free_port():
    """Return a port that nobody listens at."""
    # A node of a cluster listens at one that is greater by 10,000, too.
    while True:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
            if port + 10_000 < 2**16:
                return port


@contextmanager
def run_redis(*options):
    """Run Redis, if it is installed and SERVERS, if that is set, names it too."""
    if "redis" not in os.environ.get("SERVERS", "redis").split():
        pytest.skip("SERVERS does not name redis.")
    require(BINARY, "Redis: apt-get install redis-server")
    require(find_spec("redis"), "redis: pip install redis")
    folder = tempfile.mkdtemp()
    server = RedisServer(folder, *options)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)
