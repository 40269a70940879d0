"""What guards a WebSocket view: the decorators and mixins around it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import takewhile
from typing import Any

from django.views import View

from django_asgi_ext.websockets.options import find_options, layers

# Whose classes guard nothing: View and WebSocketView. By name, because the
# second is in a module that imports this one.
_MODULES = ("django.views.generic.base", "django_asgi_ext.websockets.views")


def without_guards(view: Any) -> Any:
    """Return a WebSocket view of a URLconf without its decorators."""
    return _layers_to_websocket(view)[-1]


def guards(view: Any) -> tuple[str, ...]:
    """
    Return the names of the decorators and mixins around a WebSocket view.

    The outermost comes first. Only decorators that use functools.wraps() are
    found.
    """
    *decorators, innermost = _layers_to_websocket(view)
    names = [name for name in map(_decorator, decorators) if name is not None]
    if hasattr(innermost, "view_class"):
        names.extend(_mixins(innermost.view_class))
    return tuple(names)


def _layers_to_websocket(view: Any) -> list[Any]:
    """Return a view and what is wrapped in it, to where it was made of @websocket."""
    # functools.wraps() takes attributes over: the innermost is whose they are.
    return list(takewhile(find_options, layers(view)))


def _mixins(view_class: type[View]) -> Iterator[str]:
    for ancestor in view_class.__mro__:
        dispatch = vars(ancestor).get("dispatch")
        if dispatch is None or ancestor.__module__ in _MODULES:
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
    found = {}
    for name, cell in zip(names, cells, strict=True):
        # One that is empty yet has no contents.
        with suppress(ValueError):
            found[name] = cell.cell_contents
    return found
