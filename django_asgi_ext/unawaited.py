"""
Calls that nobody awaits, which do nothing.

Python itself warns of them, on stderr and without a remedy. With DEBUG what is to
be awaited says more. Without, nothing of this is there to cost a message time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Generator
from types import CoroutineType
from typing import Any


class NotAwaited(Coroutine[Any, Any, Any]):
    """What a call that is to be awaited returns, to who takes it for the result."""

    # For inspect.iscoroutine(), which libraries ask: no class can derive from it.
    __class__ = property(lambda self: CoroutineType)

    def __init__(
        self, coroutine: Coroutine[Any, Any, Any], call: str, tell: Callable[[], None]
    ) -> None:
        self._coroutine = coroutine
        self._call = call
        self._tell: Callable[[], None] | None = tell

    def __repr__(self) -> str:
        return f"<{self._call} not awaited>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("cr_") or name in ("__name__", "__qualname__"):
            # For whoever shows where a task waits.
            return getattr(self._coroutine, name)
        # Said here, where the view fails. It may last as long as the traceback.
        self._tell = self._tell and _tell_nothing
        raise AttributeError(
            f"{self._call} is not awaited yet and has no attribute '{name}'. Write "
            f"await {self._call}."
        )

    def __await__(self) -> Generator[Any, Any, Any]:
        self._tell = None
        return self._coroutine.__await__()

    def send(self, value: Any) -> Any:
        """Run it on, as the task that it was made does."""
        self._tell = None
        return self._coroutine.send(value)

    def throw(self, *args: Any) -> Any:
        """Raise an exception in it."""
        self._tell = None
        return self._coroutine.throw(*args)

    def close(self) -> None:
        """End it."""
        self._tell = None
        self._coroutine.close()

    def __del__(self) -> None:
        if self._tell is not None:
            # Said once is enough: Python keeps silent then.
            self._coroutine.close()
            self._tell()


def _tell_nothing() -> None:
    """Do nothing: it is said already."""


def place_of_call() -> str:
    """Return the file and the line that have called the caller of this function."""
    frame = sys._getframe(2)
    return f"{frame.f_code.co_filename}, line {frame.f_lineno}"
