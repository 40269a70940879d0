"""A project whose groups reach over several processes, and a script that publishes."""

import os
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "crossing_settings")

from django_asgi_ext import GroupsUnavailable, get_asgi_application, groups, websocket


@websocket(group="{group}")
async def member(socket, group):
    """Publish each message, and say whether it was accepted."""
    async for message in socket:
        try:
            await groups.apublish(group, message)
        except GroupsUnavailable:
            await socket.send(f"refused {message}")
        else:
            await socket.send(f"accepted {message}")


@websocket
async def introduced(socket, group, name):
    """Be in a group by a name."""
    await socket.join(group, info={"id": name})
    await socket.recv()


def publish(group, number):
    """Publish numbers from a plain script."""
    import django

    django.setup()
    for each in range(number):
        groups.publish(group, str(each))


if __name__ == "__main__":
    publish(sys.argv[1], int(sys.argv[2]))
else:
    application = get_asgi_application()

    from django.urls import path

    urlpatterns = [
        path("ws/<str:group>/", member),
        path("ws/<str:group>/<str:name>/", introduced),
    ]
