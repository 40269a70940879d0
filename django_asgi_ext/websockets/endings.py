"""What ends a connection how: from what a view raised to a close code."""

from __future__ import annotations

import asyncio

from django.core.exceptions import PermissionDenied

from django_asgi_ext.exceptions import ConnectionClosed, GroupsUnavailable, InvalidJSON

# RFC 6455, section 7.4.1, and the IANA registry of close codes.
NORMAL_CLOSURE = 1000
GOING_AWAY = 1001
INVALID_DATA = 1007
POLICY_VIOLATION = 1008
MESSAGE_TOO_BIG = 1009
INTERNAL_ERROR = 1011
SERVICE_RESTART = 1012
TRY_AGAIN_LATER = 1013


def close_code_for(error: BaseException) -> int:
    """Return the close code for what a view raised after accepting."""
    error = single(error)
    if isinstance(error, PermissionDenied):
        return POLICY_VIOLATION
    if isinstance(error, InvalidJSON):
        return INVALID_DATA
    if isinstance(error, GroupsUnavailable):
        return TRY_AGAIN_LATER
    if isinstance(error, asyncio.CancelledError):
        return SERVICE_RESTART
    return INTERNAL_ERROR


def single(error: BaseException) -> BaseException:
    """Return the only exception in a group of one, which a TaskGroup makes."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def without_closed(error: BaseException) -> BaseException | None:
    """
    Return what a view raised, less that the connection was closed.

    None is left if that was all.
    """
    if isinstance(error, BaseExceptionGroup):
        rest = error.split(ConnectionClosed)[1]
        return None if rest is None else single(rest)
    return None if isinstance(error, ConnectionClosed) else error
