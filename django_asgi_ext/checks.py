"""
System checks: for ASGI_EXT, asgi.py and runserver, and with --deploy for the
servers.
"""

from __future__ import annotations

import json
import os
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.core.management import get_commands, load_command_class

from django_asgi_ext import asgi_module, conf, deployment
from django_asgi_ext.dangers import DANGERS
from django_asgi_ext.groups.names import fields_of
from django_asgi_ext.websockets.listing import WebSocketURL, websocket_urls


def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """Return an error for everything that is wrong in ASGI_EXT."""
    return [
        Error(problem.message, hint=problem.hint, id=f"asgi_ext.E{problem.number:03}")
        for problem in conf.problems()
    ]


def check_asgi_module(**kwargs: Any) -> list[CheckMessage]:
    """Return a warning if the project's asgi.py still asks Django for its handler."""
    module, _, name = conf.asgi_application().rpartition(":")
    if not asgi_module.is_made_by_django(module, name):
        return []
    return [
        Warning(
            f"{module}.{name} is made by django.core.asgi, which refuses WebSockets.",
            hint="Write from django_asgi_ext import get_asgi_application there.",
            id="asgi_ext.W020",
        )
    ]


def check_groups(**kwargs: Any) -> list[CheckMessage]:
    """Return an error for each URL that lacks what the name of a group needs."""
    return [
        Error(
            f"The URL {url.path} of {url.view} has no argument {field!r} for the group "
            f"{group!r}.",
            hint="Name a converter so, or give the argument to path().",
            id="asgi_ext.E026",
        )
        for url in _websocket_urls()
        for group in url.groups
        for field in sorted(fields_of(group) - set(url.arguments))
    ]


def check_runserver(**kwargs: Any) -> list[CheckMessage]:
    """Return a warning if manage.py runserver is that of another app."""
    app = get_commands()["runserver"]
    rival = None if app == "django_asgi_ext" else _rival(app)
    if rival is None:
        return []
    return [
        Warning(
            f"manage.py runserver is not that of django_asgi_ext but that of {app}, "
            "which stands before it in INSTALLED_APPS.",
            f'Put "django_asgi_ext" before "{rival}" in INSTALLED_APPS.',
            id="asgi_ext.W021",
        )
    ]


def _rival(app: str) -> str | None:
    """Return before which app ours must stand for its runserver, None if it does."""
    from django_asgi_ext.management.commands.runserver import Command

    try:
        command = load_command_class(app, "runserver")
    except Exception:
        # Whoever runs it will see.
        return app
    if isinstance(command, Command):
        # It builds upon what comes next, as whitenoise.runserver_nostatic does.
        return None
    for config in apps.get_app_configs():
        if config.name == "django_asgi_ext":
            break
        if any(
            ancestor.__module__ == f"{config.name}.management.commands.runserver"
            for ancestor in type(command).__mro__
        ):
            app = config.name
    return app


def check_deployment(**kwargs: Any) -> list[CheckMessage]:
    """
    Return a warning for what is dangerous on the servers that are installed.

    Which of them is in use, and how, is known at the first connection only.
    """
    if any(conf.problems()):
        # They are reported, and what they mean is not known.
        return []
    found = deployment.dangers_of_settings()
    if conf.groups_stay_here() and not conf.groups_are_set():
        if any(url.groups for url in _websocket_urls()):
            found.append(DANGERS[144])
    for server in deployment.SERVERS:
        if _is_installed(server):
            found += deployment.dangers_of(server, _configuration(server))
    return [Warning(danger.message, danger.hint, id=danger.id) for danger in found]


def _websocket_urls() -> list[WebSocketURL]:
    return websocket_urls() if getattr(settings, "ROOT_URLCONF", None) else []


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _configuration(server: str) -> SimpleNamespace:
    """Return what can be known of a server's configuration without running it."""
    known: dict[str, Any] = {}
    if server == "hypercorn":
        known = _hypercorn_toml()
    elif server == "uvicorn":
        known = {"ws": "auto", **_variables("UVICORN_")}
        if known["ws"] == "auto":
            is_sansio = _is_installed("websockets")
            known["ws"] = "websockets-sansio" if is_sansio else "wsproto"
    return SimpleNamespace(**known)


def _hypercorn_toml() -> dict[str, Any]:
    # It takes any file by --config; this is what its documentation calls it.
    try:
        return tomllib.loads(Path("hypercorn.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _variables(prefix: str) -> dict[str, Any]:
    """Return the options that a server takes from the environment."""
    return {
        name.removeprefix(prefix).lower(): _value(text)
        for name, text in os.environ.items()
        if name.startswith(prefix) and text
    }


def _value(text: str) -> Any:
    try:
        return json.loads(text.lower())
    except ValueError:
        return text
