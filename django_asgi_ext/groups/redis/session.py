"""One connection to Redis on which messages come, from its beginning to its end."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Iterable

from django_asgi_ext.groups.redis.envelope import unwrap
from django_asgi_ext.groups.redis.flow import Flow
from django_asgi_ext.groups.redis.location import Location
from django_asgi_ext.groups.redis.outage import logger
from django_asgi_ext.groups.redis.subscriber import SUBSCRIBED, Subscriber

# How many groups are subscribed to at once.
_MOST = 500


class Session:
    """
    What is subscribed to on one connection.

    It begins with a channel that is no group's, which holds the connection where
    there are no members. ``flows`` are those that are wanted, by their group; they
    belong to somebody else, who calls add() and discard() for each that changes.
    """

    def __init__(
        self,
        subscriber: Subscriber,
        location: Location,
        origin: str,
        flows: dict[str, Flow],
    ) -> None:
        self._subscriber = subscriber
        self._location = location
        self._origin = origin
        self._flows = flows
        self._own_channel = location.channel(f"@{origin}")
        self._begun = asyncio.Event()
        self._commands: asyncio.Queue[tuple[bool, Flow]] = asyncio.Queue()
        # Those that are subscribed to and not confirmed yet, by their channel.
        self._asked: dict[str, deque[Flow]] = {}
        self._tasks = asyncio.TaskGroup()
        # Those that were there before, and what some of them have lost for good.
        self._returning: set[Flow] | None = None
        self._incomplete: list[str] = []
        self._on_return: Callable[[list[str]], None] | None = None

    async def run(
        self, on_begin: Callable[[], None], on_return: Callable[[list[str]], None]
    ) -> None:
        """
        Take what comes, until GroupsUnavailable is raised in an exception group.

        ``on_begin`` is called when Redis has answered, and ``on_return`` when all
        messages come again, with the groups whose history does not go back to
        the last message.
        """
        async with self._tasks as tasks:
            await self._subscriber.subscribe([self._own_channel])
            tasks.create_task(self._subscriber.listen(self._receive))
            await self._begun.wait()
            on_begin()
            self._on_return = on_return
            self._returning = set(self._flows.values())
            for flow in self._flows.values():
                self.add(flow)
            self._check_return()
            await self._obey()

    def add(self, flow: Flow) -> None:
        """Have the messages of a group come."""
        self._commands.put_nowait((True, flow))

    def discard(self, flow: Flow) -> None:
        """Have them come no more."""
        self._commands.put_nowait((False, flow))
        self._settle(flow, is_ready=False)

    async def _obey(self) -> None:
        """Subscribe and unsubscribe, in the order in which it was asked for."""
        while True:
            batch = [await self._commands.get()]
            while len(batch) < _MOST and not self._commands.empty():
                batch.append(self._commands.get_nowait())
            for is_wanted, some in itertools.groupby(batch, lambda command: command[0]):
                flows = [flow for _, flow in some]
                if is_wanted:
                    await self._subscribe(flows)
                else:
                    await self._subscriber.unsubscribe(self._channels(flows))

    async def _subscribe(self, flows: list[Flow]) -> None:
        await asyncio.gather(*(flow.begin() for flow in flows))
        for flow in flows:
            flow.hold()
            channel = self._location.channel(flow.group)
            self._asked.setdefault(channel, deque()).append(flow)
        await self._subscriber.subscribe(self._channels(flows))

    def _channels(self, flows: Iterable[Flow]) -> list[str]:
        return [self._location.channel(flow.group) for flow in flows]

    def _receive(self, kind: str, channel: str, data: bytes) -> None:
        if kind == SUBSCRIBED:
            self._confirm(channel)
            return
        group = self._location.group(channel)
        flow = self._flows.get(group)
        if flow is None:
            return
        try:
            message = unwrap(group, data, self._origin)
        except ValueError:
            logger.exception("Something in the channel %s is no message.", channel)
            return
        if message is not None:
            flow.take(message)

    def _confirm(self, channel: str) -> None:
        if channel == self._own_channel:
            self._begun.set()
            return
        flow = self._asked[channel].popleft()
        if not self._asked[channel]:
            del self._asked[channel]
        if flow.has_history and self._flows.get(flow.group) is flow:
            self._tasks.create_task(self._catch_up(flow))
        else:
            self._settle(flow, is_ready=True)

    async def _catch_up(self, flow: Flow) -> None:
        if not await flow.catch_up():
            self._incomplete.append(flow.group)
        self._settle(flow, is_ready=True)

    def _settle(self, flow: Flow, is_ready: bool) -> None:
        flow.settle(is_ready)
        if self._returning is not None:
            self._returning.discard(flow)
            self._check_return()

    def _check_return(self) -> None:
        if not self._returning and self._on_return is not None:
            on_return, self._on_return = self._on_return, None
            self._returning = None
            on_return(self._incomplete)
