"""The request that an opening handshake is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest

_SCHEMES = {"ws": "http", "wss": "https"}


class WebSocketRequest(ASGIRequest):
    """
    An opening handshake as Django's request (RFC 6455, section 4.1).

    Its method is GET, its scheme "http" for ws and "https" for wss.

    Raise UnicodeDecodeError if the query string is no UTF-8.
    """

    def __init__(self, scope: Mapping[str, Any]) -> None:
        super().__init__(
            {**scope, "method": "GET", "root_path": script_prefix(scope)}, _NO_BODY
        )
        if settings.SECURE_PROXY_SSL_HEADER:
            # Some proxies name the scheme of the WebSocket in it.
            name = settings.SECURE_PROXY_SSL_HEADER[0]
            if self.META.get(name) in _SCHEMES:
                self.META[name] = _SCHEMES[self.META[name]]

    # Whether the check of the Origin header has been passed.
    origin_is_allowed = False

    @property
    def view(self) -> Callable[..., Any]:
        """The view that the URLconf names."""
        assert self.resolver_match is not None
        return self.resolver_match.func

    def build_absolute_uri(self, location: str | None = None) -> str:
        """
        Return a URI as Django does; that of the handshake itself is ws or wss.

        Caches know by it that a page of the same path is another resource.
        """
        uri = super().build_absolute_uri(location)
        return uri.replace("http", "ws", 1) if location is None else uri

    def _get_scheme(self) -> str:
        scheme = self.scope.get("scheme") or "ws"
        return _SCHEMES.get(scheme, scheme)


class _NoBody(BytesIO):
    def close(self) -> None:
        """Stay open: it is the same one for all, and a view may read it late."""


_NO_BODY = _NoBody()


def script_prefix(scope: Mapping[str, Any]) -> str:
    """Return the path under which the application is mounted, "" for none."""
    return settings.FORCE_SCRIPT_NAME or scope.get("root_path") or ""
