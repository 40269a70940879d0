"""What became of messages in this process, in numbers."""

from __future__ import annotations

import os
from threading import Lock


class Counters:
    """
    Numbers that only grow, from the start of the process.

    "dropped" are the messages that slow members have not got, each counted for
    each member, and "closed" the members that were closed for being too slow.
    """

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Count from the beginning."""
        self._lock = Lock()
        self._numbers = {"dropped": 0, "closed": 0}

    def add(self, name: str, number: int = 1) -> None:
        """Count, on any thread."""
        with self._lock:
            self._numbers[name] += number

    def read(self) -> dict[str, int]:
        """Return all numbers as they are now."""
        with self._lock:
            return dict(self._numbers)


counters = Counters()

# Another thread of the process that has forked may have held the lock, and the
# numbers are of that process. Windows does not fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=counters.begin_anew)
