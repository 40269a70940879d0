"""The connections on which messages come."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Protocol

from django_asgi_ext.groups.redis.clients import Clients, close_client, finish

# What comes: MESSAGE with its data, or SUBSCRIBED when a channel is subscribed to.
MESSAGE, SUBSCRIBED = "message", "subscribed"

# Takes what has come: its kind, the channel, and the data of a message.
Receive = Callable[[str, str, bytes], None]

# After how long a silent Redis is asked whether it is there, and how long it then
# has to say so, in seconds.
SILENCE = 5.0

# How many channels are named at once.
_CHUNK = 500


class Subscriber(Protocol):
    """Connections for as long as all of them last."""

    async def subscribe(self, channels: Iterable[str]) -> None:
        """Have the messages of channels come."""

    async def unsubscribe(self, channels: Iterable[str]) -> None:
        """Have them come no more."""

    async def listen(self, receive: Receive) -> None:
        """Take all that comes, until GroupsUnavailable is raised."""

    async def close(self) -> None:
        """Let go of the connections."""


class Line:
    """One connection, to a server or to a node of a cluster."""

    def __init__(self, clients: Clients, client: Any, is_sharded: bool = False) -> None:
        self._clients = clients
        self._client = client
        self._pubsub = client.pubsub()
        prefix = "s" if is_sharded else ""
        self._subscribe = getattr(self._pubsub, f"{prefix}subscribe")
        self._unsubscribe = getattr(self._pubsub, f"{prefix}unsubscribe")
        self._message = f"{prefix}message"
        self._subscribed = f"{prefix}subscribe"
        self._unsubscribed = f"{prefix}unsubscribe"
        # How often the end of each channel is still to be confirmed.
        self._asked_for = Counter[str]()
        # The channels of one command must lie in one slot.
        self._chunk = 1 if is_sharded else _CHUNK

    async def subscribe(self, channels: Iterable[str]) -> None:
        """Have the messages of channels come."""
        await self._in_chunks(self._subscribe, channels)

    async def unsubscribe(self, channels: Iterable[str]) -> None:
        """Have them come no more."""
        channels = list(channels)
        self._asked_for.update(channels)
        await self._in_chunks(self._unsubscribe, channels)

    async def listen(self, receive: Receive) -> None:
        """Take all that comes, until GroupsUnavailable is raised."""
        with self._clients.guard(is_probe=True):
            while True:
                event = await self._next()
                kind, channel = event["type"], event["channel"]
                if kind == self._message:
                    receive(MESSAGE, channel.decode(), event["data"])
                elif kind == self._subscribed:
                    receive(SUBSCRIBED, channel.decode(), b"")
                elif kind == self._unsubscribed:
                    self._note_end(channel.decode())

    async def close(self) -> None:
        """Let go of the connection."""
        await finish(self._pubsub.aclose, partial(close_client, self._client))

    async def _next(self) -> dict[str, Any]:
        event = await self._pubsub.get_message(timeout=SILENCE)
        if event is None:
            await self._pubsub.ping()
            event = await self._pubsub.get_message(timeout=SILENCE)
            if event is None:
                raise TimeoutError("It does not answer")
        found: dict[str, Any] = event
        return found

    async def _in_chunks(
        self, command: Callable[..., Awaitable[None]], channels: Iterable[str]
    ) -> None:
        channels = list(channels)
        with self._clients.guard(is_probe=True):
            for start in range(0, len(channels), self._chunk):
                await command(*channels[start : start + self._chunk])

    def _note_end(self, channel: str) -> None:
        if channel not in self._asked_for:
            # It has moved to another node.
            raise ConnectionError(f"The channel {channel} is not here any more")
        self._asked_for[channel] -= 1
        if not self._asked_for[channel]:
            del self._asked_for[channel]


class Shards:
    """A connection to each node of a cluster that has a channel."""

    def __init__(self, clients: Clients, cluster: Any) -> None:
        self._clients = clients
        self._cluster = cluster
        self._lines: dict[str, Line] = {}
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._receive: Receive | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def subscribe(self, channels: Iterable[str]) -> None:
        """Have the messages of channels come."""
        for name, (node, some) in self._by_node(channels).items():
            line = self._lines.get(name)
            if line is None:
                client = self._clients.new_node(node)
                line = self._lines[name] = Line(self._clients, client, is_sharded=True)
                await line.subscribe(some)
                self._begin(line)
            else:
                await line.subscribe(some)

    async def unsubscribe(self, channels: Iterable[str]) -> None:
        """Have them come no more."""
        for name, (_, some) in self._by_node(channels).items():
            if name in self._lines:
                await self._lines[name].unsubscribe(some)

    async def listen(self, receive: Receive) -> None:
        """Take all that comes, until GroupsUnavailable is raised by one of them."""
        self._receive = receive
        for line in self._lines.values():
            self._begin(line)
        await self._ended

    async def close(self) -> None:
        """Let go of the connections."""
        lines = [line.close for line in self._lines.values()]
        await finish(self._stop, *lines, partial(close_client, self._cluster))

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, line: Line) -> None:
        if self._receive is not None:
            task = asyncio.create_task(line.listen(self._receive))
            task.add_done_callback(self._end)
            self._tasks.append(task)

    def _end(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._ended.done():
            self._ended.set_exception(error)

    def _by_node(self, channels: Iterable[str]) -> dict[str, tuple[Any, list[str]]]:
        found: dict[str, tuple[Any, list[str]]] = {}
        with self._clients.guard(is_probe=True):
            for channel in channels:
                node = self._cluster.get_node_from_key(channel)
                found.setdefault(node.name, (node, []))[1].append(channel)
        return found


async def connect(clients: Clients) -> Subscriber:
    """
    Return a subscriber to the Redis that is there now.

    Raise GroupsUnavailable if there is none.
    """
    client = clients.new_client()
    if not clients.location.is_cluster:
        return Line(clients, client)
    try:
        with clients.guard(is_probe=True):
            await client.initialize()
    except BaseException:
        await close_client(client)
        raise
    return Shards(clients, client)
