"""Test clients with WebSockets, twins of Django's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.test import client as django_client

from django_asgi_ext.handler import ASGIHandler
from django_asgi_ext.protocols import ASGIApplication
from django_asgi_ext.test import peer
from django_asgi_ext.test.handshake import make_scope
from django_asgi_ext.test.sockets import AsyncClientWebSocket
from django_asgi_ext.test.sync_sockets import ClientWebSocket

if TYPE_CHECKING:
    from django.test.client import AsyncClient as _AsyncClient
else:

    class _AwaitedClient(django_client.Client):
        """In place of the AsyncClient that Django 3.0 does not have."""

        async def request(self, **request):
            return await sync_to_async(super().request)(**request)

    _AsyncClient = getattr(django_client, "AsyncClient", _AwaitedClient)


class _WebSockets:
    """
    What makes a client of Django's open WebSockets.

    ``application`` is the ASGI application to talk to, the project's by default:
    an ASGIHandler for this client, made for its first WebSocket.
    """

    def __init__(
        self, *args: Any, application: ASGIApplication | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        if application is not None:
            self.application = application

    def store_exc_info(self, **kwargs: Any) -> None:
        """Note a failure of a request; that of a WebSocket is its socket's."""
        if peer.current() is None:
            super().store_exc_info(**kwargs)  # type: ignore[misc]

    @cached_property
    def application(self) -> ASGIApplication:
        """The ASGI application that the client's WebSockets talk to."""
        return ASGIHandler()


class Client(_WebSockets, django_client.Client):
    """Django's test client, with WebSockets."""

    def websocket(
        self,
        path: str,
        subprotocols: Sequence[str] = (),
        *,
        headers: Mapping[str, str | None] | None = None,
        secure: bool = False,
        timeout: float = 1.0,
    ) -> ClientWebSocket:
        """
        Return a WebSocket that is open inside of ``with``.

        It has the client's cookies and sets them. ``headers`` go over those of the
        client, and None takes one out. Without another word the Origin is the one
        of the site's own pages. ``timeout`` is how long each wait may take, in
        seconds.
        """
        scope = make_scope(
            path, subprotocols, headers or {}, self.cookies, self.defaults, secure
        )
        return ClientWebSocket(self, scope, timeout)


class AsyncClient(_WebSockets, _AsyncClient):
    """
    Django's test client for async tests, with WebSockets.

    On Django 3.0, which has none, its requests are those of the sync client.
    """

    # From Django 5.0 on there are such.
    if not hasattr(_AsyncClient, "aforce_login"):
        alogin = sync_to_async(_AsyncClient.login)
        aforce_login = sync_to_async(_AsyncClient.force_login)
        alogout = sync_to_async(_AsyncClient.logout)

    def websocket(
        self,
        path: str,
        subprotocols: Sequence[str] = (),
        *,
        headers: Mapping[str, str | None] | None = None,
        secure: bool = False,
        timeout: float = 1.0,
    ) -> AsyncClientWebSocket:
        """
        Return a WebSocket that is open inside of ``async with``.

        It has the client's cookies and sets them. ``headers`` go over those of the
        client, and None takes one out. Without another word the Origin is the one
        of the site's own pages. ``timeout`` is how long each wait may take, in
        seconds.
        """
        scope = make_scope(
            path, subprotocols, headers or {}, self.cookies, self.defaults, secure
        )
        return AsyncClientWebSocket(self, scope, timeout)
