"""
The check of the Origin header (RFC 6455, section 10.2; RFC 6454).

Browsers let every page of the world open a WebSocket to every server and send
the cookies along. The Origin header, which a page cannot forge, is what tells a
page of this site from another.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from django.conf import settings
from django.http import HttpRequest
from django.utils.http import is_same_domain

from django_asgi_ext import conf

# (scheme, host, port); the port is None if the scheme has no default.
Origin = tuple[str, str, "int | None"]

_DEFAULT_PORTS = {"http": 80, "https": 443}

# What browsers send and no more, no path, user or list; "*" is for settings.
_ORIGIN = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://"
    r"(?P<host>\*?[\w.-]+|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
)


def is_allowed(request: HttpRequest, origins: Sequence[str] | None = None) -> bool:
    """
    Return whether a handshake may come from where its Origin header says.

    It may come from the request's own origin and from those in the list, which
    is CSRF_TRUSTED_ORIGINS if None. As there, "https://*.example.com" stands for
    example.com and its subdomains. "*" in a list of a view's own allows all.

    Raise DisallowedHost if the request's Host header is not allowed.
    """
    host = request.get_host()
    if origins is None:
        origins = settings.CSRF_TRUSTED_ORIGINS
    elif "*" in origins:
        return True
    header = request.META.get("HTTP_ORIGIN")
    if header is None:
        return not conf.require_origin()
    if "*" in header:
        return False
    # To the letter, as "null" or an extension's own scheme.
    if header in origins:
        return True
    scheme = "https" if request.is_secure() else "http"
    origin = parse(header)
    if origin is None:
        return False
    return origin == parse(f"{scheme}://{host}") or any(
        _matches(origin, entry, scheme) for entry in origins
    )


def _matches(origin: Origin, entry: str, own_scheme: str) -> bool:
    # Before Django 4.0 entries had no scheme, and a dot stood for "*.".
    if "://" not in entry:
        entry = f"{own_scheme}://{'*' if entry.startswith('.') else ''}{entry}"
    allowed = parse(entry)
    if allowed is None:
        return False
    scheme, host, port = allowed
    if (scheme, port) != (origin[0], origin[2]):
        return False
    return host == origin[1] or (
        host.startswith("*") and is_same_domain(origin[1], host.lstrip("*"))
    )


def parse(text: str) -> Origin | None:
    """
    Return an origin in its parts, or None if it is none.

    Scheme and host come in lower case, a host outside ASCII in Punycode, and
    the default port is filled in.
    """
    match = _ORIGIN.fullmatch(text)
    # Longer than a domain name may be (RFC 1035, section 2.3.4).
    if match is None or len(match["host"]) > 255:
        return None
    scheme = match["scheme"].lower()
    port = int(match["port"]) if match["port"] else _DEFAULT_PORTS.get(scheme)
    host = match["host"].lower()
    if not host.isascii():
        try:
            encoded = host.encode("idna")
            # Some letters it only folds into others, which is another name now.
            if encoded.decode("idna") != host:
                return None
        except UnicodeError:
            return None
        host = encoded.decode("ascii")
    return scheme, host, port
