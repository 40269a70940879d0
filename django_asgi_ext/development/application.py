"""Importing the project's ASGI application."""

from __future__ import annotations

from importlib import import_module
from typing import Any, cast

from django.core.management.base import CommandError

from django_asgi_ext import conf
from django_asgi_ext.protocols import ASGIApplication


def project_application() -> ASGIApplication:
    """
    Return the ASGI application of the project: see conf.asgi_application().

    Raise CommandError if there is none, and what importing its module raises,
    with a note that says what it was imported for.
    """
    module_name, _, name = conf.asgi_application().rpartition(":")
    if not module_name:
        raise CommandError(
            "ASGI_APPLICATION must be a dotted path, as 'mysite.asgi.application', "
            f"not {name!r}."
        )
    application = getattr(_import(module_name, f"{module_name}.{name}"), name, None)
    if not callable(application):
        raise CommandError(
            f"The module {module_name!r} has no ASGI application {name!r}. Define it "
            "there, or set ASGI_APPLICATION to the dotted path of another."
        )
    return cast(ASGIApplication, application)


def _import(module_name: str, path: str) -> Any:
    try:
        return import_module(module_name)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and _is_in(error.name, module_name):
            raise CommandError(
                f"There is no module {error.name!r}, so no ASGI application {path!r}. "
                "Write it, or set ASGI_APPLICATION to the dotted path of another."
            ) from None
        # Raised as it is: the autoreloader watches the file that it comes from.
        error.add_note(f"The ASGI application {path!r} cannot be imported.")
        raise


def _is_in(name: str | None, module_name: str) -> bool:
    """Return whether a name is that of a module or of a package around it."""
    return f"{module_name}.".startswith(f"{name}.")
