"""
What a server does in a way of its own, and what is done about it.

Hypercorn tells no WebSocket that it shuts down, and on Python 3.12 and later
its asyncio worker waits for all of them before it goes on. Besides, with several
workers the main process sends SIGTERM to the others as soon as one has ended,
and they die of it in the middle of their work.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

from django_asgi_ext.protocols import Send


def watch_shutdown(callback: Callable[[], None]) -> None:
    """Call a function when the server on the running loop begins to shut down."""
    for task in asyncio.all_tasks():
        code = getattr(task.get_coro(), "cr_code", None)
        if code is not None and code.co_name == "raise_shutdown":
            # Hypercorn's own wait for the signal.
            task.add_done_callback(lambda _: callback())


def survive_sigterm(
    send: Send, callback: Callable[[], None], patience: float
) -> Callable[[], None]:
    """
    Let a worker of hypercorn finish what it does when its main process ends it.

    Call the function on SIGTERM, and die of the signal after all if the worker
    has not been asked to shut down after so many seconds of patience. Return a
    function that says that it has been.
    """
    server = type(getattr(send, "__self__", None)).__module__
    if (
        server != "hypercorn.asyncio.lifespan"
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        return _nothing
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle | None = None

    def on_signal() -> None:
        nonlocal timer
        callback()
        if timer is None:
            timer = loop.call_later(patience, die)

    def die() -> None:
        loop.remove_signal_handler(signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)

    def asked() -> None:
        if timer is not None:
            timer.cancel()

    loop.add_signal_handler(signal.SIGTERM, on_signal)
    return asked


def _nothing() -> None:
    pass
