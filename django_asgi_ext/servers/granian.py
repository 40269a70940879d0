"""
Granian.

It loses messages when its receive() is cancelled, its worker aborts when a
denial has two headers of one name, and it shuts down without a close frame. It
drops the headers of an accept, and takes a connection that breaks for a close
without a code; nothing can be done about these.
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import sys
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from django_asgi_ext.protocols import Event, Receive, Send
from django_asgi_ext.servers.base import CloseAll, Server, start


def owns(send: Send) -> bool:
    """Return whether a send() is granian's."""
    return type(getattr(send, "__self__", None)).__module__.startswith("granian")


def config_of(send: Send) -> SimpleNamespace:
    """Return what is known of its options: it hands none of them on."""
    workers = os.environ.get("GRANIAN_WORKERS", "")
    # Each of its processes has the command line of the first.
    for option, value in zip(sys.argv, [*sys.argv[1:], ""], strict=True):
        if option == "--workers":
            workers = value
        elif option.startswith("--workers="):
            workers = option.partition("=")[2]
    return SimpleNamespace(workers=int(workers) if workers.isdigit() else 1)


class Granian(Server):
    """One of its connections."""

    __slots__ = ("_is_cut_off",)

    may_cancel_receive = False

    def __init__(self, receive: Receive, send: Send) -> None:
        super().__init__(receive, send)
        self._is_cut_off = False

    def sender(self) -> Send:
        """Return its send(), to which no denial repeats the name of a header."""
        send = self._send

        async def send_to_granian(event: Event) -> None:
            if event["type"] == "websocket.http.response.start":
                event = {**event, "headers": _without_repetition(event["headers"])}
            try:
                await send(event)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if not self._is_cut_off or task is None:
                    raise
                # Nothing else ends it while the peer does not read.
                task.uncancel()
                raise ConnectionAbortedError("The peer does not read.") from None

        return send_to_granian

    def cut_off(self) -> None:
        """Note that the peer does not read: when the application ends, so does it."""
        self._is_cut_off = True


def _without_repetition(
    headers: Iterable[tuple[bytes, bytes]],
) -> list[tuple[bytes, bytes]]:
    """Join the values of a name, or keep the first where they cannot be joined."""
    joined: dict[bytes, bytes] = {}
    for name, value in headers:
        if name not in joined:
            joined[name] = value
        elif name != b"set-cookie":
            # RFC 9110, section 5.3.
            joined[name] += b", " + value
    return list(joined.items())


def prepare(close_all: CloseAll) -> None:
    """
    Let it close all connections before it shuts down.

    It gives an application no moment to do so. A worker sets its signals up
    after it has loaded the application, so this must be called on loading.
    """
    signals = sys.modules.get("granian._signals")
    original = getattr(signals, "set_loop_signals", None)
    if signals is None or original is None or hasattr(original, "__wrapped__"):
        return

    @functools.wraps(original)
    def set_loop_signals(loop: asyncio.AbstractEventLoop) -> Any:
        event = original(loop)

        async def close_and_shut_down() -> None:
            try:
                await close_all()
            finally:
                event.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                loop.add_signal_handler(
                    number, lambda: start(loop, close_and_shut_down)
                )
            except NotImplementedError:
                # Windows: it stays as it was.
                return event
        return event

    signals.set_loop_signals = set_loop_signals  # type: ignore[attr-defined]
