"""The test client: what goes wrong, and what a test learns of it."""

import asyncio
import re
import threading
import time

import pytest
from django.core.exceptions import PermissionDenied
from django.urls import path
from talking import echo

from django_asgi_ext import ConnectionClosed, InvalidJSON, InvalidState, websocket
from django_asgi_ext.test import Client, HandshakeDenied


def without_times(text):
    """Return a transcript as it would be if each event came at once."""
    return re.sub(r"^ +\d+\.\d{3} ", "", text, flags=re.M)


# Failures


@websocket
async def fails(socket):
    raise ValueError(await socket.recv())


def test_view_fails(serve):
    """What a view raises reaches the test that waits for a message."""
    serve(fails)
    with Client().websocket("/ws/") as socket:
        socket.send("boom")
        with pytest.raises(ValueError, match=r"^boom$"):
            socket.recv()
        assert socket.close_code == 1011


def test_view_fails_unnoticed(serve):
    """What a view raises reaches the test at the end of the block at the latest."""
    serve(fails)
    with pytest.raises(ValueError, match=r"^boom$"):
        with Client().websocket("/ws/") as socket:
            socket.send("boom")


def test_view_fails_before_it_accepts(serve):
    """What a view raises before it accepts reaches the test in place of the 500."""

    @websocket
    async def view(socket):
        raise ValueError("boom")

    serve(view)
    with pytest.raises(ValueError, match=r"^boom$"):
        with Client().websocket("/ws/"):
            pass
    with pytest.raises(HandshakeDenied) as denied:
        with Client(raise_request_exception=False).websocket("/ws/"):
            pass
    assert denied.value.response.status_code == 500


def test_as_the_peer_sees_it(serve):
    """With raise_request_exception=False a failure is what the peer sees of it."""
    serve(fails)
    with Client(raise_request_exception=False).websocket("/ws/") as socket:
        socket.send("boom")
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv()
    assert closed.value.code == 1011


def test_view_refuses(serve):
    """A PermissionDenied after the accept is an answer, 1008, and no failure."""

    @websocket
    async def view(socket):
        await socket.accept()
        raise PermissionDenied

    serve(view)
    with Client().websocket("/ws/") as socket:
        assert list(socket) == []
        assert socket.close_code == 1008


def test_only_its_own_failure(urls):
    """A socket raises what its own view raised, and not another one's."""
    urls(path("ws/", echo), path("fails/", fails))
    client = Client()
    with client.websocket("/ws/") as socket:
        with client.websocket("/fails/") as other:
            other.send("boom")
            with pytest.raises(ValueError, match=r"^boom$"):
                other.recv()
        socket.send("hello")
        assert socket.recv() == "hello"


def test_test_fails_first(serve):
    """The test's own error goes on, with a note of what the view raised."""
    serve(fails)
    with pytest.raises(ZeroDivisionError) as raised:
        with Client().websocket("/ws/") as socket:
            socket.send("boom")
            _ = 1 / 0
    assert raised.value.__notes__ == ["And at the end of the block, ValueError: boom"]


def test_view_ends_the_test(serve):
    """A view in a test may end it, as pytest.fail() does."""

    @websocket
    async def view(socket):
        await socket.recv()
        pytest.fail("not this message")

    serve(view)
    with pytest.raises(pytest.fail.Exception, match=r"^not this message$"):
        with Client().websocket("/ws/") as socket:
            socket.send("")


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("hello", "'hello'"),
        ("", "''"),
        (b"\xff", r"b'\xff'"),
        ("[" * 20_000, f"'{'[' * 27}...{'[' * 28}'"),
    ],
)
def test_no_json(serve, message, shown):
    """recv_json() shows the message that is no JSON, and what passed before."""
    serve(echo)
    with Client().websocket("/ws/") as socket:
        socket.send(message)
        with pytest.raises(InvalidJSON) as raised:
            socket.recv_json()
    assert str(raised.value) == f"The message is no JSON: {shown}"
    assert isinstance(raised.value, ValueError)
    (note,) = raised.value.__notes__
    assert without_times(note).splitlines()[-2].startswith("-> websocket.receive ")


def test_not_open(serve):
    """Before and after its block a socket says that it is not open."""
    serve(echo)
    socket = Client().websocket("/ws/")
    for _ in range(2):
        with pytest.raises(InvalidState) as raised:
            socket.send("hello")
        assert str(raised.value) == (
            "The socket is open inside of the block only: with client.websocket(...)."
        )
        with socket:
            pass


# Timeouts


@websocket
async def silent(socket):
    async for _ in socket:
        await asyncio.Event().wait()


def test_timeout(serve):
    """The error of a wait has what passed, and where the view is."""
    serve(silent)
    with Client().websocket("/ws/") as socket:
        socket.send("")
        socket.send("x" * 100)
        with pytest.raises(TimeoutError) as raised:
            socket.recv(timeout=0.2)
    head, _, stack = without_times(str(raised.value)).partition("The view waits in:\n")
    lines = head.splitlines()
    assert lines[:4] == [
        "No message came within 0.2 seconds.",
        "",
        "/ws/, after seconds:",
        "-> websocket.connect",
    ]
    assert lines[4].startswith("<- websocket.accept headers=[")
    assert lines[5:] == [
        "-> websocket.receive text=''",
        f"-> websocket.receive text='{'x' * 27}...{'x' * 28}'",
        "",
    ]
    first, code, *_ = stack.splitlines()
    assert re.fullmatch(r'  File ".*test_test_failures.py", line \d+, in silent', first)
    assert code == "    await asyncio.Event().wait()"


def test_timeout_of_the_socket(serve):
    """Every wait of a socket has its timeout, unless it has one of its own."""
    serve(silent)
    with Client().websocket("/ws/", timeout=2) as socket:
        with pytest.raises(TimeoutError, match=r"^No message came within 0\.1 seconds"):
            socket.recv(timeout=0.1)
        socket.timeout = 0.2
        with pytest.raises(TimeoutError, match=r"^No message came within 0\.2 seconds"):
            socket.recv()


def test_timeout_of_one_second(serve):
    """The error of a wait of one second, the default, is in the singular."""
    serve(silent)
    with Client().websocket("/ws/") as socket:
        with pytest.raises(TimeoutError, match=r"^No message came within 1 second\.\n"):
            socket.recv()


def test_timeout_of_the_handshake(serve):
    """A view that does not accept is shown, and does not outlive the test."""
    ended = []

    @websocket
    async def view(socket):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    serve(view)
    with pytest.raises(TimeoutError) as raised:
        with Client().websocket("/ws/", timeout=0.5):
            pass
    text = str(raised.value)
    assert text.startswith("The handshake was not answered within 0.5 seconds.\n")
    assert "in view\n    await asyncio.Event().wait()" in text
    assert ended == [True]


def test_view_does_not_end(urls):
    """A view that goes on after the block is shown and cancelled."""
    ended = []

    @websocket
    async def view(socket):
        try:
            await socket.recv()
        except ConnectionClosed:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(True)

    urls(path("ws/", view), path("echo/", echo))
    # While another socket is open, which keeps the event loop.
    with Client().websocket("/echo/"):
        with pytest.raises(TimeoutError) as raised:
            with Client().websocket("/ws/") as socket:
                socket.timeout = 0.2
        assert ended == [True]
    text = str(raised.value)
    assert text.startswith("The view did not end within 0.2 seconds.\n")
    assert "in view\n    await asyncio.Event().wait()" in text


def test_view_that_cannot_be_cancelled(serve, settings_of_ours):
    """Not even a view that swallows its cancellation keeps the test."""
    settings_of_ours(SHUTDOWN_TIMEOUT=0.1)
    patience = time.monotonic() + 15

    @websocket
    async def view(socket):
        await socket.accept()
        while time.monotonic() < patience:
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                pass

    serve(view)
    with pytest.raises(
        TimeoutError, match=r"^The view did not end within 0\.1 seconds"
    ):
        with Client().websocket("/ws/") as socket:
            socket.timeout = 0.1
    assert time.monotonic() < patience


def test_view_blocks_the_loop(serve):
    """A view that blocks the event loop does not block the test, which shows it."""
    free = threading.Event()

    @websocket
    async def view(socket):
        await socket.recv()
        free.wait(30)

    serve(view)
    try:
        with pytest.raises(TimeoutError) as raised:
            with Client().websocket("/ws/") as socket:
                socket.timeout = 0.1
                socket.send("")
                socket.recv()
        # Others are not concerned.
        serve(echo)
        with Client().websocket("/ws/") as socket:
            socket.send("hello")
            assert socket.recv() == "hello"
    finally:
        free.set()
    text = str(raised.value)
    assert text.startswith("The event loop has stood still for 2.2 seconds in:\n")
    assert "in view\n    free.wait(30)" in text


def test_transcript_of_many(serve):
    """A long transcript has the last 50 events."""
    serve(echo)
    with Client().websocket("/ws/") as socket:
        for _ in range(30):
            socket.send("hello")
            socket.recv()
        with pytest.raises(TimeoutError) as raised:
            socket.recv(timeout=0)
    lines = without_times(str(raised.value)).splitlines()
    assert lines[3].strip() == "(12 events before)"
    assert lines[4:54:2] == ["-> websocket.receive text='hello'"] * 25
