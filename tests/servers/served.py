"""The project that the servers serve."""

import asyncio
import os
from contextlib import asynccontextmanager

os.environ["DJANGO_SETTINGS_MODULE"] = "served_settings"

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, JsonResponse
from django.urls import path
from ocpp.routing import on
from ocpp.v16 import ChargePoint, call, call_result
from ocpp.v16.enums import RegistrationStatus

from django_asgi_ext import get_asgi_application, websocket


@asynccontextmanager
async def lifespan():
    """Count what happens in this process."""
    print("STARTUP", flush=True)
    yield {"greeting": "hello", "finished": []}
    print("SHUTDOWN", flush=True)


@websocket
async def echo(socket):
    async for message in socket:
        await socket.send(message)


@websocket
async def state(socket):
    await socket.send(socket.request.scope["state"]["greeting"])


@websocket(subprotocols=["v2", "v1"])
async def subprotocol(socket):
    await socket.send(str(socket.subprotocol))


@websocket
async def cookie(socket):
    await socket.accept(headers={"X-View": "yes"})


@websocket
async def ending(socket, kind):
    """End after accepting, in the way that the URL says."""
    await socket.accept()
    if kind == "raise":
        raise ValueError("no")
    if kind == "forbidden":
        raise PermissionDenied
    if kind == "json":
        await socket.recv_json()
    if kind == "big":
        await socket.recv()
    if kind == "close":
        await socket.close(4001, "because")


@websocket
async def denial(socket, kind):
    """Deny the handshake in the way that the URL says."""
    if kind == "raise":
        raise ValueError("no")
    if kind == "forbidden":
        raise PermissionDenied
    if kind == "missing":
        raise Http404
    if kind == "response":
        response = JsonResponse({"error": "teapot"}, status=418)
        response["X-Reason"] = "tea"
        response.set_cookie("a", "1")
        response.set_cookie("b", "2")
        return response
    if kind == "close":
        await socket.close()
    return None


@websocket
async def busy(socket):
    """Never look at the socket."""
    await socket.accept()
    try:
        await asyncio.sleep(60)
    finally:
        print("BUSY ENDED", flush=True)


@websocket
async def left(socket):
    """Say how the peer has left."""
    async for _ in socket:
        pass
    print(f"LEFT {socket.close_code} {socket.close_reason!r}", flush=True)


@websocket
async def pushing(socket):
    """Only send."""
    try:
        while True:
            await socket.send("tick")
            await asyncio.sleep(0.01)
    finally:
        print(f"PUSHING ENDED {socket.close_code}", flush=True)


@websocket
async def cleaning_up(socket):
    """Take a moment to clean up."""
    try:
        async for _ in socket:
            pass
    finally:
        await asyncio.sleep(0.3)
        print("CLEANED UP", flush=True)


@websocket
async def stubborn(socket):
    """Take too long to clean up."""
    try:
        await socket.send("ready")
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(60)


@websocket
async def user(socket):
    await socket.send(str(socket.user))


class CentralSystem(ChargePoint):
    """What a charging station talks to, as the ocpp package has it."""

    @on("BootNotification")
    def on_boot(self, charge_point_vendor, charge_point_model, **kwargs):
        return call_result.BootNotification(
            current_time="2026-11-22T12:00:00Z",
            interval=10,
            status=RegistrationStatus.accepted,
        )


@websocket(subprotocols=["ocpp1.6"])
async def ocpp(socket, station):
    system = CentralSystem(station, socket)
    async with asyncio.TaskGroup() as group:
        group.create_task(system.start())
        answer = await system.call(call.Reset(type="Soft"))
        print(f"RESET {answer.status}", flush=True)


def page(request):
    return HttpResponse("page")


urlpatterns = [
    path("echo/", echo),
    path("state/", state),
    path("subprotocol/", subprotocol),
    path("cookie/", cookie),
    path("ending/<slug:kind>/", ending),
    path("denial/<slug:kind>/", denial),
    path("busy/", busy),
    path("left/", left),
    path("pushing/", pushing),
    path("cleaning-up/", cleaning_up),
    path("stubborn/", stubborn),
    path("user/", login_required(user)),
    path("ocpp/<slug:station>/", ocpp),
    path("page/", websocket(echo.__wrapped__, http=page)),
    path("only-page/", page),
]


def set_a_cookie(get_response):
    """Middleware that sets a cookie on every response."""

    def middleware(request):
        response = get_response(request)
        response.set_cookie("visited", "yes")
        return response

    return middleware


# Last, for it loads the middleware above.
application = get_asgi_application(lifespan=lifespan)
