"""Fixtures of tests of the fused chain."""

import pytest
from django.test import override_settings
from exchanges import InThread

from django_asgi_ext.http import leases
from django_asgi_ext.threads import WorkerThreads


@pytest.fixture
def threads(monkeypatch):
    """Let requests have threads that no other test has."""
    pool = WorkerThreads(None, 0.002, 30.0)
    monkeypatch.setattr(leases, "_threads", pool)
    return pool


@pytest.fixture
def in_thread():
    """Have a project's own middleware, and return the threads of its hooks."""
    InThread.idents = []
    with override_settings(MIDDLEWARE=["exchanges.InThread"]):
        yield InThread.idents
