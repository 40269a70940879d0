"""The URLconf of the project: the views of django_asgi_ext."""

from django.urls import path

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


urlpatterns = [
    path("hello/", hello),
    path("echo/", echo),
    path("echo-recv/", echo_recv),
]
