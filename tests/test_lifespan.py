"""The life of an application: startup, shutdown and what requests get of it."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager

import pytest
from asgiref.testing import ApplicationCommunicator
from django.http import JsonResponse
from django.urls import path
from hypercorn.asyncio import serve
from hypercorn.config import Config
from peer import Peer, websocket_scope
from project.http import request

from django_asgi_ext import ASGIHandler, get_asgi_application, websocket


class Server(ApplicationCommunicator):
    """A server that starts an application and shuts it down."""

    def __init__(self, application, **scope):
        super().__init__(application, {"type": "lifespan", "asgi": {}, **scope})

    async def startup(self):
        await self.send_input({"type": "lifespan.startup"})
        return await self.receive_output(timeout=5)

    async def shutdown(self):
        await self.send_input({"type": "lifespan.shutdown"})
        event = await self.receive_output(timeout=5)
        await self.wait(timeout=5)
        return event


STARTED = {"type": "lifespan.startup.complete"}
STOPPED = {"type": "lifespan.shutdown.complete"}


def yields(value):
    @asynccontextmanager
    async def lifespan():
        yield value

    return lifespan


@pytest.fixture
def states(urls):
    """Return the states that a request and a socket see in an application."""

    @websocket
    async def socket_state(socket):
        await socket.send_json(socket.request.scope.get("state"))

    def page_state(request):
        return JsonResponse({"state": request.scope.get("state")})

    urls(path("ws/", socket_state), path("page/", page_state))

    async def get(application, **scope):
        peer = Peer(application, websocket_scope(**scope))
        await peer.accepted()
        state = await peer.hear()
        await peer.closed()
        _, _, body = await request(application, "/page/", **scope)
        return state, body

    return get


async def test_without():
    """Without a lifespan startup and shutdown are acknowledged."""
    server = Server(get_asgi_application())
    assert await server.startup() == STARTED
    assert await server.shutdown() == STOPPED


async def test_around_the_application():
    """The context is entered before the application starts and left at its end."""
    steps = []

    @asynccontextmanager
    async def lifespan():
        steps.append("enter")
        yield
        steps.append("leave")

    server = Server(get_asgi_application(lifespan=lifespan))
    assert steps == []
    assert await server.startup() == STARTED
    assert steps == ["enter"]
    assert await server.shutdown() == STOPPED
    assert steps == ["enter", "leave"]


async def test_class_as_lifespan():
    """Whatever returns an async context manager is a lifespan."""

    class Lifespan:
        async def __aenter__(self):
            return {"pool": 1}

        async def __aexit__(self, *exc_info):
            return None

    application = ASGIHandler(lifespan=Lifespan)
    server = Server(application)
    assert await server.startup() == STARTED
    assert application.lifespan.state == {"pool": 1}
    assert await server.shutdown() == STOPPED


async def test_enter_and_leave_in_one_task():
    """Startup and shutdown are one task, so that a task group may span them."""
    tasks = []

    @asynccontextmanager
    async def lifespan():
        tasks.append(asyncio.current_task())
        async with asyncio.timeout(10):
            yield
        tasks.append(asyncio.current_task())

    server = Server(ASGIHandler(lifespan=lifespan))
    await server.startup()
    await server.shutdown()
    assert tasks[0] is tasks[1]


async def test_start_twice():
    """An application may be started again after it was shut down."""
    application = ASGIHandler(lifespan=yields({"pool": 1}))
    for _ in range(2):
        server = Server(application)
        assert await server.startup() == STARTED
        assert application.lifespan.state == {"pool": 1}
        assert await server.shutdown() == STOPPED
        assert application.lifespan.state is None


async def test_state_of_the_server(states):
    """What is yielded goes into the server's state, which sockets and pages see."""
    state = {"server": True}
    application = ASGIHandler(lifespan=yields({"pool": 1}))
    server = Server(application, state=state)
    assert await server.startup() == STARTED
    assert state == {"server": True, "pool": 1}
    assert await states(application, state=state) == (
        '{"server": true, "pool": 1}',
        '{"state": {"server": true, "pool": 1}}',
    )
    await server.shutdown()


async def test_state_without_one_of_the_server(states):
    """Sockets and pages see the state where the server knows none."""
    application = ASGIHandler(lifespan=yields({"pool": 1}))
    server = Server(application)
    await server.startup()
    assert await states(application) == ('{"pool": 1}', '{"state": {"pool": 1}}')
    await server.shutdown()


async def test_state_is_copied(urls):
    """What a socket puts into its state is not seen by the next one."""
    seen = []

    @websocket
    async def view(socket):
        seen.append(dict(socket.request.scope["state"]))
        socket.request.scope["state"]["mine"] = True

    urls(path("ws/", view))
    application = ASGIHandler(lifespan=yields({"pool": 1}))
    server = Server(application)
    await server.startup()
    for _ in range(2):
        await Peer(application, websocket_scope()).denied()
    await server.shutdown()
    assert seen == [{"pool": 1}, {"pool": 1}]


async def test_empty_state(states):
    """An empty dict that is yielded is a state as well."""
    application = ASGIHandler(lifespan=yields({}))
    server = Server(application)
    await server.startup()
    assert await states(application) == ("{}", '{"state": {}}')
    await server.shutdown()


async def test_no_state(states):
    """Without a lifespan the scope is the server's."""
    assert await states(ASGIHandler()) == ("null", '{"state": null}')


async def test_yield_other(caplog):
    """A lifespan that yields something else fails to start."""
    server = Server(ASGIHandler(lifespan=yields(["pool"])))
    assert await server.startup() == {
        "type": "lifespan.startup.failed",
        "message": "lifespan must yield a dict or None, not ['pool'].",
    }
    await server.wait(timeout=5)
    (record,) = caplog.records
    assert record.name == "django_asgi_ext.lifespan"


async def test_yield_other_and_swallow():
    """A lifespan that yields something else and swallows what follows fails too."""

    @asynccontextmanager
    async def lifespan():
        try:
            yield ["pool"]
        except Exception:
            pass

    server = Server(ASGIHandler(lifespan=lifespan))
    await server.send_input({"type": "lifespan.startup"})
    await server.wait(timeout=5)
    event = await server.receive_output(timeout=5)
    assert event["type"] == "lifespan.startup.failed"


async def test_fail_in_startup(caplog):
    """An exception in startup is told to the server; the log has the traceback."""

    @asynccontextmanager
    async def lifespan():
        raise OSError("No connection to Redis.")
        yield

    server = Server(ASGIHandler(lifespan=lifespan))
    assert await server.startup() == {
        "type": "lifespan.startup.failed",
        "message": "No connection to Redis.",
    }
    await server.wait(timeout=5)
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == (
        "ERROR",
        "The lifespan of the application failed in startup.",
    )
    assert record.exc_info[0] is OSError


async def test_fail_in_shutdown(caplog):
    """An exception in shutdown is told to the server; the log has the traceback."""

    @asynccontextmanager
    async def lifespan():
        yield
        raise OSError("Redis is gone.")

    server = Server(ASGIHandler(lifespan=lifespan))
    assert await server.startup() == STARTED
    assert await server.shutdown() == {
        "type": "lifespan.shutdown.failed",
        "message": "Redis is gone.",
    }
    (record,) = caplog.records
    assert record.getMessage() == "The lifespan of the application failed in shutdown."
    assert record.exc_info[0] is OSError


async def test_fail_without_text():
    """An exception without a text is told by its name."""

    @asynccontextmanager
    async def lifespan():
        raise ZeroDivisionError
        yield

    server = Server(ASGIHandler(lifespan=lifespan))
    assert (await server.startup())["message"] == "ZeroDivisionError"
    await server.wait(timeout=5)


async def test_no_state_after_shutdown(urls):
    """After the shutdown the state is gone, with whatever is in it."""
    urls(path("", lambda request: JsonResponse({"state": "state" in request.scope})))
    application = ASGIHandler(lifespan=yields({"pool": 1}))
    server = Server(application)
    await server.startup()
    assert (await request(application))[2] == '{"state": true}'
    await server.shutdown()
    assert (await request(application))[2] == '{"state": false}'


async def test_no_socket_after_shutdown(states):
    """After the shutdown no socket is let in, until the next startup."""
    application = ASGIHandler()
    server = Server(application)
    await server.startup()
    await server.shutdown()
    peer = Peer(application, websocket_scope())
    assert (await peer.denied())[0] == 503
    server = Server(application)
    await server.startup()
    assert await states(application) == ("null", '{"state": null}')
    await server.shutdown()


async def test_cancel():
    """A cancelled application leaves the context and swallows nothing."""
    left = []

    @asynccontextmanager
    async def lifespan():
        try:
            yield {"pool": 1}
        except BaseException as error:
            left.append(type(error))
            raise

    application = ASGIHandler(lifespan=lifespan)
    server = Server(application)
    await server.startup()
    server.future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await server.future
    assert left == [asyncio.CancelledError]
    assert application.lifespan.state is None
    assert server.output_queue.empty()


async def test_server_that_goes_away(caplog):
    """The context is left if the server's receive() fails in the middle."""
    left = []

    @asynccontextmanager
    async def lifespan():
        try:
            yield
        finally:
            left.append(True)

    events = iter([{"type": "lifespan.startup"}])

    async def receive():
        for event in events:
            return event
        raise OSError("The server is gone.")

    sent = []

    async def send(event):
        sent.append(event["type"])

    await ASGIHandler(lifespan=lifespan)({"type": "lifespan"}, receive, send)
    assert left == [True]
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.failed"]


async def test_suppress_at_shutdown():
    """A context that suppresses what ends it has shut down."""

    class Lifespan:
        async def __aenter__(self):
            return None

        async def __aexit__(self, *exc_info):
            return True

    events = iter([{"type": "lifespan.startup"}])

    async def receive():
        for event in events:
            return event
        raise OSError("The server is gone.")

    sent = []

    async def send(event):
        sent.append(event["type"])

    await ASGIHandler(lifespan=Lifespan)({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_not_callable():
    """A lifespan that is no function is refused at once."""
    with pytest.raises(TypeError) as error:
        ASGIHandler(lifespan={"pool": 1})
    assert str(error.value) == (
        "lifespan must be an async context manager function, not {'pool': 1}."
    )


def no_manager():
    return "pool"


@contextmanager
def sync_manager():
    yield


async def async_generator():
    yield


@pytest.mark.parametrize("lifespan", [no_manager, sync_manager, async_generator])
async def test_no_async_context_manager(lifespan):
    """A function that makes no async context manager fails with what to do."""
    server = Server(ASGIHandler(lifespan=lifespan))
    event = await server.startup()
    await server.wait(timeout=5)
    assert event["type"] == "lifespan.startup.failed"
    begin, _, end = event["message"].partition(", which")
    assert begin.startswith("lifespan returned ")
    assert end == (
        " is no async context manager. "
        "Put @contextlib.asynccontextmanager above the function."
    )


async def test_lifespans_of_two_applications():
    """Each application has a life and a state of its own."""
    first = ASGIHandler(lifespan=yields({"n": 1}))
    second = ASGIHandler(lifespan=yields({"n": 2}))
    servers = Server(first), Server(second)
    for server in servers:
        await server.startup()
    assert (first.lifespan.state, second.lifespan.state) == ({"n": 1}, {"n": 2})
    for server in servers:
        await server.shutdown()


def test_hypercorn_in_a_thread():
    """The lifespan runs behind a hypercorn that is not on the main thread."""
    seen = []

    @asynccontextmanager
    async def lifespan():
        seen.append("startup")
        yield
        seen.append("shutdown")

    async def until_startup():
        while not seen:
            await asyncio.sleep(0.01)

    async def run():
        config = Config()
        config.bind = ["127.0.0.1:0"]
        config.loglevel = "WARNING"
        application = ASGIHandler(lifespan=lifespan)
        async with asyncio.timeout(10):
            await serve(application, config, shutdown_trigger=until_startup)

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, run()).result()
    assert seen == ["startup", "shutdown"]
