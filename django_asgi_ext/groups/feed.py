"""The messages of a group that a view takes by itself."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from django_asgi_ext.groups.message import Message, Position
from django_asgi_ext.groups.receiver import new_outbox


class Feed:
    """
    What one view has not taken yet: it waits in an ``outbox`` as for a slow peer.

    ``is_over`` is whether there will be no more, ``is_dropped`` whether nobody takes
    messages from here any more, so that drop() will be called. ``position`` is that of
    the message which was taken last, and before that where it has begun; None if the
    group has no history.
    """

    def __init__(self, group: str, leave: Callable[[Feed], None]) -> None:
        self.group = group
        self.is_over = self.is_dropped = False
        self._leave = leave
        self.outbox = new_outbox()
        self.position: Position | None = None
        # What comes before all that is in the outbox.
        self._first: deque[Message] = deque()
        self._arrival: asyncio.Future[None] | None = None

    def begin(self, position: Position | None, first: Iterable[Message]) -> None:
        """Go on from a position, with what comes before anything else."""
        self.position = position
        self._first.extend(first)

    def end(self) -> None:
        """Note that there will be no more."""
        self.is_over = True
        self.outbox.end()
        self.wake()

    def drop(self) -> None:
        """Leave the group: nobody takes messages from here any more."""
        self._leave(self)

    async def next(self) -> Message | None:
        """
        Return the next message, None if there will be no more.

        One task at a time may wait here.
        """
        if self._first:
            # Who takes many lets others run.
            await asyncio.sleep(0)
            message: Message | None = self._first.popleft()
        else:
            while not self.outbox and not self.is_over:
                self._arrival = asyncio.get_running_loop().create_future()
                await self._arrival
            message = self.outbox.pop()
        if message is not None and message.position is not None:
            self.position = message.position
        return message

    def wake(self) -> None:
        """Let whoever waits look: there is a message, or will be none."""
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)
