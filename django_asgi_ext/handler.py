"""The ASGI handler that looks the type of a connection up in a registry."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar

from django.core.handlers import asgi

from django_asgi_ext import conf
from django_asgi_ext.lifespan import Lifespan, LifespanManager
from django_asgi_ext.protocols import (
    ASGIApplication,
    Receive,
    Scope,
    Send,
    protocols as common_protocols,
)
from django_asgi_ext.websockets.handler import WebSocketHandler

_current_handler: ContextVar[ASGIHandler] = ContextVar("django_asgi_ext_handler")


class ASGIHandler(asgi.ASGIHandler):
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
        super().__init__()
        self.lifespan = Lifespan(lifespan)
        self._own: dict[str, ASGIApplication] = {
            "http": super().__call__,
            "lifespan": self.lifespan,
            "websocket": WebSocketHandler(),
        }
        self.protocols = common_protocols.overlay(conf.protocols()).overlay(
            protocols or {}
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
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

    async def serve_own(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection of a type that comes with the handler."""
        await self._own[scope["type"]](scope, receive, send)


async def _own_protocol(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve with the handler that is serving: each has middleware of its own."""
    await _current_handler.get().serve_own(scope, receive, send)


for _scope_type in ("http", "lifespan", "websocket"):
    common_protocols.register(_scope_type, _own_protocol)
