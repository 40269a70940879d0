"""Views to talk to, and how the tests of the test clients do."""

import unittest

from project.databases import in_a_thread

from django_asgi_ext import websocket


@websocket(subprotocols=["echo.v2", "echo.v1"])
async def echo(socket):
    async for message in socket:
        await socket.send(message)


def telling(tell):
    """Return a view that answers each message with tell(socket)."""

    @websocket
    async def view(socket):
        async for _ in socket:
            await socket.send_json(tell(socket))

    return view


def ask(socket):
    """Return what a telling view tells."""
    socket.send("")
    return socket.recv_json()


def run(case):
    """Run the test of a case, in a thread with no event loop."""
    result = unittest.TestResult()
    in_a_thread(unittest.TestSuite([case("test")]).run, result)
    assert result.testsRun == 1
    assert not result.errors + result.failures, result.errors + result.failures
