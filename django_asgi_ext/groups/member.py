"""Sockets as members: how they join and leave, and what they get first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from django.http import HttpRequest

from django_asgi_ext import conf, deployment
from django_asgi_ext.groups import message as messages
from django_asgi_ext.groups.backends import backend
from django_asgi_ext.groups.base import Info
from django_asgi_ext.groups.delivery import delivery
from django_asgi_ext.groups.departures import Departure, departures
from django_asgi_ext.groups.feed import Feed
from django_asgi_ext.groups.message import Message, Position
from django_asgi_ext.groups.names import check_name
from django_asgi_ext.groups.policy import History, policy_of
from django_asgi_ext.groups.presence import describe
from django_asgi_ext.groups.receiver import Connection, Place, Receiver, logger
from django_asgi_ext.groups.resuming import last_position, position_of
from django_asgi_ext.protocols import Event

# Sends one event to the peer at once, and raises if it is gone.
SendNow = Callable[[Event], Awaitable[None]]

Tell = Callable[[str, int], Awaitable[None]]


class Member(Receiver):
    """
    One socket in its groups. All of it runs on the socket's event loop.

    ``tell`` is called with a group and how many of its messages were lost.
    """

    __slots__ = (
        "_appearing",
        "_delivery",
        "_tell",
        "_telling",
        "_untold",
    )

    def __init__(self, connection: Connection, tell: Tell) -> None:
        super().__init__(connection)
        deployment.warn_of_membership()
        self._tell = tell
        self._delivery = delivery()
        # Held while presence is told that it is there; made when that is needed.
        self._appearing: asyncio.Lock | None = None
        # What was lost by group since the last time, None if nothing ever was.
        self._untold: dict[str, int] | None = None
        self._telling: asyncio.Task[None] | None = None

    @property
    def groups(self) -> frozenset[str]:
        """The names of the groups that it is in."""
        return frozenset(self.places)

    async def join(
        self, group: str, request: HttpRequest, send: SendNow, info: Info | None
    ) -> None:
        """
        Join a group; the peer gets what it has missed, and who is there.

        Raise what check_name(), describe(), the backend and ``send`` raise.
        """
        check_name(group)
        place = self.places.get(group)
        if place is not None and place.feed is not None and place.feed.is_dropped:
            self.leave(group)
        elif place is not None:
            if info is not None:
                place.is_present = True
                await self._appear(place, request, info)
            return
        policy = policy_of(group)
        place = Place(self, group)
        if policy.history is not None or policy.presence:
            place.hold()
        self._add(place)
        try:
            now = await backend().subscribe(group)
            if policy.history is not None:
                since = last_position(request, group)
                for message in await self._first(place, since, now, policy.history):
                    # Another task may have left the group meanwhile.
                    if place.is_in:
                        await send(message.event)
            if policy.presence and place.is_in:
                await self._appear(place, request, info)
                members = await backend().amembers(group)
                if place.is_in:
                    await send(messages.present(group, members).event)
            for message in place.take_held():
                await send(message.event)
        except BaseException:
            # It must not be in half of it.
            self._take_out(place)
            raise

    async def subscribe(
        self,
        group: str,
        request: HttpRequest,
        info: Info | None,
        last_id: str | None = None,
        is_present: bool = True,
    ) -> Feed:
        """
        Join a group whose messages the view takes by itself.

        It gets what came after last_id before anything else. If it is not present,
        nobody hears of it, nor does it hear who is there.

        Raise what check_name(), describe() and the backend raise.
        """
        check_name(group)
        self.leave(group)
        feed = Feed(group, self._drop)
        place = Place(self, group, feed)
        place.is_present = is_present
        place.hold()
        self._add(place)
        policy = policy_of(group)
        try:
            now = await backend().subscribe(group)
            if policy.history is not None:
                since = None if last_id is None else position_of(last_id, group)
                first = await self._first(place, since, now, policy.history)
                feed.begin(since or now, first)
            if policy.presence and is_present:
                await self._appear(place, request, info)
                members = await backend().amembers(group)
                self.put(feed.outbox, group, messages.present(group, members))
            for message in place.take_held():
                self.put(feed.outbox, group, message)
        except BaseException:
            self._take_out(place)
            raise
        return feed

    def leave(self, group: str) -> None:
        """Leave a group; who is not in it is left alone."""
        place = self.places.pop(group, None)
        if place is None:
            return
        place.give_up()
        self._delivery.discard(place, backend().unsubscribe)
        if place.key is not None:
            self._depart(group, place.key)

    def _take_out(self, place: Place) -> None:
        """Leave a group with this place, not with one that was taken since."""
        if self.places.get(place.group) is place:
            self.leave(place.group)

    def _drop(self, feed: Feed) -> None:
        """Leave the group of a feed that nobody takes messages from any more."""
        place = self.places.get(feed.group)
        if place is not None and place.feed is feed:
            self.leave(feed.group)

    def end(self) -> None:
        """Leave all groups: the connection is over."""
        for group in list(self.places):
            try:
                self.leave(group)
            except Exception:
                # The others must be left all the same.
                logger.exception("Leaving the group %s failed.", group)
        if self.outbox is not None:
            self.outbox.end()

    def count_delivered(self) -> None:
        """Let the connection know how much was delivered to it."""
        for place in self.places.values():
            if place.roster is not None:
                place.roster.count(place)

    async def finish(self) -> None:
        """Wait for what still goes on, and let go of the connection."""
        self.end()
        if self.sending is not None:
            self.sending.cancel()
        tasks = {task for task in (self.sending, self._telling) if task is not None}
        if tasks:
            # What a server's send() or a receiver of signals does is not ours.
            await asyncio.wait(tasks, timeout=conf.close_timeout())
        # It leads back to here, and so does the function.
        self.connection = self._tell = _OVER

    def fail(self, error: BaseException) -> None:
        """Leave all groups: nobody is there any more."""
        super().fail(error)
        self.end()

    def fall_behind(self, group: str) -> None:
        """Close the connection, and leave all groups at once."""
        super().fall_behind(group)
        self.end()

    def lose(self, groups: list[str]) -> None:
        """Count messages that the peer will not get, and tell."""
        super().lose(groups)
        if self._untold is None:
            self._untold = {}
            logger.warning(
                "A member of the group %s is too slow and loses messages.", groups[0]
            )
        for group in groups:
            self._untold[group] = self._untold.get(group, 0) + 1
        if self._telling is None or self._telling.done():
            self._telling = asyncio.get_running_loop().create_task(
                self._tell_all(), context=self.context
            )

    async def _tell_all(self) -> None:
        while self._untold:
            await self._tell(*self._untold.popitem())

    def _add(self, place: Place) -> None:
        self.places[place.group] = place
        self._delivery.add(place)

    async def _first(
        self,
        place: Place,
        since: Position | None,
        now: Position | None,
        history: History,
    ) -> list[Message]:
        """
        Return what comes first: where a member is that was not there before.

        Else what it has missed since then.
        """
        if since is None:
            # What is still on its way here was published before.
            place.reached = now
            if now is None or place.feed is not None:
                return []
            return [messages.here(place.group, now)]
        missed = await backend().since(place.group, since, history)
        # What is still on its way here does not reach it twice.
        place.reached = missed.position
        if not missed.is_complete:
            return [messages.missed(place.group, missed.position)]
        return [one for one in missed.messages if not self.is_excluded(one)]

    async def _appear(
        self, place: Place, request: HttpRequest, info: Info | None
    ) -> None:
        """Let the other members know that this one is there."""
        if not policy_of(place.group).presence:
            return
        if self._appearing is None:
            self._appearing = asyncio.Lock()
        # One after the other: each takes the place of the one before.
        async with self._appearing:
            await self._enter(place, request, info)

    async def _enter(
        self, place: Place, request: HttpRequest, info: Info | None
    ) -> None:
        key, info = await describe(request, self.token, info)
        if not place.is_in:
            return
        departures.call_back(Departure(backend(), place.group, key, self.token))
        is_there = False
        try:
            await backend().enter(place.group, key, self.token, info)
            is_there = place.is_in
        finally:
            # Not before: it may have left and joined meanwhile.
            current = self.places.get(place.group)
            if not is_there and (current is None or key != current.key):
                # It has left, or was cancelled: it may be known by now.
                self._depart(place.group, key)
        if is_there:
            before, place.key = place.key, key
            if before is not None and key != before:
                self._depart(place.group, before)

    def _depart(self, group: str, key: str) -> None:
        """Have the others told that this one has left, unless it comes back."""
        departure = Departure(backend(), group, key, self.token)
        departures.add(departure, policy_of(group).grace)


class _Over:
    """In place of a connection that is over."""

    is_open = False


_OVER: Any = _Over()
