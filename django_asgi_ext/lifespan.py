"""The lifespan protocol (ASGI specification, "Lifespan")."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from django_asgi_ext.protocols import Receive, Scope, Send
from django_asgi_ext.servers import hypercorn
from django_asgi_ext.websockets.connections import close_all, forget_connections

logger = logging.getLogger("django_asgi_ext.lifespan")

LifespanManager = Callable[[], AbstractAsyncContextManager["dict[str, Any] | None"]]


class Lifespan:
    """
    The ASGI application for the lifespan scope.

    It enters the context manager when the server starts and leaves it when the
    server shuts down. ``state`` is what the manager yielded, None before and
    after.

    Raise TypeError if the manager is no function.
    """

    def __init__(self, manager: LifespanManager | None = None) -> None:
        if manager is not None and not callable(manager):
            raise TypeError(
                f"lifespan must be an async context manager function, not {manager!r}."
            )
        self._manager = manager
        self.state: dict[str, Any] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer lifespan.startup and lifespan.shutdown."""
        await receive()
        forget_connections()
        asked = hypercorn.survive_sigterm(send, close_all)
        phase = "startup"
        answer = {"type": "lifespan.shutdown.complete"}
        try:
            async with self._enter() as state:
                self.state = _checked(state)
                # Absent where the server knows no state (ASGI before 2.5).
                if self.state is not None and "state" in scope:
                    scope["state"].update(self.state)
                phase = "shutdown"
                await send({"type": "lifespan.startup.complete"})
                await receive()
                asked()
                # Most servers have seen to it, some leave it to the application.
                await close_all()
            if phase == "startup":
                # The manager has kept the exception to itself.
                raise TypeError("lifespan must yield a dict or None.")
        except Exception as error:
            logger.exception("The lifespan of the application failed in %s.", phase)
            answer = {
                "type": f"lifespan.{phase}.failed",
                "message": str(error) or type(error).__name__,
            }
        finally:
            self.state = None
        await send(answer)

    def _enter(self) -> AbstractAsyncContextManager[dict[str, Any] | None]:
        manager = nullcontext() if self._manager is None else self._manager()
        if not isinstance(manager, AbstractAsyncContextManager):
            if inspect.iscoroutine(manager):
                manager.close()
            raise TypeError(
                f"lifespan returned {manager!r}, which is no async context manager. "
                "Put @contextlib.asynccontextmanager above the function."
            )
        return manager


def _checked(state: object) -> dict[str, Any] | None:
    if state is not None and not isinstance(state, dict):
        raise TypeError(f"lifespan must yield a dict or None, not {state!r}.")
    return state
