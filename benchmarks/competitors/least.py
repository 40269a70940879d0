"""A socket of two coroutines and no more: what the shape costs, without a promise."""


class Socket:
    def __init__(self, receive, send):
        self._receive = receive
        self._send = send

    def __aiter__(self):
        return self

    async def __anext__(self):
        event = await self._receive()
        if event["type"] != "websocket.receive":
            raise StopAsyncIteration
        return event["text"]

    async def send(self, text):
        await self._send({"type": "websocket.send", "text": text})


async def application(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    socket = Socket(receive, send)
    async for message in socket:
        await socket.send(message)
