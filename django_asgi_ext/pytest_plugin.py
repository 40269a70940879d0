"""Fixtures for pytest, which finds them by the entry point in setup.cfg."""

# What needs Django is imported in the fixtures: pytest loads this module in every
# run, before coverage is measured and before the settings are known.

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django_asgi_ext.test.client import AsyncClient, Client
    from django_asgi_ext.test.live import LiveServer


@pytest.fixture
def websocket_client() -> Client:
    """Return a new django_asgi_ext.test.Client."""
    from django_asgi_ext.test.client import Client

    return Client()


@pytest.fixture
def async_websocket_client() -> AsyncClient:
    """Return a new django_asgi_ext.test.AsyncClient."""
    from django_asgi_ext.test.client import AsyncClient

    return AsyncClient()


@pytest.fixture
def fresh_groups() -> Iterator[None]:
    """Keep groups in memory for this test, with nothing published yet."""
    from django_asgi_ext.test.groups import fresh_groups

    with fresh_groups():
        yield


@pytest.fixture
def asgi_live_server(request: pytest.FixtureRequest) -> Iterator[LiveServer]:
    """Return the project behind hypercorn, with its ``url`` and ``websocket_url``."""
    from django.test import modify_settings

    from django_asgi_ext.test.live import HOST, LiveServer, project

    if request.config.pluginmanager.hasplugin("django"):
        # Of pytest-django: what a test stores is for the server's threads too.
        request.getfixturevalue("transactional_db")
    with modify_settings(ALLOWED_HOSTS={"append": HOST}):
        server = LiveServer(project())
        server.start()
        yield server
        server.stop()
