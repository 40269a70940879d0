"""
A request's way through middleware and view, as a generator of what it waits for.

Most of the way is synchronous code. The generator runs it where it is resumed, and
yields what must come next when it cannot go on there: a worker thread, or something
to await on the event loop. So the nested try blocks of Django's
chain stay nested blocks, wherever each part of them runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import Any, NamedTuple, TypeAlias

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.core.handlers.base import BaseHandler
from django.core.handlers.exception import response_for_exception
from django.http import HttpRequest
from django.utils.deprecation import MiddlewareMixin

from django_asgi_ext.http.crossing import Crossing

# What a request waits for: None is a thread, a call is awaited on the event loop.
Awaited: TypeAlias = "tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]"
Steps: TypeAlias = "Generator[Awaited | None, Any, Any]"
# What stands below a layer: the next one, or what they all stand on.
Below: TypeAlias = "Callable[[HttpRequest, Crossing], Steps]"


@dataclass(frozen=True, eq=False)
class Layer:
    """
    One MiddlewareMixin, with its hooks apart from what is below it.

    It does what the mixin's __acall__ and convert_exception_to_response() do.
    """

    middleware: Any
    below: Below
    keeps_thread: bool

    def __call__(self, request: HttpRequest, crossing: Crossing) -> Steps:
        """Return the response to a request, an exception turned into one."""
        middleware = self.middleware
        try:
            response = None
            if hasattr(middleware, "process_request"):
                if not crossing.enter():
                    yield None
                if self.keeps_thread:
                    crossing.hold_thread()
                response = middleware.process_request(request)
            response = response or (yield from self.below(request, crossing))
            if hasattr(middleware, "process_response"):
                if not crossing.enter():
                    yield None
                if self.keeps_thread:
                    crossing.hold_thread()
                response = middleware.process_response(request, response)
        except Exception as error:
            if not crossing.enter():
                yield None
            response = response_for_exception(request, error)
        return response


@dataclass(frozen=True, eq=False)
class Handler:
    """What is awaited as a whole: middleware that is async by itself."""

    handler: Callable[..., Any]

    def __call__(self, request: HttpRequest, crossing: Crossing) -> Steps:
        """Return the response of the handler."""
        return (yield self.handler, (request,), {})


class Hook(NamedTuple):
    """A sync method of a middleware, and whether it may leave something behind."""

    method: Callable[..., Any]
    keeps_thread: bool


@dataclass(frozen=True, eq=False)
class View:
    """
    All that is below the middleware: resolving, the view and the hooks around it.

    It does what BaseHandler._get_response_async() does, and calls the same methods
    of the handler for it. ``hooks`` are the sync methods of middleware, by what
    adapt_method_mode() has made of them.
    """

    handler: Any
    hooks: dict[Any, Hook]

    def __call__(self, request: HttpRequest, crossing: Crossing) -> Steps:
        """Return the response, an exception turned into one."""
        try:
            response = yield from self._respond(request, crossing)
        except Exception as error:
            if not crossing.enter():
                yield None
            response = response_for_exception(request, error)
        return response

    def _respond(self, request: HttpRequest, crossing: Crossing) -> Steps:
        handler = self.handler
        response = None
        callback, args, kwargs = handler.resolve_request(request)
        for method in handler._view_middleware:
            response = yield from self._hook(
                method, crossing, request, callback, args, kwargs
            )
            if response:
                break
        if response is None:
            view = handler.make_view_atomic(callback)
            _check_mode(view)
            crossing.begin_view()
            try:
                response = yield from _call(view, crossing, request, *args, **kwargs)
            except Exception as error:
                response = yield from self._recover(error, request, crossing)
                if response is None:
                    raise
        handler.check_response(response, callback)
        if hasattr(response, "render") and callable(response.render):
            response = yield from self._render(response, request, crossing)
        if asyncio.iscoroutine(response):
            raise RuntimeError("Response is still a coroutine.")
        return response

    def _render(self, response: Any, request: HttpRequest, crossing: Crossing) -> Steps:
        handler = self.handler
        for method in handler._template_response_middleware:
            response = yield from self._hook(method, crossing, request, response)
            handler.check_response(
                response,
                method,
                name=f"{type(method.__self__).__name__}.process_template_response",
            )
        try:
            _check_mode(response.render)
            return (yield from _call(response.render, crossing))
        except Exception as error:
            response = yield from self._recover(error, request, crossing)
            if response is None:
                raise
            return response

    def _recover(self, error: Any, request: HttpRequest, crossing: Crossing) -> Steps:
        if not crossing.enter():
            yield None
        crossing.hold_thread()
        return self.handler.process_exception_by_middleware(error, request)

    def _hook(self, method: Any, crossing: Crossing, *args: Any) -> Steps:
        hook = self.hooks.get(method)
        if hook is None:
            # It is async, or somebody else has put it there.
            return (yield method, args, {})
        if not crossing.enter():
            yield None
        if hook.keeps_thread:
            crossing.hold_thread()
        return hook.method(*args)


def _call(
    function: Callable[..., Any], crossing: Crossing, /, *args: Any, **kwargs: Any
) -> Steps:
    """Call what a project has written, where it belongs."""
    if iscoroutinefunction(function):
        return (yield function, args, kwargs)
    if not crossing.enter():
        yield None
    crossing.hold_thread()
    return function(*args, **kwargs)


def _check_mode(function: Callable[..., Any]) -> None:
    """Raise TypeError, as Django does, for what looks sync and is not."""
    if not isinstance(function, (FunctionType, MethodType)):
        if not iscoroutinefunction(function):
            sync_to_async(function)


def layer_of(
    handler: Callable[..., Any], below: dict[Any, Below]
) -> tuple[Any, Below] | None:
    """
    Return the middleware of an async handler and what is below it.

    ``handler`` is what convert_exception_to_response() has made, ``below`` what
    stands for the get_response that a middleware was given. Return None if the
    middleware is not one whose hooks can be run apart.
    """
    middleware = getattr(handler, "__wrapped__", None)
    if (
        not isinstance(middleware, MiddlewareMixin)
        or type(middleware).__call__ is not MiddlewareMixin.__call__
        or type(middleware).__acall__ is not MiddlewareMixin.__acall__
        or middleware.get_response not in below
    ):
        return None
    for name in ("process_request", "process_response"):
        # Django answers each request with an error.
        if iscoroutinefunction(getattr(middleware, name, None)):
            return None
    return middleware, below[middleware.get_response]


def is_view(handler: Callable[..., Any], owner: BaseHandler) -> bool:
    """Return whether a handler is Django's _get_response_async(), not overridden."""
    wrapped = getattr(handler, "__wrapped__", None)
    djangos = vars(BaseHandler)["_get_response_async"]
    return (
        getattr(wrapped, "__self__", None) is owner
        and getattr(wrapped, "__func__", None) is djangos
    )
