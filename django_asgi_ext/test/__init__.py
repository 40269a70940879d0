"""Clients that open WebSockets in tests, twins of those in django.test."""

from django_asgi_ext.exceptions import ConnectionClosed
from django_asgi_ext.test.client import AsyncClient, Client
from django_asgi_ext.test.denial import HandshakeDenied
from django_asgi_ext.test.groups import fresh_groups
from django_asgi_ext.test.live import ASGILiveServerTestCase
from django_asgi_ext.test.sockets import AsyncClientWebSocket
from django_asgi_ext.test.sync_sockets import ClientWebSocket

__all__ = [
    "ASGILiveServerTestCase",
    "AsyncClient",
    "AsyncClientWebSocket",
    "Client",
    "ClientWebSocket",
    "ConnectionClosed",
    "HandshakeDenied",
    "fresh_groups",
]
