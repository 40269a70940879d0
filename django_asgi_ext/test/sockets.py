"""The socket that an AsyncClient opens."""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack
from http.cookies import SimpleCookie
from types import TracebackType
from typing import Any, Protocol, Self

from django_asgi_ext.exceptions import ConnectionClosed, InvalidJSON, InvalidState
from django_asgi_ext.protocols import ASGIApplication, Event, Scope
from django_asgi_ext.test.background import sync_code_on_one_thread
from django_asgi_ext.test.denial import (
    HandshakeDenied,
    read_cookies,
    read_response,
    tell_whence,
)
from django_asgi_ext.test.peer import Peer
from django_asgi_ext.test.transcript import duration, shorten, shorten_message
from django_asgi_ext.websockets.connection import printable
from django_asgi_ext.websockets.response import Headers
from django_asgi_ext.websockets.state import check_close

# What a test did shows it better than this: to pytest, and to unittest.
__tracebackhide__ = __unittest = True

# How long nothing must come, in seconds.
SILENCE = 0.1

NOT_OPEN = "The socket is open inside of the block only: with client.websocket(...)."


class OwningClient(Protocol):
    """What a socket needs of the client that opens it."""

    cookies: SimpleCookie
    json_encoder: type[json.JSONEncoder]
    raise_request_exception: bool

    @property
    def application(self) -> ASGIApplication:
        """The application to talk to."""


class AsyncClientWebSocket:
    """
    A WebSocket as its client sees it (RFC 6455), open inside of ``async with``.

    What waits takes a ``timeout`` in seconds, by default that of the socket, and
    raises TimeoutError with the events so far. If the view fails, what comes next
    raises its exception, at the latest the end of the block.
    """

    def __init__(self, client: OwningClient, scope: Scope, timeout: float) -> None:
        self.subprotocol: str | None = None
        # Those that the accept has set.
        self.cookies: SimpleCookie = SimpleCookie()
        self.timeout = timeout
        self._client = client
        # Here, where the middleware may be loaded, and not on the event loop.
        self._application = client.application
        self._scope = scope
        self._begun: Peer | None = None
        self._resources = ExitStack()

    async def __aenter__(self) -> Self:
        """
        Open the connection.

        Raise HandshakeDenied if the answer is not 101.
        """
        self._begun = peer = Peer(self._application, self._scope)
        self._resources.enter_context(sync_code_on_one_thread())
        self._resources.callback(peer.forget)
        peer.start()
        try:
            await self._open()
        except BaseException as error:
            await self.__aexit__(type(error), error, None)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self.close()
        except Exception as problem:
            if error is None:
                raise
            name = type(problem).__name__
            error.add_note(f"And at the end of the block, {name}: {problem}")
        finally:
            self._resources.close()

    @property
    def _peer(self) -> Peer:
        if self._begun is None:
            raise InvalidState(NOT_OPEN)
        return self._begun

    def _let_go(self) -> None:
        """Let go of what is global, even if the event loop stands still."""
        self._resources.close()

    @property
    def close_code(self) -> int | None:
        """The code of whoever closed first (RFC 6455, 7.1.5), None before."""
        return None if self._peer.closed is None else self._peer.closed[0]

    @property
    def close_reason(self) -> str:
        """The reason of whoever closed first (RFC 6455, 7.1.6), "" without one."""
        return "" if self._peer.closed is None else self._peer.closed[1]

    async def send(self, message: str | bytes) -> None:
        """
        Send a message: str as text, bytes as binary. It waits for nothing.

        Raise ConnectionClosed if the connection is closed.
        """
        if not isinstance(message, (str, bytes)):
            raise TypeError(f"A message is a str or bytes, not {message!r}.")
        if self._peer.closed is not None:
            raise self._ending()
        self._peer.say(message)

    async def recv(self, timeout: float | None = None) -> str | bytes:
        """
        Return the next message: str for text, bytes for binary.

        Raise ConnectionClosed if there is none because the connection is closed.
        """
        event = await self._next("No message came", timeout)
        if event["type"] != "websocket.send":
            raise self._ending()
        text: str | None = event.get("text")
        message: bytes = event.get("bytes") or b""
        return message if text is None else text

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | bytes:
        """Return the next message; end the iteration when the view has closed."""
        try:
            return await self.recv()
        except ConnectionClosed:
            raise StopAsyncIteration from None

    async def send_json(self, value: object) -> None:
        """Send a value as JSON in a text message, encoded as the client's requests."""
        await self.send(json.dumps(value, cls=self._client.json_encoder))

    async def recv_json(self, timeout: float | None = None) -> Any:
        """
        Return the value in the next message, which must be JSON (RFC 8259).

        Raise InvalidJSON, a ValueError, if it is not, and what recv() raises.
        """
        message = await self.recv(timeout)
        try:
            return json.loads(message)
        except (ValueError, RecursionError) as error:
            text = f"The message is no JSON: {shorten_message(message)}"
            invalid = InvalidJSON(text)
            invalid.add_note(str(self._peer.transcript))
            raise invalid from error

    async def recv_nothing(self, timeout: float = SILENCE) -> None:
        """
        Wait for that many seconds and see to it that no message comes.

        Raise AssertionError if one does, and ConnectionClosed if the view closes.
        """
        try:
            async with asyncio.timeout(timeout):
                event = await self._peer.next()
        except TimeoutError:
            return
        if event["type"] != "websocket.send":
            raise self._ending()
        raise AssertionError(self._describe(f"A message came: {shorten(event)}"))

    async def close(
        self, code: int = 1000, reason: str = "", timeout: float | None = None
    ) -> None:
        """
        Close the connection unless the view has, and wait for the view to end.

        Raise what the view raised, and ValueError for a code that must not be sent
        (RFC 6455, section 7.4).
        """
        check_close(code, reason)
        if self._peer.closed is None:
            self._peer.leave(code, reason)
        seconds = self.timeout if timeout is None else timeout
        if not await self._peer.wait(seconds):
            text = self._describe(f"The view did not end within {duration(seconds)}.")
            await self._peer.cancel(seconds)
            raise TimeoutError(text)
        failure = self._take_failure()
        if failure is not None:
            raise failure

    async def _open(self) -> None:
        event = await self._next("The handshake was not answered", None)
        failure = self._take_failure()
        if failure is not None:
            raise failure
        if event["type"] == "websocket.accept":
            self.subprotocol = event.get("subprotocol")
            self.cookies = read_cookies(event.get("headers") or [])
            self._client.cookies.update(self.cookies)
        elif event["type"] == "websocket.http.response.start":
            raise await self._read_denial(event)
        else:
            # What servers make of a close before the accept.
            raise self._denied_with(403, [], b"")

    async def _read_denial(self, start: Event) -> HandshakeDenied:
        body, more = b"", True
        while more:
            event = await self._next("The response did not end", None)
            body += event.get("body", b"")
            more = event.get("more_body", False)
        return self._denied_with(start["status"], start.get("headers") or [], body)

    def _denied_with(
        self, status: int, headers: Headers, body: bytes
    ) -> HandshakeDenied:
        response = read_response(status, headers, body)
        tell_whence(response, self._client, self._scope)
        self._client.cookies.update(response.cookies)
        # A redirect says where to, and what Django always logs says no more.
        known = f"{response.reason_phrase}: {printable(self._scope['path'])}"
        denied = HandshakeDenied(
            response,
            [text for text in self._peer.logged if status >= 400 and text != known],
        )
        denied.add_note(str(self._peer.transcript))
        return denied

    async def _next(self, missing: str, timeout: float | None) -> Event:
        seconds = self.timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(seconds):
                return await self._peer.next()
        except TimeoutError:
            text = self._describe(f"{missing} within {duration(seconds)}.")
            raise TimeoutError(text) from None

    def _ending(self) -> BaseException:
        """Return what it means that there are no more messages."""
        failure = self._take_failure()
        if failure is not None:
            return failure
        closed = ConnectionClosed(self.close_code or 1006, self.close_reason)
        closed.add_note(str(self._peer.transcript))
        return closed

    def _take_failure(self) -> BaseException | None:
        failure, self._peer.failure = self._peer.failure, None
        return failure if self._client.raise_request_exception else None

    def _describe(self, problem: str) -> str:
        path, stacks = self._peer.scope["path"], self._peer.stacks()
        text = f"{problem}\n\n{path}, after seconds:\n{self._peer.transcript}"
        return f"{text}\n\nThe view waits in:\n{stacks}" if stacks else text
