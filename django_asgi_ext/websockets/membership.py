"""The WebSocket of a view as a member of groups."""

from __future__ import annotations

import asyncio
from typing import Any

from django_asgi_ext.groups.feed import Feed
from django_asgi_ext.groups.member import Member
from django_asgi_ext.groups.names import check_name
from django_asgi_ext.groups.resuming import check_last_id
from django_asgi_ext.protocols import Event
from django_asgi_ext.threads import Unit
from django_asgi_ext.websockets.request import WebSocketRequest
from django_asgi_ext.websockets.subscription import Subscription
from django_asgi_ext.websockets.transport import BREATHE_MASK, SEND_ERRORS, Transport


class Membership:
    """What a WebSocket has to do with groups."""

    request: WebSocketRequest
    _transport: Transport
    _unit: Unit

    async def _open(self) -> None:
        """Accept, unless the handshake is over."""
        raise NotImplementedError

    async def _tell_lost(self, group: str, count: int) -> None:
        """Tell that so many messages of a group are lost."""
        raise NotImplementedError

    @property
    def groups(self) -> frozenset[str]:
        """The names of the groups that the socket is in."""
        member = self._transport.member
        return frozenset() if member is None else member.groups

    @property
    def member(self) -> Member | None:
        """The socket as a member of groups, None if it has never joined one."""
        return self._transport.member

    async def join(self, group: str, info: dict[str, Any] | None = None) -> None:
        """
        Join a group: what is published to it goes to the peer from now on.

        Accept first if the handshake is not over. What the peer has missed goes
        out before this returns, if the group has a history. ``info`` is what
        other members see of this one, if the group has presence; its "id" says
        who is the same. By default it has the "id" and the "name" of the user. To
        join once more does nothing, but for a new info.

        Raise ValueError for a name that no group can have, and ConnectionClosed
        if the connection is closed.
        """
        member = await self._as_member(group)
        await member.join(group, self.request, self._send_event, info)
        if not self._transport.is_open:
            raise self._transport.closed()

    async def leave(self, group: str) -> None:
        """Leave a group, if the socket is in it."""
        check_name(group)
        if self.member is not None:
            self.member.leave(group)

    def subscribe(
        self,
        group: str,
        info: dict[str, Any] | None = None,
        last_id: str | None = None,
        presence: bool = False,
    ) -> Subscription:
        """
        Return what is published to a group, to iterate over.

        The socket joins it with the first message that is asked for, or when it enters
        ``async with``, at whose end it leaves. The peer gets nothing by itself: that
        is for the view to send. str and bytes are as they were published, JSON is
        decoded. The iteration ends when the connection is over.

        If the group has presence, the socket is none of those who are there, and does
        not hear of them. With ``presence``, or an ``info`` as for join(), it is.

        With ``last_id``, an id of a group with a history, what came after that
        comes first. If more is missing than is kept, or it is none of the group's
        ids, there is {"@id": ..., "@missed": True} in place of it.

        Raise ValueError for a name that no group can have, TypeError for an id that
        is no str, and ImproperlyConfigured for an id if the group has no history.
        """
        check_name(group)
        check_last_id(last_id, group)

        async def begin() -> Feed:
            member = await self._as_member(group)
            is_present = presence or info is not None
            return await member.subscribe(
                group, self.request, info, last_id, is_present
            )

        return Subscription(begin, self._transport, self._unit, last_id)

    async def _as_member(self, group: str) -> Member:
        check_name(group)
        transport = self._transport
        if not transport.is_open:
            await self._open()
            if not transport.is_open:
                # Who tries again and again lets others run.
                await asyncio.sleep(0)
                transport.check_sending()
        if transport.member is None:
            transport.member = Member(transport, self._tell_lost)
        return transport.member

    async def _send_event(self, event: Event) -> None:
        transport = self._transport
        if not transport.is_open:
            transport.check_sending()
        pulse = transport.pulse
        pulse.begun += 1
        try:
            if not pulse.begun & BREATHE_MASK:
                await asyncio.sleep(0)
            await transport.asgi_send(event)
        except SEND_ERRORS as error:
            raise await transport.failed() from error
        finally:
            pulse.done += 1
