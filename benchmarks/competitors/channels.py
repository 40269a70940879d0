"""Channels, with the stack that its documentation recommends."""

from channels.auth import AuthMiddlewareStack
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application
from django.urls import path

from competitors import project
from competitors.work import answer


class HelloConsumer(AsyncWebsocketConsumer):
    async def connect(self):
        await self.accept()
        await self.send(text_data=self.scope["user"].username)


class EchoConsumer(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=text_data)


class WorkConsumer(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        user = self.scope["user"]
        await self.send(text_data=await answer(text_data, user, database_sync_to_async))


class GroupConsumer(AsyncWebsocketConsumer):
    groups = ("benchmark",)

    async def said(self, event):
        await self.send(text_data=event["text"])


project.configure("channels")
application = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        "websocket": AllowedHostsOriginValidator(
            AuthMiddlewareStack(
                URLRouter(
                    [
                        path("hello/", HelloConsumer.as_asgi()),
                        path("echo/", EchoConsumer.as_asgi()),
                        path("tasks/", WorkConsumer.as_asgi()),
                        path("group/", GroupConsumer.as_asgi()),
                    ]
                )
            )
        ),
    }
)


async def publish(text):
    await get_channel_layer().group_send("benchmark", {"type": "said", "text": text})
