"""
Worker threads, leased to a socket for one work unit at a time.

A socket may live for days; a thread and its database connections must not live
with it. So its synchronous code (the handshake, the ORM, sync_to_async) runs in
units: a unit begins with the first call, stays on one thread, and ends when the
socket goes back to waiting for a message. Around it Django's
close_old_connections() runs in that thread, as around a request.
"""

from __future__ import annotations

import functools
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from threading import Lock
from typing import Any, Protocol

from asgiref.sync import AsyncToSync, ThreadSensitiveContext
from django.core.signals import setting_changed
from django.db import close_old_connections

from django_asgi_ext import conf

logger = logging.getLogger("django_asgi_ext.threads")


class WorkerThreads:
    """A bounded set of threads, started as they are needed."""

    def __init__(self, size: int) -> None:
        # Guards the units as well: a unit and its thread change together.
        self.lock = Lock()
        self._size = size
        self._started = 0
        # Last in, first out: the thread that ran last is the warmest.
        self._free: list[ThreadPoolExecutor] = []
        self._waiting: deque[WorkUnit] = deque()

    def lease(self, unit: WorkUnit) -> ThreadPoolExecutor | None:
        """
        Return a thread, or None: the unit then waits, in order, to be given one.

        Call it with the lock held.
        """
        if self._free:
            return self._free.pop()
        if self._started < self._size:
            self._started += 1
            return ThreadPoolExecutor(1, f"django-asgi-ext-{self._started}")
        self._waiting.append(unit)
        return None

    def end(self, worker: ThreadPoolExecutor) -> None:
        """End a unit, in its thread: close what is old and pass the thread on."""
        _close_old_connections()
        with self.lock:
            if self._waiting:
                self._waiting.popleft().begin(worker)
            else:
                self._free.append(worker)


class Unit(Protocol):
    """What a socket sees of its work units."""

    is_busy: bool
    """Whether a unit has begun and not ended."""

    def end(self) -> None:
        """End the unit, as soon as its last call is done."""


class WorkUnit(Executor):
    """
    The executor of one socket, which holds a thread only while it needs it.

    Calls run one at a time, in order, and stay on one thread until end().
    """

    def __init__(self, threads: WorkerThreads) -> None:
        self.is_busy = False
        self._threads = threads
        self._worker: ThreadPoolExecutor | None = None
        self._calls: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._unfinished = 0
        self._ending = False

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Future[Any]:
        """Run a call in the unit's thread; the first one begins a unit."""
        future: Future[Any] = Future()
        with self._threads.lock:
            begins = not self.is_busy
            self.is_busy = True
            self._ending = False
            self._unfinished += 1
            self._calls.append((future, functools.partial(fn, *args, **kwargs)))
            if self._worker is not None:
                self._worker.submit(self._run)
            elif begins:
                worker = self._threads.lease(self)
                if worker is not None:
                    self.begin(worker)
        return future

    def begin(self, worker: ThreadPoolExecutor) -> None:
        """Take the thread that the unit waited for. Call it with the lock held."""
        self._worker = worker
        worker.submit(_close_old_connections)
        for _ in range(len(self._calls)):
            worker.submit(self._run)

    def end(self) -> None:
        """End the unit, as soon as its last call is done."""
        with self._threads.lock:
            self._ending = True
            self._end_if_idle()

    def _run(self) -> None:
        with self._threads.lock:
            future, call = self._calls.popleft()
        # False: who waited for it was cancelled before it began.
        if future.set_running_or_notify_cancel():
            try:
                result = call()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
        with self._threads.lock:
            self._unfinished -= 1
            self._end_if_idle()

    def _end_if_idle(self) -> None:
        if self._ending and not self._unfinished and self._worker is not None:
            worker, self._worker = self._worker, None
            self.is_busy = False
            worker.submit(self._threads.end, worker)


class _CallersThread:
    """In place of a unit where all calls run on a thread that waits for them."""

    is_busy = False

    def end(self) -> None:
        """Nothing was leased."""


@asynccontextmanager
async def work_units() -> AsyncIterator[Unit]:
    """
    Run the thread-sensitive code of one socket in work units.

    Tasks that are started inside must end inside: their synchronous calls raise
    RuntimeError after it.
    """
    # Somebody further up waits in a thread of his own, as in Django's TestCase:
    # his transaction is seen only on that thread, so everything runs there.
    if getattr(AsyncToSync.executors, "current", None) is not None:
        yield _CallersThread()
        return
    unit = WorkUnit(_worker_threads())
    try:
        async with ThreadSensitiveContext(executor=unit):
            yield unit
    finally:
        unit.end()


_threads: WorkerThreads | None = None


def _worker_threads() -> WorkerThreads:
    # Made at the first use and not at import: a server may fork in between.
    global _threads
    if _threads is None:
        _threads = WorkerThreads(conf.threads())
    return _threads


def _forget_threads(*, setting: str, **kwargs: object) -> None:
    global _threads
    if setting == "ASGI_EXT":
        _threads = None


setting_changed.connect(_forget_threads)


def _close_old_connections() -> None:
    try:
        close_old_connections()
    except Exception:
        logger.exception("Closing old database connections failed.")
