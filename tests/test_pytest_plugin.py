"""The plugin for pytest."""

import os
import subprocess
import sys
from configparser import ConfigParser
from importlib.metadata import entry_points
from pathlib import Path

import pytest

PLUGIN = "django_asgi_ext.pytest_plugin"

TESTS = """
import asyncio
import django
import pytest
from django.urls import path
from django.conf import settings
from websockets.sync.client import connect

settings.configure(
    ALLOWED_HOSTS=["testserver"], ROOT_URLCONF=__name__, SECRET_KEY="only for tests"
)
django.setup()

from django_asgi_ext import groups, websocket
from django_asgi_ext.groups.backends import backend

@websocket
async def echo(socket):
    async for message in socket:
        await socket.send(message)

urlpatterns = [path("ws/", echo)]

def test_sync(websocket_client):
    with websocket_client.websocket("/ws/") as socket:
        socket.send("hello")
        assert socket.recv() == "hello"

def test_live(asgi_live_server):
    with connect(asgi_live_server.websocket_url + "/ws/", proxy=None) as socket:
        socket.send("hello")
        assert socket.recv(timeout=5) == "hello"

@pytest.mark.parametrize("number", range(2))
def test_groups(fresh_groups, number, seen=[]):
    groups.publish("chat", "hello")
    assert backend() not in seen
    seen.append(backend())

async def test_async(async_websocket_client):
    async with async_websocket_client.websocket("/ws/") as socket:
        await socket.send("hello")
        assert await socket.recv() == "hello"
"""


def plugin_options():
    """Return what makes pytest load the plugin."""
    installed = [entry.value for entry in entry_points(group="pytest11")]
    # In a checkout that is not installed nobody has told pytest.
    return [] if PLUGIN in installed else ["-p", PLUGIN]


def test_fixtures(tmp_path):
    """The fixtures are there for tests of a project, without any more words."""
    (tmp_path / "test_project.py").write_text(TESTS)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-o", "asyncio_mode=auto", *plugin_options()],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert "5 passed" in tests.stdout, tests.stdout + tests.stderr


def test_entry_point():
    """The package names the plugin to pytest."""
    configuration = Path(__file__).parents[1] / "setup.cfg"
    if not configuration.exists():
        pytest.skip("no checkout")
    parser = ConfigParser()
    parser.read(configuration)
    assert parser["options.entry_points"]["pytest11"].strip() == (
        f"django_asgi_ext = {PLUGIN}"
    )


def test_needs_no_django():
    """To load the plugin does not load Django's test tools, nor need settings."""
    code = f"import sys, {PLUGIN}; sys.exit('django.test' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
