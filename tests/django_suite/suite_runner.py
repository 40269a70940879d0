"""Django's test runner, that notes what came out, without and with our handler."""

import json
import os
import unittest
from pathlib import Path

# Imported before the swap: its handler derives from Django's in a project too.
import django.contrib.staticfiles.handlers  # noqa: F401
from django.core import asgi
from django.core.handlers import asgi as handlers
from django.test.runner import DiscoverRunner


class Result(unittest.TextTestResult):
    """Notes which tests ran, and which of them our handler served a request for."""

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
    """Puts our handler in place of Django's before it imports the tests."""

    def __init__(self, *args, **kwargs):
        # The other runner is to run without it.
        from django_asgi_ext import ASGIHandler, get_asgi_application, protocols

        handlers.ASGIHandler = asgi.ASGIHandler = ASGIHandler
        asgi.get_asgi_application = get_asgi_application
        serve = protocols["http"]

        @protocols.register("http", replace=True)
        def noted(scope, receive, send):
            Result.served.add(Result.ran[-1])
            return serve(scope, receive, send)

        super().__init__(*args, **kwargs)
