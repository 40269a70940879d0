"""The console: connecting, and what ends a connection."""

import json
import re
import threading
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from browser import ENTER
from django.core.handlers.wsgi import WSGIHandler
from django.test import override_settings
from django.urls import path

from django_asgi_ext import websocket


def test_text(console):
    """A text is sent, and comes back, each with its time and size."""
    console.connect("/echo/")
    console.write(f"héllo{ENTER}")
    assert console.last("received") == console.last("sent") == "héllo"
    for kind, sign in (("sent", "↑"), ("received", "↓")):
        first, way, *_, size, _ = console.find(f".message.{kind}").text.split("\n")
        assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d\d\d", first)
        assert (way, size) == (sign, "6 B")
    assert console.find("#text").get_property("value") == ""


def test_state(console):
    """The page says where the connection stands, in the window's title too."""
    console.visit("/echo/lobby/")
    assert console.state == "Not connected"
    assert console.find("#connect").text == "Connect"
    console.connect()
    assert console.state == "Open, chat.v2"
    assert console.browser.driver.title == "Open, chat.v2: /echo/lobby/"
    assert console.find("#connect").text == "Close"
    console.connect(state="Closed with 1000")
    assert console.find("#connect").text == "Reconnect"
    assert "This page has closed it." in console.last("note")
    console.connect()


def test_query(console):
    """The query of the page is that of the handshake, until another is typed."""
    console.connect("/hello/?room=a%20b&x=1")
    console.wait(lambda: len(console.messages("received")) == 2)
    assert console.messages("received")[0] == "room=a%20b&x=1"
    console.connect(state="Closed")
    console.find("#query").clear()
    console.find("#query").send_keys(f"y=#2{ENTER}")
    console.wait(lambda: console.messages("received")[-2:] == ["y=%232", "none"])
    assert console.browser.driver.current_url.endswith("/hello/?y=%232")


def test_enter_does_not_close(console):
    """Enter in a field does not end a connection."""
    console.connect("/echo/")
    console.find("#query").send_keys(f"a{ENTER}")
    console.write(f"still here{ENTER}")
    assert console.last("received") == "still here"


def test_subprotocols(console):
    """The view's own subprotocols are offered but for those that are unchecked."""
    console.connect("/echo/")
    assert console.state == "Open, chat.v2"
    console.connect(state="Closed")
    console.find("[value='chat.v2']").click()
    console.connect()
    assert console.state == "Open, chat.v1"


def test_other_subprotocols(console):
    """Others can be offered; a browser hangs up if none is taken."""
    console.visit("/hello/")
    console.find("#others").send_keys("mine, yours")
    console.connect(state="No connection")
    assert "takes none of the subprotocols" in console.last("note")


def test_wrong_subprotocol(console):
    """What is no subprotocol is refused on the spot, and said to be wrong."""
    console.visit("/echo/")
    console.find("#others").send_keys(f"in valid{ENTER}")
    console.wait(lambda: "in valid" in console.find("#refusal").text)
    assert console.state == "Not connected"


def test_refused(console):
    """A refusal is explained, with where to look, and nothing is fetched."""
    console.connect("/refuse/", state="No connection")
    note = console.last("note")
    assert note.startswith("Closed with 1006: no connection")
    assert "django.request" in note
    fetched = "return performance.getEntriesByType('resource').map(({name}) => name)"
    parts = {name.rpartition("=")[2] for name in console.run(fetched)}
    assert parts == {"style.css", "script.js"}


def test_cancel(console):
    """A handshake that is not answered can be given up."""
    console.connect("/slow/", state="Connecting")
    console.connect(state="No connection")
    assert console.last("note").startswith("Cancelled")


@pytest.mark.parametrize(
    ("code", "reason", "words"),
    [
        (1000, "", "Normal closure"),
        (1001, "idle", "IDLE_TIMEOUT"),
        (1007, "", "InvalidJSON"),
        (1008, "", "PermissionDenied"),
        (1011, "", "raised an exception"),
        (1012, "", "shuts down"),
        (1013, "full", "no room"),
        (4001, "<b>because</b>", "“<b>because</b>”"),
        (3000, "", "IANA"),
    ],
)
def test_close_code(console, code, reason, words):
    """A close code is shown with its reason and what it means here."""
    console.connect("/close/")
    console.write(json.dumps([code, reason]) + ENTER)
    console.wait(lambda: console.state == f"Closed with {code}")
    console.wait(lambda: f"Closed with {code}: " in console.last("note"))
    assert words in console.last("note")
    state = console.find("#state").get_attribute("data-state")
    assert state == ("failed" if 1001 < code < 3000 else "closed")


def test_too_big(console):
    """A message that is too big for the view ends in 1009, which is explained."""
    console.connect("/echo/")
    console.write("x" * 1001 + ENTER)
    console.wait(lambda: console.state == "Closed with 1009")
    assert "over 1000 bytes" in console.last("note")


def test_reconnect(console):
    """After 1012 the page comes back by itself, if it is told to."""
    console.visit("/restart/a/")
    console.find("#again").click()
    console.find("#connect").click()
    console.wait(lambda: console.state == "Open")
    console.wait(lambda: console.messages("note")[-1].startswith("Open"))
    titles = [note.split("\n")[0] for note in console.messages("note")]
    still = "Still no connection"
    assert titles == ["Open", "Closed with 1012: Service restart", still, still, "Open"]
    console.write(f"back{ENTER}")
    assert console.last("received") == "back"


def test_no_reconnect(console):
    """Without that, a restart is the end."""
    console.connect("/restart/b/", state="Closed with 1012")
    assert console.find("#connect").text == "Reconnect"


def test_stop_coming_back(console):
    """Waiting for a server to come back can be stopped."""
    console.visit("/restart/c/")
    console.find("#again").click()
    console.connect(state="Coming back")
    console.connect(state="Not connected")
    # The next attempt is the first again, and the only one.
    console.connect(state="No connection")


def test_leave(console):
    """A page that is left says goodbye."""
    console.connect("/left/")
    console.browser.driver.get("about:blank")
    console.server.wait_for_log("LEFT 1005")


class QuietHandler(WSGIRequestHandler):
    def log_message(self, *args):
        """Log nothing."""


class ThreadingServer(ThreadingMixIn, WSGIServer):
    # A browser opens connections that it does not need yet.
    daemon_threads = True


@pytest.fixture
def wsgi_url(urls):
    """Serve a WebSocket view by WSGI, where it cannot work."""
    urls(path("ws/", websocket(print_nothing)))
    with (
        override_settings(DEBUG=True, MIDDLEWARE=[]),
        make_server(
            "127.0.0.1", 0, WSGIHandler(), ThreadingServer, QuietHandler
        ) as server,
    ):
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/ws/"
        server.shutdown()
        thread.join(5)


async def print_nothing(socket):
    pass


def test_wsgi(console, wsgi_url):
    """The page of a server for WSGI says that there are no WebSockets there."""
    console.browser.driver.get(wsgi_url)
    console.wait(lambda: console.find("#console").is_displayed())
    console.connect(state="No connection")
    assert "came over WSGI" in console.last("note")
