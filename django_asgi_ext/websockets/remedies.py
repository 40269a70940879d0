"""What to do about what a view has raised, noted down on it."""

from __future__ import annotations

from types import FrameType

from django.core.exceptions import SynchronousOnlyOperation
from django.http import HttpRequest

from django_asgi_ext.websockets import running
from django_asgi_ext.websockets.options import function_name, undecorated, view_name

# Whose frames lie between the line of a project and what it calls.
_NOT_THE_PROJECT = {"asgiref", "django", "django_asgi_ext"}


def add_remedy(error: BaseException, request: HttpRequest) -> None:
    """Note down on what a view has raised what to do about it, if that is known."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            add_remedy(each, request)
        return
    remedy = None
    if isinstance(error, SynchronousOnlyOperation):
        remedy = _remedy_for_sync_call(error)
    elif isinstance(error, TypeError):
        remedy = _remedy_for_arguments(error, request)
    # The same exception may be raised again and again.
    if remedy is not None and remedy not in getattr(error, "__notes__", ()):
        error.add_note(remedy)


def _remedy_for_sync_call(error: BaseException) -> str | None:
    place = ""
    frames = _frames(error)
    if frames and _package(frames[-1][0]) == "django_asgi_ext":
        # What it says is ours already.
        return None
    for frame, line in frames:
        if _package(frame) not in _NOT_THE_PROJECT:
            place = f"{frame.f_code.co_filename}, line {line}: "
    return (
        f"{place}This asks the database and would block all connections. Call it by "
        "await sync_to_async(...)(), or by the async twin that Django has since 4.1: "
        "await Model.objects.aget(), async for."
    )


def _remedy_for_arguments(error: BaseException, request: HttpRequest) -> str | None:
    frames = _frames(error)
    if not frames or frames[-1][0].f_globals.get("__name__") != running.__name__:
        # The view has begun.
        return None
    match = request.resolver_match
    assert match is not None
    args = ["*args"] if match.args else []
    signature = ", ".join(["socket", *args, *match.kwargs])
    function = undecorated(match.func)
    return (
        f"The URL of {view_name(function)} gives it other arguments than it takes. "
        f"Write async def {function_name(function)}({signature})."
    )


def _frames(error: BaseException) -> list[tuple[FrameType, int]]:
    frames = []
    traceback = error.__traceback__
    while traceback is not None:
        frames.append((traceback.tb_frame, traceback.tb_lineno))
        traceback = traceback.tb_next
    return frames


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
