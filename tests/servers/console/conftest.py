"""A browser at the WebSocket URLs of a project."""

import pytest
from browser import open_browser
from console_page import Console
from serving import ENVIRONMENT, Server


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder for files that are sent and saved."""
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def browser(tmp_path_factory, folder):
    """Chromium, without a window."""
    with open_browser(tmp_path_factory.mktemp("browser")) as browser:
        browser.driver.execute_cdp_cmd(
            "Browser.setDownloadBehavior",
            {"behavior": "allow", "downloadPath": str(folder)},
        )
        yield browser


# It does not depend on the server.
@pytest.fixture(scope="module", params=["hypercorn"])
def server(browser, request, tmp_path_factory):
    """Run the project in consoled.py on a server."""
    place = tmp_path_factory.mktemp(request.param)
    running = Server(request.param, "consoled:application", place, ENVIRONMENT)
    yield running
    running.stop()


@pytest.fixture
def console(browser, server):
    browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    yield Console(browser, server)
    # Nothing of a test's goes on in the next.
    browser.driver.get("about:blank")
    browser.logged()
