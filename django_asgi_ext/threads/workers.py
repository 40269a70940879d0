"""
Threads, and which unit has which of them.

Threads that all compute only take the interpreter's lock from each other. So
while one makes progress, units wait for it, in order; a further thread is taken
when those at work seem to wait for something, as a database.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections import deque
from concurrent.futures import ThreadPoolExecutor, thread
from threading import Condition, Lock
from typing import NamedTuple, Protocol

from django.db import connections

from django_asgi_ext.threads.calls import Call
from django_asgi_ext.threads.databases import drop_transactions, refresh_connections

# How long a call may run before its thread counts as waiting, and how often it
# is looked whether another thread is needed, in seconds.
_TICK = 0.01

# How long a thread waits for the next call of its unit before that is idle, in
# seconds. A view may never come back to recv(), or wait for a peer that does not read.
_IDLE = 0.25

# How often one that is kept beyond that looks whether it still is, in seconds.
_LOOK = 1.0


class Leaseholder(Protocol):
    """What a thread must know of a unit that has it."""

    calls: list[Call]
    """The calls that it has for its thread."""
    worker: Worker | None
    """The thread that it has."""
    former: Worker | None
    """The one that it had before, if it would like to go on there."""
    may_return: bool
    """Whether it goes on where it was, having given its thread back for a while."""
    owner: str
    """On whose behalf it calls."""

    def take(self) -> Call:
        """Return the next call."""

    def note_call(self, owner: str, seconds: float) -> None:
        """Look at what a call has done, in its thread."""

    def is_over(self, now: float, is_idle: bool) -> bool:
        """Return whether it gives its thread back, having no call."""

    def leave(self) -> bool:
        """Give the thread back; return whether the next unit begins at once."""


class Worker:
    """One thread."""

    def __init__(self, number: int, lock: Lock) -> None:
        self.executor = ThreadPoolExecutor(1, f"django-asgi-ext-{number}")
        # Notified when its unit has a call for it, or ends.
        self.changed = Condition(lock)
        self.unit: Leaseholder | None = None
        # Whether its thread is in our hands, and not in those of the executor.
        self.is_here = False
        # Whether it runs a call, and since when; since when it is free.
        self.is_running = False
        self.since = 0.0


class _Tick(NamedTuple):
    """When a loop began to wait, and what has been computed until then, in seconds."""

    since: float
    by_all: float
    by_loop: float


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
        self._free: dict[Worker, None] = {}
        self._leased: set[Worker] = set()
        self._waiting: deque[Leaseholder] = deque()
        # The loops that wait for their next tick.
        self._ticks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Tick] = (
            weakref.WeakKeyDictionary()
        )
        # The loops that look for threads which nobody needs.
        self._shrinking: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()

    def lease(self, unit: Leaseholder) -> None:
        """
        Give a unit a thread, now or when it is its turn.

        Call it with the lock held.
        """
        self._shrink_later()
        self._waiting.append(unit)
        if len(self._waiting) > 1 or self._makes_progress() or not self._serve_next():
            self._tick_later()

    def release(self, worker: Worker) -> None:
        """
        Take a thread from its unit, which has no call, for whoever is next.

        Call it with the lock held.
        """
        unit, worker.unit = worker.unit, None
        if unit is not None and unit.leave():
            # Another one of the socket's: after those that wait.
            self._waiting.append(unit)
        if self._waiting:
            self._give(worker, self._waiting.popleft())
        else:
            self._leased.discard(worker)
            self._free[worker] = None
            worker.since = time.monotonic()

    def end(self) -> None:
        """End the threads that no unit has, and wait until they have."""
        with self.lock:
            ending = self._end(list(self._free))
        for worker in ending:
            worker.executor.shutdown()

    def _work(self, worker: Worker) -> None:
        """Run the calls of units, as long as there is one."""
        refresh_connections()
        while (unit := self._next_unit(worker)) is not None:
            while (call := self._next_call(worker, unit)) is not None:
                # Its result may lead from the handshake to the view.
                owner = unit.owner
                call.run()
                unit.note_call(owner, time.monotonic() - worker.since)
                # Before anybody learns of the result, and leases for what is next.
                worker.is_running = False
                call.deliver()
                # Not held on to while the thread waits.
                del call
            drop_transactions()
            refresh_connections()

    def _next_call(self, worker: Worker, unit: Leaseholder) -> Call | None:
        """Wait for the next call of a unit; return None when it has ended."""
        with self.lock:
            deadline = time.monotonic() + _IDLE
            while worker.unit is unit or worker.unit is None:
                now = time.monotonic()
                if worker.unit is None:
                    # Nobody needs the thread yet, and its unit may come back.
                    if now >= deadline or not unit.may_return:
                        return None
                elif unit.calls:
                    worker.is_running, worker.since = True, now
                    return unit.take()
                elif unit.is_over(now, now >= deadline) or _is_ending():
                    self.release(worker)
                    if unit.may_return:
                        continue
                    return None
                worker.changed.wait(deadline - now if now < deadline else _LOOK)
            return None

    def _next_unit(self, worker: Worker) -> Leaseholder | None:
        with self.lock:
            worker.is_here = worker.unit is not None
            return worker.unit

    def _serve_next(self) -> bool:
        """Find a thread for the first unit that waits."""
        unit = self._waiting[0]
        if unit.former in self._free:
            worker = unit.former
            del self._free[worker]
        elif self._free:
            worker, _ = self._free.popitem()
        elif self._size is None or self._started < self._size:
            self._started += 1
            worker = Worker(self._started, self.lock)
        else:
            return False
        try:
            self._give(worker, unit)
        except RuntimeError:
            # The system has no more threads. Those that are there will do.
            self._started -= 1
            return False
        self._leased.add(worker)
        self._waiting.popleft()
        return True

    def _give(self, worker: Worker, unit: Leaseholder) -> None:
        if worker.is_here:
            worker.changed.notify()
        else:
            worker.executor.submit(self._work, worker)
            worker.is_here = True
        worker.is_running, worker.since = True, time.monotonic()
        unit.worker, worker.unit = worker, unit

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
            self._ticks[loop] = _measure()
            loop.call_later(self._tick_length, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        with self.lock:
            if _is_idle(self._ticks.pop(loop)) or not self._makes_progress():
                # As many again as there are, for the load may just have begun.
                for _ in range(max(1, len(self._leased))):
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
            self._end([worker for worker in self._free if worker.since <= oldest])
            if self._started:
                self._shrink_later()

    def _end(self, workers: list[Worker]) -> list[Worker]:
        for worker in workers:
            del self._free[worker]
            self._started -= 1
            worker.changed.notify()
            worker.executor.submit(connections.close_all)
            worker.executor.shutdown(wait=False)
        return workers


def _is_ending() -> bool:
    """
    Return whether the interpreter waits for each thread of an executor, to end.

    A loop in a daemon thread goes on meanwhile. Nothing public tells.
    """
    return getattr(thread, "_shutdown", False)


def _measure() -> _Tick:
    return _Tick(time.monotonic(), time.process_time(), time.thread_time())


def _is_idle(before: _Tick) -> bool:
    """Return whether threads other than this loop's have hardly computed."""
    now = _measure()
    loop = now.by_loop - before.by_loop
    others = now.by_all - before.by_all - loop
    # Of the time that the loop has left them, if it has left them any.
    passed = now.since - before.since
    return passed / 4 < passed - loop and others < (passed - loop) / 2
