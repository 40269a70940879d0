"""The messages of one group as they come from Redis."""

from __future__ import annotations

import time
from concurrent.futures import Future

from django_asgi_ext.groups import message as messages
from django_asgi_ext.groups.base import Deliver
from django_asgi_ext.groups.message import Message, Position
from django_asgi_ext.groups.redis.clients import Refused
from django_asgi_ext.groups.redis.log import RedisLog
from django_asgi_ext.groups.redis.outage import logger

_START: Position = (0, 0)


class Flow:
    """
    One group that this process has members of.

    ``settled`` is done once its messages come, or Redis is known to be away.
    ``may_miss`` is whether a gap in the connection loses some of them.
    ``begun_at`` is the position after which all is delivered, and ``reached`` that
    of what was delivered last; both are None while Redis has not said so.

    Where there is a history, each message is delivered once, in its order: what
    has been published between two connections is read from there, and what comes
    meanwhile waits.
    """

    def __init__(self, group: str, deliver: Deliver, log: RedisLog | None) -> None:
        self.group = group
        self.settled: Future[None] = Future()
        self.may_miss = log is None
        self.is_ready = False
        self.begun_at: Position | None = None
        self.reached: Position | None = None
        self._deliver = deliver
        self._log = log
        self._position: Position | None = None
        self._held: list[Message] | None = None

    @property
    def has_history(self) -> bool:
        """Whether what was missed can be read."""
        return self._log is not None

    async def begin(self) -> None:
        """Find out once from where on messages count, before any of them comes."""
        if self._log is None or self._position is not None:
            return
        now = time.time_ns() // 1_000_000
        try:
            last = await self._log.last(self.group)
        except Exception as error:
            if not isinstance(error, Refused):
                # As Redis would count, if its clock is right.
                self._position = self._position or (now, 0)
                raise
            self._refuse(error)
        else:
            # Messages that come for the flow before this one may have been first.
            if self._position is None:
                self._reach(last)

    def hold(self) -> None:
        """Let messages wait: those before them are to be read first."""
        if self._log is not None:
            self._held = []

    def settle(self, is_ready: bool) -> None:
        """Let those go on who wait for messages to come."""
        self.is_ready = is_ready
        if not self.settled.done():
            self.settled.set_result(None)

    async def catch_up(self) -> bool:
        """
        Deliver what came since the last message, and what waits.

        Return whether that is all that was missed. Raise GroupsUnavailable.
        """
        is_complete = self._log is None or await self._read(self._log)
        held, self._held = self._held, None
        for message in held or ():
            self._take(message)
        return is_complete

    def take(self, message: Message) -> None:
        """Take a message from the connection."""
        if self._held is not None:
            self._held.append(message)
        else:
            self._take(message)

    async def _read(self, log: RedisLog) -> bool:
        try:
            missed = await log.since(self.group, self._position or _START)
        except Refused as error:
            self._refuse(error)
            return False
        if not missed.is_complete:
            self._skip_to(missed.position)
        for message in missed.messages:
            self._take(message)
        return missed.is_complete

    def _take(self, message: Message) -> None:
        position = message.position
        if position is not None:
            if self._position is not None and position <= self._position:
                return
            self._reach(position)
        self._deliver(self.group, message)

    def _skip_to(self, position: Position) -> None:
        """Tell the members that too much is missing to be read."""
        self._reach(position)
        self._deliver(self.group, messages.missed(self.group, position))

    def _reach(self, position: Position) -> None:
        self._position = self.reached = position
        if self.begun_at is None:
            self.begun_at = position

    def _refuse(self, error: Refused) -> None:
        logger.error("The history of the group %s is lost: %s", self.group, error)
        self._log = None
        self.may_miss = True
