"""Django's handler, with consecutive sync hooks of middleware run in one thread."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.core.handlers.base import BaseHandler
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from django_asgi_ext import conf
from django_asgi_ext.http.crossing import Crossing, cancellable
from django_asgi_ext.http.layers import (
    Below,
    Handler,
    Hook,
    Layer,
    View,
    is_view,
    layer_of,
)
from django_asgi_ext.http.leases import current_unit, is_djangos


class FusedHandler(BaseHandler):
    """
    A handler whose middleware hops to a thread as seldom as it can.

    Django's load_middleware() makes the middleware, and asks adapt_method_mode() to
    fit what is below one of them to it. There the way through the layers that can
    be taken apart is put in place of the nested coroutines. All else, and all of it
    with ASGI_EXT["HTTP"] = "django", is as Django has made it.
    """

    is_fused = False

    def load_middleware(self, *args: Any, **kwargs: Any) -> None:
        """Populate the middleware lists, as Django does."""
        self.is_fused = conf.http() == "fused"
        # Sync hooks by their async twins, and ways by the functions that take them.
        self._hooks: dict[Any, Hook] = {}
        self._ways: dict[Any, Below] = {}
        # Whether one of those that are called in one go, without the event loop, does.
        self._keeps_below = False
        super().load_middleware(*args, **kwargs)

    def adapt_method_mode(
        self,
        is_async: bool,
        method: Any,
        method_is_async: bool | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Adapt a method, as Django does, or put a fused way in its place."""
        adapted = super().adapt_method_mode(
            is_async, method, method_is_async, *args, **kwargs
        )
        if not self.is_fused:
            return adapted
        if method_is_async is None:
            if adapted is not method and not iscoroutinefunction(method):
                keeps = _keeps_thread(getattr(method, "__self__", method))
                self._hooks[adapted] = Hook(method, keeps)
            return adapted
        if not method_is_async:
            # Django goes upwards, and asks of each handler on its way.
            self._keeps_below |= _keeps_thread(getattr(method, "__wrapped__", method))
            if not is_async:
                return adapted
            return functools.partial(cancellable, adapted, self._keeps_below)
        self._keeps_below = False
        return self._fuse(method, is_async)

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """Return the response to a request."""
        unit = current_unit()
        if unit is None:
            return await super().get_response_async(request)
        unit.begin_response()
        is_stream = False
        try:
            response = await super().get_response_async(request)
            is_stream = getattr(response, "is_async", False)
            return response
        finally:
            unit.end_response(is_stream)

    def _fuse(self, handler: Callable[..., Any], is_async: bool) -> Any:
        """Return the way below a middleware, as what it is given for get_response."""
        way = self._way_of(handler)

        if is_async:

            @functools.wraps(handler)
            async def fused(request: HttpRequest) -> Any:
                crossing = Crossing()
                return await crossing.run(way(request, crossing))
        else:
            # Not its attributes: one of them says that it is a coroutine function.
            @functools.wraps(handler, updated=())
            def fused(request: HttpRequest) -> Any:
                crossing = Crossing(is_in_thread=True)
                return crossing.run_in_thread(way(request, crossing))

        self._ways[fused] = way
        return fused

    def _way_of(self, handler: Callable[..., Any]) -> Below:
        if is_view(handler, self):
            return View(self, self._hooks)
        layer = layer_of(handler, self._ways)
        if layer is None:
            return Handler(handler)
        middleware, below = layer
        return Layer(middleware, below, _keeps_thread(middleware))


def _keeps_thread(middleware: object) -> bool:
    """Return whether middleware may leave something in its thread."""
    # An instance may have been given another's name.
    named = middleware if hasattr(middleware, "__globals__") else type(middleware)
    return bool(getattr(middleware, "keeps_thread", not is_djangos(named)))
