"""
Where code runs while a test waits.

A sync test waits on its own thread. The application runs meanwhile on an event
loop in another thread, and hands its synchronous code over to the one that waits:
there the test has its database connections and transactions.
"""

from __future__ import annotations

import asyncio
import functools
import queue
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeAlias, TypeVar, cast

from asgiref.sync import AsyncToSync, SyncToAsync
from django.core.exceptions import SynchronousOnlyOperation

from django_asgi_ext.test.stacks import stack_of_thread

# What a test did shows it better than this: to pytest, and to unittest.
__tracebackhide__ = __unittest = True

T = TypeVar("T")

_Calls: TypeAlias = "queue.SimpleQueue[Callable[[], None]]"

# How long the loop may take to end what was left running on it, in seconds.
_END_TIMEOUT = 1.0

# By loop, where asgiref runs synchronous code if nobody waits for it.
_executors = cast(
    "dict[asyncio.AbstractEventLoop, Executor]", AsyncToSync.loop_thread_executors
)

# How many users of sync_code_on() each has.
_users: Counter[asyncio.AbstractEventLoop] = Counter()


@contextmanager
def sync_code_on(executor: Executor) -> Iterator[None]:
    """
    Let synchronous code of the running loop run there, and not in work units.

    Below async_to_sync, as in Django's TestCase, it runs on the thread that waits
    there in any case.
    """
    loop = asyncio.get_running_loop()
    if loop in _executors and loop not in _users:
        yield
        return
    _executors[loop] = executor
    _users[loop] += 1
    try:
        yield
    finally:
        _users[loop] -= 1
        if not _users[loop]:
            del _users[loop], _executors[loop]


def sync_code_on_one_thread() -> AbstractContextManager[None]:
    """Let the application's synchronous code run where that of an async test does."""
    return sync_code_on(SyncToAsync.single_thread_executor)


class Background:
    """
    An event loop in a thread, for as long as somebody uses it.

    Synchronous code of its tasks runs on the thread that is in run(), one call at
    a time; between two calls of run() it waits.
    """

    def __init__(self) -> None:
        self.is_stuck = False
        self._users = 0

    def enter(self) -> None:
        """Begin to use it, and start it if nobody does yet."""
        if not self._users:
            self._loop = asyncio.new_event_loop()
            self._calls: _Calls = queue.SimpleQueue()
            _executors[self._loop] = _Caller(self._calls)
            self._thread = threading.Thread(
                target=_serve,
                args=[self._loop],
                name="django-asgi-ext-test",
                # One that is stuck must not keep the process.
                daemon=True,
            )
            self._thread.start()
        self._users += 1

    def leave(self) -> None:
        """Use it no more, and end it if nobody does."""
        self._users -= 1
        if self._users:
            return
        try:
            if not self.is_stuck:
                self.run(_end_tasks(), 2 * _END_TIMEOUT)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            if not self.is_stuck:
                self._thread.join(3 * _END_TIMEOUT)
            del _executors[self._loop]

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float) -> T:
        """
        Run a coroutine on the loop, and its synchronous code here.

        Raise TimeoutError if the loop does nothing at all for that many seconds,
        and what the coroutine raises.
        """
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        future.add_done_callback(lambda _: self._calls.put(_nothing))
        try:
            while not future.done():
                call = self._calls.get(timeout=min(timeout, threading.TIMEOUT_MAX))
                call()
        except queue.Empty:
            self.is_stuck = True
            raise TimeoutError(
                f"The event loop has stood still for {timeout:g} seconds in:\n\n"
                f"{stack_of_thread(self._thread.ident or 0)}"
            ) from None
        finally:
            # If the test was interrupted.
            future.cancel()
        # Not by result(): one frame less between the test and what went wrong.
        error = future.exception()
        if error is not None:
            raise error
        return future.result()


class _Caller(Executor):
    """Runs calls on the thread that waits in Background.run()."""

    def __init__(self, calls: _Calls) -> None:
        self._calls = calls

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Future[Any]:
        future: Future[Any] = Future()
        call = functools.partial(fn, *args, **kwargs)
        self._calls.put(functools.partial(_settle, future, call))
        return future


def _settle(future: Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except Exception as error:
        future.set_exception(error)
    except BaseException:
        # Meant for the test. On the loop it would be the end of the loop.
        future.set_exception(RuntimeError("The test was interrupted."))
        raise
    else:
        future.set_result(result)


def _nothing() -> None:
    """Wake up who waits for a call."""


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
        # Of a loop that was stuck.
        loop.run_until_complete(_end_tasks())
    finally:
        loop.close()


async def _end_tasks() -> None:
    """Cancel what is left on the running loop, and wait for it."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=_END_TIMEOUT)
    await asyncio.get_running_loop().shutdown_asyncgens()


_local = threading.local()


def background() -> Background:
    """
    Return the loop for the sockets of this thread: one, so that they may meet.

    Raise SynchronousOnlyOperation if an event loop runs on this thread.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise SynchronousOnlyOperation(
            "Client.websocket() would block the event loop of this test. "
            "Use AsyncClient.websocket()."
        )
    found: Background | None = getattr(_local, "background", None)
    if found is None or found.is_stuck:
        found = _local.background = Background()
    return found
