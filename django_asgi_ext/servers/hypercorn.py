"""
Hypercorn.

It gives 1006 as the code of every close of a peer's. Behind a message that is
too big it goes on reading and keeping what comes, and it unpacks a compressed
one to any size before it looks. A frame that is no WebSocket frame ends the
connection without a close frame. It forgets to tell that a peer is gone which
has sent something before the accept, and it waits for ever to tell an
application that has left ten messages unread.

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
import sys
import threading
import zlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from django_asgi_ext.protocols import Event, Receive, Send
from django_asgi_ext.servers.base import ABNORMAL, AsyncioServer, CloseAll, start

MESSAGE_TOO_BIG = 1009


def owns(send: Send) -> bool:
    """Return whether a send() is hypercorn's for a WebSocket."""
    owner = getattr(send, "__self__", None)
    return type(owner).__module__ == "hypercorn.protocol.ws_stream"


class Hypercorn(AsyncioServer):
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

    def sender_when_open(self) -> Send:
        """Return its send(), which is right from then on."""
        return self._send

    async def _accept(self, event: Event) -> None:
        if event.get("subprotocol") is not None:
            # Of several headers it knows the last one's only.
            self._stream.handshake.subprotocols = [event["subprotocol"]]
        await self._send(event)
        connection = getattr(self._stream, "connection", None)
        protocol: Any = getattr(connection, "_proto", None)
        if all(hasattr(protocol, name) for name in _HOOKS):
            _note_close(connection, protocol)
            _note_refusal(self._stream, protocol)
            for extension in protocol.extensions:
                if extension.enabled() and hasattr(extension, "_decompressor"):
                    _unpack_no_more(extension, self._stream.buffer.max_length)

    def close_of(self, disconnect: Event) -> tuple[int, str]:
        """Return the close code and reason, which it keeps to itself."""
        if disconnect.get("code") == ABNORMAL:
            connection = getattr(self._stream, "connection", None)
            protocol = getattr(connection, "_proto", None)
            return getattr(protocol, "peers_close", None) or (ABNORMAL, "")
        return super().close_of(disconnect)

    def transport(self) -> Any:
        """Return the transport, unless it is shared, as over HTTP/2."""
        protocol: Any = getattr(self._stream.send, "__self__", None)
        if protocol is None or type(protocol).__name__ != "H11Protocol":
            return None
        tcp_server = getattr(protocol.send, "__self__", None)
        return getattr(getattr(tcp_server, "writer", None), "transport", None)

    def end(self) -> None:
        """Take what nobody will receive, else it waits for that and never closes."""
        self._stream.app_put = _swallow
        _unhook(getattr(getattr(self._stream, "connection", None), "_proto", None))
        queue = getattr(self._receive, "__self__", None)
        if isinstance(queue, asyncio.Queue):
            while not queue.empty():
                queue.get_nowait()


async def _swallow(event: Event) -> None:
    pass


# What follows replaces methods of one object of wsproto's, each of which is called
# once per connection, or for a compressed message. Subclasses cost every message.
_HOOKS = ("_parse_more", "_process_close", "close", "extensions")


def _note_close(connection: Any, protocol: Any) -> None:
    """Keep what a connection of wsproto's was closed with, and by whose fault."""
    process_close = protocol._process_close

    def note(frame: Any) -> Any:
        frame = process_close(frame)
        protocol.peers_close = frame.payload
        return frame

    def watch(frames: Iterator[Any]) -> Iterator[Any]:
        try:
            yield from frames
        except Exception as error:
            # The peer has broken the protocol. As if it had closed: then hypercorn
            # sends it the code (RFC 6455, section 7.1.7).
            if connection.state.name == "OPEN":
                connection._state = type(connection.state).REMOTE_CLOSING
            protocol.peers_close = getattr(error, "code", ABNORMAL), ""
            raise

    protocol._process_close = note
    protocol._parse_more = watch(protocol._parse_more)


def _note_refusal(stream: Any, protocol: Any) -> None:
    """Forget a message that hypercorn has refused, and tell the application."""
    close = protocol.close

    def note(code: int | None = None, reason: str | None = None) -> Any:
        if code == MESSAGE_TOO_BIG and stream.state.name == "CONNECTED":
            # It says so to the peer only, and waits for an answer.
            put: Any = stream.app_put
            stream.app_put = _swallow
            stream.buffer = _Refused()
            disconnect = {"type": "websocket.disconnect", "code": MESSAGE_TOO_BIG}
            start(asyncio.get_running_loop(), functools.partial(put, disconnect))
        return close(code, reason)

    protocol.close = note


class _Refused:
    """In place of hypercorn's buffer: nothing that comes is of interest any more."""

    def extend(self, event: object) -> None:
        pass

    def to_message(self) -> Event:
        return {}

    def clear(self) -> None:
        pass


def _unpack_no_more(extension: Any, most: int) -> None:
    """Let wsproto's permessage-deflate (RFC 7692) unpack no more than so many bytes."""
    close_reason = sys.modules[type(extension).__module__].CloseReason
    unpack_all = extension.frame_inbound_payload_data

    def unpack(protocol: Any, data: bytes) -> Any:
        if not extension._inbound_compressed or not extension._inbound_is_compressible:
            return unpack_all(protocol, data)
        try:
            unpacked = extension._decompressor.decompress(bytes(data), most)
        except zlib.error:
            return close_reason.INVALID_FRAME_PAYLOAD_DATA
        if extension._decompressor.unconsumed_tail:
            return close_reason.MESSAGE_TOO_BIG
        return unpacked

    extension.frame_inbound_payload_data = unpack


def _unhook(protocol: Any) -> None:
    """Take the hooks out, which lead back to the connection."""
    if "_process_close" in getattr(protocol, "__dict__", {}):
        del protocol._process_close, protocol.close
        # Nobody is interested in what still comes.
        protocol._parse_more = iter(())
        for extension in protocol.extensions:
            extension.__dict__.pop("frame_inbound_payload_data", None)


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
        # Handlers of signals are the main thread's.
        or threading.current_thread() is not threading.main_thread()
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
