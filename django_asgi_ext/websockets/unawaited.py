"""The socket that a view gets with DEBUG: it tells of calls that nobody awaits."""

from __future__ import annotations

import functools
import logging
from typing import Any

from asgiref.sync import markcoroutinefunction

from django_asgi_ext.unawaited import NotAwaited, place_of_call
from django_asgi_ext.websockets.connection import WebSocket
from django_asgi_ext.websockets.options import view_name

logger = logging.getLogger("django_asgi_ext.websocket")


def _watched(name: str) -> Any:
    method = getattr(WebSocket, name)
    call = f"socket.{name}({'' if name.startswith('recv') else '...'})"

    @functools.wraps(method)
    def watched(self: WatchedWebSocket, *args: Any, **kwargs: Any) -> NotAwaited:
        tell = functools.partial(self.tell, call, place_of_call())
        return NotAwaited(method(self, *args, **kwargs), call, tell)

    return markcoroutinefunction(watched)


class WatchedWebSocket(WebSocket):
    """A WebSocket whose view is told if it does not await a call."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._told: set[str] = set()

    accept = _watched("accept")
    recv = _watched("recv")
    recv_json = _watched("recv_json")
    send = _watched("send")
    send_json = _watched("send_json")
    close = _watched("close")
    join = _watched("join")
    leave = _watched("leave")

    def tell(self, call: str, place: str) -> None:
        """Log a call that was not awaited, once for each line of code."""
        if place not in self._told:
            self._told.add(place)
            logger.warning(
                "%s: %s of the view %s does nothing without await. Write await %s.",
                place,
                call,
                view_name(self.request.view),
                call,
            )
