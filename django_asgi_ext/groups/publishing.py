"""The way of a message that is encoded: to the members here, and to the backend."""

from __future__ import annotations

import asyncio

from django_asgi_ext.groups.backends import backend
from django_asgi_ext.groups.delivery import deliver
from django_asgi_ext.groups.message import Message
from django_asgi_ext.groups.policy import History, policy_of


def publish_now(group: str, message: Message) -> None:
    """Publish on any thread."""
    backend().publish(group, message, _deliver_here(group, message))


async def apublish_now(group: str, message: Message) -> None:
    """Publish on an event loop, and let it deliver before this goes on."""
    await backend().apublish(group, message, _deliver_here(group, message))
    await asyncio.sleep(0)


def _deliver_here(group: str, message: Message) -> History | None:
    """Deliver a message that needs no position; return the history of its group."""
    history = policy_of(group).history
    if history is None:
        # Before anything else: it must reach them though the backend is away.
        deliver(group, message)
    return history
