"""The server and the client behind it: one ASGI connection over two queues."""

import asyncio

from competitors.project import HOST


class Peer:
    """A peer that asks the application for a WebSocket, as a browser does."""

    def __init__(self, application, path, cookie=None):
        # Protocol servers have queues here as well.
        self._incoming = asyncio.Queue()
        self._outgoing = asyncio.Queue()
        self._task = asyncio.create_task(
            application(scope(path, cookie), self._incoming.get, self._outgoing.put)
        )

    async def connect(self):
        self._incoming.put_nowait({"type": "websocket.connect"})
        event = await self._outgoing.get()
        assert event["type"] == "websocket.accept", event

    def say(self, message):
        self._incoming.put_nowait({"type": "websocket.receive", "text": message})

    async def hear(self):
        event = await self._outgoing.get()
        return event["text"]

    async def leave(self):
        """Go away and wait until the application is done."""
        self._incoming.put_nowait({"type": "websocket.disconnect", "code": 1001})
        await self._task


def scope(path, cookie):
    headers = {
        "host": HOST,
        "connection": "Upgrade",
        "upgrade": "websocket",
        "origin": f"http://{HOST}",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-version": "13",
        "user-agent": "Mozilla/5.0",
    }
    if cookie is not None:
        headers["cookie"] = cookie
    return {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "scheme": "ws",
        "http_version": "1.1",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 40000),
        "server": ("127.0.0.1", 8000),
        "subprotocols": [],
        "state": {},
        "extensions": {"websocket.http.response": {}},
    }
