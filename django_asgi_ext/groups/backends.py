"""The backend that the settings name: one for each process."""

from __future__ import annotations

from threading import Lock

from django.core.signals import setting_changed

from django_asgi_ext import conf
from django_asgi_ext.groups.base import Backend
from django_asgi_ext.groups.delivery import deliver

_lock = Lock()
_backend: Backend | None = None


def backend() -> Backend:
    """
    Return the backend of this process.

    It is made at the first use and not at import: a server may fork in between.

    Raise ImproperlyConfigured if it cannot be imported.
    """
    global _backend
    if _backend is None:
        with _lock:
            if _backend is None:
                _backend = conf.groups_backend()(conf.groups_location(), deliver)
    return _backend


def _forget_backend(*, setting: str, **kwargs: object) -> None:
    global _backend
    if setting == "ASGI_EXT" and _backend is not None:
        _backend.close()
        _backend = None


setting_changed.connect(_forget_backend)
