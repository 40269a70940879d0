"""What waits for a member that does not take it as fast as it comes."""

from __future__ import annotations

from collections.abc import Iterator

from django_asgi_ext.groups.message import Message, Position, missed
from django_asgi_ext.groups.policy import CLOSE, LATEST, Policy


class Outbox:
    """
    The messages that wait for one member, oldest first.

    ``size`` is how much they take, ``taken`` counts those that were taken out. It
    holds up to ``most`` messages and ``most_size`` bytes of them, and one of any
    size if nothing else waits. In place of those that are lost, a peer that knows
    positions is told so.
    """

    __slots__ = (
        "_by_key",
        "_is_over",
        "_missed",
        "_most",
        "_most_size",
        "_next",
        "_waiting",
        "size",
        "taken",
    )

    def __init__(self, most: int, most_size: int) -> None:
        self._most, self._most_size = most, most_size
        self.size = self.taken = 0
        self._is_over = False
        # By their number, in order. A number stays when a message is replaced.
        self._waiting: dict[int, tuple[str, Message, Policy]] = {}
        self._by_key: dict[tuple[str, str], int] = {}
        # The position of the last one that was lost, by group.
        self._missed: dict[str, Position] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_crowded(self) -> bool:
        """Whether it is half full, and somebody still takes from it."""
        return not self._is_over and (
            2 * len(self._waiting) >= self._most or 2 * self.size >= self._most_size
        )

    def end(self) -> None:
        """Note that nobody needs to be waited for any more."""
        self._is_over = True

    def push(self, group: str, message: Message, policy: Policy) -> list[str] | None:
        """
        Put a message behind the others.

        Return the groups of those that are lost for it, one for each; None if
        none may be lost and there is no room.
        """
        lost = []
        if policy.slow == LATEST:
            number = self._by_key.get((group, message.key or ""))
            if number is not None:
                return self._replace(number, group, message, policy)
        while not self._has_room(message):
            dropped = self._drop_oldest()
            if dropped is not None:
                lost.append(dropped)
            elif policy.slow == CLOSE:
                return None
            else:
                # All that waits is more important.
                self._miss(group, message)
                return [*lost, group]
        self._append(group, message, policy)
        return lost

    def pop(self) -> Message | None:
        """Take out the oldest message, None if there is none."""
        number = next(iter(self._waiting), None)
        if number is None:
            return missed(*self._missed.popitem()) if self._missed else None
        group, _, _ = self._waiting[number]
        if group in self._missed:
            return missed(group, self._missed.pop(group))
        self.taken += 1
        return self._take(number)[1]

    def _append(self, group: str, message: Message, policy: Policy) -> None:
        self._waiting[self._next] = group, message, policy
        if policy.slow == LATEST:
            self._by_key[group, message.key or ""] = self._next
        self._next += 1
        self.size += message.size

    def _replace(
        self, number: int, group: str, message: Message, policy: Policy
    ) -> list[str]:
        """Put the latest message where the one before waits, so that its turn comes."""
        if message.position is not None:
            # A peer takes positions in their order only.
            self._take(number)
            self._append(group, message, policy)
        else:
            self.size += message.size - self._waiting[number][1].size
            self._waiting[number] = group, message, policy
        return [group, *self._shrink()]

    def _shrink(self) -> Iterator[str]:
        """Drop the oldest until what waits is not too much; yield their groups."""
        while self.size > self._most_size and len(self._waiting) > 1:
            dropped = self._drop_oldest()
            if dropped is None:
                break
            yield dropped

    def _drop_oldest(self) -> str | None:
        for number, (group, message, policy) in self._waiting.items():
            if policy.slow != CLOSE:
                self._take(number)
                self._miss(group, message)
                return group
        return None

    def _miss(self, group: str, message: Message) -> None:
        if message.position is not None:
            self._missed[group] = message.position

    def _take(self, number: int) -> tuple[str, Message, Policy]:
        group, message, policy = taken = self._waiting.pop(number)
        if policy.slow == LATEST:
            del self._by_key[group, message.key or ""]
        self.size -= message.size
        return taken

    def _has_room(self, message: Message) -> bool:
        return not self._waiting or (
            len(self._waiting) < self._most
            and self.size + message.size <= self._most_size
        )
