"""The test client: what is logged meanwhile, in the errors that a test sees."""

import asyncio
import gc
import logging
import threading
from contextlib import ExitStack

import pytest
from asgiref.sync import sync_to_async
from django.http import HttpResponse
from django.test import SimpleTestCase, override_settings
from django.urls import path
from talking import echo

from django_asgi_ext import ConnectionClosed, WebSocketView, websocket
from django_asgi_ext.test import AsyncClient, Client, HandshakeDenied, log

logger = logging.getLogger("django_asgi_ext.websocket")


def page(request):
    """Answer as a view that is none for WebSockets."""
    return HttpResponse()


NO_WEBSOCKET_VIEW = (
    "Not Found: /ws/ (The URL is that of test_test_log.page, which is no WebSocket "
    "view. Make it an async def and put @websocket on it.)"
)


class Answers(WebSocketView):
    """Returns what it should send."""

    async def receive(self, message):
        return "hello"


NOBODY_GETS_IT = (
    "test_test_log.Answers.receive returned 'hello' after it had accepted. Nobody "
    "gets it. Send it by await socket.send(...)."
)


@websocket
async def warns(socket):
    """Log as a warning what it is sent."""
    async for message in socket:
        logger.warning("The message is %s.", message)
        await socket.send("logged")


def log_lines(text):
    """Return the lines of a transcript that were logged."""
    return [line.partition(" !! ")[2] for line in text.splitlines() if " !! " in line]


# In errors


def test_reason_of_a_denial(serve):
    """A denial has the reason that Django logs, in its text and in the transcript."""
    serve(page)
    with pytest.raises(HandshakeDenied) as denied:
        with Client().websocket("/ws/"):
            pass
    assert str(denied.value) == (
        f"The handshake was denied with 404 Not Found.\n{NO_WEBSOCKET_VIEW}"
    )
    assert denied.value.reasons == [NO_WEBSOCKET_VIEW]
    (note,) = denied.value.__notes__
    assert log_lines(note) == [NO_WEBSOCKET_VIEW]


async def test_reason_in_an_async_test(serve):
    """A denial has its reason in an async test too."""
    serve(page)
    with pytest.raises(HandshakeDenied) as denied:
        async with AsyncClient().websocket("/ws/"):
            pass
    assert denied.value.reasons == [NO_WEBSOCKET_VIEW]


def test_reason_of_django(serve):
    """The reasons of Django's own security are told too."""
    serve(echo)
    with pytest.raises(HandshakeDenied) as denied:
        with Client(HTTP_HOST="evil.example").websocket("/ws/"):
            pass
    assert str(denied.value) == (
        "The handshake was denied with 400 Bad Request.\n"
        "Invalid HTTP_HOST header: 'evil.example'. You may need to add "
        "'evil.example' to ALLOWED_HOSTS."
    )


def test_no_reason(urls):
    """What Django logs of each denial is no reason."""
    urls()
    with pytest.raises(HandshakeDenied) as denied:
        with Client().websocket("/ws/"):
            pass
    assert str(denied.value) == "The handshake was denied with 404 Not Found."
    assert log_lines(denied.value.__notes__[0]) == ["Not Found: /ws/"]


def test_closed_before_the_accept():
    """An application that closes without a response is told of as one that sends it."""

    async def application(scope, receive, send):
        logger.warning("There is no room.")
        await send({"type": "websocket.close"})

    with pytest.raises(HandshakeDenied) as denied:
        with Client(application=application).websocket("/ws/"):
            pass
    assert denied.value.reasons == ["There is no room."]
    assert log_lines(denied.value.__notes__[0]) == ["There is no room."]


def test_timeout(urls):
    """The error of a wait has the warnings that were logged before."""
    urls(path("ws/", Answers.as_view()))
    with Client().websocket("/ws/") as socket:
        socket.send("")
        with pytest.raises(TimeoutError) as raised:
            socket.recv(timeout=0.2)
    assert log_lines(str(raised.value)) == [NOBODY_GETS_IT]


def test_await_forgotten(serve):
    """With DEBUG the error of a wait has the line where the view awaits nothing."""

    @websocket
    async def view(socket):
        await socket.accept()
        socket.send("hello")
        await socket.recv()

    serve(view)
    with override_settings(DEBUG=True):
        with Client().websocket("/ws/") as socket:
            with pytest.raises(TimeoutError) as raised:
                socket.recv(timeout=0.2)
    (line,) = log_lines(str(raised.value))
    assert "socket.send(...) of the view test_test_log." in line
    assert line.endswith("does nothing without await. Write await socket.send(...).")


def test_closed(serve):
    """A ConnectionClosed has a note of the warnings that were logged before."""

    @websocket
    async def view(socket):
        await socket.accept()
        return {"count": 1}

    serve(view)
    with Client().websocket("/ws/") as socket:
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv()
    (line,) = log_lines(closed.value.__notes__[0])
    assert "view returned {'count': 1} after it had accepted. Nobody gets it." in line


# Which records


async def test_only_its_own(serve):
    """A socket has what is logged for it, not for another one or by the test."""
    serve(warns)
    client = AsyncClient()
    async with client.websocket("/ws/") as one, client.websocket("/ws/") as other:
        await one.send("one")
        await one.recv()
        await other.send("other")
        await other.recv()
        logger.warning("The test.")
        for socket, name in [(one, "one"), (other, "other")]:
            with pytest.raises(TimeoutError) as raised:
                await socket.recv(timeout=0)
            assert log_lines(str(raised.value)) == [f"The message is {name}."]


def test_threads_and_tasks(serve):
    """What the threads and tasks of a view log is the view's."""

    async def in_a_task():
        logger.warning("In a task.")

    @websocket
    async def view(socket):
        await sync_to_async(logger.warning)("In a thread.")
        await asyncio.create_task(in_a_task())
        await socket.send("logged")
        await socket.recv()

    serve(view)
    with Client().websocket("/ws/") as socket:
        assert socket.recv() == "logged"
        with pytest.raises(TimeoutError) as raised:
            socket.recv(timeout=0)
    assert log_lines(str(raised.value)) == ["In a thread.", "In a task."]


def test_other_loggers(serve, caplog):
    """What is no warning, or of another logger, stays out of the errors."""
    caplog.set_level(logging.DEBUG)

    @websocket
    async def view(socket):
        logger.info("No warning.")
        logging.getLogger("chat").warning("Not of Django.")
        await socket.recv()

    serve(view)
    with Client().websocket("/ws/") as socket:
        with pytest.raises(TimeoutError) as raised:
            socket.recv(timeout=0.1)
    assert log_lines(str(raised.value)) == []
    assert {"No warning.", "Not of Django."} <= set(caplog.messages)


def test_wrong_record(serve, monkeypatch):
    """A record whose arguments are wrong harms the view as little as without us."""
    monkeypatch.setattr(logging, "raiseExceptions", False)

    @websocket
    async def view(socket):
        logger.warning("%d messages", "many")
        await socket.recv()

    serve(view)
    with Client().websocket("/ws/") as socket:
        with pytest.raises(TimeoutError) as raised:
            socket.recv(timeout=0.1)
    assert log_lines(str(raised.value)) == ["%d messages"]


# What others see of it


def test_caplog(serve, caplog):
    """caplog sees each record once, as without the client."""
    serve(warns)
    with Client().websocket("/ws/") as socket:
        socket.send("1")
        socket.recv()
    assert caplog.record_tuples == [
        (logger.name, logging.WARNING, "The message is 1."),
    ]


def test_assert_logs(serve):
    """assertLogs() sees the records, around the block and inside of it."""
    serve(warns)
    case = SimpleTestCase()
    with case.assertLogs(logger, logging.WARNING) as around:
        with Client().websocket("/ws/") as socket:
            socket.send("1")
            socket.recv()
            with case.assertLogs(logger, logging.WARNING) as inside:
                socket.send("2")
                socket.recv()
            with pytest.raises(TimeoutError) as raised:
                socket.recv(timeout=0)
    assert [record.getMessage() for record in around.records] == ["The message is 1."]
    assert [record.getMessage() for record in inside.records] == ["The message is 2."]
    lines = ["The message is 1.", "The message is 2."]
    assert log_lines(str(raised.value)) == lines


def test_record_factory(serve):
    """The project's factory of records makes them, and is there again at the end."""

    class Record(logging.LogRecord):
        pass

    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(Record)
    try:
        serve(warns)
        client = Client()
        with SimpleTestCase().assertLogs(logger) as logs, ExitStack() as stack:
            with client.websocket("/ws/"):
                other = stack.enter_context(client.websocket("/ws/"))
            # The first one has left before the other.
            other.send("1")
            other.recv()
            with pytest.raises(TimeoutError) as raised:
                other.recv(timeout=0)
        assert log_lines(str(raised.value)) == ["The message is 1."]
        assert type(logs.records[0]) is Record
        assert logging.getLogRecordFactory() is Record
    finally:
        logging.setLogRecordFactory(before)


def test_record_factory_after_a_stuck_view(serve):
    """A view that blocks the event loop does not keep the factory from going."""
    free = threading.Event()
    before = logging.getLogRecordFactory()

    @websocket
    async def view(socket):
        await socket.recv()
        free.wait(30)

    serve(view)
    try:
        with pytest.raises(TimeoutError, match=r"^The event loop has stood still"):
            with Client().websocket("/ws/", timeout=0.1) as socket:
                socket.send("")
                socket.recv()
        assert logging.getLogRecordFactory() is before
    finally:
        free.set()


def test_record_factory_of_a_forgotten_socket():
    """Who is forgotten without a word does not make the next one deaf."""

    class Listener:
        def __init__(self):
            self.heard = []

        def note_logged(self, text):
            self.heard.append(text)

    before = logging.getLogRecordFactory()
    try:
        log.connect(Listener())
        gc.collect()
        logging.setLogRecordFactory(before)
        listener = Listener()
        log.connect(listener)
        logger.warning("hello")
        assert listener.heard == ["hello"]
        log.disconnect(listener)
        assert logging.getLogRecordFactory() is before
    finally:
        logging.setLogRecordFactory(before)


def test_record_factory_set_meanwhile(serve):
    """A factory of records that is set while a socket is open stays."""
    before = logging.getLogRecordFactory()
    serve(warns)
    try:
        with Client().websocket("/ws/"):
            below = logging.getLogRecordFactory()

            def factory(*args, **kwargs):
                return below(*args, **kwargs)

            logging.setLogRecordFactory(factory)
        assert logging.getLogRecordFactory() is factory
        with Client().websocket("/ws/") as socket:
            socket.send("1")
            socket.recv()
            with pytest.raises(TimeoutError) as raised:
                socket.recv(timeout=0)
        assert log_lines(str(raised.value)) == ["The message is 1."]
        assert logging.getLogRecordFactory() is factory
    finally:
        logging.setLogRecordFactory(before)
