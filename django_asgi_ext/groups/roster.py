"""The places of one group on one event loop."""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import Context

from django_asgi_ext.groups.receiver import Place
from django_asgi_ext.protocols import Send

# How many empty rows there are at least before the others move up.
_FEW = 16

_NOBODY = Context()


class Roster:
    """
    Who is in one group, a row for each, in the order in which they have joined.

    With thousands of members most of a delivery's time is spent on waiting for
    memory: what belongs to one of them is in no cache any more. So all that a message
    which goes straight to the peer needs stands in lists here: ``sends`` has what
    sends it, None if it has to wait or nobody is there, and ``contexts`` where to
    call that. Only for the others is the place looked at.

    ``delivered`` counts the messages that went to all in ``sends``.
    """

    __slots__ = (
        "_empty",
        "_is_held",
        "_left",
        "contexts",
        "delivered",
        "places",
        "sends",
    )

    def __init__(self) -> None:
        self.places: list[Place | None] = []
        self.sends: list[Send | None] = []
        self.contexts: list[Context] = []
        self.delivered = 0
        # How many rows nobody has any more, and whose place was not taken out yet.
        self._empty = 0
        self._left: list[int] = []
        self._is_held = False

    def __len__(self) -> int:
        return len(self.places) - self._empty

    def __iter__(self) -> Iterator[Place]:
        return (place for place in self.places if place is not None and place.is_in)

    def add(self, place: Place) -> None:
        """Give a place the last row."""
        place.roster, place.row = self, len(self.places)
        self.places.append(place)
        self.contexts.append(place.member.context)
        self.sends.append(None)
        self.update(place)

    def discard(self, place: Place) -> None:
        """Empty the row of a place, now or when rows may move again."""
        self._set(place, None)
        place.roster = None
        self._empty += 1
        self._left.append(place.row)
        if not self._is_held:
            self._tidy()

    def update(self, place: Place) -> None:
        """Note whether messages go straight to the peer of a place."""
        self._set(place, place.direct_send())

    def count(self, place: Place) -> None:
        """Let the connection of a place know how much was delivered to it."""
        if self.sends[place.row] is not None:
            place.member.count_sent(self.delivered - place.counted)
        place.counted = self.delivered

    def hold(self) -> int:
        """Leave all rows where they are until release(); return how many there are."""
        self._is_held = True
        return len(self.places)

    def release(self) -> None:
        """Let rows move again."""
        self._is_held = False
        self._tidy()

    def _set(self, place: Place, send: Send | None) -> None:
        self.count(place)
        self.sends[place.row] = send

    def _tidy(self) -> None:
        for row in self._left:
            self.places[row], self.contexts[row] = None, _NOBODY
        self._left.clear()
        if self._empty > max(_FEW, len(self)):
            self._close_up()

    def _close_up(self) -> None:
        """Have no more empty rows."""
        places, self._empty = list(self), 0
        self.sends = [self.sends[place.row] for place in places]
        self.contexts = [self.contexts[place.row] for place in places]
        for row, place in enumerate(places):
            place.row = row
        self.places = [*places]
