"""The example as programs run it: copied, served, and talked to."""

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from time import monotonic
from urllib.parse import urlsplit

from websockets.sync.client import connect

import django_asgi_ext

EXAMPLE = Path(__file__).resolve().parents[1] / "example"

# How long anything may take, in seconds, on a machine with other things to do.
TIMEOUT = 30

# Of the users of the demo.
PASSWORDS = {"ada": "lovelace", "grace": "hopper"}


def environment(**variables):
    """Return an environment in which programs find the package but no settings."""
    paths = [str(Path(django_asgi_ext.__file__).parents[1])]
    if os.environ.get("PYTHONPATH"):
        paths.append(os.environ["PYTHONPATH"])
    changed = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONIOENCODING": "utf-8",
        **variables,
    }
    changed.pop("DJANGO_SETTINGS_MODULE", None)
    return changed


class Program:
    """A Python program in a process group of its own, and the lines it prints."""

    def __init__(self, *arguments, cwd, **variables):
        self.printed = []
        self._lines = Queue()
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=cwd,
            env=environment(**variables),
            encoding="utf-8",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = Thread(target=self._read)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self._process.terminate()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            pass
        # From Python 3.12 on hypercorn waits for open connections, and the
        # process that serves is a child of the one that was started.
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()
        self._reader.join()
        self._process.stdin.close()
        self._process.stdout.close()

    def say(self, line):
        """Type a line."""
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def end_input(self):
        """Type Ctrl-D."""
        self._process.stdin.close()

    def interrupt(self):
        """Type Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def expect(self, pattern):
        """Wait for a line with the pattern in it and return the match."""
        deadline = monotonic() + TIMEOUT
        while True:
            try:
                line = self._lines.get(timeout=max(0, deadline - monotonic()))
            except Empty:
                line = None
            if line is None:
                text = "\n".join(self.printed)
                raise AssertionError(f"No line with {pattern!r} in:\n{text}")
            match = re.search(pattern, line)
            if match:
                return match

    def end(self):
        """Wait for the end and return the exit code."""
        code = self._process.wait(timeout=TIMEOUT)
        self._reader.join()
        return code

    def _read(self):
        for line in self._process.stdout:
            self.printed.append(line.rstrip("\n"))
            self._lines.put(line)
        self._lines.put(None)


def copy_example(folder):
    """Copy the example there with the users of the demo; return where it is."""
    copy = folder / "example"
    unwanted = shutil.ignore_patterns("*.sqlite3", "__pycache__")
    shutil.copytree(EXAMPLE, copy, ignore=unwanted)
    with Program("manage.py", "demo", cwd=copy) as demo:
        assert demo.end() == 0, demo.printed
    return copy


@contextmanager
def run_site(folder, *options, port=0, **variables):
    """Serve a copy of the example, at a port that the system picks if it is 0."""
    bind = ["--bind", f"127.0.0.1:{port}"]
    server = ["-m", "hypercorn", *bind, *options, "mysite.asgi:application"]
    with Program(*server, cwd=folder, **variables) as hypercorn:
        url = hypercorn.expect(r"Running on (http://\S+)")[1]
        yield Site(folder, hypercorn, url)


class Site:
    """A copy of the example that is served."""

    def __init__(self, folder, server, url):
        self.folder = folder
        self.server = server
        self.url = url

    def log_in(self, name):
        """Return the Cookie header of a user of the demo who has logged in."""
        code = (
            "import sys, client; cookies = client.log_in(*sys.argv[1:]);"
            "print('; '.join(f'{c.name}={c.value}' for c in cookies))"
        )
        arguments = [self.url, name, PASSWORDS[name]]
        with Program("-c", code, *arguments, cwd=self.folder) as program:
            assert program.end() == 0, program.printed
        return {"Cookie": program.printed[0]}

    def page(self, path, session):
        """Return what is at a path for somebody who has logged in."""
        server = HTTPConnection(urlsplit(self.url).netloc, timeout=TIMEOUT)
        with closing(server):
            server.request("GET", path, headers=session)
            response = server.getresponse()
            assert response.status == 200
            return response.read().decode()

    def websocket(self, path, session=None, **options):
        """Return a connection of somebody, or of nobody, to a WebSocket URL."""
        return connect(
            "ws" + self.url.removeprefix("http") + path,
            additional_headers=session,
            open_timeout=TIMEOUT,
            close_timeout=TIMEOUT,
            **options,
        )

    def client(self, *arguments):
        """Start client.py."""
        return Program("client.py", *arguments, "--url", self.url, cwd=self.folder)

    def terminal(self, name, room):
        """Start client.py for a user of the demo."""
        return self.client(name, "--password", PASSWORDS[name], "--room", room)
