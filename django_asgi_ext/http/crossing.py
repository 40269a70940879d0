"""
One way of a request through layers, and back: on the event loop and in a thread.

As under Django, whoever cancels it stops it at the next change of layers: a call
that runs in a thread is not interrupted, and no hook follows it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import nullcontext
from contextvars import ContextVar
from typing import Any

from asgiref.sync import async_to_sync, sync_to_async
from django.http import HttpRequest

from django_asgi_ext.http.leases import current_unit, own_call

# The innermost one: what is cancelled with it must stop, too.
_current: ContextVar[Crossing | None] = ContextVar(
    "django_asgi_ext_crossing", default=None
)


class Crossing:
    """Where a request is, and whether it has been cancelled."""

    __slots__ = ("_above", "_is_cancelled", "_is_in_thread", "_steps")

    def __init__(self, is_in_thread: bool = False) -> None:
        self._above = _current.get() if is_in_thread else None
        self._is_in_thread = is_in_thread
        self._is_cancelled = False
        self._steps: Generator[Any, Any, Any] | None = None

    def enter(self) -> bool:
        """
        Return whether synchronous code may run here: in a thread.

        Raise CancelledError if the request has been cancelled.
        """
        if self._is_in_thread and self._was_cancelled():
            raise asyncio.CancelledError
        return self._is_in_thread

    def hold_thread(self) -> None:
        """Keep the thread for this request, as code may leave something there."""
        unit = current_unit()
        if unit is not None:
            unit.hold()

    def begin_view(self) -> None:
        """Say that from here on it is the view's thread."""
        unit = current_unit()
        if unit is not None:
            unit.begin_view()

    async def run(self, steps: Generator[Any, Any, Any]) -> Any:
        """Return what a way leads to, from the event loop."""
        token = _current.set(self)
        # Not an argument of a call: that would look like a queryset's iterator.
        self._steps = steps
        try:
            is_over, value = _advance(steps, None)
            while not is_over:
                if value is None:
                    with own_call():
                        is_over, value = await _advance_in_thread(self)
                else:
                    function, args, kwargs = value
                    try:
                        result = await function(*args, **kwargs)
                    except Exception as error:
                        is_over, value = _throw(steps, error)
                    else:
                        is_over, value = _advance(steps, result)
            return value
        except asyncio.CancelledError:
            self._is_cancelled = True
            raise
        finally:
            self._steps = None
            _current.reset(token)

    def run_in_thread(self, steps: Generator[Any, Any, Any]) -> Any:
        """Return what a way leads to, from a thread that is the request's."""
        is_over, value = _advance(steps, None)
        while not is_over:
            function, args, kwargs = value
            # Its sync calls run here, and nobody is told of them.
            self.hold_thread()
            try:
                result = async_to_sync(_await)(function, args, kwargs)
            except Exception as error:
                is_over, value = _throw(steps, error)
            else:
                is_over, value = _advance(steps, result)
        return value

    def resume(self) -> tuple[bool, Any]:
        """Go on in a thread that was asked for."""
        # Gone once it has been cancelled.
        steps = self._steps
        self._is_in_thread = True
        try:
            self.enter()
            assert steps is not None
            return _advance(steps, None)
        finally:
            self._is_in_thread = False

    def _was_cancelled(self) -> bool:
        crossing: Crossing | None = self
        while crossing is not None:
            if crossing._is_cancelled:
                return True
            crossing = crossing._above
        return False


_advance_in_thread = sync_to_async(Crossing.resume, thread_sensitive=True)


async def cancellable(
    handler: Callable[..., Any], keeps_thread: bool, request: HttpRequest
) -> Any:
    """Await a handler that is sync below; what it holds stops when cancelled."""
    crossing = Crossing()
    token = _current.set(crossing)
    try:
        with nullcontext() if keeps_thread else own_call():
            return await handler(request)
    except asyncio.CancelledError:
        crossing._is_cancelled = True
        raise
    finally:
        _current.reset(token)


async def _await(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    return await function(*args, **kwargs)


def _advance(steps: Generator[Any, Any, Any], value: Any) -> tuple[bool, Any]:
    """Return False and what is waited for, or True and what came out."""
    try:
        return False, steps.send(value)
    except StopIteration as over:
        return True, over.value


def _throw(steps: Generator[Any, Any, Any], error: Exception) -> tuple[bool, Any]:
    try:
        return False, steps.throw(error)
    except StopIteration as over:
        return True, over.value
