"""The messages of a group in the hands of a view."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from django_asgi_ext.exceptions import InvalidState
from django_asgi_ext.groups.feed import Feed
from django_asgi_ext.groups.message import write_id
from django_asgi_ext.threads import Unit
from django_asgi_ext.websockets.transport import Transport


class Subscription:
    """
    What is published to a group, for a view to iterate over.

    It begins with the first message that is asked for, or as a context manager. It
    ends with that, when the view leaves the group, when the connection is over,
    and when nothing refers to it any more, as behind a loop that was left.
    """

    def __init__(
        self,
        begin: Callable[[], Awaitable[Feed]],
        transport: Transport,
        unit: Unit,
        last_id: str | None = None,
    ) -> None:
        self._begin = begin
        self._transport = transport
        self._unit = unit
        self._last_id = last_id
        self._feed: Feed | None = None
        # Whether a task joins the group, or takes a message.
        self._is_taking = False
        self._loop = asyncio.get_running_loop()

    @property
    def last_id(self) -> str | None:
        """
        The id of the last message, from which another subscription may go on.

        Before the first message it is where this one has begun. None if that is not
        known: without a history, or before the group is joined.
        """
        feed = self._feed
        if feed is None or feed.position is None:
            return self._last_id
        return write_id(feed.group, feed.position)

    async def __aenter__(self) -> Subscription:
        """Join the group: what is published from now on is here to be taken."""
        with self._by_one_task():
            await self._join()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the group."""
        if self._feed is not None:
            self._feed.drop()

    # For a type checker what is not there is not there.
    if not TYPE_CHECKING:

        def __iter__(self) -> NoReturn:
            raise TypeError("socket.subscribe(...) is iterated over by async for.")

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Any:
        """
        Return the next message: str and bytes as they are, JSON decoded.

        End the iteration when there will be no more. Raise what joining raises, and
        InvalidState if another task is taking a message here.
        """
        with self._by_one_task():
            feed = await self._join()
            if self._unit.is_busy:
                self._unit.end()
            message = await feed.next()
        if message is None:
            # As by ConnectionClosed: the view may finish in its own time.
            self._transport.told |= not self._transport.is_open
            # Who tries again and again lets others run.
            await asyncio.sleep(0)
            raise StopAsyncIteration
        return message.value

    async def _join(self) -> Feed:
        if self._feed is None:
            self._feed = await self._begin()
        return self._feed

    @contextmanager
    def _by_one_task(self) -> Iterator[None]:
        if self._is_taking:
            raise InvalidState(
                "Cannot take a message: another task takes from this subscription "
                "already. Take them in one task and hand them on."
            )
        self._is_taking = True
        try:
            yield
        finally:
            self._is_taking = False

    def __del__(self) -> None:
        feed = self._feed
        if feed is not None and not feed.is_over and not self._loop.is_closed():
            # The view may join before the loop comes to it.
            feed.is_dropped = True
            # A collector of garbage may run on any thread.
            self._loop.call_soon_threadsafe(feed.drop)
