"""Running a view for no longer than its connection lasts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from django_asgi_ext.websockets import endings
from django_asgi_ext.websockets.transport import Transport

logger = logging.getLogger("django_asgi_ext.websocket")

T = TypeVar("T")

# How long a view has to notice that the peer has left before it is cancelled, in
# seconds. Together with the inbox's READ_AHEAD_AFTER it stays below one second.
GRACE = 0.5


async def run_while_connected(transport: Transport, view: Awaitable[T]) -> T:
    """
    Run a view and return what it returns; cancel it if the peer has left.

    It is not cancelled if it has noticed, by ConnectionClosed from a method of
    its socket: then it finishes in its own time.

    Raise what the view raises, and ConnectionClosed if it was cancelled. If this
    is cancelled, as by a server that shuts down, so is the view.
    """
    # A task of its own: it can be cancelled without the server's, and a message
    # that wakes it does not pass through all that stands above the view.
    task = asyncio.ensure_future(_outcome(view))
    timer: asyncio.TimerHandle | None = None

    def cancel() -> None:
        if not transport.told:
            task.cancel()

    def peer_left() -> None:
        nonlocal timer
        timer = asyncio.get_running_loop().call_later(GRACE, cancel)

    transport.on_peer_left = peer_left
    transport.inbox.watch()
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        await _abandon(transport, task)
        raise
    finally:
        transport.on_peer_left = _nothing
        transport.inbox.unwatch()
        if timer is not None:
            timer.cancel()
    try:
        outcome = task.result()
    except asyncio.CancelledError as error:
        if transport.inbox.disconnect is not None:
            raise transport.closed() from None
        raise RuntimeError("The view has cancelled itself.") from error
    if outcome.error is not None:
        raise outcome.error
    return cast(T, outcome.result)


@dataclass
class _Outcome(Generic[T]):
    result: T | None = None
    error: Exception | None = None


async def _outcome(view: Awaitable[T]) -> _Outcome[T]:
    # The task does not fail with it: who cancels all tasks of a loop would
    # report a view that was told that the connection is closed.
    try:
        return _Outcome(result=await view)
    except Exception as error:
        return _Outcome(error=error)


async def _abandon(transport: Transport, task: asyncio.Task[_Outcome[T]]) -> None:
    # The peer learns of it first, the view may take its time to clean up.
    await transport.abandon(endings.SERVICE_RESTART)
    task.cancel()
    await asyncio.wait({task})
    error = None if task.cancelled() else task.result().error
    if error is not None and endings.without_closed(error) is not None:
        logger.error("A view failed while it was cancelled.", exc_info=error)


def _nothing() -> None:
    pass
