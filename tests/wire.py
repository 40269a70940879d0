"""A connection that a member of groups stands on, without a server."""

from types import SimpleNamespace


class Wire:
    """A connection as far as a group wants to know."""

    is_open = True

    def __init__(self):
        self.pulse = SimpleNamespace(begun=0, done=0)

    async def asgi_send(self, event):
        """Take what nobody will see."""
