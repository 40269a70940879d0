"""django-socket, which serves WebSockets through a patched ASGIHandler."""

from asgiref.sync import sync_to_async
from django.core.asgi import get_asgi_application
from django_socket import broadcast, ws

from competitors import project
from competitors.work import answer

project.configure("django_socket")
application = get_asgi_application()


@ws("hello/")
async def hello(socket):
    await socket.send(socket.user.get_username())
    async for _ in socket:
        pass


@ws("echo/")
async def echo(socket):
    async for message in socket:
        await socket.send(message.text)


@ws("tasks/")
async def work(socket):
    async for message in socket:
        await socket.send(await answer(message.text, socket.user, sync_to_async))


@ws("group/")
async def group(socket):
    await socket.join("benchmark")
    async for _ in socket:
        pass


async def publish(text):
    await broadcast(text, to="benchmark")
