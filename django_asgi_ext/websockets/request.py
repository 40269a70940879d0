"""The request that an opening handshake is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

from django.conf import settings
from django.contrib.messages.storage import default_storage
from django.core.handlers.asgi import ASGIRequest
from django.utils.functional import cached_property
from django.utils.module_loading import import_string

from django_asgi_ext.websockets.response import Headers

_SCHEMES = {"ws": "http", "wss": "https"}


class WebSocketRequest(ASGIRequest):
    """
    An opening handshake as Django's request (RFC 6455, section 4.1).

    Its method is GET, its scheme "http" for ws and "https" for wss.

    Raise UnicodeDecodeError if the query string is no UTF-8.
    """

    def __init__(self, scope: Mapping[str, Any]) -> None:
        prefix = script_prefix(scope)
        super().__init__(
            {
                **scope,
                "method": "GET",
                "root_path": prefix,
                "path": _with_prefix(scope["path"], prefix),
                "headers": _with_one_cookie(scope["headers"]),
            },
            _NO_BODY,
        )
        # A request lasts as long as its connection. It shares the scope with the
        # server, and names with other requests; on Python 3.12 a str that is
        # interned stays for ever, so not the values, which are the peer's.
        self.scope = scope
        self.META = {_shared(name): value for name, value in self.META.items()}
        if settings.SECURE_PROXY_SSL_HEADER:
            # Some proxies name the scheme of the WebSocket in it.
            name = settings.SECURE_PROXY_SSL_HEADER[0]
            if self.META.get(name) in _SCHEMES:
                self.META[name] = _SCHEMES[self.META[name]]

    # Whether the check of the Origin header has been passed.
    origin_is_allowed = False
    _may_have_messages = False

    @cached_property
    def _messages(self) -> Any:
        # What MessageMiddleware sets hides this until let_go() takes it away.
        if not self._may_have_messages:
            raise AttributeError("_messages")
        return default_storage(self)

    def let_go(self) -> None:
        """
        Let go of what only a response needs: the request lasts longer than it.

        What Django can make again is made again when a view asks for it.
        """
        # The patterns that did not match, for the page that says 404.
        self.resolver_match.tried = None  # type: ignore[union-attr]
        messages = vars(self).get("_messages")
        if (
            messages is not None
            and type(messages) is import_string(settings.MESSAGE_STORAGE)
            and not (messages.used or messages.added_new)
            and not hasattr(messages, "_loaded_data")
        ):
            del self._messages
            self._may_have_messages = True

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


# The names of headers that most peers send. Others are theirs to choose.
_NAMES = {
    f"HTTP_{name}": f"HTTP_{name}"
    for name in (
        "HOST CONNECTION UPGRADE ORIGIN COOKIE USER_AGENT PRAGMA CACHE_CONTROL "
        "ACCEPT_ENCODING ACCEPT_LANGUAGE SEC_WEBSOCKET_KEY SEC_WEBSOCKET_VERSION "
        "SEC_WEBSOCKET_EXTENSIONS SEC_WEBSOCKET_PROTOCOL X_FORWARDED_FOR "
        "X_FORWARDED_PROTO X_FORWARDED_HOST X_REAL_IP"
    ).split()
}


def _shared(name: str) -> str:
    return _NAMES.get(name, name)


def script_prefix(scope: Mapping[str, Any]) -> str:
    """Return where the application is mounted, without a slash at the end."""
    return (settings.FORCE_SCRIPT_NAME or scope.get("root_path") or "").rstrip("/")


def _with_prefix(path: str, prefix: str) -> str:
    """Return the path as ASGI has it since 2.4, with the script prefix."""
    if path == prefix or path.startswith(f"{prefix}/"):
        return path
    return prefix + path


def _with_one_cookie(headers: Headers) -> Headers:
    """Join what Django, up to 4.x, joins with a comma (RFC 9113, section 8.2.3)."""
    cookies = [value for name, value in headers if name == b"cookie"]
    if len(cookies) < 2:
        return headers
    others = [pair for pair in headers if pair[0] != b"cookie"]
    return [*others, (b"cookie", b"; ".join(cookies))]
