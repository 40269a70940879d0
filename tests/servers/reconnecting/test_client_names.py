"""The browser client in place of the browser's own WebSocket."""

import pytest


@pytest.mark.parametrize(
    ("given", "absolute"),
    [
        ("/ws/echo/", "ws://{host}/ws/echo/"),
        ("../../ws/echo/?a=b%20c", "ws://{host}/ws/echo/?a=b%20c"),
        ("http://{host}/ws/echo/", "ws://{host}/ws/echo/"),
        ("ws://{host}/ws/echo/", "ws://{host}/ws/echo/"),
        ("https://{host}/ws/echo/", "wss://{host}/ws/echo/"),
    ],
)
def test_url(browser, server, given, absolute):
    """A URL is relative to that of the page, and becomes one of a WebSocket."""
    browser.driver.get(server.url("/rooms/lobby/", "http"))
    script = """
    const socket = await connect(arguments[0]);
    socket.close();
    return [socket.url, String(handshakes[0].url)];
    """
    host = f"127.0.0.1:{server.port}"
    expected = absolute.format(host=host)
    assert browser.run(script, given.format(host=host)) == [expected, expected]


def test_documented_page(browser, server):
    """The page of docs/browser.md hears what it says."""
    browser.driver.get(server.url("/documented/", "http"))
    browser.wait(lambda: any('"hello"' in line for line in browser.logged()))


def test_handler_properties(page):
    """A page that uses onopen and the like may use it in place of the browser's own."""
    script = """
    const socket = await connect("/ws/echo/");
    const seen = [];
    return new Promise((resolve) => {
      socket.binaryType = "arraybuffer";
      socket.onopen = () => {
        seen.push(socket.readyState === WebSocket.OPEN);
        socket.send("hello");
      };
      socket.onmessage = ({ data }) => {
        seen.push(data);
        socket.close(3000, "bye");
        seen.push(socket.readyState === socket.CLOSING);
      };
      socket.onclose = ({ code, reason, wasClean }) => {
        const closed = socket.readyState === WebSocket.CLOSED;
        resolve([...seen, code, reason, wasClean, closed]);
      };
    });
    """
    assert page.run(script) == [True, "hello", True, 3000, "bye", True, True]


def test_constants(page):
    """The names of the states are those of the browser's own, and their numbers."""
    script = """
    const socket = await connect("/ws/echo/");
    const names = ["CONNECTING", "OPEN", "CLOSING", "CLOSED"];
    const { constructor } = socket;
    return names.map((name) => [socket[name], constructor[name], WebSocket[name]]);
    """
    assert page.run(script) == [[number] * 3 for number in range(4)]


def test_subprotocol(page):
    """The subprotocol is the one that the view has taken, each time."""
    script = """
    const socket = await opened("/ws/subprotocol/", {}, ["chat.v1", "chat.v2"]);
    const first = socket.protocol;
    socket.reconnect();
    await nth(socket, "open", 2);
    return [first, socket.protocol];
    """
    assert page.run(script) == ["chat.v2", "chat.v2"]


@pytest.mark.parametrize(
    ("message", "comes"),
    [
        ("'hello'", "hello"),
        ("''", ""),
        ("7", "7"),
        ("""'{"a": 1}'""", '{"a": 1}'),
    ],
)
def test_text(page, message, comes):
    """Without the option json a message is the text that it is."""
    script = f"""
    const socket = await opened("/ws/echo/");
    socket.send({message});
    return (await nth(socket, "message")).data;
    """
    assert page.run(script) == comes


@pytest.mark.parametrize(
    "message", [{"a": [1, None, "é😀"]}, "hello", "7", 7, None, False, "", []]
)
def test_json(page, message):
    """With the option json what is sent comes back as what it was."""
    script = """
    const socket = await opened("/ws/echo/", { json: true });
    socket.send(arguments[0]);
    return [(await nth(socket, "message")).data];
    """
    assert page.run(script, message) == [message]


def test_no_json(page):
    """With the option json a text that is none comes as the text."""
    script = """
    const socket = await opened("/ws/history/?q=", { json: true });
    await nth(socket, "message");
    socket.send(["{", "", "undefined"]);
    await nth(socket, "message", 4);
    return messages(socket).slice(1);
    """
    assert page.run(script) == ["{", "", "undefined"]


@pytest.mark.parametrize(
    "message",
    [
        "new Uint8Array([0, 128, 255]).buffer",
        "new Uint8Array([9, 0, 128, 255, 9]).subarray(1, 4)",
        "new Blob([new Uint8Array([0, 128, 255])])",
    ],
    ids=["ArrayBuffer", "Uint8Array", "Blob"],
)
@pytest.mark.parametrize("json", ["true", "false"])
def test_bytes(page, message, json):
    """Bytes come back as an ArrayBuffer, with the option json too."""
    script = f"""
    const socket = await opened("/ws/echo/", {{ json: {json} }});
    socket.send({message});
    const {{ data }} = await nth(socket, "message");
    return [data instanceof ArrayBuffer, ...new Uint8Array(data)];
    """
    assert page.run(script) == [True, 0, 128, 255]


@pytest.mark.parametrize(
    ("mistake", "error"),
    [
        (
            "socket.send({})",
            "TypeError: Cannot send [object Object]: "
            "it is neither text nor bytes nor JSON.",
        ),
        (
            "(await connect('/ws/echo/', { json: true })).send(undefined)",
            "TypeError: Cannot send undefined: it is neither text nor bytes nor JSON.",
        ),
        (
            "await connect('/ws/echo/', { jsn: true })",
            "TypeError: This is no option: jsn",
        ),
        (
            "await connect('/ws/echo/', { lastIds: ['lobby'] })",
            "TypeError: This is no id: lobby",
        ),
        ("await connect('/ws/echo/#top')", "SyntaxError"),
        ("await connect('ftp://127.0.0.1/')", "SyntaxError"),
        ("await connect('http://')", "TypeError"),
        ("await connect('/ws/echo/', {}, ['a', 'a'])", "SyntaxError"),
        ("socket.close(1001)", "InvalidAccessError"),
        ("socket.close(1000, 'x'.repeat(124))", "SyntaxError"),
        ("socket.binaryType = 'blob'", "TypeError: binaryType is always arraybuffer."),
    ],
)
def test_mistake(page, mistake, error):
    """A mistake of the page's is an error there, and the connection goes on."""
    script = f"""
    const socket = await opened("/ws/echo/");
    let error = "none";
    try {{
      {mistake};
    }} catch (caught) {{
      error = String(caught);
    }}
    socket.send("still there");
    return [error, (await nth(socket, "message")).data];
    """
    [found, data] = page.run(script)
    assert found == error or found.startswith(f"{error}: "), found
    assert data == "still there"


def test_listener_that_fails(page):
    """What fails in a listener of the page's does no harm to the connection."""
    script = """
    let errors = 0;
    addEventListener("error", () => errors++);
    const socket = await connect("/ws/close/4000/", { minDelay: 1 });
    socket.onopen = socket.onclose = () => { throw Error("oops"); };
    socket.send("now");
    await nth(socket, "open", 2);
    return errors;
    """
    assert page.run(script) == 3


def test_worker(page):
    """A worker, which has no document, may use it too."""
    script = """
    const worker = new Worker("/worker.js", { type: "module" });
    return new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = (event) => reject(event.message);
    });
    """
    assert page.run(script) == "hello"
