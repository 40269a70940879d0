"""Members that have left a group and are there for a while, as they may come back."""

from __future__ import annotations

import heapq
import logging
import os
import time
from itertools import count
from threading import TIMEOUT_MAX, Condition, Lock, Thread
from typing import NamedTuple

from django_asgi_ext.groups.base import Backend

logger = logging.getLogger("django_asgi_ext.groups")


class Departure(NamedTuple):
    """What a backend is to be told: that a member has left."""

    backend: Backend
    group: str
    key: str
    token: str

    def tell(self) -> None:
        """Tell it."""
        self.backend.exit(self.group, self.key, self.token)


class Departures:
    """
    The members of this process that have left, until their backends are told.

    Meanwhile the backend takes them to be there. If the same user comes back, in
    whatever process, that is another member, and neither joining nor leaving is
    told of. A thread waits for all of them: the event loops that they were on may
    be gone.
    """

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Have nobody to tell of."""
        # For what is below. Nobody is told of anything with it held.
        self._changed = Condition()
        # When each is told, by time.monotonic(); in their order, with those that
        # were called back.
        self._due: dict[Departure, float] = {}
        self._queue: list[tuple[float, int, Departure]] = []
        self._numbers = count()
        self._thread: Thread | None = None
        # Held while one is told.
        self._telling = Lock()

    def __len__(self) -> int:
        return len(self._due)

    def add(self, departure: Departure, seconds: float) -> None:
        """Have it told in so many seconds. It does not block."""
        if not seconds:
            departure.tell()
            return
        with self._changed:
            due = time.monotonic() + seconds
            self._due[departure] = due
            heapq.heappush(self._queue, (due, next(self._numbers), departure))
            if self._queue[0][-1] is departure:
                # Nobody else is due before.
                self._changed.notify()
            if self._thread is not None or self._begin():
                return
            del self._due[departure]
            self._queue.clear()
        departure.tell()

    def call_back(self, departure: Departure) -> None:
        """Have it told no more: the same member is there again."""
        if departure in self._due:
            # If it is just being told, what is told next comes after.
            with self._telling, self._changed:
                self._due.pop(departure, None)

    def _begin(self) -> bool:
        name = "django_asgi_ext.groups.departures"
        thread = Thread(target=self._run, name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # The machine has no more threads.
            logger.warning("Who has left is told of at once: no thread can begin.")
            return False
        self._thread = thread
        return True

    def _run(self) -> None:
        while self._wait():
            with self._telling:
                self._tell_next()

    def _wait(self) -> bool:
        """Wait until the next one is due; return whether there is any."""
        with self._changed:
            while self._queue:
                seconds = self._queue[0][0] - time.monotonic()
                if seconds <= 0:
                    return True
                self._changed.wait(min(seconds, TIMEOUT_MAX))
            self._thread = None
            return False

    def _tell_next(self) -> None:
        with self._changed:
            due, _, departure = heapq.heappop(self._queue)
            if self._due.get(departure) != due:
                # It was called back.
                return
        try:
            departure.tell()
        except Exception:
            # The others must be told of all the same.
            logger.exception("Leaving the group %s failed.", departure.group)
        with self._changed:
            if self._due.get(departure) == due:
                del self._due[departure]


departures = Departures()

# They belong to the process that has forked, as does a thread which may have held the
# locks. Windows does not fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=departures.begin_anew)
