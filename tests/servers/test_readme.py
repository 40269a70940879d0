"""The README and the page on testing: what they show runs as written."""

import asyncio
import os
import re
import subprocess
import sys

import pytest
from django.urls import path
from documents import blocks
from serving import Server
from test_pytest_plugin import plugin_options
from websockets.asyncio.client import connect

PYTHON = [*blocks("README.md", "python"), *blocks("docs/testing.md", "python")]

# Of the tests among it, in the folder chat.
FILES = ["tests", "test_live", "test_groups", "test_members"]


def run(folder, *arguments):
    """Run Python there; return what it writes once it has succeeded."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "NO_PROXY": "127.0.0.1",
    }
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize("block", PYTHON)
def test_python_compiles(block):
    """Every block of Python is Python."""
    compile(block, "README.md", "exec")


@pytest.fixture
def project(tmp_path):
    """Put the files of the pages into a new project."""
    for arguments in (["startproject", "mysite", "."], ["startapp", "chat"]):
        run(tmp_path, "-m", "django", *arguments)
    written = set()
    for block in PYTHON:
        name = re.match(r"# ((?:\w+/)?\w+\.py)\n", block)
        if name is not None:
            (tmp_path / name[1]).write_text(block)
            written.add(name[1])
    assert written == {
        "mysite/asgi.py",
        "chat/views.py",
        "mysite/urls.py",
        "conftest.py",
        *(f"chat/{name}.py" for name in FILES),
    }
    return tmp_path


def test_tests(project):
    """The tests of the pages pass in a new project."""
    (project / "chat/test_members.py").unlink()
    assert "Ran 5 tests" in run(project, "manage.py", "test")


def test_tests_below_pytest(project):
    """The tests of the pages pass in a new project below pytest-django."""
    pytest.importorskip("pytest_django", reason="pip install pytest-django")
    files = [f"chat/{name}.py" for name in FILES]
    options = ["--ds=mysite.settings", *plugin_options()]
    assert "6 passed" in run(project, "-m", "pytest", *options, *files)


async def test_quick_start(project):
    """The quick start, put into a new project, connects and talks."""
    path = os.pathsep.join([str(project), *sys.path])
    server = Server(
        "hypercorn", "mysite.asgi:application", project, {"PYTHONPATH": path}
    )
    try:
        async with connect(
            server.url("/ws/chat/lobby/"), origin=server.url("", "http"), proxy=None
        ) as websocket:
            await websocket.send("hello")
            answer = await asyncio.wait_for(websocket.recv(), 5)
            assert answer == "AnonymousUser in lobby: hello"
    finally:
        server.stop()


async def test_class_based_view(request, capsys):
    """The class of the README echoes and counts."""
    (block,) = [block for block in PYTHON if "class Echo" in block]
    namespace = {}
    exec(block, namespace)
    # By name, for connect() is the client's here.
    peer = request.getfixturevalue("connect")(
        namespace["Echo"].as_view(), subprotocols=["echo.v1"]
    )
    assert (await peer.accepted())["subprotocol"] == "echo.v1"
    await peer.say("hello")
    assert await peer.hear() == "hello"
    await peer.leave(1001)
    assert capsys.readouterr().out == "1 messages, closed with 1001\n"


async def test_async_test(urls):
    """The async test of the README passes."""
    namespace = {"__name__": "chat"}
    for block in PYTHON:
        if block.startswith("# chat/views.py") or "import AsyncClient" in block:
            exec(block, namespace)
    urls(path("ws/chat/<slug:room>/", namespace["chat"]))
    await namespace["test_answer"]()
