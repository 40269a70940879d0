"""What a WebSocket URL answers to a plain HTTP request, and why one has come."""

from __future__ import annotations

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from django.utils.log import log_response

from django_asgi_ext import conf
from django_asgi_ext.websockets.connection import printable
from django_asgi_ext.websockets.console import responses as console

_PROXY = (
    "A proxy in between must pass it on: nginx needs proxy_http_version 1.1; "
    "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"
)


def upgrade_required(request: HttpRequest) -> HttpResponse:
    """
    Return 426 Upgrade Required (RFC 9110, sections 7.8 and 15.5.22).

    With DEBUG a browser gets the console as its body, and what belongs to that.
    """
    part = console.part(request)
    if part is not None:
        return part
    text = "This URL is for WebSocket connections."
    why = why_not_upgraded(request)
    response = console.page(request) if why is None else None
    if response is None:
        # A peer learns nothing of servers and proxies.
        body = f"{text}\n{why}\n" if why and conf.debug() else f"{text}\n"
        response = HttpResponse(
            body, status=426, content_type="text/plain; charset=utf-8"
        )
    log_response(
        "Upgrade Required: %s (%s)",
        printable(request.path),
        why or text,
        response=response,
        request=request,
    )
    if _may_upgrade(request):
        response["Upgrade"] = "websocket"
        response["Connection"] = "Upgrade"
    return response


def _may_upgrade(request: HttpRequest) -> bool:
    # WSGI servers reserve the headers of the connection for themselves (PEP
    # 3333), and HTTP/2 has none (RFC 9113, section 8.2.2).
    if isinstance(request, ASGIRequest):
        return bool(request.scope.get("http_version", "1.1").startswith("1"))
    return "SERVER_SOFTWARE" not in request.META


def why_not_upgraded(request: HttpRequest) -> str | None:
    """
    Return why a handshake was not taken for one, or None if the request is none.

    It is one with any header by which RFC 6455, section 4.1, tells it.
    """
    headers = request.META
    is_upgrade = headers.get("HTTP_UPGRADE", "").lower() == "websocket"
    if not is_upgrade and "HTTP_SEC_WEBSOCKET_KEY" not in headers:
        return None
    run = f"hypercorn {conf.asgi_application()}"
    if not isinstance(request, ASGIRequest):
        if headers.get("SERVER_SOFTWARE", "").startswith("WSGIServer/"):
            return (
                "This manage.py runserver is Django's own, which is WSGI. Put "
                '"django_asgi_ext" into INSTALLED_APPS, before '
                f'"django.contrib.staticfiles", or run {run}'
            )
        return f"A WSGI server has no WebSockets. Run an ASGI server: {run}"
    if request.scope.get("http_version") == "1.0":
        return f"The handshake has come by HTTP/1.0. {_PROXY}"
    if not is_upgrade:
        return f"The handshake has come without its header Upgrade. {_PROXY}"
    if "upgrade" not in headers.get("HTTP_CONNECTION", "").lower():
        return f"The handshake has come without its header Connection. {_PROXY}"
    return (
        "The server has passed the handshake on as plain HTTP. Run one that speaks "
        f"WebSocket: {run} (or, for uvicorn, pip install websockets)"
    )
