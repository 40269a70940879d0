"""HTTP and the database: connections live as long as under WSGI."""

import asyncio
import threading
import time
from urllib.request import urlopen

import pytest
from django.db import connection
from django.http import HttpResponse
from django.urls import path
from project.databases import default_database
from project.http import request

from django_asgi_ext import ASGIHandler
from django_asgi_ext.http import leases
from django_asgi_ext.http.support import can_fuse
from django_asgi_ext.test.live import LiveServer
from django_asgi_ext.threads import WorkerThreads

pytest_plugins = ["postgres"]

pytestmark = pytest.mark.skipif(
    not can_fuse(), reason="On this Django HTTP goes through Django's own chain"
)


def backend(request):
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return HttpResponse(str(cursor.fetchone()[0]))


@pytest.fixture
async def threads(monkeypatch):
    """Let requests have threads of this test's own, which end with it."""
    pool = WorkerThreads(None, 0.002, 0.01)
    monkeypatch.setattr(leases, "_threads", pool)
    yield pool
    async with asyncio.timeout(5):
        while pool._started:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("age", [60, 0])
async def test_connections_live_for_conn_max_age(
    postgres, urls, monkeypatch, threads, age
):
    """With CONN_MAX_AGE above 0 requests use connections of others again."""
    monkeypatch.setattr(threads, "_spare", 0.5)
    urls(path("", backend))
    application = ASGIHandler()
    with default_database(postgres.database(CONN_MAX_AGE=age)):
        backends = [(await request(application))[2] for _ in range(4)]
    assert len(set(backends)) == (1 if age else 4)


async def test_a_thread_that_ends_closes_its_connection(postgres, urls, threads):
    """A connection that is kept ends with the thread that has it."""
    urls(path("", backend))
    with default_database(postgres.database(CONN_MAX_AGE=60)):
        _, _, pid = await request(ASGIHandler())
    deadline = time.monotonic() + 5
    while int(pid) in postgres.clients() and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    assert int(pid) not in postgres.clients()


def test_a_live_server_leaves_no_connection(postgres, urls, threads, monkeypatch):
    """A connection that is kept ends with the live server of a test."""
    monkeypatch.setattr(threads, "_spare", 30.0)
    urls(path("", backend))
    with default_database(postgres.database(CONN_MAX_AGE=60)):
        server = LiveServer(ASGIHandler())
        server.start()
        try:
            with urlopen(server.url) as response:
                pid = int(response.read())
            assert pid in postgres.clients()
        finally:
            server.stop()
    deadline = time.monotonic() + 5
    while pid in postgres.clients() and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert pid not in postgres.clients()
