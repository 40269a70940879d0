"""Starting and stopping real servers."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent

# For the project in served.py.
ENVIRONMENT = {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent), *sys.path])}

# Of limited_server: short, so that a test need not wait, and few to open.
LIMITS = {"OPEN_TIMEOUT": 1, "CLOSE_TIMEOUT": 0.5, "MAX_CONNECTIONS": 3}

# Nothing tells the application there that the server starts or stops.
HAS_NO_LIFESPAN = {"daphne"}

COMMANDS = {
    "hypercorn": ["-m", "hypercorn", "--bind", "127.0.0.1:{port}", "{application}"],
    "uvicorn": [
        "-m",
        "uvicorn",
        "--host",
        "127.0.0.1",
        "--port",
        "{port}",
        "{application}",
    ],
    "granian": [
        "-m",
        "granian",
        "--interface",
        "asgi",
        "--host",
        "127.0.0.1",
        "--port",
        "{port}",
        "{application}",
    ],
    "gunicorn": [
        "-m",
        "gunicorn",
        "--worker-class",
        "asgi",
        "--bind",
        "127.0.0.1:{port}",
        "{application}",
    ],
    "daphne": [
        "-m",
        "daphne",
        "--bind",
        "127.0.0.1",
        "--port",
        "{port}",
        "{application}",
    ],
}

# As often as the server can.
PING_EVERY_SECOND = {
    "hypercorn": ["--websocket-ping-interval", "1"],
    "uvicorn": ["--ws-ping-interval", "1", "--ws-ping-timeout", "1"],
    "granian": [],
    "gunicorn": [],
    "daphne": ["--ping-interval", "1", "--ping-timeout", "1"],
}


def mounted_at(name, prefix):
    """Return the options of a server below a path, as behind a proxy that strips it."""
    option = "--url-path-prefix" if name == "granian" else "--root-path"
    return [option, prefix]


def free_port():
    """Return a port that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """One running server; what it logs is in ``log``."""

    def __init__(self, name, application, folder, env, *options, port=None):
        self.name = name
        self.port = port or free_port()
        self.log_path = folder / f"{name}.log"
        self._log_begins = 0
        command = [
            part.format(port=self.port, application=application)
            for part in COMMANDS[name]
        ]
        environment = {**os.environ, **env}
        if "DJANGO_SETTINGS_MODULE" not in env:
            # That of the tests; the application names its own.
            environment.pop("DJANGO_SETTINGS_MODULE", None)
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *command, *options],
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait_until_it_listens()

    @property
    def log(self):
        return self.log_path.read_bytes()[self._log_begins :].decode()

    def begin_log(self):
        """Leave what was logged until now out of ``log``."""
        self._log_begins = self.log_path.stat().st_size

    def wait_until_it_listens(self):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        self.stop()
        pytest.fail(f"The server does not listen:\n{self.log}")

    def url(self, path="/", scheme="ws"):
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    def wait_for_log(self, text):
        """Wait until the server has logged a text."""
        deadline = time.monotonic() + 10
        while text not in self.log:
            if time.monotonic() > deadline:
                pytest.fail(f"Not logged: {text!r}\n{self.log}")
            time.sleep(0.02)

    def family(self):
        """Return the pids of its process and of all that this has started."""
        found = [self.process.pid]
        for pid in found:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            found.extend(map(int, children))
        return found

    def stop(self):
        """End the process, by force if it does not end by itself."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            # With its workers.
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(5)
