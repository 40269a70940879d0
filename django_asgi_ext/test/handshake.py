"""The opening handshake that a test client sends, as an ASGI scope."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import unquote, urlsplit

from django.utils.encoding import iri_to_uri

from django_asgi_ext.protocols import Scope

_PORTS = {"ws": 80, "wss": 443}


def make_scope(
    path: str,
    subprotocols: Sequence[str],
    headers: Mapping[str, str | None],
    cookies: SimpleCookie,
    defaults: Mapping[str, Any],
    secure: bool,
) -> Scope:
    """
    Return the scope of a handshake, as hypercorn makes it of a browser's.

    ``defaults`` are those of Django's test clients, in the words of WSGI.
    """
    url = urlsplit(str(path))
    secure = secure or defaults.get("wsgi.url_scheme") == "https"
    scheme = "wss" if secure else "ws"
    lines = _handshake_headers(subprotocols, cookies, defaults)
    lines.update((name.lower(), value) for name, value in headers.items())
    # That of a page of the same site, as browsers send it (RFC 6455, section 10.2).
    lines.setdefault("origin", f"{'https' if secure else 'http'}://{lines['host']}")
    return {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": scheme,
        "path": unquote(url.path),
        "raw_path": iri_to_uri(url.path).encode("ascii"),
        "query_string": iri_to_uri(url.query).encode("ascii"),
        "root_path": "",
        "headers": [
            (name.encode("ascii"), value.encode("latin-1"))
            for name, value in lines.items()
            if value is not None
        ],
        "client": (defaults.get("REMOTE_ADDR", "127.0.0.1"), 0),
        "server": (defaults.get("SERVER_NAME", "testserver"), _PORTS[scheme]),
        "subprotocols": list(subprotocols),
        "extensions": {"websocket.http.response": {}},
    }


def _handshake_headers(
    subprotocols: Sequence[str], cookies: SimpleCookie, defaults: Mapping[str, Any]
) -> dict[str, str | None]:
    """Return the headers of every handshake (RFC 6455, section 4.1), and Django's."""
    lines: dict[str, str | None] = {
        "host": defaults.get("SERVER_NAME", "testserver"),
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "bm8gcmVhbCBuZXR3b3JrIQ==",
    }
    if subprotocols:
        lines["sec-websocket-protocol"] = ", ".join(subprotocols)
    if cookies:
        lines["cookie"] = "; ".join(
            f"{name}={morsel.coded_value}" for name, morsel in cookies.items()
        )
    for name, value in defaults.items():
        if name.startswith("HTTP_"):
            lines[name[5:].replace("_", "-").lower()] = value
    return lines
