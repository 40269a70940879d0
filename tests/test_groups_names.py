"""What a group may be called."""

import asyncio

import django
import pytest
from django.urls import include, path, re_path

from django_asgi_ext import WebSocketView, groups, websocket
from django_asgi_ext.checks import check_groups
from django_asgi_ext.websockets.options import undecorated


@websocket(group="chat.{room}")
async def listening(socket, room):
    """Wait until the peer leaves."""
    await socket.recv()


@pytest.mark.parametrize(
    "name", ["", "a b", "ü", "a/b", "a@b", "x" * 201, "\u0661", "a\n"]
)
async def test_names(name):
    """A name is short, and of characters that are safe everywhere."""
    shown = name if len(name) <= 200 else name[:200] + "..."
    with pytest.raises(ValueError) as error:
        groups.publish(name, "hello")
    assert str(error.value) == (
        f"{shown!r} cannot name a group: it takes 1 to 200 of the ASCII letters, "
        "digits and '._-:'."
    )


@pytest.mark.parametrize("name", [None, 5, b"chat"])
async def test_name_that_is_no_str(name):
    """A name is a str."""
    with pytest.raises(TypeError) as error:
        await groups.apublish(name, "hello")
    assert str(error.value) == f"The name of a group is a str, not {name!r}."


async def test_names_in_a_view(connect):
    """join(), leave() and subscribe() take no name that cannot be one."""
    outcome = asyncio.get_running_loop().create_future()

    @websocket
    async def view(socket):
        for method in (socket.join, socket.leave):
            with pytest.raises(ValueError):
                await method("a b")
        with pytest.raises(ValueError):
            socket.subscribe("a b")
        outcome.set_result(socket.accepted)

    peer = connect(view)
    await peer.denied()
    assert await outcome is False


async def page(request, room):
    """Make the view above it async for Django."""


class Listening(WebSocketView):
    """The same as a class."""

    group = "chat.{room}"


@pytest.mark.parametrize(
    "view",
    [
        listening,
        Listening.as_view(),
        pytest.param(
            websocket(group="chat.{room}", http=page)(undecorated(listening)),
            marks=pytest.mark.skipif(
                django.VERSION < (3, 1), reason="Django 3.0 has no async views"
            ),
        ),
    ],
)
async def test_url_that_names_no_group(connect, urls, caplog, view):
    """A peer that chooses a URL which no group can be named after gets 404."""
    urls(path("ws/<path:room>/", view))
    status, _, _ = await connect("/ws/a b/c/").denied()
    assert status == 404
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == (
        "WARNING",
        "Not Found: /ws/a b/c/ ('chat.a b/c' cannot name a group: it takes 1 "
        "to 200 of the ASCII letters, digits and '._-:'.)",
    )


async def test_url_without_the_argument(connect, urls, caplog):
    """A URL that lacks the argument of the group is an error of the project's."""
    urls(path("ws/", listening))
    status, _, _ = await connect("/ws/").denied()
    assert status == 500
    assert "has no argument 'room' for its group" in caplog.text


@pytest.mark.parametrize(
    ("group", "error", "text"),
    [
        (
            "chat.{other}",
            TypeError,
            "test_groups_names.view has no argument 'other' for the group "
            "'chat.{other}'.",
        ),
        (
            "chat.{room.name}",
            ValueError,
            "'chat.{room.name}' cannot name a group: a field is the name of an "
            "argument and no more, as in 'chat.{room}'. What the URL does not hold the "
            "view knows: await socket.join(f'user.{socket.user.pk}').",
        ),
        (
            "chat.{room!r}",
            ValueError,
            "'chat.{room!r}' cannot name a group: a field is the name of an "
            "argument and no more, as in 'chat.{room}'. What the URL does not hold the "
            "view knows: await socket.join(f'user.{socket.user.pk}').",
        ),
        (
            "chat.{}",
            ValueError,
            "'chat.{}' cannot name a group: a field is the name of an argument and "
            "no more, as in 'chat.{room}'. What the URL does not hold the view knows: "
            "await socket.join(f'user.{socket.user.pk}').",
        ),
        (
            "chat {room}",
            ValueError,
            "'chat {room}' cannot name a group: it takes 1 to 200 of the ASCII "
            "letters, digits and '._-:'.",
        ),
        (
            "chat.{room",
            ValueError,
            "'chat.{room' cannot name a group: expected '}' before end of string.",
        ),
        (
            ["chat", ""],
            ValueError,
            "'' cannot name a group: it takes 1 to 200 of the ASCII letters, digits "
            "and '._-:'.",
        ),
        ([5], TypeError, "The name of a group is a str, not 5."),
    ],
)
def test_group_that_cannot_be(group, error, text):
    """What can never name a group is an error when the view is made."""

    async def view(socket, room):
        pass

    view.__qualname__ = "view"
    with pytest.raises(error) as raised:
        websocket(group=group)(view)
    assert str(raised.value) == text


def test_check(urls):
    """The check names each URL that lacks an argument of its group, and no other."""

    @websocket(group="chat.{room}.{kind}")
    async def view(socket, **kwargs):
        """Take all arguments, so that only the URL says which there are."""

    below = [
        path("a/", view),
        path("b/", view, {"kind": "b"}),
        re_path(r"^c/(?P<kind>\w+)/$", view),
    ]
    urls(
        path("<slug:room>/", include(below)),
        path("given/", include(below), {"room": "given"}),
        path("none/", view),
    )
    found = [(error.id, error.msg) for error in check_groups()]
    name = "test_groups_names.test_check.<locals>.view"
    assert found == [
        (
            "asgi_ext.E026",
            f"The URL {url} of {name} has no argument {field!r} for the group "
            "'chat.{room}.{kind}'.",
        )
        for url, field in [
            ("/<slug:room>/a/", "kind"),
            ("/given/a/", "kind"),
            ("/none/", "kind"),
            ("/none/", "room"),
        ]
    ]
