"""What a WebSocket view wants of its connections."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from asgiref.sync import iscoroutinefunction

from django_asgi_ext.groups.names import check_template
from django_asgi_ext.websockets.response import is_token


@dataclass(frozen=True)
class WebSocketOptions:
    """
    The arguments of @websocket, which mean the same on a WebSocketView.

    Raise TypeError or ValueError if one of them cannot be right.
    """

    # What the view speaks (RFC 6455, section 1.9).
    subprotocols: tuple[str, ...] = ()
    # Allowed beside the request's own, None for CSRF_TRUSTED_ORIGINS.
    origins: tuple[str, ...] | None = None
    # In bytes, None for ASGI_EXT["MAX_MESSAGE_SIZE"].
    max_message_size: int | None = None
    # Whether user and session are loaded before the view runs.
    load_user: bool = True
    # What the socket joins, with fields for the arguments of the URL.
    group: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "subprotocols", _texts("subprotocols", self))
        group = (self.group,) if isinstance(self.group, str) else tuple(self.group)
        object.__setattr__(self, "group", group)
        for template in group:
            check_template(template)
        if self.origins is not None:
            object.__setattr__(self, "origins", _texts("origins", self))
        for subprotocol in self.subprotocols:
            if not is_token(subprotocol):
                raise ValueError(
                    f"{subprotocol!r} is no name for a subprotocol (RFC 6455, 4.1)."
                )
        size = self.max_message_size
        if size is not None and (
            not isinstance(size, int) or isinstance(size, bool) or size < 1
        ):
            raise ValueError(
                f"max_message_size must be a number of bytes above 0, not {size!r}."
            )


def _texts(name: str, options: WebSocketOptions) -> tuple[str, ...]:
    value = getattr(options, name)
    if isinstance(value, str) or not all(isinstance(text, str) for text in value):
        raise TypeError(f"{name} must be a list of str, not {value!r}.")
    return tuple(value)


def find_options(view: Any) -> WebSocketOptions | None:
    """
    Return the options of a WebSocket view, or None if it is none.

    They are found through decorators that use functools.wraps, and partials.
    """
    for layer in layers(view):
        options = getattr(layer, "websocket_options", None)
        if options is not None:
            return options  # type: ignore[no-any-return]
    return None


def layers(view: Any) -> Iterator[Any]:
    """Yield a view and what is wrapped in it, the outermost first."""
    while view is not None:
        yield view
        if isinstance(view, functools.partial):
            view = view.func
        else:
            view = getattr(view, "__wrapped__", None)


def undecorated(view: Any) -> Any:
    """Return what a view is made of, below its decorators."""
    *_, innermost = layers(view)
    return innermost


def is_async(function: Any) -> bool:
    """Return whether a call of something that is no class is to be awaited."""
    if callable(function) and not isinstance(function, type):
        return iscoroutinefunction(function) or iscoroutinefunction(function.__call__)
    return False


def view_name(view: Any) -> str:
    """Return the dotted path of a view, for a person to read."""
    view = getattr(view, "view_class", view)
    name = getattr(view, "__qualname__", None)
    return f"{view.__module__}.{name}" if name else repr(view)


def function_name(function: Any) -> str:
    """Return what follows "async def" where a function is written."""
    return getattr(function, "__name__", "view")
