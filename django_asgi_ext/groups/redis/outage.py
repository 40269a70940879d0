"""Whether Redis can be reached."""

from __future__ import annotations

import logging
import time
from threading import Lock

from django_asgi_ext.exceptions import GroupsUnavailable

logger = logging.getLogger("django_asgi_ext.groups")

# For how long nobody asks a Redis that has not answered, in seconds.
PAUSE = 1.0


class Outage:
    """
    The times at which Redis cannot be reached. The log has a line for each change.

    All of it may be called on any thread.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._since: float | None = None
        self._until = 0.0
        self._error: BaseException | None = None

    def check(self) -> None:
        """Raise GroupsUnavailable if there is no sense in asking Redis now."""
        if self._since is not None and time.monotonic() < self._until:
            raise GroupsUnavailable(f"Redis is away: {self._error}") from self._error

    def begin(self, error: BaseException) -> None:
        """Note that Redis has not answered."""
        with self._lock:
            now = time.monotonic()
            self._until, self._error = now + PAUSE, error
            if self._since is not None:
                return
            self._since = now
        logger.error(
            "Redis is away, and messages to groups reach this process only: %s", error
        )

    def end(self) -> None:
        """Note that Redis has answered."""
        if self._since is None:
            return
        with self._lock:
            if self._since is None:
                return
            seconds = time.monotonic() - self._since
            self._since = self._error = None
        logger.warning("Redis is back after %.1f seconds.", seconds)
