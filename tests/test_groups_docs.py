"""What the page about groups promises."""

import asyncio
import json
import re
from types import SimpleNamespace

import pytest
from django.test import override_settings
from django.urls import path
from documents import ROOT, blocks

from django_asgi_ext import conf, groups
from django_asgi_ext.checks import check_settings
from django_asgi_ext.groups import delivery, history, memory

PAGE = "docs/groups.md"
VIEWS, PROGRESS, SHOUT, FOLLOW, PUBLISH, SETTINGS, ORDERS = blocks(PAGE, "python")


def run(*code):
    names = {"__name__": "chat"}
    for block in code:
        exec(block, names)
    return SimpleNamespace(**names)


async def test_views(connect, urls):
    """The views of the page do what it says."""
    views = run(VIEWS, SHOUT)
    urls(
        path("chat/<room>/", views.chat),
        path("shout/<room>/", views.shout),
    )
    one, two, loud = connect("/chat/a/"), connect("/chat/a/"), connect("/shout/a/")
    for peer in (one, two, loud):
        await peer.accepted()
    await one.say("hello")
    assert await two.hear() == "hello"
    assert await loud.hear() == "HELLO"
    assert await one.receive_nothing()
    for peer in (one, two, loud):
        await peer.leave()


async def test_progress(connect, urls):
    """Who joins a group of the user's gets what is published to it."""
    urls(path("ws/", run(VIEWS, PROGRESS).progress))
    peer = connect("/ws/")
    await peer.accepted()
    await asyncio.sleep(0)
    groups.publish("user.None", "1 of 20")
    assert await peer.hear() == "1 of 20"
    await peer.leave()


def test_publish():
    """The function of the page publishes."""
    run(PUBLISH).save_order(SimpleNamespace(pk=1, created=None))


async def test_wire_format(connect, urls):
    """What the page shows of ids is what goes out, but for the time."""
    views = run(VIEWS)
    urls(path("chat/<room>/", views.chat))
    with override_settings(ASGI_EXT=run(SETTINGS).ASGI_EXT):
        assert check_settings() == []
        peer = connect("/chat/lobby/?last_id=chat.lobby@0-0")
        await peer.accepted()
        heard = [await peer.hear(), await peer.hear()]
        for message in ({"text": "hello"}, "a str", b"bytes"):
            groups.publish("chat.lobby", message)
        heard += [await peer.hear() for _ in range(3)]
        await peer.leave()
    kept, _, missed, _ = blocks(PAGE, "json")
    shown = [missed.strip(), *kept.splitlines()]
    assert [_without_time(text) for text in heard if "@id" in text] == [
        _without_time(text) for text in shown
    ]


async def test_following_in_a_view(connect, urls):
    """The view of the page has joined before it looks up what there is."""

    class Order:
        """Orders in a database where one changes meanwhile."""

        class objects:
            @staticmethod
            async def values(*fields):
                groups.publish("orders", {"id": 1, "status": "sent"})
                yield {"id": 1, "status": "new"}

    views = run(VIEWS, FOLLOW)
    views.follow_orders.__wrapped__.__globals__["Order"] = Order
    urls(path("orders/", views.follow_orders))
    peer = connect("/orders/")
    await peer.accepted()
    assert json.loads(await peer.hear()) == [{"id": 1, "status": "new"}]
    assert json.loads(await peer.hear()) == [{"id": 1, "status": "sent"}]
    await peer.leave()


async def test_going_on_in_a_view(connect, urls):
    """The view of the page takes what came after the id that the peer has."""
    urls(path("orders/", run(VIEWS, ORDERS).watch_orders))
    with override_settings(ASGI_EXT=run(SETTINGS).ASGI_EXT):
        first = connect("/orders/?since=none")
        await first.accepted()
        told = json.loads(await first.hear())
        assert told["order"] == {"@id": told["since"], "@missed": True}
        await first.leave()
        groups.publish("shop.orders", {"pk": 1})
        second = connect(f"/orders/?since={told['since']}")
        await second.accepted()
        assert json.loads(await second.hear())["order"] == {"pk": 1}
        await second.leave()


async def test_here(connect, urls):
    """What the page shows to who joins without an id is what comes first."""
    urls(path("chat/<room>/", run(VIEWS).chat))
    with override_settings(ASGI_EXT=run(SETTINGS).ASGI_EXT):
        peer = connect("/chat/lobby/")
        await peer.accepted()
        heard = await peer.hear()
        await peer.leave()
    _, shown, *_ = blocks(PAGE, "json")
    assert _without_time(heard) == _without_time(shown.strip())


def _without_time(text):
    return re.sub(r"@\d+-\d+", "@", text)


def test_presence_format():
    """The page shows the three events of presence as JSON."""
    *_, shown = blocks(PAGE, "json")
    kinds = [json.loads(line)["@presence"] for line in shown.splitlines()]
    assert kinds == ["members", "join", "leave"]


@pytest.mark.parametrize(
    "promise",
    [
        f"held back once {delivery.BACKLOG:,} messages wait",
        f"as long as\nthey take {delivery.ENOUGH} messages in "
        f"{delivery.WINDOW * 1000:.0f} milliseconds",
        f"gets up to {delivery.BATCH} messages that wait",
        f"at most {memory.MOST_LOGS:,} groups, of each at most {history.MOST:,}",
    ],
)
def test_numbers(promise):
    """The numbers on the page are those of the code."""
    assert promise in (ROOT / PAGE).read_text()
    assert (conf.outbox(), conf.outbox_size()) == (1000, 1048576)
