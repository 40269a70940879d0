"""
Hypercorn.

It gives 1006 as the code of every close of a peer's. Behind a message that is
too big it goes on reading and keeping what comes. A frame that is no WebSocket
frame ends the connection without a close frame. It forgets to tell that a peer
is gone which has sent something before the accept, and it waits for ever to
tell an application that has left ten messages unread.

It tells no WebSocket that it shuts down, and on Python 3.12 and later its
asyncio worker waits for all of them before it goes on. With several workers
the main process sends SIGTERM to the others as soon as one has ended, and they
die of it.
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from django_asgi_ext.protocols import Event, Receive, Send
from django_asgi_ext.servers.base import ABNORMAL, CloseAll, Server, cut_off, start

MESSAGE_TOO_BIG = 1009


def owns(send: Send) -> bool:
    """Return whether a send() is hypercorn's for a WebSocket."""
    owner = getattr(send, "__self__", None)
    return type(owner).__module__ == "hypercorn.protocol.ws_stream"


class Hypercorn(Server):
    """One of its streams."""

    __slots__ = ("_stream",)

    def __init__(self, receive: Receive, send: Send) -> None:
        super().__init__(receive, send)
        self._stream: Any = send.__self__  # type: ignore[attr-defined]

    def sender(self) -> Send:
        """Return its send(), which says if the peer is gone before the accept."""
        send, stream = self._send, self._stream

        def send_to_hypercorn(event: Event) -> Awaitable[None]:
            if event["type"] == "websocket.accept":
                # A frame before the accept ends it, and nobody would be told.
                if stream.closed:
                    raise ConnectionResetError("The peer did not wait for the accept.")
                return self._accept(event)
            return send(event)

        return send_to_hypercorn

    async def _accept(self, event: Event) -> None:
        await self._send(event)
        connection = getattr(self._stream, "connection", None)
        buffer = getattr(self._stream, "buffer", None)
        if connection is not None and buffer is not None:
            connection.__class__ = _listening(connection.__class__)
            buffer.__class__ = _bounded(buffer.__class__)
            buffer.on_overflow = self._overflow

    def _overflow(self) -> None:
        # It says so to the peer only, and then waits for an answer.
        put: Any = self._stream.app_put
        self._stream.app_put = _swallow
        disconnect = {"type": "websocket.disconnect", "code": MESSAGE_TOO_BIG}
        start(asyncio.get_running_loop(), functools.partial(put, disconnect))

    def close_of(self, disconnect: Event) -> tuple[int, str]:
        """Return the close code and reason, which it keeps to itself."""
        if disconnect.get("code") == ABNORMAL:
            connection = getattr(self._stream, "connection", None)
            return getattr(connection, "peers_close", None) or (ABNORMAL, "")
        return super().close_of(disconnect)

    def cut_off(self) -> None:
        """Break the connection off if the peer has not taken all that was sent."""
        # Over HTTP/2 others share it.
        protocol: Any = getattr(self._stream.send, "__self__", None)
        if protocol is not None and type(protocol).__name__ == "H11Protocol":
            tcp_server = getattr(protocol.send, "__self__", None)
            cut_off(getattr(getattr(tcp_server, "writer", None), "transport", None))

    def end(self) -> None:
        """Take what nobody will receive, else it waits for that and never closes."""
        self._stream.app_put = _swallow
        if hasattr(getattr(self._stream, "buffer", None), "on_overflow"):
            self._stream.buffer.on_overflow = None
        queue = getattr(self._receive, "__self__", None)
        if isinstance(queue, asyncio.Queue):
            while not queue.empty():
                queue.get_nowait()


async def _swallow(event: Event) -> None:
    pass


@functools.cache
def _listening(connection_class: type) -> type:
    """Return a subclass of wsproto's connection that keeps the peer's close."""

    class Listening(connection_class):  # type: ignore[misc]
        peers_close: tuple[int, str] | None = None

        def events(self) -> Iterator[Any]:
            for event in super().events():
                if type(event).__name__ == "CloseConnection":
                    self.peers_close = event.code, event.reason or ""
                    if self.state.name == "OPEN":
                        # The peer has broken the protocol. As if it had closed: then
                        # hypercorn sends it the code (RFC 6455, section 7.1.7).
                        self._state = type(self.state).REMOTE_CLOSING
                yield event

    return Listening


@functools.cache
def _bounded(buffer_class: type) -> type:
    """Return a subclass of hypercorn's buffer that keeps no more than it refuses."""

    class Bounded(buffer_class):  # type: ignore[misc]
        on_overflow: Callable[[], None] | None = None

        def extend(self, event: Any) -> None:
            if self.length > self.max_length:
                # The rest of a message that has been refused.
                return
            try:
                super().extend(event)
            except Exception:
                self.value = None
                if self.on_overflow is not None:
                    self.on_overflow()
                raise

    return Bounded


def watch_shutdown(loop: asyncio.AbstractEventLoop, close_all: CloseAll) -> None:
    """Close all connections when it has been asked to shut down."""
    for task in asyncio.all_tasks(loop):
        code = getattr(task.get_coro(), "cr_code", None)
        # Its own wait for the signal.
        if code is not None and code.co_name == "raise_shutdown":
            task.add_done_callback(lambda _: start(loop, close_all))


def survive_sigterm(send: Send, close_all: CloseAll) -> Callable[[], None]:
    """
    Let a worker finish what it does when its main process ends it.

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
            closing = start(loop, close_and_die)

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


def _nothing() -> None:
    pass
