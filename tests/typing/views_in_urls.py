"""What a type checker must accept: each kind of WebSocket view in a path()."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.urls import path

from django_asgi_ext import WebSocket, WebSocketView, protocols, websocket
from django_asgi_ext.asgi import get_asgi_application
from django_asgi_ext.protocols import Receive, Scope, Send


@websocket
async def plain(socket: WebSocket) -> None:
    async for message in socket:
        await socket.send(message)


@websocket
async def with_argument(socket: WebSocket, room: str) -> HttpResponse | None:
    if room == "closed":
        return HttpResponse(status=410)
    await socket.send_json({"room": room, "user": str(socket.user)})
    return None


@websocket(subprotocols=["chat.v1"], origins=["*"], max_message_size=1024)
async def with_options(socket: WebSocket, *, room: str = "") -> None:
    await socket.accept(headers={"X-Room": room})


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse("page")


async def async_page(request: HttpRequest) -> HttpResponse:
    return HttpResponse("page")


async def talk(socket: WebSocket) -> None:
    await socket.close(4000, "no")


class Talk(WebSocketView):
    subprotocols = ["chat.v1"]

    async def connect(self) -> None:
        await self.socket.accept()

    async def receive(self, message: str | bytes) -> None:
        await self.socket.send(message)

    async def disconnect(self, code: int) -> None:
        print(code, self.kwargs)


@protocols.register("mqtt")
async def mqtt(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()


async def chat(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "chat"})


protocols.register("chat", chat, replace=True)

application = get_asgi_application(protocols={"chat": chat, "websocket": None})

urlpatterns: list[Any] = [
    path("plain/", plain),
    path("room/<slug:room>/", with_argument, name="room"),
    path("options/", login_required(with_options)),
    path("page/", websocket(talk, http=page)),
    path("async-page/", websocket(talk, http=async_page, subprotocols=["chat.v1"])),
    path("class/", Talk.as_view()),
    path("class-options/", login_required(Talk.as_view(origins=["null"]))),
]
