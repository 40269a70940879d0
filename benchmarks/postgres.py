"""A PostgreSQL of a benchmark's own, in a temporary folder."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import psycopg

USER = "postgres"

# How long the cluster may take to start, and to stop, in seconds.
TIMEOUT = 30

# Some peers hold a connection for each socket. Nothing here need survive a crash.
_OPTIONS = {"max_connections": 500, "fsync": "off", "listen_addresses": "127.0.0.1"}


@contextmanager
def cluster():
    """Run a cluster, and give the port of 127.0.0.1 at which it listens."""
    with tempfile.TemporaryDirectory() as folder:
        if os.geteuid() == 0:
            shutil.chown(folder, USER)
        _make(folder)
        port = free_port()
        process = _start(folder, port)
        try:
            _wait_until_it_listens(process, port)
            yield port
        finally:
            # It breaks off all connections.
            process.send_signal(signal.SIGINT)
            process.wait(TIMEOUT)


def connect(port):
    """Return a connection that is none of a competitor's."""
    return psycopg.connect(
        host="127.0.0.1", port=port, user=USER, dbname="postgres", autocommit=True
    )


def free_port():
    """Return a port that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _make(folder):
    options = {"pgdata": folder + "/data", "username": USER, "auth": "trust"}
    subprocess.run(
        [
            *(_path("initdb"), "--no-sync", "--encoding=UTF8", "--locale=C"),
            *(f"--{name}={value}" for name, value in options.items()),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        **_as_user(folder),
    )


def _start(folder, port):
    options = {**_OPTIONS, "port": port, "unix_socket_directories": folder}
    return subprocess.Popen(
        [
            *(_path("postgres"), "-D", folder + "/data"),
            *(f"--{name}={value}" for name, value in options.items()),
        ],
        stderr=subprocess.DEVNULL,
        **_as_user(folder),
    )


def _as_user(folder):
    # PostgreSQL does not run as root.
    if os.geteuid() != 0:
        return {"cwd": folder}
    group = pwd.getpwnam(USER).pw_gid
    return {"cwd": folder, "user": USER, "group": group, "extra_groups": []}


def _path(program):
    # Debian has them in no folder of PATH.
    folders = Path("/usr/lib/postgresql").glob("*/bin")
    newest_first = sorted(folders, key=lambda path: -float(path.parent.name))
    search = os.pathsep.join([os.environ["PATH"], *map(str, newest_first)])
    found = shutil.which(program, path=search)
    if found is None:
        raise SystemExit(f"{program} is missing: it comes with PostgreSQL's server.")
    return found


def _wait_until_it_listens(process, port):
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        try:
            connect(port).close()
            return
        except psycopg.OperationalError:
            time.sleep(0.05)
    raise SystemExit("PostgreSQL does not start.")
