"""The WebSocket that a view talks through."""

from __future__ import annotations

import asyncio
import json
import logging
from asyncio import current_task
from collections.abc import Awaitable, Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.core.serializers.json import DjangoJSONEncoder

from django_asgi_ext import conf
from django_asgi_ext.exceptions import ConnectionClosed, InvalidJSON, InvalidState
from django_asgi_ext.signals import (
    emit,
    group_messages_dropped,
    websocket_connected,
)
from django_asgi_ext.threads import Unit
from django_asgi_ext.websockets.endings import MESSAGE_TOO_BIG
from django_asgi_ext.websockets.habits import Habits
from django_asgi_ext.websockets.inbox import Interrupted
from django_asgi_ext.websockets.membership import Membership
from django_asgi_ext.websockets.options import WebSocketOptions
from django_asgi_ext.websockets.request import WebSocketRequest
from django_asgi_ext.websockets.response import Headers, check_headers, is_token
from django_asgi_ext.websockets.state import State, check_close
from django_asgi_ext.websockets.transport import BREATHE_MASK, SEND_ERRORS, Transport

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser
    from django.contrib.sessions.backends.base import SessionBase

logger = logging.getLogger("django_asgi_ext.websocket")


class WebSocket(Membership, Habits):
    """
    One connection, seen from the server (RFC 6455).

    Several tasks of a view may send at once, one at a time may receive.
    """

    def __init__(
        self,
        request: WebSocketRequest,
        transport: Transport,
        options: WebSocketOptions,
        headers: Headers,
        unit: Unit,
        groups: Sequence[str] = (),
    ) -> None:
        self.request = request
        # What will be accepted, or has been (RFC 6455, section 1.9).
        self.subprotocol = next(
            (name for name in self._offered if name in options.subprotocols), None
        )
        self._transport = transport
        self._max_size = options.max_message_size or conf.max_message_size()
        # In characters: one has at most four bytes.
        transport.small = self._max_size // 4
        # What goes out with the accept, from the middleware.
        self.upgrade_headers = headers
        self._unit = unit
        # What is joined once the handshake is complete.
        self._first_groups = groups

        self._accepting: asyncio.Future[None] | None = None
        # When the opening handshake was complete, by the clock of the loop.
        self._connected_at: float | None = None

    def __repr__(self) -> str:
        return f"<WebSocket {self.path} {self._transport.state.value}>"

    @property
    def _offered(self) -> Sequence[str]:
        # RFC 6455, section 4.1: no server can be trusted with anything else.
        # They may be in several headers (RFC 6455, section 11.3.4), of which not
        # every server reads all; one takes them out.
        offered = [
            name.strip()
            for header, value in self.request.scope["headers"]
            if header.lower() == b"sec-websocket-protocol"
            for name in value.decode("latin-1").split(",")
        ]
        if not offered:
            offered = self.request.scope.get("subprotocols") or []
        return [name for name in offered if is_token(name)]

    @property
    def path(self) -> str:
        """The path of the request, with the script prefix."""
        return self.request.path

    @property
    def user(self) -> AbstractBaseUser | AnonymousUser:
        """
        The user of the request, as a view has it in request.user.

        Raise AttributeError if no middleware sets one.
        """
        return self.request.user

    @property
    def session(self) -> SessionBase:
        """
        The session of the request, as a view has it in request.session.

        Raise AttributeError if no middleware sets one.
        """
        return self.request.session

    @property
    def close_code(self) -> int | None:
        """The close code (RFC 6455, section 7.1.5), None while not closed."""
        return self._transport.close_code

    @property
    def close_reason(self) -> str:
        """The close reason (RFC 6455, section 7.1.6), "" if there is none."""
        return self._transport.close_reason

    @property
    def accepted(self) -> bool:
        """Whether the opening handshake was completed."""
        return self._connected_at is not None

    @property
    def seconds(self) -> float:
        """The age of the connection since its opening handshake, in seconds."""
        if self._connected_at is None:
            return 0.0
        return asyncio.get_running_loop().time() - self._connected_at

    async def accept(
        self,
        subprotocol: str | None = None,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    ) -> None:
        """
        Complete the opening handshake.

        Without a subprotocol the first of the client's that the view supports
        is taken, if any. The headers are sent on the 101, after those of the
        middleware.

        Raise InvalidState if the handshake is over, ValueError if the client
        did not offer the subprotocol (RFC 6455, section 4.2.2) or a header is
        not allowed, and ConnectionClosed if the peer is gone.
        """
        if self._connected_at is not None or self._accepting is not None:
            raise InvalidState(
                "Cannot accept: the opening handshake is over. Call accept() before "
                "recv(), send(), join() and async for, which accept too."
            )
        if subprotocol is None:
            subprotocol = self.subprotocol
        elif subprotocol not in self._offered:
            raise ValueError(
                f"The client did not offer the subprotocol {subprotocol!r} "
                f"(offered: {', '.join(self._offered) or 'none'})."
            )
        event = {
            "type": "websocket.accept",
            "subprotocol": subprotocol,
            "headers": self.upgrade_headers + check_headers(headers),
        }
        loop = asyncio.get_running_loop()
        self._accepting = loop.create_future()
        try:
            await self._transport.send(event)
        finally:
            self._accepting.set_result(None)
        self.subprotocol = subprotocol
        self._connected_at, self._accepting = loop.time(), None
        self._transport.open()
        self.upgrade_headers = []
        logger.info("WebSocket CONNECT %s", printable(self.path))
        try:
            for group in self._first_groups:
                await self.join(group)
        finally:
            await emit(websocket_connected, sender=WebSocket, socket=self)

    def recv(self) -> Coroutine[Any, Any, str | bytes]:
        """
        Return the next message: str for a text message, bytes for a binary one.

        Accept first if the handshake is not over.

        Raise ConnectionClosed once the peer is gone and all that it sent has
        been received, and InvalidState if another task is receiving.
        """
        return self._next(False)

    def __aiter__(self) -> WebSocket:
        return self

    def __anext__(self) -> Coroutine[Any, Any, str | bytes]:
        """Return the next message; end the iteration once the peer is gone."""
        return self._next(True)

    async def _next(self, iterating: bool) -> str | bytes:
        # One coroutine for all of it: each one more costs every message. So do
        # attributes of self, on Python 3.11 and for the sake of __getattr__().
        transport = self._transport
        inbox = transport.inbox
        try:
            if not transport.is_open:
                await self._open()
                transport.check_receiving()
            if self._unit.is_busy:
                self._unit.end()
            while True:
                if inbox.is_direct and inbox.receiver is None:
                    # This task waits in the server's receive() itself.
                    task = inbox.receiver = current_task(inbox.loop)
                    inbox.cancelling = task.cancelling()  # type: ignore[union-attr]
                    try:
                        event = await inbox.receive()
                    except BaseException as error:
                        event = inbox.failed(error)
                    finally:
                        inbox.receiver = None
                    transport.pulse.heard = True
                    if inbox.timer is None:
                        inbox.watch()
                else:
                    read = await inbox.next()
                    if read is None:
                        continue
                    event = read
                if event["type"] == "websocket.receive":
                    break
                transport.check_received(event)
                transport.check_receiving()
            message: str | bytes | None = event.get("text")
            if message is None:
                message = event.get("bytes") or b""
            if len(message) > transport.small:
                await self._check_size(message)
        except (ConnectionClosed, Interrupted):
            # Who tries again and again lets others run.
            await asyncio.sleep(0)
            # No local name: it would be part of a reference cycle.
            raise self._end(iterating) from None
        return message

    async def _check_size(self, message: str | bytes) -> None:
        if _size(message) > self._max_size:
            await self.close(MESSAGE_TOO_BIG, f"over {self._max_size} bytes")
            raise self._transport.closed()

    def _end(self, iterating: bool) -> Exception:
        closed = self._transport.closed()
        return StopAsyncIteration() if iterating else closed

    async def send(self, message: str | bytes | bytearray | memoryview) -> None:
        """
        Send one message: str as text, bytes as binary.

        Accept first if the handshake is not over.

        Raise ConnectionClosed if the connection is closed, TypeError for
        another type, and ValueError for a str that UTF-8 cannot encode.
        """
        event: dict[str, Any]
        if isinstance(message, str):
            if not message.isascii():
                # Raises for a lone surrogate, which servers treat differently.
                message.encode()
            event = {"type": "websocket.send", "text": message}
        elif isinstance(message, (bytes, bytearray, memoryview)):
            event = {"type": "websocket.send", "bytes": bytes(message)}
        elif isinstance(message, Awaitable):
            raise TypeError("send() takes what a call returns. Write await before it.")
        else:
            raise TypeError(
                f"send() takes str or bytes, not {type(message).__name__}. "
                "Use send_json() for anything else."
            )
        transport = self._transport
        if not transport.is_open:
            await self._open()
            if not transport.is_open:
                # Who tries again and again lets others run.
                await asyncio.sleep(0)
                transport.check_sending()
        pulse = transport.pulse
        number = pulse.begun = pulse.begun + 1
        try:
            if not number & BREATHE_MASK:
                await asyncio.sleep(0)
            await transport.asgi_send(event)
        except SEND_ERRORS as error:
            raise await transport.failed() from error
        finally:
            pulse.done += 1

    async def send_json(self, value: object) -> None:
        """
        Send a value as JSON in a text message, encoded as DjangoJSONEncoder does.

        Raise TypeError or ValueError for a value that JSON (RFC 8259) cannot
        express, and ConnectionClosed as send() does.
        """
        await self.send(json.dumps(value, cls=DjangoJSONEncoder, allow_nan=False))

    async def recv_json(self) -> Any:
        """
        Return the value in the next message, which must be JSON (RFC 8259).

        Raise InvalidJSON if it is not, and what recv() raises.
        """
        message = await self.recv()
        try:
            return json.loads(message, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise InvalidJSON(f"The message is no JSON: {error}") from error

    async def _tell_lost(self, group: str, count: int) -> None:
        await emit(
            group_messages_dropped,
            sender=WebSocket,
            socket=self,
            group=group,
            count=count,
        )

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """
        Start the closing handshake; a second call does nothing.

        Before the opening handshake is over, refuse it with 403.

        Raise ValueError for a code that must not be sent or a reason longer
        than 123 bytes of UTF-8 (RFC 6455, sections 5.5.1 and 7.4).
        """
        check_close(code, reason)
        self._transport.told = True
        await self._transport.close(code, reason)

    async def _open(self) -> None:
        if self._accepting is None:
            if self._transport.state is State.CONNECTING:
                await self.accept()
        elif not self._accepting.done():
            # Another task accepts: this one comes after it.
            await asyncio.shield(self._accepting)


def printable(path: str) -> str:
    """Return a path of a peer's choice as it may stand in a log line."""
    return path.encode("unicode_escape").decode("ascii")


def _size(message: str | bytes) -> int:
    if isinstance(message, str):
        message = message.encode("utf-8", "surrogatepass")
    return len(message)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not allowed")
