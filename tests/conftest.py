"""What every test may use: the project, its database, and connections to an app."""

import os
import shutil
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import ModuleType

import django
import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.test import override_settings
from django.urls import clear_url_caches
from machine import machine
from peer import Peer, websocket_scope

# In the background a shell lets it be ignored, and then so does what tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
if "PYTEST_XDIST_WORKER" in os.environ:
    # That of the process which hands out the tests. Each has its own.
    os.environ.pop("TEST_DATABASE", None)
django.setup()


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    """Let a test that is marked so have the machine for itself."""
    # Around the time limit of a test: who waits here does not hang.
    with machine(item.config, item.get_closest_marker("alone") is not None):
        yield


@pytest.fixture(scope="session", autouse=True)
def database():
    """Make the tables once; the file is gone at the end."""

    def migrate():
        call_command("migrate", verbosity=0)
        connections.close_all()

    # In a thread of its own: on the main one Django 3.0 makes an event loop that
    # nobody closes.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(migrate).result()
    yield
    shutil.rmtree(os.path.dirname(settings.DATABASES["default"]["NAME"]))


@pytest.fixture
def urls():
    """Make the given path()s the project's URLconf."""
    module = ModuleType("urls_of_a_test")
    sys.modules[module.__name__] = module

    def use(*urlpatterns):
        module.urlpatterns = list(urlpatterns)
        clear_url_caches()

    with override_settings(ROOT_URLCONF=module.__name__):
        use()
        yield use
    del sys.modules[module.__name__]
    clear_url_caches()


@pytest.fixture
def serve(urls):
    """Put a view at /ws/."""
    from django.urls import path

    return lambda view: urls(path("ws/", view))


@pytest.fixture
def settings_of_ours(urls):
    """Set keys of ASGI_EXT for this test."""
    # After the URLconf, which began before: what ends last must have begun first.
    with ExitStack() as stack:

        def use(**ours):
            stack.enter_context(override_settings(ASGI_EXT=ours))

        yield use


@pytest.fixture
def connect(urls):
    """Return a Peer for a path, or for a view that is then at /ws/."""
    from django.urls import path

    from django_asgi_ext.handler import ASGIHandler

    def make(view_or_path="/ws/", **scope):
        if callable(view_or_path):
            urls(path("ws/", view_or_path))
            view_or_path = "/ws/"
        return Peer(ASGIHandler(), websocket_scope(view_or_path, **scope))

    return make


@pytest.fixture
def project(monkeypatch, tmp_path):
    """Write the asgi.py of a project "mysite" that can be imported."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mysite").mkdir()
    (tmp_path / "mysite/__init__.py").touch()
    yield (tmp_path / "mysite/asgi.py").write_text
    sys.modules.pop("mysite", None)
