"""The tests of Django that fail, each with its reason: all others must pass."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Exceptional:
    """A test that fails, how, and why that is right."""

    test: str
    error: str
    reason: str
    releases: tuple[str, ...] | None = None
    without_us_too: bool = False
    only_for_root: bool = False


EXCEPTIONS = [
    Exceptional(
        "asgi.tests.ASGITest.test_wrong_connection_type",
        "No protocol for scope type 'other' (registered: http, lifespan, websocket).",
        "It compares the text of the ValueError, which names the protocols here.",
    ),
    Exceptional(
        "asgi.tests.ASGITest."
        "test_request_lifecycle_signals_dispatched_with_thread_sensitive",
        "RuntimeError: coroutine raised StopIteration",
        "It looks into asgiref's executor, which later releases of asgiref do not use.",
        releases=("3.1",),
        without_us_too=True,
    ),
    Exceptional(
        "i18n.test_compilation.PoFileTests.test_no_write_access",
        "CommandError not raised",
        "Root may write where the test may not.",
        releases=("4.2", "5.0", "5.1", "5.2", "6.0", "6.1"),
        without_us_too=True,
        only_for_root=True,
    ),
]


def exceptions_on(release):
    """Return the exceptions on a release, such as "3.0", by their tests."""
    return {
        exception.test: exception
        for exception in EXCEPTIONS
        if (exception.releases is None or release in exception.releases)
        and (not exception.only_for_root or os.geteuid() == 0)
    }
