"""What stands in a URLconf: @websocket and WebSocketView."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, cast, overload

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import classonlymethod
from django.views import View

from django_asgi_ext.groups.names import fields_of, fill_in
from django_asgi_ext.websockets import endings, mistakes
from django_asgi_ext.websockets.connection import WebSocket
from django_asgi_ext.websockets.not_upgraded import upgrade_required
from django_asgi_ext.websockets.options import (
    WebSocketOptions,
    find_options,
    is_async,
    view_name,
)
from django_asgi_ext.websockets.request import WebSocketRequest
from django_asgi_ext.websockets.response import NoSuchGroup, SwitchingProtocols

logger = logging.getLogger("django_asgi_ext.websocket")

P = ParamSpec("P")

# A view's return value answers the handshake if it has not accepted it.
_WebSocketCallable = Callable[
    Concatenate[WebSocket, P], Awaitable[HttpResponseBase | None]
]
_DjangoView = Callable[Concatenate[HttpRequest, P], HttpResponseBase]
_Page = Callable[..., "HttpResponseBase | Awaitable[HttpResponseBase]"]


@overload
def websocket(
    view: _WebSocketCallable[P],
    *,
    http: _Page | None = None,
    subprotocols: Sequence[str] = (),
    origins: Sequence[str] | None = None,
    max_message_size: int | None = None,
    load_user: bool = True,
    group: str | Sequence[str] = (),
) -> _DjangoView[P]: ...


@overload
def websocket(
    view: None = None,
    *,
    http: _Page | None = None,
    subprotocols: Sequence[str] = (),
    origins: Sequence[str] | None = None,
    max_message_size: int | None = None,
    load_user: bool = True,
    group: str | Sequence[str] = (),
) -> Callable[[_WebSocketCallable[P]], _DjangoView[P]]: ...


def websocket(
    view: _WebSocketCallable[P] | None = None,
    *,
    http: _Page | None = None,
    subprotocols: Sequence[str] = (),
    origins: Sequence[str] | None = None,
    max_message_size: int | None = None,
    load_user: bool = True,
    group: str | Sequence[str] = (),
) -> _DjangoView[P] | Callable[[_WebSocketCallable[P]], _DjangoView[P]]:
    """
    Make a view for a URLconf out of an async function that takes a WebSocket.

    Answer an opening handshake with 101 and let the function talk to the peer;
    answer any other request with the page in ``http`` or else with 426 Upgrade
    Required (RFC 9110, section 15.5.22).

    ``subprotocols`` are those that the function speaks; the first of the
    client's among them is taken. ``origins`` stand in place of
    CSRF_TRUSTED_ORIGINS, "*" allows all. ``max_message_size`` is in bytes and
    stands in place of ASGI_EXT["MAX_MESSAGE_SIZE"]. With ``load_user`` off,
    socket.user and socket.session are left to be loaded by the function.

    The socket joins the ``group``, or each in a list, when the handshake is
    complete; "chat.{room}" has the URL's argument room in its name. If that makes
    no name that a group can have, the answer is 404.

    Raise TypeError if the function is not async, takes no socket or has no such
    argument, and ValueError if no group can have such a name.
    """
    options = WebSocketOptions(
        tuple(subprotocols) if not isinstance(subprotocols, str) else subprotocols,  # type: ignore[arg-type]
        origins,  # type: ignore[arg-type]
        max_message_size,
        load_user,
        group,  # type: ignore[arg-type]
    )
    if view is None:
        return lambda view: _make_view(view, http, options)
    return _make_view(view, http, options)


def _make_view(
    view: _WebSocketCallable[P], page: _Page | None, options: WebSocketOptions
) -> _DjangoView[P]:
    if find_options(view) is not None:
        raise TypeError(
            f"{view_name(view)} is a WebSocket view already. Give its @websocket the "
            "arguments, as in @websocket(http=page)."
        )
    if isinstance(view, type) and issubclass(view, WebSocketView):
        raise TypeError(
            f"{view_name(view)} is a class. Use {view.__name__}.as_view() in the "
            "URLconf; a method get() serves a page."
        )
    mistakes.check_function(view)
    if page is not None and not callable(page):
        raise TypeError(f"http must be a view, not {page!r}.")
    _check_fields(view, options)
    make = _async_view if is_async(page) else _sync_view
    serve = make(view, page, options.group)
    _take_attributes(serve, view, page)
    functools.update_wrapper(serve, view, updated=())
    serve.websocket_options = options
    return cast(_DjangoView[P], serve)


def _check_fields(view: Any, options: WebSocketOptions) -> None:
    """Raise TypeError if a name of a group has a field that is no argument."""
    try:
        signature = inspect.signature(view, follow_wrapped=False)
        parameters = signature.parameters.values()
    except (TypeError, ValueError):
        # Not every callable has a signature that can be looked at.
        return
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    names = {parameter.name for parameter in parameters}
    for template in options.group:
        for field in fields_of(template) - names:
            raise TypeError(
                f"{view_name(view)} has no argument {field!r} for the group "
                f"{template!r}."
            )


def _switch(
    view: Any, args: tuple[Any, ...], kwargs: dict[str, Any], templates: Sequence[str]
) -> SwitchingProtocols:
    """Answer a handshake with 101, and say what the socket joins."""
    try:
        groups = [fill_in(template, kwargs) for template in templates]
    except KeyError as error:
        raise ImproperlyConfigured(
            f"The URL of {view_name(view)} has no argument {error} for its group."
        ) from None
    except ValueError as error:
        # It is the peer that has chosen the URL.
        raise NoSuchGroup(str(error)) from None
    return SwitchingProtocols(view, args, kwargs, groups)


def _sync_view(view: Any, page: Any, groups: Sequence[str]) -> Any:
    def serve(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if isinstance(request, WebSocketRequest):
            return _switch(view, args, kwargs, groups)
        if page is None:
            return upgrade_required(request)
        return page(request, *args, **kwargs)

    return serve


def _async_view(view: Any, page: Any, groups: Sequence[str]) -> Any:
    # Async because the page is: Django asks before it calls.
    async def serve(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if isinstance(request, WebSocketRequest):
            return _switch(view, args, kwargs, groups)
        return await page(request, *args, **kwargs)

    return serve


def _take_attributes(serve: Any, view: Any, page: Any) -> None:
    """Take over what decorators have noted down on the functions."""
    of_view, of_page = _attributes(view), _attributes(page)
    attributes = {**of_page, **of_view}
    if page is None:
        # Nothing is done but to answer 426.
        attributes["csrf_exempt"] = True
    else:
        # Neither opens a door for the other: middleware asks for the URL as a
        # whole whether it needs a login, and only a page can be forged.
        if of_page.get("login_required", True) or of_view.get("login_required", True):
            attributes.pop("login_required", None)
        attributes["csrf_exempt"] = of_page.get("csrf_exempt", False)
    for name, value in attributes.items():
        setattr(serve, name, value)


def _attributes(function: Any) -> dict[str, Any]:
    # Whether it is async is no matter of the function that serves it.
    return {
        name: value
        for name, value in getattr(function, "__dict__", {}).items()
        if not name.startswith("_is_coroutine") and name != "__wrapped__"
    }


class WebSocketView(View):
    """
    A WebSocket view as a class, for URLs as WebSocketView.as_view().

    ``connect()`` is called first and may accept or refuse, ``receive()`` for
    each message, ``disconnect()`` once at the end, whatever ended the
    connection. The class attributes mean what the arguments of @websocket mean.
    With a method ``get()`` the URL serves a page as well.
    """

    subprotocols: Sequence[str] = ()
    origins: Sequence[str] | None = None
    max_message_size: int | None = None
    load_user: bool = True
    group: str | Sequence[str] = ()

    socket: WebSocket

    @classonlymethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., HttpResponseBase]:
        """
        Return the view for a URLconf.

        Raise TypeError if connect(), receive() or disconnect() is not async, or
        cannot be called as WebSocketView does.
        """
        mistakes.check_method(cls, "connect", [])
        mistakes.check_method(cls, "receive", ["message"])
        mistakes.check_method(cls, "disconnect", ["code"])
        view: Any = super().as_view(**initkwargs)
        # Without a page nothing is done but to answer 426.
        view.csrf_exempt = getattr(view, "csrf_exempt", not _has_page(cls))
        view.websocket_options = WebSocketOptions(
            **{
                name: initkwargs.get(name, getattr(cls, name))
                for name in WebSocketOptions.__dataclass_fields__
            }
        )
        return view  # type: ignore[no-any-return]

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Answer a handshake with 101, another request with its method or 426."""
        if isinstance(request, WebSocketRequest):
            options = find_options(request.view) or WebSocketOptions()
            response: HttpResponse = _switch(self._run, args, kwargs, options.group)
        elif _has_page(self):
            return super().dispatch(request, *args, **kwargs)
        else:
            response = upgrade_required(request)
        # as_view() is async if the methods for pages are.
        return _soon(response) if getattr(self, "view_is_async", False) else response

    if not TYPE_CHECKING:
        as_asgi = mistakes.NoASGI()

        def __getattr__(self, name: str) -> Any:
            if hasattr(type(self), name):
                # A property has failed, and says best itself why.
                return object.__getattribute__(self, name)
            text = f"'{type(self).__name__}' object has no attribute '{name}'"
            if hasattr(WebSocket, name):
                text += f". The socket has: self.socket.{name}."
                # Of None, which has none that is alike.
                raise AttributeError(text, name=name, obj=None)
            raise AttributeError(text)

    async def connect(self) -> HttpResponseBase | None:
        """
        Begin. The handshake is accepted after it, unless it has been already.

        Return a response, raise PermissionDenied or call self.socket.close() to
        refuse it.
        """
        return None

    async def receive(self, message: str | bytes) -> None:
        """Handle one message."""

    async def disconnect(self, code: int) -> None:
        """Clean up. The close code is that of RFC 6455, section 7.1.5."""

    async def _run(
        self, socket: WebSocket, *args: Any, **kwargs: Any
    ) -> HttpResponseBase | None:
        self.socket = socket
        code, is_told = endings.NORMAL_CLOSURE, False
        try:
            response = await self.connect()
            if response is not None:
                return response
            receive: Any = self.receive
            async for message in socket:
                answer = await receive(message)
                if answer is not None and not is_told:
                    is_told = True
                    logger.warning(mistakes.answer_to_nobody(self.receive, answer))
        except BaseException as error:
            code = endings.close_code_for(error)
            raise
        finally:
            if socket.accepted:
                await self.disconnect(socket.close_code or code)
        return None


def _has_page(view: Any) -> bool:
    return any(
        hasattr(view, method)
        for method in view.http_method_names
        if method != "options"
    )


async def _soon(response: HttpResponse) -> HttpResponse:
    return response
