"""A real browser: Debian's Chromium, without a window."""

import os
from contextlib import contextmanager
from importlib.util import find_spec

import pytest

CHROMIUM = "/usr/bin/chromium"
CHROMEDRIVER = "/usr/bin/chromedriver"

# How long anything may take, in seconds, on a machine with other things to do.
TIMEOUT = 30

# Keys, as WebDriver writes them.
TAB, ENTER = "\ue004", "\ue007"

# A script's "arguments" are those of the function that WebDriver makes of it.
RUN = """
const done = arguments[arguments.length - 1];
(async () => {
%s
})().then((value) => done({ value }), (error) => done({ error: String(error) }));
"""


def require(found, what):
    """Skip the test, or fail it in CI, if something is not installed."""
    if not found:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"needs {what}")


@contextmanager
def open_browser(folder, *arguments):
    """Start Chromium with its profile in a folder, and quit it in the end."""
    require(find_spec("selenium"), "selenium: pip install selenium")
    require(os.path.exists(CHROMIUM), "chromium: apt-get install chromium")
    require(
        os.path.exists(CHROMEDRIVER), "chromedriver: apt-get install chromium-driver"
    )
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={folder / 'chromium'}",
        *arguments,
    ]:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(CHROMEDRIVER))
    try:
        driver.set_script_timeout(TIMEOUT)
        yield Browser(driver)
    finally:
        driver.quit()


class Browser:
    """A browser as a user sees it."""

    def __init__(self, driver):
        self.driver = driver

    def find(self, selector):
        """Return the element at a CSS selector."""
        return self.driver.find_element("css selector", selector)

    def wait(self, condition):
        """Wait for a condition on the page."""
        from selenium.common.exceptions import (
            NoSuchElementException,
            StaleElementReferenceException,
            TimeoutException,
        )
        from selenium.webdriver.support.wait import WebDriverWait

        ignored = [NoSuchElementException, StaleElementReferenceException]
        try:
            WebDriverWait(self.driver, TIMEOUT, 0.05, ignored).until(
                lambda driver: condition()
            )
        except TimeoutException:
            page = self.find("body").text
            raise AssertionError(f"It did not come to that on:\n{page}") from None

    def expect(self, selector, text):
        """Wait for an element to have a text in it."""
        self.wait(lambda: text in self.find(selector).text)

    def type(self, selector, text):
        """Type into an element that has the focus."""
        self.wait(lambda: self.find(selector) == self.driver.switch_to.active_element)
        self.find(selector).send_keys(text)

    def run(self, script, *arguments):
        """Run the body of an async function on the page and return its value."""
        outcome = self.driver.execute_async_script(RUN % script, *arguments)
        if "error" in outcome:
            raise AssertionError(f"{outcome['error']} in:\n{script}")
        return outcome["value"]

    def logged(self):
        """Return what the console of the page says since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    # The pages of the example.

    def log_in(self, name, password):
        """Fill in the login page with the keyboard."""
        self.type("#id_username", f"{name}{TAB}")
        self.type("#id_password", f"{password}{ENTER}")

    def say(self, text):
        """Write a message."""
        self.type("#text", f"{text}{ENTER}")

    def messages(self):
        """Return all messages, each with its user."""
        return [
            (
                message.find_element("css selector", "bdi").text,
                message.find_element("css selector", "[dir]").text,
            )
            for message in self.driver.find_elements("css selector", ".message")
        ]
