"""The WebSocket object, over events as a server would send them."""

import asyncio
import datetime
import decimal
import re
import sys
import threading
import time
import traceback
import uuid

import pytest
from asgiref.sync import sync_to_async
from django.test import override_settings

from django_asgi_ext import (
    ConnectionClosed,
    GroupsUnavailable,
    InvalidJSON,
    InvalidState,
    websocket,
)
from django_asgi_ext.websockets import inbox


@pytest.fixture
def talk(connect):
    """Run an async function as a view, and hand out what it returned or raised."""

    def make(view, **arguments):
        scope = arguments.pop("scope", {})
        outcome = asyncio.get_running_loop().create_future()

        @websocket(**arguments)
        async def wrapper(socket):
            try:
                outcome.set_result(await view(socket))
            except BaseException as error:
                if not outcome.done():
                    outcome.set_exception(error)
                raise

        peer = connect(wrapper, **scope)
        peer.outcome = outcome
        return peer

    return make


def failure_text(error):
    """Return type and text of an error, to be compared in full."""
    return f"{type(error.value).__name__}: {error.value}"


async def test_accept_is_implied_by_recv(talk):
    """The first recv() completes the handshake."""

    async def view(socket):
        assert not socket.accepted
        message = await socket.recv()
        assert socket.accepted
        return message

    peer = talk(view)
    await peer.accepted()
    await peer.say("hello")
    assert await peer.outcome == "hello"
    assert await peer.closed() == (1000, "")


async def test_accept_is_implied_by_send(talk):
    """The first send() completes the handshake."""

    async def view(socket):
        await socket.send("hello")

    peer = talk(view)
    await peer.accepted()
    assert await peer.hear() == "hello"
    assert await peer.closed() == (1000, "")


async def test_accept_is_implied_by_iteration(talk):
    """Iterating completes the handshake, and ends when the peer has left."""

    async def view(socket):
        return [message async for message in socket]

    peer = talk(view)
    await peer.accepted()
    await peer.say("one")
    await peer.say(b"two")
    await peer.leave(4001)
    assert await peer.outcome == ["one", b"two"]


async def test_accept_once(talk):
    """A second accept() is an error that says so."""

    async def view(socket):
        await socket.accept()
        with pytest.raises(InvalidState) as error:
            await socket.accept()
        return failure_text(error)

    peer = talk(view)
    await peer.accepted()
    assert await peer.outcome == (
        "InvalidState: Cannot accept: the opening handshake is over. Call accept() "
        "before recv(), send(), join() and async for, which accept too."
    )
    await peer.closed()


async def test_tasks_that_open_at_once_accept_once(talk):
    """Several tasks that send at once complete the handshake once, before it all."""

    async def view(socket):
        await asyncio.gather(*(socket.send(str(number)) for number in range(5)))

    peer = talk(view)
    await peer.accepted()
    assert sorted([await peer.hear() for _ in range(5)]) == list("01234")
    assert await peer.closed() == (1000, "")


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([], None),
        (["other"], None),
        (["v2"], "v2"),
        (["other", "v2", "v1"], "v2"),
        (["v1", "v2"], "v1"),
    ],
)
async def test_subprotocol(talk, offered, chosen):
    """The first of the client's subprotocols that the view supports is taken."""

    async def view(socket):
        await socket.accept()
        return socket.subprotocol

    peer = talk(view, subprotocols=["v1", "v2"], scope={"subprotocols": offered})
    assert (await peer.accepted())["subprotocol"] == chosen
    assert await peer.outcome == chosen
    await peer.closed()


async def test_subprotocol_of_the_views_choice(talk):
    """accept() may take any subprotocol that the client has offered."""

    async def view(socket):
        await socket.accept(subprotocol="b")

    peer = talk(view, scope={"subprotocols": ["a", "b"]})
    assert (await peer.accepted())["subprotocol"] == "b"
    await peer.closed()


async def test_subprotocol_that_was_not_offered(talk):
    """accept() refuses a subprotocol that the client has not offered."""

    async def view(socket):
        with pytest.raises(ValueError) as error:
            await socket.accept(subprotocol="c")
        await socket.accept()
        return failure_text(error)

    peer = talk(view, scope={"subprotocols": ["a", "b"]})
    assert (await peer.accepted())["subprotocol"] is None
    assert await peer.outcome == (
        "ValueError: The client did not offer the subprotocol 'c' (offered: a, b)."
    )
    await peer.closed()


async def test_subprotocol_that_is_none(talk):
    """What a client offers that cannot name a subprotocol was not offered."""

    async def view(socket):
        with pytest.raises(ValueError) as error:
            await socket.accept(subprotocol="a b")
        await socket.accept()
        return failure_text(error)

    peer = talk(view, scope={"subprotocols": ["a b", "c"]})
    assert (await peer.accepted())["subprotocol"] is None
    assert await peer.outcome == (
        "ValueError: The client did not offer the subprotocol 'a b' (offered: c)."
    )
    await peer.closed()


async def test_accept_headers(talk):
    """Headers given to accept() go out on the 101, with names in lower case."""

    async def view(socket):
        await socket.accept(headers=[("X-One", "1"), ("X-One", "2")])

    peer = talk(view)
    headers = (await peer.accepted())["headers"]
    assert headers[-2:] == [(b"x-one", b"1"), (b"x-one", b"2")]
    await peer.closed()


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (
            ("X-Bad", "a\r\nSet-Cookie: b"),
            "The header 'X-Bad' has a control character in it.",
        ),
        (("Bad Name", "a"), "'Bad Name' is no name for a header (RFC 9110, 5.1)."),
        (("", "a"), "'' is no name for a header (RFC 9110, 5.1)."),
        (
            ("Sec-WebSocket-Protocol", "a"),
            "The header 'Sec-WebSocket-Protocol' belongs to the opening handshake.",
        ),
        (("Upgrade", "a"), "The header 'Upgrade' belongs to the opening handshake."),
    ],
)
async def test_accept_headers_that_are_refused(talk, header, text):
    """accept() refuses headers that would break the response or the handshake."""

    async def view(socket):
        with pytest.raises(ValueError) as error:
            await socket.accept(headers=dict([header]))
        await socket.accept()
        return str(error.value)

    peer = talk(view)
    await peer.accepted()
    assert await peer.outcome == text
    await peer.closed()


async def test_recv_after_peer_left(talk):
    """recv() raises ConnectionClosed with the peer's code and reason, every time."""

    async def view(socket):
        await socket.accept()
        seen = []
        for _ in range(2):
            with pytest.raises(ConnectionClosed) as error:
                await socket.recv()
            seen.append((error.value.code, error.value.reason, str(error.value)))
        assert (socket.close_code, socket.close_reason) == (4001, "because")
        return seen

    peer = talk(view)
    await peer.accepted()
    await peer.leave(4001, reason="because")
    text = "The WebSocket is closed: 4001 (because)."
    assert await peer.outcome == [(4001, "because", text)] * 2


@pytest.mark.parametrize(
    ("event", "code"), [({}, 1005), ({"code": None}, 1005), ({"code": 1006}, 1006)]
)
async def test_close_code_that_the_server_leaves_out(talk, event, code):
    """Without a close code in the server's event the code is 1005."""

    async def view(socket):
        await socket.accept()
        async for _ in socket:
            pass
        return socket.close_code, socket.close_reason

    peer = talk(view)
    await peer.accepted()
    await peer.send_input({"type": "websocket.disconnect", **event})
    assert await peer.outcome == (code, "")
    await peer.wait(5)


async def test_send_after_peer_left(talk):
    """send() raises ConnectionClosed once the peer is known to be gone."""

    async def view(socket):
        async for _ in socket:
            pass
        with pytest.raises(ConnectionClosed) as error:
            await socket.send("hello")
        return str(error.value)

    peer = talk(view)
    await peer.accepted()
    await peer.leave(1001)
    assert await peer.outcome == "The WebSocket is closed: 1001."
    assert await peer.receive_nothing()


async def test_messages_before_the_disconnect_are_not_lost(talk):
    """What the peer sent before it left is received, also by a view that was busy."""
    resume = asyncio.Event()

    async def view(socket):
        await socket.accept()
        await resume.wait()
        messages = [await socket.recv() for _ in range(3)]
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        return messages

    peer = talk(view)
    await peer.accepted()
    for message in ("a", "b", "c"):
        await peer.say(message)
    await peer.send_input({"type": "websocket.disconnect", "code": 1000})
    await asyncio.sleep(0.4)  # The reader is at work, the view not cancelled yet.
    resume.set()
    assert await peer.outcome == ["a", "b", "c"]
    await peer.wait(5)


async def test_two_that_receive_at_once(talk):
    """A second recv() while one waits is an error; the first goes on."""

    async def view(socket):
        await socket.accept()
        first = asyncio.ensure_future(socket.recv())
        await asyncio.sleep(0)
        with pytest.raises(InvalidState) as error:
            await socket.recv()
        await socket.send("ready")
        return await first, str(error.value)

    peer = talk(view)
    await peer.accepted()
    assert await peer.hear() == "ready"
    await peer.say("hello")
    assert await peer.outcome == (
        "hello",
        "Cannot receive: another task is in recv() already. "
        "Receive in one task and hand the messages on.",
    )
    await peer.closed()


async def test_recv_with_a_timeout_loses_nothing(talk):
    """A recv() that was cancelled by a timeout leaves the message to the next one."""

    async def view(socket):
        await socket.accept()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.recv(), 0.01)
        await socket.send("now")
        return await socket.recv()

    peer = talk(view)
    await peer.accepted()
    assert await peer.hear() == "now"
    await peer.say("hello")
    assert await peer.outcome == "hello"
    await peer.closed()


@pytest.mark.parametrize(
    ("message", "heard"),
    [
        ("", ""),
        ("é😀", "é😀"),
        (b"", b""),
        (b"\0\xff", b"\0\xff"),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"abc")[1:], b"bc"),
    ],
)
async def test_send(talk, message, heard):
    """str goes out as text, everything like bytes as binary."""

    async def view(socket):
        await socket.send(message)

    peer = talk(view)
    await peer.accepted()
    event = await peer.receive_output()
    kind = "text" if isinstance(heard, str) else "bytes"
    assert event == {"type": "websocket.send", kind: heard}
    assert type(event[kind]) is type(heard)
    await peer.closed()


class Later:
    """What is to be awaited."""

    def __await__(self):
        yield


@pytest.mark.parametrize(
    ("message", "error_type", "text"),
    [
        (
            {"a": 1},
            TypeError,
            "send() takes str or bytes, not dict. Use send_json() for anything else.",
        ),
        (
            Later(),
            TypeError,
            "send() takes what a call returns. Write await before it.",
        ),
        (
            None,
            TypeError,
            "send() takes str or bytes, not NoneType. "
            "Use send_json() for anything else.",
        ),
        ("\ud800", ValueError, None),
    ],
)
async def test_send_what_cannot_be_sent(talk, message, error_type, text):
    """send() refuses what is no message, and the connection lives on."""

    async def view(socket):
        await socket.accept()
        with pytest.raises(error_type) as error:
            await socket.send(message)
        await socket.send("still here")
        return str(error.value)

    peer = talk(view)
    await peer.accepted()
    assert await peer.hear() == "still here"
    assert text is None or await peer.outcome == text
    await peer.closed()


async def test_send_json(talk):
    """send_json() encodes what Django's encoder knows."""
    number = uuid.UUID(int=1)

    async def view(socket):
        await socket.send_json(
            {
                "day": datetime.date(2026, 11, 22),
                "price": decimal.Decimal("1.50"),
                "id": number,
                "text": "é",
            }
        )

    peer = talk(view)
    await peer.accepted()
    assert await peer.hear() == (
        f'{{"day": "2026-11-22", "price": "1.50", "id": "{number}", "text": "\\u00e9"}}'
    )
    await peer.closed()


@pytest.mark.parametrize("value", [object(), {1: {2}}, float("nan"), float("inf")])
async def test_send_json_that_is_none(talk, value):
    """send_json() refuses what JSON cannot express."""

    async def view(socket):
        await socket.accept()
        with pytest.raises((TypeError, ValueError)):
            await socket.send_json(value)

    peer = talk(view)
    await peer.accepted()
    assert await peer.closed() == (1000, "")


@pytest.mark.parametrize(
    ("message", "value"),
    [('{"a": [1, null]}', {"a": [1, None]}), (b'"\xc3\xa9"', "é"), ("7", 7)],
)
async def test_recv_json(talk, message, value):
    """recv_json() decodes text and binary messages."""

    async def view(socket):
        return await socket.recv_json()

    peer = talk(view)
    await peer.accepted()
    await peer.say(message)
    assert await peer.outcome == value
    await peer.closed()


@pytest.mark.parametrize(
    "message",
    [
        "",
        "{",
        "{'a': 1}",
        "NaN",
        "-Infinity",
        b"\xff\xfe\xfd",
        "[" * 100_000,
        "1" * 5000,
    ],
)
async def test_recv_json_that_is_none(talk, message):
    """recv_json() raises InvalidJSON for all that is no JSON, and loses no message."""

    async def view(socket):
        with pytest.raises(InvalidJSON):
            await socket.recv_json()
        return await socket.recv_json()

    peer = talk(view)
    await peer.accepted()
    await peer.say(message)
    await peer.say("[]")
    assert await peer.outcome == []
    await peer.closed()


async def test_invalid_json_that_nobody_handles(talk, caplog):
    """InvalidJSON ends the connection with 1007, a warning and no traceback."""

    async def view(socket):
        await socket.recv_json()

    peer = talk(view)
    await peer.accepted()
    await peer.say("{")
    assert await peer.closed() == (1007, "")
    with pytest.raises(InvalidJSON):
        await peer.outcome
    (record,) = [r for r in caplog.records if r.levelname == "WARNING"]
    assert record.name == "django_asgi_ext.websocket"
    assert record.exc_info is None
    assert record.message.startswith("WebSocket /ws/: The message is no JSON: ")


async def test_groups_unavailable_that_nobody_handles(talk, caplog):
    """GroupsUnavailable ends the connection with 1013, a warning and no traceback."""

    async def view(socket):
        await socket.accept()
        raise GroupsUnavailable("It is away.")

    peer = talk(view)
    await peer.accepted()
    assert await peer.closed() == (1013, "")
    with pytest.raises(GroupsUnavailable):
        await peer.outcome
    (record,) = [r for r in caplog.records if r.levelname == "WARNING"]
    assert record.exc_info is None
    assert record.message == "WebSocket /ws/: It is away."


async def test_close(talk):
    """close() sends code and reason once; what comes later raises ConnectionClosed."""

    async def view(socket):
        await socket.accept()
        await socket.close(4000, "enough")
        await socket.close(4001, "again")
        assert (socket.close_code, socket.close_reason) == (4000, "enough")
        texts = []
        for call in (socket.recv, lambda: socket.send("more")):
            with pytest.raises(ConnectionClosed) as error:
                await call()
            texts.append(str(error.value))
        return texts

    peer = talk(view)
    await peer.accepted()
    assert await peer.closed() == (4000, "enough")
    assert await peer.outcome == ["The WebSocket is closed: 4000 (enough)."] * 2
    assert await peer.receive_nothing()


async def test_close_with_a_code_that_must_not_be_sent(talk):
    """close() refuses a code before anything is sent."""

    async def view(socket):
        await socket.accept()
        with pytest.raises(ValueError):
            await socket.close(1006)
        assert socket.close_code is None

    peer = talk(view)
    await peer.accepted()
    assert await peer.closed() == (1000, "")


async def test_close_before_accept(talk):
    """close() before accept refuses the handshake, and that is the end."""

    async def view(socket):
        await socket.close()
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        with pytest.raises(ConnectionClosed):
            await socket.send("hello")
        with pytest.raises(ConnectionClosed):
            await socket.accept()

    peer = talk(view)
    assert (await peer.connect())["type"] == "websocket.close"
    await peer.outcome
    await peer.wait(5)


async def test_close_while_another_task_receives(talk):
    """close() in one task ends a recv() that waits in another."""

    async def view(socket):
        await socket.accept()
        receiving = asyncio.ensure_future(socket.recv())
        await asyncio.sleep(0)
        await socket.close(4000, "enough")
        with pytest.raises(ConnectionClosed) as error:
            await receiving
        return str(error.value), receiving.cancelled()

    peer = talk(view)
    await peer.accepted()
    assert await peer.closed() == (4000, "enough")
    assert await peer.outcome == ("The WebSocket is closed: 4000 (enough).", False)


async def test_view_that_awaits_something_else_is_cancelled(talk):
    """A view that does not look is cancelled within a second of the peer leaving."""
    loop = asyncio.get_running_loop()
    cleaned_up = []

    async def view(socket):
        await socket.accept()
        try:
            await asyncio.sleep(30)
        finally:
            cleaned_up.append(loop.time())

    peer = talk(view)
    await peer.accepted()
    left = loop.time()
    await peer.leave(1001)
    with pytest.raises(asyncio.CancelledError):
        await peer.outcome
    assert cleaned_up[0] - left < 1


async def test_view_that_is_told_finishes_in_its_own_time(talk):
    """A view that has seen the end of the connection is not cancelled."""

    async def view(socket):
        async for _ in socket:
            pass
        await asyncio.sleep(0.9)
        return "finished"

    peer = talk(view)
    await peer.accepted()
    await peer.leave()
    assert await peer.outcome == "finished"


async def test_view_that_only_sends_is_told(talk):
    """A view that never receives gets ConnectionClosed from send()."""

    async def view(socket):
        await socket.accept()
        while True:
            await socket.send("tick")
            await asyncio.sleep(0.01)

    peer = talk(view)
    await peer.accepted()
    await peer.leave(1001)
    with pytest.raises(ConnectionClosed) as error:
        await peer.outcome
    assert error.value.code == 1001


async def test_peer_that_leaves_before_accept(talk):
    """A peer that goes away before accept cancels the view, and nothing is sent."""

    async def view(socket):
        await asyncio.sleep(30)

    peer = talk(view)
    await peer.send_input({"type": "websocket.connect"})
    await peer.leave(1006)
    with pytest.raises(asyncio.CancelledError):
        await peer.outcome
    assert await peer.receive_nothing()


@pytest.mark.parametrize(
    ("message", "fits"),
    [("x" * 20, True), ("x" * 21, False), ("é" * 10, True), ("é" * 11, False)],
)
async def test_max_message_size(talk, message, fits):
    """A message may have as many bytes as the view allows; a larger one closes."""
    for sent in (message, message.encode()):

        async def view(socket):
            return await socket.recv()

        peer = talk(view, max_message_size=20)
        await peer.accepted()
        await peer.say(sent)
        if fits:
            assert await peer.closed() == (1000, "")
            assert await peer.outcome == sent
        else:
            assert await peer.closed() == (1009, "over 20 bytes")
            with pytest.raises(ConnectionClosed) as error:
                await peer.outcome
            assert error.value.code == 1009


async def test_max_message_size_is_a_setting(talk, settings_of_ours):
    """Without a limit of the view's own, MAX_MESSAGE_SIZE applies."""
    settings_of_ours(MAX_MESSAGE_SIZE=3)

    async def view(socket):
        return [message async for message in socket]

    peer = talk(view)
    await peer.accepted()
    await peer.say("abc")
    await peer.say("abcd")
    assert await peer.closed() == (1009, "over 3 bytes")
    assert await peer.outcome == ["abc"]


async def test_peer_that_does_not_answer_the_close(talk, settings_of_ours):
    """A peer that never answers our close is waited for until CLOSE_TIMEOUT."""
    settings_of_ours(CLOSE_TIMEOUT=0.1)

    async def view(socket):
        await socket.accept()

    peer = talk(view)
    await peer.accepted()
    assert (await peer.receive_output())["type"] == "websocket.close"
    for _ in range(100):
        await peer.say("flood")
    await peer.wait(2)


async def test_events_that_are_unknown_are_passed_over(talk):
    """An event that no specification names disturbs nobody."""

    async def view(socket):
        return await socket.recv()

    peer = talk(view)
    await peer.accepted()
    await peer.send_input({"type": "websocket.surprise"})
    await peer.say("hello")
    assert await peer.outcome == "hello"
    await peer.closed()


async def test_path_and_repr(talk):
    """path is the request's, and repr() shows it with the state."""

    async def view(socket):
        before = repr(socket)
        await socket.accept()
        return socket.path, before, repr(socket)

    peer = talk(view)
    await peer.accepted()
    assert await peer.outcome == (
        "/ws/",
        "<WebSocket /ws/ CONNECTING>",
        "<WebSocket /ws/ OPEN>",
    )
    await peer.closed()


async def test_seconds(talk):
    """seconds is the age of the connection, 0 before it is accepted."""

    async def view(socket):
        before = socket.seconds
        await socket.accept()
        await asyncio.sleep(0.01)
        return before, socket.seconds

    peer = talk(view)
    await peer.accepted()
    before, after = await peer.outcome
    assert before == 0
    assert 0.01 <= after < 5
    await peer.closed()


async def test_server_that_cancels(talk):
    """A server that cancels the application: the peer sees 1012, the view cleans up."""
    cleaned_up = []

    async def view(socket):
        await socket.accept()
        try:
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(0)
            cleaned_up.append(True)

    peer = talk(view)
    await peer.accepted()
    peer.future.cancel()
    event = await asyncio.wait_for(peer.output_queue.get(), 5)
    assert event == {"type": "websocket.close", "code": 1012, "reason": ""}
    with pytest.raises(asyncio.CancelledError):
        await peer.outcome
    assert cleaned_up == [True]


async def test_open_timeout(talk, settings_of_ours, caplog):
    """A view that does not accept in time is cancelled, the peer gets 503."""
    settings_of_ours(OPEN_TIMEOUT=0.5)

    async def view(socket):
        await asyncio.sleep(30)

    peer = talk(view)
    assert (await peer.denied())[0] == 503
    with pytest.raises(asyncio.CancelledError):
        await peer.outcome
    await peer.wait(5)
    (text,) = [
        record.message for record in caplog.records if "accept" in record.message
    ]
    assert text.endswith(" did not accept within 0.5 seconds of the handshake.")


async def test_open_timeout_ends_with_accept(talk, settings_of_ours):
    """A view that has accepted takes all the time it likes."""
    settings_of_ours(OPEN_TIMEOUT=0.5)

    async def view(socket):
        await socket.accept()
        await asyncio.sleep(0.6)
        return "done"

    peer = talk(view)
    await peer.accepted()
    assert await peer.outcome == "done"
    await peer.closed()


async def test_max_connections(connect, settings_of_ours):
    """One connection more than there may be gets 503, until one has ended."""
    settings_of_ours(MAX_CONNECTIONS=2)

    @websocket
    async def echo(socket):
        async for message in socket:
            await socket.send(message)

    first, second = connect(echo), connect()
    await first.accepted()
    await second.accepted()
    assert (await connect().denied())[0] == 503
    await first.leave()
    third = connect()
    await third.accepted()
    await second.leave()
    await third.leave()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nothing", "'WebSocket' object has no attribute 'nothing'"),
        (
            "receive_json",
            "'WebSocket' object has no attribute 'receive_json'. Here it is: await "
            "socket.recv_json().",
        ),
        (
            "META",
            "'WebSocket' object has no attribute 'META'. The request has: "
            "socket.request.META. If a decorator asked for it, put that above "
            "@websocket.",
        ),
    ],
)
async def test_attribute_that_is_missing(talk, name, text):
    """Who asks the socket for what the request has is told where it is."""

    async def view(socket):
        with pytest.raises(AttributeError) as error:
            getattr(socket, name)
        await socket.accept()
        return traceback.format_exception_only(error.value)

    peer = talk(view)
    await peer.accepted()
    # Without what Python finds that is called alike.
    assert await peer.outcome == [f"AttributeError: {text}\n"]


async def test_attribute_that_is_misspelt(talk):
    """Who misspells an attribute is told by Python which one is called alike."""

    async def view(socket):
        with pytest.raises(AttributeError) as error:
            socket.sesion  # noqa: B018
        await socket.accept()
        return traceback.format_exception_only(error.value)

    peer = talk(view)
    await peer.accepted()
    # Since Python 3.12.
    hint = r"(\. Did you mean: '\w+'\?)?"
    text = rf"AttributeError: 'WebSocket' object has no attribute 'sesion'{hint}\n"
    assert re.fullmatch(text, (await peer.outcome)[0])
    await peer.closed()


async def test_view_that_only_sends_holds_no_thread(connect, settings_of_ours):
    """A view that never receives gives its thread back when it makes no call."""
    settings_of_ours(THREADS=1)

    @websocket
    async def pushing(socket):
        await sync_to_async(threading.get_ident)()
        await socket.send("ready")
        await asyncio.sleep(30)

    peers = [connect(pushing), connect(), connect()]
    for peer in peers:
        await peer.accepted()
        assert await peer.hear() == "ready"
    for peer in peers:
        await peer.leave()


async def test_timed_out_recv_keeps_the_watch(talk):
    """A view that goes on after a recv() that timed out is cancelled all the same."""

    async def view(socket):
        await socket.accept()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.recv(), 0.4)
        await socket.send("waiting")
        await asyncio.sleep(30)

    peer = talk(view)
    await peer.accepted()
    assert await peer.hear() == "waiting"
    await peer.leave(1001)
    with pytest.raises(asyncio.CancelledError):
        await peer.outcome


async def test_flood_that_nobody_reads(talk, monkeypatch, caplog):
    """A view that never takes what its peer sends is ended, the peer sees 1008."""
    monkeypatch.setattr(inbox, "FULL_TIMEOUT", 0.1)

    async def view(socket):
        await socket.accept()
        await asyncio.sleep(30)

    peer = talk(view)
    await peer.accepted()
    for _ in range(100):
        await peer.say("flood")
    assert await peer.closed() == (1008, "")
    with pytest.raises(asyncio.CancelledError):
        await peer.outcome
    (text,) = [r.message for r in caplog.records if "peer sends" in r.message]
    assert text.endswith(" does not take what its peer sends.")


async def test_view_that_sends_without_end(talk):
    """A view that only sends, to a server that never waits, lets others run."""

    async def view(socket):
        while True:
            await socket.send("tick")

    peer = talk(view)
    application = peer.application

    async def forgetting(scope, receive, send):
        async def send_to_nobody(event):
            if event["type"] != "websocket.send":
                await send(event)

        await application(scope, receive, send_to_nobody)

    peer.application = forgetting
    await peer.accepted()
    await peer.leave(1001)
    with pytest.raises(ConnectionClosed) as error:
        await peer.outcome
    assert error.value.code == 1001


@pytest.mark.parametrize("method", ["recv", "send"])
async def test_view_that_tries_again_and_again(talk, method):
    """A view that does not believe that its peer is gone lets others run."""

    async def view(socket):
        await socket.accept()
        enough = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.1, enough.set_result, None)
        while not enough.done():
            try:
                await (socket.recv() if method == "recv" else socket.send("hello?"))
            except ConnectionClosed:
                pass
        return "enough"

    peer = talk(view)
    await peer.accepted()
    await peer.leave()
    assert await peer.outcome == "enough"


async def test_close_code_when_another_task_receives(talk):
    """A send() that fails waits for the close code that another task will receive."""

    async def view(socket):
        await socket.accept()
        receiving = asyncio.ensure_future(socket.recv())
        await asyncio.sleep(0)
        with pytest.raises(ConnectionClosed) as error:
            await socket.send("hello?")
        with pytest.raises(ConnectionClosed):
            await receiving
        return error.value.code, error.value.reason

    peer = talk(view)
    application = peer.application
    failed = asyncio.Event()

    async def broken(scope, receive, send):
        async def broken_send(event):
            if event["type"] == "websocket.send":
                failed.set()
                raise ConnectionResetError
            await send(event)

        await application(scope, receive, broken_send)

    peer.application = broken
    await peer.accepted()
    await failed.wait()
    await peer.leave(4001, reason="bye")
    assert await peer.outcome == (4001, "bye")


async def test_slow_view_gets_all_messages(talk):
    """A view that takes its time gets what the peer sent before it left."""

    async def view(socket):
        messages = []
        async for message in socket:
            messages.append(message)
            await asyncio.sleep(0.3)
        return messages

    peer = talk(view)
    await peer.accepted()
    for number in range(6):
        await peer.say(str(number))
    await peer.leave()
    assert await peer.outcome == list("012345")


async def test_view_that_is_back_relieves_the_reader(talk):
    """No second task waits for the server once a slow view is back in recv()."""
    inboxes = []

    async def until(condition):
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0.01)

    async def view(socket):
        await socket.accept()
        inboxes.append(inbox := socket._transport.inbox)
        await until(lambda: inbox._reader is not None)
        return [await socket.recv(), await socket.recv()]

    peer = talk(view)
    await peer.accepted()
    await until(lambda: inboxes and inboxes[0].receiver is not None)
    await until(lambda: inboxes[0]._reader is None)
    await peer.say("one")
    await peer.say("two")
    assert await peer.outcome == ["one", "two"]


async def test_view_that_is_back_before_the_reader_begins(talk):
    """A view that is back when the reader is about to begin gets its messages."""

    async def view(socket):
        await socket.accept()
        socket._transport.inbox._read_ahead()
        return [message async for message in socket]

    peer = talk(view)
    await peer.accepted()
    await peer.say("one")
    await peer.leave()
    assert await peer.outcome == ["one"]


async def test_view_that_is_cancelled_before_the_reader_begins(talk):
    """A task that is cancelled in that moment leaves the messages to the next one."""

    async def view(socket):
        await socket.accept()
        task = asyncio.ensure_future(socket.recv())
        socket._transport.inbox._read_ahead()
        asyncio.get_running_loop().call_soon(task.cancel)
        await asyncio.wait({task})
        return [message async for message in socket]

    peer = talk(view)
    await peer.accepted()
    await peer.say("one")
    await peer.leave()
    assert await peer.outcome == ["one"]


async def test_cancel_and_close_at_once(talk):
    """A task that is cancelled while another closes stays cancelled."""

    async def view(socket):
        await socket.accept()
        receiving = asyncio.ensure_future(socket.recv())
        await asyncio.sleep(0)
        receiving.cancel()
        await socket.close()
        await asyncio.wait({receiving})
        return receiving.cancelled()

    peer = talk(view)
    await peer.accepted()
    assert await peer.closed() == (1000, "")
    assert await peer.outcome is True


async def test_server_that_cancels_twice(talk):
    """A second cancellation by the server leaves no view behind."""
    cleaning = asyncio.Event()

    async def view(socket):
        await socket.accept()
        try:
            async for _ in socket:
                pass
            cleaning.set()
            await asyncio.sleep(30)
        finally:
            cleaning.set()

    peer = talk(view)
    await peer.accepted()
    peer.future.cancel()
    await asyncio.wait_for(cleaning.wait(), 5)
    peer.future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await peer.outcome


async def test_open_timeout_covers_the_middleware(connect, settings_of_ours, caplog):
    """A handshake that is stuck in middleware is denied with 503 in time."""
    settings_of_ours(OPEN_TIMEOUT=0.1)

    @websocket
    async def echo(socket):
        await socket.accept()

    def slow(get_response):
        def middleware(request):
            time.sleep(0.3)
            return get_response(request)

        return middleware

    sys.modules[__name__].slow = slow
    with override_settings(MIDDLEWARE=["test_connection.slow"]):
        peer = connect(echo)
        assert (await peer.denied())[0] == 503
        await peer.wait(5)
    (text,) = [r.message for r in caplog.records if "middleware" in r.message]
    assert text == (
        "The middleware was not done within 0.1 seconds of the handshake: /ws/"
    )
