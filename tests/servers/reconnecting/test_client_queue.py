"""What a page sends while the browser client has no connection."""

import pytest


def test_queue(page):
    """What is sent before there is a connection goes out when there is one."""
    script = """
    const socket = await connect("/ws/echo/");
    const bytes = new Uint8Array([1, 2]);
    socket.send("é");
    socket.send(bytes);
    bytes[0] = 9;
    const before = [socket.bufferedAmount, socket.unsent.length];
    await nth(socket, "message", 2);
    const [text, data] = messages(socket);
    return [before, text, ...new Uint8Array(data), socket.unsent.length];
    """
    assert page.run(script) == [[4, 2], "é", 1, 2, 0]


def test_queue_goes_after_what_open_sends(page):
    """What a listener to "open" sends goes first: it may introduce the page."""
    script = """
    const socket = await connect("/ws/echo/");
    socket.onopen = () => socket.send("I am Ada");
    socket.send("hello");
    await nth(socket, "message", 2);
    return messages(socket);
    """
    assert page.run(script) == ["I am Ada", "hello"]


@pytest.mark.parametrize(
    ("options", "sent", "kept"),
    [
        ({"maxQueued": 2}, ["a", "b", "c"], ["a", "b"]),
        ({"maxBufferedAmount": 4}, ["abc", "é", "d", "e"], ["abc", "d"]),
    ],
    ids=["messages", "bytes"],
)
def test_overflow(page, options, sent, kept):
    """send() raises an error if too much waits; what waits already is not lost."""
    script = """
    const [options, sent] = arguments;
    const socket = await connect("/ws/echo/", options);
    const refused = [];
    for (const text of sent) {
      try {
        socket.send(text);
      } catch (error) {
        refused.push(text, error.name, error.message);
      }
    }
    const waiting = socket.unsent;
    await nth(socket, "message", waiting.length);
    return [refused, waiting, messages(socket)];
    """
    refused = []
    for text in sent:
        if text not in kept:
            refused += [
                text,
                "QuotaExceededError",
                "Too much waits for a connection.",
            ]
    assert page.run(script, options, sent) == [refused, kept, kept]


def test_default_bounds(page):
    """A hundred messages or a mebibyte may wait, no more."""
    script = """
    const counts = [];
    for (const size of [1, 1024 * 1024 / 8]) {
      const socket = await connect("/ws/denied/");
      try {
        for (;;) socket.send("x".repeat(size));
      } catch {
        counts.push(socket.unsent.length);
      }
      socket.close();
    }
    return counts;
    """
    assert page.run(script) == [100, 8]


def test_unsent(page):
    """What was not sent when the end comes can be read; a new connection sends it."""
    script = """
    const socket = await connect("/ws/echo/");
    socket.send("not sent");
    socket.send(new Uint8Array([1, 2]));
    socket.close();
    await nth(socket, "close");
    const [text, blob] = socket.unsent;
    const bytes = [...new Uint8Array(await blob.arrayBuffer())];
    socket.reconnect();
    await nth(socket, "message", 2);
    return [text, bytes, messages(socket)[0], socket.unsent.length];
    """
    assert page.run(script) == ["not sent", [1, 2], "not sent", 0]
