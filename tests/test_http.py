"""HTTP through the fused chain: overrides, cancellation, the setting."""

import asyncio
import gc
import logging
import threading
import weakref

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers import asgi
from django.http import Http404, HttpResponse
from django.test import override_settings
from django.urls import path
from django.utils.deprecation import MiddlewareMixin
from exchanges import NOTICES_THAT_CLIENTS_LEAVE, Exchange, fused
from project.http import request

from django_asgi_ext import ASGIHandler, conf
from django_asgi_ext.http.support import can_fuse

pytest_plugins = ["http_fixtures"]

pytestmark = fused


@pytest.mark.parametrize("make_handler", [asgi.ASGIHandler, ASGIHandler])
async def test_no_hook_follows_when_the_client_has_left(urls, in_thread, make_handler):
    """A sync view runs to its end, and no response hook after it; as on Django."""
    if not NOTICES_THAT_CLIENTS_LEAVE:
        pytest.skip("This Django does not notice that a client leaves")
    running, go, done = asyncio.Event(), threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def view(request):
        loop.call_soon_threadsafe(running.set)
        go.wait(5)
        done.set()
        return HttpResponse()

    urls(path("", view))
    exchange = Exchange(make_handler())
    await asyncio.wait_for(running.wait(), 5)
    leaving = asyncio.create_task(exchange.leave())
    for _ in range(20):
        # It is told of by the loop alone, in fewer turns.
        await asyncio.sleep(0)
    go.set()
    await leaving
    assert done.is_set()
    # The request hook and process_view.
    assert len(in_thread) == 2


class SyncOnly(MiddlewareMixin):
    """Middleware that asks what get_response is, and can take a sync one only."""

    async_capable = False


async def test_sync_middleware_is_given_what_looks_sync(urls):
    """Sync middleware above a fused part runs sync, as on Django."""
    urls(path("", lambda request: HttpResponse("hello")))
    djangos = "django.middleware.common.CommonMiddleware"
    with override_settings(MIDDLEWARE=[f"{__name__}.SyncOnly", djangos]):
        application = ASGIHandler()
    assert (await request(application))[2] == "hello"


async def test_overridden_parts_are_honoured(urls):
    """A subclass resolves, checks and responds in its own way."""
    called = []

    def overriding(name):
        def method(self, *args, **kwargs):
            called.append(name)
            return getattr(super(Handler, self), name)(*args, **kwargs)

        return method

    names = [
        "resolve_request",
        "make_view_atomic",
        "check_response",
        "get_response_async",
        "_get_response_async",
    ]
    for name in names:
        Handler = type("Handler", (ASGIHandler,), {name: overriding(name)})
        urls(path("", lambda request: HttpResponse()))
        status, *_ = await request(Handler())
        assert (status, called.pop()) == (200, name)


async def test_django_is_left_alone_if_told_so(urls, settings_of_ours):
    """With ASGI_EXT["HTTP"] = "django" each request has a thread of its own."""
    idents = []

    def view(request):
        idents.append(threading.current_thread().name)
        return HttpResponse()

    urls(path("", view))
    settings_of_ours(HTTP="django")
    await request(ASGIHandler())
    assert not idents[0].startswith("django-asgi-ext")
    settings_of_ours(HTTP="fused")
    await request(ASGIHandler())
    assert idents[1].startswith("django-asgi-ext")


def test_setting_must_name_a_chain(settings_of_ours):
    """Another value of ASGI_EXT["HTTP"] is refused."""
    settings_of_ours(HTTP="wsgi")
    with pytest.raises(ImproperlyConfigured) as raised:
        ASGIHandler()
    assert str(raised.value) == (
        "ASGI_EXT['HTTP'] must be 'django' or, on Django 4.2 to 6.1, 'fused', "
        "not 'wsgi'. Leave it out for the default."
    )


def test_a_django_that_does_something_else_is_left_alone(monkeypatch):
    """A release whose chain is not the known one is not fused, nor can be told to."""

    async def acall(self, request):
        return await self.get_response_in_another_way(request)

    monkeypatch.setattr(MiddlewareMixin, "__acall__", acall)
    assert not can_fuse()
    assert conf.http() == "django"
    with override_settings(ASGI_EXT={"HTTP": "fused"}):
        with pytest.raises(ImproperlyConfigured, match="must be 'django' or"):
            ASGIHandler()


@pytest.mark.parametrize("make_handler", [asgi.ASGIHandler, ASGIHandler])
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_what_ends_the_process_is_not_held_back(urls, make_handler, error):
    """SystemExit and KeyboardInterrupt of a view end the server, as on Django."""

    def view(request):
        raise error("enough")

    async def serve():
        await request(make_handler())

    urls(path("", view))
    with pytest.raises(error, match="enough"):
        asyncio.run(serve())
    # Django leaves the file of the body open, which is to be told of in here.
    gc.collect()


async def test_a_view_that_raises_stop_iteration(urls, in_thread):
    """StopIteration of a view is an error as any other, and hooks follow."""

    def view(request):
        raise StopIteration

    urls(path("", view))
    status, *_ = await request(ASGIHandler())
    assert status == 500
    # That of the response, too.
    assert len(in_thread) == 3


@pytest.mark.parametrize("raises", [True, False])
async def test_a_request_is_freed_when_it_is_over(urls, in_thread, caplog, raises):
    """Nothing leads to a request that is over: no traceback, thread or middleware."""
    requests = []

    def view(request):
        requests.append(weakref.ref(request))
        if raises:
            raise Http404
        return HttpResponse()

    # The fixture would keep the record, and that has the request.
    caplog.set_level(logging.CRITICAL, "django.request")
    urls(path("", view))
    application = ASGIHandler()
    await request(application)
    async with asyncio.timeout(5):
        while requests[0]() is not None:
            await asyncio.sleep(0.01)
            gc.collect()
