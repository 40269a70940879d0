"""What the views at /tasks/ do with a message: echo it, or work in the database."""

from django.contrib.auth import get_user_model
from django.db import connection

# Messages to which the answer comes from the database.
LOOK_UP, SLEEP = "look me up", "sleep"

# How long the slow query takes, in seconds.
SECONDS = 2


async def answer(message, user, to_async):
    """Return the answer; in a thread, what makes a function async decides in which."""
    if message == LOOK_UP:
        return await to_async(look_up)(user)
    if message == SLEEP:
        return await to_async(sleep)()
    return message


def look_up(user):
    """Return the name of a user, by one query."""
    return get_user_model().objects.get(pk=user.pk).get_username()


def sleep():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [SECONDS])
    return SLEEP
