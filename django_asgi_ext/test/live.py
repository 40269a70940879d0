"""The project behind a real server, for browsers and other clients of a test."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, cast

from asgiref.sync import ThreadSensitiveContext
from django.apps import apps
from django.db import connections
from django.test import TransactionTestCase, modify_settings

from django_asgi_ext.handler import ASGIHandler
from django_asgi_ext.http.leases import end_threads
from django_asgi_ext.protocols import ASGIApplication, Receive, Scope, Send
from django_asgi_ext.test.background import sync_code_on

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

HOST = "127.0.0.1"

# How long the server may take to start and to stop, in seconds.
_TIMEOUT = 10.0


class LiveServer:
    """
    An application on a free port of 127.0.0.1, behind hypercorn in a thread.

    Databases that are in memory it shares with the thread that starts it. Then its
    synchronous code runs on one thread. ``url`` begins with http, ``websocket_url``
    with ws; neither ends with a slash.
    """

    def __init__(self, application: ASGIApplication) -> None:
        self._application = application
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(
            target=self._run, name="django-asgi-ext-live-server", daemon=True
        )

    def start(self) -> None:
        """
        Start it, and wait until it serves.

        Raise ImportError without hypercorn, and what the application's lifespan
        raises.
        """
        self._socket = socket.create_server((HOST, 0))
        address = f"{HOST}:{self._socket.getsockname()[1]}"
        self.url, self.websocket_url = f"http://{address}", f"ws://{address}"
        self._shared = _connections_in_memory()
        for connection in self._shared.values():
            connection.inc_thread_sharing()
        self._thread.start()
        if not self._ready.wait(_TIMEOUT):
            self._error = TimeoutError("The live server did not start.")
        if self._error is not None:
            self.stop()
            raise self._error

    def stop(self) -> None:
        """Stop it, as on SIGTERM: the WebSockets that are open are closed with 1012."""
        if self._error is None:
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(_TIMEOUT)
        # With CONN_MAX_AGE they have connections, with which no database is deleted.
        end_threads()
        for connection in self._shared.values():
            connection.dec_thread_sharing()
        self._socket.close()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        from hypercorn.asyncio import serve
        from hypercorn.config import Config

        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        config = Config()
        descriptor = self._socket.dup().detach()
        config.bind = [f"fd://{descriptor}"]
        config.loglevel = "WARNING"
        application = self._application
        with ExitStack() as stack:
            if self._shared:
                executor = ThreadPoolExecutor(1, initializer=self._share)
                stack.enter_context(executor)
                # For our handler, which has a thread for each socket else.
                stack.enter_context(sync_code_on(executor))
                application = _OnOneThread(application, executor)
            try:
                await serve(
                    cast(Any, application),
                    config,
                    shutdown_trigger=self._until_stopped,
                    mode="asgi",
                )
            finally:
                if not self._ready.is_set():
                    # Hypercorn has not come to take it.
                    os.close(descriptor)

    async def _until_stopped(self) -> None:
        # Hypercorn asks for it when it serves.
        self._ready.set()
        await self._stopping.wait()

    def _share(self) -> None:
        for alias, connection in self._shared.items():
            connections[alias] = connection


class _OnOneThread:
    """Runs requests on one thread, for which Django's handler has one each else."""

    def __init__(
        self, application: ASGIApplication, executor: ThreadPoolExecutor
    ) -> None:
        self._application = application
        self._executor = executor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with ThreadSensitiveContext(executor=self._executor):
            await self._application(scope, receive, send)


def _connections_in_memory() -> Mapping[str, BaseDatabaseWrapper]:
    return {
        connection.alias: connection
        for connection in connections.all()
        if connection.vendor == "sqlite" and cast(Any, connection).is_in_memory_db()
    }


def project() -> ASGIApplication:
    """Return the application of the project, with its static files."""
    application: Any = ASGIHandler()
    if apps.is_installed("django.contrib.staticfiles"):
        from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

        application = ASGIStaticFilesHandler(application)
    return cast(ASGIApplication, application)


class ASGILiveServerTestCase(TransactionTestCase):
    """
    Django's LiveServerTestCase, on hypercorn and with WebSockets.

    ``live_server_url`` begins with http, ``live_server_websocket_url`` with ws.
    """

    live_server_url: str
    live_server_websocket_url: str

    @classmethod
    def setUpClass(cls) -> None:
        """Start the server."""
        super().setUpClass()
        cls.enterClassContext(modify_settings(ALLOWED_HOSTS={"append": HOST}))
        server = LiveServer(cls.application())
        server.start()
        cls.addClassCleanup(server.stop)
        cls.live_server_url = server.url
        cls.live_server_websocket_url = server.websocket_url

    @classmethod
    def application(cls) -> ASGIApplication:
        """Return the application to serve: the project, unless a subclass differs."""
        return project()
