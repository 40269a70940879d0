"""
Messages as they go through a channel: a head, a space, and the message's bytes.

The head is the position of a message with a history, ANYBODY for one that all
processes deliver, or else the process which has delivered it already.
"""

from __future__ import annotations

from django_asgi_ext.groups.message import Message, read_position

ANYBODY = "*"


def wrap(head: str, message: Message) -> bytes:
    """Return a message for a channel."""
    return head.encode() + b" " + message.to_bytes()


def unwrap(group: str, data: bytes, own_head: str) -> Message | None:
    """
    Return the message that has come through the channel of a group.

    None if it has this head: that of the process itself. Raise ValueError if it
    is no message.
    """
    start, _, rest = data.partition(b" ")
    head = start.decode()
    if head == own_head:
        return None
    message = Message.from_bytes(rest)
    position = read_position(head)
    if position is not None:
        message.put_at(group, position)
    return message
