"""What may be wrong in ASGI_EXT. Nothing is read here: that is for conf.py."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any


@dataclass(frozen=True)
class Problem:
    """Something wrong in ASGI_EXT: the number of its check, and what it is."""

    number: int
    message: str
    hint: str


def is_number(value: object, or_zero: bool = False) -> bool:
    """Return whether a value is a number above 0, or 0 if that may be."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return 0 < value < math.inf or (or_zero and value == 0)


def is_count(value: object) -> bool:
    """Return whether a value is a whole number above 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


_POLICY_OPTIONS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "slow": (
        lambda value: value in ("close", "drop_oldest", "latest"),
        "'close', 'drop_oldest' or 'latest'",
    ),
    "history": (
        lambda value: (
            value is None
            or is_count(value)
            or (isinstance(value, timedelta) and value > timedelta())
        ),
        "a whole number of messages or a timedelta above 0",
    ),
    "presence": (lambda value: isinstance(value, bool), "True or False"),
    "grace": (lambda value: is_number(value, or_zero=True), "a number of seconds"),
}


def policy_problems(policies: object) -> Iterator[Problem]:
    """Yield what is wrong in ASGI_EXT["GROUPS"]["POLICIES"]."""
    if not isinstance(policies, dict):
        yield Problem(
            23,
            f"ASGI_EXT['GROUPS']['POLICIES'] must be a dict, not {policies!r}.",
            "The keys are patterns of names, as 'chat.*'.",
        )
        return
    for pattern, options in policies.items():
        yield from _problems_of(pattern, options)


def _problems_of(pattern: object, options: object) -> Iterator[Problem]:
    setting = f"ASGI_EXT['GROUPS']['POLICIES'][{pattern!r}]"
    if not isinstance(pattern, str) or not isinstance(options, dict):
        yield Problem(
            23,
            f"{setting} must be a dict, and its key a str.",
            "The keys are patterns of names, as 'chat.*'.",
        )
        return
    for name, value in options.items():
        is_valid, expected = _POLICY_OPTIONS.get(name, (None, ""))
        if is_valid is None:
            yield Problem(
                24,
                f"{setting} has no option {name!r}.",
                f"The options are: {', '.join(sorted(_POLICY_OPTIONS))}.",
            )
        elif not is_valid(value):
            yield Problem(
                25,
                f"{setting}[{name!r}] must be {expected}, not {value!r}.",
                "Leave it out for the default.",
            )
