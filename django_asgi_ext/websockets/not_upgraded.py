"""Why an opening handshake has come to Django as a plain HTTP request."""

from __future__ import annotations

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest

from django_asgi_ext import conf

_PROXY = (
    "A proxy in between must pass it on: nginx needs proxy_http_version 1.1; "
    "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"
)


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
