"""What there is to know about the server of one connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from django_asgi_ext.protocols import Event, Receive, Send

CloseAll = Callable[[], Coroutine[Any, Any, None]]

# RFC 6455, section 7.1.5.
NO_STATUS = 1005
ABNORMAL = 1006


class Server:
    """
    A server that does everything right, or that nothing is known about.

    The others are subclasses. What they hand out leads back to the connection
    and must not be kept in the server's own objects after end().
    """

    # One each for every open connection.
    __slots__ = ("_receive", "_send")

    # Whether receive() may be cancelled without the loss of a message.
    may_cancel_receive = True
    # Whether it takes a response to the opening handshake, though its scope does
    # not have the extension "websocket.http.response".
    takes_denials = False

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send

    def receiver(self) -> Receive:
        """Return its receive(), with what it does wrong put right."""
        return self._receive

    def sender(self) -> Send:
        """Return its send(), with what it does wrong put right."""
        return self._send

    def sender_when_open(self) -> Send:
        """Return the same for after the accept: what stands in between costs."""
        return self.sender()

    def close_of(self, disconnect: Event) -> tuple[int, str]:
        """Return the close code and reason that a websocket.disconnect stands for."""
        code = disconnect.get("code")
        return NO_STATUS if code is None else code, disconnect.get("reason") or ""

    def unsent(self) -> int:
        """Return how many bytes wait for the peer, 0 if that is not known."""
        return 0

    def cut_off(self) -> None:
        """Break the connection off, without a close frame."""

    def end(self) -> None:
        """Let go of the connection: the application is done with it."""


class AsyncioServer(Server):
    """A server that has a transport of asyncio's, or one that is alike."""

    __slots__ = ()

    def transport(self) -> Any:
        """Return the transport, None if there is none of its own."""
        return None

    def unsent(self) -> int:
        """Return how many bytes wait for the peer."""
        size = getattr(self.transport(), "get_write_buffer_size", None)
        return 0 if size is None else int(size())

    def cut_off(self) -> None:
        """Break the connection off, without a close frame."""
        abort = getattr(self.transport(), "abort", None)
        if abort is not None:
            abort()


# The loop keeps only weak references to its tasks.
_tasks: set[asyncio.Task[None]] = set()


def start(loop: asyncio.AbstractEventLoop, function: CloseAll) -> asyncio.Task[None]:
    """Run a coroutine function that nobody waits for."""
    task = loop.create_task(function())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return task
