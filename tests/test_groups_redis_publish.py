"""Publishing over a real Redis, by the functions that a project calls."""

import asyncio

import pytest
from asgiref.sync import sync_to_async
from django.db import transaction

from django_asgi_ext import GroupsUnavailable, groups

pytest_plugins = ["redis_fixtures"]


@pytest.fixture
def over_redis(own_redis, settings_of_ours):
    """Let groups be those of a Redis that the test may stop."""
    pytest.importorskip("redis", reason="pip install redis")
    settings_of_ours(
        GROUPS={
            "BACKEND": "django_asgi_ext.groups.redis.RedisBackend",
            "LOCATION": own_redis.url,
            "POLICIES": {"kept.*": {"history": 100}, "who": {"presence": True}},
        }
    )
    return own_redis


def lines(caplog):
    """Return what is logged of messages, without what lies with this machine."""
    assert [record.exc_info for record in caplog.records if record.exc_info] == []
    return [
        (record.levelname, record.getMessage().partition(": Redis is away")[0])
        for record in caplog.records
        if record.getMessage().startswith("A message to ")
    ]


LOST = ("ERROR", "A message to kept.a is not published on commit")


@pytest.mark.parametrize("how", ["publish", "apublish"])
async def test_on_commit_while_away(over_redis, caplog, how):
    """What cannot be kept on commit is logged; the rest of the commit goes on."""
    await asyncio.to_thread(over_redis.kill)
    called = []
    block = transaction.atomic()

    def begin():
        block.__enter__()
        if how == "publish":
            groups.publish("kept.a", "lost", on_commit=True)

    def end():
        transaction.on_commit(lambda: called.append("the next one"))
        block.__exit__(None, None, None)

    await sync_to_async(begin)()
    if how == "apublish":
        await groups.apublish("kept.a", "lost", on_commit=True)
    assert lines(caplog) == []
    await sync_to_async(end)()
    assert called == ["the next one"]
    assert lines(caplog) == [LOST]


async def test_on_commit_without_a_transaction_while_away(over_redis, caplog):
    """So it is outside of a transaction, where on_commit means at once."""
    await asyncio.to_thread(over_redis.kill)
    await sync_to_async(groups.publish)("kept.a", "lost", on_commit=True)
    await groups.apublish("kept.a", "lost", on_commit=True)
    assert lines(caplog) == [LOST, LOST]


async def test_at_once_while_away(over_redis, caplog):
    """Without on_commit who publishes is told."""
    await asyncio.to_thread(over_redis.kill)
    with pytest.raises(GroupsUnavailable):
        await sync_to_async(groups.publish)("kept.a", "lost")
    with pytest.raises(GroupsUnavailable):
        await groups.apublish("kept.a", "lost")
    assert lines(caplog) == []


@pytest.mark.parametrize(
    ("name", "arguments", "result"),
    [("publish", ["chat", "hello"], None), ("members", ["who"], [])],
)
async def test_on_an_event_loop(over_redis, name, arguments, result):
    """Who makes an event loop wait is warned at the line that does so."""
    with pytest.warns(RuntimeWarning) as warned:
        assert getattr(groups, name)(*arguments) == result
    (warning,) = warned
    assert str(warning.message) == (
        f"groups.{name}() makes all connections of this process wait here: write "
        f"`await groups.a{name}(...)`."
    )
    assert warning.filename == __file__


async def test_without_an_event_loop(over_redis):
    """Nobody is warned on a thread without an event loop, nor of what is awaited."""
    await sync_to_async(groups.publish)("chat", "hello")
    await sync_to_async(groups.members)("who")
    await groups.apublish("chat", "hello")
    await groups.apublish("chat", "hello", on_commit=True)
    await groups.amembers("who")
