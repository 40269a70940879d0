"""
The thread of a request, leased for as long as the request may need that very one.

Under Django a request has a thread of its own, from request_started to
request_finished. What its code leaves there (a threading.local, a variable of the
database's session, a transaction) is found again by the rest of the request and by
nobody else. So a request keeps its thread once code has run there that is not
Django's. Until then, around an async view, its thread is for whoever needs one.

What middleware has left there on the way in is kept for an async stream as well,
what the view has left is not: a stream may last for days.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any

from asgiref.sync import AsyncToSync, SyncToAsync, ThreadSensitiveContext
from django.core.signals import request_finished, request_started
from django.dispatch import Signal

from django_asgi_ext.threads.databases import is_in_transaction
from django_asgi_ext.threads.units import WorkUnit
from django_asgi_ext.threads.workers import WorkerThreads

# How long a request waits until it is looked whether it needs another thread, and
# how long a thread is kept that nobody needs, in seconds.
_TICK = 0.002
_SPARE = 30.0

_threads = WorkerThreads(None, _TICK, _SPARE)

_current: ContextVar[RequestUnit | None] = ContextVar(
    "django_asgi_ext_request_unit", default=None
)


class RequestUnit(WorkUnit):
    """The executor of one request."""

    may_return = True

    def __init__(self, threads: WorkerThreads, is_kept: bool) -> None:
        super().__init__(threads)
        self._loop = asyncio.get_running_loop()
        # To the end, or until an async stream begins.
        self._is_kept = is_kept
        self._is_held = False
        self._is_in_transaction = False
        self._is_closed = False
        # Whether a call may be one of the project's, and whether of its view.
        self._is_responding = False
        self._is_in_view = False
        # Whether the next one is not.
        self._expects_own = False
        self._last: Future[Any] | None = None

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Future[Any]:
        """Run a call in the request's thread."""
        if self._is_responding and not self._expects_own:
            self.hold()
        self._expects_own = False
        self._last = super().submit(fn, *args, **kwargs)
        return self._last

    def begin_response(self) -> None:
        """Expect calls of the project's code."""
        self._is_responding = True

    def begin_view(self) -> None:
        """Expect those of the view, and of what comes after it."""
        self._is_in_view = True

    def end_response(self, is_stream: bool) -> None:
        """Expect no more of them, but for those of a stream, which may take long."""
        self._is_responding = False
        if is_stream and only_djangos_receivers(request_finished):
            self._is_held = False
            self._leave_early()

    def hold(self) -> None:
        """Keep the thread, as code leaves something there."""
        if self._is_in_view:
            self._is_held = True
        else:
            self._is_kept = True

    def expect_own(self, is_own: bool) -> None:
        """Say whether the next call runs nothing but middleware."""
        self._expects_own = is_own

    def note_call(self, owner: str, seconds: float) -> None:
        """Look at what a call has done, in its thread."""
        self._is_in_transaction = is_in_transaction()

    def is_over(self, now: float, is_idle: bool) -> bool:
        """Return whether it gives its thread back, having no call."""
        if self._is_closed or not self._loop.is_running():
            # Whoever stops a loop with a request in it does not wait for its thread.
            return True
        is_needed = self._is_kept or self._is_held or self._is_in_transaction
        return not (is_needed or self.is_iterating(now))

    def leave(self) -> bool:
        """Give the thread back, to which it returns if nobody has come meanwhile."""
        self.former = self.worker
        return super().leave()

    async def close(self) -> None:
        """Leave the thread to whoever needs one, once the call that runs is done."""
        # A cancelled request may have left a call behind, as has a task.
        try:
            if self._last is not None and not self._last.done():
                last = asyncio.wrap_future(self._last)
                last.add_done_callback(_forget_error)
                await asyncio.wait({last})
        finally:
            self._last = None
            self._is_closed = True
            self.may_return = False
            self._leave_early()

    def _leave_early(self) -> None:
        """Give the thread back without waking it, as the next one must do it anyway."""
        with self._threads.lock:
            worker = self.worker
            if worker is None or worker.is_running or self.calls:
                return
            if self.is_over(time.monotonic(), False):
                self._threads.release(worker)
                if self._is_in_transaction:
                    # It holds locks of the database.
                    worker.changed.notify()


@asynccontextmanager
async def leased_thread() -> AsyncIterator[None]:
    """
    Run the thread-sensitive code of a request on a thread leased for it.

    Where such code has a thread already, as below Django's test client or inside of
    another request, it stays there.
    """
    if (
        getattr(AsyncToSync.executors, "current", None) is not None
        or SyncToAsync.thread_sensitive_context.get(None) is not None
    ):
        # Another request's unit is not to take this one's calls for its own.
        token = _current.set(None)
        try:
            yield
        finally:
            _current.reset(token)
        return
    unit = RequestUnit(_threads, is_kept=not only_djangos_receivers(request_started))
    # Not entered: a task that outlives the request must not raise then. For its calls
    # asgiref makes a thread that is the task's own, as under Django.
    context = ThreadSensitiveContext()
    SyncToAsync.context_to_thread_executor[context] = unit
    context_token = SyncToAsync.thread_sensitive_context.set(context)
    token = _current.set(unit)
    try:
        yield
    finally:
        _current.reset(token)
        SyncToAsync.thread_sensitive_context.reset(context_token)
        SyncToAsync.context_to_thread_executor.pop(context, None)
        await unit.close()


def end_threads() -> None:
    """End the threads that no request has, and their connections."""
    _threads.end()


def current_unit() -> RequestUnit | None:
    """Return the unit of the request, None if its code has a thread already."""
    return _current.get()


@contextmanager
def own_call() -> Iterator[None]:
    """Make a thread-sensitive call that runs nothing but middleware."""
    unit = _current.get()
    if unit is None:
        yield
        return
    unit.expect_own(True)
    try:
        yield
    finally:
        unit.expect_own(False)


def is_djangos(function: object) -> bool:
    """Return whether something is Django's: that leaves nothing in a thread."""
    # functools.wraps(get_response) gives a project's code the name of Django's.
    code = getattr(function, "__globals__", {})
    modules = getattr(function, "__module__", None), code.get("__name__", "django.")
    return all(
        (module or "").startswith(("django.", "django_asgi_ext.")) for module in modules
    )


def only_djangos_receivers(signal: Signal) -> bool:
    """Return whether nobody but Django listens to a signal."""
    return all(map(is_djangos, _receivers(signal)))


def _receivers(signal: Signal) -> Iterator[object]:
    for entry in signal.receivers:
        receiver = entry[1]
        # A weak reference to it, or itself.
        receiver = receiver() if hasattr(receiver, "__callback__") else receiver
        if receiver is not None:
            yield receiver


def _forget_error(future: asyncio.Future[Any]) -> None:
    # Nobody waits for what it raises, which asyncio would report.
    if not future.cancelled():
        future.exception()


def _forget_threads() -> None:
    # A child has none of its parent's threads.
    global _threads
    _threads = WorkerThreads(None, _TICK, _SPARE)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
