"""What runserver says about each page and WebSocket, in the manner of Django's."""

from __future__ import annotations

import logging
import time
from typing import Any

from django_asgi_ext.protocols import ASGIApplication, Event, Receive, Scope, Send
from django_asgi_ext.signals import websocket_connected, websocket_disconnected
from django_asgi_ext.websockets import endings
from django_asgi_ext.websockets.connection import printable

# Django gives it a console handler that colours each line by its status.
logger = logging.getLogger("django.server")

_ENDED_WELL = {
    endings.NORMAL_CLOSURE,
    endings.GOING_AWAY,
    endings.SERVICE_RESTART,
    # No code in the close frame (RFC 6455, section 7.1.5).
    1005,
}


def log_websockets() -> None:
    """Log from now on when a WebSocket opens, and when and how it ends."""
    websocket_connected.connect(_log_connected)
    websocket_disconnected.connect(_log_disconnected)


def _log_connected(socket: Any, **kwargs: Any) -> None:
    _log(101, "WebSocket CONNECT %s", printable(socket.path))


def _log_disconnected(socket: Any, code: int, seconds: float, **kwargs: Any) -> None:
    path = printable(socket.path)
    text = "WebSocket DISCONNECT %s %s %.1fs"
    _log(_status_like(code), text, path, code, seconds)


def _status_like(code: int) -> int:
    """Return an HTTP status that stands for the same as a close code."""
    if code == endings.INTERNAL_ERROR:
        return 500
    # From 3000 on what a code means is the application's affair.
    return 200 if code in _ENDED_WELL or code >= 3000 else 400


async def serve_and_log(
    application: ASGIApplication, scope: Scope, receive: Receive, send: Send
) -> None:
    """Let an application answer an HTTP request, and log the answer."""
    status: int | None = None
    size = 0

    async def note(event: Event) -> None:
        nonlocal status, size
        if event["type"] == "http.response.start":
            status = event["status"]
        size += len(event.get("body", b""))
        await send(event)

    try:
        await application(scope, receive, note)
    except Exception:
        # The server's own answer.
        status = status or 500
        raise
    finally:
        line = f"{scope['method']} {_target(scope)} HTTP/{scope['http_version']}"
        if status is None:
            # The peer did not wait for an answer.
            _log(None, '"%s" - -', line)
        else:
            _log(status, '"%s" %s %s', line, status, size)


def _target(scope: Scope) -> str:
    query = scope["query_string"]
    target = scope["raw_path"] + (b"?" + query if query else b"")
    return printable(target.decode("latin-1"))


def _log(status: int | None, text: str, *arguments: object) -> None:
    level = logging.INFO
    if status is not None and status >= 400:
        level = logging.ERROR if status >= 500 else logging.WARNING
    # Before Django 3.1 its formatter has another format of its own for the time.
    now = time.strftime("%d/%b/%Y %H:%M:%S")
    extra = {"status_code": status, "server_time": now}
    logger.log(level, text, *arguments, extra=extra)
