"""What is kept of the chat."""

from django.db import models

from django_asgi_ext import groups


class Room(models.Model):
    """A room that somebody has been in. Who is there now, its group knows."""

    name = models.SlugField(primary_key=True)

    def list_here(self):
        """Return the names of the users who are there, in whatever process."""
        return [member["name"] for member in groups.members(f"chat.{self.name}")]
