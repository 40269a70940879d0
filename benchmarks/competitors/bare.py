"""ASGI itself: no less can be done. It knows no user."""

from competitors.project import USERNAME

# Of those who have asked for /group/.
members = []


async def application(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    if scope["path"] == "/group/":
        members.append(send)
    if scope["path"] == "/hello/":
        await send({"type": "websocket.send", "text": USERNAME})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event["text"]})


async def publish(text):
    event = {"type": "websocket.send", "text": text}
    for send in members:
        await send(event)
