"""What the scripts of a page see, in a browser and on real servers."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from browser import open_browser
from serving import COMMANDS, ENVIRONMENT, Server

EXAMPLE = Path(__file__).resolve().parents[2] / "example"

# What a server can do, or cannot, whatever the application sends.
COMPRESSES = {"hypercorn", "uvicorn"}
DROPS_HEADERS_OF_ACCEPT = {"granian"}
HIDES_CLOSE_REASON = {"granian"}
# It does not wait for the answer to a close.
CLOSES_UNCLEANLY = {"granian"}

OPTIONS = {
    # It waits for connections on which a browser has not asked for anything yet.
    "gunicorn": ["--graceful-timeout", "1"]
}

# What a page sees of a connection that there never was.
REFUSED = {"events": ["error"], "code": 1006, "reason": "", "wasClean": False}

# The longest there may be: 123 bytes of UTF-8.
LONGEST_REASON = "é😀" * 20 + "abc"

# For what does not depend on the server.
on_hypercorn = pytest.mark.parametrize("server", ["hypercorn"], indirect=True)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Chromium, without a window."""
    with open_browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(scope="module", params=list(COMMANDS))
def server(browser, request, tmp_path_factory):
    """Run the project in browsed.py on a server."""
    running = Server(
        request.param,
        "browsed:application",
        tmp_path_factory.mktemp(request.param),
        ENVIRONMENT,
        *OPTIONS.get(request.param, []),
    )
    yield running
    running.stop()


@pytest.fixture
def page(browser, server):
    """A page of the server's in a browser without cookies."""
    browser.driver.get(server.url("/page/", "http"))
    browser.driver.delete_all_cookies()
    browser.logged()
    return browser


def end_of(page, path, *messages):
    """Return what happens to a WebSocket that sends messages until it is closed."""
    script = """
    const [path, messages] = arguments;
    const socket = connect(path);
    socket.onopen = () => messages.forEach((message) => socket.send(message));
    return socket.end;
    """
    return page.run(script, path, messages)


def check_closed(server, end, code, reason="", events=("open",)):
    """Check what a page has seen of a connection that the server has closed."""
    clean = end.pop("wasClean")
    assert end == {"events": [*events], "code": code, "reason": reason}
    assert clean or server.name in CLOSES_UNCLEANLY


def refusal(page):
    """Return what the console says of a handshake that failed."""
    [message] = [line for line in page.logged() if "WebSocket connection" in line]
    return message


@pytest.mark.parametrize("text", ["", "hello", "é😀\0\u2028"])
def test_text(page, text):
    """A text message comes back as it was sent."""
    script = "return ask(await opened('/echo/'), arguments[0])"
    assert page.run(script, text) == text


@on_hypercorn
def test_lone_surrogate(page):
    """Half a character of a script's arrives as a replacement character."""
    script = "return ask(await opened('/echo/'), 'a' + '😀'[0])"
    assert page.run(script) == "a\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    "message",
    [
        "new Uint8Array([0, 128, 255]).buffer",
        "new Uint8Array([9, 0, 128, 255, 9]).subarray(1, 4)",
        "new Blob([new Uint8Array([0, 128, 255])])",
    ],
    ids=["ArrayBuffer", "Uint8Array", "Blob"],
)
def test_bytes(page, message):
    """Whatever a script has bytes in, they come back as an ArrayBuffer."""
    script = f"return [...new Uint8Array(await ask(await opened('/echo/'), {message}))]"
    assert page.run(script) == [0, 128, 255]


def test_no_bytes(page):
    """An empty binary message comes back as one."""
    script = """
    const answer = await ask(await opened("/echo/"), new ArrayBuffer(0));
    return [answer instanceof ArrayBuffer, answer.byteLength];
    """
    assert page.run(script) == [True, 0]


@on_hypercorn
def test_blob(page):
    """A binary message is a Blob for a script that does not ask for anything else."""
    script = """
    const socket = await opened("/echo/");
    socket.binaryType = "blob";
    const answer = await ask(socket, new Uint8Array([0, 128, 255]));
    return [answer instanceof Blob, ...new Uint8Array(await answer.arrayBuffer())];
    """
    assert page.run(script) == [True, 0, 128, 255]


def test_large_text(page):
    """A text of a mebibyte, the most that is taken, comes back as it was sent."""
    script = """
    const message = "é😀x1".repeat(131072);
    const answer = await ask(await opened("/echo/"), message);
    return [new Blob([answer]).size, answer === message];
    """
    assert page.run(script) == [1024 * 1024, True]


def test_large_bytes(page):
    """A mebibyte that cannot be compressed comes back as it was sent."""
    script = """
    const message = new Uint8Array(1024 * 1024);
    for (let start = 0; start < message.length; start += 65536)
      crypto.getRandomValues(message.subarray(start, start + 65536));
    const answer = new Uint8Array(await ask(await opened("/echo/"), message));
    return [answer.length, answer.every((byte, index) => byte === message[index])];
    """
    assert page.run(script) == [1024 * 1024, True]


def test_view_that_pushes(page):
    """All of many messages come, in their order, before the close."""
    script = """
    const { events, code } = await connect("/push/500/20000/").end;
    const messages = events.slice(1);
    const good = (text, index) => text.length === 20000 && Number(text) === index;
    return [messages.length, messages.every(good), code];
    """
    assert page.run(script) == [500, True, 1000]


def test_page_that_pushes(page):
    """All that a page sends at once arrives, and nothing is buffered any more."""
    script = """
    const socket = await opened("/count/");
    for (let i = 0; i < 100; i++) socket.send(new Uint8Array(100000));
    const buffered = socket.bufferedAmount;
    const total = await ask(socket, "total");
    return [buffered, total, socket.bufferedAmount];
    """
    assert page.run(script) == [10_000_000, "10000000", 0]


def test_compression(page, server):
    """Messages are compressed where the server can, which no script has to know."""
    extensions = page.run("return (await opened('/echo/')).extensions")
    assert extensions.startswith("permessage-deflate") == (server.name in COMPRESSES)


def test_subprotocol(page):
    """The script sees the subprotocol that the view was given."""
    script = """
    const socket = connect("/subprotocol/", ["v1", "v2"]);
    const { data } = await next(socket, "message");
    return [data, socket.protocol];
    """
    assert page.run(script) == ["v1", "v1"]


def test_no_subprotocol(page):
    """Who offers no subprotocol gets none."""
    script = """
    const socket = connect("/subprotocol/");
    const { data } = await next(socket, "message");
    return [data, socket.protocol];
    """
    assert page.run(script) == ["None", ""]


def test_unknown_subprotocol(page):
    """A browser does not open a connection if none of its subprotocols is chosen."""
    script = "return connect('/subprotocol/', ['v0']).end"
    assert page.run(script) == REFUSED
    assert "no response was received" in refusal(page)


def test_cookie_of_the_view(page, server):
    """A cookie on the 101 is the page's, and goes along with the next handshake."""
    script = """
    const socket = connect("/cookie/");
    const { data } = await next(socket, "message");
    return [data, document.cookie];
    """
    if server.name in DROPS_HEADERS_OF_ACCEPT:
        assert page.run(script) == ["none", ""]
        return
    assert page.run(script) == ["none", "color=green"]
    assert page.run(script) == ["green", "color=green"]


def test_session(page, server):
    """A session that begins with a handshake goes on in the next, out of sight."""
    script = """
    const visits = await next(connect("/visits/"), "message");
    return [visits.data, document.cookie];
    """
    assert page.run(script) == ["1", ""]
    again = "1" if server.name in DROPS_HEADERS_OF_ACCEPT else "2"
    assert page.run(script) == [again, ""]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/denial/forbidden/", 403),
        ("/denial/missing/", 404),
        ("/denial/unauthorized/", 401),
        ("/denial/raise/", 500),
        ("/members/", 302),
        ("/nowhere/", 404),
        ("/page/", 404),
    ],
)
def test_denial(page, path, status):
    """A denial is an error and 1006 for a script; only the console has the status."""
    assert end_of(page, path) == REFUSED
    why = "HTTP Authentication failed" if status == 401 else f"response code: {status}"
    assert why in refusal(page)


@pytest.mark.parametrize(
    ("kind", "messages", "code", "reason"),
    [
        ("return", [], 1000, ""),
        ("raise", [], 1011, ""),
        ("forbidden", [], 1008, ""),
        ("json", ["{"], 1007, ""),
        ("big", ["x" * 1001], 1009, "over 1000 bytes"),
    ],
)
def test_ending(page, server, kind, messages, code, reason):
    """However a view ends after accepting, the script sees a code that says so."""
    end = end_of(page, f"/ending/{kind}/", *messages)
    check_closed(server, end, code, reason)


@pytest.mark.parametrize(
    ("code", "reason"),
    [(1000, ""), (4001, "because"), (3000, LONGEST_REASON)],
    ids=["no reason", "reason", "long reason"],
)
def test_close_of_the_view(page, server, code, reason):
    """The script sees code and reason of the view's close."""
    end = end_of(page, "/close/", json.dumps([code, reason]))
    check_closed(server, end, code, reason)


@pytest.mark.parametrize(
    ("name", "arguments", "code", "reason"),
    [
        ("reason", [4001, "because"], 4001, "because"),
        ("normal", [1000], 1000, ""),
        ("empty", [], 1005, ""),
    ],
)
def test_close_of_the_page(page, server, name, arguments, code, reason):
    """The view sees code and reason of the script's close, and both end cleanly."""
    script = """
    const [path, codeAndReason] = arguments;
    const socket = await opened(path);
    socket.close(...codeAndReason);
    return (await socket.end).wasClean;
    """
    assert page.run(script, f"/left/{name}/", arguments) is True
    reason = "" if server.name in HIDES_CLOSE_REASON else reason
    server.wait_for_log(f"{name} LEFT {code} {reason!r}")


def test_other_origin(page, server):
    """A page of another origin is refused, though it names the same machine."""
    page.driver.get(f"http://localhost:{server.port}/page/")
    script = "return connect('/echo/', [], `127.0.0.1:${location.port}`).end"
    assert page.run(script) == REFUSED
    assert refusal(page).endswith("response code: 403")


@on_hypercorn
def test_own_origin(page, server):
    """Under each of its names a site lets in the pages that have the same name."""
    page.driver.get(f"http://localhost:{server.port}/page/")
    assert page.run("return ask(await opened('/echo/'), 'hello')") == "hello"


@on_hypercorn
def test_view_for_everybody(page, server):
    """A view for all origins lets a page of another origin in."""
    page.driver.get(f"http://localhost:{server.port}/page/")
    script = """
    const socket = await opened("/everybody/", [], `127.0.0.1:${location.port}`);
    return ask(socket, "hello");
    """
    assert page.run(script) == "hello"


@on_hypercorn
@pytest.mark.parametrize(
    ("path", "event"), [("/echo/", "error"), ("/everybody/", "open")]
)
def test_page_without_an_origin(page, path, event):
    """A page in a sandbox, whose origin is null, is let in only by a view for all."""
    script = """
    const frame = document.createElement("iframe");
    frame.sandbox = "allow-scripts";
    frame.srcdoc = `<script>
      const socket = new WebSocket("ws://${location.host}${arguments[0]}");
      const tell = ({ type }) => parent.postMessage([origin, type], "*");
      socket.onopen = socket.onerror = tell;
    <` + "/script>";
    const told = next(window, "message");
    document.body.append(frame);
    return (await told).data;
    """
    assert page.run(script, path) == ["null", event]


def test_page_that_goes_away(page, server):
    """A view that receives sees that the user has gone to another page."""
    page.run("await opened('/left/away/')")
    page.driver.get(server.url("/page/?another", "http"))
    server.wait_for_log("away LEFT 1001 ''")


def test_page_that_goes_away_from_a_busy_view(page, server):
    """A view that does not receive is cancelled when the user goes elsewhere."""
    page.run("await next(connect('/busy/elsewhere/'), 'message')")
    page.driver.get(server.url("/page/?another", "http"))
    server.wait_for_log("elsewhere ENDED")


@on_hypercorn
def test_page_that_is_kept(page, server):
    """A page that a browser keeps for the way back closes when it is hidden."""
    page.driver.get(server.url("/kept-page/", "http"))
    page.run("""
    const socket = await opened("/left/kept/");
    window.onpagehide = () => socket.close();
    """)
    page.driver.get(server.url("/page/", "http"))
    server.wait_for_log("kept LEFT 1005 ''")


def test_window_that_is_closed(page, server):
    """A view sees that the user has closed the window."""
    first = page.driver.current_window_handle
    page.driver.switch_to.new_window("tab")
    page.driver.get(server.url("/page/", "http"))
    page.run("await opened('/left/window/')")
    page.driver.close()
    page.driver.switch_to.window(first)
    server.wait_for_log("window LEFT 1001 ''")


def test_shutdown(browser, tmp_path):
    """A page sees 1012 when the server shuts down, and nothing holds that up."""
    server = Server("hypercorn", "browsed:application", tmp_path, ENVIRONMENT)
    try:
        browser.driver.get(server.url("/page/", "http"))
        browser.run("""
        const waiting = await opened("/left/shutdown/");
        const busy = connect("/busy/shutdown/");
        await next(busy, "message");
        window.ends = Promise.all([waiting.end, busy.end]);
        """)
        server.process.send_signal(signal.SIGTERM)
        waiting, busy = browser.run("return window.ends")
        check_closed(server, waiting, 1012)
        check_closed(server, busy, 1012, events=["open", "ready"])
        assert server.process.wait(10) == 0
    finally:
        server.stop()


@pytest.fixture
def example(browser, tmp_path):
    """Serve a copy of the example, with the users of the demo."""
    folder = tmp_path / "example"
    shutil.copytree(
        EXAMPLE, folder, ignore=shutil.ignore_patterns("*.sqlite3", "__pycache__")
    )
    environment = {
        "PYTHONPATH": os.pathsep.join([str(folder), ENVIRONMENT["PYTHONPATH"]]),
        "DJANGO_SETTINGS_MODULE": "mysite.settings",
    }
    subprocess.run(
        [sys.executable, "manage.py", "demo"],
        cwd=folder,
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
    )
    running = Server("hypercorn", "mysite.asgi:application", folder, environment)
    yield running
    running.stop()


@pytest.fixture
def other_browser(tmp_path):
    """A second Chromium, with cookies of its own."""
    with open_browser(tmp_path) as browser:
        yield browser


def test_two_pages(example, browser, other_browser):
    """Two users read each other's messages, each in a browser, until one leaves."""
    users = {"ada": ("lovelace", browser), "grace": ("hopper", other_browser)}
    for name, (password, page) in users.items():
        page.driver.get(example.url("/chat/two/", "http"))
        page.log_in(name, password)
        page.expect("#status", "Connected")
    browser.expect("#log", "grace joined.")
    browser.say("hello, Grace")
    other_browser.expect("#log", "hello, Grace")
    other_browser.say("héllo, Ada <b>😀")
    browser.expect("#log", "héllo, Ada")
    for _, page in users.values():
        assert page.messages() == [
            ("ada", "hello, Grace"),
            ("grace", "héllo, Ada <b>😀"),
        ]
    # A page that its browser keeps for the way back.
    other_browser.driver.get(example.url("/", "http"))
    browser.expect("#log", "grace left.")
    browser.wait(lambda: "grace" not in browser.find("#here").text)
