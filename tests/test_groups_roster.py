"""The places of one group, side by side."""

import random

import pytest
from wire import Wire

from django_asgi_ext.groups.receiver import Place, Receiver
from django_asgi_ext.groups.roster import Roster


@pytest.fixture
def place(settings_of_ours):
    """Return a function that makes the place of a new member."""
    settings_of_ours(OUTBOX=5)

    def make():
        member = Receiver(Wire())
        member.places["chat"] = place = Place(member, "chat")
        return place

    return make


def check(roster, there):
    """Each of those who are there has a row, and nobody else."""
    assert list(roster) == there
    assert len(roster) == len(there)
    assert len(roster.places) == len(roster.sends) == len(roster.contexts)
    for place in there:
        assert roster.places[place.row] is place
        assert roster.contexts[place.row] is place.member.context
        assert roster.sends[place.row] == place.direct_send()
    sending = [send for send in roster.sends if send is not None]
    assert len(sending) == sum(place.direct_send() is not None for place in there)


@pytest.mark.parametrize("seed", range(20))
def test_rows(place, seed):
    """Whoever joins, leaves or has to wait, in whatever order: each row is right."""
    chance = random.Random(seed)
    roster, there, is_held, rows = Roster(), [], False, {}
    for _ in range(600):
        what = chance.choice(["join"] * 3 + ["leave"] * 3 + ["wait", "go", "hold"])
        if what == "join":
            there.append(place())
            roster.add(there[-1])
        elif what == "hold":
            is_held = not is_held
            if is_held:
                assert roster.hold() == len(roster.places)
                rows = {place: place.row for place in there}
            else:
                roster.release()
        elif there:
            one = chance.choice(there)
            if what == "leave":
                there.remove(one)
                one.give_up()
                roster.discard(one)
                rows.pop(one, None)
            else:
                one.member._set_outbox(object() if what == "wait" else None)
        if is_held:
            assert rows == {one: one.row for one in rows}
        check(roster, there)


def test_rows_are_given_back(place):
    """A group that thousands pass through has no rows for those who have left."""
    roster = Roster()
    stays = place()
    roster.add(stays)
    for _ in range(1000):
        passing = place()
        roster.add(passing)
        passing.give_up()
        roster.discard(passing)
        assert len(roster.places) < 20
    check(roster, [stays])


def test_nobody_is_kept(place):
    """Who leaves while a message goes out is let go of when it has gone out."""
    roster = Roster()
    leaves, stays = place(), place()
    roster.add(leaves)
    roster.add(stays)
    roster.hold()
    leaves.give_up()
    roster.discard(leaves)
    assert roster.places == [leaves, stays]
    assert roster.sends[leaves.row] is None
    roster.release()
    assert roster.places == [None, stays]


def test_counting(place):
    """A connection learns how much went to it, while nothing had to wait for it."""
    roster, one = Roster(), place()
    pulse = one.member.connection.pulse
    roster.delivered = 100
    roster.add(one)
    roster.delivered += 3
    assert (pulse.begun, pulse.done) == (0, 0)
    roster.count(one)
    roster.count(one)
    assert (pulse.begun, pulse.done) == (3, 3)
    roster.delivered += 1
    one.member.begin_to_wait()
    # What waits was begun and is not done.
    assert (pulse.begun, pulse.done) == (5, 4)
    roster.delivered += 10
    roster.count(one)
    one.member._set_outbox(None)
    roster.delivered += 2
    one.give_up()
    roster.discard(one)
    assert (pulse.begun, pulse.done) == (7, 6)
