"""The live server: what a client from outside sees of the project under test."""

import gc
import threading
import unittest
from contextlib import asynccontextmanager
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import connection
from django.http import HttpResponse
from django.test import override_settings
from django.urls import path
from project.databases import default_database, in_a_thread
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as connect_to

from django_asgi_ext import ASGIHandler, websocket
from django_asgi_ext.test import ASGILiveServerTestCase
from django_asgi_ext.test.live import LiveServer, project


def run(case):
    """Run the test of a case, on a database in memory."""

    def migrate_and_run(result):
        call_command("migrate", verbosity=0)
        unittest.TestSuite([case("test")]).run(result)
        # Django does not close what is in memory.
        connection.connection.close()
        # For the mark below.
        gc.collect()

    result = unittest.TestResult()
    # Not the one of the settings: all threads of the server share this one.
    with default_database({"NAME": "file:live?mode=memory&cache=shared"}):
        in_a_thread(migrate_and_run, result)
    assert result.testsRun == 1
    assert not result.errors + result.failures, result.errors + result.failures


def add_group(name):
    """Store a group, and return the names of all and the thread."""
    Group.objects.create(name=name)
    names = Group.objects.order_by("name").values_list("name", flat=True)
    return f"{threading.current_thread().name} {' '.join(names)}"


@websocket
async def socket_view(socket):
    async for name in socket:
        await socket.send(await sync_to_async(add_group)(name))


def page(request):
    return HttpResponse(add_group("page"))


def get(url):
    """Return the body of a page."""
    with build_opener(ProxyHandler({})).open(url, timeout=5) as response:
        return response.read().decode()


# Django 3.0 does not close what it has read a request into.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_database_in_memory(urls):
    """Sockets and pages, on one thread, share a database in memory with the test."""
    urls(path("", page), path("ws/", socket_view))

    class Case(ASGILiveServerTestCase):
        def test(self):
            Group.objects.create(name="a test")
            first = get(self.live_server_url + "/")
            url = self.live_server_websocket_url + "/ws/"
            with connect_to(url, proxy=None) as socket, connect_to(url, proxy=None):
                socket.send("socket")
                second = socket.recv(timeout=5)
            thread, _, names = first.partition(" ")
            self.assertEqual(names, "a test page")
            self.assertEqual(second, f"{thread} a test page socket")
            self.assertEqual(Group.objects.count(), 3)

    run(Case)


def test_stop(urls):
    """At the end open WebSockets are closed with 1012, and no thread is left."""
    urls(path("ws/", socket_view))
    before = threading.enumerate()
    server = LiveServer(project())
    server.start()
    with connect_to(server.websocket_url + "/ws/", proxy=None) as socket:
        server.stop()
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=5)
    assert closed.value.rcvd.code == 1012
    left = set(threading.enumerate()) - set(before)
    assert not [thread for thread in left if "live-server" in thread.name]


def test_does_not_start():
    """What keeps the application from starting is raised, and the port is free."""

    async def application(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    server = LiveServer(application)
    with pytest.raises(Exception, match="no database"):
        server.start()
    with pytest.raises(URLError) as raised:
        get(server.url)
    assert isinstance(raised.value.reason, ConnectionRefusedError)


# As above.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_static_files(urls, tmp_path):
    """Static files are served if the project has the app for them."""
    (tmp_path / "page.txt").write_text("static")
    with override_settings(
        INSTALLED_APPS=[*settings.INSTALLED_APPS, "django.contrib.staticfiles"],
        STATICFILES_DIRS=[str(tmp_path)],
        STATIC_URL="/static/",
    ):
        server = LiveServer(project())
        server.start()
        try:
            assert get(server.url + "/static/page.txt") == "static"
        finally:
            server.stop()
    # For the mark.
    gc.collect()


def test_lifespan(urls):
    """The application's lifespan runs around the tests."""
    seen = []

    @asynccontextmanager
    async def lifespan():
        seen.append("begun")
        yield {"name": "state"}
        seen.append("ended")

    @websocket
    async def view(socket):
        await socket.send(socket.request.scope["state"]["name"])

    urls(path("ws/", view))
    server = LiveServer(ASGIHandler(lifespan=lifespan))
    server.start()
    try:
        with connect_to(server.websocket_url + "/ws/", proxy=None) as socket:
            assert socket.recv(timeout=5) == "state"
        assert seen == ["begun"]
    finally:
        server.stop()
    assert seen == ["begun", "ended"]
