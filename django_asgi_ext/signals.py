"""
Signals of WebSocket connections.

Receivers may be sync or async. A sync one runs in a worker thread, so it may
use the database.
"""

from __future__ import annotations

import inspect
import logging
from typing import Any

from asgiref.sync import sync_to_async
from django.dispatch import Signal

logger = logging.getLogger("django_asgi_ext.websocket")

# The opening handshake is complete. Argument: socket.
websocket_connected = Signal()

# The connection is over. Arguments: socket, code (the close code, int) and
# seconds (since the opening handshake, float).
websocket_disconnected = Signal()

# A member of a group was too slow and has lost messages. Arguments: socket, group
# (its name) and count (how many since the last time).
group_messages_dropped = Signal()

# The connection to other processes was broken, and is there again. Arguments: groups
# (a list of the names of those whose members may have missed messages) and seconds
# (for how long, float).
group_gap = Signal()


async def emit(signal: Signal, **arguments: Any) -> None:
    """Send a signal; a receiver that fails is logged and harms nobody else."""
    if not signal.receivers:
        return
    answers = await sync_to_async(signal.send_robust)(**arguments)
    for receiver, answer in answers:
        # Before Django 5.0 nobody awaits what an async receiver returns.
        if inspect.iscoroutine(answer):
            try:
                answer = await answer
            except Exception as error:
                answer = error
        if isinstance(answer, Exception):
            logger.error("Signal receiver %r failed.", receiver, exc_info=answer)
