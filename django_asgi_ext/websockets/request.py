"""The request that an opening handshake is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest


class WebSocketRequest(ASGIRequest):
    """
    An opening handshake as Django's request (RFC 6455, section 4.1).

    Its method is GET, its scheme "http" for ws and "https" for wss.

    Raise UnicodeDecodeError if the query string is no UTF-8.
    """

    def __init__(self, scope: Mapping[str, Any]) -> None:
        super().__init__(
            {**scope, "method": "GET", "root_path": script_prefix(scope)}, BytesIO()
        )
        # Not every server passes it on, and over HTTP/2 there is none. Caches
        # tell a handshake from a page of the same URL by it.
        self.META["HTTP_UPGRADE"] = "websocket"

    @property
    def view(self) -> Callable[..., Any]:
        """The view that the URLconf names."""
        assert self.resolver_match is not None
        return self.resolver_match.func

    def _get_scheme(self) -> str:
        return "https" if self.scope.get("scheme") in ("wss", "https") else "http"


def script_prefix(scope: Mapping[str, Any]) -> str:
    """Return the path under which the application is mounted, "" for none."""
    return settings.FORCE_SCRIPT_NAME or scope.get("root_path") or ""
