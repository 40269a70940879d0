"""Running a view for no longer than its connection lasts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from django_asgi_ext.websockets.transport import Transport

T = TypeVar("T")

# How long a view has to notice that the peer has left before it is cancelled, in
# seconds. Together with the inbox's READ_AHEAD_AFTER it stays below one second.
GRACE = 0.5


async def run_while_connected(transport: Transport, view: Awaitable[T]) -> T:
    """
    Await a view; cancel it if the peer leaves and it does not notice.

    A view notices by ConnectionClosed from a method of its socket; from then on
    it finishes in its own time.

    Raise ConnectionClosed in place of that CancelledError. Another one, as from
    a server that shuts down, goes through.
    """
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    cancelling = task.cancelling()
    timer: asyncio.TimerHandle | None = None
    cancelled = False

    def cancel() -> None:
        nonlocal cancelled
        if not transport.told:
            cancelled = True
            task.cancel()

    def peer_left() -> None:
        nonlocal timer
        timer = loop.call_later(GRACE, cancel)

    transport.on_peer_left = peer_left
    transport.inbox.watch()
    try:
        return await view
    except asyncio.CancelledError:
        if not cancelled:
            raise
        cancelled = False
        if task.uncancel() > cancelling:
            raise
        raise transport.closed() from None
    finally:
        transport.on_peer_left = _nothing
        transport.inbox.unwatch()
        if timer is not None:
            timer.cancel()
        if cancelled:
            # The view has ended in another way, maybe before it was cancelled.
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                pass
            task.uncancel()


def _nothing() -> None:
    pass
