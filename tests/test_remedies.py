"""What is noted down on what a view has raised."""

import asyncio

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import SynchronousOnlyOperation
from django.urls import re_path

from django_asgi_ext import websocket


def notes(error):
    return getattr(error, "__notes__", [])


@pytest.fixture
def raised(connect, urls, caplog):
    """Return what is logged of a view at an URL whose peer comes and leaves."""

    async def make(view, route="^ws/$"):
        urls(re_path(route, websocket(view)))
        peer = connect("/ws/")
        await peer.send_input({"type": "websocket.connect"})
        await peer.leave()
        return caplog.records[-1].exc_info[1]

    return make


def count():
    return User.objects.count()


async def count_at_once(socket):
    count()


async def count_after_accept(socket):
    await socket.accept()
    count()


async def count_in_a_group(socket):
    await socket.accept()
    async with asyncio.TaskGroup() as group:
        group.create_task(count_at_once(socket))
        group.create_task(count_at_once(socket))


@pytest.mark.parametrize("view", [count_at_once, count_after_accept, count_in_a_group])
async def test_synchronous_call(raised, view):
    """The line that calls Django is named, and what to write there."""
    error = await raised(view)
    errors = getattr(error, "exceptions", [error])
    assert {type(each) for each in errors} == {SynchronousOnlyOperation}
    for each in errors:
        assert notes(each) == [
            f"{__file__}, line {count.__code__.co_firstlineno + 1}: This asks the "
            "database and would block all connections. Call it by await "
            "sync_to_async(...)(), or by the async twin that Django has since 4.1: "
            "await Model.objects.aget(), async for."
        ]


async def needs_more(socket, *, key):
    """Do nothing."""


async def takes_no_more(socket):
    """Do nothing."""


@pytest.mark.parametrize(
    "view, route, signature",
    [
        (needs_more, "^ws/$", "socket"),
        (takes_no_more, "^(ws)/$", "socket, *args"),
        (takes_no_more, "^(?P<name>ws)/$", "socket, name"),
    ],
)
async def test_other_arguments(raised, view, route, signature):
    """A view that does not take what its URL holds is told what that is."""
    assert notes(await raised(view, route)) == [
        f"The URL of test_remedies.{view.__name__} gives it other arguments than it "
        f"takes. Write async def {view.__name__}({signature})."
    ]


async def fails_itself(socket):
    takes_no_more(1, 2)


async def fails_below(socket):
    await socket.send(5)


async def fails_with_others(socket):
    raise ExceptionGroup("two", [TypeError(), ValueError()])


@pytest.mark.parametrize("view", [fails_itself, fails_below, fails_with_others])
async def test_other_failures(raised, view):
    """What a view raises by itself is left as it is."""
    error = await raised(view)
    assert [notes(each) for each in getattr(error, "exceptions", [error])[:1]] == [[]]


async def test_noted_once(raised):
    """An exception that is raised again and again is not noted on again."""
    error = SynchronousOnlyOperation()

    async def view(socket):
        raise error

    for _ in range(2):
        assert await raised(view) is error
    assert len(notes(error)) == 1
