"""Requests whose answers come event by event, and the threads that they have."""

import asyncio
import threading
from contextlib import asynccontextmanager

import pytest
from django.core.handlers import asgi
from django.http import StreamingHttpResponse
from django.utils.deprecation import MiddlewareMixin
from project.http import http_scope

from django_asgi_ext.http.support import can_fuse

# What tests of the fused chain have for pytestmark.
fused = pytest.mark.skipif(
    not can_fuse(), reason="On this Django HTTP goes through Django's own chain"
)

NOTICES_THAT_CLIENTS_LEAVE = hasattr(asgi.ASGIHandler, "listen_for_disconnect")


class Exchange:
    """A request and, as they come, the events of its answer."""

    def __init__(self, application, path="/"):
        self.events = asyncio.Queue()
        self._left = asyncio.Event()
        self._incoming = [{"type": "http.request", "body": b""}]
        self.task = asyncio.create_task(
            application(http_scope(path), self._receive, self.events.put)
        )

    async def _receive(self):
        if self._incoming:
            return self._incoming.pop()
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def leave(self):
        self._left.set()
        if not NOTICES_THAT_CLIENTS_LEAVE:
            self.task.cancel()
        await asyncio.wait({self.task}, timeout=5)
        assert self.task.done()


def held(pool):
    """Return how many threads are not for whoever needs one."""
    with pool.lock:
        return len(pool._leased)


async def until(condition):
    """Wait for a condition that another thread makes true."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def one_event():
    """An event of a stream that has no end."""
    yield b"data: 1\n\n"
    await asyncio.get_running_loop().create_future()


def stream(request):
    """Answer with a stream from a sync view."""
    return StreamingHttpResponse(one_event())


async def async_stream(request):
    """Answer with a stream from an async view."""
    return StreamingHttpResponse(one_event())


@asynccontextmanager
async def opened(application, count, path="/"):
    """Have that many requests whose answers have begun."""
    exchanges = [Exchange(application, path) for _ in range(count)]
    try:
        async with asyncio.timeout(20):
            for exchange in exchanges:
                assert (await exchange.events.get())["status"] == 200
        yield exchanges
    finally:
        for exchange in exchanges:
            await exchange.leave()


class InThread(MiddlewareMixin):
    """A project's own middleware: notes the threads of its hooks."""

    idents: list = []

    def process_request(self, request):
        self.idents.append(threading.get_ident())

    def process_view(self, request, callback, args, kwargs):
        self.idents.append(threading.get_ident())

    def process_response(self, request, response):
        self.idents.append(threading.get_ident())
        return response
