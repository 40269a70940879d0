"""Calls of groups that nobody awaits."""

import asyncio
import gc
import warnings

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction
from django.test import override_settings

from django_asgi_ext import groups, websocket

WHO = {"POLICIES": {"who": {"presence": True}}}


@pytest.fixture
def debug(settings_of_ours):
    """Run the test with DEBUG, and with a group that has presence."""
    settings_of_ours(GROUPS=WHO)
    with override_settings(DEBUG=True):
        yield


def said(caplog):
    gc.collect()
    return [(record.name, record.getMessage()) for record in caplog.records]


async def test_each_function(debug, caplog):
    """Each call that is to be awaited is told if it is not, once for each line."""

    def publish():
        for _ in range(3):
            groups.apublish("chat", "hello")
        groups.amembers("who")

    publish()
    publish()
    line = publish.__code__.co_firstlineno
    assert said(caplog) == [
        (
            "django_asgi_ext.groups",
            f"{__file__}, line {line + number}: {call} does nothing without await. "
            f"Write await {call}.",
        )
        for number, call in [
            (2, "groups.apublish(...)"),
            (3, "groups.amembers(...)"),
        ]
    ]


async def test_taken_for_the_result(debug, caplog):
    """Who takes the call for the list is told so, and not a second time."""
    with pytest.raises(AttributeError) as raised:
        groups.amembers("who").sort()
    assert str(raised.value) == (
        "groups.amembers(...) is not awaited yet and has no attribute 'sort'. Write "
        "await groups.amembers(...)."
    )
    assert said(caplog) == []


@pytest.mark.parametrize("is_debug", [True, False])
async def test_awaited(connect, settings_of_ours, caplog, is_debug):
    """A call that is awaited in any way does what it does, and nothing is told."""
    settings_of_ours(GROUPS=WHO)

    @websocket(group="chat")
    async def view(socket):
        await socket.recv()

    with override_settings(DEBUG=is_debug):
        peer = connect(view)
        await peer.accepted()
        await groups.apublish("chat", "a")
        await asyncio.create_task(groups.apublish("chat", "b"))
        await asyncio.gather(groups.apublish("chat", "c"))
        await asyncio.to_thread(async_to_sync(groups.apublish), "chat", "d")
        assert [await peer.hear() for _ in range(4)] == list("abcd")
        assert await groups.amembers("who") == []
        await peer.leave()
    assert iscoroutinefunction(groups.apublish)
    assert said(caplog) == []


async def test_without_debug(settings_of_ours):
    """Without DEBUG Python itself warns."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        groups.apublish("chat", "hello")
        gc.collect()
    (warning,) = caught
    assert str(warning.message) == "coroutine 'apublish' was never awaited"
