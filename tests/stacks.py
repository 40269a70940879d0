"""Random stacks of middleware and views, and all that can be seen of a request."""

import asyncio
import logging
import sys
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from types import ModuleType

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.core import signals
from django.core.exceptions import (
    MiddlewareNotUsed,
    PermissionDenied,
    SuspiciousOperation,
)
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.template import engines
from django.template.response import TemplateResponse
from django.test import override_settings
from django.urls import clear_url_caches, path
from django.utils.decorators import (
    async_only_middleware,
    sync_and_async_middleware,
    sync_only_middleware,
)
from django.utils.deprecation import MiddlewareMixin
from hypothesis import strategies as st
from project.http import http_scope

ERRORS = [ValueError, Http404, PermissionDenied, SuspiciousOperation, KeyError]
HOOKS = [
    "process_request",
    "process_view",
    "process_exception",
    "process_template_response",
    "process_response",
]
KINDS = ["mixin", "own call", "sync", "async", "both", "not used"]

# What a hook, a function or a view does.
actions = st.sampled_from(
    ["pass", "pass", "pass", "set", "answer", "raise", "other urls"]
)
errors = st.integers(0, len(ERRORS) - 1)
hooks = st.dictionaries(
    st.sampled_from(HOOKS), st.tuples(actions, errors, st.booleans()), max_size=5
)
layers = st.tuples(st.sampled_from(KINDS), hooks, st.tuples(actions, errors))
# Most are mixins: those are what is taken apart.
mixins = st.tuples(st.just("mixin"), hooks, st.just(("pass", 0)))
stacks = st.lists(st.one_of(mixins, layers), max_size=6)
views = st.tuples(
    st.sampled_from(
        [
            *("sync", "async", "async with thread", "template", "none"),
            *("stream", "async stream", "not a function"),
        ]
    ),
    st.sampled_from(["answer", "answer", "raise"]),
    errors,
)

mark: ContextVar[str] = ContextVar("mark", default="")


class Observed:
    """The calls of one request, in order, with what each has seen."""

    def __init__(self):
        self.calls = []

    def act(self, name, action, error, answer):
        self.calls.append((name, mark.get()))
        if action == "set":
            mark.set(mark.get() + name[0] + name[-1])
        elif action == "raise":
            raise ERRORS[error](name)
        elif action == "answer":
            return answer()
        return None

    def stream(self):
        self.act("stream", "pass", 0, None)
        yield mark.get().encode()
        self.act("stream", "pass", 0, None)

    async def async_stream(self):
        for part in self.stream():
            yield part
            await sync_to_async(self.act)("async stream", "pass", 0, None)


def make_layer(number, spec, seen):
    """Return a middleware, and note in ``seen`` what is called of it."""
    kind, hooks, (action, error) = spec
    name = f"{number} {kind}"

    def act(moment, action=action, error=error):
        return seen.act(
            f"{name} {moment}", action, error, lambda: HttpResponse(f"{name} {moment}")
        )

    if kind == "sync":

        @sync_only_middleware
        def factory(get_response):
            return lambda request: act("in") or noted(get_response(request), act)

        return factory
    if kind == "async":

        @async_only_middleware
        def factory(get_response):
            async def middleware(request):
                return act("in") or noted(await get_response(request), act)

            return middleware

        return factory
    if kind == "both":

        @sync_and_async_middleware
        def factory(get_response):
            if iscoroutinefunction(get_response):

                async def middleware(request):
                    return act("in") or noted(await get_response(request), act)
            else:

                def middleware(request):
                    return act("in") or noted(get_response(request), act)

            return middleware

        return factory
    if kind == "not used":

        def factory(get_response):
            raise MiddlewareNotUsed(name)

        return factory
    return make_mixin(name, kind, hooks, seen)


def noted(response, act):
    act("out", "pass")
    return response


def make_mixin(name, kind, hooks, seen):
    def make(hook, action, error, is_async):
        def method(self, request, *args):
            def answer():
                # A response that can be rendered stays one.
                if hook == "process_template_response":
                    return template_response(request, f"{name} {hook}")
                return HttpResponse(f"{name} {hook}")

            if action == "other urls":
                request.urlconf = "other_urls_of_a_test"
            answered = seen.act(f"{name} {hook}", action, error, answer)
            if hook in ("process_response", "process_template_response"):
                return answered or args[0]
            return answered

        async def async_method(self, request, *args):
            await asyncio.sleep(0)
            return method(self, request, *args)

        # Those two Django calls in a thread, whatever they are.
        is_async = is_async and hook in ("process_view", "process_exception")
        return async_method if is_async else method

    methods = {hook: make(hook, *spec) for hook, spec in hooks.items()}
    if kind == "own call":

        def call(self, request):
            seen.act(f"{name} call", "pass", 0, None)
            return MiddlewareMixin.__call__(self, request)

        methods["__call__"] = call
    return type("Mixin", (MiddlewareMixin,), methods)


def template_response(request, text):
    return TemplateResponse(request, engines["django"].from_string(text))


def make_view(spec, seen):
    kind, action, error = spec

    def respond(request):
        def answer():
            if kind == "none":
                return None
            if kind == "template":
                return template_response(request, f"view {mark.get()}")
            if kind == "stream":
                return StreamingHttpResponse(seen.stream())
            if kind == "async stream":
                return StreamingHttpResponse(seen.async_stream())
            return HttpResponse(f"view {mark.get()}")

        return seen.act("view", action, error, answer)

    async def async_respond(request):
        await asyncio.sleep(0)
        return respond(request)

    async def async_respond_in_thread(request):
        return await sync_to_async(respond)(request)

    class NotAFunction:
        # Django takes it for sync, and cannot call it.
        __call__ = async_respond

    if kind == "not a function":
        return NotAFunction()
    if kind in ("async", "async stream"):
        return async_respond
    return async_respond_in_thread if kind == "async with thread" else respond


async def observe(make_handler, stack, view, **settings):
    """Return what a handler does with a request, as far as anybody can tell."""
    seen = Observed()
    module = ModuleType("stack_of_a_test")
    for number, spec in enumerate(stack):
        setattr(module, f"layer{number}", make_layer(number, spec, seen))
    module.urlpatterns = [path("", make_view(view, seen))]
    names = [f"stack_of_a_test.layer{number}" for number in range(len(stack))]
    sys.modules[module.__name__] = module
    other = sys.modules["other_urls_of_a_test"] = ModuleType("other_urls_of_a_test")
    other.urlpatterns = [path("", lambda request: HttpResponse("other"))]
    mark.set("")
    with ExitStack() as contexts:
        contexts.callback(sys.modules.pop, module.__name__)
        contexts.callback(sys.modules.pop, other.__name__)
        contexts.callback(clear_url_caches)
        records = contexts.enter_context(logged())
        contexts.enter_context(signalled(seen))
        contexts.enter_context(
            override_settings(
                MIDDLEWARE=names, ROOT_URLCONF=module.__name__, **settings
            )
        )
        try:
            events = await answer(make_handler())
        except Exception as error:
            events = repr(error)
    return {"events": events, "calls": seen.calls, "log": records}


async def answer(handler):
    """Return the events of a handler's answer, from a client that stays."""
    incoming = [{"type": "http.request", "body": b""}]
    events = []

    async def receive():
        if not incoming:
            await asyncio.get_running_loop().create_future()
        return incoming.pop()

    async def send(event):
        events.append(event)

    async with asyncio.timeout(10):
        await handler(http_scope("/"), receive, send)
    return events


@contextmanager
def logged():
    """Collect what is logged of a request."""
    records = []

    class Handler(logging.Handler):
        def emit(self, record):
            error = record.exc_info and record.exc_info[1]
            records.append(
                (record.name, record.levelname, record.getMessage(), repr(error))
            )

    logger = logging.getLogger("django")
    before = logger.handlers, logger.level, logger.propagate
    logger.handlers, logger.level, logger.propagate = [Handler()], logging.DEBUG, False
    logging.getLogger("django.request").manager._clear_cache()
    try:
        yield records
    finally:
        logger.handlers, logger.level, logger.propagate = before
        logging.getLogger("django.request").manager._clear_cache()


@contextmanager
def signalled(seen):
    """Note the signals of a request among its calls."""
    names = ("request_started", "got_request_exception", "request_finished")
    receivers = {}
    for name in names:

        def receiver(name=name, **kwargs):
            seen.calls.append(name)

        receivers[name] = receiver
        getattr(signals, name).connect(receiver)
    try:
        yield
    finally:
        for name, receiver in receivers.items():
            getattr(signals, name).disconnect(receiver)
