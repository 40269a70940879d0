"""What has passed on a connection, for whoever reads the error of a test."""

from __future__ import annotations

import time
from collections import deque
from reprlib import Repr

from django_asgi_ext.protocols import Event

# How many events are kept: the last ones say what went wrong.
_MOST = 50

_short = Repr()
_short.maxstring = _short.maxother = 60
_short.maxlist = 2


class Transcript:
    """
    The events of one connection, with their direction and time in seconds.

    In between is what was logged, marked with "!!".
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._number = 0
        self._events: deque[tuple[float, str, Event | str]] = deque(maxlen=_MOST)

    def to_view(self, event: Event) -> None:
        """Note an event that the application gets."""
        self._add("->", event)

    def to_client(self, event: Event) -> None:
        """Note an event that the application sends."""
        self._add("<-", event)

    def logged(self, text: str) -> None:
        """Note what was logged meanwhile."""
        self._add("!!", text)

    def _add(self, direction: str, event: Event | str) -> None:
        self._number += 1
        self._events.append((time.monotonic() - self._began, direction, event))

    def __str__(self) -> str:
        lines = [
            f"{seconds:8.3f} {direction} "
            f"{event if isinstance(event, str) else shorten(event)}"
            for seconds, direction, event in self._events
        ]
        omitted = self._number - len(self._events)
        if omitted:
            lines.insert(0, f"         ({omitted} events before)")
        return "\n".join(lines)


def shorten(event: Event) -> str:
    """Return an event as one line."""
    values = (
        f"{name}={_short.repr(value)}"
        for name, value in event.items()
        if name != "type" and (value or _is_message(name, value))
    )
    return " ".join((event["type"], *values))


def shorten_message(message: str | bytes) -> str:
    """Return a message as one line."""
    return _short.repr(message)


def duration(seconds: float) -> str:
    """Return a time in words."""
    return f"{seconds:g} second{'' if seconds == 1 else 's'}"


def _is_message(name: str, value: object) -> bool:
    # An empty one is one too.
    return name in ("text", "bytes") and value is not None
