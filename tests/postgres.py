"""A PostgreSQL of the tests' own: Debian's, in a folder that is thrown away."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import django
import pytest
from browser import require
from django.core.management import call_command
from project.databases import default_database, in_a_thread

# How long it may take to start or to stop, in seconds.
PATIENCE = 30

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))

# It is for tests: nothing has to survive a power cut.
OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "50",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}

# What backends those are that applications have.
CLIENTS = "datname = 'tests' AND backend_type = 'client backend'"


class Cluster:
    """One PostgreSQL server, with the database "tests"."""

    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        # It refuses to run as root.
        self._as_user = {"cwd": folder}
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
            self._as_user.update(user="postgres", group="postgres", extra_groups=[])
        self._data = os.path.join(folder, "data")
        self._run(
            "initdb",
            f"--pgdata={self._data}",
            "--username=django",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
        )

    def start(self):
        """Start it and wait until it takes connections."""
        options = {**OPTIONS, "port": self.port, "unix_socket_directories": self.folder}
        with open(self._log_path, "ab") as log:
            self.process = subprocess.Popen(
                [
                    BINARIES[-1] / "postgres",
                    f"-D{self._data}",
                    *(f"-c{name}={value}" for name, value in options.items()),
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._as_user,
            )
        deadline = time.monotonic() + PATIENCE
        question = ["pg_isready", f"--host={self.folder}", f"--port={self.port}"]
        while self._run(*question, check=False):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                pytest.fail(f"PostgreSQL does not start:\n{self.log}")
            time.sleep(0.02)

    def stop(self):
        """Stop it; connections are broken off."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            # The "immediate" shutdown.
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(PATIENCE)

    @property
    def log(self):
        return Path(self._log_path).read_text()

    def database(self, name="tests", **more):
        """Return it as an entry of DATABASES."""
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": name,
            "USER": "django",
            "HOST": self.folder,
            "PORT": str(self.port),
            **more,
        }

    def ask(self, query):
        """Return the rows that a query has, on a connection from outside."""
        import psycopg

        with psycopg.connect(
            dbname="postgres",
            user="django",
            host="127.0.0.1",
            port=self.port,
            autocommit=True,
        ) as connection:
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else []

    def clients(self):
        """Return the process ids of all connections to the database."""
        rows = self.ask(f"SELECT pid FROM pg_stat_activity WHERE {CLIENTS}")
        return {pid for (pid,) in rows}

    def terminate_clients(self):
        """Break all connections to the database off; return how many there were."""
        rows = self.ask(
            "SELECT pg_terminate_backend(pid, 5000) "
            f"FROM pg_stat_activity WHERE {CLIENTS}"
        )
        return sum(terminated for (terminated,) in rows)

    @property
    def _log_path(self):
        return os.path.join(self.folder, "log")

    def _run(self, name, *arguments, check=True):
        command = [BINARIES[-1] / name, *arguments]
        done = subprocess.run(command, capture_output=True, **self._as_user)
        if check and done.returncode:
            pytest.fail(f"{name} failed:\n{done.stderr.decode()}")
        return done.returncode


@pytest.fixture(scope="session")
def postgres(database):
    """Run PostgreSQL, with all tables of the project."""
    if django.VERSION < (4, 2):
        # Django 3.0 needs it below 2.9, of which there is no wheel for Python 3.11.
        pytest.skip("Django below 4.2 knows psycopg2 only, not psycopg")
    require(BINARIES, "PostgreSQL: apt-get install postgresql")
    require(find_spec("psycopg"), "psycopg: pip install 'psycopg[binary,pool]'")
    # Not in pytest's own folders, which are open for this user only.
    folder = tempfile.mkdtemp()
    try:
        cluster = Cluster(folder)
        cluster.start()
        try:
            cluster.ask("CREATE DATABASE tests")
            with default_database(cluster.database()):
                in_a_thread(call_command, "migrate", verbosity=0)
            yield cluster
        finally:
            cluster.stop()
    finally:
        shutil.rmtree(folder)
