"""
The settings: one dict, ``ASGI_EXT``, in which every key is optional.

They are read here and nowhere else, at the moment they are needed, so that
override_settings() works.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from django_asgi_ext.http.support import can_fuse
from django_asgi_ext.problems import (
    Problem,
    is_count,
    is_number,
    policy_problems,
)
from django_asgi_ext.protocols import ASGIApplication


@dataclass(frozen=True)
class _Setting:
    default: Callable[[], Any]
    is_valid: Callable[[Any], bool]
    # What a valid value is, for the error text.
    expected: str


_SETTINGS = {
    "PROTOCOLS": _Setting(
        dict,
        lambda value: isinstance(value, dict),
        "a dict of scope types and dotted paths",
    ),
    "REQUIRE_ORIGIN": _Setting(
        bool, lambda value: isinstance(value, bool), "True or False"
    ),
    "MAX_MESSAGE_SIZE": _Setting(
        lambda: 1024 * 1024, is_count, "a whole number of bytes above 0"
    ),
    "MAX_CONNECTIONS": _Setting(lambda: None, is_count, "a whole number above 0"),
    "OPEN_TIMEOUT": _Setting(lambda: 4, is_number, "a number of seconds above 0"),
    "SEND_TIMEOUT": _Setting(lambda: 30, is_number, "a number of seconds above 0"),
    "IDLE_TIMEOUT": _Setting(lambda: None, is_number, "a number of seconds above 0"),
    "CLOSE_TIMEOUT": _Setting(lambda: 5, is_number, "a number of seconds above 0"),
    "SHUTDOWN_TIMEOUT": _Setting(lambda: 3, is_number, "a number of seconds above 0"),
    "SHUTDOWN_SPREAD": _Setting(
        lambda: 0.5,
        lambda value: is_number(value, or_zero=True),
        "a number of seconds",
    ),
    # How many messages to groups, and how many bytes of them.
    "OUTBOX": _Setting(lambda: 1000, is_count, "a whole number of messages above 0"),
    "OUTBOX_SIZE": _Setting(
        lambda: 1024 * 1024, is_count, "a whole number of bytes above 0"
    ),
    "GROUPS": _Setting(
        dict,
        lambda value: isinstance(value, dict),
        "a dict with BACKEND, LOCATION, OPTIONS and POLICIES",
    ),
    "SLOW_CALL": _Setting(lambda: 0.5, is_number, "a number of seconds above 0"),
    "HTTP": _Setting(
        lambda: "fused" if can_fuse() else "django",
        lambda value: value == "django" or (value == "fused" and can_fuse()),
        "'django' or, on Django 4.2 to 6.1, 'fused'",
    ),
    # As many as ThreadPoolExecutor would choose.
    "THREADS": _Setting(
        lambda: min(32, (os.cpu_count() or 1) + 4),
        is_count,
        "a whole number of threads above 0",
    ),
}


_MEMORY = "django_asgi_ext.groups.memory.MemoryBackend"


def _get(name: str) -> Any:
    value = getattr(settings, "ASGI_EXT", {}).get(name)
    return _SETTINGS[name].default() if value is None else value


def require_origin() -> bool:
    """Return whether a handshake without an Origin header is refused."""
    return cast(bool, _get("REQUIRE_ORIGIN"))


def max_message_size() -> int:
    """Return how large a message from a peer may be, in bytes."""
    return cast(int, _get("MAX_MESSAGE_SIZE"))


def max_connections() -> int | None:
    """Return how many WebSockets a process may have at once, None for any number."""
    return cast("int | None", _get("MAX_CONNECTIONS"))


def open_timeout() -> float:
    """Return how long a handshake may take until it is accepted, in seconds."""
    return cast(float, _get("OPEN_TIMEOUT"))


def send_timeout() -> float:
    """Return for how long a peer may not read what is sent to it, in seconds."""
    return cast(float, _get("SEND_TIMEOUT"))


def idle_timeout() -> float | None:
    """Return for how long nothing may be said, in seconds, None for any time."""
    return cast("float | None", _get("IDLE_TIMEOUT"))


def close_timeout() -> float:
    """Return how long a peer has for its side of the closing handshake, in seconds."""
    return cast(float, _get("CLOSE_TIMEOUT"))


def shutdown_timeout() -> float:
    """Return how long a view may clean up when the server shuts down, in seconds."""
    return cast(float, _get("SHUTDOWN_TIMEOUT"))


def shutdown_spread() -> float:
    """Return over how many seconds a shutdown spreads the closes."""
    return cast(float, _get("SHUTDOWN_SPREAD"))


def slow_call() -> float | None:
    """Return how long synchronous code may run unnoticed, None without DEBUG."""
    return cast(float, _get("SLOW_CALL")) if settings.DEBUG else None


def debug() -> bool:
    """Return whether whoever connects is the developer."""
    return bool(settings.DEBUG)


def asgi_application() -> str:
    """
    Return where the ASGI application is, as servers take it: "mysite.asgi:application".

    The setting of that name is known to Channels and daphne. Without it, it is beside
    the WSGI application or the URLconf.
    """
    path = getattr(settings, "ASGI_APPLICATION", None)
    if isinstance(path, str):
        module, _, name = path.rpartition(".")
        return f"{module}:{name}"
    module = (settings.WSGI_APPLICATION or "").rpartition(".")[0]
    urlconf = getattr(settings, "ROOT_URLCONF", None) or ""
    package = (module or urlconf).rpartition(".")[0]
    return f"{package}.asgi:application" if package else "asgi:application"


def outbox() -> int:
    """Return how many messages to groups may wait for a member."""
    return cast(int, _get("OUTBOX"))


def outbox_size() -> int:
    """Return how much may wait for a member, in bytes."""
    return cast(int, _get("OUTBOX_SIZE"))


def groups_backend() -> Callable[..., Any]:
    """
    Return the class that ASGI_EXT["GROUPS"]["BACKEND"] names.

    Raise ImproperlyConfigured if it cannot be imported.
    """
    return _import_backend(_get("GROUPS").get("BACKEND") or _MEMORY)


def groups_location() -> Any:
    """Return ASGI_EXT["GROUPS"]["LOCATION"], None if it is not set."""
    return _get("GROUPS").get("LOCATION")


def groups_options() -> dict[str, Any]:
    """Return ASGI_EXT["GROUPS"]["OPTIONS"], which mean something to the backend."""
    return _get("GROUPS").get("OPTIONS") or {}


def group_policies() -> dict[str, dict[str, Any]]:
    """Return the options of groups by the pattern of their names, in order."""
    return _get("GROUPS").get("POLICIES") or {}


def groups_are_set() -> bool:
    """Return whether the project says anything about groups."""
    return bool(_get("GROUPS"))


def groups_stay_here() -> bool:
    """Return whether groups reach the members of one process only."""
    return (_get("GROUPS").get("BACKEND") or _MEMORY) == _MEMORY


def with_groups_in_memory() -> dict[str, Any]:
    """Return ASGI_EXT with the default backend of groups, and the policies kept."""
    ours = getattr(settings, "ASGI_EXT", {})
    return {**ours, "GROUPS": {"POLICIES": group_policies()}}


def threads() -> int:
    """Return how many worker threads a process has for WebSockets."""
    return cast(int, _get("THREADS"))


def http() -> str:
    """Return which chain of middleware HTTP goes through, "fused" or "django"."""
    return cast(str, _get("HTTP"))


def protocols() -> dict[str, ASGIApplication | None]:
    """
    Return the applications that ASGI_EXT["PROTOCOLS"] names.

    Raise ImproperlyConfigured if one cannot be imported.
    """
    return {
        scope_type: None if path is None else _import(scope_type, path)
        for scope_type, path in _get("PROTOCOLS").items()
    }


def _import(scope_type: str, path: object) -> ASGIApplication:
    setting = f"ASGI_EXT['PROTOCOLS']['{scope_type}']"
    if not isinstance(path, str):
        raise ImproperlyConfigured(
            f"{setting} must be a dotted path or None, not {path!r}."
        )
    try:
        application = import_string(path)
    except Exception as error:
        raise ImproperlyConfigured(
            f"{setting} cannot be imported: '{path}'."
        ) from error
    if not callable(application):
        raise ImproperlyConfigured(f"{setting} is no ASGI application: '{path}'.")
    return cast(ASGIApplication, application)


def _import_backend(path: object) -> Callable[..., Any]:
    if not isinstance(path, str):
        raise ImproperlyConfigured(
            f"ASGI_EXT['GROUPS']['BACKEND'] must be a dotted path, not {path!r}."
        )
    try:
        backend = import_string(path)
    except ImproperlyConfigured:
        # It says what it needs.
        raise
    except Exception as error:
        raise ImproperlyConfigured(
            f"ASGI_EXT['GROUPS']['BACKEND'] cannot be imported: '{path}'."
        ) from error
    if not callable(getattr(backend, "publish", None)):
        raise ImproperlyConfigured(
            f"ASGI_EXT['GROUPS']['BACKEND'] is no backend for groups: '{path}'."
        )
    return cast("Callable[..., Any]", backend)


def check() -> None:
    """Raise ImproperlyConfigured if something is wrong in ASGI_EXT."""
    messages = [f"{problem.message} {problem.hint}" for problem in problems()]
    if messages:
        raise ImproperlyConfigured("\n".join(messages))


def problems() -> Iterator[Problem]:
    """Yield everything that is wrong in ASGI_EXT."""
    ours = getattr(settings, "ASGI_EXT", {})
    if not isinstance(ours, dict):
        yield Problem(1, f"ASGI_EXT must be a dict, not {ours!r}.", "See the README.")
        return
    for name, value in ours.items():
        setting = _SETTINGS.get(name)
        if setting is None:
            known = ", ".join(sorted(_SETTINGS))
            yield Problem(
                2, f"ASGI_EXT has no setting {name!r}.", f"The settings are: {known}."
            )
        elif value is not None and not setting.is_valid(value):
            yield Problem(
                3,
                f"ASGI_EXT['{name}'] must be {setting.expected}, not {value!r}.",
                "Leave it out for the default.",
            )
        elif name == "PROTOCOLS":
            yield from _protocol_problems(value or {})
        elif name == "GROUPS":
            yield from _group_problems(value or {})


def _protocol_problems(paths: dict[Any, Any]) -> Iterator[Problem]:
    for scope_type, path in paths.items():
        if not isinstance(scope_type, str):
            yield Problem(
                4,
                f"ASGI_EXT['PROTOCOLS'] has a key that is no str: {scope_type!r}.",
                "The keys are scope types, as 'mqtt'.",
            )
        elif path is not None:
            try:
                _import(scope_type, path)
            except ImproperlyConfigured as error:
                yield Problem(
                    5, str(error), "Name an ASGI application by its dotted path."
                )


def _group_problems(groups: dict[Any, Any]) -> Iterator[Problem]:
    for name in groups.keys() - {"BACKEND", "LOCATION", "OPTIONS", "POLICIES"}:
        yield Problem(
            21,
            f"ASGI_EXT['GROUPS'] has no setting {name!r}.",
            "The settings are: BACKEND, LOCATION, OPTIONS, POLICIES.",
        )
    yield from _backend_problems(groups)
    yield from policy_problems(groups.get("POLICIES") or {})


def _backend_problems(groups: dict[Any, Any]) -> Iterator[Problem]:
    options = groups.get("OPTIONS") or {}
    if not isinstance(options, dict):
        yield Problem(
            27,
            f"ASGI_EXT['GROUPS']['OPTIONS'] must be a dict, not {options!r}.",
            "What may be in it is the backend's to say.",
        )
        return
    if groups.get("LOCATION") and not groups.get("BACKEND"):
        yield Problem(
            28,
            "ASGI_EXT['GROUPS'] has a LOCATION and no BACKEND.",
            "Redis is 'BACKEND': 'django_asgi_ext.groups.redis.RedisBackend'.",
        )
    try:
        backend = _import_backend(groups.get("BACKEND") or _MEMORY)
    except ImproperlyConfigured as error:
        yield Problem(22, str(error), "Name a subclass of Backend by its dotted path.")
        return
    problems_of = getattr(backend, "problems", None)
    if problems_of is not None:
        for message in problems_of(groups.get("LOCATION"), options):
            yield Problem(28, message, "See docs/redis.md.")
