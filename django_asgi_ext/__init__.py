"""The ASGI handler Django should have had: protocols plug in, WebSockets are views."""

import django

from django_asgi_ext import groups
from django_asgi_ext.asgi import get_asgi_application
from django_asgi_ext.exceptions import (
    ConnectionClosed,
    GroupsUnavailable,
    InvalidJSON,
    InvalidState,
    UnsupportedProtocol,
)
from django_asgi_ext.handler import ASGIHandler
from django_asgi_ext.protocols import ProtocolRegistry, protocols
from django_asgi_ext.signals import (
    group_gap,
    group_messages_dropped,
    websocket_connected,
    websocket_disconnected,
)
from django_asgi_ext.version import __version__
from django_asgi_ext.websockets.connection import WebSocket
from django_asgi_ext.websockets.views import WebSocketView, websocket

__all__ = [
    "ASGIHandler",
    "ConnectionClosed",
    "GroupsUnavailable",
    "InvalidJSON",
    "InvalidState",
    "ProtocolRegistry",
    "UnsupportedProtocol",
    "WebSocket",
    "WebSocketView",
    "__version__",
    "get_asgi_application",
    "group_gap",
    "group_messages_dropped",
    "groups",
    "protocols",
    "websocket",
    "websocket_connected",
    "websocket_disconnected",
]

# From 3.2 on Django finds it by itself, and warns of this name.
if django.VERSION < (3, 2):
    default_app_config = "django_asgi_ext.apps.ASGIExtConfig"
