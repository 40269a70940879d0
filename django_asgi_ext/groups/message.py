"""What is published: encoded once, however many get it."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from django_asgi_ext.protocols import Event

# A time in milliseconds, and a number for those of the same one. As Redis has it.
Position = tuple[int, int]

_POSITION = re.compile(r"([0-9]{1,20})-([0-9]{1,20})")

# What a message was when it was published. PRESENCE is JSON of our own.
TEXT, BINARY, JSON, PRESENCE = "text", "binary", "json", "presence"


def read_position(text: str) -> Position | None:
    """Return a position as numbers, None if it is none."""
    found = _POSITION.fullmatch(text)
    return (int(found[1]), int(found[2])) if found else None


def write_position(position: Position) -> str:
    """Return a position as a peer sees it."""
    return f"{position[0]}-{position[1]}"


def write_id(group: str, position: Position) -> str:
    """Return what a peer goes on from: a position in the history of a group."""
    return f"{group}@{write_position(position)}"


class Message:
    """
    One message to a group, as it travels between processes and to the peers.

    ``kind`` says what it was: TEXT, BINARY, JSON or PRESENCE. ``payload`` is that,
    bytes for BINARY and else str. ``key`` is for groups of which a slow member sees
    the latest message only. ``exclude`` is the token of the member that does not
    get it. ``position`` is its place in the group's history, if there is one.
    ``event`` is what a member's send() gets; it is shared and never changed.
    """

    __slots__ = ("event", "exclude", "key", "kind", "payload", "position")

    def __init__(
        self,
        kind: str,
        payload: str | bytes,
        key: str | None = None,
        exclude: str | None = None,
    ) -> None:
        self.kind = kind
        self.payload = payload
        self.key = key
        self.exclude = exclude
        self.position: Position | None = None
        name = "bytes" if kind == BINARY else "text"
        self.event: Event = {"type": "websocket.send", name: payload}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.kind} {self.payload!r}>"

    @property
    def value(self) -> Any:
        """What was published, as a view gets it: JSON is decoded anew each time."""
        if self.kind in (JSON, PRESENCE):
            return json.loads(self.payload)
        return self.payload

    @property
    def size(self) -> int:
        """How much it takes, in bytes or characters."""
        return len(self.payload)

    def put_at(self, group: str, position: Position) -> None:
        """Give it its place in the history of its group, which the peer sees."""
        self.position = position
        about = f'{{"@id": "{write_id(group, position)}", '
        if isinstance(self.payload, bytes):
            data = f'"base64": "{base64.b64encode(self.payload).decode("ascii")}"}}'
        elif self.kind == JSON:
            data = f'"data": {self.payload}}}'
        else:
            data = f'"data": {json.dumps(self.payload)}}}'
        self.event = {"type": "websocket.send", "text": about + data}

    def to_bytes(self) -> bytes:
        """Return it for another process, without its position."""
        about = json.dumps([self.kind, self.key, self.exclude]).encode()
        payload = self.payload
        return (
            about + b"\n" + (payload.encode() if isinstance(payload, str) else payload)
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Message:
        """
        Return what to_bytes() has made into bytes.

        Raise ValueError if they are something else.
        """
        about, separator, payload = data.partition(b"\n")
        try:
            kind, key, exclude = json.loads(about)
            content = payload if kind == BINARY else payload.decode()
        except (ValueError, TypeError) as error:
            raise ValueError("These bytes are no message to a group.") from error
        if kind not in (TEXT, BINARY, JSON, PRESENCE) or not separator:
            raise ValueError("These bytes are no message to a group.")
        return cls(kind, content, key, exclude)


def encode(
    message: object, key: str | None = None, exclude: str | None = None
) -> Message:
    """
    Encode what is published: str and bytes as they are, anything else as JSON.

    Raise TypeError or ValueError for a value that JSON (RFC 8259, with what
    DjangoJSONEncoder adds) cannot express, and ValueError for a str that UTF-8
    cannot encode.
    """
    if key is not None and not isinstance(key, str):
        raise TypeError(f"The key of a message is a str, not {key!r}.")
    if isinstance(message, str):
        # Raises for a lone surrogate, which servers treat differently.
        message.encode()
        # Without what a subclass adds, as SafeString.
        return Message(TEXT, str.__str__(message), key, exclude)
    if isinstance(message, (bytes, bytearray, memoryview)):
        return Message(BINARY, bytes(message), key, exclude)
    try:
        text = json.dumps(message, cls=DjangoJSONEncoder, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(
            f"A group takes str, bytes and what DjangoJSONEncoder can encode: {error}."
        ) from error
    return Message(JSON, text, key, exclude)


def here(group: str, position: Position) -> Message:
    """Return what a peer gets that joins without an id: where the group is."""
    return _own({"@id": write_id(group, position)})


def missed(group: str, position: Position) -> Message:
    """Return what a peer gets that has missed more than the history has."""
    message = _own({"@id": write_id(group, position), "@missed": True})
    message.position = position
    return message


def present(group: str, members: list[dict[str, Any]]) -> Message:
    """Return what a peer gets that joins a group with presence."""
    return _own({"@presence": "members", "group": group, "members": members})


def presence(kind: str, group: str, member: dict[str, Any]) -> Message:
    """Return what the members get when one joins or leaves: a "join" or "leave"."""
    return _own({"@presence": kind, "group": group, "member": member})


def read_presence(message: Message) -> dict[str, Any] | None:
    """Return what a message says of who is there, None if it is about other things."""
    if message.kind != PRESENCE:
        return None
    value: dict[str, Any] = message.value
    return value if "@presence" in value else None


def _own(value: dict[str, Any]) -> Message:
    return Message(PRESENCE, json.dumps(value, cls=DjangoJSONEncoder))
