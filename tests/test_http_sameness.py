"""The fused chain beside Django's own: no request may tell them apart."""

import asyncio
import os

import pytest
from django.core.handlers import asgi
from hypothesis import HealthCheck, given, settings

from django_asgi_ext import ASGIHandler
from django_asgi_ext.http.support import can_fuse

if not can_fuse():
    reason = "On this Django HTTP goes through Django's own chain"
    pytest.skip(reason, allow_module_level=True)

from stacks import observe, stacks, views


@pytest.mark.timeout(600)
# Where a request fails for good, Django 4.2 leaves the file of its body open.
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@settings(
    max_examples=int(os.environ.get("STACKS", "150")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(stack=stacks, view=views)
def test_random_stacks(stack, view):
    """Random middleware and views: the same answers, calls, signals and logs."""

    async def compare():
        theirs = await observe(asgi.ASGIHandler, stack, view)
        ours = await observe(ASGIHandler, stack, view)
        assert ours == theirs

    asyncio.run(compare())
