"""
From a message that was published to the members in this process.

Each event loop has a Delivery. Any thread puts messages there; the loop takes
them out in a callback that runs for some milliseconds at most before others
have their turn, and only while there is something to do.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context
from threading import Lock
from weakref import WeakKeyDictionary, ref

from django_asgi_ext.groups.message import Message, read_presence
from django_asgi_ext.groups.outbox import Outbox
from django_asgi_ext.groups.receiver import Place, Receiver, number_of
from django_asgi_ext.groups.sending import DONE, Rest, Stage

logger = logging.getLogger("django_asgi_ext.groups")

# How long it delivers before other callbacks of the loop have their turn, in
# seconds, and after how many members it looks at the clock.
SLICE = 0.003
CHUNK = 32

# How long the rest of many messages waits for a member that takes some of those
# before, and how many are enough to wait on; how often it looks, in seconds. This
# is for a burst, which is faster than any network: one message alone never waits.
WINDOW = 0.1
ENOUGH = 20
TICK = 0.001

# For how long it waits at most from the first time until nothing is left to deliver,
# in seconds: a peer that takes just enough must not hold all groups up.
MOST_WAIT = 5.0

# From how many messages that wait for a loop on it is behind.
BACKLOG = 10_000

# Guards which loops have members of a group.
_lock = Lock()
_by_group: dict[str, tuple[Delivery, ...]] = {}
_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Delivery] = WeakKeyDictionary()


def deliver(group: str, message: Message) -> None:
    """Hand a message to all members in this process, from any thread."""
    for delivery in _by_group.get(group, ()):
        delivery.put(group, message)


def is_behind(group: str) -> bool:
    """Return whether a loop does not deliver as fast as is published."""
    return any(delivery.is_behind for delivery in _by_group.get(group, ()))


def delivery() -> Delivery:
    """Return that of the running loop."""
    loop = asyncio.get_running_loop()
    found = _by_loop.get(loop)
    if found is None:
        found = _by_loop[loop] = Delivery(loop)
    return found


class Delivery:
    """What one event loop has to deliver, and the places there."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # It is the key under which this is found.
        self._loop = ref(loop)
        self._queue: deque[tuple[str, Message]] = deque()
        # Whether _run() will be called. The lock is for whoever changes it to True.
        self._is_awake = False
        # Whether who is there is being taken out, since the loop is closed.
        self._is_ending = False
        self._lock = Lock()
        # Not the publisher's: it would be kept, and seen by a server's send().
        self._context = Context()
        self._places: dict[str, dict[Receiver, Place]] = {}
        # The same to iterate over, for as long as nobody joins or leaves.
        self._snapshots: dict[str, tuple[Place, ...]] = {}
        # What is left of the message that is being delivered.
        self._message: Message | None = None
        self._rest: Sequence[Place] = ()
        self._at = 0
        # Who has fallen behind in a burst: how many it had taken when that began, and
        # until when it is waited for.
        self._crowded: dict[Outbox, tuple[int, float]] = {}
        self._is_waiting = False
        # Until when anybody is waited for, None if nobody was yet.
        self._waits_until: float | None = None

    def add(self, place: Place) -> None:
        """Let a place have what is published from now on."""
        group = place.group
        places = self._places.get(group)
        if places is None:
            places = self._places[group] = {}
            with _lock:
                _by_group[group] = (*_by_group.get(group, ()), self)
        places[place.member] = place
        self._snapshots.pop(group, None)

    def discard(self, place: Place, on_last: Callable[[str], None]) -> None:
        """Take a place out; call on_last if it was the last one in the process."""
        group = place.group
        places = self._places[group]
        del places[place.member]
        self._snapshots.pop(group, None)
        if not places:
            del self._places[group]
            _forget(group, self, on_last)

    def put(self, group: str, message: Message) -> None:
        """Have a message delivered, from any thread."""
        self._queue.append((group, message))
        if not self._is_awake or self._is_over:
            self._wake()

    @property
    def is_behind(self) -> bool:
        """Whether more messages wait than should."""
        return len(self._queue) > BACKLOG

    @property
    def _is_over(self) -> bool:
        loop = self._loop()
        return loop is None or loop.is_closed()

    def _wake(self) -> None:
        with self._lock:
            # One that is closed runs nothing, though it was woken before.
            if self._is_ending or (self._is_awake and not self._is_over):
                return
            self._is_awake = True
        loop = self._loop()
        try:
            if loop is None:
                raise RuntimeError("The event loop is gone.")
            loop.call_soon_threadsafe(self._run, context=self._context)
        except RuntimeError as error:
            self._end(error)

    def _end(self, error: RuntimeError) -> None:
        """Take out who is there: the loop is closed, and nobody has done so."""
        with self._lock:
            if self._is_ending:
                return
            self._is_ending = True
        for places in list(self._places.values()):
            for member in list(places):
                member.fail(error)
        # With what is said of those who leave, which must not come here again.
        self._queue.clear()
        self._is_ending = self._is_awake = False

    def _run(self) -> None:
        loop = asyncio.get_running_loop()
        until = time.perf_counter() + SLICE
        try:
            with Stage(loop) as stage:
                while self._go_on(stage, until):
                    pass
        finally:
            if self._message is not None:
                loop.call_soon(self._run, context=self._context)
            elif self._queue:
                delay = TICK if self._is_waiting else 0
                loop.call_later(delay, self._run, context=self._context)
            else:
                self._crowded.clear()
                self._waits_until = None
                self._is_awake = False
                # What was put there before that has woken nobody.
                if self._queue:
                    self._wake()

    def _go_on(self, stage: Stage, until: float) -> bool:
        """Deliver for a while; return whether there is more to do and time for it."""
        message = self._message
        if message is None:
            self._is_waiting = bool(self._queue and self._crowded) and self._waits()
            if self._is_waiting or not self._queue:
                return False
            group, message = self._queue.popleft()
            self._rest, self._at = self._places_for(group, message), 0
            self._message = message
        while self._at < len(self._rest):
            chunk = self._rest[self._at : self._at + CHUNK]
            # Before: whatever goes wrong there, nobody gets it twice.
            self._at += CHUNK
            self._deliver(stage, chunk, message)
            if time.perf_counter() > until:
                return False
        self._rest, self._message = (), None
        return time.perf_counter() < until

    def _waits(self) -> bool:
        """Return whether somebody who has fallen behind is catching up."""
        now, waits = time.perf_counter(), False
        if self._waits_until is not None and now >= self._waits_until:
            return False
        for outbox, (taken, until) in list(self._crowded.items()):
            if not outbox.is_crowded:
                del self._crowded[outbox]
            elif now < until:
                waits = True
            elif outbox.taken - taken >= ENOUGH:
                self._crowded[outbox] = outbox.taken, now + WINDOW
                waits = True
        if waits and self._waits_until is None:
            self._waits_until = now + MOST_WAIT
        return waits

    def _places_for(self, group: str, message: Message) -> Sequence[Place]:
        places = self._all_places(group)
        said = read_presence(message)
        if said is not None:
            places = [place for place in places if place.is_told(said)]
        if message.exclude is not None:
            number = number_of(message.exclude)
            places = [place for place in places if place.member.number != number]
        return places

    def _all_places(self, group: str) -> Sequence[Place]:
        places = self._snapshots.get(group)
        if places is None:
            places = tuple(self._places.get(group, {}).values())
            if places:
                self._snapshots[group] = places
        return places

    def _deliver(self, stage: Stage, places: Sequence[Place], message: Message) -> None:
        # One loop for all of it: each call in between costs every member.
        event = message.event
        for place in places:
            member = place.member
            if not place.is_direct or member.outbox is not None:
                if not self._goes_on(place, message):
                    continue
            connection = member.connection
            pulse = connection.pulse
            pulse.begun += 1
            try:
                steps = connection.asgi_send(event).__await__()
                waits_for = member.context.run(next, steps, DONE)
            except (Exception, asyncio.CancelledError) as error:
                pulse.done += 1
                member.fail(error)
                continue
            if waits_for is DONE:
                pulse.done += 1
            else:
                member.begin_to_wait()
                rest = Rest(member.context, steps, waits_for)
                member.sending = stage.hand_over(member.carry, rest)

    def _goes_on(self, place: Place, message: Message) -> bool:
        """Put a message down that has to wait; return whether it has not."""
        if not place.is_in or not place.is_news(message):
            return False
        outbox = place.outbox()
        if outbox is None:
            return True
        try:
            place.take(outbox, message)
        except Exception:
            # The others must have it all the same.
            logger.exception("A message to %s is lost.", place.group)
        if outbox.is_crowded and outbox not in self._crowded:
            self._crowded[outbox] = outbox.taken, time.perf_counter() + WINDOW
        return False


def _forget(
    group: str, delivery: Delivery, on_last: Callable[[str], None] | None = None
) -> None:
    with _lock:
        rest = tuple(one for one in _by_group.get(group, ()) if one is not delivery)
        if rest:
            _by_group[group] = rest
            return
        _by_group.pop(group, None)
        if on_last is not None:
            # With the lock held: who joins now comes after.
            on_last(group)


def _begin_anew() -> None:
    """Leave the loops and who is there to the process that has forked."""
    global _lock, _by_loop
    # Another thread may have held it.
    _lock = Lock()
    _by_group.clear()
    _by_loop = WeakKeyDictionary()


# Windows does not fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
