"""System checks for the setting ASGI_EXT."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error

from django_asgi_ext import conf


def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """Return an error for everything that is wrong in ASGI_EXT."""
    return [
        Error(problem.message, hint=problem.hint, id=f"asgi_ext.E{problem.number:03}")
        for problem in conf.problems()
    ]
