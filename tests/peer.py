"""The other side of an application: a server, and the client behind it."""

from asgiref.testing import ApplicationCommunicator


def websocket_scope(path="/ws/", **changes):
    """Return the scope of an opening handshake, as hypercorn makes it."""
    path, _, query = path.partition("?")
    headers = {
        "host": "testserver",
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-version": "13",
        **changes.pop("headers", {}),
    }
    return {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "scheme": "ws",
        "http_version": "1.1",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [
            (name.encode(), value.encode("latin-1"))
            for name, value in headers.items()
            if value is not None
        ],
        "client": ("127.0.0.1", 40000),
        "server": ("127.0.0.1", 8000),
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
        **changes,
    }


class Peer(ApplicationCommunicator):
    """The server and the client behind it, seen by the application."""

    async def connect(self):
        """Begin the opening handshake and return the first answer to it."""
        await self.send_input({"type": "websocket.connect"})
        return await self.receive_output(timeout=5)

    async def accepted(self):
        """Begin the opening handshake and return the accept."""
        event = await self.connect()
        assert event["type"] == "websocket.accept", event
        return event

    async def denied(self):
        """Begin the opening handshake; return status, headers and body of a denial."""
        start = await self.connect()
        assert start["type"] == "websocket.http.response.start", start
        body = await self.receive_output(timeout=5)
        assert body["type"] == "websocket.http.response.body", body
        assert not body.get("more_body")
        headers = {}
        for name, value in start["headers"]:
            headers.setdefault(name.decode(), []).append(value.decode("latin-1"))
        return start["status"], headers, body["body"].decode()

    async def say(self, message):
        """Send a message as the client."""
        kind = "text" if isinstance(message, str) else "bytes"
        await self.send_input({"type": "websocket.receive", kind: message})

    async def hear(self):
        """Return the next message that the client gets."""
        event = await self.receive_output(timeout=5)
        assert event["type"] == "websocket.send", event
        return event["text"] if event.get("text") is not None else event["bytes"]

    async def closed(self):
        """Wait for the application's close, answer it, and return code and reason."""
        event = await self.receive_output(timeout=5)
        assert event["type"] == "websocket.close", event
        await self.leave(event["code"])
        return event["code"], event.get("reason", "")

    async def leave(self, code=1000, **more):
        """Go away as the client, and wait for the application to end."""
        await self.send_input({"type": "websocket.disconnect", "code": code, **more})
        await self.wait(timeout=5)
