"""A message between processes, and as the members get it."""

import json

import pytest

from django_asgi_ext.groups.message import (
    BINARY,
    JSON,
    PRESENCE,
    Message,
    encode,
    presence,
)


@pytest.mark.parametrize(
    "published",
    ["text", "", "Grüße\n\x00", b"", b"\n\x00\xff", {"a": [1, None]}, None, 1.5],
)
def test_between_processes(published):
    """What another process makes of the bytes is the same message."""
    message = encode(published, "key", "token")
    same = Message.from_bytes(message.to_bytes())
    assert (same.kind, same.payload) == (message.kind, message.payload)
    assert (same.key, same.exclude) == ("key", "token")
    assert same.event == message.event
    assert same.value == published
    assert same.position is None


def test_presence_between_processes():
    """News of presence are no messages of the application's in any process."""
    message = presence("join", "chat", {"id": 1})
    same = Message.from_bytes(message.to_bytes())
    assert same.kind == PRESENCE
    assert same.value == {"@presence": "join", "group": "chat", "member": {"id": 1}}


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"text", b"[]\n", b"5\n", b'["text"]\n', b'["video", null, null]\n'),
        *(b'["text", null, null]', b"\xff\n", b'["text", null, null]\n\xff'),
    ],
)
def test_bytes_that_are_no_message(data):
    """Bytes that are no message are an error that says so."""
    with pytest.raises(ValueError) as error:
        Message.from_bytes(data)
    assert str(error.value) == "These bytes are no message to a group."


def test_each_view_has_its_own_value():
    """What one view does to a value no other sees."""
    message = encode({"a": []})
    message.value["a"].append(1)
    assert message.value == {"a": []}


def test_encoded_once():
    """The event is made once, for all members."""
    message = encode({"a": 1})
    assert message.event is message.event
    assert (message.kind, encode(b"").kind) == (JSON, BINARY)


def test_str_of_a_subclass():
    """A str of a subclass, as Django's SafeString, goes as a str."""
    from django.utils.safestring import mark_safe

    assert type(encode(mark_safe("<b>")).payload) is str


@pytest.mark.parametrize("text", ["\ud800", "a\udfff"])
def test_lone_surrogate(text):
    """A str that UTF-8 cannot encode cannot be published."""
    with pytest.raises(UnicodeEncodeError):
        encode(text)


@pytest.mark.parametrize(
    "value, kind, why",
    [
        (object(), TypeError, "Object of type object is not JSON serializable"),
        (
            {(1, 2): 3},
            TypeError,
            "keys must be str, int, float, bool or None, not tuple",
        ),
        (
            [float("nan")],
            ValueError,
            "Out of range float values are not JSON compliant",
        ),
    ],
)
def test_no_json(value, kind, why):
    """What JSON cannot express cannot be published, and the error says to whom."""
    with pytest.raises(kind) as error:
        encode(value)
    before = "A group takes str, bytes and what DjangoJSONEncoder can encode: "
    assert str(error.value).startswith(f"{before}{why}")


def test_nested_too_deep():
    """What is nested deeper than Python can follow cannot be published."""
    value = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(ValueError) as error:
        encode(value)
    before = "A group takes str, bytes and what DjangoJSONEncoder can encode: "
    assert str(error.value).startswith(f"{before}maximum recursion depth exceeded")


@pytest.mark.parametrize("key", [5, b"AAPL", ("A", "B")])
def test_key_that_is_no_str(key):
    """A key is a str."""
    with pytest.raises(TypeError) as error:
        encode("x", key)
    assert str(error.value) == f"The key of a message is a str, not {key!r}."


def test_id_is_json():
    """A message with a position is JSON, whatever was published."""
    for published in ('Grüße "\\ \u2028', {"a": "\u2028"}, b"\xff"):
        message = encode(published)
        message.put_at("chat", (1, 2))
        assert json.loads(message.event["text"])["@id"] == "chat@1-2"
        # As the view gets it there is nothing of that.
        assert message.value == published
