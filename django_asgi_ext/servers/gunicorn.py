"""
Gunicorn with its own ASGI worker.

It answers a denial with 403, drops the reason of a peer's close, lets a send()
wait on when the connection is lost, writes a close frame to it all the same, and
waits half a minute for open WebSockets before it shuts down.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable
from typing import Any

from django_asgi_ext.protocols import Event, Receive, Send
from django_asgi_ext.servers.base import AsyncioServer, CloseAll, start
from django_asgi_ext.servers.http import response_bytes


def owns(send: Send) -> bool:
    """Return whether a send() is gunicorn's for a WebSocket."""
    owner = getattr(send, "__self__", None)
    return type(owner).__module__ == "gunicorn.asgi.websocket"


class Gunicorn(AsyncioServer):
    """One of its connections."""

    __slots__ = ("_denial", "_protocol")

    takes_denials = True

    def __init__(self, receive: Receive, send: Send) -> None:
        super().__init__(receive, send)
        self._protocol: Any = send.__self__  # type: ignore[attr-defined]
        # The start of a response to the handshake, until its body comes.
        self._denial: Event = {}

    def sender(self) -> Send:
        """Return its send(), which takes a response to the handshake as well."""
        send = self._send

        def send_to_gunicorn(event: Event) -> Awaitable[None]:
            if event["type"].startswith("websocket.http.response."):
                return self._deny(event)
            return send(event)

        return send_to_gunicorn

    def sender_when_open(self) -> Send:
        """Return its send(), which is right from then on."""
        return self._send

    async def _deny(self, event: Event) -> None:
        if event["type"] == "websocket.http.response.start":
            self._denial = event
            return
        protocol = self._protocol
        if protocol.closed:
            return
        # As it does for its own 403.
        protocol._denied = protocol.closed = True
        protocol._close_event.set()
        protocol.transport.write(
            response_bytes(
                self._denial["status"], self._denial["headers"], event["body"]
            )
        )
        protocol.transport.close()

    def close_of(self, disconnect: Event) -> tuple[int, str]:
        """Return the close code and reason, of which it hands on the first."""
        code, _ = super().close_of(disconnect)
        return code, getattr(self._protocol, "close_reason", "") or ""

    def transport(self) -> Any:
        """Return the transport."""
        return getattr(self._protocol, "transport", None)

    def cut_off(self) -> None:
        """Break the connection off, without a close frame."""
        super().cut_off()
        # Nobody else wakes a send() that waits for a peer that is gone.
        drain = getattr(self._protocol, "_drain", None)
        resume = getattr(getattr(drain, "__self__", None), "resume_writing", None)
        if resume is not None:
            resume()

    def end(self) -> None:
        """Say that the peer is gone, else it fails to write a close frame to it."""
        if self._protocol.accepted and self._protocol.transport.is_closing():
            self._protocol.closed = True


def watch_shutdown(loop: asyncio.AbstractEventLoop, close_all: CloseAll) -> None:
    """Close all connections when the worker has been asked to shut down."""
    for task in asyncio.all_tasks(loop):
        code = getattr(task.get_coro(), "cr_code", None)
        if code is None or code.co_name != "_serve":
            continue
        frame = getattr(task.get_coro(), "cr_frame", None)
        worker = frame and frame.f_locals.get("self")
        if "gunicorn" in code.co_filename and hasattr(worker, "alive"):
            start(loop, functools.partial(_when_dead, worker, close_all))


async def _when_dead(worker: Any, close_all: CloseAll) -> None:
    """Wait for the worker, which tells nobody that it shuts down."""
    while worker.alive:
        await asyncio.sleep(0.1)
    await close_all()
