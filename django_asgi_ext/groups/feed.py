"""The messages of a group that a view takes by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from django_asgi_ext import conf
from django_asgi_ext.groups.message import Message
from django_asgi_ext.groups.outbox import Outbox
from django_asgi_ext.groups.receiver import Receiver, own_policy


class Feed:
    """
    What one view has not taken yet, within the bounds of an outbox.

    ``is_over`` is whether there will be no more.
    """

    def __init__(
        self, member: Receiver, group: str, leave: Callable[[Feed], None]
    ) -> None:
        self.group = group
        self.is_over = False
        self._leave = leave
        self._member = member
        self._outbox = Outbox(conf.outbox(), conf.outbox_size())
        self._arrival: asyncio.Future[None] | None = None

    def put(self, message: Message) -> None:
        """Put a message down; the view is treated as a peer that is too slow."""
        lost = self._outbox.push(self.group, message, own_policy(self.group, message))
        if lost is None:
            self._member.fall_behind(self.group)
        elif lost:
            self._member.lose(lost)
        self._wake()

    def end(self) -> None:
        """Note that there will be no more."""
        self.is_over = True
        self._wake()

    def drop(self) -> None:
        """Leave the group: nobody takes messages from here any more."""
        self._leave(self)

    async def next(self) -> Message | None:
        """
        Return the next message, None if there will be no more.

        One task at a time may wait here.
        """
        while not self._outbox and not self.is_over:
            self._arrival = asyncio.get_running_loop().create_future()
            await self._arrival
        return self._outbox.pop()

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)
