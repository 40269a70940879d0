"""Whether anything still goes over a connection."""

from __future__ import annotations


class Pulse:
    """
    What was sent and heard, counted and not timed: a clock costs every message.

    ``begun`` counts the events that were given to the server's send(), ``done``
    those that it has taken. ``heard`` is whether one came from its receive()
    since the last look. Times are of the loop's clock, in seconds.
    """

    __slots__ = (
        "_active_at",
        "_begun",
        "_done",
        "_moved_at",
        "_unsent",
        "begun",
        "done",
        "heard",
    )

    def __init__(self, now: float) -> None:
        self.begun = self.done = 0
        self.heard = False
        # What was found at the last look, and when it had last changed.
        self._begun = self._done = self._unsent = 0
        self._moved_at = self._active_at = now

    def stuck_for(self, now: float, unsent: int = 0) -> float:
        """
        Return for how long nothing has gone out, though something should.

        That is a send() which the server does not take, or bytes that it has not
        sent and which become no fewer: even pongs can pile up.
        """
        is_waiting = self.begun != self.done or unsent
        if not is_waiting or self.done != self._done or unsent < self._unsent:
            self._moved_at = now
        self._done, self._unsent = self.done, unsent
        return now - self._moved_at

    def idle_for(self, now: float) -> float:
        """Return for how long nothing was sent or heard."""
        if self.heard or self.begun != self._begun:
            self.heard, self._begun = False, self.begun
            self._active_at = now
        return now - self._active_at
