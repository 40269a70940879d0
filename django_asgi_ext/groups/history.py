"""The last messages of a group, in the memory of one process."""

from __future__ import annotations

import time
from collections import deque

from django_asgi_ext.groups.base import Missed
from django_asgi_ext.groups.message import Message, Position
from django_asgi_ext.groups.policy import History

# How many messages a history that is limited by their age keeps at most.
MOST = 10_000


class Log:
    """
    What one group keeps. Whoever calls sees to it that one thread does at a time.

    ``used_at`` is when it was last needed, by time.monotonic().
    """

    def __init__(self) -> None:
        self.used_at = time.monotonic()
        self._last: Position = (_now(), 0)
        # What came after it is here, and nothing before.
        self._floor = self._last
        self._kept: deque[tuple[Position, float, Message]] = deque()

    def now(self) -> Position:
        """Return the newest position."""
        self.used_at = time.monotonic()
        return self._last

    def append(self, group: str, message: Message, history: History) -> None:
        """Give a message the next position and keep it."""
        milliseconds, number = self._last
        now = _now()
        # The clock may have been put back.
        self._last = (now, 0) if now > milliseconds else (milliseconds, number + 1)
        message.put_at(group, self._last)
        self.used_at = time.monotonic()
        self._kept.append((self._last, self.used_at, message))
        self._forget(history)

    def since(self, position: Position, history: History) -> Missed:
        """Return what came after a position."""
        self.used_at = time.monotonic()
        self._forget(history)
        if not self._floor <= position <= self._last:
            return Missed(self._last, is_complete=False)
        return Missed(self._last, [m for at, _, m in self._kept if at > position])

    def _forget(self, history: History) -> None:
        most = MOST if history.messages is None else history.messages
        oldest = -1.0 if history.seconds is None else self.used_at - history.seconds
        while self._kept and (len(self._kept) > most or self._kept[0][1] < oldest):
            self._floor = self._kept.popleft()[0]


def _now() -> int:
    return time.time_ns() // 1_000_000
