"""
Random sequences of ASGI events and calls, in any order, at any time.

The server and the view each do what they like, as hypothesis finds it out; the
rules of a connection hold all the same. Time is virtual: a connection that
waits for ever is noticed at once.
"""

import asyncio
import logging
import os
import sys
from types import MethodType, ModuleType

import pytest
from asgiref.sync import AsyncToSync
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.test import override_settings
from django.urls import clear_url_caches, path
from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
)
from peer import websocket_scope
from virtual_time import InlineExecutor, VirtualTimeLoop

from django_asgi_ext import (
    ConnectionClosed,
    InvalidJSON,
    InvalidState,
    websocket,
)
from django_asgi_ext.websockets.handler import WebSocketHandler

# What a call on the socket may raise: errors of ours, those for a wrong argument,
# and those that the view has asked for.
ALLOWED = (
    ConnectionClosed,
    InvalidJSON,
    InvalidState,
    ValueError,
    TypeError,
    TimeoutError,
    asyncio.CancelledError,
)

# Longer than all timeouts of a connection together, in seconds.
LONG = 60

CALLS = {
    "accept": lambda socket: socket.accept(),
    "accept with headers": lambda socket: socket.accept(headers={"X-A": "b"}),
    "accept wrongly": lambda socket: socket.accept(subprotocol="none"),
    "recv": lambda socket: socket.recv(),
    "recv for a moment": lambda socket: asyncio.wait_for(socket.recv(), 0.1),
    "recv_json": lambda socket: socket.recv_json(),
    "next": lambda socket: anext(socket, None),
    "send": lambda socket: socket.send("text"),
    "send bytes": lambda socket: socket.send(b"bytes"),
    "send nonsense": lambda socket: socket.send(17),
    "send_json": lambda socket: socket.send_json({"a": 1}),
    "close": lambda socket: socket.close(),
    "close with reason": lambda socket: socket.close(4000, "reason"),
    "close wrongly": lambda socket: socket.close(1006),
}

ENDINGS = {
    "return": lambda: None,
    "response": lambda: HttpResponse("no", status=403),
    "nonsense": lambda: 17,
    "Http404": Http404("no"),
    "PermissionDenied": PermissionDenied("no"),
    "InvalidJSON": InvalidJSON("no"),
    "ConnectionClosed": ConnectionClosed(1000),
    "ValueError": ValueError("no"),
    "group": ExceptionGroup("group", [ConnectionClosed(1000), ValueError("no")]),
    "CancelledError": asyncio.CancelledError(),
}

EVENTS = {
    "text": {"type": "websocket.receive", "text": "text"},
    "JSON": {"type": "websocket.receive", "text": "[1]", "bytes": None},
    "bytes": {"type": "websocket.receive", "bytes": b"\xff", "text": None},
    "nothing": {"type": "websocket.receive"},
    "too much": {"type": "websocket.receive", "text": "x" * 101},
    "unknown": {"type": "websocket.unknown"},
    "connect": {"type": "websocket.connect"},
    "leave": {"type": "websocket.disconnect", "code": 1000, "reason": "bye"},
    "vanish": {"type": "websocket.disconnect", "code": 1006},
    "leave without code": {"type": "websocket.disconnect", "code": None},
}

SEND_FAILURES = [OSError("gone"), RuntimeError("closed"), "block", None]


class Connection(RuleBasedStateMachine):
    """One connection, from the handshake to the end."""

    def __init__(self):
        super().__init__()
        self.loop = VirtualTimeLoop()
        self.unretrieved = []
        self.loop.set_exception_handler(
            lambda _, context: self.unretrieved.append(context)
        )
        self.sent = []
        self.calls = []
        self.raised = []
        self.ended = False
        self.send_failure = None
        self.module = ModuleType("urls_of_sequences")
        sys.modules[self.module.__name__] = self.module
        self.module.urlpatterns = [path("ws/", websocket(self.view))]
        clear_url_caches()
        self.overridden = override_settings(
            ROOT_URLCONF=self.module.__name__,
            MIDDLEWARE=[],
            ASGI_EXT={"MAX_MESSAGE_SIZE": 100},
        )
        self.overridden.enable()
        logging.disable(logging.CRITICAL)

    @initialize(
        subprotocols=st.sampled_from([[], ["a"]]),
        extensions=st.sampled_from([{}, {"websocket.http.response": {}}]),
        server=st.sampled_from(["some server", "granian"]),
    )
    def connect(self, subprotocols, extensions, server):
        """The server calls the application."""
        self.scope = websocket_scope(subprotocols=subprotocols, extensions=extensions)
        # A server is known by its send().
        self.server = type("Server", (), {"__module__": server})()
        self.server.send = MethodType(lambda _, event: self.send(event), self.server)
        self.run(self.start())

    async def start(self):
        self.events = asyncio.Queue()
        self.orders = asyncio.Queue()
        self.unblock = asyncio.Event()
        # All sync code on this thread: the loop has no way to hear of others.
        AsyncToSync.executors.current = InlineExecutor()
        try:
            self.application = asyncio.ensure_future(
                WebSocketHandler()(self.scope, self.receive, self.server.send)
            )
        finally:
            AsyncToSync.executors.current = None
        self.events.put_nowait({"type": "websocket.connect"})

    def run(self, coroutine=None, seconds=0):
        async def main():
            if coroutine is not None:
                await coroutine
            await asyncio.sleep(seconds)
            # Let everything that is ready come to rest.
            for _ in range(20):
                await asyncio.sleep(0)

        self.loop.run_until_complete(main())

    # The server.

    async def receive(self):
        event = await self.events.get()
        if isinstance(event, Exception):
            raise event
        return event

    async def send(self, event):
        self.check(event["type"])
        self.sent.append(event["type"])
        failure = self.send_failure
        if failure == "block":
            await self.unblock.wait()
        elif failure is not None:
            raise failure

    def check(self, event_type):
        """An event goes out only where the ASGI specification lets it."""
        last = self.sent[-1] if self.sent else None
        allowed = {
            None: {
                "websocket.accept",
                "websocket.close",
                "websocket.http.response.start",
            },
            "websocket.accept": {"websocket.send", "websocket.close"},
            "websocket.send": {"websocket.send", "websocket.close"},
            "websocket.http.response.start": {"websocket.http.response.body"},
        }
        if event_type not in allowed.get(last, ()):
            self.raised.append(AssertionError(f"{event_type} after {self.sent}"))

    @rule(name=st.sampled_from(sorted(EVENTS)), count=st.sampled_from([1, 1, 1, 40]))
    def event(self, name, count):
        """The server has something to tell."""
        for _ in range(count):
            self.events.put_nowait(EVENTS[name])
        self.run()

    @rule(error=st.sampled_from([OSError("gone"), RuntimeError("closed")]))
    def receive_fails(self, error):
        """The server's receive() raises."""
        self.events.put_nowait(error)
        self.run()

    @rule(failure=st.sampled_from(SEND_FAILURES))
    def send_fails(self, failure):
        """The server's send() raises or blocks from here on, or works again."""
        self.send_failure = failure
        if failure != "block":
            self.unblock.set()
            self.unblock.clear()
        self.run()

    @rule(seconds=st.sampled_from([0.1, 0.3, 0.6, 2, 6]))
    def time_passes(self, seconds):
        """Nobody does anything for a while."""
        self.run(seconds=seconds)

    # The view.

    async def view(self, socket):
        tasks = []
        try:
            while True:
                order = await self.orders.get()
                if order in CALLS:
                    tasks.append(asyncio.ensure_future(self.call(socket, order)))
                    continue
                self.ended = True
                ending = ENDINGS[order]
                if isinstance(ending, BaseException):
                    raise ending
                return ending()
        except asyncio.CancelledError:
            self.ended = True
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def call(self, socket, name):
        self.calls.append(name)
        try:
            await CALLS[name](socket)
        except ALLOWED:
            pass
        except BaseException as error:
            self.raised.append(error)
        finally:
            self.calls.remove(name)

    @precondition(lambda self: not self.ended)
    @rule(names=st.lists(st.sampled_from(sorted(CALLS)), min_size=1, max_size=3))
    def view_calls(self, names):
        """The view calls methods of the socket, each in a task of its own."""
        for name in names:
            self.orders.put_nowait(name)
        self.run()

    @precondition(lambda self: not self.ended)
    @rule(name=st.sampled_from(sorted(ENDINGS)))
    def view_ends(self, name):
        """The view returns or raises."""
        self.orders.put_nowait(name)
        self.run()

    @rule()
    def server_cancels(self):
        """The server gives the connection up."""
        self.application.cancel()
        self.run()

    def teardown(self):
        """Whatever has happened, the application ends, and leaves nothing behind."""
        try:
            if hasattr(self, "application"):
                self.orders.put_nowait("return")
                self.run(seconds=LONG)
                assert self.application.done(), f"hangs after {self.sent}"
                if not self.application.cancelled():
                    assert self.application.exception() is None
                assert self.raised == []
                assert self.calls == []
                assert asyncio.all_tasks(self.loop) == set()
            assert self.unretrieved == []
        finally:
            logging.disable(logging.NOTSET)
            self.overridden.disable()
            del sys.modules[self.module.__name__]
            clear_url_caches()
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.loop.close()


@pytest.mark.timeout(900)
class TestSequences(Connection.TestCase):
    """As many sequences as SEQUENCES says."""

    settings = settings(
        max_examples=int(os.environ.get("SEQUENCES", "1000")),
        stateful_step_count=12,
        deadline=None,
    )
