"""The answer to an opening handshake that does not open a WebSocket."""

from __future__ import annotations

from collections.abc import Iterable
from http.cookies import SimpleCookie

from django.http import HttpResponse

from django_asgi_ext.websockets.response import Headers


class HandshakeDenied(Exception):
    """
    An opening handshake was answered with something else than 101.

    ``response`` is the answer, a Django HttpResponse, and ``reasons`` is what was
    logged about it.
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
    response = HttpResponse(body, status=status)
    del response["Content-Type"]
    for encoded, value in headers:
        name, text = encoded.decode("ascii"), value.decode("latin-1")
        if name.lower() == "set-cookie":
            continue
        before = response.get(name)
        response[name] = text if before is None else f"{before}, {text}"
    response.cookies = read_cookies(headers)
    return response


def read_cookies(headers: Headers) -> SimpleCookie:
    """Return the cookies that headers set."""
    cookies: SimpleCookie = SimpleCookie()
    for name, value in headers:
        if name.lower() == b"set-cookie":
            cookies.load(value.decode("latin-1"))
    return cookies
