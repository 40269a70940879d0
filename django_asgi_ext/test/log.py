"""
What is logged while a test has a WebSocket open.

Not by a handler: one more would change what is logged elsewhere, as with
logging.lastResort, and assertLogs() takes the handlers of a logger away.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

_Hear: TypeAlias = Callable[[str], None]

# Those that tell why a handshake is denied or what a view does wrong.
_LOGGERS = ("django.request", "django.security", "django_asgi_ext")


class _RecordFactory:
    """Makes the records that the factory before it makes, and tells of them."""

    def __init__(self) -> None:
        self.before = logging.getLogRecordFactory()
        self.listeners: list[_Hear] = []

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self.before(*args, **kwargs)
        # makeLogRecord() makes one without a name or a level.
        if str(record.name).startswith(_LOGGERS) and record.levelno >= logging.WARNING:
            text = _as_text(record)
            for hear in tuple(self.listeners):
                hear(text)
        return record


_lock = threading.Lock()
_factory: _RecordFactory | None = None


def connect(hear: _Hear) -> None:
    """
    Call it with each warning and error of Django and of this package, as text.

    It is called where they are logged, in any thread. What the level of a logger
    keeps back is not among them.
    """
    global _factory
    with _lock:
        if _factory is None:
            _factory = _RecordFactory()
            logging.setLogRecordFactory(_factory)
        _factory.listeners.append(hear)


def disconnect(hear: _Hear) -> None:
    """Call it no more."""
    global _factory
    with _lock:
        if _factory is None or hear not in _factory.listeners:
            return
        _factory.listeners.remove(hear)
        if not _factory.listeners:
            # One that was set since calls this one, which then is silent.
            if logging.getLogRecordFactory() is _factory:
                logging.setLogRecordFactory(_factory.before)
            _factory = None


def _as_text(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:
        # Wrong arguments are told by logging, and no harm to who logs.
        return str(record.msg)
