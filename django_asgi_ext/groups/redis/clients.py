"""
The clients of Redis: one for all threads, and one for each event loop.

This file alone knows the package redis.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from threading import Lock
from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from django_asgi_ext.exceptions import GroupsUnavailable
from django_asgi_ext.groups.redis.location import Location
from django_asgi_ext.groups.redis.outage import Outage

try:
    import redis
    from redis import asyncio as aioredis
    from redis.asyncio.cluster import (
        ClusterNode as AsyncClusterNode,
        RedisCluster as AsyncRedisCluster,
    )
    from redis.asyncio.retry import Retry as AsyncRetry
    from redis.asyncio.sentinel import Sentinel as AsyncSentinel
    from redis.backoff import NoBackoff
    from redis.cluster import ClusterNode, RedisCluster
    from redis.retry import Retry
    from redis.sentinel import Sentinel
except ImportError as error:
    raise ImproperlyConfigured(
        "The Redis backend needs redis: pip install 'django-asgi-ext[redis]'."
    ) from error

# How long Redis may take to answer, in seconds.
TIMEOUT = 2.0

# What redis-py raises if nobody answers; that of a cluster is no RedisError.
_NO_ANSWER = (redis.RedisError, redis.exceptions.RedisClusterException, OSError)

# How many commands may be under way on one event loop.
MOST_COMMANDS = 32


class Refused(GroupsUnavailable):
    """Redis has answered, with an error."""


class Clients:
    """
    What sends commands to the Redis of a location.

    Each raises GroupsUnavailable if Redis is away, and takes TIMEOUT at most. None
    is sent twice: whoever did so would not know how often it was carried out.
    """

    def __init__(self, location: Location, outage: Outage) -> None:
        self.location = location
        self.outage = outage
        self._lock = Lock()
        # Held while Redis may have to be waited for, as the other never is.
        self._making = Lock()
        self._sync: Any = None
        self._by_loop: dict[asyncio.AbstractEventLoop, _LoopClient] = {}

    def run(self, script: str, keys: Sequence[str], *arguments: Any) -> Any:
        """Run a script on any thread."""
        return self.execute("EVAL", script, len(keys), *keys, *arguments)

    async def arun(self, script: str, keys: Sequence[str], *arguments: Any) -> Any:
        """Run a script on an event loop."""
        return await self.aexecute("EVAL", script, len(keys), *keys, *arguments)

    def execute(self, *command: Any) -> Any:
        """Send a command on any thread."""
        with self.guard():
            return self._sync_client().execute_command(*command)

    async def aexecute(self, *command: Any) -> Any:
        """Send a command on an event loop."""
        client = await self._loop_client()
        async with client.limit:
            with self.guard():
                return await client.redis.execute_command(*command)

    @contextmanager
    def guard(self, *, is_probe: bool = False) -> Iterator[None]:
        """Raise GroupsUnavailable for what redis raises, and note the outage."""
        if not is_probe:
            self.outage.check()
        try:
            yield
        except redis.exceptions.ClusterDownError as error:
            raise self._away(error) from error
        except redis.ResponseError as error:
            raise Refused(f"Redis refuses: {error}") from error
        except _NO_ANSWER as error:
            raise self._away(error) from error
        else:
            if not is_probe:
                self.outage.end()

    def _away(self, error: Exception) -> GroupsUnavailable:
        self.outage.begin(error)
        return GroupsUnavailable(f"Redis is away: {error}")

    def new_client(self) -> Any:
        """Return a client for the running loop that the caller closes."""
        return _make(self.location, is_async=True)

    def new_node(self, node: Any) -> Any:
        """Return a client for one node of a cluster that the caller closes."""
        arguments = _arguments(self.location, is_async=True)
        url = urlsplit(self.location.urls[0])
        host = f"[{node.host}]" if ":" in node.host else node.host
        authority = f"{url.netloc.rpartition('@')[0]}@{host}:{node.port}".lstrip("@")
        return aioredis.Redis.from_url(f"{url.scheme}://{authority}", **arguments)

    def close(self) -> None:
        """Let go of all connections."""
        with self._lock:
            sync, self._sync = self._sync, None
            clients, self._by_loop = self._by_loop, {}
        if sync is not None:
            sync.close()
        for loop, client in list(clients.items()):
            # One that is closed has closed its client before.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(client.close_soon)

    def _sync_client(self) -> Any:
        client = self._sync
        if client is None:
            with self._making:
                # Who has waited for one that failed does not try at once.
                self.outage.check()
                client = self._sync
                if client is None:
                    # A cluster is asked for its nodes; nothing else has answered.
                    with self.guard(is_probe=True):
                        client = self._sync = _make(self.location, is_async=False)
        return client

    async def _loop_client(self) -> _LoopClient:
        loop = asyncio.get_running_loop()
        client = self._by_loop.get(loop)
        if client is None:
            client = _LoopClient(self.new_client())
            with self._lock:
                # A loop that ends on another thread takes itself out meanwhile.
                for other in list(self._by_loop):
                    if other.is_closed():
                        self._by_loop.pop(other, None)
                self._by_loop[loop] = client
            await client.watch(loop, self._by_loop)
        return client


class _LoopClient:
    """The client of one event loop, which ends with it."""

    def __init__(self, client: Any) -> None:
        self.redis = client
        self.limit = asyncio.Semaphore(MOST_COMMANDS)
        self._guard: AsyncGenerator[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    async def watch(
        self,
        loop: asyncio.AbstractEventLoop,
        clients: dict[asyncio.AbstractEventLoop, _LoopClient],
    ) -> None:
        """Close it when the loop ends, which closes its async generators before."""

        async def until_the_end() -> AsyncGenerator[None]:
            try:
                yield
            finally:
                clients.pop(loop, None)
                await close_client(self.redis)

        self._guard = until_the_end()
        await anext(self._guard)

    def close_soon(self) -> None:
        """Close it on its loop."""
        if self._guard is not None:
            close = self._guard.aclose()
            self._closing = asyncio.ensure_future(close)


async def close_client(client: Any) -> None:
    """Close a client of an event loop, and those that it has of its own."""
    pool = getattr(client, "connection_pool", None)
    manager = getattr(pool, "sentinel_manager", None)
    sentinels = getattr(manager, "sentinels", ())
    # A cluster that is closed twice does nothing the second time.
    nodes = client.get_nodes() if isinstance(client, AsyncRedisCluster) else ()
    await finish(
        *(node.disconnect for node in nodes),
        client.aclose,
        *(sentinel.aclose for sentinel in sentinels),
    )


async def finish(*closing: Callable[[], Awaitable[object]]) -> None:
    """
    Call all of them, one after the other, whatever becomes of one.

    If the task is cancelled meanwhile, the one that it cuts off is called once more,
    and CancelledError is raised after the last.
    """
    cancelled: asyncio.CancelledError | None = None
    for close in closing:
        try:
            with suppress(*_NO_ANSWER):
                await close()
        except asyncio.CancelledError as error:
            cancelled = error
            with suppress(*_NO_ANSWER):
                await close()
    if cancelled is not None:
        raise cancelled


def check_arguments(location: Location) -> None:
    """Raise TypeError or ValueError for arguments that redis-py does not take."""
    arguments = _arguments(location, is_async=False)
    if not location.is_cluster:
        redis.ConnectionPool.from_url(location.urls[0], **arguments).make_connection()


def _make(location: Location, is_async: bool) -> Any:
    arguments = _arguments(location, is_async)
    if location.is_cluster:
        cluster: Any = AsyncRedisCluster if is_async else RedisCluster
        node: Any = AsyncClusterNode if is_async else ClusterNode
        nodes = [node(*_address(url, 6379)) for url in location.urls]
        return cluster.from_url(location.urls[0], startup_nodes=nodes, **arguments)
    if location.sentinel is not None:
        sentinel: Any = AsyncSentinel if is_async else Sentinel
        addresses = [_address(url, 26379) for url in location.urls]
        return sentinel(
            addresses,
            sentinel_kwargs=_sentinel_arguments(location, is_async),
            **arguments,
        ).master_for(location.sentinel)
    client: Any = aioredis.Redis if is_async else redis.Redis
    return client.from_url(location.urls[0], **arguments)


def _arguments(location: Location, is_async: bool) -> dict[str, Any]:
    return {
        "socket_timeout": TIMEOUT,
        "socket_connect_timeout": TIMEOUT,
        # The same on every release of Redis, and of Valkey.
        "protocol": 2,
        "retry": (AsyncRetry if is_async else Retry)(NoBackoff(), 0),
        **location.arguments,
    }


def _sentinel_arguments(location: Location, is_async: bool) -> dict[str, Any]:
    """Return what the sentinels need: what is in their URL, and none of OPTIONS."""
    url = urlsplit(location.urls[0])
    arguments = _arguments(replace(location, arguments={}), is_async)
    for name, value in ("username", url.username), ("password", url.password):
        if value is not None:
            arguments[name] = unquote(value)
    if url.scheme == "rediss":
        arguments["ssl"] = True
    return arguments


def _address(url: str, port: int) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "localhost", parts.port or port
