"""
The thread of a request, leased for as long as the request may need that very one.

Under Django a request has a thread of its own, from request_started to
request_finished. What its code leaves there (a threading.local, a variable of the
database's session, a transaction) is found again by the rest of the request and by
nobody else. So a request keeps its thread while code is under way that is not
Django's, and for good if middleware or receivers of these signals are not. While it
runs nothing but Django's own hooks around an async view or a stream, its thread is
for whoever needs one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any

from asgiref.sync import AsyncToSync, SyncToAsync, ThreadSensitiveContext
from django.core.signals import request_finished, request_started
from django.db import connections
from django.dispatch import Signal

from django_asgi_ext.threads import WorkerThreads, WorkUnit

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

    def __init__(self, threads: WorkerThreads, is_kept: bool) -> None:
        super().__init__(threads)
        self._loop = asyncio.get_running_loop()
        # For the whole request.
        self._is_kept = is_kept
        self._is_held = is_kept
        # Whether a call may be one of the project's, and whether the next is not.
        self._is_responding = False
        self._expects_own = False
        self._is_in_transaction = False
        self._last: Future[Any] | None = None

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Future[Any]:
        """Run a call in the request's thread."""
        if self._is_responding and not self._expects_own:
            self._is_held = True
        self._expects_own = False
        self._last = super().submit(fn, *args, **kwargs)
        return self._last

    def begin_response(self) -> None:
        """Expect calls of the project's code."""
        self._is_responding = True

    def end_response(self, is_stream: bool) -> None:
        """Expect no more of them, but for those of a stream, which may take long."""
        self._is_responding = False
        if is_stream:
            self._is_held = self._is_kept

    def hold(self) -> None:
        """Keep the thread until the request or its stream begins to end."""
        self._is_held = True

    def expect_own(self, is_own: bool) -> None:
        """Say whether the next call runs nothing but middleware."""
        self._expects_own = is_own

    def note_call(self, owner: str, seconds: float) -> None:
        """Look at what a call has done, in its thread."""
        self._is_in_transaction = any(
            connection.in_atomic_block for connection in connections.all()
        )

    def is_over(self, now: float, is_idle: bool, is_awaited: bool) -> bool:
        """Return whether it ends, having no call."""
        if not self.lingers():
            return self.is_ending
        return is_awaited or (is_idle and not self.is_iterating(now))

    def lingers(self) -> bool:
        """Return whether its thread, having no call, is for whoever needs one."""
        if self.calls or self.is_ending:
            return False
        is_held = self._is_held or self._is_in_transaction
        # Whoever stops a loop with a request in it must not wait for its thread.
        return not (is_held and self._loop.is_running())

    async def close(self) -> None:
        """
        Leave the thread to whoever needs one, once the call that runs is done.

        It does not end here: that is done by the next request, which must wake the
        thread anyway, or by the thread itself.
        """
        self._is_held = self._is_responding = False
        # A cancelled request may have left a call behind.
        if self._last is not None and not self._last.done():
            await asyncio.wait({asyncio.wrap_future(self._last)})
        self._last = None


@asynccontextmanager
async def leased_thread(is_kept: bool) -> Any:
    """
    Run the thread-sensitive code of a request on a thread leased for it.

    With is_kept for the whole request. Where such code has a thread already, as
    below Django's test client, it stays there.
    """
    if (
        getattr(AsyncToSync.executors, "current", None) is not None
        or SyncToAsync.thread_sensitive_context.get(None) is not None
    ):
        yield
        return
    unit = RequestUnit(_threads, is_kept or not _only_djangos_receivers())
    # Not entered: a task that outlives the request must not raise then. Its calls
    # still find the unit, which leases a thread for them.
    context = ThreadSensitiveContext()
    SyncToAsync.context_to_thread_executor[context] = unit
    context_token = SyncToAsync.thread_sensitive_context.set(context)
    token = _current.set(unit)
    try:
        yield
    finally:
        _current.reset(token)
        SyncToAsync.thread_sensitive_context.reset(context_token)
        await unit.close()


def current_unit() -> RequestUnit | None:
    """Return the unit of the request, None if its code has a thread already."""
    return _current.get()


def hold_thread() -> None:
    """Keep the thread for this request, as its code may leave something there."""
    unit = _current.get()
    if unit is not None:
        unit.hold()


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
    module = getattr(function, "__module__", None) or ""
    return module.startswith(("django.", "django_asgi_ext."))


def _only_djangos_receivers() -> bool:
    return all(
        is_djangos(receiver)
        for signal in (request_started, request_finished)
        for receiver in _receivers(signal)
    )


def _receivers(signal: Signal) -> Iterator[object]:
    for entry in signal.receivers:
        receiver = entry[1]
        # A weak reference to it, or itself.
        yield receiver() if hasattr(receiver, "__callback__") else receiver
