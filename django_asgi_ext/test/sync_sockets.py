"""The socket that a Client opens."""

from __future__ import annotations

from collections.abc import Coroutine
from http.cookies import SimpleCookie
from types import TracebackType
from typing import Any, Self, TypeVar

from django_asgi_ext.exceptions import ConnectionClosed, InvalidState
from django_asgi_ext.protocols import Scope
from django_asgi_ext.test.background import Background, background
from django_asgi_ext.test.sockets import (
    NOT_OPEN,
    SILENCE,
    AsyncClientWebSocket,
    OwningClient,
)

# What a test did shows it better than this: to pytest, and to unittest.
__tracebackhide__ = __unittest = True

T = TypeVar("T")

# How long an event loop may be busy before it counts as stuck, in seconds.
_MARGIN = 2.0


class ClientWebSocket:
    """
    A WebSocket as its client sees it (RFC 6455), open inside of ``with``.

    It is an AsyncClientWebSocket without the await. The view runs on an event loop
    in another thread; its synchronous code, as the ORM, runs on the thread of the
    test, while that waits in a method of a socket and not in between.
    """

    def __init__(self, client: OwningClient, scope: Scope, timeout: float) -> None:
        self._socket = AsyncClientWebSocket(client, scope, timeout)
        self._background: Background | None = None

    def __enter__(self) -> Self:
        """
        Open the connection.

        Raise HandshakeDenied if the answer is not 101.
        """
        self._background = background()
        self._background.enter()
        try:
            self._run(self._socket.__aenter__())
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if self._background is not None and not self._background.is_stuck:
                self._run(self._socket.__aexit__(kind, error, traceback))
        finally:
            self._leave()

    @property
    def timeout(self) -> float:
        """How long a wait may take that has no timeout of its own, in seconds."""
        return self._socket.timeout

    @timeout.setter
    def timeout(self, seconds: float) -> None:
        self._socket.timeout = seconds

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was agreed on."""
        return self._socket.subprotocol

    @property
    def cookies(self) -> SimpleCookie:
        """The cookies that the accept has set; the client has them too."""
        return self._socket.cookies

    @property
    def close_code(self) -> int | None:
        """The code of whoever closed first (RFC 6455, 7.1.5), None before."""
        return self._socket.close_code

    @property
    def close_reason(self) -> str:
        """The reason of whoever closed first (RFC 6455, 7.1.6), "" without one."""
        return self._socket.close_reason

    def send(self, message: str | bytes) -> None:
        """
        Send a message: str as text, bytes as binary. It waits for nothing.

        Raise ConnectionClosed if the connection is closed.
        """
        self._run(self._socket.send(message))

    def recv(self, timeout: float | None = None) -> str | bytes:
        """
        Return the next message: str for text, bytes for binary.

        Raise ConnectionClosed if there is none because the connection is closed.
        """
        return self._run(self._socket.recv(timeout), timeout)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str | bytes:
        """Return the next message; end the iteration when the view has closed."""
        try:
            return self.recv()
        except ConnectionClosed:
            raise StopIteration from None

    def send_json(self, value: object) -> None:
        """Send a value as JSON in a text message, encoded as the client's requests."""
        self._run(self._socket.send_json(value))

    def recv_json(self, timeout: float | None = None) -> Any:
        """
        Return the value in the next message, which must be JSON (RFC 8259).

        Raise InvalidJSON, a ValueError, if it is not, and what recv() raises.
        """
        return self._run(self._socket.recv_json(timeout), timeout)

    def recv_nothing(self, timeout: float = SILENCE) -> None:
        """
        Wait for that many seconds and see to it that no message comes.

        Raise AssertionError if one does, and ConnectionClosed if the view closes.
        """
        self._run(self._socket.recv_nothing(timeout), timeout)

    def close(
        self, code: int = 1000, reason: str = "", timeout: float | None = None
    ) -> None:
        """
        Close the connection unless the view has, and wait for the view to end.

        Raise what the view raised, and ValueError for a code that must not be sent
        (RFC 6455, section 7.4).
        """
        self._run(self._socket.close(code, reason, timeout), timeout)

    def _run(
        self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None
    ) -> T:
        if self._background is None:
            coroutine.close()
            raise InvalidState(NOT_OPEN)
        # A view that is stuck is waited for twice, before and after it is cancelled.
        seconds = self._socket.timeout if timeout is None else timeout
        return self._background.run(coroutine, 2 * seconds + _MARGIN)

    def _leave(self) -> None:
        if self._background is not None:
            left, self._background = self._background, None
            self._socket._let_go()
            left.leave()
