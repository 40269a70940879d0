"""Running a view for no longer than its connection lasts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from django_asgi_ext import conf
from django_asgi_ext.websockets import endings
from django_asgi_ext.websockets.state import State
from django_asgi_ext.websockets.transport import Transport

logger = logging.getLogger("django_asgi_ext.websocket")

T = TypeVar("T")

# How long a view has to notice that the peer has left before it is cancelled, in
# seconds. Together with the inbox's READ_AHEAD_AFTER it stays below one second.
GRACE = 0.5


@dataclass
class _Outcome(Generic[T]):
    result: T | None = None
    error: Exception | None = None


class RunningView(Generic[T]):
    """
    A view that runs.

    It is cancelled if the peer leaves and it does not notice. It notices by
    ConnectionClosed from a method of its socket: from then on it finishes in
    its own time. It is cancelled as well if the server shuts down, and has
    ASGI_EXT["SHUTDOWN_TIMEOUT"] seconds to end.
    """

    def __init__(
        self, transport: Transport, view: Callable[[], Awaitable[T]], name: str
    ) -> None:
        self._transport = transport
        self._name = name
        self._timer: asyncio.TimerHandle | None = None
        self._unread = 0
        self._stopping: asyncio.Task[None] | None = None
        self._parting: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        # A task of its own: it can be cancelled without the server's, and a
        # message that wakes it does not pass through all that stands above.
        self._task = asyncio.ensure_future(_outcome(view))
        # Whether there is nothing to wait for any more; then result() says more.
        self.over = self._loop.create_future()
        self._task.add_done_callback(self._end)
        transport.opening = self._loop.call_at(transport.open_until, self._check_open)
        transport.watcher = self
        transport.inbox.watch()

    def unwatch(self) -> None:
        """Do nothing more by itself."""
        self._transport.inbox.unwatch()
        self._transport.stop_opening()
        if self._timer is not None:
            self._timer.cancel()

    async def result(self) -> T:
        """
        Return what the view returned, when it is ``over``.

        Raise what it raised, and ConnectionClosed if it was cancelled because its
        connection is over.
        """
        for task in (self._parting, self._stopping):
            if task is not None:
                await task
        if not self._task.done():
            raise self._transport.closed()
        try:
            outcome = self._task.result()
        except asyncio.CancelledError as error:
            if self._transport.state in (State.CONNECTING, State.OPEN):
                raise RuntimeError("The view has cancelled itself.") from error
            raise self._transport.closed() from None
        if outcome.error is not None:
            try:
                raise outcome.error
            finally:
                # Its traceback leads here and would keep the connection alive.
                outcome.error = None
        return cast(T, outcome.result)

    def look(self, now: float, send_timeout: float, idle_timeout: float | None) -> None:
        """End the connection if its peer does not read or if nothing is said."""
        if self._parting is not None or not self._transport.is_open:
            return
        pulse = self._transport.current_pulse()
        if pulse.stuck_for(now, self._transport.unsent()) >= send_timeout:
            logger.warning(
                "The peer of the view %s has not read for %s seconds.",
                self._name,
                send_timeout,
            )
            self._part(self._transport.give_up(endings.TRY_AGAIN_LATER))
        elif idle_timeout is not None and pulse.idle_for(now) >= idle_timeout:
            self._part(self._transport.close(endings.GOING_AWAY, "idle"))

    def _part(self, ending: Coroutine[Any, Any, None]) -> None:
        self._parting = self._loop.create_task(self._end_and_tell(ending))

    async def _end_and_tell(self, ending: Coroutine[Any, Any, None]) -> None:
        await ending
        # As if it had left.
        self.peer_left()

    def stop(self, code: int = endings.SERVICE_RESTART) -> None:
        """Close the connection and end the view, as for a server that shuts down."""
        if self._stopping is None:
            self._stopping = self._loop.create_task(self.stop_and_wait(code))

    async def stop_and_wait(self, code: int = endings.SERVICE_RESTART) -> None:
        """Close the connection and wait for the view, for a bounded time."""
        timeout = conf.shutdown_timeout()
        try:
            await self._transport.abandon(code)
            if self._transport.told:
                # It was in recv() and ends by itself, in half of the time.
                await asyncio.wait({self._task}, timeout=timeout / 2)
        finally:
            # Even if whoever waits here is cancelled once more.
            self._task.cancel()
        await asyncio.wait({self._task}, timeout=timeout / 2)
        if not self._task.done():
            logger.error(
                "The view %s did not end within %s seconds of its connection.",
                self._name,
                timeout,
            )
        elif not self._task.cancelled():
            error = self._task.result().error
            if error is not None and endings.without_closed(error) is not None:
                logger.error(
                    "The view %s failed when it was stopped.",
                    self._name,
                    exc_info=error,
                )
        self._end()

    def _check_open(self) -> None:
        if self._transport.state is State.CONNECTING:
            logger.warning(
                "The view %s did not accept within %s seconds of the handshake.",
                self._name,
                conf.open_timeout(),
            )
            self.stop()

    def peer_floods(self) -> None:
        """Close the connection to a peer that sends more than the view ever takes."""
        logger.warning("The view %s does not take what its peer sends.", self._name)
        self.stop(endings.POLICY_VIOLATION)

    def peer_lags(self) -> None:
        """Close the connection to a peer that is too slow for a group."""
        self.stop(endings.TRY_AGAIN_LATER)

    def peer_left(self) -> None:
        """Cancel the view unless it notices soon."""
        self._unread = self._transport.inbox.unread()
        self._timer = self._loop.call_later(GRACE, self._cancel)

    def _cancel(self) -> None:
        if self._transport.told:
            return
        unread = self._transport.inbox.unread()
        if unread < self._unread:
            # It is still at what the peer has sent before it left.
            self.peer_left()
        else:
            self._task.cancel()

    def _end(self, _: object = None) -> None:
        if not self.over.done():
            self.over.set_result(None)


async def _outcome(view: Callable[[], Awaitable[T]]) -> _Outcome[T]:
    # The task does not fail with it: who cancels all tasks of a loop would
    # report a view that was told that the connection is closed.
    try:
        running = view()
        # Its arguments are not needed as long as it runs.
        del view
        return _Outcome(result=await running)
    except Exception as error:
        return _Outcome(error=error)
