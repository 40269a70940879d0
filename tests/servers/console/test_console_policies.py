"""The console: what policy it works under."""

import pytest
from browser import ENTER


@pytest.mark.parametrize("policy", ["", "fill", "replace", "add"])
def test_policies(console, policy):
    """The page works under the policy of a project that fills in, replaces or adds."""
    console.connect(f"/echo/?policy={policy}")
    console.write(f"hello{ENTER}")
    assert console.last("received") == "hello"
    padding = "return getComputedStyle(document.querySelector('.bar')).display"
    assert console.run(padding) == "flex"
    refused = [line for line in console.browser.logged() if "violates" in line]
    assert [line for line in refused if "Loading the image" not in line] == []


def test_policy_without_scripts(console):
    """Under a policy that forbids its script the page says what it needs."""
    console.browser.driver.get(console.server.url("/echo/?policy=forbid", "http"))
    console.expect("#no-script", "script-src 'self'")
    assert console.find("#view").text == "consoled.echo"
    assert not console.find("#console").is_displayed()


def test_policy_without_connections(console):
    """Under a policy that forbids connections the page says so."""
    console.visit("/echo/?policy=unconnected")
    console.find("#connect").click()
    console.expect("#refusal", "connect-src has to allow 'self'")
