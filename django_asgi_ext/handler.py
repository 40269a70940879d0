"""The ASGI handler that looks the type of a connection up in a registry."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from contextvars import ContextVar

from django.core.exceptions import ImproperlyConfigured
from django.core.handlers import asgi

from django_asgi_ext import conf, deployment
from django_asgi_ext.http.chain import FusedHandler
from django_asgi_ext.http.leases import leased_thread
from django_asgi_ext.lifespan import Lifespan, LifespanManager
from django_asgi_ext.protocols import (
    ASGIApplication,
    Receive,
    Scope,
    Send,
    protocols as common_protocols,
)
from django_asgi_ext.servers import granian
from django_asgi_ext.websockets.connections import close_all
from django_asgi_ext.websockets.handler import WebSocketHandler

_current_handler: ContextVar[ASGIHandler] = ContextVar("django_asgi_ext_handler")


class ASGIHandler(FusedHandler, asgi.ASGIHandler):
    """
    Django's ASGIHandler with a registry in place of the check of the scope's type.

    ``protocols`` is the registry of this application: the one of the process,
    over it ASGI_EXT["PROTOCOLS"], and over that the argument. In both a scope
    type with None is taken out.

    ``lifespan`` is an async context manager function around the life of the
    application.

    Raise ImproperlyConfigured if ASGI_EXT is wrong, TypeError if an argument
    is, and what loading the middleware raises.
    """

    def __init__(
        self,
        protocols: Mapping[str, ASGIApplication | None] | None = None,
        lifespan: LifespanManager | None = None,
    ) -> None:
        conf.check()
        granian.prepare(close_all)
        deployment.note_application()
        super().__init__()
        self.lifespan = Lifespan(lifespan)
        self._own: dict[str, ASGIApplication] = {
            "http": self._serve_http,
            "lifespan": self.lifespan,
            "websocket": WebSocketHandler(),
        }
        self.protocols = common_protocols.overlay(conf.protocols()).overlay(
            protocols or {}
        )

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """
        Serve one connection.

        Raise UnsupportedProtocol if no application is registered for its type.
        """
        application = self.protocols[scope["type"]]
        # Not every server hands the state of the lifespan on.
        if self.lifespan.state is not None and "state" not in scope:
            scope = {**scope, "state": self.lifespan.state.copy()}
        token = _current_handler.set(self)
        try:
            await application(scope, receive, send)
        finally:
            _current_handler.reset(token)

    if hasattr(asgi.ASGIHandler, "get_protocol_handler"):
        # A Django with the hook of patches/, whatever its version.

        def get_protocol_handler(self, scope: Scope) -> ASGIApplication:
            """
            Return what serves a connection.

            Raise UnsupportedProtocol if no application is registered for its type.
            """
            if self.lifespan.state is not None and "state" not in scope:
                return self._serve
            # Not taken back: the context ends with the connection. One frame less.
            _current_handler.set(self)
            return self.protocols[scope["type"]]
    else:
        __call__ = _serve

    async def _serve_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, on a thread that others have used and will use."""
        # With the hook, Django's __call__ would ask for this again.
        serve = getattr(self, "handle_http", super().__call__)
        if self.is_fused:
            async with leased_thread():
                await serve(scope, receive, send)
        else:
            await serve(scope, receive, send)

    def serve_own(
        self, protocol: str, scope: Scope, receive: Receive, send: Send
    ) -> Awaitable[None]:
        """Serve a connection with a protocol that comes with the handler."""
        return self._own[protocol](scope, receive, send)


class _OwnProtocol:
    """Serves with the handler that is serving: each has middleware of its own."""

    def __init__(self, protocol: str) -> None:
        self._protocol = protocol

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        handler = _current_handler.get(None)
        if handler is None:
            raise ImproperlyConfigured(
                f"protocols['{self._protocol}'] runs below an ASGIHandler only. "
                "Call what get_asgi_application() returns."
            )
        # Not awaited here: one frame less for as long as the connection lasts.
        return handler.serve_own(self._protocol, scope, receive, send)


for _protocol in ("http", "lifespan", "websocket"):
    common_protocols.register(_protocol, _OwnProtocol(_protocol))
