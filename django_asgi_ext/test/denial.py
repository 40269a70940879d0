"""The answer to an opening handshake that does not open a WebSocket."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from http.cookies import SimpleCookie
from typing import Any

from django.http import (
    HttpResponse,
    HttpResponsePermanentRedirect,
    HttpResponseRedirect,
)
from django.urls import resolve
from django.utils.functional import SimpleLazyObject

from django_asgi_ext.protocols import Scope
from django_asgi_ext.websockets.response import Headers

_REDIRECTS: dict[int, type[HttpResponseRedirect | HttpResponsePermanentRedirect]] = {
    301: HttpResponsePermanentRedirect,
    302: HttpResponseRedirect,
    303: HttpResponseRedirect,
    307: HttpResponseRedirect,
    308: HttpResponsePermanentRedirect,
}


class HandshakeDenied(Exception):
    """
    An opening handshake was answered with something else than 101.

    ``response`` is the answer, as Django's test clients return one, and
    ``reasons`` is what was logged about it.
    """

    def __init__(self, response: HttpResponse, reasons: Iterable[str] = ()) -> None:
        super().__init__(response)
        self.response = response
        self.reasons = list(reasons)

    def __str__(self) -> str:
        status, phrase = self.response.status_code, self.response.reason_phrase
        location = self.response.get("Location")
        to = f" to {location}" if location else ""
        lines = [f"The handshake was denied with {status} {phrase}{to}."]
        return "\n".join(lines + self.reasons)


def read_response(status: int, headers: Headers, body: bytes) -> HttpResponse:
    """Return the answer as Django's response."""
    response = _response_for(status, headers)
    response.content = body
    del response["Content-Type"]
    for encoded, value in headers:
        name, text = encoded.decode("ascii"), value.decode("latin-1")
        if name.lower() == "set-cookie":
            continue
        before = response.get(name)
        response[name] = text if before is None else f"{before}, {text}"
    response.cookies = read_cookies(headers)
    return response


def _response_for(status: int, headers: Headers) -> HttpResponse:
    redirect = _REDIRECTS.get(status)
    if redirect is None or all(name.lower() != b"location" for name, _ in headers):
        return HttpResponse(status=status)
    # The way to set it that allows any location, for it is the application's.
    response = redirect("", status=status)
    del response["Location"]
    return response


def tell_whence(response: HttpResponse, client: Any, scope: Scope) -> None:
    """Set on a response what Django's test clients set, but templates and context."""
    vars(response).update(
        client=client,
        request=_request_as_in_django(scope),
        # A method that Django's clients have in each release, and its stubs have not.
        json=partial(client._parse_json, response),
        resolver_match=SimpleLazyObject(lambda: resolve(scope["path"])),
    )


def _request_as_in_django(scope: Scope) -> dict[str, Any]:
    """Return the handshake in the words of Client, and in those of AsyncClient."""
    path = scope["path"].encode().decode("latin-1")
    query = scope["query_string"].decode("latin-1")
    scheme = {"ws": "http", "wss": "https"}[scope["scheme"]]
    return {
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "REQUEST_METHOD": "GET",
        "SERVER_PORT": str(scope["server"][1]),
        "wsgi.url_scheme": scheme,
        "method": "GET",
        "path": path,
        "query_string": query,
        "scheme": scheme,
        "server": scope["server"],
        "headers": scope["headers"],
    }


def read_cookies(headers: Headers) -> SimpleCookie:
    """Return the cookies that headers set."""
    cookies: SimpleCookie = SimpleCookie()
    for name, value in headers:
        if name.lower() == b"set-cookie":
            cookies.load(value.decode("latin-1"))
    return cookies
