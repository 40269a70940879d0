"""The example, as a reader of the README runs it: hypercorn, client.py, a browser."""

import asyncio
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from time import monotonic
from urllib.parse import urlsplit

import pytest
from browser import open_browser
from django.contrib.auth.models import User
from django.urls import path
from peer import Peer, websocket_scope
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import serve

import django_asgi_ext
from django_asgi_ext import ASGIHandler, websocket

EXAMPLE = Path(__file__).resolve().parents[1] / "example"

# How long anything may take, in seconds, on a machine with other things to do.
TIMEOUT = 30


def environment():
    """Return an environment in which programs find the package but no settings."""
    paths = [str(Path(django_asgi_ext.__file__).parents[1])]
    if os.environ.get("PYTHONPATH"):
        paths.append(os.environ["PYTHONPATH"])
    changed = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONIOENCODING": "utf-8",
    }
    changed.pop("DJANGO_SETTINGS_MODULE", None)
    return changed


class Program:
    """A Python program in a process group of its own, and the lines it prints."""

    def __init__(self, *arguments, cwd):
        self.printed = []
        self._lines = Queue()
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=cwd,
            env=environment(),
            encoding="utf-8",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = Thread(target=self._read)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self._process.terminate()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            pass
        # From Python 3.12 on hypercorn waits for open connections, and the
        # process that serves is a child of the one that was started.
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()
        self._reader.join()
        self._process.stdin.close()
        self._process.stdout.close()

    def say(self, line):
        """Type a line."""
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def end_input(self):
        """Type Ctrl-D."""
        self._process.stdin.close()

    def interrupt(self):
        """Type Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def expect(self, pattern):
        """Wait for a line with the pattern in it and return the match."""
        deadline = monotonic() + TIMEOUT
        while True:
            try:
                line = self._lines.get(timeout=max(0, deadline - monotonic()))
            except Empty:
                line = None
            if line is None:
                text = "\n".join(self.printed)
                raise AssertionError(f"No line with {pattern!r} in:\n{text}")
            match = re.search(pattern, line)
            if match:
                return match

    def end(self):
        """Wait for the end and return the exit code."""
        code = self._process.wait(timeout=TIMEOUT)
        self._reader.join()
        return code

    def _read(self):
        for line in self._process.stdout:
            self.printed.append(line.rstrip("\n"))
            self._lines.put(line)
        self._lines.put(None)


class Site:
    """The example, served at a port that the system has picked."""

    def __init__(self, folder, server, url):
        self.folder = folder
        self.server = server
        self.url = url

    def websocket(self, path, **options):
        """Return a connection of nobody to a WebSocket URL."""
        return connect(
            "ws" + self.url.removeprefix("http") + path,
            open_timeout=TIMEOUT,
            close_timeout=TIMEOUT,
            **options,
        )

    def client(self, *arguments):
        """Start client.py."""
        return Program("client.py", *arguments, "--url", self.url, cwd=self.folder)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Serve a copy of the example with the users of the demo."""
    if os.environ.get("SERVERS") == "none":
        pytest.skip("SERVERS says none.")
    folder = tmp_path_factory.mktemp("site") / "example"
    shutil.copytree(
        EXAMPLE, folder, ignore=shutil.ignore_patterns("*.sqlite3", "__pycache__")
    )
    with Program("manage.py", "demo", cwd=folder) as demo:
        assert demo.end() == 0, demo.printed
    server = ["-m", "hypercorn", "--bind", "127.0.0.1:0", "mysite.asgi:application"]
    with Program(*server, cwd=folder) as hypercorn:
        url = hypercorn.expect(r"Running on (http://\S+)")[1]
        yield Site(folder, hypercorn, url)


@pytest.fixture
def ada(site, request):
    """Ada at her terminal, in a room named after the test."""
    arguments = ["ada", "--password", "lovelace", "--room", request.node.name]
    with site.client(*arguments) as client:
        client.expect(f"^You are in {request.node.name} as ada")
        yield client


@pytest.fixture
def grace(site, request, ada):
    """Grace at her terminal, who comes after Ada."""
    arguments = ["grace", "--password", "hopper", "--room", request.node.name]
    with site.client(*arguments) as client:
        client.expect("^Here now: ada, grace$")
        yield client


def test_demo_twice(site):
    """A second run of the demo command puts the passwords back and adds nobody."""
    with Program("manage.py", "demo", cwd=site.folder) as demo:
        assert demo.end() == 0
        assert demo.printed == [
            f"Database: {site.folder / 'db.sqlite3'}",
            "User: ada, password: lovelace (password set again)",
            "User: grace, password: hopper (password set again)",
        ]


def test_two_terminals(ada, grace):
    """Two users read each other, and see each other come and go."""
    ada.expect("^grace joined.$")
    ada.say("hello, Grace")
    grace.expect("^ada: hello, Grace$")
    grace.say("  héllo, Ada <b>  ")
    ada.expect("^grace: héllo, Ada <b>$")
    grace.end_input()
    ada.expect("^grace left.$")
    assert grace.end() == 0
    ada.interrupt()
    assert ada.end() == 0
    assert "Traceback" not in "\n".join(ada.printed + grace.printed)


def test_lines_of_a_pipe(ada, grace):
    """All lines of the input are said, and heard, before client.py ends."""
    for line in ("one", "", "two", "three"):
        grace.say(line)
    grace.end_input()
    assert grace.end() == 0
    said = ["grace: one", "grace: two", "grace: three"]
    assert grace.printed[-3:] == said
    ada.expect("^grace left.$")
    assert ada.printed[-5:] == ["grace joined.", *said, "grace left."]


def test_one_user_twice(site, ada, grace, request):
    """A user with two terminals joins once and leaves with the second of them."""
    ada.expect("^grace joined.$")
    arguments = ["grace", "--password", "hopper", "--room", request.node.name]
    with site.client(*arguments) as second:
        second.expect("^Here now: ada, grace$")
        grace.end_input()
        assert grace.end() == 0
        second.say("still here")
        ada.expect("^grace: still here$")
    ada.expect("^grace left.$")
    assert [line for line in ada.printed if line.startswith("grace ")] == [
        "grace joined.",
        "grace left.",
    ]


def test_message_too_long(ada, grace):
    """Who sends too much is told so; the others hear nothing of it."""
    ada.say("x" * 1001)
    ada.expect("^Not sent: A message has at most 1000 characters, not 1001.$")
    ada.say("y" * 1000)
    grace.expect("^ada: y{1000}$")
    assert not any("xx" in line for line in grace.printed)


def test_escape_sequences(ada, grace):
    """client.py prints what others say as one line, and nothing that moves a cursor."""
    ada.say("\x1b[2J\x85bye")
    grace.expect("^ada: \ufffd\\[2J\ufffdbye$")


def test_wrong_password(site):
    """client.py says in one line that the password is wrong."""
    with site.client("ada", "--password", "hopper") as client:
        assert client.end() == 1
        assert client.printed == ["The server knows no user 'ada' with this password."]


def test_no_server(site, unused_tcp_port):
    """client.py says in one line that no server answers."""
    url = f"http://127.0.0.1:{unused_tcp_port}"
    with Program(
        "client.py", "ada", "--password", "lovelace", "--url", url, cwd=site.folder
    ) as client:
        assert client.end() == 1
        assert client.printed == [
            f"No server answers at {url}: [Errno 111] Connection refused"
        ]


def test_no_such_room(site):
    """client.py says in one line that the handshake is denied."""
    with site.client("ada", "--password", "lovelace", "--room", "a b") as client:
        assert client.end() == 1
        assert client.printed == [
            "The server denied the handshake for /ws/chat/a%20b/: 404 Not Found"
        ]


def test_anonymous(site):
    """Who is not logged in is denied with a redirect to the login page."""
    server = HTTPConnection(urlsplit(site.url).netloc, timeout=TIMEOUT)
    with closing(server):
        handshake = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version": "13",
        }
        server.request("GET", "/ws/chat/lobby/", headers=handshake)
        response = server.getresponse()
        assert response.status == 302
        assert response.headers["Location"] == "/accounts/login/?next=/ws/chat/lobby/"


@pytest.fixture
def nobody(site):
    """Start client.py without its login: it joins a room with no cookies."""
    code = """
import asyncio, sys
import client
try:
    asyncio.run(client.chat(sys.argv[1], "lobby", client.CookieJar()))
except client.Failure as failure:
    sys.exit(str(failure))
"""
    return lambda url: Program("-c", code, url, cwd=site.folder)


def test_session_lost(site, nobody):
    """client.py says in one line where its handshake was redirected to."""
    with nobody(site.url) as client:
        assert client.end() == 1
        assert client.printed == [
            "The server denied the handshake for /ws/chat/lobby/: "
            "302 Found, see /accounts/login/?next=/ws/chat/lobby/"
        ]


def test_connection_closed(nobody):
    """client.py says in one line that the server has closed, though nobody types."""
    with serve(
        lambda socket: socket.close(1012, "back soon"), "127.0.0.1", 0
    ) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        port = server.socket.getsockname()[1]
        with nobody(f"http://127.0.0.1:{port}") as client:
            assert client.end() == 1
            assert client.printed == [
                "The connection is closed: "
                "received 1012 (service restart) back soon; "
                "then sent 1012 (service restart) back soon"
            ]
        server.shutdown()
        thread.join()


def test_foreign_origin(site):
    """A page of another site opens no WebSocket."""
    with pytest.raises(InvalidStatus) as denied:
        site.websocket("/ws/echo/", origin="https://evil.example")
    assert denied.value.response.status_code == 403


def test_echo(site):
    """Anybody hears what he has said, text or bytes."""
    with site.websocket("/ws/echo/") as websocket:
        websocket.send("héllo")
        assert websocket.recv(TIMEOUT) == "héllo"
        websocket.send(b"\0\xff")
        assert websocket.recv(TIMEOUT) == b"\0\xff"


@pytest.fixture
def session(site):
    """The Cookie header of Ada, who has logged in."""
    code = (
        "import sys, client; cookies = client.log_in(sys.argv[1], 'ada', 'lovelace');"
        "print('; '.join(f'{c.name}={c.value}' for c in cookies))"
    )
    with Program("-c", code, site.url, cwd=site.folder) as program:
        assert program.end() == 0, program.printed
    return {"Cookie": program.printed[0]}


def test_malformed_json(site, session):
    """A message that is no JSON ends the connection with 1007."""
    with site.websocket("/ws/chat/json/", additional_headers=session) as websocket:
        assert json.loads(websocket.recv(TIMEOUT))["type"] == "welcome"
        websocket.send("{")
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(TIMEOUT)
        assert closed.value.rcvd.code == 1007


@pytest.mark.parametrize("message", [[], {}, {"text": 1}, {"text": " "}, None])
def test_bad_message(site, session, message):
    """JSON that is no message is answered with an error, and the chat goes on."""
    with site.websocket("/ws/chat/bad/", additional_headers=session) as websocket:
        assert json.loads(websocket.recv(TIMEOUT))["type"] == "welcome"
        websocket.send(json.dumps(message))
        assert json.loads(websocket.recv(TIMEOUT))["type"] == "error"
        websocket.send('{"text": "hello"}')
        assert json.loads(websocket.recv(TIMEOUT))["text"] == "hello"


@pytest.fixture
def rooms(monkeypatch):
    """The module that keeps the rooms, in this process."""
    monkeypatch.syspath_prepend(EXAMPLE)
    yield importlib.import_module("chat.rooms")
    for name in ("chat", "chat.rooms"):
        del sys.modules[name]


@pytest.fixture
def enter(rooms, urls):
    """Make a user of that name enter the room and say what the peer says."""

    @websocket
    async def view(socket, name):
        socket.request.user = User(username=name)
        await socket.accept()
        async with rooms.join("room", socket) as member:
            async for message in socket:
                member.say(message)

    urls(path("ws/<slug:name>/", view))

    async def enter(name, application=None):
        peer = Peer(application or ASGIHandler(), websocket_scope(f"/ws/{name}/"))
        await peer.accepted()
        return peer

    return enter


def stalled(reads):
    """Return an application for a client that accepts no data before it reads."""

    async def application(scope, receive, send):
        async def send_when_it_reads(event):
            if event["type"] == "websocket.send":
                await reads.wait()
            await send(event)

        await ASGIHandler()(scope, receive, send_when_it_reads)

    return application


async def hear(peer):
    """Return the next event that a member gets."""
    return json.loads(await peer.hear())


async def test_slow_member_holds_up_nobody(enter):
    """What is said reaches all others at once if one does not read."""
    ada = await enter("ada")
    assert await hear(ada) == {"type": "welcome", "user": "ada", "here": ["ada"]}
    grace = await enter("grace", stalled(asyncio.Event()))
    here = ["ada", "grace"]
    assert await hear(ada) == {"type": "join", "user": "grace", "here": here}
    for text in ("one", "two"):
        await ada.say(text)
        assert (await hear(ada))["text"] == text
    await grace.leave()
    assert await hear(ada) == {"type": "leave", "user": "grace", "here": ["ada"]}
    await ada.leave()


async def test_slow_member_is_closed(enter, rooms, monkeypatch):
    """A member that does not read for too long is closed and leaves the room."""
    monkeypatch.setattr(rooms, "SEND_TIMEOUT", 0.1)
    ada = await enter("ada")
    grace = await enter("grace", stalled(asyncio.Event()))
    assert await grace.closed() == (1013, "too slow")
    assert [(await hear(ada))["type"] for _ in range(3)] == ["welcome", "join", "leave"]
    assert rooms.list_rooms() == [("room", ["ada"])]
    await ada.leave()
    assert rooms.list_rooms() == []


async def test_member_far_behind_is_closed(enter, rooms, monkeypatch):
    """A member for whom too much waits is closed, though it reads in the end."""
    monkeypatch.setattr(rooms, "MAX_WAITING", 1)
    ada = await enter("ada")
    assert (await hear(ada))["type"] == "welcome"
    reads = asyncio.Event()
    grace = await enter("grace", stalled(reads))
    assert (await hear(ada))["type"] == "join"
    for text in ("waits", "is one too many"):
        await ada.say(text)
        assert (await hear(ada))["text"] == text
    reads.set()
    assert (await hear(grace))["type"] == "welcome"
    assert await grace.closed() == (1013, "too slow")
    assert (await hear(ada))["type"] == "leave"
    await ada.leave()


@pytest.fixture
def browser(tmp_path):
    """Chromium, without a window."""
    with open_browser(tmp_path) as browser:
        yield browser


def test_browser(site, browser, ada, grace, request):
    """A browser and two terminals chat; what they say is text, never markup."""
    browser.driver.get(f"{site.url}/chat/{request.node.name}/")
    browser.log_in("grace", "nonsense")
    browser.expect("[role=alert]", "No user has this name and password.")
    browser.driver.get(f"{site.url}/chat/{request.node.name}/")
    browser.log_in("ada", "lovelace")
    browser.expect("#status", "Connected")
    browser.expect("#user", "ada")
    browser.expect("#here", "ada (you)")
    browser.expect("#here", "grace")

    browser.say("hello from the browser")
    ada.expect("^ada: hello from the browser$")
    grace.expect("^ada: hello from the browser$")
    grace.say("<img src=x onerror=alert(1)>")
    browser.expect("#log", "<img src=x onerror=alert(1)>")
    ada.say("hello from the terminal")
    browser.expect("#log", "hello from the terminal")
    assert browser.messages() == [
        ("ada", "hello from the browser"),
        ("grace", "<img src=x onerror=alert(1)>"),
        ("ada", "hello from the terminal"),
    ]
    assert not browser.driver.find_elements("css selector", "#log img")
    grace.end_input()
    browser.expect("#log", "grace left.")
    errors = [
        entry for entry in browser.driver.get_log("browser") if "chat.js" in str(entry)
    ]
    assert not errors


def test_browser_reconnects(site, browser, request):
    """The page comes back by itself, and says so when it may not come back."""
    browser.driver.get(f"{site.url}/chat/{request.node.name}/")
    browser.log_in("ada", "lovelace")
    browser.expect("#status", "Connected")
    browser.driver.execute_script("socket.close(4000)")
    browser.expect("#log", "You are not connected any more.")
    browser.expect("#status", "Connected")
    browser.say("back again")
    browser.expect("#log", "back again")

    browser.driver.delete_cookie("sessionid")
    browser.driver.execute_script("socket.close(4000)")
    browser.expect("#status", "denied the connection: you are not logged in.")
    browser.find("#login").click()
    browser.log_in("ada", "lovelace")
    browser.expect("#status", "Connected")
