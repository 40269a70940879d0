"""Who is in the groups of one process, and what is said of them."""

from __future__ import annotations

import json
from typing import Any

from asgiref.sync import sync_to_async
from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from django_asgi_ext.groups.base import Info


class Table:
    """
    Who is in a group, in the order in which they came.

    Whoever calls sees to it that one thread does at a time.
    """

    def __init__(self) -> None:
        # By the key of the user, then by the token of each member.
        self._users: dict[str, dict[str, Info]] = {}

    def __bool__(self) -> bool:
        return bool(self._users)

    def enter(self, key: str, token: str, info: Info) -> bool:
        """Add a member; return whether it is the first of its user."""
        members = self._users.setdefault(key, {})
        is_first = not members
        members[token] = info
        return is_first

    def exit(self, key: str, token: str) -> Info | None:
        """Take a member out; return its info if it was the last of its user."""
        members = self._users.get(key, {})
        info = members.pop(token, None)
        if members or info is None:
            return None
        del self._users[key]
        return info

    def infos(self) -> list[Info]:
        """Return the info of each user, that of the one who came first."""
        return [next(iter(members.values())) for members in self._users.values()]


async def describe(
    request: HttpRequest, token: str, info: dict[str, Any] | None
) -> tuple[str, Info]:
    """
    Return the key and the public info of a member.

    A user has one key, and so has an anonymous one with a session; without it each
    socket has its own. ``info`` comes on top, and its "id" is the key if it has one.
    What is returned is the info as others get it, out of JSON, and a copy.

    Raise TypeError if the info is no dict, and TypeError or ValueError if JSON
    (RFC 8259, with what DjangoJSONEncoder adds) cannot express it.
    """
    if info is not None and not isinstance(info, dict):
        raise TypeError(f"The info of a member is a dict, not {info!r}.")
    if info is None or "id" not in info:
        # The name may be a matter of the database.
        default = await sync_to_async(_describe)(request, token, info is None)
        info = {**default, **(info or {})}
    # Here, and not when it is told to others: they cannot help it.
    text = json.dumps(info, cls=DjangoJSONEncoder, allow_nan=False)
    info = json.loads(text)
    # 1 and "1" are not the same.
    return repr(info["id"]), info


def _describe(request: HttpRequest, token: str, with_name: bool) -> Info:
    user = getattr(request, "user", None)
    if user is not None and user.is_authenticated:
        info = {"id": user.pk}
        name = str(user) if with_name else ""
    else:
        info = {"id": _anonymous_id(request, token)}
        name = str(user or "")
    return {**info, "name": name} if with_name else info


def _anonymous_id(request: HttpRequest, token: str) -> str:
    key = getattr(getattr(request, "session", None), "session_key", None)
    # Everybody sees it, and nobody may learn the key of a session from it.
    digest = salted_hmac("django_asgi_ext.groups.presence", key or token).hexdigest()
    return f"anonymous-{digest[:16]}"
