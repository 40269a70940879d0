"""The twin of django.core.asgi."""

from __future__ import annotations

from collections.abc import Mapping

import django

from django_asgi_ext.handler import ASGIHandler
from django_asgi_ext.lifespan import LifespanManager
from django_asgi_ext.protocols import ASGIApplication


def get_asgi_application(
    protocols: Mapping[str, ASGIApplication | None] | None = None,
    lifespan: LifespanManager | None = None,
) -> ASGIHandler:
    """
    Set Django up and return the ASGI application of the project.

    ``protocols`` adds ASGI applications by scope type, for this application
    only; None takes a protocol out. ``lifespan`` is an async context manager
    function around the application's life; what it yields (a dict or None) is
    ``scope["state"]`` of every request and socket.

    Raise ImproperlyConfigured if ASGI_EXT is wrong.
    """
    django.setup(set_prefix=False)
    return ASGIHandler(protocols, lifespan)
