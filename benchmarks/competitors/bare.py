"""ASGI itself: no less can be done. It knows no user."""

from competitors.project import USERNAME


async def application(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    if scope["path"] == "/hello/":
        await send({"type": "websocket.send", "text": USERNAME})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event["text"]})
