"""What the console says of a WebSocket URL and of the request for it."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest
from django.urls import ResolverMatch

from django_asgi_ext import conf
from django_asgi_ext.websockets.guards import guards, without_guards
from django_asgi_ext.websockets.options import WebSocketOptions, view_name


@dataclass(frozen=True)
class Facts:
    """A WebSocket URL as a request has found it."""

    path: str
    view: str
    """The dotted path of the view."""
    docstring: str
    route: str
    name: str
    """The name for reverse() with its namespaces, "" if there is none."""
    arguments: tuple[tuple[str, str], ...]
    """Names and values of the URL's arguments; one without a name has its place."""
    guards: tuple[str, ...]
    subprotocols: tuple[str, ...]
    origins: tuple[str, ...] | None
    """Those that the view names, None if CSRF_TRUSTED_ORIGINS decides."""
    max_message_size: int
    """In bytes."""
    user: str
    """Who is logged in, in words."""
    is_asgi: bool
    """Whether the server may know WebSockets: one for WSGI does not."""

    @property
    def largest_message(self) -> str:
        """Its size in words."""
        return f"{self.max_message_size:,} bytes"

    @property
    def for_script(self) -> dict[str, Any]:
        """What the script of the page needs, for JSON."""
        return {
            "subprotocols": self.subprotocols,
            "isASGI": self.is_asgi,
        }


def find_facts(
    request: HttpRequest, match: ResolverMatch, options: WebSocketOptions
) -> Facts:
    """Return what is known of the URL that a request has matched."""
    view = without_guards(match.func)
    documented = getattr(view, "view_class", view)
    return Facts(
        path=request.path,
        view=view_name(view),
        docstring=inspect.cleandoc(documented.__doc__ or ""),
        route=str(match.route),
        name=match.view_name if match.url_name else "",
        arguments=tuple(
            (str(name), repr(value))
            for name, value in [*enumerate(match.args), *match.kwargs.items()]
        ),
        guards=guards(match.func),
        subprotocols=options.subprotocols,
        origins=options.origins,
        max_message_size=options.max_message_size or conf.max_message_size(),
        user=_user(request),
        is_asgi=isinstance(request, ASGIRequest),
    )


def _user(request: HttpRequest) -> str:
    try:
        user = getattr(request, "user", None)
        if user is None:
            return "unknown (no middleware sets request.user)"
        # Lazy as it is, only a look at it loads it.
        return str(user) if user.is_authenticated else "not logged in"
    except Exception as error:
        # The database may be down, or lack its tables. The page is of use even so.
        return f"unknown ({type(error).__name__}: {error})"
