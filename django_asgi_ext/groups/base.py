"""What carries the messages of groups between processes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django_asgi_ext.groups.message import Message, Position, presence
from django_asgi_ext.groups.policy import History

# Hands a message to the members in this process. It does not block, and may be
# called on any thread.
Deliver = Callable[[str, Message], None]

Info = dict[str, Any]


@dataclass(frozen=True)
class Missed:
    """
    What a member has missed.

    ``position`` is that of the newest message, ``messages`` what came after the
    member's own, in order, each with its position. If ``is_complete`` is false,
    the history does not go back that far, and there are none.
    """

    position: Position
    messages: list[Message] = field(default_factory=list)
    is_complete: bool = True


class Backend(ABC):
    """
    The way of messages from one process to all.

    There is one for each process; all its methods may be called on any thread,
    with or without an event loop, and on several event loops. Who is a member
    in this process, and what is sent to whom, is not its business.

    A message to a group without history is delivered here before publish() is
    called: the backend takes it to the other processes only. One to a group
    with history is delivered by nobody but the backend, in the order of its
    positions, in this process too.

    A position is greater than every one before, also than those that a process
    gave before it was started anew.

    ``blocks`` is whether publish() and members() wait for something outside of the
    process. Python then warns who calls them on an event loop.
    """

    blocks = False

    def __init__(self, location: Any, deliver: Deliver) -> None:
        """
        Take ASGI_EXT["GROUPS"]["LOCATION"], and what to call with messages.

        OPTIONS come as keyword arguments.
        """
        self.location = location
        self.deliver = deliver

    @classmethod
    def problems(cls, location: Any, options: dict[str, Any]) -> Iterator[str]:
        """Yield what is wrong in LOCATION and OPTIONS, for a system check."""
        if options:
            yield f"ASGI_EXT['GROUPS']['OPTIONS'] means nothing to {cls.__name__}."

    @abstractmethod
    def publish(self, group: str, message: Message, history: History | None) -> None:
        """
        Take a message to the other processes; put it into the history if there is one.

        Then give it its place with message.put_at(), and deliver it here as well.
        """

    async def apublish(
        self, group: str, message: Message, history: History | None
    ) -> None:
        """Do the same on an event loop, which must not be blocked."""
        self.publish(group, message, history)

    async def subscribe(self, group: str) -> Position | None:
        """
        Deliver what is published to a group from now on.

        It is called for each member that joins, before anything else of the
        group is asked for, and returns when it is so.

        Return the position after which all is delivered, if the group has a
        history and the position is known: this is where the member begins.
        """
        return None

    def unsubscribe(self, group: str) -> None:
        """
        Deliver no more of a group: the last member in this process has left.

        It must not block. If a member joins meanwhile, subscribe() comes after.
        """
        return None

    @abstractmethod
    async def since(self, group: str, position: Position, history: History) -> Missed:
        """
        Return what came after a position, which is a peer's choice.

        A position that the group cannot have had yet counts as too old.
        """

    @abstractmethod
    async def enter(self, group: str, key: str, token: str, info: Info) -> None:
        """
        Note that a member is there.

        ``key`` is the same for all members of one user, ``token`` names this
        one. If it is the first with its key, call announce("join", ...). If the
        token is known already, only the info is new.
        """

    @abstractmethod
    def exit(self, group: str, key: str, token: str) -> None:
        """
        Note that a member has left; it must not block.

        If it was the last with its key, call announce("leave", ...). What is
        unknown is no error. The members of a process that has died are taken out
        by the others.
        """

    @abstractmethod
    def members(self, group: str) -> list[Info]:
        """Return the info of who is there, one for each key, first come first."""

    async def amembers(self, group: str) -> list[Info]:
        """Do the same on an event loop, which must not be blocked."""
        return self.members(group)

    def announce(self, kind: str, group: str, info: Info, token: str) -> None:
        """
        Tell the members in all processes of a "join" or a "leave".

        The member that has this token is not told.
        """
        message = presence(kind, group, info)
        message.exclude = token
        self.deliver(group, message)
        self.publish(group, message, None)

    def close(self) -> None:
        """Let go of connections and threads; it is not used any more."""
        return None
