"""
Daphne.

It drops the headers of an accept, empty messages and close reasons, refuses
most close codes, answers a denial with 403 and a peer that breaks the protocol
with the end of the connection, and resets it after a close of its own. It never
holds a peer back and never waits for one. What it is built on, autobahn and
Twisted, can do all of that. It shuts down without a close frame, and it has no
lifespan.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from typing import Any

from django_asgi_ext import conf
from django_asgi_ext.protocols import Event, Receive, Send
from django_asgi_ext.servers.base import ABNORMAL, CloseAll, Server, start
from django_asgi_ext.servers.http import response_bytes

# From how many unread messages, or bytes of them, a peer is held back.
MAX_UNREAD = 32
MAX_UNREAD_SIZE = 1024 * 1024


def owns(send: Send) -> bool:
    """Return whether a send() is daphne's."""
    return (
        isinstance(send, functools.partial)
        and getattr(send.func, "__module__", None) == "daphne.server"
    )


class Daphne(Server):
    """One of its connections."""

    __slots__ = ("_denial", "_flow", "_protocol")

    takes_denials = True

    def __init__(self, receive: Receive, send: Send) -> None:
        super().__init__(receive, send)
        self._protocol: Any = send.args[0]  # type: ignore[attr-defined]
        # The start of a response to the handshake, until its body comes.
        self._denial: Event = {}
        self._flow = _Flow(receive, self._protocol.transport)
        # It puts there what comes, and gives it to nobody else.
        self._protocol.application_queue = self._flow

    def receiver(self) -> Receive:
        """Return a receive() that lets the peer go on."""
        return self._flow.get

    def sender(self) -> Send:
        """Return a send() that can do what daphne's cannot."""
        return self._send_to_daphne

    async def _send_to_daphne(self, event: Event) -> None:
        kind, protocol = event["type"], self._protocol
        if kind == "websocket.send":
            if self._flow.is_held_back:
                await self._flow.wait()
            text, data = event.get("text"), event.get("bytes")
            # Its limit is meant for the peer's messages, and it sends at once.
            limit, protocol.maxMessagePayloadSize = protocol.maxMessagePayloadSize, 0
            try:
                protocol.serverSend(data if text is None else text, text is None)
            finally:
                protocol.maxMessagePayloadSize = limit
            return
        elif kind == "websocket.accept":
            event = {**event, "subprotocol": _accept(event)}
            # A close frame with a code that says so (RFC 6455, section 7.1.7).
            protocol.failByDrop = False
            # Else it answers a close with 1000, and waits for one for a second.
            protocol.echoCloseCodeReason = True
            protocol.closeHandshakeTimeout = conf.close_timeout()
            protocol._closeConnection = functools.partial(_close_connection, protocol)
            self._flow.begin()
        elif kind == "websocket.close" and not _is_connecting(protocol):
            protocol.sendCloseFrame(
                code=event["code"], reasonUtf8=event["reason"].encode()
            )
            return
        elif kind == "websocket.http.response.start":
            self._denial = event
            return
        elif kind == "websocket.http.response.body":
            self._deny(event["body"])
            return
        await self._send(event)

    def _deny(self, body: bytes) -> None:
        protocol = self._protocol
        if not _is_connecting(protocol) or not hasattr(protocol, "handshake_deferred"):
            return
        response = response_bytes(self._denial["status"], self._denial["headers"], body)
        # All else of its own 403 is right.
        protocol.sendHttpErrorResponse = lambda *args: protocol.sendData(response)
        try:
            protocol.serverReject()
        finally:
            del protocol.sendHttpErrorResponse

    def close_of(self, disconnect: Event) -> tuple[int, str]:
        """Return the close code and reason, of which it hands on the first."""
        code, _ = super().close_of(disconnect)
        protocol = self._protocol
        if code == ABNORMAL and getattr(protocol, "failedByMe", False):
            # The peer has broken the protocol, and has been told so.
            return getattr(protocol, "localCloseCode", None) or code, ""
        return code, getattr(protocol, "remoteCloseReason", None) or ""

    def unsent(self) -> int:
        """Return how many bytes wait for the peer."""
        transport = self._protocol.transport
        return len(getattr(transport, "dataBuffer", b"")) + int(
            getattr(transport, "_tempDataLen", 0)
        )

    def cut_off(self) -> None:
        """Break the connection off, without a close frame."""
        self._protocol.transport.abortConnection()

    def end(self) -> None:
        """Keep nothing of what the peer still sends."""
        self._flow.end()


def _accept(event: Event) -> tuple[str | None, dict[str, list[str]]]:
    """Return what goes to autobahn: there a pair carries headers as well."""
    headers: dict[str, list[str]] = {}
    for name, value in event["headers"]:
        headers.setdefault(name.decode("ascii"), []).append(value.decode("latin-1"))
    return event["subprotocol"], headers


def _is_connecting(protocol: Any) -> bool:
    return bool(protocol.state == protocol.STATE_CONNECTING)


def _close_connection(protocol: Any, abort: bool = False) -> None:
    # It resets the connection when the peer has answered a close, which browsers
    # take for an end that was not clean.
    type(protocol)._closeConnection(protocol, abort and not protocol.wasClean)


class _Flow:
    """
    What holds the peer back while nobody receives, and us while it does not read.

    Towards daphne it is the queue of what has come, towards Twisted a producer.
    """

    def __init__(self, receive: Receive, transport: Any) -> None:
        self._queue: asyncio.Queue[Event] = receive.__self__  # type: ignore[attr-defined]
        self._transport = transport
        self._size = 0
        self._holds_back = False
        self._is_over = False
        self.is_held_back = False
        self._released = asyncio.Event()

    def put_nowait(self, event: Event) -> None:
        if self._is_over:
            return
        self._queue.put_nowait(event)
        self._size += _size(event)
        if not self._holds_back and self._is_full():
            self._holds_back = True
            self._transport.pauseProducing()

    async def get(self) -> Event:
        event = await self._queue.get()
        self._size -= _size(event)
        if self._holds_back and not self._is_full():
            self._let_go()
        return event

    def _is_full(self) -> bool:
        return self._queue.qsize() >= MAX_UNREAD or self._size >= MAX_UNREAD_SIZE

    def _let_go(self) -> None:
        if self._holds_back:
            self._holds_back = False
            self._transport.resumeProducing()

    def begin(self) -> None:
        # Until now that was its HTTP channel, which has nothing to say any more.
        self._transport.unregisterProducer()
        self._transport.registerProducer(self, True)

    async def wait(self) -> None:
        await self._released.wait()

    def end(self) -> None:
        self._is_over = True
        self._let_go()

    # The names are those of Twisted's IPushProducer.

    def pauseProducing(self) -> None:  # noqa: N802
        self.is_held_back = True
        self._released.clear()

    def resumeProducing(self) -> None:  # noqa: N802
        self.is_held_back = False
        self._released.set()

    def stopProducing(self) -> None:  # noqa: N802
        self.resumeProducing()


def _size(event: Event) -> int:
    return len(event.get("text") or event.get("bytes") or b"")


def watch_shutdown(loop: asyncio.AbstractEventLoop, close_all: CloseAll) -> None:
    """Close all connections when Twisted begins to shut down."""
    if "daphne.server" not in sys.modules:
        return
    # Not by import: the package knows nothing of Twisted otherwise.
    reactor: Any = sys.modules["twisted.internet.reactor"]
    defer: Any = sys.modules["twisted.internet.defer"]
    if reactor.running:
        # Twisted waits for what a trigger returns.
        reactor.addSystemEventTrigger(
            "before",
            "shutdown",
            lambda: defer.Deferred.fromFuture(start(loop, close_all)),
        )
