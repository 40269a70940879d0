"""Time a test that opens a WebSocket with the test clients and gets an answer."""

import argparse
import logging
import time
import unittest
from statistics import median

from competitors import project

# Milliseconds, on average of a run of tests.
BAR = 10.0


def make_cases():
    from django.contrib.auth.models import User
    from django.test import TestCase

    from django_asgi_ext.test import AsyncClient, Client

    class Tests(TestCase):
        @classmethod
        def setUpTestData(cls):
            cls.user = User.objects.create_user(project.USERNAME)

    class Nothing(Tests):
        def test(self):
            pass

    class Request(Tests):
        def test(self):
            self.assertEqual(Client().get("/echo/").status_code, 426)

    class Sync(Tests):
        def test(self):
            with Client().websocket("/echo/") as socket:
                socket.send("hello")
                self.assertEqual(socket.recv(), "hello")

    class SyncUser(Tests):
        def test(self):
            client = Client()
            client.force_login(self.user)
            with client.websocket("/hello/") as socket:
                self.assertEqual(socket.recv(), project.USERNAME)

    class Async(Tests):
        async def test(self):
            async with AsyncClient().websocket("/echo/") as socket:
                await socket.send("hello")
                self.assertEqual(await socket.recv(), "hello")

    return {
        "nothing": Nothing,
        "Client().get()": Request,
        "Client().websocket()": Sync,
        "the same, logged in": SyncUser,
        "AsyncClient().websocket()": Async,
    }


def measure(case, tests):
    """Return the milliseconds per test."""
    suite = unittest.TestSuite(case("test") for _ in range(tests))
    result = unittest.TestResult()
    start = time.perf_counter()
    suite.run(result)
    seconds = time.perf_counter() - start
    assert result.wasSuccessful(), result.failures + result.errors
    return seconds / tests * 1e3


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tests", type=int, default=200, help="in a round")
    options = parser.parse_args()
    project.configure("django_asgi_ext")
    import django

    django.setup()
    # The 426 of each request is one.
    logging.disable(logging.WARNING)
    from django.test.utils import get_runner

    runner = get_runner(django.conf.settings)(verbosity=0)
    runner.setup_test_environment()
    databases = runner.setup_databases()
    cases = make_cases()
    taken = {name: [] for name in cases}
    for _ in range(options.rounds):
        for name, case in cases.items():
            taken[name].append(measure(case, options.tests))
    runner.teardown_databases(databases)
    print(f"Milliseconds per test, {options.rounds} rounds of {options.tests} each\n")
    for name, figures in taken.items():
        print(f"{name:28}{median(figures):6.2f}  (at most {max(figures):.2f})")
    held = max(taken["Client().websocket()"]) <= BAR
    print(f"\nAt most {BAR:g} ms with Client().websocket(): {'yes' if held else 'no'}")
    raise SystemExit(not held)


if __name__ == "__main__":
    main()
