"""The README: what it shows runs as written."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.urls import path
from serving import Server
from websockets.asyncio.client import connect

README = Path(__file__).parents[2] / "README.md"


def blocks(language):
    """Return the README's blocks of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), re.M | re.S)


@pytest.mark.parametrize("block", blocks("python"))
def test_python_compiles(block):
    """Every block of Python is Python."""
    compile(block, "README.md", "exec")


@pytest.fixture
def project(tmp_path):
    """Put the files of the README into a new project."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    for arguments in (["startproject", "mysite", "."], ["startapp", "chat"]):
        subprocess.run(
            [sys.executable, "-m", "django", *arguments],
            cwd=tmp_path,
            env=environment,
            check=True,
        )
    written = set()
    for block in blocks("python"):
        name = re.match(r"# (\w+/\w+\.py)\n", block)
        if name is not None:
            (tmp_path / name[1]).write_text(block)
            written.add(name[1])
    assert written == {
        "mysite/asgi.py",
        "chat/views.py",
        "mysite/urls.py",
        "chat/tests.py",
        "chat/test_live.py",
    }
    return tmp_path


def test_tests(project):
    """The tests of the README pass in a new project."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "NO_PROXY": "127.0.0.1",
    }
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    tests = subprocess.run(
        [sys.executable, "manage.py", "test"],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert tests.returncode == 0, tests.stderr
    assert "Ran 4 tests" in tests.stderr


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
    (block,) = [block for block in blocks("python") if "class Echo" in block]
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
    for block in blocks("python"):
        if block.startswith("# chat/views.py") or "import AsyncClient" in block:
            exec(block, namespace)
    urls(path("ws/chat/<slug:room>/", namespace["chat"]))
    await namespace["test_answer"]()
