"""The backend for several processes."""

from __future__ import annotations

import asyncio
import atexit
import os
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import Future
from threading import Lock
from typing import Any

from django_asgi_ext.exceptions import GroupsUnavailable
from django_asgi_ext.groups.base import Backend, Deliver, Info, Missed
from django_asgi_ext.groups.message import Message, Position
from django_asgi_ext.groups.policy import History, policy_of
from django_asgi_ext.groups.redis import location as locations
from django_asgi_ext.groups.redis.attendance import (
    Attendance,
    make_entry,
    read_infos,
)
from django_asgi_ext.groups.redis.clients import Clients, Refused, check_arguments
from django_asgi_ext.groups.redis.envelope import wrap
from django_asgi_ext.groups.redis.flow import Flow
from django_asgi_ext.groups.redis.link import Link
from django_asgi_ext.groups.redis.log import RedisLog
from django_asgi_ext.groups.redis.outage import Outage, logger
from django_asgi_ext.groups.redis.scripts import MEMBERS
from django_asgi_ext.groups.redis.thread import LoopThread
from django_asgi_ext.signals import emit, group_gap


class RedisBackend(Backend):
    """
    Groups of all processes that share a Redis (6.2 or later), or a Valkey.

    ASGI_EXT["GROUPS"]["LOCATION"] is a URL, "redis://", "rediss://" or "unix://".
    OPTIONS may have "cluster": True, "sentinel" with the name of a master, for
    which LOCATION lists the sentinels, "prefix" for what begins the names of keys
    and channels, and arguments of redis-py's clients.

    What comes from Redis is received in a thread of its own. The process
    subscribes only to groups that it has members of.
    """

    blocks = True

    def __init__(self, location: Any, deliver: Deliver, **options: Any) -> None:
        super().__init__(location, deliver)
        self._location = locations.read_location(location, options)
        # By which the process knows its own messages.
        self._origin = secrets.token_hex(8)
        self._clients = Clients(self._location, Outage())
        self._link = Link(self._clients, self._origin, self._note_return)
        self._attendance = Attendance(
            self._clients, self._origin, deliver, self._connected_for
        )
        self._thread = LoopThread(self._run)
        self._lock = Lock()
        self._flows: dict[str, Flow] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._process = os.getpid()
        atexit.register(self.close)

    @classmethod
    def problems(cls, location: Any, options: dict[str, Any]) -> Iterator[str]:
        """Yield what is wrong in LOCATION and OPTIONS."""
        found = list(locations.problems(location, options))
        yield from found
        if not found:
            try:
                check_arguments(locations.read_location(location, options))
            except (TypeError, ValueError) as error:
                yield f"ASGI_EXT['GROUPS']['OPTIONS'] is nothing for redis-py: {error}."

    def publish(self, group: str, message: Message, history: History | None) -> None:
        """
        Publish a message; keep it first if its group has a history.

        Raise GroupsUnavailable if Redis is away and the message cannot be kept.
        Without a history the log has a line for all that is lost.
        """
        if history is not None:
            RedisLog(self._clients, history).append(group, message)
            return
        try:
            self._clients.execute(*self._publish(group, message))
        except GroupsUnavailable as error:
            self._note_loss(group, error)

    async def apublish(
        self, group: str, message: Message, history: History | None
    ) -> None:
        """Do the same on an event loop."""
        if history is not None:
            await RedisLog(self._clients, history).aappend(group, message)
            return
        try:
            await self._clients.aexecute(*self._publish(group, message))
        except GroupsUnavailable as error:
            self._note_loss(group, error)

    async def subscribe(self, group: str) -> Position | None:
        """
        Have the messages of a group come.

        If Redis is away, they come once it is back. Where the group is is not known
        then, unless it was before.
        """
        with self._lock:
            flow = self._flows.get(group)
            if flow is None:
                history = policy_of(group).history
                log = None if history is None else RedisLog(self._clients, history)
                flow = Flow(group, self.deliver, log)
                self._thread.post(self._link.add, flow)
                # If that has failed, the next one tries again.
                self._flows[group] = flow
        # Before it waits: what comes meanwhile is delivered and has a greater one.
        position = flow.reached
        if not flow.settled.done():
            await asyncio.shield(asyncio.wrap_future(flow.settled))
        return flow.begun_at if position is None else position

    def unsubscribe(self, group: str) -> None:
        """Have the messages of a group come no more."""
        with self._lock:
            flow = self._flows.pop(group, None)
            # Else nothing comes any more.
            if flow is not None and self._thread.is_running:
                self._thread.post(self._link.discard, flow)

    async def since(self, group: str, position: Position, history: History) -> Missed:
        """Return what came after a position. Raise GroupsUnavailable."""
        return await RedisLog(self._clients, history).since(group, position)

    async def enter(self, group: str, key: str, token: str, info: Info) -> None:
        """
        Note that a member is there.

        If Redis is away, the other processes are told once it is back.
        """
        name = self._attendance.name(group, key, token)
        told: Future[None] = Future()
        entry = make_entry(group, key, token, info)
        self._thread.post(self._attendance.enter, name, entry, told)
        await asyncio.shield(asyncio.wrap_future(told))

    def exit(self, group: str, key: str, token: str) -> None:
        """Note that a member has left."""
        # Else nobody has entered.
        if self._thread.is_running:
            name = self._attendance.name(group, key, token)
            self._thread.post(self._attendance.exit, name)

    def members(self, group: str) -> list[Info]:
        """
        Return the info of who is there.

        While Redis is away, these are the members in this process; raise
        GroupsUnavailable if there are none.
        """
        try:
            return read_infos(self._clients.run(MEMBERS, self._attendance.keys(group)))
        except GroupsUnavailable:
            infos = self._attendance.infos_here(group)
            if infos:
                return infos
            raise

    async def amembers(self, group: str) -> list[Info]:
        """Do the same on an event loop."""
        keys = self._attendance.keys(group)
        try:
            return read_infos(await self._clients.arun(MEMBERS, keys))
        except GroupsUnavailable:
            infos = self._attendance.infos_here(group)
            if infos:
                return infos
            raise

    def close(self) -> None:
        """Tell of who has left, and let go of connections and the thread."""
        atexit.unregister(self.close)
        if os.getpid() != self._process:
            # The connections and the thread are those of the process that forked.
            return
        self._thread.stop()
        self._clients.close()

    def _publish(self, group: str, message: Message) -> tuple[str, str, bytes]:
        data = wrap(self._origin, message)
        return self._location.publish, self._location.channel(group), data

    def _note_loss(self, group: str, error: GroupsUnavailable) -> None:
        # That it is away was said.
        if isinstance(error, Refused):
            logger.error("A message to %s stays in this process: %s", group, error)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as self._tasks:
            self._tasks.create_task(self._link.run())
            self._tasks.create_task(self._attendance.run())

    def _connected_for(self) -> float:
        since = self._link.connected_at
        return 0.0 if since is None else time.monotonic() - since

    def _note_return(self, groups: list[str], seconds: float) -> None:
        if self._tasks is not None:
            self._tasks.create_task(self._attendance.come_back())
            self._tasks.create_task(
                emit(group_gap, sender=type(self), groups=groups, seconds=seconds)
            )
