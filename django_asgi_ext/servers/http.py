"""A response to an opening handshake as bytes, where a server cannot send one."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus


def response_bytes(
    status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes
) -> bytes:
    """Return a response that ends its connection (RFC 9112, sections 4 and 5)."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    lines = [f"HTTP/1.1 {status} {phrase}".encode("ascii")]
    lines += [name + b": " + value for name, value in headers]
    lines += [b"connection: close", b"", body]
    return b"\r\n".join(lines)
