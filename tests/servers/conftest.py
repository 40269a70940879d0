"""Real servers, each in a process of its own."""

import json
import os
import re
import secrets

import pytest
from serving import COMMANDS, ENVIRONMENT, HERE, LIMITS, Server

README_TESTS = {"test_readme.py", "test_startproject.py"}


def pytest_collection_modifyitems(config, items):
    """
    Leave out all servers but those that the environment names in SERVERS.

    With "none" only what the README shows is left of the tests here.
    """
    wanted = os.environ.get("SERVERS", " ".join(COMMANDS)).split()
    unwanted = COMMANDS.keys() - wanted

    def is_unwanted(item):
        if wanted == ["none"] and item.path.name not in README_TESTS:
            return True
        return hasattr(item, "callspec") and unwanted.intersection(
            re.split(r"\W", item.callspec.id)
        )

    left_out = {
        item for item in items if item.path.is_relative_to(HERE) and is_unwanted(item)
    }
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session", params=list(COMMANDS))
def server_name(request):
    """Run the test once for each server."""
    return request.param


@pytest.fixture(scope="session")
def running_server(server_name, tmp_path_factory):
    """Run the project in served.py, for all tests."""
    folder = tmp_path_factory.mktemp(server_name)
    running = Server(server_name, "served:application", folder, ENVIRONMENT)
    yield running
    running.stop()


@pytest.fixture
def server(running_server):
    """Run the project in served.py; the log begins with the test."""
    running_server.begin_log()
    yield running_server
    assert running_server.process.poll() is None, running_server.log


@pytest.fixture(scope="session")
def limited_server(server_name, tmp_path_factory):
    """Run the project in served.py with the settings in LIMITS."""
    folder = tmp_path_factory.mktemp(f"{server_name}-limited")
    environment = {**ENVIRONMENT, "SERVED_ASGI_EXT": json.dumps(LIMITS)}
    running = Server(server_name, "served:application", folder, environment)
    yield running
    running.stop()


@pytest.fixture
def start_server(server_name, tmp_path):
    """Start the project in served.py with options of the test's own."""
    servers = []

    def start(*options):
        servers.append(
            Server(server_name, "served:application", tmp_path, ENVIRONMENT, *options)
        )
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def differs(request, server_name):
    """Say whether the table has something other than "works" here."""
    return request.function.behaviour.on(server_name) != "works"


@pytest.fixture
def token():
    """Return what a view's reports are known by: see report() in served.py."""
    return secrets.token_hex(4)
