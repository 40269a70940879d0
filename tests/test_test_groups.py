"""Groups in the tests of a project."""

from contextlib import contextmanager

import pytest
from django.conf import settings
from django.test import TestCase
from talking import run

from django_asgi_ext import conf, groups, websocket
from django_asgi_ext.groups.backends import backend
from django_asgi_ext.groups.memory import MemoryBackend
from django_asgi_ext.test import AsyncClient, Client, fresh_groups

POLICIES = {"kept.*": {"history": 100}, "who": {"presence": True}}


@websocket(group=["kept.a", "chat"])
async def listening(socket):
    """Wait until the peer leaves."""
    await socket.recv()


class NotForTests(MemoryBackend):
    """What messages of tests must not reach."""

    def publish(self, *args):
        pytest.fail("It is not for tests.")


@contextmanager
def listener():
    """Connect a peer that has heard where the group with a history is."""
    with Client().websocket("/ws/") as socket:
        assert list(socket.recv_json()) == ["@id"]
        yield socket


@pytest.fixture
def project(serve, settings_of_ours):
    """Have a project with policies, and a backend that is no good for tests."""
    serve(listening)
    backend = "test_test_groups.NotForTests"
    settings_of_ours(
        OUTBOX=5, GROUPS={"BACKEND": backend, "OPTIONS": {}, "POLICIES": POLICIES}
    )


def test_each_has_its_own(project):
    """What was published before is not there, nor is it afterwards."""
    for _ in range(2):
        with fresh_groups():
            with listener() as socket:
                groups.publish("kept.a", "hello")
                message = socket.recv_json()
            assert message["data"] == "hello"
            with Client().websocket("/ws/?last_id=kept.a@0-0") as socket:
                assert socket.recv_json()["@missed"] is True
                groups.publish("chat", "end")
                assert socket.recv() == "end"


def test_the_rest_of_the_settings(project):
    """All but the backend is as in the settings, and so is that afterwards."""
    with fresh_groups():
        assert (conf.outbox(), conf.group_policies()) == (5, POLICIES)
        first = backend()
    assert type(backend()) is NotForTests
    with fresh_groups():
        assert type(backend()) is type(first)
        assert backend() is not first


def test_without_settings():
    """It needs no settings."""
    assert not hasattr(settings, "ASGI_EXT")
    with fresh_groups():
        groups.publish("chat", "hello")


async def test_async(project):
    """It is the same in an async test."""
    with fresh_groups():
        async with AsyncClient().websocket("/ws/") as socket:
            assert list(await socket.recv_json()) == ["@id"]
            await groups.apublish("chat", "hello")
            assert await socket.recv() == "hello"


def test_decorator(project):
    """It decorates a test, or a test case."""

    class Tests(TestCase):
        def test(self):
            with listener() as socket:
                groups.publish("chat", "hello")
                assert socket.recv() == "hello"

    run(fresh_groups()(Tests))


@pytest.mark.skipif(
    not hasattr(TestCase, "captureOnCommitCallbacks"),
    reason="captureOnCommitCallbacks() is there since Django 3.2",
)
def test_on_commit(project):
    """In a TestCase captureOnCommitCallbacks() sends what waits for the commit."""

    class Tests(TestCase):
        def test(self):
            with fresh_groups(), listener() as socket:
                groups.publish("chat", "never", on_commit=True)
                with self.captureOnCommitCallbacks(execute=True):
                    groups.publish("chat", "hello", on_commit=True)
                assert socket.recv() == "hello"

    run(Tests)
