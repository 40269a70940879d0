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
from collections.abc import Callable
from contextvars import Context
from threading import Lock
from weakref import WeakKeyDictionary, ref

from django_asgi_ext import conf
from django_asgi_ext.groups.message import PRESENCE, Message, read_presence
from django_asgi_ext.groups.outbox import Outbox
from django_asgi_ext.groups.receiver import Place, Receiver, number_of
from django_asgi_ext.groups.roster import Roster
from django_asgi_ext.groups.sending import DONE, Rest, Stage
from django_asgi_ext.protocols import Send

# Tells whether the member at a place gets a message.
Choice = Callable[[Place], bool]

logger = logging.getLogger("django_asgi_ext.groups")

# How long it delivers before other callbacks of the loop have their turn, in
# seconds, and after how many deliveries it looks at the clock.
SLICE = 0.005
CHUNK = 32

# How many messages to a group that wait go to one member after the other. Then what
# belongs to a member is looked for in memory once, and not for each of them.
BATCH = 16

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


class Batch:
    """
    Messages to one group, on their way to all who are in it.

    Who joins now gets what comes after. ``is_wanted`` is whether a member gets them,
    None if all do. ``row`` is whose turn it is, up to ``end``.
    """

    __slots__ = ("end", "is_wanted", "messages", "roster", "row")

    def __init__(
        self, roster: Roster, messages: list[Message], is_wanted: Choice | None
    ) -> None:
        self.roster = roster
        self.messages = messages
        self.is_wanted = is_wanted
        self.row, self.end = 0, roster.hold()
        if is_wanted is None:
            roster.delivered += len(messages)


class Delivery:
    """What one event loop has to deliver, and the places there."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # It is the key under which this is found.
        self._loop = ref(loop)
        # Not by the group's name: if the last one leaves and others join, they would
        # hear of who had joined before, and never that those have left.
        self._queue: deque[tuple[Roster, Message]] = deque()
        # Whether _run() will be called. The lock is for whoever changes it to True.
        self._is_awake = False
        # Whether who is there is being taken out, since the loop is closed.
        self._is_ending = False
        self._lock = Lock()
        # Not the publisher's: it would be kept, and seen by a server's send().
        self._context = Context()
        self._rosters: dict[str, Roster] = {}
        # What is being delivered, and what is left of it.
        self._batch: Batch | None = None
        # Who has fallen behind in a burst: how many it had taken when that began, and
        # until when it is waited for.
        self._crowded: dict[Outbox, tuple[int, float]] = {}
        self._is_waiting = False
        # Until when anybody is waited for, None if nobody was yet.
        self._waits_until: float | None = None

    def add(self, place: Place) -> None:
        """Let a place have what is published from now on."""
        group = place.group
        roster = self._rosters.get(group)
        if roster is None:
            roster = self._rosters[group] = Roster()
            with _lock:
                _by_group[group] = (*_by_group.get(group, ()), self)
        roster.add(place)

    def discard(self, place: Place, on_last: Callable[[str], None]) -> None:
        """Take a place out; call on_last if it was the last one in the process."""
        group = place.group
        roster = self._rosters[group]
        roster.discard(place)
        if not roster:
            del self._rosters[group]
            _forget(group, self, on_last)

    def put(self, group: str, message: Message) -> None:
        """Have a message delivered, from any thread."""
        roster = self._rosters.get(group)
        if roster is None:
            # The last one has just left.
            return
        self._queue.append((roster, message))
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
        for roster in list(self._rosters.values()):
            for place in list(roster):
                place.member.fail(error)
        # With what is said of those who leave, which must not come here again.
        self._queue.clear()
        self._batch = None
        self._is_ending = self._is_awake = False

    def _run(self) -> None:
        loop = asyncio.get_running_loop()
        until = time.perf_counter() + SLICE
        try:
            with Stage(loop) as stage:
                while self._go_on(stage, until):
                    pass
        finally:
            if self._batch is not None:
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
        batch = self._batch
        if batch is None:
            self._is_waiting = bool(self._queue and self._crowded) and self._waits()
            if self._is_waiting or not self._queue:
                return False
            batch = self._batch = self._next_batch()
        step = max(1, CHUNK // len(batch.messages))
        while batch.row < batch.end:
            rows = range(batch.row, min(batch.row + step, batch.end))
            # Before: whatever goes wrong there, nobody gets it twice.
            batch.row = rows.stop
            self._deliver(stage, batch, rows)
            if time.perf_counter() > until:
                return False
        batch.roster.release()
        self._batch = None
        return time.perf_counter() < until

    def _next_batch(self) -> Batch:
        """Take out what is next: several messages if all members get all of them."""
        queue = self._queue
        roster, message = queue.popleft()
        messages, is_wanted = [message], _choice(message)
        if is_wanted is None and queue and queue[0][0] is roster:
            # A quarter of what may wait: at half of it others wait for a member.
            most = min(BATCH, conf.outbox() // 4)
            size = conf.outbox_size() // 4 - message.size
            while len(messages) < most and queue and queue[0][0] is roster:
                message = queue[0][1]
                size -= message.size
                if size < 0 or not _is_for_all(message):
                    break
                messages.append(queue.popleft()[1])
        return Batch(roster, messages, is_wanted)

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

    def _deliver(self, stage: Stage, batch: Batch, rows: range) -> None:
        # One loop for all of it: each call in between costs every member, and so does
        # each object of a member's own.
        messages, is_wanted = batch.messages, batch.is_wanted
        roster = batch.roster
        places, sends, contexts = roster.places, roster.sends, roster.contexts
        for row in rows:
            for message in messages:
                send = sends[row]
                if send is None or is_wanted is not None:
                    send = self._send_of(places[row], message, is_wanted)
                    if send is None:
                        continue
                try:
                    steps = send(message.event).__await__()
                    waits_for = contexts[row].run(next, steps, DONE)
                except (Exception, asyncio.CancelledError) as error:
                    _member(places[row]).fail(error)
                    continue
                if waits_for is not DONE:
                    member = _member(places[row])
                    member.begin_to_wait()
                    rest = Rest(member.context, steps, waits_for)
                    member.sending = stage.hand_over(member.carry, rest)

    def _send_of(
        self, place: Place | None, message: Message, is_wanted: Choice | None
    ) -> Send | None:
        """Return what sends a message straight to the peer, None if nothing does."""
        if place is None or not (is_wanted is None or is_wanted(place)):
            return None
        if not self._goes_on(place, message):
            return None
        # The roster does not count this one.
        place.member.count_sent(1)
        return place.member.connection.asgi_send

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


def _is_for_all(message: Message) -> bool:
    """Return whether a message is for whoever is there, without a look into it."""
    return message.kind != PRESENCE and message.exclude is None


def _choice(message: Message) -> Choice | None:
    """Return what tells who gets a message, None if all do."""
    said = read_presence(message)
    if said is None and message.exclude is None:
        return None
    excluded = -1 if message.exclude is None else number_of(message.exclude)

    def is_wanted(place: Place) -> bool:
        return place.member.number != excluded and (said is None or place.is_told(said))

    return is_wanted


def _member(place: Place | None) -> Receiver:
    """Return the member to whom something was sent: a row is not emptied meanwhile."""
    if place is None:
        raise LookupError("Something was sent to nobody.")
    return place.member


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
