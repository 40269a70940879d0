"""
Calls that nobody awaits, which do nothing.

Python itself warns of them, on stderr and without a remedy. With DEBUG a view gets
a socket that says more. Without, nothing of this is there to cost a message time.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Coroutine, Generator
from types import CoroutineType
from typing import Any

from asgiref.sync import markcoroutinefunction

from django_asgi_ext.websockets.connection import WebSocket
from django_asgi_ext.websockets.options import view_name

logger = logging.getLogger("django_asgi_ext.websocket")


class NotAwaited(Coroutine[Any, Any, Any]):
    """What a method of a WebSocket returns, for whoever takes it for the result."""

    # For inspect.iscoroutine(), which libraries ask: no class can derive from it.
    __class__ = property(lambda self: CoroutineType)

    def __init__(
        self, coroutine: Coroutine[Any, Any, Any], call: str, tell: Callable[[], None]
    ) -> None:
        self._coroutine = coroutine
        self._call = call
        self._tell: Callable[[], None] | None = tell

    def __repr__(self) -> str:
        return f"<{self._call} not awaited>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("cr_") or name in ("__name__", "__qualname__"):
            # For whoever shows where a task waits.
            return getattr(self._coroutine, name)
        # Said here, where the view fails. It may last as long as the traceback.
        self._tell = self._tell and _tell_nothing
        raise AttributeError(
            f"{self._call} is not awaited yet and has no attribute '{name}'. Write "
            f"await {self._call}."
        )

    def __await__(self) -> Generator[Any, Any, Any]:
        self._tell = None
        return self._coroutine.__await__()

    def send(self, value: Any) -> Any:
        """Run it on, as the task that it was made does."""
        self._tell = None
        return self._coroutine.send(value)

    def throw(self, *args: Any) -> Any:
        """Raise an exception in it."""
        self._tell = None
        return self._coroutine.throw(*args)

    def close(self) -> None:
        """End it."""
        self._tell = None
        self._coroutine.close()

    def __del__(self) -> None:
        if self._tell is not None:
            # Said once is enough: Python keeps silent then.
            self._coroutine.close()
            self._tell()


def _tell_nothing() -> None:
    """Do nothing: it is said already."""


def _watched(name: str) -> Any:
    method = getattr(WebSocket, name)
    call = f"socket.{name}({'' if name.startswith('recv') else '...'})"

    @functools.wraps(method)
    def watched(self: WatchedWebSocket, *args: Any, **kwargs: Any) -> NotAwaited:
        caller = sys._getframe(1)
        tell = functools.partial(
            self.tell, call, f"{caller.f_code.co_filename}, line {caller.f_lineno}"
        )
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
