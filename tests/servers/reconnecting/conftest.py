"""A browser, a server, and pages that use the browser client."""

import os
from pathlib import Path

import pytest
from browser import open_browser
from serving import ENVIRONMENT, Server

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Chromium, without a window. It finds chat.test on this machine."""
    folder = tmp_path_factory.mktemp("browser")
    with open_browser(folder, "--host-resolver-rules=MAP chat.test 127.0.0.1") as found:
        yield found


@pytest.fixture(scope="session", params=["hypercorn"])
def start_pages(browser, request):
    """Start the project in pages.py in a folder, at a port of one's choice."""
    path = os.pathsep.join([str(HERE), ENVIRONMENT["PYTHONPATH"]])
    servers = []

    def start(folder, port=None):
        environment = {"PYTHONPATH": path}
        servers.append(
            Server(request.param, "pages:application", folder, environment, port=port)
        )
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.stop()


@pytest.fixture(scope="session")
def server(start_pages, tmp_path_factory):
    """Run the project in pages.py."""
    return start_pages(tmp_path_factory.mktemp("pages"))


@pytest.fixture
def page(browser, server):
    """A page that uses the client."""
    browser.driver.get(server.url("/page/", "http"))
    return browser
