"""What django_asgi_ext raises."""

from __future__ import annotations


class UnsupportedProtocol(ValueError, KeyError):
    """
    No application is registered for the scope type of a connection.

    A KeyError too, for the registry is a mapping.
    """

    # That of a KeyError shows a key, not a text.
    __str__ = ValueError.__str__


class InvalidState(Exception):
    """A method of a WebSocket was called at a moment that does not allow it."""


class InvalidJSON(ValueError):
    """A message that should have been JSON (RFC 8259) is not."""


class GroupsUnavailable(Exception):
    """
    What groups need beyond this process cannot be reached now.

    A message that was published may have been kept all the same, if it went away
    before it could say so.
    """


class ConnectionClosed(Exception):
    """
    The WebSocket is closed, by its peer, by the server or by the view.

    ``code`` is the close code (RFC 6455, section 7.4) and ``reason`` the close
    reason, "" if there was none.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        if self.reason:
            return f"The WebSocket is closed: {self.code} ({self.reason})."
        return f"The WebSocket is closed: {self.code}."
