"""Django's test runner, that notes what came out, without and with our handlers."""

import json
import os
import unittest
from pathlib import Path

# Imported before the swap: its handler derives from Django's in a project too.
import django.contrib.staticfiles.handlers  # noqa: F401
from asgiref.sync import async_to_sync
from django.core import asgi
from django.core.handlers import asgi as handlers
from django.test import client
from django.test.runner import DiscoverRunner


class Result(unittest.TextTestResult):
    """Notes which tests ran, and which of them our handlers served a request for."""

    ran: list = []
    served: set = set()

    def startTest(self, test):
        self.ran.append(test.id())
        super().startTest(test)


class BareRunner(DiscoverRunner):
    """Runs the tests as they are, and writes the outcome to a file."""

    def get_resultclass(self):
        return Result

    def run_suite(self, suite, **kwargs):
        result = super().run_suite(suite, **kwargs)
        failed = dict.fromkeys(test.id() for test in result.unexpectedSuccesses)
        for test, traceback in result.failures + result.errors:
            # A subtest fails in the name of its test.
            failed[getattr(test, "test_case", test).id()] = traceback
        outcome = {"ran": Result.ran, "failed": failed, "served": sorted(Result.served)}
        Path(os.environ["SUITE_OUTCOME"]).write_text(json.dumps(outcome))
        return result


class SwappedRunner(BareRunner):
    """Puts our handlers in place of Django's before it imports the tests."""

    def __init__(self, *args, **kwargs):
        # The other runners are to run without them.
        from django_asgi_ext import ASGIHandler, get_asgi_application
        from django_asgi_ext.http.chain import FusedHandler

        handlers.ASGIHandler = asgi.ASGIHandler = noted(ASGIHandler, "serve_own")
        asgi.get_asgi_application = get_asgi_application
        if hasattr(client, "AsyncClientHandler"):
            handler = type("Handler", (FusedHandler, client.AsyncClientHandler), {})
            client.AsyncClientHandler = noted(handler, "get_response_async")
        super().__init__(*args, **kwargs)


class AsyncRunner(BareRunner):
    """Lets Django's sync test client, too, go through Django's async chain."""

    def __init__(self, *args, **kwargs):
        client.ClientHandler = over_async_chain(client.ClientHandler)
        super().__init__(*args, **kwargs)


class FusedRunner(BareRunner):
    """Lets Django's sync test client, too, go through our async chain."""

    def __init__(self, *args, **kwargs):
        from django_asgi_ext.http.chain import FusedHandler

        handler = type("Handler", (FusedHandler, client.ClientHandler), {})
        client.ClientHandler = noted(over_async_chain(handler), "get_response")
        super().__init__(*args, **kwargs)


def over_async_chain(handler):
    """Return a handler of sync requests whose middleware is that of async ones."""

    class Handler(handler):
        def load_middleware(self, is_async=True):
            super().load_middleware(is_async=True)

        def get_response(self, request):
            return async_to_sync(self.get_response_async)(request)

    return Handler


def noted(handler, name):
    """Return a handler that notes each call of a method."""

    def call(self, *args):
        Result.served.add(Result.ran[-1] if Result.ran else "")
        return getattr(super(noted_handler, self), name)(*args)

    noted_handler = type(handler.__name__, (handler,), {name: call})
    return noted_handler
