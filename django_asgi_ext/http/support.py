"""Whether this Django does what the fused chain stands in for, and no more."""

from __future__ import annotations

from types import CodeType
from typing import Any

from django.core.handlers import asgi, base
from django.core.handlers.exception import convert_exception_to_response
from django.http import StreamingHttpResponse
from django.utils.deprecation import MiddlewareMixin

# What it calls, or needs done.
_NEEDED: dict[type[Any], tuple[str, ...]] = {
    base.BaseHandler: (
        "adapt_method_mode",
        "get_response_async",
        "_get_response_async",
    ),
    # One ThreadSensitiveContext around each request.
    asgi.ASGIHandler: ("handle",),
    MiddlewareMixin: ("__acall__",),
    # A release without it iterates over a sync iterator on the event loop.
    StreamingHttpResponse: ("__aiter__",),
}

# All that those functions call by name in whose place it does the same: a release
# in which one of them does something else is not one that it knows.
_VIEW = {
    *("Exception", "RuntimeError", "__class__", "__name__", "__self__"),
    *("_template_response_middleware", "_view_middleware", "asyncio", "callable"),
    *("check_response", "hasattr", "iscoroutine", "iscoroutinefunction"),
    *("make_view_atomic", "process_exception_by_middleware", "render"),
    *("resolve_request", "sync_to_async"),
}
_MIDDLEWARE = {
    *("get_response", "hasattr", "process_request", "process_response"),
    "sync_to_async",
}
_CONVERTED = {
    *("Exception", "get_response", "iscoroutinefunction"),
    *("response_for_exception", "sync_to_async", "wraps"),
}


def can_fuse() -> bool:
    """Return whether the fused chain does on this Django what Django's own does."""
    return all(
        hasattr(owner, name) for owner, names in _NEEDED.items() for name in names
    ) and (
        _names(vars(base.BaseHandler)["_get_response_async"]) == _VIEW
        and _names(MiddlewareMixin.__acall__) == _MIDDLEWARE
        and _names(convert_exception_to_response) == _CONVERTED
    )


def _names(function: Any) -> set[str]:
    """Return the names that a function uses, but for its own variables."""
    names: set[str] = set()
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        names.update(code.co_names, code.co_freevars)
        codes += [const for const in code.co_consts if isinstance(const, CodeType)]
    return names
