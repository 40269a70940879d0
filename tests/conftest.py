"""What every test may use: the project, its database, and connections to an app."""

import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import ModuleType

import django
import pytest
from asgiref.testing import ApplicationCommunicator
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.test import override_settings
from django.urls import clear_url_caches

os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
django.setup()


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
def settings_of_ours():
    """Set keys of ASGI_EXT for this test."""
    with ExitStack() as stack:

        def use(**ours):
            stack.enter_context(override_settings(ASGI_EXT=ours))

        yield use


def websocket_scope(path="/ws/", **changes):
    """Return the scope of an opening handshake, as hypercorn makes it."""
    path, _, query = path.partition("?")
    headers = {
        "host": "testserver",
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-version": "13",
        **changes.pop("headers", {}),
    }
    return {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "scheme": "ws",
        "http_version": "1.1",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [
            (name.encode(), value.encode("latin-1"))
            for name, value in headers.items()
            if value is not None
        ],
        "client": ("127.0.0.1", 40000),
        "server": ("127.0.0.1", 8000),
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
        **changes,
    }


class Peer(ApplicationCommunicator):
    """The server and the client behind it, seen by the application."""

    async def connect(self):
        """Begin the opening handshake and return the first answer to it."""
        await self.send_input({"type": "websocket.connect"})
        return await self.receive_output(timeout=5)

    async def accepted(self):
        """Begin the opening handshake and return the accept."""
        event = await self.connect()
        assert event["type"] == "websocket.accept", event
        return event

    async def denied(self):
        """Begin the opening handshake; return status, headers and body of a denial."""
        start = await self.connect()
        assert start["type"] == "websocket.http.response.start", start
        body = await self.receive_output(timeout=5)
        assert body["type"] == "websocket.http.response.body", body
        assert not body.get("more_body")
        headers = {}
        for name, value in start["headers"]:
            headers.setdefault(name.decode(), []).append(value.decode("latin-1"))
        return start["status"], headers, body["body"].decode()

    async def say(self, message):
        """Send a message as the client."""
        kind = "text" if isinstance(message, str) else "bytes"
        await self.send_input({"type": "websocket.receive", kind: message})

    async def hear(self):
        """Return the next message that the client gets."""
        event = await self.receive_output(timeout=5)
        assert event["type"] == "websocket.send", event
        return event["text"] if event.get("text") is not None else event["bytes"]

    async def closed(self):
        """Wait for the application's close, answer it, and return code and reason."""
        event = await self.receive_output(timeout=5)
        assert event["type"] == "websocket.close", event
        await self.leave(event["code"])
        return event["code"], event.get("reason", "")

    async def leave(self, code=1000, **more):
        """Go away as the client, and wait for the application to end."""
        await self.send_input({"type": "websocket.disconnect", "code": code, **more})
        await self.wait(timeout=5)


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
