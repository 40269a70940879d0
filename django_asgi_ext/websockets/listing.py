"""Which WebSocket views a URLconf holds, for a person to read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver
from django.views import View

from django_asgi_ext.websockets.options import find_options, layers, view_name
from django_asgi_ext.websockets.views import WebSocketView


@dataclass(frozen=True)
class WebSocketURL:
    """A URL of the project at which a WebSocket view answers."""

    path: str
    """The route with its converters or, from re_path(), the regular expression."""
    name: str
    """The name for reverse() with its namespaces, "" if there is none."""
    view: str
    """The dotted path of the view."""
    subprotocols: tuple[str, ...]
    origins: tuple[str, ...] | None
    """Those that the view names, None if CSRF_TRUSTED_ORIGINS decides."""
    guards: tuple[str, ...]
    """Decorators and mixins around the view, the outermost first."""


def websocket_urls(urlconf: str | None = None) -> list[WebSocketURL]:
    """
    Return the WebSocket URLs of a URLconf, by default ROOT_URLCONF, in its order.

    Raise what importing the URLconf raises.
    """
    return list(_urls_below(get_resolver(urlconf), "/", ()))


def _urls_below(
    resolver: URLResolver, prefix: str, namespaces: tuple[str, ...]
) -> Iterator[WebSocketURL]:
    for entry in resolver.url_patterns:
        path = _join(prefix, str(entry.pattern))
        if isinstance(entry, URLResolver):
            below = namespaces
            if entry.namespace:
                below = (*namespaces, entry.namespace)
            yield from _urls_below(entry, path, below)
        elif isinstance(entry, URLPattern):
            options = find_options(entry.callback)
            if options is not None:
                *decorators, view = _layers_to_websocket(entry.callback)
                yield WebSocketURL(
                    path,
                    ":".join((*namespaces, entry.name)) if entry.name else "",
                    view_name(view),
                    options.subprotocols,
                    options.origins,
                    tuple(_guards(decorators, view)),
                )


def _join(prefix: str, part: str) -> str:
    # As the resolver does it: what begins a regular expression is inside here.
    return prefix + part.removeprefix("^")


def _layers_to_websocket(view: Any) -> list[Any]:
    """Return a view and what is wrapped in it, to where it was made of @websocket."""
    # functools.wraps() takes attributes over: the innermost is whose they are.
    return list(takewhile(find_options, layers(view)))


def _guards(decorators: list[Any], innermost: Any) -> Iterator[str]:
    for layer in decorators:
        name = _decorator(layer)
        if name is not None:
            yield name
    if hasattr(innermost, "view_class"):
        yield from _mixins(innermost.view_class)


def _mixins(view_class: type[View]) -> Iterator[str]:
    for ancestor in view_class.__mro__:
        dispatch = vars(ancestor).get("dispatch")
        if dispatch is None or ancestor in (View, WebSocketView):
            continue
        # What method_decorator() makes knows what it is made of.
        decorators = _closure(dispatch).get("decorators")
        if decorators is None:
            yield ancestor.__qualname__
        else:
            several = isinstance(decorators, Iterable)
            for decorator in decorators if several else [decorators]:
                yield getattr(decorator, "__name__", repr(decorator))


def _decorator(layer: Any) -> str | None:
    """Return the name of the decorator that made a function, None if none did."""
    if not hasattr(layer, "__code__"):
        return None
    name, *inside = layer.__code__.co_qualname.split(".<locals>")
    if not inside:
        return None
    # login_required() and others are user_passes_test() with a test of their own.
    test = _closure(layer).get("test_func")
    return str(getattr(test, "__qualname__", name).split(".<locals>")[0])


def _closure(function: Any) -> dict[str, Any]:
    code = getattr(function, "__code__", None)
    cells = getattr(function, "__closure__", None) or ()
    names = code.co_freevars if code is not None else ()
    return {name: cell.cell_contents for name, cell in zip(names, cells, strict=True)}
