"""Hypercorn in the place of the server that Django's runserver has."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config

from django_asgi_ext import deployment
from django_asgi_ext.development.ending import PATIENCE, end_soon
from django_asgi_ext.development.log import log_websockets, logger, serve_and_log
from django_asgi_ext.protocols import ASGIApplication, Receive, Scope, Send
from django_asgi_ext.websockets.connections import connections


class DevelopmentServer:
    """
    What Django's runserver takes as its server: bound, given an app, and run.

    Raise OSError if nobody can listen at the address.
    """

    def __init__(self, address: tuple[str, int], ipv6: bool = False) -> None:
        if address[1] > 65535:
            # That is an OverflowError, which Django does not expect.
            raise OSError(f"There is no port {address[1]}.")
        self._socket = socket.create_server(
            address,
            family=socket.AF_INET6 if ipv6 else socket.AF_INET,
            dualstack_ipv6=ipv6 and socket.has_dualstack_ipv6(),
        )
        self.server_port: int = self._socket.getsockname()[1]
        self._requests: set[asyncio.Task[Any]] = set()
        self._asked_to_stop = threading.Event()
        self._begun = threading.Event()
        self._ended = threading.Event()

    def set_app(self, application: ASGIApplication) -> None:
        """Serve this ASGI application."""
        self._application = application

    def serve_forever(self) -> None:
        """
        Serve until stop() is called or, in the main thread, until SIGINT.

        Raise KeyboardInterrupt on SIGINT, and what the application's lifespan
        raises when it starts.
        """
        log_websockets()
        # What is said there concerns no server that one person uses.
        deployment.silence()
        try:
            asyncio.run(self._serve())
        finally:
            self._ended.set()
            self._socket.close()

    def stop(self) -> None:
        """Stop what serves in another thread, and wait for it, for a bounded time."""
        self._asked_to_stop.set()
        if self._begun.is_set() and not self._ended.is_set():
            # It may have ended meanwhile.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stopping.set)
            self._ended.wait(2 * PATIENCE)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._begun.set()
        if self._asked_to_stop.is_set():
            self._stopping.set()
        config = Config()
        config.bind = [f"fd://{self._socket.fileno()}"]
        config.loglevel = "WARNING"
        config.graceful_timeout = PATIENCE
        serving = asyncio.create_task(
            serve(
                self._serve_one,  # type: ignore[arg-type]
                config,
                shutdown_trigger=self._until_stopped,
                mode="asgi",
            )
        )
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            # On SIGINT asyncio.run() cancels this.
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                await serving
        finally:
            await self._shut_down(serving)

    async def _until_stopped(self) -> None:
        # Hypercorn asks for it when it serves: the descriptor is its own now.
        self._socket.detach()
        await self._stopping.wait()

    async def _serve_one(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        task = asyncio.current_task()
        assert task is not None
        self._requests.add(task)
        try:
            await serve_and_log(self._application, scope, receive, send)
        finally:
            self._requests.discard(task)

    async def _shut_down(self, serving: asyncio.Task[None]) -> None:
        if serving.done():
            return
        if threading.current_thread() is threading.main_thread():
            end_soon(0)
        # All at once: nobody else waits for this port.
        connections().stop(spread=0)
        self._stopping.set()
        await asyncio.wait({serving}, timeout=PATIENCE / 2)
        for request in self._requests:
            request.cancel()
        await asyncio.wait({serving}, timeout=PATIENCE / 2)
        if serving.done() and not serving.cancelled() and serving.exception():
            logger.error("%s", serving.exception())
