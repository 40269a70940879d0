"""Backends over a real Redis, each of which stands for a process."""

import asyncio

from django_asgi_ext import GroupsUnavailable
from django_asgi_ext.groups.message import encode
from django_asgi_ext.groups.policy import History

# How long anything may take, in seconds, on a machine with other things to do.
TIMEOUT = 20

# Of the groups kept.*.
KEPT = History(messages=100)

ADA, GRACE = {"id": 1, "name": "ada"}, {"id": 2, "name": "grace"}


class Process:
    """A backend, and what it has delivered."""

    def __init__(self, url, **options):
        from django_asgi_ext.groups.redis import RedisBackend

        self.loop = asyncio.get_running_loop()
        self.delivered = []
        self._arrival = asyncio.Event()
        self.backend = RedisBackend(url, self._deliver, **options)

    def _deliver(self, group, message):
        self.loop.call_soon_threadsafe(self._note, group, message)

    def _note(self, group, message):
        self.delivered.append((group, message))
        self._arrival.set()

    async def until(self, count):
        """Wait until that much is delivered, and return it as it was published."""
        async with asyncio.timeout(TIMEOUT):
            while len(self.delivered) < count:
                self._arrival.clear()
                await self._arrival.wait()
        return [message.value for _, message in self.delivered]

    async def publish(self, group, value, history=None):
        await self.backend.apublish(group, encode(value), history)

    async def publish_when_back(self, group, value, history):
        """Publish as soon as Redis is there."""
        async with asyncio.timeout(TIMEOUT):
            while True:
                try:
                    return await self.publish(group, value, history)
                except GroupsUnavailable:
                    await asyncio.sleep(0.02)


async def eventually(condition):
    """Wait until a condition holds."""
    async with asyncio.timeout(TIMEOUT):
        while not await condition():
            await asyncio.sleep(0.02)


def said(values):
    """Return what was said of whom."""
    return [(value["@presence"], value["member"]) for value in values]
