"""A call that a unit has for its thread."""

from __future__ import annotations

import functools
from concurrent.futures import Future
from types import GeneratorType
from typing import Any, TypeAlias

Generator: TypeAlias = "GeneratorType[Any, Any, Any]"


class Call:
    """A call, and the future of what comes out."""

    __slots__ = ("_call", "_error", "_future", "_result", "iterator")

    def __init__(self, future: Future[Any], call: functools.partial[Any]) -> None:
        self._future: Future[Any] | None = future
        self._call = call
        self._result: Any = None
        self._error: BaseException | None = None
        # The generator that it goes on with, if any.
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


def _generator_among(call: object) -> Generator | None:
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
