"""
The answers that make up the console: a page, its style and its script.

All come from the URL of the WebSocket itself, through its middleware and its
decorators, so that nothing has to be installed and nothing else is let in. The
page brings a Content-Security-Policy (W3C, CSP level 3) with a nonce. Middleware
that fills in a missing policy leaves it alone. Style and script are not in the
page but beside it, so that a policy which replaces ours, or comes on top of it,
need not allow more than script-src, style-src and connect-src 'self'.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from django.http import HttpRequest, HttpResponse
from django.template import Context, Engine
from django.utils.cache import add_never_cache_headers, patch_vary_headers

from django_asgi_ext import conf
from django_asgi_ext.websockets.console.facts import find_facts
from django_asgi_ext.websockets.options import find_options

_PARAMETER = "asgi-ext-console"

# What the parameter may name: its type, and the files that it is made of.
_PARTS = {
    "style.css": ("text/css", ["style.css", "log.css"]),
    "script.js": (
        "text/javascript",
        ["format.js", "codes.js", "log.js", "composer.js", "connection.js", "main.js"],
    ),
}

_POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
    "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'"
)

# RFC 9110, section 12.4.2.
_NOT_ACCEPTABLE = re.compile(r"q=0(\.0{0,3})?")


def part(request: HttpRequest) -> HttpResponse | None:
    """Return the style or script that the query asks for, None if it does not."""
    name, _, value = (
        request.META.get("QUERY_STRING", "").rpartition("&")[2].partition("=")
    )
    if name != _PARAMETER or value not in _PARTS or not _may_have_console(request):
        return None
    content_type, files = _PARTS[value]
    text = "\n".join(map(_read, files))
    return _uncached(HttpResponse(text, content_type=f"{content_type}; charset=utf-8"))


def page(request: HttpRequest) -> HttpResponse | None:
    """
    Return the console, with status 426, for a browser that is to show a page.

    Return None for anybody else, without DEBUG, and for a view that was not
    reached through the URLconf.
    """
    match = request.resolver_match
    if match is None or not _may_have_console(request) or not _accepts_html(request):
        return None
    options = find_options(match.func)
    if options is None:
        return None
    nonce = secrets.token_urlsafe(16)
    query = request.META.get("QUERY_STRING", "")
    context = {
        "facts": find_facts(request, match, options),
        "nonce": nonce,
        # The guards may want to see the query here too.
        "part": f"?{query}{'&' if query else ''}{_PARAMETER}=",
    }
    # Whatever TEMPLATES is, as in Django's own pages for DEBUG.
    template = Engine().from_string(_read("page.html"))
    response = HttpResponse(
        template.render(Context(context)),
        status=426,
        content_type="text/html; charset=utf-8",
    )
    response["Content-Security-Policy"] = _POLICY.format(nonce=nonce)
    patch_vary_headers(response, ["Accept"])
    return _uncached(response)


def _may_have_console(request: HttpRequest) -> bool:
    return conf.debug() and request.method in ("GET", "HEAD")


def _accepts_html(request: HttpRequest) -> bool:
    """Return whether a client names HTML: "*/*" is what scripts send."""
    for media_range in request.META.get("HTTP_ACCEPT", "").lower().split(","):
        media_type, *parameters = map(str.strip, media_range.split(";"))
        if media_type == "text/html":
            return not any(map(_NOT_ACCEPTABLE.fullmatch, parameters))
    return False


def _uncached(response: HttpResponse) -> HttpResponse:
    add_never_cache_headers(response)
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _read(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
