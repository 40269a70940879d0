"""The server of a connection and the client behind it, for an application."""

from __future__ import annotations

import asyncio
import sys
from contextvars import Context, ContextVar
from typing import Any

from django.core.signals import got_request_exception

from django_asgi_ext.protocols import ASGIApplication, Event, Scope
from django_asgi_ext.test import log
from django_asgi_ext.test.stacks import stack_of_task
from django_asgi_ext.test.transcript import Transcript

# Whose application runs: in its tasks, and in its calls on other threads.
_current: ContextVar[Peer | None] = ContextVar("django_asgi_ext_test", default=None)


def current() -> Peer | None:
    """Return the peer whose application runs here, None if there is none."""
    return _current.get()


# What follows on the last event of an application (RFC 6455, section 7.1.5).
_OVER: Event = {"type": "websocket.close", "code": 1006}

# How long a view may take to clean up when it is cancelled, in seconds.
_PATIENCE = 0.1

_DENIAL_BODY = "websocket.http.response.body"


class Peer:
    """
    An application that serves one connection, in a task of the running loop.

    ``failure`` is the exception that a view did not handle, or the application.
    ``closed`` are the code and reason of whoever closed first, None before.
    ``logged`` is what was logged about the connection as a warning or an error.
    """

    def __init__(self, application: ASGIApplication, scope: Scope) -> None:
        self.scope = scope
        self.transcript = Transcript()
        self.failure: BaseException | None = None
        self.logged: list[str] = []
        self._application = application
        self._to_view: asyncio.Queue[Event] = asyncio.Queue()
        self._to_client: asyncio.Queue[Event] = asyncio.Queue()
        self.closed: tuple[int, str] | None = None

    def start(self) -> None:
        """Begin the opening handshake."""
        got_request_exception.connect(self._note_failure, dispatch_uid=self)
        log.connect(self)
        # Empty, as a server's: what the test has set there does not reach the view.
        context = Context()
        context.run(_current.set, self)
        self._task = asyncio.get_running_loop().create_task(
            self._run(), context=context
        )
        self._put({"type": "websocket.connect"})

    def say(self, message: str | bytes) -> None:
        """Send a message as the client."""
        kind = "text" if isinstance(message, str) else "bytes"
        self._put({"type": "websocket.receive", kind: message})

    def leave(self, code: int, reason: str) -> None:
        """Close the connection as the client, or answer a close."""
        self.closed = self.closed or (code, reason)
        self._put({"type": "websocket.disconnect", "code": code, "reason": reason})

    async def next(self) -> Event:
        """Return the next event of the application; a close is the last one."""
        event = await self._to_client.get()
        if event["type"] == "websocket.close":
            # For whoever asks again.
            self._to_client.put_nowait(event)
        return event

    async def wait(self, timeout: float) -> bool:
        """Wait until the application has ended; return whether it has, in seconds."""
        await asyncio.wait({self._task}, timeout=timeout)
        return self._task.done()

    async def cancel(self, timeout: float) -> None:
        """End the application, whatever it does, within that many seconds."""
        self._task.cancel()
        if not await self.wait(min(_PATIENCE, timeout)):
            # A handler that gives its view some time does so once.
            self._task.cancel()
            await self.wait(timeout)

    def forget(self) -> None:
        """Note no more failures and nothing that is logged."""
        got_request_exception.disconnect(dispatch_uid=self)
        log.disconnect(self)

    def stacks(self) -> str:
        """Return where the view waits or, before it runs, the application."""
        tasks = {task for task in asyncio.all_tasks() if self._owns(task)}
        stacks = [stack_of_task(task) for task in tasks - {self._task}]
        return "\n".join(filter(None, stacks)) or stack_of_task(self._task)

    def _owns(self, task: asyncio.Task[Any]) -> bool:
        # Python 3.11 does not tell. There the tasks of all connections are shown.
        get_context = getattr(task, "get_context", None)
        if get_context is None:
            return task is not asyncio.current_task()
        return get_context().get(_current) is self

    async def _run(self) -> None:
        try:
            await self._application(self.scope, self._receive, self._send)
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            # As what pytest.fail() raises in a view.
            self.failure = error
        finally:
            self.closed = self.closed or (_OVER["code"], "")
            self._to_client.put_nowait(_OVER)

    def _put(self, event: Event) -> None:
        self.transcript.to_view(event)
        self._to_view.put_nowait(event)

    async def _receive(self) -> Event:
        event = await self._to_view.get()
        if event["type"] == "websocket.disconnect":
            # For whoever asks again.
            self._to_view.put_nowait(event)
        return event

    async def _send(self, event: Event) -> None:
        if self.closed is not None:
            # ASGI specification, "Disconnected client - raise OSError".
            raise OSError("The client has left.")
        self.transcript.to_client(event)
        self._to_client.put_nowait(event)
        if event["type"] == "websocket.close":
            # The client answers (RFC 6455, section 5.5.1).
            self.leave(event.get("code", 1000), event.get("reason") or "")
        elif event["type"] == _DENIAL_BODY and not event.get("more_body", False):
            self.leave(_OVER["code"], "")

    def _note_failure(self, **kwargs: object) -> None:
        if _current.get() is self:
            self.failure = sys.exc_info()[1]

    def note_logged(self, text: str) -> None:
        """Note what was logged, if it was for this connection."""
        if _current.get() is self:
            self.logged.append(text)
            self.transcript.logged(text)
