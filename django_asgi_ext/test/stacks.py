"""Where code is stuck: the stacks of tasks and threads, as text."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Iterator
from itertools import dropwhile
from types import FrameType
from typing import Any


def stack_of_task(task: asyncio.Task[Any]) -> str:
    """
    Return the stack of a task, from the project's code down to where it waits.

    It is "" if none of the project's code is in it.
    """
    frames = dropwhile(_is_not_theirs, _frames(task.get_coro()))
    return "".join(
        traceback.StackSummary.extract(
            (frame, frame.f_lineno) for frame in frames
        ).format()
    )


def stack_of_thread(ident: int) -> str:
    """Return the stack of a thread, from the project's code down to where it is."""
    frame = sys._current_frames().get(ident)
    frames = [] if frame is None else list(traceback.walk_stack(frame))[::-1]
    return "".join(
        traceback.StackSummary.extract(
            dropwhile(lambda pair: _is_not_theirs(pair[0]), frames)
        ).format()
    )


def _frames(coroutine: Any) -> Iterator[FrameType]:
    # A task gives the outermost frame only.
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None)
        if frame is not None:
            yield frame
        coroutine = getattr(coroutine, "cr_await", None)


def _is_not_theirs(frame: FrameType) -> bool:
    package = frame.f_globals.get("__name__", "").partition(".")[0]
    return package in ("asyncio", "asgiref", "django_asgi_ext", "threading")
