"""The way of a message that is encoded: to the members here, and to the backend."""

from __future__ import annotations

import asyncio
import logging
import time

from django_asgi_ext import deployment
from django_asgi_ext.exceptions import GroupsUnavailable
from django_asgi_ext.groups.backends import backend
from django_asgi_ext.groups.delivery import deliver, is_behind
from django_asgi_ext.groups.message import Message
from django_asgi_ext.groups.policy import History, policy_of

logger = logging.getLogger("django_asgi_ext.groups")

# How long who publishes more than event loops can deliver is held back with each
# message, in seconds: one of them may stand still.
PATIENCE = 1.0
_PAUSE = 0.001


def publish_now(group: str, message: Message) -> None:
    """Publish on any thread; on one without an event loop, no faster than they can."""
    backend().publish(group, message, _deliver_here(group, message))
    if is_behind(group) and not is_on_a_loop():
        deadline = time.monotonic() + PATIENCE
        while is_behind(group) and time.monotonic() < deadline:
            time.sleep(_PAUSE)


def publish_committed(group: str, message: Message) -> None:
    """
    Publish what a transaction has stored; log it if that cannot be.

    Nobody could act on an error: the transaction is committed, and what else waits
    for that must be called all the same.
    """
    try:
        publish_now(group, message)
    except GroupsUnavailable as error:
        logger.error("A message to %s is not published on commit: %s", group, error)


async def apublish_now(group: str, message: Message) -> None:
    """Publish on an event loop, and let it deliver before this goes on."""
    await backend().apublish(group, message, _deliver_here(group, message))
    await asyncio.sleep(0)
    if is_behind(group):
        deadline = time.monotonic() + PATIENCE
        while is_behind(group) and time.monotonic() < deadline:
            await asyncio.sleep(_PAUSE)


def is_on_a_loop() -> bool:
    """Return whether an event loop runs on this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _deliver_here(group: str, message: Message) -> History | None:
    """Deliver a message that needs no position; return the history of its group."""
    deployment.warn_of_publishing()
    history = policy_of(group).history
    if history is None:
        # Before anything else: it must reach them though the backend is away.
        deliver(group, message)
    return history
