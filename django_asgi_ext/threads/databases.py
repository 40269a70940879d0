"""The database connections of a thread, between those who use it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connections
from django.db.backends.base.base import BaseDatabaseWrapper

logger = logging.getLogger("django_asgi_ext.threads")


def is_in_transaction() -> bool:
    """Return whether a transaction is open in this thread."""
    return any(
        connection.in_atomic_block or _is_managed_by_hand(connection)
        for connection in _connections()
    )


def refresh_connections() -> None:
    """Do for the connections of this thread what Django does around a request."""
    try:
        close_old_connections()
        for connection in _connections():
            connection.queries_log.clear()
    except Exception:
        logger.exception("Closing old database connections failed.")


def drop_transactions() -> None:
    """
    Close the connections of this thread that are in a transaction.

    What was to end it was cancelled. Whoever has the thread next must not find
    himself inside of it.
    """
    for connection in list(_connections()):
        if connection.in_atomic_block:
            try:
                connection.close()
            except Exception:
                logger.exception("Closing a connection in a transaction failed.")
            del connections[connection.alias]


@contextmanager
def keep_transactions() -> Iterator[None]:
    """
    Let the signals of a request close no connection that is in a transaction.

    On a thread of ours none is. On the thread of a TestCase that waits for us it
    is the test's; Django's test clients keep it in the same way.
    """
    closing = []
    if is_in_transaction():
        closing = [
            signal
            for signal in (request_started, request_finished)
            if signal.disconnect(close_old_connections)
        ]
    try:
        yield
    finally:
        for signal in closing:
            signal.connect(close_old_connections)


def _is_managed_by_hand(connection: BaseDatabaseWrapper) -> bool:
    # As after set_autocommit(False), which refreshing it would undo by closing it.
    usual = connection.settings_dict["AUTOCOMMIT"]
    return connection.connection is not None and connection.autocommit != usual


def _connections() -> Iterator[BaseDatabaseWrapper]:
    # Those that there are: all() makes the others, which may fail. A list, as another
    # thread may add a database.
    for alias in list(connections):
        if hasattr(connections._connections, alias):  # type: ignore[attr-defined]
            yield connections[alias]
