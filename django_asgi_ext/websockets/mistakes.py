"""What may be wrong with a view, in words that name the remedy."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Sequence
from typing import Any, NoReturn

from django.http.response import HttpResponseBase

from django_asgi_ext.websockets.options import (
    find_options,
    function_name,
    is_async,
    layers,
    undecorated,
    view_name,
)

_POSITIONAL = {
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
}


def check_function(view: Any) -> None:
    """
    Check what @websocket is put on.

    Raise TypeError if it is no async function that takes a socket.
    """
    if not is_async(view):
        raise TypeError(_why_not_async(view))
    if not _takes_socket(view):
        function = undecorated(view)
        raise TypeError(
            f"@websocket gives {view_name(function)}() a socket, and it takes none. "
            f"Write async def {function_name(function)}(socket)."
        )


def _why_not_async(view: Any) -> str:
    needs = "@websocket needs an async def, and"
    name = view_name(undecorated(view))
    if isinstance(view, str):
        return f"{needs} {view!r} is a str. A path goes into path() in the URLconf."
    if isinstance(view, type):
        return (
            f"{needs} {name} is a class. Derive it from WebSocketView and put "
            f"{view.__name__}.as_view() into the URLconf."
        )
    if not callable(view):
        return f"{needs} {name} is not one."
    if any(is_async(layer) for layer in layers(view)):
        return (
            f"{needs} a decorator below it has made {name}() a sync function. Put "
            "that decorator above @websocket."
        )
    if any(inspect.isasyncgenfunction(layer) for layer in layers(view)):
        return (
            f"{needs} {name}() yields. Write await socket.send(...) in place of yield."
        )
    return f"{needs} {name}() is sync. Write async def, below all decorators for views."


def _takes_socket(view: Any) -> bool:
    try:
        # As it is called: a decorator may give what is below it other arguments.
        signature = inspect.signature(view, follow_wrapped=False)
        parameters = signature.parameters.values()
    except (TypeError, ValueError):
        # Not every callable has a signature that can be looked at.
        return True
    return any(parameter.kind in _POSITIONAL for parameter in parameters)


def check_method(view_class: type, name: str, arguments: Sequence[str]) -> None:
    """
    Check a method of a WebSocketView that is called with these arguments.

    Raise TypeError if it is not async or takes others.
    """
    method = getattr(view_class, name)
    place = f"{view_class.__qualname__}.{name}()"
    if find_options(method) is not None:
        raise TypeError(f"{place} is no view of its own. Take @websocket away.")
    if inspect.isasyncgenfunction(method):
        raise TypeError(
            f"{place} yields. Write await self.socket.send(...) in place of yield."
        )
    if not is_async(method):
        raise TypeError(f"{place} must be an async def.")
    if not inspect.isfunction(inspect.getattr_static(view_class, name)):
        return
    try:
        inspect.signature(method, follow_wrapped=False).bind(None, *arguments)
    except TypeError:
        signature = ", ".join(("self", *arguments))
        raise TypeError(
            f"{place} takes other arguments than it is called with. Write async def "
            f"{name}({signature}); those of the URL are in self.kwargs."
        ) from None


class NoASGI:
    """In place of the method as_asgi() that Channels' consumers have."""

    def __get__(self, view: object, view_class: type) -> NoReturn:
        raise AttributeError(
            "A WebSocketView is a view. Write "
            f"{view_class.__qualname__}.as_view() in the URLconf."
        )


def no_websocket_view(view: Any) -> str:
    """Return why a view that the URLconf names cannot answer a handshake."""
    name = view_name(view)
    if isinstance(view, type):
        why = f"a class. Put {view.__name__}.as_view() into the URLconf."
    elif _is_application(view):
        why = (
            "an ASGI application. Write it as a function with @websocket or as a "
            "WebSocketView."
        )
    elif hasattr(view, "view_class"):
        why = "a View for pages. Derive it from WebSocketView."
    elif ".<locals>." in getattr(view, "__qualname__", ""):
        why = (
            "no WebSocket view. If a decorator has made it, use functools.wraps() "
            "there; else put @websocket on it."
        )
    elif is_async(view):
        why = "no WebSocket view. Put @websocket on it."
    else:
        why = "no WebSocket view. Make it an async def and put @websocket on it."
    return f"The URL is that of {name}, which is {why}"


def _is_application(view: Any) -> bool:
    # What as_asgi() returns takes the signature over from its class.
    code = getattr(view, "__code__", None)
    return code is not None and code.co_varnames[:3] == ("scope", "receive", "send")


def no_response(view: Any, answer: object) -> str:
    """Return what is wrong about an answer to the handshake that is no response."""
    return (
        "A WebSocket view returns an HttpResponse or None before it accepts, and "
        f"{view_name(view)} returned {answer!r}. {_remedy_for_answer(answer)}"
    )


def answer_to_nobody(view: Any, answer: object) -> str:
    """Return what is wrong about an answer after the handshake."""
    return (
        f"{view_name(view)} returned {answer!r} after it had accepted. Nobody gets "
        f"it. {_remedy_for_answer(answer)}"
    )


def _remedy_for_answer(answer: object) -> str:
    if isinstance(answer, HttpResponseBase):
        return "Return a response before the first accept(), recv() or send()."
    if isinstance(answer, Awaitable):
        return "Await it."
    if isinstance(answer, (str, bytes)):
        return "Send it by await socket.send(...)."
    return "Send it by await socket.send_json(...)."
