"""Responses to an opening handshake, and how they go out over ASGI."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from asgiref.sync import async_to_sync
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase

from django_asgi_ext.protocols import Event

Headers = list[tuple[bytes, bytes]]

# A denial goes out in one event. Nobody shows more than this of it.
_MAX_BODY = 1024 * 1024

# What concerns a body that a 101 does not have, or the connection itself,
# which is the server's (RFC 9110, sections 7.6.1 and 15.2.2).
_CONNECTION_HEADERS = {"connection", "keep-alive", "transfer-encoding", "upgrade"}
_BODY_HEADERS = {"content-encoding", "content-length", "content-type", "etag"}

# RFC 9110, section 5.5.
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")

# RFC 9110, section 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class NoSuchGroup(Http404):
    """The arguments of a URL make no name that a group can have."""


class SwitchingProtocols(HttpResponse):
    """
    The 101 that a WebSocket view answers an opening handshake with.

    It carries the coroutine function that will talk to the peer, the URL
    arguments for it, and the groups that the socket joins.
    """

    status_code = 101

    def __init__(
        self,
        view: Callable[..., Awaitable[HttpResponseBase | None]],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        groups: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.view = view
        self.args = args
        self.kwargs = kwargs
        self.groups = groups


def upgrade_headers(response: HttpResponseBase) -> Headers:
    """Return the headers and cookies that middleware has put on the 101."""
    return _encode(response, _CONNECTION_HEADERS | _BODY_HEADERS)


def check_headers(
    headers: Mapping[str, str] | Iterable[tuple[str, str]] | None,
) -> Headers:
    """
    Return headers that a view wants on the 101, encoded.

    Raise ValueError for a name or value that HTTP does not allow, and for
    headers that belong to the opening handshake itself.
    """
    pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
    encoded = []
    for name, value in pairs:
        lower = name.lower()
        if not is_token(name):
            raise ValueError(f"{name!r} is no name for a header (RFC 9110, 5.1).")
        if lower in _CONNECTION_HEADERS or lower.startswith("sec-websocket-"):
            raise ValueError(f"The header {name!r} belongs to the opening handshake.")
        encoded.append((lower.encode("ascii"), _encode_value(name, value)))
    return encoded


def is_token(text: str) -> bool:
    """Return whether a text can name a header or a subprotocol."""
    return _TOKEN.fullmatch(text) is not None


@dataclass(frozen=True)
class Denial:
    """A response that refuses an opening handshake, ready to be sent."""

    status: int
    headers: Headers
    body: bytes

    @classmethod
    def empty(cls, status: int) -> Denial:
        """Return a denial that says no more than its status."""
        return cls(status, [(b"content-length", b"0")], b"")

    def with_missing(self, headers: Headers) -> Denial:
        """Return the same with those headers and cookies that it does not have."""
        names = {_header_or_cookie(*pair) for pair in self.headers}
        missing = [pair for pair in headers if _header_or_cookie(*pair) not in names]
        return replace(self, headers=self.headers + missing)

    def events(self) -> Iterator[Event]:
        """Yield the events that send it (ASGI's "websocket.http.response")."""
        yield {
            "type": "websocket.http.response.start",
            "status": self.status,
            "headers": self.headers,
        }
        yield {"type": "websocket.http.response.body", "body": self.body}


def _header_or_cookie(name: bytes, value: bytes) -> bytes:
    return value.partition(b"=")[0] if name == b"set-cookie" else name


def read_denial(response: HttpResponseBase) -> Denial:
    """
    Read a response to its end, or as far as a denial shows it.

    Call it in a worker thread: a template may be rendered, a file read.

    Raise ValueError if its status promises more to come, as 1xx does, or is none.
    """
    if not 200 <= response.status_code <= 999:
        raise ValueError(
            f"A handshake cannot be answered with status {response.status_code}. "
            "Use 200 to 999; only a WebSocket view answers 101."
        )
    render = getattr(response, "render", None)
    if callable(render):
        response = render()
    if getattr(response, "is_async", False):
        body = async_to_sync(_aread)(response)
    else:
        body = _read(response)
    headers = _encode(response, _CONNECTION_HEADERS | {"content-length"})
    if response.status_code in (204, 304):
        body = b""
    else:
        headers.append((b"content-length", str(len(body)).encode("ascii")))
    return Denial(response.status_code, headers, body)


def _read(response: HttpResponseBase) -> bytes:
    body = bytearray()
    for part in response:
        body += response.make_bytes(part)
        if len(body) >= _MAX_BODY:
            break
    return bytes(body[:_MAX_BODY])


async def _aread(response: Any) -> bytes:
    body = bytearray()
    async for part in response:
        body += response.make_bytes(part)
        if len(body) >= _MAX_BODY:
            break
    return bytes(body[:_MAX_BODY])


def _encode(response: HttpResponseBase, without: set[str]) -> Headers:
    headers = []
    for name, value in response.items():
        lower = name.lower()
        if lower in without or lower.startswith("sec-websocket-"):
            continue
        headers.append((lower.encode("ascii"), _encode_value(name, value)))
    for cookie in response.cookies.values():
        # Its path may have been a peer's choice.
        text = cookie.OutputString()
        headers.append((b"set-cookie", _encode_value("Set-Cookie", text)))
    return headers


def _encode_value(name: str, value: str) -> bytes:
    """Return the value of a header as it is sent (RFC 9110, section 5.5)."""
    encoded = value.strip(" \t").encode("latin-1")
    if _VALUE.fullmatch(encoded) is None:
        # What Django lets pass not every server stops.
        raise ValueError(f"The header {name!r} has a control character in it.")
    return encoded
