"""Whether this Django has all that the fused chain calls and stands in for."""

from __future__ import annotations

from typing import Any

from asgiref.sync import iscoroutinefunction
from django.core.handlers import asgi, base
from django.http import StreamingHttpResponse
from django.utils.deprecation import MiddlewareMixin

_NEEDED: dict[type[Any], tuple[str, ...]] = {
    base.BaseHandler: (
        "adapt_method_mode",
        "check_response",
        "get_response_async",
        "_get_response_async",
        "make_view_atomic",
        "process_exception_by_middleware",
        "resolve_request",
    ),
    # One ThreadSensitiveContext around each request.
    asgi.ASGIHandler: ("handle",),
    MiddlewareMixin: ("__acall__",),
    # A release without it iterates over a sync iterator on the event loop.
    StreamingHttpResponse: ("__aiter__",),
}


def can_fuse() -> bool:
    """Return whether the fused chain does on this Django what Django's own does."""
    return all(
        hasattr(owner, name) for owner, names in _NEEDED.items() for name in names
    ) and iscoroutinefunction(base.BaseHandler.get_response_async)
