"""Who gets what is published: one connection, and its places in groups."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import Iterator
from contextvars import Context, copy_context
from itertools import count
from typing import Any, Protocol

from django_asgi_ext import conf
from django_asgi_ext.groups.counting import counters
from django_asgi_ext.groups.message import PRESENCE, Message, Position, read_presence
from django_asgi_ext.groups.outbox import Outbox
from django_asgi_ext.groups.policy import Policy, policy_of
from django_asgi_ext.groups.sending import Rest
from django_asgi_ext.protocols import Send

logger = logging.getLogger("django_asgi_ext.groups")

_numbers = count()
# Of this process; those that are forked from it differ by their pid.
_process = secrets.token_hex(8)

# Nobody knows who is there if one of those is lost.
_OF_PRESENCE = Policy()


def _prefix() -> str:
    return f"{_process}-{os.getpid()}-"


def number_of(token: str) -> int:
    """Return the number of a member by its token, -1 if it is of another process."""
    prefix = _prefix()
    return int(token.removeprefix(prefix)) if token.startswith(prefix) else -1


class Counted(Protocol):
    """How many events a connection was given, and how many it has taken."""

    begun: int
    done: int


class Connection(Protocol):
    """
    What a member's messages go to.

    ``is_open`` is whether messages may pass, and ``pulse`` counts them.
    """

    is_open: bool
    asgi_send: Send

    @property
    def pulse(self) -> Counted:
        """What is counted."""

    def peer_lags(self) -> None:
        """Close the connection to a peer that is too slow."""


class Receiver:
    """
    One connection as a member of groups.

    ``places`` are those by their groups. ``outbox`` is there while the peer does not
    take what is sent to it, and ``sending`` the task that sends it. ``number`` is its
    own in this process.
    """

    __slots__ = ("connection", "context", "number", "outbox", "places", "sending")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        # What a send() sets there is seen by its next one, and by nobody else's.
        self.context: Context = copy_context()
        self.places: dict[str, Place] = {}
        self.outbox: Outbox | None = None
        self.sending: asyncio.Task[None] | None = None
        self.number = next(_numbers)

    @property
    def token(self) -> str:
        """A name that no other member has, in any process."""
        return f"{_prefix()}{self.number}"

    def is_excluded(self, message: Message) -> bool:
        """Return whether this is the one that does not get a message."""
        return message.exclude is not None and number_of(message.exclude) == self.number

    def put(self, outbox: Outbox, group: str, message: Message) -> None:
        """Let a message wait; close the connection if it cannot."""
        policy = _OF_PRESENCE if message.kind == PRESENCE else policy_of(group)
        lost = outbox.push(group, message, policy)
        if lost is None:
            self.fall_behind(group)
        elif lost:
            self.lose(lost)

    def lose(self, groups: list[str]) -> None:
        """Count messages that the peer will not get, by their groups."""
        counters.add("dropped", len(groups))

    def fall_behind(self, group: str) -> None:
        """Close the connection: the peer is too slow for a group that needs all."""
        counters.add("closed")
        logger.warning("A member of the group %s is too slow for it.", group)
        self.connection.peer_lags()

    def count_sent(self, number: int) -> None:
        """Note that the server has taken so many messages at once."""
        pulse = self.connection.pulse
        pulse.begun += number
        pulse.done += number

    def begin_to_wait(self) -> None:
        """Keep what comes from now on: a send waits for the peer."""
        self.connection.pulse.begun += 1
        self._set_outbox(new_outbox())

    async def carry(self, rest: Rest) -> None:
        """Go on with a send that waits, and then send what has come meanwhile."""
        connection, outbox = self.connection, self.outbox
        try:
            await self._finish(rest)
            while outbox is not None and connection.is_open:
                message = outbox.pop()
                if message is None:
                    break
                connection.pulse.begun += 1
                steps = connection.asgi_send(message.event).__await__()
                await self._finish(Rest(self.context, steps))
        except asyncio.CancelledError as error:
            # A server's send() may raise it too. What waits is lost.
            self.fail(error)
            raise
        except Exception as error:
            self.fail(error)
        finally:
            self.sending = None
            self._set_outbox(None)

    def _set_outbox(self, outbox: Outbox | None) -> None:
        self.outbox = outbox
        for place in self.places.values():
            place.change()

    async def _finish(self, rest: Rest) -> None:
        # The connection may be let go of while this waits.
        pulse = self.connection.pulse
        try:
            await rest
        finally:
            pulse.done += 1

    def fail(self, error: BaseException) -> None:
        """Take note of what a send() has raised: nothing more goes to this peer."""
        # OSError, and with some servers RuntimeError, is how a send() says that
        # nobody is there any more. The connection's reader will find out.
        is_gone = isinstance(error, (OSError, RuntimeError, asyncio.CancelledError))
        logger.log(
            logging.DEBUG if is_gone else logging.ERROR,
            "Sending to a member of a group failed.",
            exc_info=error,
        )


def new_outbox() -> Outbox:
    """Return an outbox with the bounds of the settings."""
    return Outbox(conf.outbox(), conf.outbox_size())


class Place:
    """
    The place of a member in one group.

    ``is_direct`` is whether messages go straight to the peer. Else they are
    ``held`` while the member gets what came before, or its view takes them from
    ``feed``, or they may have ``reached`` the peer already, up to that position.
    ``is_in`` is whether it has not left, and ``is_present`` whether it is one of those
    who are there and hear of each other, if the group has presence. ``row`` is where
    it stands in ``roster``, and ``counted`` how much of what was delivered there its
    connection knows of.
    """

    __slots__ = (
        "counted",
        "feed",
        "group",
        "held",
        "is_direct",
        "is_in",
        "is_present",
        "key",
        "member",
        "reached",
        "roster",
        "row",
    )

    def __init__(self, member: Receiver, group: str, feed: Feed | None = None) -> None:
        self.member = member
        self.group = group
        self.feed = feed
        self.held: Outbox | None = None
        self.reached: Position | None = None
        # By which the presence of the group knows it.
        self.key: str | None = None
        self.roster: Roster | None = None
        self.row = self.counted = 0
        self.is_in = self.is_present = True
        self.is_direct = feed is None

    def direct_send(self) -> Send | None:
        """Return what a message goes straight to, None if it has to wait."""
        if not self.is_direct or self.member.outbox is not None:
            return None
        return self.member.connection.asgi_send

    def change(self) -> None:
        """Note that messages may have to wait now, or need to no more."""
        if self.roster is not None:
            self.roster.update(self)

    def hold(self) -> None:
        """Keep messages until take_held()."""
        self.held = new_outbox()
        self._set_direct(False)

    def take_held(self) -> Iterator[Message]:
        """Yield what is held, and what comes meanwhile, until there is no more."""
        while self.held is not None and (message := self.held.pop()) is not None:
            said = read_presence(message)
            if self.is_news(message) and (said is None or self.is_told(said)):
                yield message
        self.held = None
        self._settle()

    def is_news(self, message: Message) -> bool:
        """Return whether a message has not reached the peer in the replay."""
        if self.reached is None or message.position is None:
            return True
        if message.position <= self.reached:
            return False
        # Positions come in order.
        self.reached = None
        self._settle()
        return True

    def is_told(self, said: dict[str, Any]) -> bool:
        """Return whether the peer gets what is said of who is there."""
        if not self.is_present:
            return False
        # The leave of another connection may come late: this one is there.
        is_leave = said["@presence"] == "leave"
        return not is_leave or repr(said["member"]["id"]) != self.key

    def outbox(self) -> Outbox | None:
        """Return where a message has to wait now, None if it need not."""
        if self.held is not None:
            return self.held
        return self.member.outbox if self.feed is None else self.feed.outbox

    def take(self, outbox: Outbox, message: Message) -> None:
        """Let a message wait there."""
        self.member.put(outbox, self.group, message)
        if self.feed is not None:
            self.feed.wake()

    def give_up(self) -> None:
        """Leave."""
        self.is_in = False
        self._set_direct(False)
        if self.held is not None:
            self.held.end()
            self.held = None
        if self.feed is not None:
            self.feed.end()

    def _settle(self) -> None:
        others = (self.held, self.feed, self.reached)
        self._set_direct(self.is_in and all(other is None for other in others))

    def _set_direct(self, is_direct: bool) -> None:
        self.is_direct = is_direct
        self.change()


class Roster(Protocol):
    """The places of a group that are delivered to together."""

    def update(self, place: Place) -> None:
        """Note whether messages go straight to the peer of a place."""

    def count(self, place: Place) -> None:
        """Let the connection of a place know how much was delivered to it."""


class Feed(Protocol):
    """What a view takes the messages of a group from."""

    outbox: Outbox
    is_dropped: bool

    def wake(self) -> None:
        """Note that there is a message."""

    def end(self) -> None:
        """Note that there will be no more."""
