"""
Worker threads, leased to a socket for one work unit at a time.

A socket may live for days; a thread and its database connections must not live
with it. So its synchronous code (the handshake, the ORM, sync_to_async) runs in
units: a unit begins with the first call, stays on one thread, and ends when the
socket goes back to waiting for a message or makes no call for a while. Around
it Django's close_old_connections() runs in that thread, as around a request.

Threads that all compute only take the interpreter's lock from each other. So
while one makes progress, units wait for it, in order; a further thread is taken
when those at work seem to wait for something, as a database.

HTTP has threads of this kind as well, without a bound: see http/leases.py.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Condition, Lock
from types import GeneratorType
from typing import Any, Protocol, TypeAlias

from asgiref.sync import AsyncToSync, ThreadSensitiveContext
from django.core.signals import request_finished, request_started, setting_changed
from django.db import close_old_connections, connections

from django_asgi_ext import conf

logger = logging.getLogger("django_asgi_ext.threads")

_Generator: TypeAlias = "GeneratorType[Any, Any, Any]"

# How long a call may run before its thread counts as waiting, and how often it
# is looked whether another thread is needed, in seconds.
_TICK = 0.01

# How long a unit lasts after its last call if nobody ends it, in seconds. Its
# view may never come back to recv(), or wait for a peer that does not read.
_IDLE = 0.25

# How long it lasts if the last call has begun to read a queryset in chunks.
_ITERATING = 60.0


class _Worker:
    """One thread."""

    def __init__(self, number: int, lock: Lock) -> None:
        self.executor = ThreadPoolExecutor(1, f"django-asgi-ext-{number}")
        # Notified when its unit has a call for it, or ends.
        self.changed = Condition(lock)
        self.unit: WorkUnit | None = None
        # Whether it runs a call, and since when; since when it is free.
        self.is_running = False
        self.since = 0.0


class WorkerThreads:
    """
    A set of threads, started as they are needed.

    ``size`` is how many there may be, None for any number. After ``tick`` seconds
    it is looked whether another one is needed. A thread that nobody has needed for
    ``spare`` seconds ends, with None none does.
    """

    def __init__(
        self, size: int | None, tick: float = _TICK, spare: float | None = None
    ) -> None:
        # Guards the workers and units as well: they change together.
        self.lock = Lock()
        self._size = size
        self._tick_length = tick
        self._spare = spare
        self._started = 0
        # Last in, first out: the thread that ran last is the warmest.
        self._free: list[_Worker] = []
        self._leased: set[_Worker] = set()
        self._waiting: deque[WorkUnit] = deque()
        # When each loop began to wait for its next tick, and the time computed.
        self._ticks: dict[asyncio.AbstractEventLoop, tuple[float, float]] = {}
        # The loops that look for threads which nobody needs.
        self._shrinking: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()

    def lease(self, unit: WorkUnit) -> None:
        """
        Give a unit a thread, now or when it is its turn.

        Call it with the lock held.
        """
        self._shrink_later()
        self._waiting.append(unit)
        if len(self._waiting) > 1 or self._makes_progress() or not self._serve_next():
            self._tick_later()

    def _work(self, worker: _Worker, unit: WorkUnit) -> None:
        """Run the calls of a unit and, once it has ended, those of the next."""
        _close_old_connections()
        following: WorkUnit | None = unit
        while following is not None:
            while (call := self._next_call(worker, following)) is not None:
                # Its result may lead from the handshake to the view.
                # Its result may lead from the handshake to the view.
                owner = following.owner
                call.run()
                following.note_call(owner, time.monotonic() - worker.since)
                # Before anybody learns of the result, and leases for what is next.
                worker.is_running = False
                call.deliver()
                # Not held on to while the thread waits.
                del call
            _drop_transactions()
            _close_old_connections()
            following = self._next_unit(worker)

    def _next_call(self, worker: _Worker, unit: WorkUnit) -> _Call | None:
        """Wait for the next call of a unit; return None when it has ended."""
        with self.lock:
            deadline = time.monotonic() + _IDLE
            while True:
                now = time.monotonic()
                if worker.unit is not unit:
                    # Another one has taken over.
                    return None
                if unit.calls:
                    worker.is_running, worker.since = True, now
                    return unit.take()
                worker.is_running = False
                if unit.is_over(now, now >= deadline, bool(self._waiting)):
                    worker.unit = None
                    if unit.leave():
                        # Another one of the socket's: after those that wait.
                        self._waiting.append(unit)
                    return None
                worker.changed.wait(deadline - now if now < deadline else _IDLE)

    def _next_unit(self, worker: _Worker) -> WorkUnit | None:
        with self.lock:
            if worker.unit is None and self._waiting:
                worker.unit = self._waiting.popleft()
                worker.unit.worker = worker
            if worker.unit is not None:
                return worker.unit
            self._leased.discard(worker)
            self._free.append(worker)
            worker.since = time.monotonic()
            return None

    def _begin(self, unit: WorkUnit) -> bool:
        if self._free:
            worker = self._free.pop()
        elif self._size is None or self._started < self._size:
            self._started += 1
            worker = _Worker(self._started, self.lock)
        else:
            return False
        worker.is_running, worker.since = True, time.monotonic()
        try:
            worker.executor.submit(self._work, worker, unit)
        except RuntimeError:
            # The system has no more threads. Those that are there will do.
            self._started -= 1
            return False
        self._leased.add(worker)
        unit.worker, worker.unit = worker, unit
        return True

    def _serve_next(self) -> bool:
        """Find a thread for the first unit that waits."""
        unit = self._waiting[0]
        is_served = bool(self._free) and self._begin(unit)
        is_served = is_served or self._take_over(unit) or self._begin(unit)
        if is_served:
            self._waiting.popleft()
        return is_served

    def _take_over(self, unit: WorkUnit) -> bool:
        """Take a thread that another unit has, but can do without."""
        for worker in self._leased:
            former = worker.unit
            if former is not None and not worker.is_running and former.lingers():
                former.leave()
                unit.worker, worker.unit = worker, unit
                worker.is_running, worker.since = True, time.monotonic()
                worker.changed.notify()
                return True
        return False

    def _count_busy(self) -> int:
        units = [worker.unit for worker in self._leased]
        return sum(unit is not None and not unit.lingers() for unit in units)

    def _makes_progress(self) -> bool:
        now = time.monotonic()
        return any(
            worker.is_running and now - worker.since < _TICK for worker in self._leased
        )

    def _tick_later(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            # Nobody to wake us up: do not save threads.
            while self._waiting and self._serve_next():
                pass
            return
        # Each loop has its own: another one may stand still or be closed.
        if loop not in self._ticks:
            self._ticks[loop] = time.monotonic(), time.process_time()
            loop.call_later(self._tick_length, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        with self.lock:
            since, computed = self._ticks.pop(loop)
            # Less than half of the time computing: they wait for something else.
            idles = time.process_time() - computed < (time.monotonic() - since) / 2
            if idles or not self._makes_progress():
                # As many again as there are, for the load may just have begun.
                for _ in range(max(1, self._count_busy())):
                    if not self._waiting or not self._serve_next():
                        break
            if self._waiting:
                self._tick_later()

    def _shrink_later(self) -> None:
        if self._spare is None:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        if loop not in self._shrinking:
            self._shrinking.add(loop)
            loop.call_later(self._spare, self._shrink, loop)

    def _shrink(self, loop: asyncio.AbstractEventLoop) -> None:
        """End the threads that were free all the while."""
        assert self._spare is not None
        with self.lock:
            self._shrinking.discard(loop)
            oldest = time.monotonic() - self._spare
            ending = [worker for worker in self._free if worker.since <= oldest]
            for worker in ending:
                self._free.remove(worker)
                self._started -= 1
                worker.executor.submit(connections.close_all)
                worker.executor.shutdown(wait=False)
            if self._started:
                self._shrink_later()


class Unit(Protocol):
    """What a socket sees of its work units."""

    is_busy: bool
    """Whether a unit has begun and not ended."""
    owner: str
    """The name of the view, "" in the handshake."""

    def end(self) -> None:
        """End the unit, as soon as its last call is done."""

    def end_after_next(self) -> None:
        """Let the next unit end by itself, after its first call."""


class WorkUnit(Executor):
    """
    The executor of one socket, which holds a thread only while it needs it.

    Calls run one at a time, in order, and stay on one thread until end().
    """

    def __init__(self, threads: WorkerThreads) -> None:
        self.is_busy = False
        self.owner = ""
        self.is_ending = False
        self.worker: _Worker | None = None
        # A list, for most of the time it is empty, and then a deque is large.
        self.calls: list[_Call] = []
        # Those that came after end(), before the thread has noticed: the next unit's.
        self._following: list[_Call] | None = None
        # What the last call went on with, and until when the next may follow.
        self._iterator: weakref.ref[_Generator] | None = None
        self._iterates_until = 0.0
        self._threads = threads
        self._ends_after_next = False

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Future[Any]:
        """Run a call in the unit's thread; the first one begins a unit."""
        future: Future[Any] = Future()
        call = _Call(future, functools.partial(fn, *args, **kwargs))
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

    def take(self) -> _Call:
        """Return the next call."""
        call = self.calls.pop(0)
        if call.iterator is not None:
            self._iterator = weakref.ref(call.iterator)
            self._iterates_until = time.monotonic() + _ITERATING
        return call

    def note_call(self, owner: str, seconds: float) -> None:
        """Look at what a call has done, in its thread."""
        _notice(owner, seconds)

    def is_over(self, now: float, is_idle: bool, is_awaited: bool) -> bool:
        """
        Return whether it ends, having no call.

        It is idle if it has had none for a while, and awaited if another unit
        waits for a thread. Call it in its thread with the lock held.
        """
        return self.is_ending or (is_idle and not self.is_iterating(now))

    def lingers(self) -> bool:
        """
        Return whether its thread, having no call, is for whoever needs one.

        Call it with the lock held.
        """
        return False

    def is_iterating(self, now: float) -> bool:
        """Return whether the next chunk of a queryset's aiterator() may follow."""
        iterator = None if self._iterator is None else self._iterator()
        is_suspended = iterator is not None and iterator.gi_frame is not None
        return is_suspended and now < self._iterates_until

    def leave(self) -> bool:
        """
        Give the thread back; return whether the next unit begins at once.

        Call it with the lock held.
        """
        self.worker = self._iterator = None
        self.is_busy = False
        if self._following is None:
            return False
        self._begin(self._following)
        self._following = None
        return True

    def _begin(self, calls: list[_Call]) -> None:
        self.is_busy = True
        self.is_ending, self._ends_after_next = self._ends_after_next, False
        self.calls = calls


class _Call:
    """A call that a unit has for its thread."""

    __slots__ = ("_call", "_error", "_future", "_result", "iterator")

    def __init__(self, future: Future[Any], call: functools.partial[Any]) -> None:
        self._future: Future[Any] | None = future
        self._call = call
        self._result: Any = None
        self._error: BaseException | None = None
        self.iterator = _generator_among(call)

    def run(self) -> None:
        """Run it, unless who waited for it was cancelled before it began."""
        assert self._future is not None
        if self._future.set_running_or_notify_cancel():
            try:
                self._result = self._call()
            except BaseException as error:
                self._error = error
        else:
            self._future = None

    def deliver(self) -> None:
        """Tell who waits for it what came out."""
        # The traceback of an error leads to this object, and the future to the error.
        future, self._future = self._future, None
        error, self._error = self._error, None
        if future is None:
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(self._result)


def _generator_among(call: object) -> _Generator | None:
    # sync_to_async() gives a partial in a partial, and aiterator() a generator.
    while isinstance(call, functools.partial):
        arguments = (call.func, *call.args)
        call = None
        for argument in arguments:
            if isinstance(argument, GeneratorType):
                return argument
            if isinstance(argument, functools.partial):
                call = argument
    return None


def _notice(owner: str, seconds: float) -> None:
    most = conf.slow_call()
    if most is not None and seconds > most:
        who = f"The view {owner}" if owner else "The handshake"
        logger.warning("%s ran synchronous code for %.2f seconds.", who, seconds)


class _CallersThread:
    """In place of a unit where all calls run on a thread that waits for them."""

    is_busy = False
    owner = ""

    def end(self) -> None:
        """Nothing was leased."""

    def end_after_next(self) -> None:
        """Nothing will be leased."""


class WorkUnits:
    """
    Run the thread-sensitive code of one socket in work units.

    Tasks that are started inside must end inside: their synchronous calls raise
    RuntimeError after it.
    """

    async def __aenter__(self) -> Unit:
        """Return the units of the socket."""
        # Somebody further up waits in a thread of his own, as in Django's
        # TestCase: his transaction is seen only on that thread.
        if _has_caller():
            self._context = None
            return _CallersThread()
        self._unit = WorkUnit(_worker_threads())
        self._context = ThreadSensitiveContext(executor=self._unit)
        await self._context.__aenter__()  # type: ignore[no-untyped-call]
        return self._unit

    async def __aexit__(self, *exc_info: Any) -> None:
        """End the last unit."""
        if self._context is not None:
            await self._context.__aexit__(*exc_info)  # type: ignore[no-untyped-call]
            self._unit.end()


def _has_caller() -> bool:
    # By the loop where a task has a context of its own, as below asgiref's
    # ApplicationCommunicator.
    return (
        getattr(AsyncToSync.executors, "current", None) is not None
        or asyncio.get_running_loop() in AsyncToSync.loop_thread_executors
    )


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


def _drop_transactions() -> None:
    # What was to end a transaction was cancelled. Whoever has the thread next
    # must not find himself inside of it.
    for connection in connections.all():
        if connection.in_atomic_block:
            try:
                connection.close()
            except Exception:
                logger.exception("Closing a connection in a transaction failed.")
            del connections[connection.alias]


@contextmanager
def keep_transactions() -> Iterator[None]:
    """
    Let the signals of a request close no connection that is in a transaction.

    On a thread of ours none is. On the thread of a TestCase that waits for us it
    is the test's; Django's test clients keep it in the same way.
    """
    closing = []
    if any(connection.in_atomic_block for connection in connections.all()):
        closing = [
            signal
            for signal in (request_started, request_finished)
            if signal.disconnect(close_old_connections)
        ]
    try:
        yield
    finally:
        for signal in closing:
            signal.connect(close_old_connections)
