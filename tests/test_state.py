"""The table of states."""

import itertools

import pytest

from django_asgi_ext import InvalidState
from django_asgi_ext.websockets.state import State, after_sending, check_close

ACCEPT = "websocket.accept"
SEND = "websocket.send"
CLOSE = "websocket.close"
START = "websocket.http.response.start"
BODY = "websocket.http.response.body"

ALLOWED = {
    (State.CONNECTING, ACCEPT): State.OPEN,
    (State.CONNECTING, CLOSE): State.CLOSED,
    (State.CONNECTING, START): State.DENYING,
    (State.DENYING, BODY): State.CLOSED,
    (State.OPEN, SEND): State.OPEN,
    (State.OPEN, CLOSE): State.CLOSING,
}


@pytest.mark.parametrize(
    ("state", "event_type"),
    list(itertools.product(State, [ACCEPT, SEND, CLOSE, START, BODY])),
)
def test_after_sending(state, event_type):
    """Six ways lead from state to state, and no event can be sent otherwise."""
    if (state, event_type) in ALLOWED:
        assert after_sending(state, event_type) is ALLOWED[state, event_type]
    else:
        with pytest.raises(InvalidState):
            after_sending(state, event_type)


@pytest.mark.parametrize(
    ("state", "event_type", "text"),
    [
        (
            State.CONNECTING,
            SEND,
            "Cannot send 'websocket.send' while CONNECTING. Call accept() first.",
        ),
        (
            State.OPEN,
            ACCEPT,
            "Cannot send 'websocket.accept' while OPEN. The opening handshake is over.",
        ),
        (
            State.CLOSED,
            SEND,
            "Cannot send 'websocket.send' while CLOSED. The connection is over.",
        ),
    ],
)
def test_error_names_the_remedy(state, event_type, text):
    """The error says what cannot be sent, in which state, and what to do."""
    with pytest.raises(InvalidState) as error:
        after_sending(state, event_type)
    assert str(error.value) == text


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999]
)
def test_close_codes_that_may_be_sent(code):
    """The codes of RFC 6455 that an endpoint may send are let through."""
    check_close(code, "")


@pytest.mark.parametrize(
    "code", [-1, 0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 70000]
)
def test_close_codes_that_must_not_be_sent(code):
    """Reserved codes and those outside of the ranges are refused."""
    with pytest.raises(ValueError) as error:
        check_close(code, "")
    assert str(error.value) == (
        f"Close code {code} must not be sent. Use 1000-1003, 1007-1014 or 3000-4999."
    )


@pytest.mark.parametrize("code", [None, "1000", 1000.0, True])
def test_close_code_of_another_type(code):
    """A close code is an int and nothing else."""
    with pytest.raises(TypeError) as error:
        check_close(code, "")
    assert str(error.value) == f"A close code is an int, not {code!r}."


def test_close_reason_fits_into_a_control_frame():
    """A close reason has at most 123 bytes of UTF-8, whatever its characters."""
    check_close(1000, "x" * 123)
    check_close(1000, "é" * 61)
    with pytest.raises(ValueError) as error:
        check_close(1000, "é" * 62)
    assert str(error.value) == (
        "A close reason has at most 123 bytes of UTF-8, this one has 124."
    )


def test_close_reason_of_another_type():
    """A close reason is a str and nothing else."""
    with pytest.raises(TypeError) as error:
        check_close(1000, b"bytes")
    assert str(error.value) == "A close reason is a str, not b'bytes'."
