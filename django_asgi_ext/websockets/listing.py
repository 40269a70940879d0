"""Which WebSocket views a URLconf holds, for a person to read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.urls import URLPattern, URLResolver, get_resolver

from django_asgi_ext.websockets.guards import guards, without_guards
from django_asgi_ext.websockets.options import find_options, view_name


@dataclass(frozen=True)
class WebSocketURL:
    """A URL of the project at which a WebSocket view answers."""

    path: str
    """The route with its converters or, from re_path(), the regular expression."""
    name: str
    """The name for reverse() with its namespaces, "" if there is none."""
    view: str
    """The dotted path of the view."""
    arguments: tuple[str, ...]
    """The names of what the view is called with, as the URLconf has them."""
    subprotocols: tuple[str, ...]
    origins: tuple[str, ...] | None
    """Those that the view names, None if CSRF_TRUSTED_ORIGINS decides."""
    groups: tuple[str, ...]
    """Those that a socket joins, with fields for the arguments of the URL."""
    guards: tuple[str, ...]
    """Decorators and mixins around the view, the outermost first."""


def websocket_urls(urlconf: str | None = None) -> list[WebSocketURL]:
    """
    Return the WebSocket URLs of a URLconf, by default ROOT_URLCONF, in its order.

    Raise what importing the URLconf raises.
    """
    return list(_urls_below(get_resolver(urlconf), "/", (), ()))


def _urls_below(
    resolver: URLResolver,
    prefix: str,
    namespaces: tuple[str, ...],
    arguments: tuple[str, ...],
) -> Iterator[WebSocketURL]:
    for entry in resolver.url_patterns:
        path = _join(prefix, str(entry.pattern))
        own = (*arguments, *entry.pattern.regex.groupindex)
        if isinstance(entry, URLResolver):
            below = namespaces
            if entry.namespace:
                below = (*namespaces, entry.namespace)
            own += tuple(entry.default_kwargs)
            yield from _urls_below(entry, path, below, own)
        elif isinstance(entry, URLPattern):
            options = find_options(entry.callback)
            if options is not None:
                yield WebSocketURL(
                    path,
                    ":".join((*namespaces, entry.name)) if entry.name else "",
                    view_name(without_guards(entry.callback)),
                    tuple(dict.fromkeys((*own, *entry.default_args))),
                    options.subprotocols,
                    options.origins,
                    options.group,
                    guards(entry.callback),
                )


def _join(prefix: str, part: str) -> str:
    # As the resolver does it: what begins a regular expression is inside here.
    return prefix + part.removeprefix("^")
