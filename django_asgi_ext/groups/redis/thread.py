"""An event loop of the backend's own."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any

logger = logging.getLogger("django_asgi_ext.groups")

# How long its end may take, in seconds.
PATIENCE = 2.0


class LoopThread:
    """
    A thread with an event loop, which runs a coroutine until it is stopped.

    Those of the server come and go, may stand still, and there may be several. It
    begins when something is posted to it.
    """

    def __init__(self, main: Callable[[], Awaitable[None]]) -> None:
        self._main = main
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._failure: OSError | None = None

    @property
    def is_running(self) -> bool:
        """Whether it has begun, and was not stopped."""
        return self._thread is not None

    def post(self, callback: Callable[..., object], *arguments: Any) -> None:
        """
        Call something there, in the order in which it was posted.

        Raise RuntimeError if the thread cannot begin.
        """
        if self._thread is None:
            self._begin()
        try:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            # It was stopped meanwhile, and nothing of it is needed any more.
            return

    def stop(self) -> None:
        """Cancel the coroutine and wait for its end."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is None or self._loop is None or self._task is None:
            return
        try:
            self._loop.call_soon_threadsafe(self._task.cancel)
        except RuntimeError:
            return
        if thread is not threading.current_thread():
            thread.join(PATIENCE)

    def _begin(self) -> None:
        with self._lock:
            if self._thread is None:
                # Or has failed to. One that was stopped may not have ended yet.
                has_begun = threading.Event()
                self._loop = self._failure = None
                thread = threading.Thread(
                    target=self._run,
                    args=[has_begun],
                    name="django_asgi_ext.groups",
                    daemon=True,
                )
                thread.start()
                has_begun.wait()
                if self._loop is None:
                    raise RuntimeError(
                        "The thread of groups cannot begin."
                    ) from self._failure
                self._thread = thread

    def _run(self, has_begun: threading.Event) -> None:
        try:
            with asyncio.Runner() as runner:
                runner.run(self._watch(has_begun))
        except asyncio.CancelledError:
            return
        except OSError as error:
            if has_begun.is_set():
                raise
            # No file descriptor is left.
            self._failure = error
        finally:
            has_begun.set()

    async def _watch(self, has_begun: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        has_begun.set()
        while True:
            try:
                await self._main()
            except Exception:
                # A mistake of ours. The members must not pay for it for ever.
                logger.exception("Groups have lost the other processes for a moment.")
                await asyncio.sleep(1)
