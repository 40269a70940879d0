"""
Sending to many members without a task for each.

A server's send() hardly ever waits: it writes to a transport that has room. So
the sends of all members run one after the other in one callback of the event
loop. One that waits all the same, as its peer is slow, goes on in a task; that
is the task which send() has seen as the current one from its beginning, so that
it may use asyncio.timeout() and whatever else needs to know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextvars import Context
from types import TracebackType
from typing import Any

# What a finished send is told by: it has nothing to wait for.
DONE = object()

Carry = Callable[["Rest"], Awaitable[None]]


class Rest:
    """
    The rest of an awaitable that may have begun to run, in a context of its own.

    ``steps`` is what its __await__() has returned, ``waits_for`` what it has
    yielded last if it has begun.
    """

    __slots__ = ("_context", "_steps", "_waits_for")

    def __init__(
        self, context: Context, steps: Iterator[Any], waits_for: Any = DONE
    ) -> None:
        self._context = context
        self._steps = steps
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        run, steps, waits_for = self._context.run, self._steps, self._waits_for
        try:
            if waits_for is DONE:
                waits_for = run(next, steps)
            while True:
                try:
                    yield waits_for
                except BaseException as error:
                    # What an iterator that is no generator cannot take is raised.
                    throw = getattr(steps, "throw", None)
                    if throw is None:
                        raise
                    waits_for = run(throw, error)
                else:
                    waits_for = run(next, steps)
        except StopIteration:
            return


class _Carrier:
    """A task that goes on with a send which waits, or ends if none does."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._work: tuple[Carry, Rest] | None = None
        # Not by the loop: its factory may start a task at once.
        self.task = asyncio.Task(self._run(), loop=loop)

    def give(self, carry: Carry, rest: Rest) -> None:
        self._work = carry, rest

    async def _run(self) -> None:
        if self._work is not None:
            carry, rest = self._work
            self._work = None
            await carry(rest)


class Stage:
    """
    Where sends run: on a running loop, outside of any task.

    As a context manager it makes a task the current one that is there for the
    first send which waits (asyncio, "Extending").
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __enter__(self) -> Stage:
        self._carrier = _Carrier(self._loop)
        asyncio.tasks._enter_task(self._loop, self._carrier.task)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        asyncio.tasks._leave_task(self._loop, self._carrier.task)

    def hand_over(self, carry: Carry, rest: Rest) -> asyncio.Task[None]:
        """Return the task that goes on with a send which waits."""
        carrier = self._carrier
        carrier.give(carry, rest)
        self.__exit__(None, None, None)
        self.__enter__()
        return carrier.task
