"""The answer to an opening handshake that does not open a WebSocket."""

from __future__ import annotations

from http.client import responses
from http.cookies import SimpleCookie

from django.http import HttpResponse

from django_asgi_ext.websockets.response import Headers


class HandshakeDenied(Exception):
    """
    An opening handshake was answered with something else than 101.

    ``response`` is the answer, a Django HttpResponse.
    """

    def __init__(self, response: HttpResponse) -> None:
        super().__init__(response)
        self.response = response

    def __str__(self) -> str:
        status = self.response.status_code
        location = self.response.get("Location")
        to = f" to {location}" if location else ""
        return (
            f"The handshake was denied with {status} {responses.get(status, '')}{to}."
        )


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
