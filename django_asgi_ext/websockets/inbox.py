"""
What comes in: the one place that calls the server's receive().

While the view waits for a message, its own task waits in receive(): no other
task stands in between, so a message costs no extra switch. WebSocket does that
itself, while ``is_direct``. While the view does something else, a reader takes
over after a moment. It keeps what arrives, up to a bound, and learns that the
peer has left, which a server tells to nobody else.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import current_task
from typing import Protocol

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


class Watcher(Protocol):
    """Who is told what happens while the view does not look."""

    def peer_left(self) -> None:
        """Take note that the reader has seen the disconnect."""

    def peer_floods(self) -> None:
        """Take note that nobody has taken what was read for FULL_TIMEOUT seconds."""

    def peer_lags(self) -> None:
        """Take note that the peer is too slow for a group that it is in."""


class Inbox:
    """
    The events of one connection, in order.

    ``disconnect`` is the server's websocket.disconnect once it has been seen.
    """

    def __init__(
        self,
        receive: Receive,
        watcher: Watcher,
        pulse: Pulse,
        may_cancel: bool = True,
    ) -> None:
        self.disconnect: Event | None = None
        self._watcher: Watcher | None = watcher
        self.receive = receive
        self._pulse = pulse
        # Else receive() is left to the reader, which is not cancelled.
        self._may_cancel = may_cancel
        # Whether nothing was read ahead and nobody reads.
        self.is_direct = may_cancel
        self.loop = asyncio.get_running_loop()
        # A list, for most of the time it is empty, and then a deque is large.
        self._events: list[Event] = []
        self._size = 0
        self._stopped = False
        self._reader: asyncio.Task[None] | None = None
        self._arrival: asyncio.Future[None] | None = None
        # Who waits until the disconnect is seen.
        self._found: asyncio.Future[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        # The task that waits in next(), its cancelling() when it began to, and
        # whether interrupt() has cancelled it since.
        self.receiver: asyncio.Task[object] | None = None
        self.cancelling = 0
        self._interrupted = False

    async def next(self) -> Event | None:
        """
        Return the next event; None if the caller may receive by itself now.

        A reader that waits is relieved: it would stay as long as the peer is silent.

        Raise what read() raises.
        """
        if (
            self._reader is None
            or not self._may_cancel
            or self.receiver is not None
            or self._events
        ):
            return await self.read()
        self._begin_to_wait()
        try:
            await self._stop_reader()
        except asyncio.CancelledError as error:
            self.failed(error)
        finally:
            self.receiver = None
        return None if self.is_direct else await self.read()

    async def read(self) -> Event:
        """
        Return the next event, which the reader has or will have.

        Who gets websocket.disconnect gives it to end(); it is returned from then
        on.

        Raise InvalidState if another task is waiting here, and Interrupted if
        interrupt() was called meanwhile.
        """
        if self.receiver is not None:
            raise InvalidState(
                "Cannot receive: another task is in recv() already. "
                "Receive in one task and hand the messages on."
            )
        if self._events:
            if self._is_full():
                self.unwatch()
            event = self._events.pop(0)
            self._size -= _size(event)
            self._look_for_direct()
        elif self.disconnect is not None:
            return self.disconnect
        else:
            event = await self._wait_for_reader()
        if self.timer is None:
            self.watch()
        return event

    def end(self, disconnect: Event) -> None:
        """Note that the peer is gone."""
        self.disconnect = disconnect
        self.is_direct = False
        if self._found is not None and not self._found.done():
            self._found.set_result(None)

    def _look_for_direct(self) -> None:
        self.is_direct = self._may_cancel and not (
            self._events or self._reader or self.disconnect
        )

    def unread(self) -> int:
        """Return how many events have been read ahead."""
        return len(self._events)

    def stop(self) -> None:
        """Read nothing more; nobody is interested in this connection now."""
        self._stopped = True
        # It leads back to whoever holds this.
        self._watcher = None
        self.unwatch()
        if self._reader is not None:
            self._reader.cancel()

    def watch(self) -> None:
        """Read ahead unless the view comes back to next() soon."""
        self.unwatch()
        if self._stopped:
            return
        self.timer = self.loop.call_later(READ_AHEAD_AFTER, self._look)

    def unwatch(self) -> None:
        """Start no reader any more."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    async def interrupt(self) -> None:
        """End the call of next() that waits in another task, and stop reading."""
        self.unwatch()
        receiver = self.receiver
        if receiver is not None:
            self._interrupted = True
            receiver.cancel()
            while self.receiver is receiver:
                await asyncio.sleep(0)
        # After that, for next() starts a reader where it needs one.
        await self._stop_reader()

    async def find_disconnect(self, timeout: float) -> None:
        """Wait until the disconnect is seen, at most this many seconds."""
        if self.disconnect is not None:
            return
        if self.receiver is None:
            await asyncio.wait({self._read_ahead()}, timeout=timeout)
        else:
            # Whoever receives will see it.
            if self._found is None:
                self._found = self.loop.create_future()
            await asyncio.wait({self._found}, timeout=timeout)

    async def drain(self) -> None:
        """Throw away what still comes, until the disconnect."""
        self._events.clear()
        self._size = 0
        while self.disconnect is None:
            event = await self.read()
            if event["type"] == "websocket.disconnect":
                self.end(event)
        self.unwatch()

    async def _wait_for_reader(self) -> Event:
        self._begin_to_wait()
        self._arrival = self.loop.create_future()
        self._read_ahead()
        try:
            await self._arrival
        except asyncio.CancelledError as error:
            self.failed(error)
        finally:
            self.receiver = None
        return await self.read()

    def _begin_to_wait(self) -> None:
        task = self.receiver = current_task(self.loop)
        assert task is not None
        self.cancelling = task.cancelling()

    def failed(self, error: BaseException) -> Event:
        """Return what a failure of receive() means, or raise."""
        if isinstance(error, asyncio.CancelledError):
            interrupted, self._interrupted = self._interrupted, False
            if interrupted and self.receiver is not None:
                # Above it, somebody else has cancelled the task as well.
                if self.receiver.uncancel() <= self.cancelling:
                    raise Interrupted from None
            # The view is out of next() now, and this time without an event.
            if self.timer is None:
                self.watch()
            raise error
        if not isinstance(error, Exception):
            raise error
        # OSError is how a server says that nobody is there any more.
        if not isinstance(error, OSError):
            logger.warning("The server's receive() failed.", exc_info=error)
        return {"type": "websocket.disconnect", "code": 1006}

    def _look(self) -> None:
        self.timer = None
        if self.receiver is None and self.disconnect is None:
            self._read_ahead()

    def _read_ahead(self) -> asyncio.Task[None]:
        if self._reader is None or self._reader.done():
            self.is_direct = False
            self._reader = self.loop.create_task(self._read())
        return self._reader

    async def _stop_reader(self) -> None:
        reader = self._reader
        if reader is None:
            return
        reader.cancel()
        await asyncio.wait({reader})
        if self._reader is reader:
            # It had not begun.
            self._reader = None
            self._look_for_direct()

    async def _read(self) -> None:
        try:
            while not self._is_full():
                try:
                    event = await self.receive()
                except Exception as error:
                    event = self.failed(error)
                if event["type"] == "websocket.disconnect":
                    self.end(event)
                    break
                self._pulse.heard = True
                self._events.append(event)
                self._size += _size(event)
                if self.receiver is not None:
                    # The view is back: from here on it reads by itself.
                    break
        finally:
            self._reader = None
            self._look_for_direct()
            if self._arrival is not None and not self._arrival.done():
                self._arrival.set_result(None)
        if self.disconnect is not None and self.receiver is None:
            if self._watcher is not None:
                self._watcher.peer_left()
        elif self._is_full() and not self._stopped:
            self.unwatch()
            self.timer = self.loop.call_later(FULL_TIMEOUT, self._tell_flood)

    def _tell_flood(self) -> None:
        if self._watcher is not None:
            self._watcher.peer_floods()

    def _is_full(self) -> bool:
        return len(self._events) >= MAX_EVENTS or self._size >= MAX_SIZE


def _size(event: Event) -> int:
    return len(event.get("text") or event.get("bytes") or b"")
