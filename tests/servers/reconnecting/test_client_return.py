"""Whether the browser client comes back, and when."""

import pytest


@pytest.mark.parametrize(
    "code", [1000, 1002, 1003, 1007, 1008, 1009, 1010, 4400, 4401, 4499]
)
def test_final_close(page, code):
    """It stays away after a close that says so, whatever happens to the page then."""
    script = """
    const socket = await opened(arguments[0], { minDelay: 1 });
    socket.send("now");
    const { code, reason, state } = await nth(socket, "close");
    dispatchEvent(new Event("online"));
    dispatchEvent(new Event("pagehide"));
    dispatchEvent(new Event("pageshow"));
    document.dispatchEvent(new Event("visibilitychange"));
    // Another one, which comes back after the same delay.
    const other = await opened("/ws/close/4000/", { minDelay: 1 });
    other.send("now");
    await nth(other, "open", 2);
    return [code, reason, state, socket.readyState, types(socket), handshakes.length];
    """
    closed = 3
    assert page.run(script, f"/ws/close/{code}/") == [
        code,
        "because",
        closed,
        closed,
        ["open", "close"],
        3,
    ]


@pytest.mark.parametrize(
    "code", [1001, 1011, 1012, 1013, 1014, 3000, 4000, 4399, 4500, 4999]
)
def test_close_that_is_not_final(page, code):
    """It comes back after any other close, which the page is told of."""
    script = """
    const socket = await opened(arguments[0], { minDelay: 1 });
    socket.send("now");
    const { code, reason, wasClean, state } = await nth(socket, "close");
    await nth(socket, "open", 2);
    return [code, reason, wasClean, state, socket.readyState, types(socket)];
    """
    connecting, is_open = 0, 1
    assert page.run(script, f"/ws/close/{code}/") == [
        code,
        "because",
        True,
        connecting,
        is_open,
        ["open", "close", "open"],
    ]


def test_denial(page):
    """It tries again if there was no connection: a denial looks like a lost network."""
    script = """
    const socket = await connect("/ws/denied/");
    await nth(socket, "close", 3);
    return [types(socket).slice(0, 4), socket.events[1].code, socket.readyState];
    """
    assert page.run(script) == [["error", "close", "error", "close"], 1006, 0]


def test_close_of_the_page(page, server, request):
    """The page's own close is the end, and the view is told the code."""
    script = """
    const socket = await opened("/ws/silent/?name=" + arguments[0], { minDelay: 1 });
    socket.close(4000);
    socket.close(4001);
    const { code, state } = await nth(socket, "close");
    return [code, state, handshakes.length];
    """
    assert page.run(script, request.node.name) == [4000, 3, 1]
    server.wait_for_log(f"{request.node.name} LEFT 4000")


def test_close_while_away(page):
    """A page that closes while there is no connection is told of that, once."""
    script = """
    const socket = await connect("/ws/denied/", { minDelay: 3e9, maxDelay: 3e9 });
    socket.onclose = () => socket.close();
    const { state } = await nth(socket, "close", 2);
    return [state, types(socket), handshakes.length];
    """
    assert page.run(script) == [3, ["error", "close", "close"], 1]


def test_look_at_a_page_that_closes(page):
    """Nothing brings it back once the page has closed it."""
    script = """
    const socket = await connect("/ws/denied/", { minDelay: 3e9, maxDelay: 3e9 });
    await nth(socket, "close");
    socket.close();
    document.dispatchEvent(new Event("visibilitychange"));
    await nth(socket, "close", 2);
    return [socket.readyState, handshakes.length];
    """
    assert page.run(script) == [3, 1]


def test_send_after_close(page):
    """To send something after the close is an error."""
    script = """
    const socket = await opened("/ws/echo/");
    const errors = [];
    const send = () => {
      try {
        socket.send("too late");
      } catch (error) {
        errors.push([error.name, error.message]);
      }
    };
    socket.close();
    send();
    await nth(socket, "close");
    send();
    return errors;
    """
    error = ["InvalidStateError", "The WebSocket is closed."]
    assert page.run(script) == [error, error]


def test_reconnect(page):
    """The page may ask for a new connection, after the end as well."""
    script = """
    const socket = await opened("/ws/echo/");
    socket.reconnect();
    await nth(socket, "open", 2);
    socket.close();
    await nth(socket, "close", 2);
    socket.reconnect();
    await nth(socket, "open", 3);
    socket.send("back");
    await nth(socket, "message");
    return types(socket);
    """
    assert page.run(script) == ["open", "close", "open", "close", "open", "message"]


def test_server_that_restarts(browser, start_pages, tmp_path):
    """What is sent while a server is away arrives when it is back, in that order."""
    first = start_pages(tmp_path)
    browser.driver.get(first.url("/page/", "http"))
    browser.run("window.socket = await opened('/ws/echo/')")
    first.stop()
    script = """
    const { code, state } = await nth(socket, "close");
    socket.send("one");
    socket.send(new Uint8Array([2]));
    socket.send("three");
    return [code, state];
    """
    assert browser.run(script) == [1012, 0]
    start_pages(tmp_path, first.port)
    script = """
    await nth(socket, "message", 3);
    return messages(socket).map((data) => data.byteLength ?? data);
    """
    assert browser.run(script) == ["one", 1, "three"]


# When it comes back


def test_backoff(page):
    """Each attempt that fails doubles the longest delay, up to a limit."""
    script = """
    const socket = await connect("/ws/denied/");
    await nth(socket, "close", 8);
    return delays.slice(0, 8);
    """
    # Chance says a half each time.
    assert page.run(script) == [500, 1000, 2000, 4000, 8000, 15000, 15000, 15000]


@pytest.mark.parametrize("share", [0.25, 0.75])
def test_jitter(page, share):
    """All of the delay is left to chance."""
    script = """
    const [share] = arguments;
    const options = { random: () => share, minDelay: 400, maxDelay: 1000 };
    const socket = await connect("/ws/denied/", options);
    await nth(socket, "close", 4);
    return delays.slice(0, 4);
    """
    expected = [longest * share for longest in (400, 800, 1000, 1000)]
    assert page.run(script, share) == expected


def test_chance(page):
    """Two pages that lose their connections at once do not come back at once."""
    script = """
    const options = { random: Math.random, stableAfter: 0 };
    for (let number = 0; number < 2; number++) {
      const socket = await opened("/ws/close/1012/", options);
      socket.send("now");
      await nth(socket, "close");
    }
    return delays.slice(0, 2);
    """
    first, second = page.run(script)
    assert first != second
    assert 0 <= first < 500
    assert 0 <= second < 500


@pytest.mark.parametrize("code", [1001, 1012])
def test_restart_delay(page, code):
    """A server that restarts is tried soon, each time."""
    script = """
    const socket = await connect(arguments[0], { stableAfter: 0, minDelay: 9000 });
    socket.onopen = () => socket.send("now");
    await nth(socket, "close", 3);
    return delays.slice(0, 3);
    """
    assert page.run(script, f"/ws/close/{code}/") == [250, 250, 250]


@pytest.mark.parametrize("code", [1001, 1011, 1012])
def test_short_connections(page, code):
    """A server that accepts and closes at once is tried as rarely as a denial."""
    script = """
    const socket = await connect(arguments[0]);
    socket.onopen = () => socket.send("now");
    await nth(socket, "close", 3);
    return delays.slice(0, 3);
    """
    assert page.run(script, f"/ws/close/{code}/") == [500, 1000, 2000]


def test_delays_begin_anew(page):
    """After a connection that lasted the delays are short again."""
    script = """
    const socket = await connect("/ws/close/1011/", { stableAfter: 0 });
    socket.onopen = () => socket.send("now");
    await nth(socket, "close", 3);
    return delays.slice(0, 3);
    """
    assert page.run(script) == [500, 500, 500]


def test_connect_timeout(page):
    """A handshake that takes too long is given up, and another one is tried."""
    script = """
    const socket = await connect("/ws/hanging/", { connectTimeout: 50 });
    const { code, reason, state } = await nth(socket, "close", 2);
    return [code, reason, state, handshakes[0].native.readyState >= WebSocket.CLOSING];
    """
    assert page.run(script) == [1006, "connect timeout", 0, True]


@pytest.mark.parametrize("event", ["pageshow", "online"])
def test_connect_timeout_while_the_page_comes(page, event):
    """What happens to the page meanwhile does not take the time limit away."""
    script = """
    const [event] = arguments;
    const socket = await connect("/ws/hanging/", { connectTimeout: 50 });
    socket.addEventListener("close", () => socket.reconnect(), { once: true });
    dispatchEvent(new Event(event));
    const { reason } = await nth(socket, "close", 2);
    return reason;
    """
    assert page.run(script, event) == "connect timeout"


def test_connect_timeout_of_an_open_one(page):
    """A handshake that was answered in time has no time limit any more."""
    script = """
    connectTimeout = 1500;
    const socket = await opened("/ws/echo/");
    await new Promise((resolve) => setTimeout(resolve, connectTimeout));
    return types(socket);
    """
    assert page.run(script) == ["open"]
