"""
The way of one WebSocket through Django.

An opening handshake is an HTTP GET whose answer is 101 Switching Protocols (RFC
6455, section 4). So Django's own synchronous BaseHandler answers it, with the
project's middleware and URLconf, in one hop to a worker thread. If the answer is
the 101 of a WebSocket view, that view then runs on the event loop; any other
answer denies the handshake.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import async_to_sync, sync_to_async
from django.core import signals
from django.core.exceptions import PermissionDenied
from django.core.handlers.base import BaseHandler
from django.core.handlers.exception import response_for_exception
from django.http import Http404, HttpResponseBadRequest, HttpResponseForbidden
from django.http.response import HttpResponseBase
from django.urls import get_script_prefix, set_script_prefix, set_urlconf
from django.utils.functional import SimpleLazyObject
from django.utils.log import log_response

from django_asgi_ext import conf, deployment
from django_asgi_ext.exceptions import GroupsUnavailable, InvalidJSON
from django_asgi_ext.protocols import Receive, Scope, Send
from django_asgi_ext.signals import emit, websocket_disconnected
from django_asgi_ext.threads import Unit, WorkUnits, keep_transactions
from django_asgi_ext.websockets import endings, mistakes, origin
from django_asgi_ext.websockets.connection import WebSocket, printable
from django_asgi_ext.websockets.connections import connections
from django_asgi_ext.websockets.options import WebSocketOptions, find_options, view_name
from django_asgi_ext.websockets.remedies import add_remedy
from django_asgi_ext.websockets.request import WebSocketRequest, script_prefix
from django_asgi_ext.websockets.response import (
    Denial,
    Headers,
    NoSuchGroup,
    SwitchingProtocols,
    read_denial,
    upgrade_headers,
)
from django_asgi_ext.websockets.running import RunningView
from django_asgi_ext.websockets.state import State
from django_asgi_ext.websockets.transport import Transport
from django_asgi_ext.websockets.unawaited import WatchedWebSocket

logger = logging.getLogger("django_asgi_ext.websocket")
request_logger = logging.getLogger("django.request")
security_logger = logging.getLogger("django.security.WebSocketOrigin")


class WebSocketHandler(BaseHandler):
    """
    The ASGI application for the websocket scope (ASGI specification, "WebSocket").

    Raise what loading the middleware raises.
    """

    def __init__(self) -> None:
        super().__init__()
        self.load_middleware()
        self._shake_hands_in_thread = sync_to_async(self._shake_hands)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, from the opening handshake to the last close."""
        event = await receive()
        if event["type"] != "websocket.connect":
            # The peer has left before it was answered.
            return
        deployment.warn(send, scope)
        transport = Transport(scope, receive, send)
        open_connections = connections()
        if not open_connections.has_room():
            await transport.abandon()
            return
        prefix = script_prefix(scope)
        if get_script_prefix().rstrip("/") != prefix:
            set_script_prefix(prefix)
        # Few frames and few names: they are kept as long as the connection.
        open_connections.note_begin()
        try:
            async with WorkUnits() as unit:
                try:
                    begun = await self._begin(scope, transport, unit)
                    if begun is not None:
                        socket, running = begun
                        del begun
                        open_connections.add(running)
                        try:
                            # Here, and not for the outcome: each frame costs.
                            await running.over
                        except asyncio.CancelledError:
                            await self._stop(socket, running, transport)
                            raise
                        await self._conclude(socket, running, transport)
                except asyncio.CancelledError:
                    # The server shuts down, or gives this connection up.
                    await transport.abandon()
                    raise
                finally:
                    await transport.finish()
        finally:
            open_connections.note_end()

    async def _begin(
        self, scope: Scope, transport: Transport, unit: Unit
    ) -> tuple[WebSocket, RunningView[Any]] | None:
        """Answer the handshake; return the socket and its view unless it is denied."""
        unit.end_after_next()
        try:
            async with asyncio.timeout_at(transport.open_until):
                answer = await self._shake_hands_in_thread(scope)
        except TimeoutError:
            logger.warning(
                "The middleware was not done within %s seconds of the handshake: %s",
                conf.open_timeout(),
                printable(scope["path"]),
            )
            await transport.abandon()
            return None
        if isinstance(answer, Denial):
            await transport.deny(answer)
            return None
        request, response, headers = answer
        # The view's reverse() follows the request, as in an HTTP view.
        set_urlconf(getattr(request, "urlconf", None))
        # One str for all connections of a view.
        name = sys.intern(view_name(request.view))
        unit.owner = name
        options = find_options(request.view) or WebSocketOptions()
        make_socket = WatchedWebSocket if conf.debug() else WebSocket
        socket = make_socket(
            request, transport, options, headers, unit, response.groups
        )
        view = functools.partial(
            response.view, socket, *response.args, **response.kwargs
        )
        return socket, RunningView(transport, view, name)

    async def _stop(
        self, socket: WebSocket, running: RunningView[Any], transport: Transport
    ) -> None:
        try:
            await running.stop_and_wait()
        finally:
            self._discard(running)
            await self._end(socket, transport)

    async def _conclude(
        self, socket: WebSocket, running: RunningView[Any], transport: Transport
    ) -> None:
        self._discard(running)
        try:
            answer = await running.result()
        except Exception as error:
            await self._after_failure(socket, transport, error)
        else:
            await self._after_return(socket, transport, answer)
        finally:
            await self._end(socket, transport)

    def _discard(self, running: RunningView[Any]) -> None:
        running.unwatch()
        connections().discard(running)

    async def _after_failure(
        self, socket: WebSocket, transport: Transport, error: Exception
    ) -> None:
        add_remedy(error, socket.request)
        failure = endings.without_closed(error)
        if transport.state is State.CONNECTING:
            await self._deny(socket, transport, error)
        elif failure is not None or not transport.told:
            failure = error if failure is None else failure
            await sync_to_async(self._log_failure)(socket.request, failure)
            await transport.close(endings.close_code_for(failure), "")

    async def _after_return(
        self, socket: WebSocket, transport: Transport, answer: object
    ) -> None:
        if transport.state is State.CONNECTING:
            await self._deny(socket, transport, answer)
            return
        if answer is not None:
            logger.warning(mistakes.answer_to_nobody(socket.request.view, answer))
        await transport.close(endings.NORMAL_CLOSURE, "")

    async def _deny(
        self, socket: WebSocket, transport: Transport, answer: object
    ) -> None:
        denial = await sync_to_async(self._answer)(socket.request, answer)
        await transport.deny(denial.with_missing(socket.upgrade_headers))

    async def _end(self, socket: WebSocket, transport: Transport) -> None:
        await transport.finish()
        if not socket.accepted:
            return
        code, seconds = transport.close_code, socket.seconds
        logger.info(
            "WebSocket DISCONNECT %s %s %.1fs", printable(socket.path), code, seconds
        )
        await emit(
            websocket_disconnected,
            sender=WebSocket,
            socket=socket,
            code=code,
            seconds=seconds,
        )

    # From here on everything runs in a worker thread.

    @keep_transactions()
    def _shake_hands(
        self, scope: Scope
    ) -> Denial | tuple[WebSocketRequest, SwitchingProtocols, Headers]:
        signals.request_started.send(sender=self.__class__, scope=scope)
        try:
            request = WebSocketRequest(scope)
        except UnicodeDecodeError:
            request_logger.warning(
                "Bad Request (UnicodeDecodeError)",
                exc_info=True,
                extra={"status_code": 400},
            )
            bad_request = HttpResponseBadRequest()
            self._close(bad_request)
            return read_denial(bad_request)
        response = self.get_response(request)
        if not isinstance(response, SwitchingProtocols):
            return self._refuse(request, response)
        if not request.origin_is_allowed:
            # A middleware has called the view itself.
            return self._refuse(request, _refuse_origin(request))
        try:
            headers = upgrade_headers(response)
        except ValueError as error:
            return self._refuse(request, response, error)
        self._close(response)
        request.let_go()
        return request, response, headers

    def make_view_atomic(self, view: Callable[..., Any]) -> Callable[..., Any]:
        """
        Return what is called in place of the view that the URLconf names.

        Django calls this last thing before the view, in every release.
        """
        options = find_options(view)
        if options is None:
            return _no_websocket_view
        atomic = super().make_view_atomic(view)

        def answer(request: WebSocketRequest, *args: Any, **kwargs: Any) -> Any:
            if not origin.is_allowed(request, options.origins):
                return _refuse_origin(request)
            request.origin_is_allowed = True
            try:
                response = atomic(request, *args, **kwargs)
                # Not asked of the view: how one is marked differs with the release.
                if inspect.isawaitable(response):
                    response = async_to_sync(_result_of)(response)
            except NoSuchGroup as error:
                return _not_found(request, str(error))
            if options.load_user and isinstance(response, SwitchingProtocols):
                _load_user(request)
            return response

        return answer

    def _refuse(
        self,
        request: WebSocketRequest,
        response: HttpResponseBase,
        error: Exception | None = None,
    ) -> Denial:
        """Deny with a response or, if it cannot be sent, with 500."""
        try:
            if error is not None:
                raise error
            denial = read_denial(response)
        except Exception as error:
            denial = read_denial(response_for_exception(request, error))
        finally:
            self._close(response)
        # Django logs what is 400 and above, with a line of its own.
        if denial.status < 400:
            target = response.get("Location")
            logger.warning(
                "WebSocket denied with %s%s: %s",
                denial.status,
                f" to {printable(target)}" if target else "",
                printable(request.path),
                extra={"status_code": denial.status, "request": request},
            )
        return denial

    def _close(self, response: HttpResponseBase) -> None:
        # It sends request_finished: the thread's part in this ends here.
        response._handler_class = self.__class__  # type: ignore[attr-defined]
        response.close()

    @keep_transactions()
    def _answer(self, request: WebSocketRequest, answer: object) -> Denial:
        """Answer with what a view returned or raised before it accepted."""
        signals.request_started.send(sender=self.__class__, scope=request.scope)
        response: HttpResponseBase
        reason = ""
        try:
            if isinstance(answer, Exception):
                raise answer
            if answer is None:
                response = HttpResponseForbidden()
                reason = f" ({view_name(request.view)} returned before it accepted)"
            elif isinstance(answer, HttpResponseBase):
                response = answer
            else:
                raise ValueError(mistakes.no_response(request.view, answer))
        except Exception as error:
            response = self._response_for(request, error)
        if response.status_code >= 400:
            log_response(
                "%s%s: %s",
                response.reason_phrase,
                reason,
                printable(request.path),
                response=response,  # type: ignore[arg-type]
                request=request,
            )
        return self._refuse(request, response)

    def _response_for(
        self, request: WebSocketRequest, error: Exception
    ) -> HttpResponseBase:
        try:
            try:
                raise endings.single(error)
            except Exception as single:
                error = single
                response = self.process_exception_by_middleware(error, request)
        except Exception as raised:
            # Up to Django 3.0 what no middleware answers is raised again.
            return response_for_exception(request, raised)
        return response or response_for_exception(request, error)

    def _log_failure(self, request: WebSocketRequest, error: BaseException) -> None:
        """Log why a view ended after it had accepted."""
        path, extra = printable(request.path), {"request": request}
        if isinstance(error, (InvalidJSON, GroupsUnavailable)):
            logger.warning("WebSocket %s: %s", path, error, extra=extra)
        elif isinstance(error, PermissionDenied):
            request_logger.warning(
                "Forbidden (Permission denied): %s",
                path,
                exc_info=error,
                extra={**extra, "status_code": 403},
            )
        else:
            try:
                raise error
            except BaseException:
                # With the exception at hand, as error reporters expect it.
                signals.got_request_exception.send(sender=None, request=request)
            request_logger.error(
                "Internal Server Error: %s",
                path,
                exc_info=error,
                extra={**extra, "status_code": 500},
            )


def _no_websocket_view(request: WebSocketRequest, *args: Any, **kwargs: Any) -> Any:
    """Answer a handshake for a view that would not know what to do with it."""
    return _not_found(request, mistakes.no_websocket_view(request.view))


def _not_found(request: WebSocketRequest, hint: str) -> HttpResponseBase:
    """Answer 404, and log why."""
    response = response_for_exception(request, Http404(hint))
    log_response(
        "Not Found: %s (%s)",
        printable(request.path),
        hint,
        response=response,
        request=request,
    )
    return response


def _refuse_origin(request: WebSocketRequest) -> HttpResponseBase:
    response = HttpResponseForbidden()
    log_response(
        "Forbidden (Origin %s is not allowed for host %s; see CSRF_TRUSTED_ORIGINS "
        "and @websocket(origins=...)): %s",
        printable(request.META.get("HTTP_ORIGIN", "(none)")),
        request.get_host(),
        printable(request.path),
        response=response,
        request=request,
        logger=security_logger,
    )
    return response


async def _result_of(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _load_user(request: WebSocketRequest) -> None:
    """Load what the view would else have to load on the event loop."""
    session = getattr(request, "session", None)
    if session is not None:
        session.keys()
    user = getattr(request, "user", None)
    # It is lazy, and any look at it loads it. Then nothing has to load it again.
    if bool(user) and type(user) is SimpleLazyObject:
        request.user = user._wrapped
