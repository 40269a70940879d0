"""
What is logged while a test has a WebSocket open.

Not by a handler: one more would change what is logged elsewhere, as with
logging.lastResort, and assertLogs() takes the handlers of a logger away.
"""

from __future__ import annotations

import logging
import threading
from typing import Any, Protocol
from weakref import WeakSet

# Those that tell why a handshake is denied or what a view does wrong.
_LOGGERS = ("django.request", "django.security", "django_asgi_ext")


class Listener(Protocol):
    """Who wants to know what is logged."""

    def note_logged(self, text: str) -> None:
        """Take the text of a record, in the thread and the context that log it."""


class _RecordFactory:
    """Makes the records that the factory before it makes, and tells of them."""

    def __init__(self) -> None:
        self.before = logging.getLogRecordFactory()
        # Who is not left, but forgotten, is not kept.
        self.listeners: WeakSet[Listener] = WeakSet()

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self.before(*args, **kwargs)
        # makeLogRecord() makes one without a name or a level.
        if str(record.name).startswith(_LOGGERS) and record.levelno >= logging.WARNING:
            text = _as_text(record)
            for listener in tuple(self.listeners):
                listener.note_logged(text)
        return record


_lock = threading.Lock()
_factory: _RecordFactory | None = None


def connect(listener: Listener) -> None:
    """
    Tell it of the warnings and errors of Django and of this package.

    What the level of a logger keeps back is not among them.
    """
    global _factory
    with _lock:
        if _factory is None or not _factory.listeners:
            if logging.getLogRecordFactory() is not _factory:
                _factory = _RecordFactory()
                logging.setLogRecordFactory(_factory)
        _factory.listeners.add(listener)


def disconnect(listener: Listener) -> None:
    """Tell it of no more."""
    global _factory
    with _lock:
        if _factory is None:
            return
        _factory.listeners.discard(listener)
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
