"""The project that the servers serve."""

import asyncio
import os
from contextlib import asynccontextmanager

os.environ["DJANGO_SETTINGS_MODULE"] = "served_settings"

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path, reverse
from ocpp.routing import on
from ocpp.v16 import ChargePoint, call, call_result
from ocpp.v16.enums import RegistrationStatus

from django_asgi_ext import (
    ConnectionClosed,
    InvalidState,
    get_asgi_application,
    websocket,
)


def report(socket, *words):
    """Write to the log, with the query string so that a test knows its own."""
    print(*words, *socket.request.GET, flush=True)


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
async def where(socket, **kwargs):
    """Tell the peer what its handshake looked like."""
    request = socket.request
    await socket.send_json(
        {
            "path": socket.path,
            "reversed": reverse("where", kwargs=kwargs),
            "kwargs": kwargs,
            "query": request.META["QUERY_STRING"],
            "get": request.GET.dict(),
            "cookies": request.COOKIES,
            "client": [request.META["REMOTE_ADDR"], str(request.META["REMOTE_PORT"])],
        }
    )


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
    if kind == "suspicious":
        raise SuspiciousOperation
    if kind == "missing":
        raise Http404
    if kind == "response":
        response = JsonResponse({"error": "teapot"}, status=418)
        response["X-Reason"] = "tea"
        response.set_cookie("a", "1")
        response.set_cookie("b", "2")
        return response
    if kind == "stream":
        return StreamingHttpResponse((b"part", b" and ", b"part"), status=409)
    if kind == "close":
        await socket.close()
    return None


@websocket
async def denial_with_status(socket, status):
    """Deny the handshake with a status, be it one that there is not."""
    response = HttpResponse("no")
    response.status_code = status
    return response


@websocket
async def busy(socket):
    """Never look at the socket."""
    await socket.accept()
    try:
        await asyncio.sleep(60)
    finally:
        report(socket, "BUSY ENDED")


@websocket
async def opening(socket):
    """Never accept."""
    report(socket, "OPENING")
    try:
        await asyncio.sleep(60)
    finally:
        report(socket, "OPENING ENDED")


@websocket
async def left(socket):
    """Say how the peer has left."""
    async for _ in socket:
        pass
    report(socket, f"LEFT {socket.close_code} {socket.close_reason!r}")


@websocket
async def asking_on(socket):
    """Say what the methods do once the peer is gone, the first one while it goes."""
    try:
        await socket.recv()
    except ConnectionClosed as closed:
        report(socket, f"RECV RAISED {closed.code}")
    async for _ in socket:
        report(socket, "A MESSAGE")
    try:
        await socket.send("more")
    except ConnectionClosed as closed:
        report(socket, f"SEND RAISED {closed.code}")


@websocket
async def counting(socket, milliseconds):
    """Count the messages, but be busy with other things at first."""
    number = 0
    await socket.accept()
    await asyncio.sleep(milliseconds / 1000)
    try:
        async for message in socket:
            assert message == str(number)
            number += 1
            if number == 20:
                await socket.send("20")
    finally:
        report(socket, f"COUNTED {number}")


@websocket
async def crowd(socket):
    """Send from ten tasks at once, each its own messages in order."""

    async def member(name):
        for number in range(50):
            # Larger than one TCP segment, so that a torn message would show.
            await socket.send(f"{name} {number} {name * 5000}")

    await asyncio.gather(*(member(name) for name in "abcdefghij"))


@websocket
async def two_receivers(socket):
    """Receive in two tasks, and send what the second one is told."""
    await socket.accept()
    first = asyncio.ensure_future(socket.recv())
    await asyncio.sleep(0)
    try:
        await socket.recv()
    except InvalidState as error:
        await socket.send(str(error))
    await socket.send(await first)


@websocket
async def pushing(socket):
    """Only send."""
    try:
        while True:
            await socket.send("tick")
            await asyncio.sleep(0.01)
    except ConnectionClosed:
        report(socket, "PUSHING TOLD")
        raise
    finally:
        report(socket, f"PUSHING ENDED {socket.close_code}")


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
    path("where/", where, name="where"),
    path("where/<str:name>/", where, name="where"),
    path("ending/<slug:kind>/", ending),
    path("denial/<slug:kind>/", denial),
    path("status/<int:status>/", denial_with_status),
    path("busy/", busy),
    path("opening/", opening),
    path("left/", left),
    path("asking-on/", asking_on),
    path("counting/<int:milliseconds>/", counting),
    path("crowd/", crowd),
    path("two-receivers/", two_receivers),
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
