"""
The rooms of this process, and who is in them.

Nobody waits for anybody here: what is said in a room is put down for each member
and sent by a task of that member's own, so a slow or dead peer harms no other.
All of it runs on the event loop and awaits nothing between looking and changing,
so it needs no lock. Another process has rooms of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from django.utils import timezone

from django_asgi_ext import ConnectionClosed, WebSocket

# How far a member may be behind: events that wait, and seconds for one of them.
MAX_WAITING = 100
SEND_TIMEOUT = 10

# Close code "Try Again Later" (the IANA registry of RFC 6455).
TRY_AGAIN_LATER = 1013

Event = dict[str, Any]


class Member:
    """One socket in a room, and the events that wait to be sent to it."""

    def __init__(self, room: Room, socket: WebSocket) -> None:
        self.name = socket.user.get_username()
        self._room = room
        self._socket = socket
        self._waiting: asyncio.Queue[Event] = asyncio.Queue(MAX_WAITING)
        self._too_slow = False

    def say(self, text: str) -> None:
        """Tell everybody in the room, this member too."""
        self._room.tell(
            {"type": "message", "user": self.name, "text": text, "at": timezone.now()}
        )

    def tell(self, event: Event) -> None:
        """Have an event sent after those that wait already."""
        try:
            self._waiting.put_nowait(event)
        except asyncio.QueueFull:
            self._too_slow = True

    async def deliver(self) -> None:
        """Send what the member is told; close the connection if it is too slow."""
        with suppress(ConnectionClosed, TimeoutError):
            while not self._too_slow:
                event = await self._waiting.get()
                async with asyncio.timeout(SEND_TIMEOUT):
                    await self._socket.send_json(event)
        # If the peer has left, this does nothing.
        await self._socket.close(TRY_AGAIN_LATER, "too slow")


class Room:
    """
    The members of a room.

    ``here`` is the names of the users, each once, however many sockets they have.
    """

    def __init__(self) -> None:
        self._members: set[Member] = set()
        # Pages read it in their threads: it is replaced and never changed.
        self.here: list[str] = []

    def tell(self, event: Event) -> None:
        """Tell every member."""
        for member in self._members:
            member.tell(event)

    def add(self, member: Member) -> None:
        """Welcome a member, and tell the others unless the user is here already."""
        before = self.here
        self.here = sorted({*before, member.name})
        if self.here != before:
            self.tell({"type": "join", "user": member.name, "here": self.here})
        self._members.add(member)
        member.tell({"type": "welcome", "user": member.name, "here": self.here})

    def remove(self, member: Member) -> None:
        """Let a member go, and tell the others if it was the user's last socket."""
        self._members.remove(member)
        before = self.here
        self.here = sorted({other.name for other in self._members})
        if self.here != before:
            self.tell({"type": "leave", "user": member.name, "here": self.here})


_rooms: dict[str, Room] = {}


@asynccontextmanager
async def join(name: str, socket: WebSocket) -> AsyncIterator[Member]:
    """Be in a room, which is there as long as somebody is in it."""
    room = _rooms.setdefault(name, Room())
    member = Member(room, socket)
    room.add(member)
    try:
        async with asyncio.TaskGroup() as tasks:
            delivery = tasks.create_task(member.deliver())
            try:
                yield member
            finally:
                delivery.cancel()
    finally:
        room.remove(member)
        if not room.here:
            del _rooms[name]


def list_rooms() -> list[tuple[str, list[str]]]:
    """Return the name of every room and who is there."""
    return sorted((name, room.here) for name, room in list(_rooms.items()))
