"""
The table of what works on which Django, made from the tests that hold it.

A test that shows a feature declares it, with the release that it came with. Before
that the test must fail, and just as declared. Run as a program, this writes
docs/django.md.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import django
import pytest

PAGE = Path(__file__).parents[1] / "docs" / "django.md"

# The Pythons that we run on.
OURS = ("3.11", "3.12", "3.13")

# Those of them that a release names, and those that it runs on all the same.
PYTHONS = {
    "3.0": ((), ("3.11",)),
    "3.1": ((), ("3.11",)),
    "3.2": ((), ("3.11", "3.12")),
    "4.0": ((), ("3.11", "3.12")),
    "4.1": (("3.11",), ("3.12", "3.13")),
    "4.2": (("3.11", "3.12"), ("3.13",)),
    "5.0": (("3.11", "3.12"), ("3.13",)),
    "5.1": (("3.11", "3.12", "3.13"), ()),
    "5.2": (("3.11", "3.12", "3.13"), ()),
    "6.0": (("3.12", "3.13"), ()),
    "6.1": (("3.12", "3.13"), ()),
}
RELEASES = list(PYTHONS)
HERE = "{}.{}".format(*django.VERSION)


@dataclass(frozen=True)
class Row:
    """One row of the table; ``since`` is None for what no release has."""

    text: str
    since: str | None

    def on(self, release):
        """Return whether a release has it."""
        if self.since is None:
            return False
        return RELEASES.index(release) >= RELEASES.index(self.since)


class Section:
    """A part of the table. Called, it declares what a test shows."""

    all: list = []

    def __init__(self, heading):
        self.heading = heading
        self.rows = []
        self.all.append(self)

    def __call__(self, text, *, since="3.0", without=None):
        """
        Declare a feature, and as what the test fails where there is none.

        Where there is none the test has to fail: it is an error if it passes.
        """
        row = Row(text, since)
        self.rows.append(row)

        def declare(test):
            if row.on(HERE):
                return test
            reason = f"Django {HERE} does not have it."
            return pytest.mark.xfail(raises=without, strict=True, reason=reason)(test)

        return declare


def table():
    """Return the table in Markdown."""
    lines = ["### Python", "", _row("", *RELEASES), _rule()]
    for number, text in enumerate(["That it names", "That it runs on as well"]):
        lines.append(_row(text, *(_span(PYTHONS[name][number]) for name in RELEASES)))
    for section in Section.all:
        lines += ["", f"### {section.heading}", "", _row("", *RELEASES), _rule()]
        for row in section.rows:
            cells = ("yes" if row.on(release) else "no" for release in RELEASES)
            lines.append(_row(row.text, *cells))
    return "\n".join(lines)


def _span(pythons):
    return "-".join(dict.fromkeys([*pythons[:1], *pythons[-1:]])) or "none"


def _row(*cells):
    return f"| {' | '.join(cells)} |"


def _rule():
    return "|---" * (len(RELEASES) + 1) + "|"


_TABLE = re.compile(r"(?<=<!-- table -->\n).*(?=\n<!-- end of table -->)", re.DOTALL)


def shown():
    """Return the table that the page shows."""
    return _TABLE.search(PAGE.read_text())[0]


def write():
    """Write the table into the page."""
    PAGE.write_text(_TABLE.sub(lambda _: table(), PAGE.read_text()))


if __name__ == "__main__":
    # The first sets Django up, the second declares the rows in the third.
    import conftest  # noqa: F401
    import test_releases  # noqa: F401
    from releases import write as write_page

    write_page()
