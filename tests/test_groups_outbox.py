"""What waits for a slow member, and what is lost of it."""

import json

import pytest

from django_asgi_ext.groups.message import encode, read_position
from django_asgi_ext.groups.outbox import Outbox
from django_asgi_ext.groups.policy import CLOSE, DROP_OLDEST, LATEST, Policy

ALL = Policy(CLOSE)
NEWEST = Policy(DROP_OLDEST)
STATE = Policy(LATEST)


def message(text, key=None, position=None):
    made = encode(text, key)
    if position is not None:
        made.put_at("chat", read_position(position))
    return made


def payloads(outbox):
    found = []
    while (taken := outbox.pop()) is not None:
        found.append(taken.payload)
    assert outbox.size == 0
    return found


def test_order():
    """Messages come out as they went in."""
    outbox = Outbox(10, 1000)
    for text in "abc":
        assert outbox.push("chat", message(text), ALL) == []
    assert (len(outbox), outbox.size) == (3, 3)
    assert payloads(outbox) == ["a", "b", "c"]


def test_nothing_may_be_lost():
    """If all messages are needed, there is no room for one more."""
    outbox = Outbox(2, 1000)
    assert outbox.push("chat", message("a"), ALL) == []
    assert outbox.push("chat", message("b"), ALL) == []
    assert outbox.push("chat", message("c"), ALL) is None
    assert payloads(outbox) == ["a", "b"]


def test_oldest_is_lost():
    """If only new messages count, the oldest makes room."""
    outbox = Outbox(2, 1000)
    lost = [outbox.push("news", message(text), NEWEST) for text in "abcd"]
    assert lost == [[], [], ["news"], ["news"]]
    assert payloads(outbox) == ["c", "d"]


def test_needed_ones_stay():
    """Messages of a group that needs all push others out, and are never lost."""
    outbox = Outbox(3, 1000)
    outbox.push("news", message("n1"), NEWEST)
    outbox.push("chat", message("c1"), ALL)
    outbox.push("news", message("n2"), NEWEST)
    assert outbox.push("chat", message("c2"), ALL) == ["news"]
    assert outbox.push("chat", message("c3"), ALL) == ["news"]
    # Now a new one has no room, and may be lost.
    assert outbox.push("news", message("n3"), NEWEST) == ["news"]
    assert outbox.push("chat", message("c4"), ALL) is None
    assert payloads(outbox) == ["c1", "c2", "c3"]


def test_latest():
    """A message takes the place of the one with its key, so that its turn comes."""
    outbox = Outbox(10, 1000)
    assert outbox.push("prices", message("A1", "A"), STATE) == []
    assert outbox.push("prices", message("B1", "B"), STATE) == []
    assert outbox.push("prices", message("A22", "A"), STATE) == ["prices"]
    assert outbox.push("other", message("A1", "A"), STATE) == []
    assert outbox.size == 7
    assert payloads(outbox) == ["A22", "B1", "A1"]
    assert outbox.push("prices", message("A3", "A"), STATE) == []
    assert payloads(outbox) == ["A3"]


def test_latest_without_a_key():
    """Without a key there is one latest message of the group."""
    outbox = Outbox(10, 1000)
    outbox.push("clock", message("1"), STATE)
    assert outbox.push("clock", message("2"), STATE) == ["clock"]
    assert payloads(outbox) == ["2"]


def test_latest_with_positions():
    """Positions come out in their order, though a message is replaced."""
    outbox = Outbox(10, 1000)
    outbox.push("chat", message("A1", "A", "1-0"), STATE)
    outbox.push("chat", message("B1", "B", "2-0"), STATE)
    assert outbox.push("chat", message("A2", "A", "3-0"), STATE) == ["chat"]
    assert payloads(outbox) == ["B1", "A2"]


def test_size():
    """The outbox is bounded in bytes as well."""
    outbox = Outbox(10, 10)
    assert outbox.push("news", message("x" * 6), NEWEST) == []
    assert outbox.push("news", message(b"y" * 4), NEWEST) == []
    assert outbox.push("news", message("z"), NEWEST) == ["news"]
    assert outbox.size == 5
    assert outbox.push("chat", message("z" * 10), ALL) == ["news", "news"]
    assert payloads(outbox) == ["z" * 10]


def test_size_of_the_latest():
    """A larger message in place of another pushes the oldest ones out."""
    outbox = Outbox(10, 10)
    for key in "ABC":
        outbox.push("prices", message("1", key), STATE)
    assert outbox.push("prices", message("x" * 9, "C"), STATE) == ["prices"] * 2
    assert payloads(outbox) == ["1", "x" * 9]
    outbox.push("chat", message("1"), ALL)
    outbox.push("news", message("2"), NEWEST)
    outbox.push("prices", message("3", "A"), STATE)
    lost = outbox.push("prices", message("x" * 20, "A"), STATE)
    assert lost == ["prices", "news", "prices"]
    assert payloads(outbox) == ["1"]


@pytest.mark.parametrize("policy", [ALL, NEWEST, STATE])
def test_larger_than_all(policy):
    """One message of any size has room if nothing else waits."""
    outbox = Outbox(10, 10)
    assert outbox.push("chat", message("x" * 1000), policy) == []
    assert payloads(outbox) == ["x" * 1000]


def test_lost_positions_are_told():
    """Where messages with positions are lost, the peer is told up to which one."""
    outbox = Outbox(2, 1000)
    for number in range(1, 6):
        outbox.push("chat", message(str(number), position=f"{number}-0"), NEWEST)
    first, *rest = payloads(outbox)
    assert json.loads(first) == {"@id": "chat@3-0", "@missed": True}
    assert rest == ["4", "5"]
    # Only once.
    outbox.push("chat", message("6", position="6-0"), NEWEST)
    assert payloads(outbox) == ["6"]


def test_lost_position_of_a_new_message():
    """The peer is told of a lost message though none comes behind it."""
    outbox = Outbox(1, 1000)
    outbox.push("needed", message("a"), ALL)
    assert outbox.push("chat", message("1", position="1-0"), NEWEST) == ["chat"]
    first, second = payloads(outbox)
    assert first == "a"
    assert json.loads(second) == {"@id": "chat@1-0", "@missed": True}
