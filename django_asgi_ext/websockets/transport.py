"""
What goes out: the one place that calls the server's send().

It walks through the states of the connection and sees to it that a connection
ends once, whoever ends it: the peer, the server or the view.
"""

from __future__ import annotations

import asyncio

from django_asgi_ext import conf
from django_asgi_ext.exceptions import ConnectionClosed
from django_asgi_ext.protocols import Event, Receive, Scope, Send
from django_asgi_ext.websockets.inbox import Inbox, Interrupted
from django_asgi_ext.websockets.response import Denial
from django_asgi_ext.websockets.state import State, after_sending

# A server's send() raises OSError when the peer is gone (ASGI specification,
# "Disconnected client") and some raise RuntimeError when they have closed the
# connection themselves.
_SEND_ERRORS = (OSError, RuntimeError)

# How long the close code is waited for when send() has failed, in seconds.
_FIND_CODE_TIMEOUT = 1


class Transport:
    """
    One connection as ASGI events.

    ``close_code`` and ``close_reason`` say how it ended, None and "" before.
    ``told`` is whether the view has been told that it did.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.state = State.CONNECTING
        self.close_code: int | None = None
        self.close_reason = ""
        self.told = False
        # Called when the peer has left while the view does not look.
        self.on_peer_left = _nothing
        self.inbox = Inbox(receive, self._peer_left)
        self._send = send
        # The websocket.close that is to be sent.
        self._close: Event | None = None
        self._extensions = scope.get("extensions") or {}

    async def receive(self) -> Event:
        """
        Return the next websocket.receive.

        Raise ConnectionClosed once there is none, and InvalidState if another
        task is waiting for it already.
        """
        while True:
            if self._is_over():
                raise self.closed()
            try:
                event = await self.inbox.next()
            except Interrupted:
                raise self.closed() from None
            if event["type"] == "websocket.receive":
                return event
            if event is self.inbox.disconnect:
                self._ended()
                raise self.closed()

    async def send(self, event: Event) -> None:
        """
        Send an event.

        Raise InvalidState if it cannot be sent now, and ConnectionClosed if the
        peer is gone.
        """
        if self.state is State.CLOSING or self.state is State.CLOSED:
            raise self.closed()
        # Before the first await: what another task sends meanwhile comes after.
        self.state = after_sending(self.state, event["type"])
        try:
            await self._send(event)
        except _SEND_ERRORS as error:
            await self.inbox.find_disconnect(_FIND_CODE_TIMEOUT)
            self._ended()
            raise self.closed() from error

    async def close(self, code: int, reason: str) -> None:
        """Start the closing handshake or, before accept, refuse with 403."""
        if self.state is not State.CONNECTING and self.state is not State.OPEN:
            return
        self.close_code, self.close_reason = code, reason
        self.state = after_sending(self.state, "websocket.close")
        self._close = {"type": "websocket.close", "code": code, "reason": reason}
        await self._send_close()

    async def deny(self, denial: Denial) -> None:
        """
        Answer the opening handshake with a response other than 101.

        Servers without the extension "websocket.http.response" answer 403.
        """
        if "websocket.http.response" not in self._extensions:
            await self.close(1000, "")
            return
        try:
            async with asyncio.timeout(conf.close_timeout()):
                await self.inbox.interrupt()
                for event in denial.events():
                    await self.send(event)
        except (TimeoutError, ConnectionClosed):
            pass

    async def finish(self) -> None:
        """Wait for the peer's side of the closing handshake (RFC 6455, 7.1)."""
        # Whoever called close() may have been cancelled in it.
        await self._send_close()
        if self.state is State.CLOSING:
            try:
                async with asyncio.timeout(conf.close_timeout()):
                    await self.inbox.drain()
            except TimeoutError:
                pass
        self._ended()
        await self.inbox.interrupt()

    def closed(self) -> ConnectionClosed:
        """Return the exception that tells the view how the connection ended."""
        self.told = True
        code = 1006 if self.close_code is None else self.close_code
        return ConnectionClosed(code, self.close_reason)

    async def _send_close(self) -> None:
        if self._close is None:
            return
        try:
            async with asyncio.timeout(conf.close_timeout()):
                # Not every server can send a close while receive() waits.
                await self.inbox.interrupt()
                event, self._close = self._close, None
                if event is not None and self.inbox.disconnect is None:
                    await self._send(event)
        except (TimeoutError, *_SEND_ERRORS):
            # The peer is gone or does not read. There is nothing to add.
            self._close = None

    def _is_over(self) -> bool:
        if self.state is State.CLOSED:
            return self.inbox.is_empty() and self.inbox.disconnect is None
        return self.state is State.CLOSING or self.state is State.DENYING

    def _ended(self) -> None:
        if self.close_code is None:
            event = self.inbox.disconnect or {}
            code = event.get("code")
            # A close frame without a code counts as 1005 (section 7.1.5).
            self.close_code = 1005 if code is None else code
            self.close_reason = event.get("reason") or ""
        self.state = State.CLOSED

    def _peer_left(self) -> None:
        self._ended()
        self.on_peer_left()


def _nothing() -> None:
    pass
