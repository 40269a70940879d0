"""Members of a group whose server and network cost nothing."""

import asyncio
import sys
import time

from peer import scope


class Members:
    """Connections that count and time what is sent to them."""

    def __init__(self, application):
        self._application = application
        self._tasks = []
        self.heard = 0
        # Seconds from publish() to each send(), if they are asked for.
        self.delays = None
        self.published_at = 0.0
        # Each text, in the order in which it came, if they are asked for.
        self.texts = None

    async def join(self, number, path="/group/", stuck=False):
        """Connect so many; a stuck one never takes what it is sent."""
        accepted = asyncio.Semaphore(0)
        for _ in range(number):
            # A few at a time: each has a hop to a thread.
            self._connect(path, accepted, stuck)
            await accepted.acquire()
        # Whoever joins after the accept has done so.
        await asyncio.sleep(0.1)

    def _connect(self, path, accepted, stuck):
        events = asyncio.Queue()
        events.put_nowait({"type": "websocket.connect"})

        async def send(event):
            if event["type"] == "websocket.accept":
                accepted.release()
            elif event["type"] == "websocket.send":
                if stuck:
                    await asyncio.Event().wait()
                self.heard += 1
                if self.delays is not None:
                    self.delays.append(time.perf_counter() - self.published_at)
                if self.texts is not None:
                    self.texts.append(event["text"])

        task = asyncio.ensure_future(
            self._application(scope(path, None), events.get, send)
        )
        self._tasks.append((task, events))

    async def wait_for(self, number):
        """Wait until so many messages have come, over all members."""
        while self.heard < number:
            await asyncio.sleep(0)

    async def leave(self):
        for _, events in self._tasks:
            events.put_nowait({"type": "websocket.disconnect", "code": 1001})
        await asyncio.gather(*(task for task, _ in self._tasks))
        self._tasks.clear()


def publisher():
    """Return publish() of the one competitor in this process."""
    (publish,) = (
        module.publish
        for name, module in list(sys.modules.items())
        if name.startswith("competitors.") and hasattr(module, "publish")
    )
    return publish
