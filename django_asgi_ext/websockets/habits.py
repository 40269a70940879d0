"""What elsewhere is called or done otherwise: who asks for it is told of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

_RECV = "await socket.recv()"
_SEND = "await socket.send(message)"
_ITERATE = "async for message in socket"

# As Starlette, aiohttp, Channels and websockets call them.
_OURS = {
    "receive": _RECV,
    "receive_text": _RECV,
    "receive_str": _RECV,
    "receive_bytes": _RECV,
    "receive_json": "await socket.recv_json()",
    "iter_text": _ITERATE,
    "iter_bytes": _ITERATE,
    "iter_json": _ITERATE,
    "send_text": _SEND,
    "send_str": _SEND,
    "send_bytes": _SEND,
    "disconnect": "await socket.close()",
    "closed": "socket.close_code, which is None while it is not closed",
    "query_params": "socket.request.GET",
    "cookies": "socket.request.COOKIES",
    "path_params": "the arguments of the view",
    "kwargs": "the arguments of the view",
    "client": "socket.request.META['REMOTE_ADDR']",
    "remote_address": "socket.request.META['REMOTE_ADDR']",
}

# What sets the attributes of a request that the socket has too.
_MIDDLEWARE = {
    "session": "django.contrib.sessions.middleware.SessionMiddleware",
    "user": "django.contrib.auth.middleware.AuthenticationMiddleware",
}


def _refusing(text: str) -> Callable[..., NoReturn]:
    def refuse(self: object, *args: object) -> NoReturn:
        raise TypeError(text)

    return refuse


class Habits:
    """What a WebSocket does not have, and says so."""

    # For a type checker what is not there is not there.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            text = f"'WebSocket' object has no attribute '{name}'"
            if name in _MIDDLEWARE:
                text = (
                    f"socket.{name} needs a middleware that sets request.{name}, as "
                    f"{_MIDDLEWARE[name]}."
                )
            elif name in _OURS:
                text += f". Here it is: {_OURS[name]}."
            # Not through self.request, which may be what is missing.
            elif hasattr(self.__dict__.get("request"), name):
                text += (
                    f". The request has: socket.request.{name}. If a decorator asked "
                    "for it, put that above @websocket."
                )
            else:
                # Python may know one that is alike.
                raise AttributeError(text)
            # Of None, which has none that is alike.
            raise AttributeError(text, name=name, obj=None)

        __iter__ = _refusing("A WebSocket is iterated over by async for.")
        __enter__ = _refusing(
            "A WebSocket is open until its view ends: it needs no with."
        )
        # Looked for beside the other.
        __exit__ = __enter__
        __aenter__ = __enter__
        __aexit__ = __enter__
