"""The browser client on pages that hide and networks that come and go."""

import time

import pytest


@pytest.fixture
def remote_page(browser, server):
    """A page that is not of this machine's own, as far as the browser knows."""
    browser.driver.get(f"http://chat.test:{server.port}/page/")
    yield browser
    set_offline(browser, False)


def set_offline(browser, offline):
    browser.driver.execute_cdp_cmd("Network.enable", {})
    browser.driver.execute_cdp_cmd(
        "Network.emulateNetworkConditions",
        {
            "offline": offline,
            "latency": 0,
            "downloadThroughput": -1,
            "uploadThroughput": -1,
        },
    )


def test_offline(remote_page):
    """Without a network it waits for one, and comes back soon when there is one."""
    remote_page.run("window.socket = await opened('/ws/echo/')")
    set_offline(remote_page, True)
    script = """
    const { code, state } = await nth(socket, "close");
    socket.send("hello");
    return [navigator.onLine, code, state, delays.length, handshakes.length];
    """
    assert remote_page.run(script) == [False, 1006, 0, 0, 1]
    # Nothing but the network makes it come back.
    script = """
    document.dispatchEvent(new Event("visibilitychange"));
    socket.reconnect();
    return handshakes.length;
    """
    assert remote_page.run(script) == 1
    set_offline(remote_page, False)
    script = """
    await nth(socket, "message");
    return [messages(socket), delays, handshakes.length];
    """
    assert remote_page.run(script) == [["hello"], [250], 2]


def test_offline_from_the_beginning(remote_page):
    """The first attempt is made without a network too, and no other one."""
    script = """
    Object.defineProperty(navigator, "onLine", { value: false });
    const socket = await connect("/ws/denied/");
    await nth(socket, "close");
    return [socket.readyState, handshakes.length, delays];
    """
    assert remote_page.run(script) == [0, 1, []]


def test_offline_while_waiting(remote_page):
    """A delay that has begun ends with the network, and begins anew with it."""
    script = """
    const options = { minDelay: 24690, maxDelay: 24690 };
    window.socket = await connect("/ws/denied/", options);
    await nth(socket, "close");
    """
    remote_page.run(script)
    set_offline(remote_page, True)
    remote_page.run("await until(() => !navigator.onLine)")
    set_offline(remote_page, False)
    script = "await nth(socket, 'close', 2); return [delays[0], handshakes.length]"
    assert remote_page.run(script) == [250, 2]


def test_delays_after_a_change_of_network(remote_page):
    """With another network the delays begin anew."""
    script = """
    const socket = await connect("/ws/denied/");
    await nth(socket, "close", 3);
    dispatchEvent(new Event("online"));
    const number = delays.length;
    await nth(socket, "close", 5);
    return delays.slice(number - 1);
    """
    assert remote_page.run(script) == [250, 500, 1000]


def test_online(remote_page):
    """An open connection is replaced when another network comes: it may be dead."""
    script = """
    const socket = await opened("/ws/echo/");
    dispatchEvent(new Event("online"));
    await nth(socket, "open", 2);
    const { readyState } = handshakes[0].native;
    return [types(socket), delays.at(-1), readyState >= WebSocket.CLOSING];
    """
    assert remote_page.run(script) == [["open", "close", "open"], 250, True]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "chat.localhost"])
def test_offline_on_this_machine(browser, server, host):
    """A server on the machine itself needs no network."""
    browser.driver.get(f"http://{host}:{server.port}/page/")
    script = """
    Object.defineProperty(navigator, "onLine", { value: false });
    const socket = await opened("/ws/close/4000/", { minDelay: 1 });
    dispatchEvent(new Event("offline"));
    dispatchEvent(new Event("online"));
    socket.send("now");
    await nth(socket, "open", 2);
    return [types(socket), socket.events[1].code];
    """
    assert browser.run(script) == [["open", "close", "open"], 4000]


def test_way_back(browser, server, request):
    """A page that is kept for the way back lets its connection go, and comes back."""
    name = request.node.name
    browser.driver.get(server.url("/page/", "http"))
    browser.run(
        """
        window.shown = new Promise((resolve) => addEventListener("pageshow", resolve));
        window.socket = await opened("/ws/silent/?name=" + arguments[0]);
        """,
        name,
    )
    browser.driver.get(server.url("/rooms/lobby/", "http"))
    server.wait_for_log(f"{name} LEFT 1005")
    browser.driver.back()
    script = """
    const { persisted } = await window.shown;
    await nth(socket, "open", 2);
    const { code, state } = await nth(socket, "close");
    return [persisted, code, state, types(socket), delays];
    """
    assert browser.run(script) == [True, 1001, 0, ["open", "close", "open"], []]


def test_way_back_without_freezing(page):
    """That is so in browsers, too, that do not say that a page is frozen."""
    script = """
    const socket = await opened("/ws/echo/");
    dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true }));
    const { code, state } = await nth(socket, "close");
    const before = handshakes.length;
    dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
    await nth(socket, "open", 2);
    return [code, state, before, types(socket), delays];
    """
    assert page.run(script) == [1001, 0, 1, ["open", "close", "open"], []]


def test_way_back_of_a_page_that_waits(page):
    """A page that is kept while it waits does not connect before it is shown again."""
    script = """
    const socket = await connect("/ws/denied/");
    await nth(socket, "close");
    dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true }));
    // Another one comes back meanwhile, twice.
    await nth(await connect("/ws/denied/"), "close", 3);
    const before = types(socket);
    dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
    await nth(socket, "close", 2);
    return before;
    """
    assert page.run(script) == ["error", "close"]


def test_page_that_says_goodbye(page):
    """A page that closes when it is hidden may ask for a connection when it is back."""
    script = """
    const path = "/ws/echo/";
    addEventListener("pagehide", () => socket.close());
    addEventListener("pageshow", () => socket.reconnect());
    const socket = await opened(path);
    dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true }));
    const { state } = await nth(socket, "close");
    dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
    await nth(socket, "open", 2);
    return [state, types(socket)];
    """
    assert page.run(script) == [3, ["open", "close", "open"]]


def test_end(page):
    """The page keeps nothing of a socket that is closed for good."""
    page.run("""
    const socket = await opened("/ws/echo/");
    socket.close();
    await nth(socket, "close");
    window.ended = new WeakRef(socket);
    handshakes.length = 0;
    """)
    page.driver.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
    assert page.run("return ended.deref() === undefined")


def test_frozen_page(page, server, request):
    """A page that is frozen lets its connection go, and comes back."""
    name = request.node.name
    page.run("window.socket = await opened('/ws/silent/?name=' + arguments[0])", name)
    page.driver.execute_cdp_cmd("Page.setWebLifecycleState", {"state": "frozen"})
    server.wait_for_log(f"{name} LEFT 1005")
    page.driver.execute_cdp_cmd("Page.setWebLifecycleState", {"state": "active"})
    script = "await nth(socket, 'open', 2); return types(socket)"
    assert page.run(script) == ["open", "close", "open"]


@pytest.fixture
def window(page):
    """The window of the page, which is open again in the end."""
    yield page.driver
    page.driver.maximize_window()


def test_background(page, window):
    """In the background it takes its time; a page that is looked at is back at once."""
    # So long that the page does not shorten it.
    script = """
    const options = { stableAfter: 0, maxDelay: 24690 };
    window.socket = await opened("/ws/close/1012/", options);
    """
    page.run(script)
    window.minimize_window()
    script = """
    socket.send("now");
    await nth(socket, "close");
    return [document.hidden, delays, handshakes.length];
    """
    assert page.run(script) == [True, [], 1]
    window.maximize_window()
    started = time.monotonic()
    page.run("await nth(socket, 'open', 2)")
    assert time.monotonic() - started < 10
    assert page.run("return types(socket)") == ["open", "close", "open"]


def test_attempt_that_is_looked_at(page, window):
    """The first look at a page does not disturb an attempt to connect."""
    window.minimize_window()
    page.run("window.socket = await connect('/ws/hanging/', { staleAfter: 0 })")
    window.maximize_window()
    page.run("await until(() => !document.hidden)")
    assert page.run("return [types(socket), handshakes.length]") == [[], 1]


HOUR_LATER = """
const now = Date.now;
Date.now = () => now() + 3600 * 1000;
"""


@pytest.mark.parametrize(
    ("visible", "hidden", "events"),
    [
        ("", HOUR_LATER, ["open", "close", "open"]),
        (HOUR_LATER, "", ["open"]),
    ],
    ids=["hidden", "visible"],
)
def test_silence(page, window, visible, hidden, events):
    """A page that heard nothing for long in the background connects anew."""
    page.run(f"window.socket = await opened('/ws/echo/'); {visible}")
    window.minimize_window()
    page.run(f"if (!document.hidden) throw Error('visible'); {hidden}")
    window.maximize_window()
    script = """
    await until(() => !document.hidden);
    await nth(socket, "open", arguments[0]);
    return types(socket);
    """
    assert page.run(script, events.count("open")) == events


def test_messages_in_the_background(page, window):
    """A page that heard something in the background keeps its connection."""
    page.run("window.socket = await opened('/ws/echo/')")
    window.minimize_window()
    page.run(f"""
    {HOUR_LATER}
    socket.send("hello");
    await nth(socket, "message");
    """)
    window.maximize_window()
    page.run("await until(() => !document.hidden)")
    assert page.run("return types(socket)") == ["open", "message"]
