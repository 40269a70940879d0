"""
What a server does in a way of its own, and what is done about it.

Each has a module here that names its oddities. A server is known by its send().
Behind middleware that wraps it, it is unknown and taken for one that does
everything right.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from django_asgi_ext.protocols import Receive, Send
from django_asgi_ext.servers import daphne, granian, gunicorn, hypercorn, uvicorn
from django_asgi_ext.servers.base import CloseAll, Server

_SERVERS: list[tuple[Callable[[Send], bool], type[Server]]] = [
    (hypercorn.owns, hypercorn.Hypercorn),
    (uvicorn.owns, uvicorn.Uvicorn),
    (granian.owns, granian.Granian),
    (daphne.owns, daphne.Daphne),
    (gunicorn.owns, gunicorn.Gunicorn),
]


def server_of(receive: Receive, send: Send) -> Server:
    """Return how the server that a connection belongs to is to be treated."""
    for owns, server in _SERVERS:
        if owns(send):
            return server(receive, send)
    return Server(receive, send)


def watch_shutdown(close_all: CloseAll) -> None:
    """
    Close all connections when the server on the running loop begins to shut down.

    Call it in a connection: before there is one, a server may not run yet.
    """
    loop = asyncio.get_running_loop()
    hypercorn.watch_shutdown(loop, close_all)
    gunicorn.watch_shutdown(loop, close_all)
    daphne.watch_shutdown(loop, close_all)
