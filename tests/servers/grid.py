"""
The table of what a project sees on each server, made from the tests that hold it.

A test that shows a behaviour declares it with @behaviour. Where a server differs,
the declaration says how, and the test asserts just that: it fails as soon as the
server does what the others do. Run as a program, this writes docs/servers.md.
"""

import importlib
import platform
import re
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from serving import COMMANDS

PAGE = Path(__file__).parents[2] / "docs" / "servers.md"

# In the order of the table; the first line of each is a heading.
MODULES = [
    "test_opening",
    "test_denials",
    "test_messages",
    "test_endings",
    "test_disconnect",
    "test_violations",
    "test_flow",
    "test_shutdown",
]


@dataclass(frozen=True)
class Behaviour:
    """One row of the table."""

    text: str
    rfc: str = ""
    differs: dict[str, str] = field(default_factory=dict)
    impossible: dict[str, str] = field(default_factory=dict)

    def on(self, server):
        """Return what the table says about a server."""
        if server in self.impossible:
            return f"impossible: {self.impossible[server]}"
        if server in self.differs:
            return f"differs: {self.differs[server]}"
        return "works"


def behaviour(text, *, rfc="", differs=None, impossible=None):
    """
    Declare what a test shows, with the section of RFC 6455 that says so.

    ``differs`` and ``impossible`` name the servers that do otherwise, and how or
    why. The test finds out by the fixture ``differs`` on which one it runs.
    """

    def declare(test):
        test.behaviour = Behaviour(text, rfc, differs or {}, impossible or {})
        return test

    return declare


def declared():
    """Return the heading and the declaring tests of each module that has some."""
    found = {}
    for name in MODULES:
        if Path(__file__).with_name(f"{name}.py").exists():
            module = importlib.import_module(name)
            tests = [test for test in vars(module).values() if _declares(test, name)]
            if tests:
                found[module.__doc__.strip().splitlines()[0].rstrip(".")] = tests
    return found


def _declares(test, module):
    return hasattr(test, "behaviour") and test.__module__ == module


def table():
    """Return the table in Markdown."""
    lines = []
    for heading, tests in declared().items():
        lines += [f"### {heading}", "", _row("", "RFC 6455", *COMMANDS)]
        lines.append("|---" * (len(COMMANDS) + 2) + "|")
        lines += [_row(*_cells(test.behaviour)) for test in tests]
        lines.append("")
    return "\n".join(lines).rstrip()


def _cells(behaviour):
    return behaviour.text, behaviour.rfc, *(behaviour.on(name) for name in COMMANDS)


def _row(*cells):
    return f"| {' | '.join(cells)} |"


def versions():
    """Return what is installed here."""
    servers = ", ".join(f"{name} {version(name)}" for name in COMMANDS)
    return f"{servers}, on Django {version('Django')} and Python " + (
        f"{platform.python_version()}."
    )


def _between(name):
    return re.compile(f"(?<=<!-- {name} -->\n).*(?=<!-- end of {name} -->)", re.DOTALL)


def shown(name):
    """Return what the page shows between the comments of this name."""
    return _between(name).search(PAGE.read_text())[0].strip()


def write():
    """Write the table and the versions into the page."""
    for name, content in (("table", table()), ("versions", versions())):
        PAGE.write_text(
            _between(name).sub(lambda _, new=content: f"{new}\n", PAGE.read_text())
        )


if __name__ == "__main__":
    write()
