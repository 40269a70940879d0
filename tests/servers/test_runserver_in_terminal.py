"""manage.py runserver, as a developer uses it: in a terminal, editing."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from importlib.metadata import version
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

import pytest
from browser import open_browser
from serving import free_port
from terminal import TIMEOUT, Terminal
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect

VIEWS = """
import asyncio
import time

from django.http import HttpResponse

from django_asgi_ext import websocket

VERSION = 1

PAGE = '''
<p id="said"></p>
<script>
function connect() {
  const socket = new WebSocket(`ws://${location.host}/ws/`);
  socket.onmessage = ({ data }) => (said.textContent = data);
  socket.onclose = () => setTimeout(connect, 100);
}
connect();
</script>
'''


def page(request):
    return HttpResponse(PAGE)


def stuck(request):
    print("stuck", flush=True)
    time.sleep(50)


@websocket
async def talk(socket):
    await socket.send(f"version {VERSION}")
    async for message in socket:
        raise ValueError


@websocket
async def slow(socket):
    await socket.send(f"version {VERSION}")
    try:
        await socket.recv()
    finally:
        await asyncio.sleep(0.4)
        print("cleaned up", flush=True)
"""
URLS = """
from django.urls import path

from mysite import views

urlpatterns = [
    path("", views.page),
    path("stuck/", views.stuck),
    path("ws/", views.talk),
    path("ws/slow/", views.slow),
]
"""

open_url = build_opener(ProxyHandler({})).open


class Project:
    """A project as django-admin makes it, and what runs it in a terminal."""

    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()
        self._terminals = []
        # What is edited twice in a second would be taken from __pycache__.
        self._environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "PYTHONDONTWRITEBYTECODE": "1",
            "DJANGO_COLORS": "dark",
            "PYTHON_COLORS": "0",
        }
        self._environment.pop("DJANGO_SETTINGS_MODULE", None)
        subprocess.run(
            [sys.executable, "-m", "django", "startproject", "mysite", str(folder)],
            env=self._environment,
            check=True,
        )
        self.edit("asgi.py", "django.core.asgi", "django_asgi_ext")
        self.edit("settings.py", "APPS = [", 'APPS = ["django_asgi_ext",')
        (folder / "mysite" / "views.py").write_text(VIEWS)
        (folder / "mysite" / "urls.py").write_text(URLS)

    def edit(self, name, old, new):
        """Replace a text in one of the modules."""
        path = self.folder / "mysite" / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def save(self, terminal, name, old, new):
        """Do the same while the autoreloader looks, until it has noticed."""
        self.edit(name, old, new)
        deadline = time.monotonic() + TIMEOUT
        while f"{name} changed, reloading." not in terminal.output:
            if time.monotonic() > deadline:
                pytest.fail(terminal.output)
            # It does not see what was saved before it has looked for the first time.
            (self.folder / "mysite" / name).touch()
            time.sleep(0.1)

    def runserver(self, *options):
        """Start the command in a terminal."""
        address = f"127.0.0.1:{self.port}"
        terminal = Terminal(
            self.folder, self._environment, "manage.py", "runserver", address, *options
        )
        self._terminals.append(terminal)
        return terminal

    def get(self, path):
        """Return the status of a page, once there is a server."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                url = f"http://127.0.0.1:{self.port}{path}"
                return open_url(url, timeout=TIMEOUT).status
            except HTTPError as error:
                return error.status
            except OSError:
                if time.monotonic() > deadline:
                    pytest.fail(self._terminals[-1].output)
                time.sleep(0.05)

    @contextmanager
    def connect(self, said, path="/ws/"):
        """Connect a WebSocket, once the server says that."""
        deadline = time.monotonic() + TIMEOUT
        url = f"ws://127.0.0.1:{self.port}{path}"
        while True:
            try:
                with connect(url, proxy=None, open_timeout=TIMEOUT) as websocket:
                    assert websocket.recv(TIMEOUT) == said
                    yield websocket
                    return
            except (OSError, InvalidHandshake):
                if time.monotonic() > deadline:
                    pytest.fail(self._terminals[-1].output)
                time.sleep(0.05)

    def close(self):
        """End everything."""
        for terminal in self._terminals:
            terminal.close()


@pytest.fixture(params=["hypercorn"])
def project(request, tmp_path):
    """A new project with a page and a WebSocket."""
    project = Project(tmp_path)
    yield project
    project.close()


def code_of_close(websocket):
    """Wait for the close of a WebSocket, and return its code."""
    with pytest.raises(ConnectionClosed) as error:
        websocket.recv(TIMEOUT)
    return error.value.rcvd and error.value.rcvd.code


@contextmanager
def stuck_view(project, terminal):
    """Ask for a page that takes longer than any test."""

    def ask():
        with pytest.raises(OSError):
            open_url(f"http://127.0.0.1:{project.port}/stuck/", timeout=TIMEOUT)

    thread = threading.Thread(target=ask)
    thread.start()
    terminal.wait_for("stuck\n")
    yield
    thread.join()


with_and_without_reload = pytest.mark.parametrize(
    "options", [[], ["--noreload"]], ids=["reload", "noreload"]
)


@with_and_without_reload
def test_control_c(project, options):
    """Control-C closes what is open with 1012, and views may clean up."""
    terminal = project.runserver(*options)
    with project.connect("version 1", "/ws/slow/") as websocket:
        terminal.press_control_c()
        assert code_of_close(websocket) == 1012
    assert terminal.wait() == 0
    assert "cleaned up" in terminal.output
    assert "Traceback" not in terminal.output


def test_interrupt_of_one_process(project):
    """SIGINT to the process that was started, and to no other, ends both."""
    terminal = project.runserver()
    assert project.get("/") == 200
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.wait() == 0
    # The other would still have the port.
    socket.create_server(("127.0.0.1", project.port)).close()


@with_and_without_reload
def test_control_c_in_a_stuck_view(project, options):
    """A thread in which a view does not end keeps nobody waiting."""
    terminal = project.runserver(*options)
    assert project.get("/") == 200
    with stuck_view(project, terminal):
        terminal.press_control_c()
        assert terminal.wait() == 0


def test_reload(project):
    """When a view is edited, what is open is closed with 1012 and finds the new one."""
    terminal = project.runserver()
    with project.connect("version 1") as websocket:
        project.save(terminal, "views.py", "VERSION = 1", "VERSION = 2")
        assert code_of_close(websocket) == 1012
    with project.connect("version 2"):
        assert "Traceback" not in terminal.output


def test_reload_in_a_stuck_view(project):
    """A thread in which a view does not end does not hold the new code up."""
    terminal = project.runserver()
    assert project.get("/") == 200
    with stuck_view(project, terminal):
        project.save(terminal, "views.py", "VERSION = 1", "VERSION = 2")
    with project.connect("version 2"):
        pass


def test_mend(project):
    """An asgi.py that fails is reported, and served once it is mended."""
    project.edit("asgi.py", "application =", "application = nothing\nx =")
    terminal = project.runserver()
    terminal.wait_for(
        "NameError: name 'nothing' is not defined\n"
        "The ASGI application 'mysite.asgi.application' cannot be imported.\n"
    )
    project.save(terminal, "asgi.py", "application = nothing\nx =", "application =")
    with project.connect("version 1"):
        pass


def test_lines(project):
    """Pages, static files and WebSockets have a line each, coloured by the outcome."""
    terminal = project.runserver("--noreload")
    with project.connect("version 1") as websocket:
        project.get("/?a=%20")
        project.get("/static/nothing.css")
        websocket.send("fail")
        assert code_of_close(websocket) == 1011
    for line in (
        "\x1b[1mWebSocket CONNECT /ws/\x1b[0m\n",
        '"GET /?a=%20 HTTP/1.1" 200 ',
        '\x1b[33m"GET /static/nothing.css HTTP/1.1" 404 ',
        "\x1b[35;1mWebSocket DISCONNECT /ws/ 1011 ",
    ):
        terminal.wait_for(line)


def test_banner(project):
    """The banner names server and address; migrations that lack are told."""
    terminal = project.runserver("--noreload")
    with project.connect("version 1"):
        pass
    assert (
        f"\nStarting ASGI/hypercorn version {version('hypercorn')} development server "
        f"at http://127.0.0.1:{project.port}/\n"
    ) in terminal.output
    assert "unapplied migration(s)" in terminal.output
    assert "asgi_ext." not in terminal.output


@pytest.mark.parametrize(
    "debug, options, status",
    [
        (True, [], 200),
        (True, ["--nostatic"], 404),
        (False, [], 404),
        (False, ["--insecure"], 200),
    ],
)
def test_static_files(project, debug, options, status):
    """Static files are served as by Django's runserver."""
    if not debug:
        project.edit("settings.py", "DEBUG = True", "DEBUG = False")
        project.edit("settings.py", "HOSTS = []", "HOSTS = ['127.0.0.1']")
    project.runserver("--noreload", *options)
    assert project.get("/static/admin/css/base.css") == status


def test_port_in_use(project):
    """Where somebody listens already, Django's line says so."""
    with socket.create_server(("127.0.0.1", project.port)):
        terminal = project.runserver("--noreload")
        assert terminal.wait() == 1
    assert "Error: That port is already in use.\n" in terminal.output
    assert "Traceback" not in terminal.output


def test_no_application(project):
    """A project without asgi.py is told so in one line."""
    (project.folder / "mysite" / "asgi.py").unlink()
    terminal = project.runserver("--noreload")
    assert terminal.wait() == 1
    assert (
        "CommandError: There is no module 'mysite.asgi', so no ASGI application "
        "'mysite.asgi.application'. Write it, or set ASGI_APPLICATION to the dotted "
        "path of another.\n"
    ) in terminal.output
    assert "Traceback" not in terminal.output


def test_page_in_a_browser(project, tmp_path_factory):
    """A page that connects again talks to the new code, within seconds of the edit."""
    with open_browser(tmp_path_factory.mktemp("browser")) as browser:
        terminal = project.runserver()
        assert project.get("/") == 200
        browser.driver.get(f"http://127.0.0.1:{project.port}/")
        browser.expect("#said", "version 1")
        begin = time.monotonic()
        project.save(terminal, "views.py", "VERSION = 1", "VERSION = 2")
        browser.expect("#said", "version 2")
        seconds = time.monotonic() - begin
    print(f"The page had the new code after {seconds:.1f} seconds.")
    # Three where nothing else runs.
    assert seconds < 12
