"""How long the end of runserver may take: its developer waits for it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable

# How long requests and views have to end when the server stops, in seconds.
PATIENCE = 1.0


def end_soon(code: int) -> None:
    """
    End the process with an exit code, if it does not end by itself meanwhile.

    The interpreter would wait for as long as a thread runs a synchronous view.
    """
    _later(_end, code)


def let_child_end_first() -> None:
    """
    On SIGINT, leave it to the child of the autoreloader to end both.

    The terminal sends it the signal too, and subprocess.run() would kill it after
    a quarter of a second. A second signal works at once.
    """
    if os.name == "posix" and (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ):
        signal.signal(signal.SIGINT, _wait_for_child)


def _wait_for_child(*args: object) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # It may have been meant for this process only.
    main = threading.main_thread().ident
    assert main is not None
    _later(signal.pthread_kill, main, signal.SIGINT)


def _later(function: Callable[..., object], *arguments: object) -> None:
    # As a daemon it runs on while the interpreter waits for other threads.
    timer = threading.Timer(2 * PATIENCE, function, arguments)
    timer.daemon = True
    timer.start()


def _end(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
