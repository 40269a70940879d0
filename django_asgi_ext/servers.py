"""
What a server does in a way of its own, and what is done about it.

Hypercorn tells no WebSocket that it shuts down, and on Python 3.12 and later
its asyncio worker waits for all of them before it goes on. Besides, with several
workers the main process sends SIGTERM to the others as soon as one has ended,
and they die of it in the middle of their work.

Granian loses messages when its receive() is cancelled, and its worker aborts
when a denial has two headers of one name.

Daphne drops the headers of an accept, empty messages and close reasons, and
refuses most close codes. What it is built on can do all of that.

A server is known by its send(). Behind middleware that wraps it, it is unknown
and taken for one that does everything right.
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django_asgi_ext.protocols import Event, Send


@dataclass(frozen=True)
class Server:
    """How the server of one connection is to be treated."""

    # Its send(), with what it does wrong put right.
    send: Send
    # Whether receive() may be cancelled without the loss of a message.
    may_cancel_receive: bool = True


def server_of(send: Send) -> Server:
    """Return how the server that a send() belongs to is to be treated."""
    if type(getattr(send, "__self__", None)).__module__.startswith("granian"):
        return Server(_for_granian(send), may_cancel_receive=False)
    if (
        isinstance(send, functools.partial)
        and getattr(send.func, "__module__", None) == "daphne.server"
    ):
        return Server(_for_daphne(send, send.args[0]))
    return Server(send)


def _for_granian(send: Send) -> Send:
    async def send_to_granian(event: Event) -> None:
        if event["type"] == "websocket.http.response.start":
            event = {**event, "headers": _without_repetition(event["headers"])}
        await send(event)

    return send_to_granian


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


def _for_daphne(send: Send, protocol: Any) -> Send:
    async def send_to_daphne(event: Event) -> None:
        if event["type"] == "websocket.accept":
            # It hands this on to autobahn, where a pair carries headers.
            headers: dict[str, list[str]] = {}
            for name, value in event["headers"]:
                headers.setdefault(name.decode("ascii"), []).append(
                    value.decode("latin-1")
                )
            event = {**event, "subprotocol": (event["subprotocol"], headers)}
        elif event["type"] == "websocket.close" and not _is_connecting(protocol):
            protocol.sendCloseFrame(
                code=event["code"], reasonUtf8=event["reason"].encode()
            )
            return
        elif event["type"] == "websocket.send":
            text, data = event.get("text"), event.get("bytes")
            if not text and not data:
                protocol.serverSend(data if text is None else text, text is None)
                return
        await send(event)

    return send_to_daphne


def _is_connecting(protocol: Any) -> bool:
    return bool(protocol.state == protocol.STATE_CONNECTING)


def watch_shutdown(callback: Callable[[], None]) -> None:
    """Call a function when the server on the running loop begins to shut down."""
    for task in asyncio.all_tasks():
        code = getattr(task.get_coro(), "cr_code", None)
        if code is not None and code.co_name == "raise_shutdown":
            # Hypercorn's own wait for the signal.
            task.add_done_callback(lambda _: callback())


def survive_sigterm(
    send: Send, callback: Callable[[], None], patience: float
) -> Callable[[], None]:
    """
    Let a worker of hypercorn finish what it does when its main process ends it.

    Call the function on SIGTERM, and die of the signal after all if the worker
    has not been asked to shut down after so many seconds of patience. Return a
    function that says that it has been.
    """
    server = type(getattr(send, "__self__", None)).__module__
    if (
        server != "hypercorn.asyncio.lifespan"
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        return _nothing
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle | None = None

    def on_signal() -> None:
        nonlocal timer
        callback()
        if timer is None:
            timer = loop.call_later(patience, die)

    def die() -> None:
        loop.remove_signal_handler(signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)

    def asked() -> None:
        if timer is not None:
            timer.cancel()

    loop.add_signal_handler(signal.SIGTERM, on_signal)
    return asked


def _nothing() -> None:
    pass
