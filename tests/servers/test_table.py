"""The page that says what works on which server."""

import inspect
from pathlib import Path

import grid
import pytest
from serving import COMMANDS

TESTS = [test for tests in grid.declared().values() for test in tests]


def test_page():
    """docs/servers.md shows what the tests declare."""
    assert grid.shown("table") == grid.table(), (
        "docs/servers.md is not what the tests declare. Write it: tox run -e servers"
    )


def test_modules():
    """Each module that declares a behaviour has its place in the table."""
    assert {
        path.stem
        for path in Path(__file__).parent.glob("test_*.py")
        if "\n@behaviour(" in path.read_text()
    } <= set(grid.MODULES)


@pytest.mark.parametrize("test", TESTS, ids=lambda test: test.__name__)
def test_declaration(test):
    """A declared difference names a server, and the test asserts it."""
    otherwise = test.behaviour.differs.keys() | test.behaviour.impossible.keys()
    assert otherwise <= COMMANDS.keys()
    assert bool(otherwise) is ("differs" in inspect.signature(test).parameters)


def test_rows():
    """No two tests declare the same behaviour."""
    texts = [test.behaviour.text for test in TESTS]
    assert sorted(set(texts)) == sorted(texts)
