"""The example with two workers and Redis, as the README starts it."""

import json
import os
import re
import signal
from contextlib import ExitStack
from urllib.parse import urlencode

import pytest
from browser import open_browser
from documents import blocks
from example_site import TIMEOUT, Program, copy_example, run_site
from redis_server import free_port

pytest_plugins = ["redis_fixtures"]

# Two servers, Redis and a browser begin, some of them twice.
pytestmark = pytest.mark.timeout(180)

# How many connections may all come to one worker by chance.
ATTEMPTS = 100


class Member:
    """A client that goes on where it was."""

    def __init__(self, stack, site, session, room):
        self._stack = stack
        self._session = session
        self._room = room
        self._last_id = None
        self.connect(site)

    def connect(self, site):
        """Connect and wait for the welcome, which comes after what was missed."""
        query = {} if self._last_id is None else {"last_id": self._last_id}
        path = f"/ws/chat/{self._room}/?{urlencode(query)}"
        websocket = site.websocket(path, self._session)
        self.socket = self._stack.enter_context(websocket)
        self.heard = []
        self.here = []
        self._until(lambda event: event.get("type") == "welcome")
        line = rf"(\d+) INFO WebSocket CONNECT /ws/chat/{self._room}/"
        # The process that serves it.
        self.pid = int(site.server.expect(line)[1])

    def say(self, text):
        self.socket.send(json.dumps({"text": text}))

    def hear(self, text):
        """Wait until somebody says a text; return all that was said until then."""
        self._until(lambda event: event.get("text") == text)
        return self.heard

    def meet(self, *names):
        """Wait until these users are there, and nobody else."""
        if self.here != sorted(names):
            self._until(lambda event: self.here == sorted(names))

    def _until(self, condition):
        while True:
            event = json.loads(self.socket.recv(TIMEOUT))
            self._last_id = event.get("@id", self._last_id)
            event = event.get("data", event)
            self._take(event)
            if condition(event):
                return

    def _take(self, event):
        match event:
            case {"type": "message", "user": user, "text": text}:
                self.heard.append((user, text))
            case {"@presence": "members", "members": members}:
                self.here = sorted(member["name"] for member in members)
            case {"@presence": "join", "member": {"name": name}}:
                self.here = sorted({*self.here, name})
            case {"@presence": "leave", "member": {"name": name}}:
                self.here = [one for one in self.here if one != name]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of the example with the users of the demo."""
    return copy_example(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def options():
    """What the README gives hypercorn."""
    [block] = [block for block in blocks("README.md", "sh") if "REDIS_URL" in block]
    options = re.search(r"REDIS_URL=\S+ \S+hypercorn (.*) mysite.asgi", block)[1]
    return options.split()


@pytest.fixture
def settings(shared_redis):
    """The environment variable that the settings of the example read."""
    return {"REDIS_URL": shared_redis.url}


@pytest.fixture
def serve(folder, options, settings):
    """Return a function that serves the example, at the same port each time."""
    port = free_port()
    return lambda: run_site(folder, *options, port=port, **settings)


@pytest.fixture
def enter(request):
    """Return a function that lets somebody enter a room named after the test."""
    with ExitStack() as stack:
        yield lambda site, session: Member(stack, site, session, request.node.name)


def enter_elsewhere(enter, site, session, member):
    """Let somebody enter in a process other than that of a member."""
    for _ in range(ATTEMPTS):
        other = enter(site, session)
        if other.pid != member.pid:
            return other
        other.socket.close()
    raise AssertionError(f"All {ATTEMPTS} connections came to one worker.")


def test_workers(serve, enter, request):
    """Users of two workers chat, see each other come and go, and are on the page."""
    room = request.node.name
    with serve() as site:
        sessions = {name: site.log_in(name) for name in ("ada", "grace")}
        ada = enter(site, sessions["ada"])
        grace = enter_elsewhere(enter, site, sessions["grace"], ada)
        second = enter_elsewhere(enter, site, sessions["ada"], ada)
        for member in (ada, grace, second):
            member.meet("ada", "grace")
        for speaker in (ada, grace, second):
            speaker.say(f"I am in {speaker.pid}.")
            for member in (ada, grace, second):
                member.hear(f"I am in {speaker.pid}.")
        assert ada.heard == grace.heard == second.heard
        for _ in range(4):
            page = site.page("/", sessions["ada"])
            [here] = re.findall(rf'>{room}</a>\s*<span class="hint">(.*?)<', page)
            assert sorted(here.split(", ")) == ["ada", "grace"]
        with site.terminal("grace", room) as terminal:
            terminal.expect("^Here now: (ada, grace|grace, ada)$")
            ada.say("hello, terminal")
            terminal.expect("^ada: hello, terminal$")
        second.socket.close()
        ada.socket.close()
        grace.meet("grace")


def test_worker_is_killed(serve, enter, folder, settings, tmp_path, request):
    """Whoever was in a worker that dies comes back, and has missed nothing."""
    room = request.node.name
    with ExitStack() as stack:
        with serve() as site:
            ada = enter(site, site.log_in("ada"))
            browser = stack.enter_context(open_browser(tmp_path))
            browser.driver.get(f"{site.url}/chat/{room}/")
            browser.log_in("grace", "hopper")
            browser.expect("#status", "Connected")
            browser.say("before")
            ada.hear("before")
            browser.expect("#log", "before")
            os.kill(ada.pid, signal.SIGKILL)
            # Hypercorn does not go on without it, and nothing starts it again here.
            assert site.server.end() == 0
        browser.expect("#log", "You are not connected any more.")
        said = {"type": "message", "user": "a script", "text": "meanwhile", "at": None}
        code = f"""
from django_asgi_ext import groups
groups.publish("chat.{room}", {said!r})
"""
        shell = ["manage.py", "shell", "-c", code]
        with Program(*shell, cwd=folder, **settings) as script:
            assert script.end() == 0, script.printed
        site = stack.enter_context(serve())
        ada.connect(site)
        assert ada.heard == [("a script", "meanwhile")]
        browser.expect("#log", "meanwhile")
        browser.expect("#status", "Connected")
        ada.say("after")
        browser.expect("#log", "after")
        assert browser.messages() == [
            ("grace", "before"),
            ("a script", "meanwhile"),
            ("ada", "after"),
        ]
        browser.expect("#here", "grace (you)")
        ada.meet("ada", "grace")


def test_redis_is_away(folder):
    """Without its Redis the page of the rooms says what it does not know."""
    code = "from chat.models import Room; Room.objects.create(name='left')"
    with Program("manage.py", "shell", "-c", code, cwd=folder) as script:
        assert script.end() == 0, script.printed
    with run_site(folder, REDIS_URL=f"redis://127.0.0.1:{free_port()}") as site:
        page = site.page("/", site.log_in("ada"))
    assert "Who is in which room is not known at the moment." in page
