"""What ASGI_EXT["GROUPS"]["POLICIES"] says about a group."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any

from django.core.signals import setting_changed

from django_asgi_ext import conf

# What becomes of a member that is too slow for its outbox.
CLOSE, DROP_OLDEST, LATEST = "close", "drop_oldest", "latest"

# Of how many groups it is remembered.
_REMEMBERED = 4096


@dataclass(frozen=True)
class History:
    """How much of a group is kept: a number of messages, or an age in seconds."""

    messages: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Policy:
    """
    How a group is treated, the same in every process.

    ``slow`` is CLOSE, DROP_OLDEST or LATEST, ``history`` None if nothing is
    kept, ``presence`` whether the members know who is there. ``grace`` is for how
    long who has left is there, as the same user may come back, in seconds.
    """

    slow: str = CLOSE
    history: History | None = None
    presence: bool = False
    grace: float = 0.0


@functools.lru_cache(_REMEMBERED)
def policy_of(group: str) -> Policy:
    """Return the policy of a group: that of the first pattern that matches."""
    for pattern, options in conf.group_policies().items():
        if fnmatchcase(group, pattern):
            return _policy(options)
    return Policy()


def _policy(options: dict[str, Any]) -> Policy:
    history = options.get("history")
    kept = None
    if isinstance(history, timedelta):
        kept = History(seconds=history.total_seconds())
    elif history:
        kept = History(messages=history)
    return Policy(
        slow=options.get("slow") or CLOSE,
        history=kept,
        presence=bool(options.get("presence", False)),
        grace=options.get("grace") or 0.0,
    )


def _forget_policies(*, setting: str, **kwargs: object) -> None:
    if setting == "ASGI_EXT":
        policy_of.cache_clear()


setting_changed.connect(_forget_policies)
