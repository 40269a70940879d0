"""The backend that the settings name: one for each process."""

from __future__ import annotations

import os
from threading import Lock

from django.core.signals import setting_changed

from django_asgi_ext import conf
from django_asgi_ext.groups.base import Backend
from django_asgi_ext.groups.delivery import deliver

_lock = Lock()
_backend: Backend | None = None
# Those of the processes that this one was forked from. Their connections are not to
# be closed here, as they would be if nothing referred to them.
_inherited: list[Backend] = []


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
                _backend = conf.groups_backend()(
                    conf.groups_location(), deliver, **conf.groups_options()
                )
    return _backend


def _forget_backend(*, setting: str, **kwargs: object) -> None:
    global _backend
    if setting == "ASGI_EXT" and _backend is not None:
        _backend.close()
        _backend = None


def _begin_anew() -> None:
    """Leave the backend to the process that has forked."""
    global _backend, _lock
    # Another thread may have held it.
    _lock = Lock()
    if _backend is not None:
        _inherited.append(_backend)
        _backend = None


setting_changed.connect(_forget_backend)
# Windows does not fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
