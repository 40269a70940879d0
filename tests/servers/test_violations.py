"""Frames that RFC 6455 forbids."""

import pytest
from grid import behaviour
from raw import CLOSE, CONTINUATION, FIN, PING, TEXT, RawClient, frame

RSV2 = 0x20
NO_CODE = {"granian": "a close frame without a code"}


def violate(server, token, *frames):
    """
    Send frames; return the close code that comes, 1005 if the frame has none.

    The TCP connection ends, and so does the view.
    """
    with RawClient(server) as client:
        client.open(f"/left/?{token}")
        client.send(*frames)
        first, payload = client.read_frame()
        assert first == FIN | CLOSE
        client.finish()
        client.wait_for_end()
        server.wait_for_log(f" {token}")
    return int.from_bytes(payload[:2], "big") if payload else 1005


@behaviour("Text that is no UTF-8 is answered with 1007", rfc="8.1", differs=NO_CODE)
@pytest.mark.parametrize(
    "frames",
    [
        [frame(FIN | TEXT, b"\xc3\x28")],
        [frame(TEXT, b"\xc3"), frame(FIN | CONTINUATION, b"\x28")],
    ],
    ids=["one frame", "two frames"],
)
def test_utf8(server, differs, token, frames):
    """Neither in one frame nor in two is it let through."""
    code = violate(server, token, *frames)
    assert code == (1005 if differs else 1007)


@behaviour("A frame without a mask is answered with 1002", rfc="5.1", differs=NO_CODE)
def test_unmasked(server, differs, token):
    """The view does not receive it."""
    code = violate(server, token, frame(FIN | TEXT, b"plain", masked=False))
    assert code == (1005 if differs else 1002)


@behaviour("A reserved bit is answered with 1002", rfc="5.2", differs=NO_CODE)
def test_rsv(server, differs, token):
    """No extension has given it a meaning."""
    code = violate(server, token, frame(FIN | RSV2 | TEXT, b"hello"))
    assert code == (1005 if differs else 1002)


@behaviour("A reserved opcode is answered with 1002", rfc="5.2", differs=NO_CODE)
def test_opcode(server, differs, token):
    """There is no such frame."""
    code = violate(server, token, frame(FIN | 0x3, b"hello"))
    assert code == (1005 if differs else 1002)


@behaviour(
    "A ping of more than 125 bytes is answered with 1002", rfc="5.5", differs=NO_CODE
)
def test_large_ping(server, differs, token):
    """A control frame has no longer length."""
    code = violate(server, token, frame(FIN | PING, b"x" * 126))
    assert code == (1005 if differs else 1002)


@behaviour("A ping in two frames is answered with 1002", rfc="5.5", differs=NO_CODE)
def test_fragmented_ping(server, differs, token):
    """A control frame is never fragmented."""
    code = violate(server, token, frame(PING, b"x"))
    assert code == (1005 if differs else 1002)


@behaviour(
    "The continuation of nothing is answered with 1002", rfc="5.4", differs=NO_CODE
)
def test_continuation(server, differs, token):
    """No message has begun that it could be a part of."""
    code = violate(server, token, frame(FIN | CONTINUATION, b"x"))
    assert code == (1005 if differs else 1002)


@behaviour(
    "A message within another one is answered with 1002", rfc="5.4", differs=NO_CODE
)
def test_interrupted(server, differs, token):
    """The first one is not over."""
    code = violate(server, token, frame(TEXT, b"x"), frame(FIN | TEXT, b"y"))
    assert code == (1005 if differs else 1002)


@behaviour(
    "A close frame with half a code is answered with 1002", rfc="5.5.1", differs=NO_CODE
)
def test_half_a_code(server, differs, token):
    """A code has two bytes."""
    code = violate(server, token, frame(FIN | CLOSE, b"\x03"))
    assert code == (1005 if differs else 1002)


@behaviour("A close frame with the code 1005 is answered with 1002", rfc="7.4.1")
def test_reserved_code(server, token):
    """It is not for the wire."""
    assert violate(server, token, frame(FIN | CLOSE, b"\x03\xed")) == 1002
