"""
What comes in: the one place that calls the server's receive().

While the view waits for a message, its own task waits in receive(): no other
task stands in between, so a message costs no extra switch. While the view does
something else, a reader takes over after a moment. It keeps what arrives, up to
a bound, and learns that the peer has left, which a server tells to nobody else.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import current_task
from collections import deque
from collections.abc import Callable

from django_asgi_ext.exceptions import InvalidState
from django_asgi_ext.protocols import Event, Receive
from django_asgi_ext.websockets.pulse import Pulse

logger = logging.getLogger("django_asgi_ext.websocket")

# How long a view is out of next() before the reader starts, in seconds.
READ_AHEAD_AFTER = 0.25

# Where the reader stops, so that the peer is held back by TCP.
MAX_EVENTS = 32
MAX_SIZE = 1024 * 1024

# How long the inbox may stay full, in seconds. Behind what nobody reads, a peer
# that leaves is not noticed.
FULL_TIMEOUT = 30


class Interrupted(Exception):
    """A call of next() was ended by interrupt()."""


class Inbox:
    """
    The events of one connection, in order.

    ``disconnect`` is the server's websocket.disconnect once it has been seen.
    ``on_disconnect`` is called when the reader, and not next(), has seen it, and
    ``on_full`` when nobody has taken what it read for FULL_TIMEOUT seconds.
    """

    def __init__(
        self,
        receive: Receive,
        on_disconnect: Callable[[], None],
        on_full: Callable[[], None],
        pulse: Pulse,
        may_cancel: bool = True,
    ) -> None:
        self.disconnect: Event | None = None
        self._on_disconnect = on_disconnect
        self._on_full = on_full
        self._receive = receive
        self._pulse = pulse
        # Else next() leaves receive() to the reader, which is not cancelled.
        self._may_cancel = may_cancel
        self._loop = asyncio.get_running_loop()
        self._events: deque[Event] = deque()
        self._size = 0
        self._stopped = False
        self._reader: asyncio.Task[None] | None = None
        self._arrival: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        # The task that waits in next(), its cancelling() when it began to, and
        # whether interrupt() has cancelled it since.
        self._receiver: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._interrupted = False

    async def next(self) -> Event:
        """
        Return the next event.

        Who gets websocket.disconnect keeps it in ``disconnect``; it is returned
        from then on.

        Raise InvalidState if another task is waiting here, and Interrupted if
        interrupt() was called meanwhile.
        """
        if self._receiver is not None:
            raise InvalidState(
                "Cannot receive: another task is in recv() already. "
                "Receive in one task and hand the messages on."
            )
        if self._events:
            if self._is_full():
                self.unwatch()
            event = self._events.popleft()
            self._size -= _size(event)
        elif self.disconnect is not None:
            return self.disconnect
        elif self._reader is not None or not self._may_cancel:
            event = await self._wait_for_reader()
        else:
            # Direct: this task waits in the server's receive() itself.
            task = self._receiver = current_task(self._loop)
            assert task is not None
            self._cancelling = task.cancelling()
            try:
                event = await self._receive()
                self._pulse.heard += 1
            except BaseException as error:
                event = self._failed(error)
            finally:
                self._receiver = None
        if self._timer is None:
            self.watch()
        return event

    def unread(self) -> int:
        """Return how many events have been read ahead."""
        return len(self._events)

    def stop(self) -> None:
        """Read nothing more; nobody is interested in this connection now."""
        self._stopped = True
        # It leads back to whoever holds this.
        self._on_disconnect = self._on_full = _nothing
        self.unwatch()
        if self._reader is not None:
            self._reader.cancel()

    def watch(self) -> None:
        """Read ahead unless the view comes back to next() soon."""
        self.unwatch()
        if self._stopped:
            return
        self._timer = self._loop.call_later(READ_AHEAD_AFTER, self._look)

    def unwatch(self) -> None:
        """Start no reader any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def interrupt(self) -> None:
        """End the call of next() that waits in another task, and stop reading."""
        self.unwatch()
        receiver = self._receiver
        if receiver is not None:
            self._interrupted = True
            receiver.cancel()
            while self._receiver is receiver:
                await asyncio.sleep(0)
        # After that, for next() starts a reader where it needs one.
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait({self._reader})

    async def find_disconnect(self, timeout: float) -> None:
        """Read on until the disconnect is seen, at most this many seconds."""
        if self.disconnect is None and self._receiver is None:
            await asyncio.wait({self._read_ahead()}, timeout=timeout)

    async def drain(self) -> None:
        """Throw away what still comes, until the disconnect."""
        self._events.clear()
        self._size = 0
        while self.disconnect is None:
            event = await self.next()
            if event["type"] == "websocket.disconnect":
                self.disconnect = event
        self.unwatch()

    async def _wait_for_reader(self) -> Event:
        task = self._receiver = current_task(self._loop)
        assert task is not None
        self._cancelling = task.cancelling()
        self._arrival = self._loop.create_future()
        self._read_ahead()
        try:
            await self._arrival
        except asyncio.CancelledError as error:
            self._failed(error)
        finally:
            self._receiver = None
        return await self.next()

    def _failed(self, error: BaseException) -> Event:
        """Return what a failure of receive() means, or raise."""
        if isinstance(error, asyncio.CancelledError):
            interrupted, self._interrupted = self._interrupted, False
            if interrupted and self._receiver is not None:
                # Above it, somebody else has cancelled the task as well.
                if self._receiver.uncancel() <= self._cancelling:
                    raise Interrupted from None
            # The view is out of next() now, and this time without an event.
            if self._timer is None:
                self.watch()
            raise error
        if not isinstance(error, Exception):
            raise error
        # OSError is how a server says that nobody is there any more.
        if not isinstance(error, OSError):
            logger.warning("The server's receive() failed.", exc_info=error)
        return {"type": "websocket.disconnect", "code": 1006}

    def _look(self) -> None:
        self._timer = None
        if self._receiver is None and self.disconnect is None:
            self._read_ahead()

    def _read_ahead(self) -> asyncio.Task[None]:
        if self._reader is None:
            self._reader = self._loop.create_task(self._read())
        return self._reader

    async def _read(self) -> None:
        try:
            while not self._is_full():
                try:
                    event = await self._receive()
                except Exception as error:
                    event = self._failed(error)
                if event["type"] == "websocket.disconnect":
                    self.disconnect = event
                    break
                self._pulse.heard += 1
                self._events.append(event)
                self._size += _size(event)
                if self._receiver is not None:
                    # The view is back: from here on it reads by itself.
                    break
        finally:
            self._reader = None
            if self._arrival is not None and not self._arrival.done():
                self._arrival.set_result(None)
        if self.disconnect is not None and self._receiver is None:
            self._on_disconnect()
        elif self._is_full() and not self._stopped:
            self.unwatch()
            self._timer = self._loop.call_later(FULL_TIMEOUT, self._on_full)

    def _is_full(self) -> bool:
        return len(self._events) >= MAX_EVENTS or self._size >= MAX_SIZE


def _nothing() -> None:
    pass


def _size(event: Event) -> int:
    return len(event.get("text") or event.get("bytes") or b"")
