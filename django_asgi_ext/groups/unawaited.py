"""Functions of groups that tell, with DEBUG, if nobody awaits what they return."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar, cast

from asgiref.sync import markcoroutinefunction

from django_asgi_ext import conf
from django_asgi_ext.unawaited import NotAwaited, place_of_call

logger = logging.getLogger("django_asgi_ext.groups")

P = ParamSpec("P")
T = TypeVar("T")

# Which calls were told of, by their place: each line of code is told once.
_told: set[str] = set()


def watched(
    function: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Let an async function of groups tell of calls that nobody awaits."""
    call = f"groups.{function.__name__}(...)"

    @functools.wraps(function)
    def watching(*args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        coroutine = function(*args, **kwargs)
        if not conf.debug():
            return coroutine
        return NotAwaited(
            coroutine, call, functools.partial(_tell, call, place_of_call())
        )

    return cast("Callable[P, Coroutine[Any, Any, T]]", markcoroutinefunction(watching))


def _tell(call: str, place: str) -> None:
    if place not in _told:
        _told.add(place)
        logger.warning(
            "%s: %s does nothing without await. Write await %s.", place, call, call
        )
