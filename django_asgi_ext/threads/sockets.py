"""The work units of a socket, on the threads that all sockets share."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any, Protocol

from asgiref.sync import AsyncToSync, ThreadSensitiveContext
from django.core.signals import setting_changed

from django_asgi_ext import conf
from django_asgi_ext.threads.units import WorkUnit
from django_asgi_ext.threads.workers import WorkerThreads

logger = logging.getLogger("django_asgi_ext.threads")


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


class SocketUnit(WorkUnit):
    """The executor of one socket."""

    def note_call(self, owner: str, seconds: float) -> None:
        """Warn of a call that has taken too long."""
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
        self._unit = SocketUnit(_worker_threads())
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
    # Made at the first use: the settings say how many there are.
    global _threads
    if _threads is None:
        _threads = WorkerThreads(conf.threads())
    return _threads


def _forget_threads(*, setting: str = "ASGI_EXT", **kwargs: object) -> None:
    global _threads
    if setting == "ASGI_EXT":
        _threads = None


setting_changed.connect(_forget_threads)
if hasattr(os, "register_at_fork"):
    # A child has none of its parent's threads.
    os.register_at_fork(after_in_child=_forget_threads)
