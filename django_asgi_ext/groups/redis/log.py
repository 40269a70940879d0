"""The histories of groups, as streams of Redis."""

from __future__ import annotations

import math

from django_asgi_ext.groups.base import Missed
from django_asgi_ext.groups.history import MOST
from django_asgi_ext.groups.message import (
    Message,
    Position,
    read_position,
    write_position,
)
from django_asgi_ext.groups.policy import History
from django_asgi_ext.groups.redis.clients import Clients
from django_asgi_ext.groups.redis.scripts import APPEND, SINCE

# How long a history is kept that nobody publishes to, in seconds; longer if
# messages are kept longer.
UNUSED = 24 * 60 * 60

# The numbers of a position are of 64 bits.
_END = 2**64 - 1


class RedisLog:
    """The histories of all groups that are kept alike."""

    def __init__(self, clients: Clients, history: History) -> None:
        self._clients = clients
        self._history = history
        unused = max(UNUSED, history.seconds or 0)
        self._unused = math.ceil(unused * 1000)

    async def last(self, group: str) -> Position:
        """Return the position of the newest message."""
        return (await self.since(group, None)).position

    async def since(self, group: str, position: Position | None) -> Missed:
        """Return what came after a position, which may be any."""
        if position is not None and max(position) >= _END:
            position = None
        start = "" if position is None else write_position(position)
        last, is_known, entries = await self._clients.arun(
            SINCE, [self._key(group)], start, self._unused
        )
        newest = _position(last)
        if not is_known or position is None or position > newest:
            return Missed(newest, is_complete=False)
        return Missed(newest, [_message(group, *entry) for entry in entries])

    def append(self, group: str, message: Message) -> None:
        """Keep and publish a message, and give it its position."""
        answer = self._clients.run(APPEND, *self._append(group, message))
        message.put_at(group, _position(answer))

    async def aappend(self, group: str, message: Message) -> None:
        """Do the same on an event loop."""
        answer = await self._clients.arun(APPEND, *self._append(group, message))
        message.put_at(group, _position(answer))

    def _append(
        self, group: str, message: Message
    ) -> tuple[list[str], *tuple[object, ...]]:
        location = self._clients.location
        return (
            [self._key(group)],
            location.publish,
            location.channel(group),
            message.to_bytes(),
            self._history.messages or MOST,
            math.ceil((self._history.seconds or 0) * 1000),
            self._unused,
        )

    def _key(self, group: str) -> str:
        return self._clients.location.key(group, "log")


def _position(answer: bytes) -> Position:
    position = read_position(answer.decode())
    assert position is not None, answer
    return position


def _message(group: str, position: bytes, fields: list[bytes]) -> Message:
    message = Message.from_bytes(fields[1])
    message.put_at(group, _position(position))
    return message
