"""The project whose peers are in groups."""

import asyncio
import os
import threading

os.environ["DJANGO_SETTINGS_MODULE"] = "grouped_settings"

from django.http import HttpResponse
from django.urls import path

from django_asgi_ext import get_asgi_application, groups, websocket


@websocket(group="{group}")
async def asleep(socket, group):
    """Accept, and never look at the socket again."""
    await socket.accept()
    try:
        await asyncio.sleep(60)
    finally:
        print(f"ASLEEP ENDED {socket.close_code}", flush=True)


@websocket(group="{group}")
async def talking(socket, group):
    """Send back what the peer says, while it is in a group."""
    async for message in socket:
        if message == "close":
            await socket.close(4000, "as you wish")
        else:
            await socket.send(message)


def publish(request, group):
    """Publish numbers, as the page or as a thread of its own, each some bytes long."""
    count, size = int(request.GET["count"]), int(request.GET.get("size", 0))

    def run():
        for number in range(count):
            groups.publish(group, f"{number}:{'x' * size}")

    if "thread" in request.GET:
        threading.Thread(target=run).start()
    else:
        run()
    return HttpResponse("published")


urlpatterns = [
    path("asleep/<group>/", asleep),
    path("talking/<group>/", talking),
    path("publish/<group>/", publish),
]

application = get_asgi_application()
