"""
Uvicorn.

It takes a connection that breaks for a close without a code.
"""

from __future__ import annotations

from typing import Any

from django_asgi_ext import conf
from django_asgi_ext.protocols import Event, Receive, Send
from django_asgi_ext.servers.base import ABNORMAL, NO_STATUS, AsyncioServer


def owns(send: Send) -> bool:
    """Return whether a send() is uvicorn's for a WebSocket."""
    module = type(getattr(send, "__self__", None)).__module__
    return module.startswith("uvicorn.protocols.websockets.")


class Uvicorn(AsyncioServer):
    """One of its connections."""

    __slots__ = ()

    def __init__(self, receive: Receive, send: Send) -> None:
        super().__init__(receive, send)
        # How long it waits for the peer's close, where it has ten seconds.
        send.__self__.close_timeout = conf.close_timeout()  # type: ignore[attr-defined]

    def close_of(self, disconnect: Event) -> tuple[int, str]:
        """Return the close code and reason; a close frame leads to both keys."""
        if disconnect.get("code") == NO_STATUS and "reason" not in disconnect:
            return ABNORMAL, ""
        return super().close_of(disconnect)

    def transport(self) -> Any:
        """Return the transport."""
        return getattr(self._send.__self__, "transport", None)  # type: ignore[attr-defined]
