"""The last messages of a group, in the memory of one process."""

from __future__ import annotations

import re
import time
from collections import deque

from django_asgi_ext.groups.base import Missed
from django_asgi_ext.groups.message import Message
from django_asgi_ext.groups.policy import History

# A time in milliseconds, and a number for those of the same one.
Position = tuple[int, int]

_POSITION = re.compile(r"([0-9]{1,20})-([0-9]{1,20})")

# How many messages a history that is limited by their age keeps at most.
MOST = 10_000


def read_position(text: str) -> Position | None:
    """Return a position as numbers, None if it is none."""
    found = _POSITION.fullmatch(text)
    return (int(found[1]), int(found[2])) if found else None


def write_position(position: Position) -> str:
    """Return a position as a peer sees it."""
    return f"{position[0]}-{position[1]}"


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

    def append(self, group: str, message: Message, history: History) -> None:
        """Give a message the next position and keep it."""
        milliseconds, number = self._last
        now = _now()
        # The clock may have been put back.
        self._last = (now, 0) if now > milliseconds else (milliseconds, number + 1)
        message.put_at(group, write_position(self._last))
        self.used_at = time.monotonic()
        self._kept.append((self._last, self.used_at, message))
        self._forget(history)

    def since(self, position: Position, history: History) -> Missed:
        """Return what came after a position."""
        self.used_at = time.monotonic()
        self._forget(history)
        newest = write_position(self._last)
        if not self._floor <= position <= self._last:
            return Missed(newest, is_complete=False)
        return Missed(newest, [m for at, _, m in self._kept if at > position])

    def _forget(self, history: History) -> None:
        most = MOST if history.messages is None else history.messages
        oldest = -1.0 if history.seconds is None else self.used_at - history.seconds
        while self._kept and (len(self._kept) > most or self._kept[0][1] < oldest):
            self._floor = self._kept.popleft()[0]


def _now() -> int:
    return time.time_ns() // 1_000_000
