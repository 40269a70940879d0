"""
The states of a WebSocket and the ASGI events that lead from one to the next.

A connection begins in CONNECTING, with the opening handshake. Accepting leads
to OPEN; refusing leads to CLOSED, at once or, with a response, through DENYING.
Our websocket.close leads from OPEN to CLOSING, where the peer's answer is still
awaited, and websocket.disconnect leads to CLOSED from everywhere (RFC 6455,
sections 4.2.2 and 7.1; ASGI specification, "WebSocket").

             accept            close              disconnect
CONNECTING ---------->  OPEN ---------> CLOSING ------------> CLOSED
     |                    |                                     ^
     | response start     | disconnect                          |
     +--> DENYING --------+-------------------------------------+
                          response body
"""

from __future__ import annotations

from enum import Enum

from django_asgi_ext.exceptions import InvalidState


class State(Enum):
    """Where a WebSocket stands."""

    CONNECTING = "CONNECTING"
    DENYING = "DENYING"
    OPEN = "OPEN"
    CLOSING = "CLOSING"
    CLOSED = "CLOSED"


_AFTER_SENDING = {
    (State.CONNECTING, "websocket.accept"): State.OPEN,
    (State.CONNECTING, "websocket.close"): State.CLOSED,
    (State.CONNECTING, "websocket.http.response.start"): State.DENYING,
    (State.DENYING, "websocket.http.response.body"): State.CLOSED,
    (State.OPEN, "websocket.send"): State.OPEN,
    (State.OPEN, "websocket.close"): State.CLOSING,
}

_REMEDIES = {
    (State.CONNECTING, "websocket.send"): "Call accept() first.",
    (State.OPEN, "websocket.accept"): "The opening handshake is over.",
    (State.OPEN, "websocket.http.response.start"): "The opening handshake is over.",
}


def after_sending(state: State, event_type: str) -> State:
    """
    Return the state that sending an event of this type leads to.

    Raise InvalidState if it cannot be sent in this state.
    """
    try:
        return _AFTER_SENDING[state, event_type]
    except KeyError:
        remedy = _REMEDIES.get((state, event_type), "The connection is over.")
        raise InvalidState(
            f"Cannot send '{event_type}' while {state.value}. {remedy}"
        ) from None


def check_close(code: int, reason: str) -> None:
    """
    Check what a close frame would carry (RFC 6455, sections 5.5.1 and 7.4).

    Raise ValueError if the code must not be sent or if the reason has more
    than 123 bytes of UTF-8, and TypeError if they are no int and no str.
    """
    if not isinstance(code, int) or isinstance(code, bool):
        raise TypeError(f"A close code is an int, not {code!r}.")
    if not isinstance(reason, str):
        raise TypeError(f"A close reason is a str, not {reason!r}.")
    if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise ValueError(
            f"Close code {code} must not be sent. "
            "Use 1000-1003, 1007-1014 or 3000-4999."
        )
    size = len(reason.encode())
    if size > 123:
        raise ValueError(
            f"A close reason has at most 123 bytes of UTF-8, this one has {size}."
        )
