"""Starlette's router and WebSocket. It knows no user."""

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

from competitors.project import USERNAME


async def hello(websocket):
    await websocket.accept()
    await websocket.send_text(USERNAME)
    async for _ in websocket.iter_text():
        pass


async def echo(websocket):
    await websocket.accept()
    async for message in websocket.iter_text():
        await websocket.send_text(message)


application = Starlette(
    routes=[WebSocketRoute("/hello/", hello), WebSocketRoute("/echo/", echo)]
)
