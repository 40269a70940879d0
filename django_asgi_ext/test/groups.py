"""Groups of one test only."""

from __future__ import annotations

from django.test.utils import override_settings

from django_asgi_ext import conf


def fresh_groups() -> override_settings:
    """
    Return a context in which groups are in memory and nothing was published yet.

    The policies are those of the settings; their backend is not used. It is an
    override_settings(): what it decorates has its groups once, a test case too.
    """
    return override_settings(ASGI_EXT=conf.with_groups_in_memory())
