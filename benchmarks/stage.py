"""Where competitors are run: behind a server, with a database of their own."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from competitors import project
from crowd import Peer
from observed_server import observed
from side_by_side import Competitor

PATH = "/tasks/"

OURS = Competitor("django_asgi_ext", "django_asgi_ext", PATH, "django_asgi_ext")
BARE = Competitor("bare ASGI", "bare", PATH)
CHANNELS = Competitor("Channels", "channels", PATH, "channels")
DJANGO_SOCKET = Competitor("django-socket", "django_socket", PATH, "django_socket")

# How many peers shake hands at the same time.
AT_ONCE = 50

# After how long nothing may be left of a call, in seconds.
SETTLED = 2


@dataclass
class Stage:
    server: str
    # A connection to it.
    database: Any
    # Of a user who is logged in as many times.
    cookies: list[str]
    threads: int
    # Where the servers' stderr goes.
    log: Any
    missed: list[str] = field(default_factory=list)

    def run(self, competitor, conn_max_age=0):
        return observed(
            self.server,
            competitor,
            self.log,
            BENCHMARK_THREADS=str(self.threads),
            BENCHMARK_CONN_MAX_AGE=str(conn_max_age),
        )

    async def connect(self, server, number=0):
        cookie = self.cookies[number % len(self.cookies)]
        return await Peer.connect(server.port, PATH, cookie, number)

    def connections(self):
        """Return how many connections to the database a competitor has open."""
        (number,) = self.database.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s",
            [project.APPLICATION_NAME],
        ).fetchone()
        return number

    def logged(self):
        """Return what the servers have written to stderr."""
        return Path(self.log.name).read_text()

    def bar(self, text, is_held):
        """Print a bar for django_asgi_ext, and note if it was missed."""
        print(f"The bar: {text}. {'Held.' if is_held else 'MISSED.'}")
        if not is_held:
            self.missed.append(f"{self.server}: {text}")
