"""Other databases than that of the settings, and threads that use them."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from django.db import connections


@contextmanager
def default_database(database):
    """Let new threads have another database; those that have one keep it."""
    before = connections.databases["default"]
    connections.databases["default"] = {**before, "OPTIONS": {}, **database}
    try:
        yield
    finally:
        connections.databases["default"] = before


def in_a_thread(function, *arguments, **options):
    """Call a function in a new thread, which leaves no connection behind."""

    def call():
        try:
            return function(*arguments, **options)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(call).result()
