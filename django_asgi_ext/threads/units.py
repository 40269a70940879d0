"""Work units: calls that follow one another on one thread."""

from __future__ import annotations

import functools
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from django_asgi_ext.threads.calls import Call, Generator
from django_asgi_ext.threads.workers import Worker, WorkerThreads

# How long a unit lasts if its last call has begun to read a queryset in chunks, in
# seconds.
_ITERATING = 60.0


class WorkUnit(Executor):
    """
    The executor of one socket or request, which holds a thread while it needs it.

    Calls run one at a time, in order, and stay on one thread until end().
    """

    may_return = False

    def __init__(self, threads: WorkerThreads) -> None:
        self.is_busy = False
        self.owner = ""
        self.is_ending = False
        self.worker: Worker | None = None
        self.former: Worker | None = None
        # A list, for most of the time it is empty, and then a deque is large.
        self.calls: list[Call] = []
        # Those that came after end(), before the thread has noticed: the next unit's.
        self._following: list[Call] | None = None
        # What calls went on with, and until when the next one may follow. A loop over
        # one queryset may stand within that over another.
        self._iterators: dict[weakref.ref[Generator], float] | None = None
        self._threads = threads
        self._ends_after_next = False

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Future[Any]:
        """Run a call in the unit's thread; the first one begins a unit."""
        future: Future[Any] = Future()
        call = Call(future, functools.partial(fn, *args, **kwargs))
        with self._threads.lock:
            if not self.is_busy:
                self._begin([call])
                self._threads.lease(self)
            elif self.is_ending:
                self._following = [*(self._following or ()), call]
            else:
                self.calls.append(call)
                if self.worker is not None:
                    self.worker.changed.notify()
        return future

    def end(self) -> None:
        """End the unit, as soon as its last call is done."""
        with self._threads.lock:
            self._ends_after_next |= self._following is not None
            self.is_ending = True
            if self.worker is not None:
                self.worker.changed.notify()

    def end_after_next(self) -> None:
        """Let the next unit end by itself, after its first call."""
        with self._threads.lock:
            self._ends_after_next = True

    def take(self) -> Call:
        """Return the next call."""
        call = self.calls.pop(0)
        if call.iterator is not None:
            known = (self._iterators or {}).items()
            self._iterators = {
                **{reference: until for reference, until in known if reference()},
                weakref.ref(call.iterator): time.monotonic() + _ITERATING,
            }
        return call

    def note_call(self, owner: str, seconds: float) -> None:
        """Look at what a call has done, in its thread."""

    def is_over(self, now: float, is_idle: bool) -> bool:
        """
        Return whether it gives its thread back, having no call.

        It is idle if it has had none for a while. Call it with the lock held.
        """
        return self.is_ending or (is_idle and not self.is_iterating(now))

    def is_iterating(self, now: float) -> bool:
        """Return whether the next chunk of a queryset's aiterator() may follow."""
        return any(
            now < until and getattr(reference(), "gi_frame", None) is not None
            for reference, until in (self._iterators or {}).items()
        )

    def leave(self) -> bool:
        """
        Give the thread back; return whether the next unit begins at once.

        Call it with the lock held.
        """
        self.worker = self._iterators = None
        self.is_busy = False
        if self._following is None:
            return False
        self._begin(self._following)
        self._following = None
        return True

    def _begin(self, calls: list[Call]) -> None:
        self.is_busy = True
        self.is_ending, self._ends_after_next = self._ends_after_next, False
        self.calls = calls
