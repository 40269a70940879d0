"""Groups of all processes that share a Redis, or a Valkey."""

from __future__ import annotations

from django_asgi_ext.groups.redis.backend import RedisBackend

__all__ = ["RedisBackend"]
