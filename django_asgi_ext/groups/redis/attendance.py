"""The members of this process, as all processes see them."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass

from django.core.serializers.json import DjangoJSONEncoder

from django_asgi_ext.exceptions import GroupsUnavailable
from django_asgi_ext.groups.base import Deliver, Info
from django_asgi_ext.groups.message import presence, present
from django_asgi_ext.groups.redis.clients import Clients, Refused
from django_asgi_ext.groups.redis.envelope import ANYBODY, wrap
from django_asgi_ext.groups.redis.outage import logger
from django_asgi_ext.groups.redis.scripts import BEAT, ENTER, EXIT, MEMBERS

# How often a process says that it is alive, and after how long without that its
# members are taken out, in seconds.
BEAT_INTERVAL, LIFE = 5.0, 20.0

# How long after an outage all processes are taken to be back, in seconds.
SETTLING = 3.0

# How long the last words of a process may take, in seconds.
_FAREWELL = 1.0

# How many members Redis is told of at once.
_AT_ONCE = 64

_KEYS = ("alive", "order", "about", "count")


@dataclass
class Entry:
    """
    A member: what Redis knows of it, and what is said when it comes.

    ``is_quiet`` is whether nothing is said, as the others know it.
    """

    user: str
    about: bytes
    join: bytes
    is_quiet: bool = False


# The group, and the field of a member in the hashes there.
Name = tuple[str, str]


class Attendance:
    """
    Who is there, and what of it Redis has to be told. It runs on one loop.

    What changes is told in the order in which members come, each as it is then:
    nothing is lost while Redis is away.
    """

    def __init__(
        self,
        clients: Clients,
        origin: str,
        deliver: Deliver,
        connected_for: Callable[[], float],
    ) -> None:
        self._clients = clients
        self._origin = origin
        self._deliver = deliver
        self._connected_for = connected_for
        self._entries: dict[str, dict[str, Entry]] = {}
        # What Redis does not know yet, and who waits for it.
        self._untold: dict[Name, list[Future[None]]] = {}
        # What Redis has refused to know, and when it did first.
        self._refused: dict[Name, float] = {}
        self._wake = asyncio.Event()

    def name(self, group: str, key: str, token: str) -> Name:
        """Return the name of a member."""
        return group, f"{self._origin} {token} {json.dumps(key)}"

    @property
    def groups(self) -> list[str]:
        """The groups that have members here."""
        return list(self._entries)

    def enter(self, name: Name, entry: Entry, told: Future[None]) -> None:
        """Add a member; ``told`` is done when Redis knows it, or is away."""
        group, field = name
        self._entries.setdefault(group, {})[field] = entry
        self._untold.setdefault(name, []).append(told)
        self._wake.set()

    def exit(self, name: Name) -> None:
        """Take a member out; one that is not there is left alone."""
        group, field = name
        entries = self._entries.get(group, {})
        if entries.pop(field, None) is None:
            return
        if not entries:
            del self._entries[group]
        self._untold.setdefault(name, [])
        self._wake.set()

    async def run(self) -> None:
        """Tell Redis what changes, and that this process is alive."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._beat_for_ever())
                while True:
                    await self._wake.wait()
                    self._wake.clear()
                    await self._tell_all()
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(_FAREWELL):
                    await self._tell_all()

    async def come_back(self) -> None:
        """Bring Redis up to date after it was away, and then the members."""
        await self._beat_all(with_all=True)
        self._wake.set()
        # The other processes do the same.
        await asyncio.sleep(SETTLING)
        for group in self.groups:
            with suppress(GroupsUnavailable):
                infos = read_infos(await self._clients.arun(MEMBERS, self.keys(group)))
                self._deliver(group, present(group, infos))

    def keys(self, group: str) -> list[str]:
        """Return the keys of a group's presence."""
        return [self._clients.location.key(group, name) for name in _KEYS]

    def infos_here(self, group: str) -> list[Info]:
        """Return the infos of the members in this process."""
        entries = self._entries.get(group, {})
        return read_infos([entry.about for entry in list(entries.values())])

    async def _tell_all(self) -> None:
        """Tell Redis all that it does not know, until it is away."""
        while self._untold:
            some = list(itertools.islice(self._untold, _AT_ONCE))
            if not all(await asyncio.gather(*(self._tell(name) for name in some))):
                break
        # They do not wait for its return.
        for waiters in self._untold.values():
            _let_go(waiters)

    async def _tell(self, name: Name) -> bool:
        group, field = name
        entry, waiters = self._entry(name), self._untold[name]
        location = self._clients.location
        arguments: list[object] = [location.publish, location.channel(group)]
        if entry is None:
            script, arguments = EXIT, [*arguments, field]
        else:
            script = ENTER
            arguments += [
                self._origin,
                int(LIFE * 1000),
                field,
                entry.user,
                entry.about,
            ]
            arguments += [entry.join, int(entry.is_quiet)]
        try:
            await self._clients.arun(script, self.keys(group), *arguments)
        except Refused as error:
            self._note_refusal(name, error)
        except GroupsUnavailable:
            return False
        else:
            self._refused.pop(name, None)
        _let_go(waiters)
        if self._entry(name) is entry:
            del self._untold[name]
        return True

    def _note_refusal(self, name: Name, error: Refused) -> None:
        if name not in self._refused:
            self._refused[name] = time.monotonic()
            logger.error(
                "The members of the group %s are not known: %s", name[0], error
            )

    def _try_again(self) -> None:
        """Tell anew what was refused, but not for ever that somebody has left."""
        # After that time they are taken out without it.
        oldest = time.monotonic() - LIFE
        for name, since in list(self._refused.items()):
            if self._entry(name) is None and since < oldest:
                del self._refused[name]
            else:
                self._untold.setdefault(name, [])

    def _entry(self, name: Name) -> Entry | None:
        group, field = name
        return self._entries.get(group, {}).get(field)

    async def _beat_for_ever(self) -> None:
        while True:
            await asyncio.sleep(BEAT_INTERVAL)
            await self._beat_all()
            self._try_again()
            self._wake.set()

    async def _beat_all(self, with_all: bool = False) -> None:
        await asyncio.gather(*(self._beat(group, with_all) for group in self.groups))

    async def _beat(self, group: str, with_all: bool) -> None:
        """Say that this process is alive; tell its members anew if that was unknown."""
        location = self._clients.location
        # After an outage the others had no way to say so.
        is_judge = self._connected_for() > LIFE
        try:
            until = await self._clients.arun(
                BEAT,
                self.keys(group),
                location.publish,
                location.channel(group),
                self._origin,
                int(LIFE * 1000),
                int(is_judge),
            )
        except GroupsUnavailable:
            return
        was_given_up = until is not None and float(until) < 0
        if until is None or was_given_up or with_all:
            for field, entry in self._entries.get(group, {}).items():
                if (group, field) not in self._untold:
                    # If it is Redis that has forgotten them, the others have not.
                    entry.is_quiet = not was_given_up
                    self._untold[group, field] = []


def make_entry(group: str, key: str, token: str, info: Info) -> Entry:
    """Return a member as Redis has to know it."""
    join, leave = presence("join", group, info), presence("leave", group, info)
    join.exclude = leave.exclude = token
    user = json.dumps(key)
    about = f"{user}\n{json.dumps(info, cls=DjangoJSONEncoder)}\n".encode()
    return Entry(user, about + wrap(ANYBODY, leave), wrap(ANYBODY, join))


def read_infos(abouts: list[bytes]) -> list[Info]:
    """Return the infos in what Redis knows, one for each user, first come first."""
    infos: dict[bytes, Info] = {}
    for about in abouts:
        user, info, _ = about.split(b"\n", 2)
        if user not in infos:
            infos[user] = json.loads(info)
    return list(infos.values())


def _let_go(waiters: list[Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
    waiters.clear()
