"""
Groups: whatever is published to one reaches all its members.

Members are sockets, which join with socket.join() or @websocket(group=...).
Anything may publish: a view, a signal receiver, a task, a management command.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.db import transaction

from django_asgi_ext.groups.backends import backend
from django_asgi_ext.groups.base import Backend
from django_asgi_ext.groups.counting import counters as _counters
from django_asgi_ext.groups.message import Message, encode
from django_asgi_ext.groups.names import check_name
from django_asgi_ext.groups.policy import policy_of
from django_asgi_ext.groups.publishing import (
    apublish_now,
    is_on_a_loop,
    publish_committed,
    publish_now,
)
from django_asgi_ext.groups.unawaited import watched

if TYPE_CHECKING:
    from django_asgi_ext.websockets.connection import WebSocket

__all__ = ["Backend", "amembers", "apublish", "counters", "members", "publish"]


def publish(
    group: str,
    message: object,
    *,
    key: str | None = None,
    exclude: WebSocket | None = None,
    on_commit: bool = False,
    using: str | None = None,
) -> None:
    """
    Send a message to every member of a group.

    str and bytes go as they are, anything else as JSON, encoded as
    DjangoJSONEncoder does. It waits for no member. Call it on any thread, with
    or without an event loop; on one, a backend that waits for others makes all
    connections wait, and Python warns. Messages of one publisher arrive in their
    order.

    ``key`` says which messages replace each other where a slow member sees the
    latest only. ``exclude`` is a socket that does not get it. With ``on_commit``
    it is sent when the transaction of the database ``using`` is committed, and
    never if that is rolled back; what cannot be sent then is logged.

    Raise ValueError for a name that no group can have, TypeError or ValueError for
    a message that cannot be encoded, and, without ``on_commit``, GroupsUnavailable
    for one that cannot be kept though its group has a history.
    """
    encoded = _encode(group, message, key, exclude)
    if on_commit:
        _on_commit(partial(publish_committed, group, encoded), using)
    else:
        _warn_of_waiting("publish")
        publish_now(group, encoded)


@watched
async def apublish(
    group: str,
    message: object,
    *,
    key: str | None = None,
    exclude: WebSocket | None = None,
    on_commit: bool = False,
    using: str | None = None,
) -> None:
    """
    Send a message to every member of a group, as publish() does.

    With ``on_commit`` the transaction is that in which the view's calls of the ORM
    run. The event loop goes on meanwhile, so that members can take what they get.
    """
    encoded = _encode(group, message, key, exclude)
    if on_commit:
        await sync_to_async(transaction.on_commit)(
            partial(publish_committed, group, encoded), using
        )
    else:
        await apublish_now(group, encoded)


def members(group: str) -> list[dict[str, Any]]:
    """
    Return the public info of who is in a group with presence, in all processes.

    A user who is there several times is in it once, first come first. It is what
    JSON has made of it, and the caller's own.

    Raise ImproperlyConfigured if the group has no presence.
    """
    _check_presence(group)
    _warn_of_waiting("members")
    return deepcopy(backend().members(group))


@watched
async def amembers(group: str) -> list[dict[str, Any]]:
    """Return the public info of who is in a group with presence, as members() does."""
    _check_presence(group)
    return deepcopy(await backend().amembers(group))


def counters() -> dict[str, int]:
    """
    Return what was lost in this process since it has started.

    "dropped" are messages that members were too slow for, each counted for each
    member, "closed" is how many members were closed for it.
    """
    return _counters.read()


def _encode(
    group: str, message: object, key: str | None, exclude: WebSocket | None
) -> Message:
    check_name(group)
    member = None if exclude is None else exclude.member
    return encode(message, key, None if member is None else member.token)


def _on_commit(publish: Callable[[], None], using: str | None) -> None:
    """
    Publish on commit.

    Raise SynchronousOnlyOperation on an event loop: it has no transaction.
    """
    try:
        transaction.on_commit(publish, using)
    except SynchronousOnlyOperation:
        raise SynchronousOnlyOperation(
            "groups.publish(..., on_commit=True) asks the database for its "
            "transaction, which async code has in another thread. Write await "
            "groups.apublish(..., on_commit=True)."
        ) from None


def _warn_of_waiting(name: str) -> None:
    """Warn who calls a function on an event loop that waits there."""
    if backend().blocks and is_on_a_loop():
        warnings.warn(
            f"groups.{name}() makes all connections of this process wait here: write "
            f"`await groups.a{name}(...)`.",
            RuntimeWarning,
            # Of the function's caller.
            stacklevel=3,
        )


def _check_presence(group: str) -> None:
    check_name(group)
    if not policy_of(group).presence:
        raise ImproperlyConfigured(
            f"The group {group!r} has no presence. Set it in "
            "ASGI_EXT['GROUPS']['POLICIES'], as {'chat.*': {'presence': True}}."
        )
