"""The example, as a reader of the README runs it: hypercorn, client.py, a browser."""

import json
import os
import re
from contextlib import closing, contextmanager
from datetime import datetime
from http.client import HTTPConnection
from threading import Thread
from urllib.parse import urlencode, urlsplit

import pytest
from browser import open_browser
from example_site import TIMEOUT, Program, copy_example, run_site
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.server import serve


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Serve a copy of the example with the users of the demo."""
    if os.environ.get("SERVERS") == "none":
        pytest.skip("SERVERS says none.")
    with run_site(copy_example(tmp_path_factory.mktemp("site"))) as site:
        yield site


@pytest.fixture(scope="module")
def session(site):
    """The Cookie header of Ada, who has logged in."""
    return site.log_in("ada")


@pytest.fixture
def ada(site, request):
    """Ada at her terminal, in a room named after the test."""
    with site.terminal("ada", request.node.name) as client:
        client.expect(f"^You are in {request.node.name} as ada")
        yield client


@pytest.fixture
def grace(site, request, ada):
    """Grace at her terminal, who comes after Ada."""
    with site.terminal("grace", request.node.name) as client:
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
    with site.terminal("grace", request.node.name) as second:
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


@contextmanager
def listen(handler):
    """Run a WebSocket server, and yield its URL."""
    with serve(handler, "127.0.0.1", 0) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join()


def test_connection_closed(nobody):
    """client.py says in one line that the server has closed, though nobody types."""
    with (
        listen(lambda socket: socket.close(1012, "back soon")) as url,
        nobody(url) as client,
    ):
        assert client.end() == 1
        assert client.printed == [
            "The connection is closed: "
            "received 1012 (service restart) back soon; "
            "then sent 1012 (service restart) back soon"
        ]


def test_other_events(nobody):
    """client.py prints nothing for what the server says of the room's history."""
    events = [
        {"@id": "chat.lobby@1-0"},
        {"@id": "chat.lobby@1-0", "@missed": True},
        {"type": "welcome", "user": "ada"},
    ]

    def tell(socket):
        for event in events:
            socket.send(json.dumps(event))
        socket.close()

    with listen(tell) as url, nobody(url) as client:
        assert client.end() == 1
        first, last = client.printed
        assert first == "You are in lobby as ada. Ctrl-D leaves."
        assert last.startswith("The connection is closed: received 1000")


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


def hear(websocket):
    """Return what is next said of or in a room, without its place there."""
    while True:
        event = json.loads(websocket.recv(TIMEOUT))
        event = event.get("data", event)
        if "type" in event or "@presence" in event:
            return event


def enter(websocket, name, *here):
    """Expect a welcome, and to be told who is there."""
    present = hear(websocket)
    assert present["@presence"] == "members"
    assert [member["name"] for member in present["members"]] == [*here]
    assert hear(websocket) == {"type": "welcome", "user": name}


def test_what_is_said(site, session):
    """Everybody in a room hears who says what, and when."""
    with site.websocket("/ws/chat/said/", session) as websocket:
        enter(websocket, "ada", "ada")
        websocket.send('{"text": " hello "}')
        heard = hear(websocket)
        assert datetime.fromisoformat(heard.pop("at")).tzinfo
        assert heard == {"type": "message", "user": "ada", "text": "hello"}


def test_coming_back(site, session):
    """Who comes back hears what was said meanwhile, and nothing twice."""
    with site.websocket("/ws/chat/back/", session) as first:
        enter(first, "ada", "ada")
        with site.websocket("/ws/chat/back/", session) as second:
            enter(second, "ada", "ada")
            first.send('{"text": "before"}')
            assert hear(first)["text"] == "before"
            before = json.loads(second.recv(TIMEOUT))
        first.send('{"text": "meanwhile"}')
        assert hear(first)["text"] == "meanwhile"
        query = urlencode({"last_id": before["@id"]})
        with site.websocket(f"/ws/chat/back/?{query}", session) as second:
            assert hear(second)["text"] == "meanwhile"
            enter(second, "ada", "ada")


def test_rooms(site, session, ada, request):
    """The page of the rooms lists those where somebody is, and who."""
    name = request.node.name
    page = site.page("/", session)
    [here] = re.findall(rf">{name}</a>\s*<span class=\"hint\">(.*?)</span>", page)
    assert here == "ada"
    ada.end_input()
    assert ada.end() == 0
    site.server.expect(f"WebSocket DISCONNECT /ws/chat/{name}/")
    assert name not in site.page("/", session)


def test_malformed_json(site, session):
    """A message that is no JSON ends the connection with 1007."""
    with site.websocket("/ws/chat/json/", session) as websocket:
        enter(websocket, "ada", "ada")
        websocket.send("{")
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(TIMEOUT)
        assert closed.value.rcvd.code == 1007


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("list", []),
        ("empty", {}),
        ("number", {"text": 1}),
        ("blank", {"text": " "}),
        ("null", None),
    ],
)
def test_bad_message(site, session, kind, message):
    """JSON that is no message is answered with an error, and the chat goes on."""
    # Nobody is just leaving a room of its own.
    with site.websocket(f"/ws/chat/{kind}/", session) as websocket:
        enter(websocket, "ada", "ada")
        websocket.send(json.dumps(message))
        assert hear(websocket)["type"] == "error"
        websocket.send('{"text": "hello"}')
        assert hear(websocket)["text"] == "hello"


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


def test_browser_reconnects(site, browser, ada, request):
    """The page comes back by itself, and nothing is lost that was said meanwhile."""
    browser.driver.get(f"{site.url}/chat/{request.node.name}/")
    browser.log_in("grace", "hopper")
    browser.expect("#status", "Connected")
    browser.say("before")
    ada.expect("^grace: before$")
    browser.expect("#log", "before")
    # As when the user goes to another page, and then back.
    browser.run("dispatchEvent(new Event('pagehide'))")
    ada.expect("^grace left.$")
    browser.expect("#log", "You are not connected any more.")
    ada.say("meanwhile")
    ada.expect("^ada: meanwhile$")
    browser.say("so do I")
    browser.expect("#problem", "This is sent as soon as there is a connection.")
    browser.run("dispatchEvent(new Event('pageshow'))")
    ada.expect("^grace: so do I$")
    browser.expect("#log", "so do I")
    assert browser.messages() == [
        ("grace", "before"),
        ("ada", "meanwhile"),
        ("grace", "so do I"),
    ]
    browser.expect("#status", "Connected")
    browser.expect("#here", "grace (you)")


def test_browser_is_denied(site, browser, request):
    """The page says so when it may not come back, and leads to the login."""
    browser.driver.get(f"{site.url}/chat/{request.node.name}/")
    browser.log_in("ada", "lovelace")
    browser.expect("#status", "Connected")
    browser.driver.delete_cookie("sessionid")
    browser.run("dispatchEvent(new Event('pagehide'))")
    browser.run("dispatchEvent(new Event('pageshow'))")
    browser.expect("#status", "denied the connection: you are not logged in.")
    browser.say("hello")
    browser.expect("#problem", "Not sent: there is no connection.")
    browser.find("#login").click()
    browser.log_in("ada", "lovelace")
    browser.expect("#status", "Connected")
