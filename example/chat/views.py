"""The pages of the chat, and its WebSockets."""

import asyncio

from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import login_required
from django.shortcuts import redirect, render
from django.utils import timezone

from django_asgi_ext import GroupsUnavailable, groups, websocket

from .forms import RoomForm
from .models import Room

# In characters.
MAX_LENGTH = 1000

# In bytes: JSON may write a character in as many as twelve.
MAX_MESSAGE_SIZE = 16 * 1024

# Between two messages of one peer, in seconds, so that nobody floods a room.
PAUSE = 0.05


@login_required
def lobby(request):
    """Show the rooms, or go to the one that was asked for."""
    form = RoomForm(request.GET or None)
    if form.is_valid():
        return redirect("chat:room", form.cleaned_data["room"])
    try:
        rooms = [(room, room.list_here()) for room in Room.objects.order_by("name")]
    except GroupsUnavailable:
        # Redis is away. Whoever is in a room stays there.
        context = {"form": form, "is_unknown": True}
    else:
        rooms = [(room, here) for room, here in rooms if here]
        context = {"form": form, "rooms": rooms}
    return render(request, "chat/lobby.html", context)


@login_required
def room(request, room):
    """Show a room. The page talks to the WebSocket below."""
    context = {"room": room, "max_length": MAX_LENGTH}
    return render(request, "chat/room.html", context)


@login_required
@websocket(group="chat.{room}", max_message_size=MAX_MESSAGE_SIZE)
async def chat(socket, room):
    """Tell everybody in a room what the peer says, until the peer leaves."""
    await sync_to_async(Room.objects.get_or_create)(name=room)
    user = socket.user.get_username()
    # This accepts. Then the socket is in its group.
    await socket.send_json({"type": "welcome", "user": user})
    while True:
        said = await socket.recv_json()
        problem = find_problem(said)
        if problem is None:
            message = {
                "type": "message",
                "user": user,
                "text": said["text"].strip(),
                "at": timezone.now(),
            }
            await groups.apublish(f"chat.{room}", message)
        else:
            await socket.send_json({"type": "error", "text": problem})
        await asyncio.sleep(PAUSE)


def find_problem(said):
    """Return what is wrong with a message from a peer, or None."""
    text = said.get("text") if isinstance(said, dict) else None
    if not isinstance(text, str):
        return 'A message looks like {"text": "hello"}.'
    if not text.strip():
        return "A message needs some text."
    if len(text) > MAX_LENGTH:
        return f"A message has at most {MAX_LENGTH} characters, not {len(text)}."
    return None


@websocket
async def echo(socket):
    """Send every message back, to anybody."""
    async for message in socket:
        await socket.send(message)
