"""Fixtures for pytest, which finds them by the entry point in setup.cfg."""

# What needs Django is imported in the fixtures: pytest loads this module in every
# run, before coverage is measured and before the settings are known.

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from django_asgi_ext.test.client import AsyncClient, Client


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
