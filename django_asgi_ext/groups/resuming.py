"""From where a member goes on in a group with history."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured, SuspiciousOperation
from django.http import HttpRequest, QueryDict

from django_asgi_ext.groups.message import Position, read_position
from django_asgi_ext.groups.policy import policy_of

_TOO_OLD = (0, 0)


def last_position(request: HttpRequest, group: str) -> Position | None:
    """
    Return from where a peer wants to go on: "last_id" in its URL's query.

    What is no position becomes one that is too old.
    """
    try:
        query = QueryDict(request.scope["query_string"])  # type: ignore[attr-defined]
    except SuspiciousOperation:
        # More fields than Django takes.
        return _TOO_OLD
    for last_id in reversed(query.getlist("last_id")):
        name, separator, _ = last_id.rpartition("@")
        if separator and name == group:
            return position_of(last_id, group)
    return None


def position_of(last_id: str, group: str) -> Position:
    """
    Return the position in an id.

    What is none of the group becomes one that is too old: a peer may have sent it.
    """
    name, _, position = last_id.rpartition("@")
    return (name == group and read_position(position)) or _TOO_OLD


def check_last_id(last_id: str | None, group: str) -> None:
    """
    Check that a view may go on from an id, if it has one.

    Raise TypeError if it is no str, and ImproperlyConfigured if the group has no
    history.
    """
    if last_id is None:
        return
    if not isinstance(last_id, str):
        raise TypeError(f"An id to go on from is a str, not {last_id!r}.")
    if policy_of(group).history is None:
        raise ImproperlyConfigured(
            f"The group {group!r} has no history. Set it in "
            "ASGI_EXT['GROUPS']['POLICIES'], as {'chat.*': {'history': 100}}."
        )
