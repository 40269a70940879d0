"""What keeps this process connected, and knows when it was not."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

from django_asgi_ext.exceptions import GroupsUnavailable
from django_asgi_ext.groups.redis.clients import Clients
from django_asgi_ext.groups.redis.flow import Flow
from django_asgi_ext.groups.redis.outage import logger
from django_asgi_ext.groups.redis.session import Session
from django_asgi_ext.groups.redis.subscriber import connect

# How long it waits before it tries again, in seconds: at first, and at most.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0

# Called when messages come again, with the groups whose members may have missed
# some and for how long they did not come, in seconds.
OnReturn = Callable[[list[str], float], None]


class Link:
    """
    The connection on which messages come, again and again. It runs on one loop.

    ``connected_at`` is since when it is there, by time.monotonic(), or None.
    """

    def __init__(self, clients: Clients, origin: str, on_return: OnReturn) -> None:
        self.connected_at: float | None = None
        self._clients = clients
        self._origin = origin
        self._on_return = on_return
        self._flows: dict[str, Flow] = {}
        self._session: Session | None = None
        self._away_since: float | None = None
        self._failures = 0

    async def run(self) -> None:
        """Connect, and connect again whenever the connection breaks."""
        while True:
            try:
                await self._connect()
            except* GroupsUnavailable as errors:
                self._note_end(errors.exceptions[0])
            except* Exception as errors:
                logger.exception("The connection to Redis fails.")
                self._note_end(errors.exceptions[0])
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**self._failures)
            self._failures = min(self._failures + 1, 10)
            # All processes have lost it at the same moment.
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311

    def add(self, flow: Flow) -> None:
        """Have the messages of a group come."""
        self._flows[flow.group] = flow
        if self._session is not None:
            self._session.add(flow)
        elif self._away_since is not None:
            flow.settle(is_ready=False)

    def discard(self, flow: Flow) -> None:
        """Have them come no more."""
        if self._flows.get(flow.group) is flow:
            del self._flows[flow.group]
        if self._session is not None:
            self._session.discard(flow)
        flow.settle(is_ready=False)

    async def _connect(self) -> None:
        subscriber = await connect(self._clients)
        try:
            session = Session(
                subscriber, self._clients.location, self._origin, self._flows
            )
            await session.run(lambda: self._note_begin(session), self._note_return)
        finally:
            self._session = self.connected_at = None
            await subscriber.close()

    def _note_begin(self, session: Session) -> None:
        self._clients.outage.end()
        self._session = session
        self.connected_at = time.monotonic()

    def _note_return(self, incomplete: list[str]) -> None:
        self._failures = 0
        since, self._away_since = self._away_since, None
        if since is not None:
            lost = [flow.group for flow in self._flows.values() if flow.may_miss]
            self._on_return(sorted({*lost, *incomplete}), time.monotonic() - since)

    def _note_end(self, error: Exception) -> None:
        # It may have answered, but not with what is needed.
        self._clients.outage.begin(error.__cause__ or error)
        if self._away_since is None:
            self._away_since = time.monotonic()
        for flow in self._flows.values():
            flow.settle(is_ready=False)
