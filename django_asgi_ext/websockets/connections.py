"""The connections of a process, to be closed when its server shuts down."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from typing import Any
from weakref import WeakKeyDictionary

from django_asgi_ext import conf, servers
from django_asgi_ext.websockets.running import RunningView

logger = logging.getLogger("django_asgi_ext.websocket")

# How often it is looked in the time that a peer has to read, or to say something.
LOOKS_PER_TIMEOUT = 10

_of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Connections] = (
    WeakKeyDictionary()
)


class Connections:
    """
    The connections of one event loop.

    ``is_stopping`` is whether the server shuts down: no new one may begin.
    ``number`` counts those in their handshake too, for which no view runs yet.
    """

    def __init__(self) -> None:
        self.is_stopping = False
        self.number = 0
        self._running: set[RunningView[Any]] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._timer: asyncio.TimerHandle | None = None

    def has_room(self) -> bool:
        """Return whether a new connection may begin."""
        most = conf.max_connections()
        return not self.is_stopping and (most is None or self.number < most)

    def note_begin(self) -> None:
        """Count a connection, from its handshake on."""
        self.number += 1
        self._empty.clear()

    def note_end(self) -> None:
        """Count it no more."""
        self.number -= 1
        if not self.number:
            self._empty.set()

    def add(self, view: RunningView[Any]) -> None:
        """Note that a view runs."""
        self._running.add(view)
        if self.is_stopping:
            view.stop()
        if self._timer is None:
            self._look_later()

    def discard(self, view: RunningView[Any]) -> None:
        """Note that a view has ended."""
        self._running.discard(view)
        if not self._running and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_later(self) -> None:
        # One clock for all: timers of their own would cost each message.
        shortest = min(conf.send_timeout(), conf.idle_timeout() or math.inf)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(shortest / LOOKS_PER_TIMEOUT, self._look)

    def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        send_timeout, idle_timeout = conf.send_timeout(), conf.idle_timeout()
        for view in self._running:
            view.look(now, send_timeout, idle_timeout)
        self._look_later()

    def stop(self, spread: float | None = None) -> None:
        """
        Close all connections and let no new one in.

        The closes are spread over some seconds, by default as many as
        ASGI_EXT["SHUTDOWN_SPREAD"], so that the peers do not come back all at once.
        """
        if self.is_stopping:
            return
        self.is_stopping = True
        loop = asyncio.get_running_loop()
        if spread is None:
            spread = conf.shutdown_spread()
        for view in self._running:
            loop.call_later(random.uniform(0, spread), view.stop)  # noqa: S311

    async def wait_until_empty(self) -> None:
        """Wait until the last connection is over."""
        await self._empty.wait()


def connections() -> Connections:
    """Return the connections of the running loop."""
    loop = asyncio.get_running_loop()
    found = _of_loop.get(loop)
    if found is None:
        found = _of_loop[loop] = Connections()
        servers.watch_shutdown(close_all)
    return found


async def close_all() -> None:
    """Close the connections of the running loop, and wait until all views ended."""
    found = connections()
    found.stop()
    try:
        async with asyncio.timeout(
            conf.shutdown_spread() + conf.shutdown_timeout() + 2
        ):
            await found.wait_until_empty()
    except TimeoutError:
        logger.error("Connections are left open in the shutdown.")


def forget_connections() -> None:
    """Begin anew if a server that has stopped starts on the running loop again."""
    loop = asyncio.get_running_loop()
    if loop in _of_loop and _of_loop[loop].is_stopping:
        del _of_loop[loop]
