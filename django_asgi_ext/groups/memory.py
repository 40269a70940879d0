"""Groups of one process, without anything beside it."""

from __future__ import annotations

import time
from threading import RLock
from typing import Any

from django_asgi_ext.groups.base import Backend, Deliver, Info, Missed
from django_asgi_ext.groups.history import Log
from django_asgi_ext.groups.message import Message, Position
from django_asgi_ext.groups.policy import History, policy_of
from django_asgi_ext.groups.presence import Table

# How long a history is kept that nobody needs, in seconds, and of how many groups.
UNUSED = 24 * 60 * 60
MOST_LOGS = 10_000


class MemoryBackend(Backend):
    """
    The default: it keeps what must be kept, and tells no other process.

    ASGI_EXT["GROUPS"]["LOCATION"] means nothing to it.
    """

    def __init__(self, location: Any, deliver: Deliver) -> None:
        super().__init__(location, deliver)
        # Positions are given and delivered in one order. Taken again when the
        # announcement of a member is published.
        self._lock = RLock()
        # Those used last are at the end.
        self._logs: dict[str, Log] = {}
        self._tables: dict[str, Table] = {}

    def publish(self, group: str, message: Message, history: History | None) -> None:
        """Keep a message of a group with history, and deliver it."""
        if history is None:
            return
        with self._lock:
            self._log(group).append(group, message, history)
            self.deliver(group, message)

    async def subscribe(self, group: str) -> Position | None:
        """Return where a group with history is now."""
        if policy_of(group).history is None:
            return None
        with self._lock:
            return self._log(group).now()

    async def since(self, group: str, position: Position, history: History) -> Missed:
        """Return what came after a position."""
        with self._lock:
            return self._log(group).since(position, history)

    async def enter(self, group: str, key: str, token: str, info: Info) -> None:
        """Note that a member is there."""
        with self._lock:
            if self._tables.setdefault(group, Table()).enter(key, token, info):
                self.announce("join", group, info, token)

    def exit(self, group: str, key: str, token: str) -> None:
        """Note that a member has left."""
        with self._lock:
            table = self._tables.get(group, Table())
            info = table.exit(key, token)
            if not table:
                self._tables.pop(group, None)
            if info is not None:
                self.announce("leave", group, info, token)

    def members(self, group: str) -> list[Info]:
        """Return the info of who is there."""
        with self._lock:
            table = self._tables.get(group)
            return table.infos() if table else []

    def close(self) -> None:
        """Forget who is there: who leaves later is not told of."""
        with self._lock:
            self._tables.clear()

    def _log(self, group: str) -> Log:
        log = self._logs.pop(group, None)
        if log is None:
            log = Log()
            self._forget_logs()
        self._logs[group] = log
        return log

    def _forget_logs(self) -> None:
        too_old = time.monotonic() - UNUSED
        while self._logs:
            group, log = next(iter(self._logs.items()))
            if log.used_at >= too_old and len(self._logs) < MOST_LOGS:
                break
            del self._logs[group]
