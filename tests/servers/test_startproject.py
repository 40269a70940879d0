"""What a newcomer meets: a project as django-admin makes it, with one line changed."""

import asyncio
import os
import subprocess
import sys

import pytest
from serving import Server
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

URLS = """
from django.urls import path

from django_asgi_ext import websocket


@websocket
async def hello(socket):
    await socket.send(f"hello {socket.user}")
    async for message in socket:
        await socket.send(message)


urlpatterns = [path("", hello)]
"""


@pytest.fixture
def project(tmp_path):
    """Return the folder of a new project whose asgi.py imports from here."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("DJANGO_SETTINGS_MODULE", None)

    def django(*arguments):
        subprocess.run(
            [sys.executable, "-m", "django", *arguments],
            cwd=tmp_path,
            env=environment,
            check=True,
            capture_output=True,
        )

    django("startproject", "mysite", str(tmp_path))
    asgi = tmp_path / "mysite" / "asgi.py"
    text = asgi.read_text()
    assert "from django.core.asgi import" in text
    asgi.write_text(text.replace("django.core.asgi", "django_asgi_ext"))
    return tmp_path


@pytest.fixture(params=["hypercorn", "daphne"])
def serve(request, project):
    """Start a server on the project, and stop it in the end."""
    servers = []

    def start():
        path = os.pathsep.join([str(project), *sys.path])
        environment = {"PYTHONPATH": path, "DJANGO_SETTINGS_MODULE": "mysite.settings"}
        servers.append(
            Server(request.param, "mysite.asgi:application", project, environment)
        )
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


async def test_without_a_view(serve):
    """A handshake that no view is there for is denied, without any traceback."""
    server = serve()
    with pytest.raises(InvalidStatus) as error:
        async with connect(server.url("/"), origin=server.url("", "http"), proxy=None):
            pass
    # What Django answers is its welcome page.
    assert error.value.response.status_code == 200
    assert "Django can only handle" not in server.log
    assert "Traceback" not in server.log


async def test_with_a_view(serve, project):
    """With a view at the path it connects and talks."""
    (project / "mysite" / "urls.py").write_text(URLS)
    server = serve()
    async with connect(
        server.url("/"), origin=server.url("", "http"), proxy=None
    ) as websocket:
        assert await asyncio.wait_for(websocket.recv(), 5) == "hello AnonymousUser"
        await websocket.send("again")
        assert await asyncio.wait_for(websocket.recv(), 5) == "again"
    assert "Traceback" not in server.log
