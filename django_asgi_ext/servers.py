"""
What a server does in a way of its own, and what is done about it.

Hypercorn gives 1006 as the code of every close of a peer's; that it was a clean
one is known only to what it is built on. It tells no WebSocket that it shuts
down, and on Python 3.12 and later its asyncio worker waits for all of them
before it goes on. It forgets to tell that a peer is gone which has sent
something before the accept. Besides, with several workers the main process
sends SIGTERM to the others as soon as one has ended, and they die of it.

Granian loses messages when its receive() is cancelled, its worker aborts when a
denial has two headers of one name, and it shuts down without a close frame.

Daphne drops the headers of an accept, empty messages and close reasons, and
refuses most close codes. What it is built on can do all of that. It shuts down
without a close frame as well, and gunicorn waits half a minute before it does.

A server is known by its send(). Behind middleware that wraps it, it is unknown
and taken for one that does everything right.
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

from django_asgi_ext.protocols import Event, Send

CloseAll = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Server:
    """How the server of one connection is to be treated."""

    # Its send(), with what it does wrong put right.
    send: Send
    # Whether receive() may be cancelled without the loss of a message.
    may_cancel_receive: bool = True
    # Whether the peer has closed cleanly, though the server says 1006.
    hides_clean_close: Callable[[], bool] = lambda: False


def server_of(send: Send) -> Server:
    """Return how the server that a send() belongs to is to be treated."""
    owner = getattr(send, "__self__", None)
    module = type(owner).__module__
    if module == "hypercorn.protocol.ws_stream":
        return Server(
            _for_hypercorn(send, owner), hides_clean_close=lambda: _is_closed(owner)
        )
    if module.startswith("granian"):
        return Server(_for_granian(send), may_cancel_receive=False)
    if (
        isinstance(send, functools.partial)
        and getattr(send.func, "__module__", None) == "daphne.server"
    ):
        return Server(_for_daphne(send, send.args[0]))
    return Server(send)


def _for_hypercorn(send: Send, stream: Any) -> Send:
    def send_to_hypercorn(event: Event) -> Awaitable[None]:
        # A frame before the accept ends it, and nobody would ever be told.
        if event["type"] == "websocket.accept" and stream.closed:
            raise ConnectionResetError("The peer did not wait for the accept.")
        return send(event)

    return send_to_hypercorn


def _is_closed(stream: Any) -> bool:
    state = getattr(getattr(stream, "connection", None), "state", None)
    return getattr(state, "name", None) == "CLOSED"


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


def watch_shutdown(close_all: CloseAll) -> None:
    """
    Close all connections when the server on the running loop begins to shut down.

    Call it in a connection: before there is one, a server may not run yet.
    """
    loop = asyncio.get_running_loop()
    for task in asyncio.all_tasks():
        code = getattr(task.get_coro(), "cr_code", None)
        if code is None:
            continue
        if code.co_name == "raise_shutdown":
            # Hypercorn's own wait for the signal.
            task.add_done_callback(lambda _: _start(loop, close_all))
        elif code.co_name == "_serve" and "gunicorn" in code.co_filename:
            frame = getattr(task.get_coro(), "cr_frame", None)
            worker = frame and frame.f_locals.get("self")
            if hasattr(worker, "alive"):
                _start(loop, functools.partial(_when_dead, worker, close_all))
    if "daphne.server" in sys.modules:
        # Not by import: the package knows nothing of Twisted otherwise.
        reactor: Any = sys.modules["twisted.internet.reactor"]
        defer: Any = sys.modules["twisted.internet.defer"]
        if reactor.running:
            # Twisted waits for what a trigger returns.
            reactor.addSystemEventTrigger(
                "before",
                "shutdown",
                lambda: defer.Deferred.fromFuture(_start(loop, close_all)),
            )


# The loop keeps only weak references to its tasks.
_tasks: set[asyncio.Task[None]] = set()


def _start(loop: asyncio.AbstractEventLoop, function: CloseAll) -> asyncio.Task[None]:
    task = loop.create_task(function())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return task


async def _when_dead(worker: Any, close_all: CloseAll) -> None:
    """Wait for gunicorn's worker, which tells nobody that it shuts down."""
    while worker.alive:
        await asyncio.sleep(0.1)
    await close_all()


def survive_sigterm(send: Send, close_all: CloseAll) -> Callable[[], None]:
    """
    Let a worker of hypercorn finish what it does when its main process ends it.

    On SIGTERM it closes all connections, and dies of the signal after all if it
    is not asked to shut down. Return a function that says that it has been.
    """
    server = type(getattr(send, "__self__", None)).__module__
    if (
        server != "hypercorn.asyncio.lifespan"
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        return _nothing
    loop = asyncio.get_running_loop()
    closing: asyncio.Task[None] | None = None

    def on_signal() -> None:
        nonlocal closing
        if closing is None:
            closing = _start(loop, close_and_die)

    async def close_and_die() -> None:
        await close_all()
        # Its own way to end begins within a tenth of a second.
        await asyncio.sleep(1)
        loop.remove_signal_handler(signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)

    def asked() -> None:
        if closing is not None:
            closing.cancel()

    loop.add_signal_handler(signal.SIGTERM, on_signal)
    return asked


def prepare_granian(close_all: CloseAll) -> None:
    """
    Let granian close all connections before it shuts down.

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
                    number, lambda: _start(loop, close_and_shut_down)
                )
            except NotImplementedError:
                # Windows: it stays as it was.
                return event
        return event

    signals.set_loop_signals = set_loop_signals  # type: ignore[attr-defined]


def _nothing() -> None:
    pass
