"""The URLconf of the project: the views of django_asgi_ext."""

from asgiref.sync import sync_to_async
from django.urls import path

from competitors.work import answer
from django_asgi_ext import websocket


@websocket
async def hello(socket):
    await socket.send(socket.user.username)
    async for _ in socket:
        pass


@websocket
async def echo(socket):
    async for message in socket:
        await socket.send(message)


@websocket
async def echo_recv(socket):
    while True:
        await socket.send(await socket.recv())


@websocket
async def work(socket):
    async for message in socket:
        await socket.send(await answer(message, socket.user, sync_to_async))


@websocket(group="benchmark")
async def group(socket):
    await socket.recv()


@websocket
async def alone(socket):
    await socket.recv()


urlpatterns = [
    path("hello/", hello),
    path("echo/", echo),
    path("echo-recv/", echo_recv),
    path("tasks/", work),
    path("group/", group),
    path("alone/", alone),
]
