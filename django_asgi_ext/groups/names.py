"""The names of groups, and those that depend on a URL's arguments."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping

# An "@" separates a name from a position in its history, so it is none of these.
_NAME = re.compile(r"[A-Za-z0-9._:-]{1,200}")
_LITERAL = re.compile(r"[A-Za-z0-9._:-]*")

_RULE = "1 to 200 of the ASCII letters, digits and '._-:'"


def check_name(group: str) -> None:
    """
    Check the name of a group.

    Raise TypeError if it is no str, and ValueError unless it has 1 to 200 ASCII
    letters, digits, dots, underscores, hyphens and colons.
    """
    if not isinstance(group, str):
        raise TypeError(f"The name of a group is a str, not {group!r}.")
    if _NAME.fullmatch(group) is None:
        shown = group if len(group) <= 200 else f"{group[:200]}..."
        raise ValueError(f"{shown!r} cannot name a group: it takes {_RULE}.")


def check_template(template: str) -> None:
    """
    Check a name with fields for a URL's arguments, as "chat.{room}".

    Raise TypeError if it is no str, and ValueError if no arguments can make a
    name out of it.
    """
    if not isinstance(template, str):
        raise TypeError(f"The name of a group is a str, not {template!r}.")
    for literal, field, extra in _parts(template):
        if _LITERAL.fullmatch(literal) is None:
            raise ValueError(f"{template!r} cannot name a group: it takes {_RULE}.")
        if field is not None and (extra or not field.isidentifier()):
            raise ValueError(
                f"{template!r} cannot name a group: a field is the name of an "
                "argument and no more, as in 'chat.{room}'. What the URL does not "
                "hold the view knows: await socket.join(f'user.{socket.user.pk}')."
            )
    if not fields_of(template):
        check_name(template)


def fields_of(template: str) -> set[str]:
    """Return which arguments a name depends on."""
    return {field for _, field, _ in _parts(template) if field is not None}


def fill_in(template: str, arguments: Mapping[str, object]) -> str:
    """
    Return the name for the arguments of one URL.

    Raise KeyError if the URL has no such argument, and ValueError if the name
    cannot be one.
    """
    name = template.format_map(arguments)
    check_name(name)
    return name


def _parts(template: str) -> Iterator[tuple[str, str | None, str]]:
    """Yield each literal with the field behind it, and what else stands there."""
    try:
        for literal, field, spec, conversion in string.Formatter().parse(template):
            yield literal, field, f"{spec or ''}{conversion or ''}"
    except ValueError as error:
        raise ValueError(f"{template!r} cannot name a group: {error}.") from None
