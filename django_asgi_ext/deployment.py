"""
What is dangerous about the server in use, and about how it is configured.

The first connection shows the server's own configuration; "manage.py check
--deploy" sees what can be known without it. Both say the same in the same words
and by the same id, and SILENCED_SYSTEM_CHECKS silences both.

A server may look different tomorrow. So none is imported here, and what is not
found is taken for the server's default.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings

from django_asgi_ext import conf
from django_asgi_ext.dangers import DANGERS, Danger
from django_asgi_ext.protocols import Scope, Send
from django_asgi_ext.servers import daphne, granian, gunicorn, hypercorn, uvicorn

logger = logging.getLogger("django_asgi_ext.deployment")

_16_MIB = 16 * 1024 * 1024


_has_warned = False

# Of those dangers that are no matter of the first connection.
_warned_of: set[int] = set()

# What is known of this process: how many workers its server runs, and whether there
# is an application for connections.
_workers = 1
_is_serving = False


def note_application() -> None:
    """Note that this process serves connections."""
    global _is_serving
    _is_serving = True


def warn_of_membership() -> None:
    """Log if a socket joins a group whose members other workers cannot reach."""
    if _workers > 1 and conf.groups_stay_here():
        _warn_once(144)


def warn_of_publishing() -> None:
    """Log if a process publishes that reaches nobody."""
    if not _is_serving and conf.groups_stay_here():
        _warn_once(145)


def _warn_once(number: int) -> None:
    if number not in _warned_of:
        _warned_of.add(number)
        _log(DANGERS[number])


def _log(danger: Danger) -> None:
    if danger.id not in settings.SILENCED_SYSTEM_CHECKS:
        logger.warning("%s: %s %s", danger.id, danger.message, danger.hint)


def warn(send: Send, scope: Scope) -> None:
    """Log what is dangerous about the server of a connection, once per process."""
    global _has_warned, _workers
    if _has_warned:
        return
    _has_warned = True
    try:
        _workers = workers_of(send)
        for danger in dangers(send, scope):
            _log(danger)
    except Exception:
        # The connection is worth more than the warning.
        logger.debug("The server cannot be looked at.", exc_info=True)


def silence() -> None:
    """Log nothing of that in this process: it serves for development."""
    global _has_warned
    _has_warned = True


def dangers(send: Send, scope: Scope) -> list[Danger]:
    """Return what is dangerous about the server that a send() belongs to."""
    for name, server in _SERVERS.items():
        if server.owns(send):
            return dangers_of(name, server.config_of(send), scope)
    return [] if _is_of_a_test(send) else [DANGERS[101]]


def _is_of_a_test(send: Send) -> bool:
    # Of our clients, or of asgiref's ApplicationCommunicator.
    return getattr(send, "__module__", None) == "django_asgi_ext.test.peer" or (
        isinstance(getattr(send, "__self__", None), asyncio.Queue)
    )


def dangers_of(
    name: str, config: Any = None, scope: Mapping[str, Any] | None = None
) -> list[Danger]:
    """
    Return what is dangerous about a server by what is known of it.

    ``config`` is anything that has the server's options as attributes.
    """
    return [
        replace(danger, message=danger.message.format(server=name.capitalize()))
        for danger in _numbered(_SERVERS[name].rules(config, scope or {}))
    ]


def workers_of(send: Send) -> int:
    """Return how many workers the server of a connection runs, 1 if it is not known."""
    for server in _SERVERS.values():
        if server.owns(send):
            workers = getattr(server.config_of(send), "workers", None)
            return workers if isinstance(workers, int) else 1
    return 1


def dangers_of_settings() -> list[Danger]:
    """Return what is dangerous about the project's settings, on any server."""
    return _numbered(_settings_rules())


def _numbered(numbers: Iterable[int]) -> list[Danger]:
    return [DANGERS[number] for number in numbers]


def _hypercorn_rules(config: Any, scope: Mapping[str, Any]) -> Iterator[int]:
    if getattr(config, "worker_class", None) == "trio":
        yield 113
        return
    if not getattr(config, "websocket_ping_interval", None) and _waits_for_ever():
        yield 102
    if _is_small(getattr(config, "websocket_max_message_size", _16_MIB)):
        yield 103
    # Without TLS there is no QUIC, and HTTP/2 only with those who know beforehand.
    has_tls = getattr(config, "ssl_enabled", True)
    version = scope.get("http_version")
    if version == "2" or (has_tls and "h2" in getattr(config, "alpn_protocols", "h2")):
        yield 111
    if version == "3" or (has_tls and getattr(config, "quic_bind", None)):
        yield 112


def _uvicorn_rules(config: Any, scope: Mapping[str, Any]) -> Iterator[int]:
    protocol = getattr(config, "ws_protocol_class", None)
    # Its option stands for it while it is not loaded.
    name = str(getattr(protocol, "__module__", None) or getattr(config, "ws", "sansio"))
    if not getattr(config, "ws_ping_interval", True) and _waits_for_ever():
        yield 102
    if _is_small(getattr(config, "ws_max_size", _16_MIB)):
        yield 103
    if _is_short(getattr(config, "timeout_graceful_shutdown", None)):
        yield 104
    if "sansio" in name and _has_small_headers():
        yield 121
    if getattr(config, "limit_concurrency", None) is not None:
        yield 122
    if "wsproto" in name and getattr(config, "ws_per_message_deflate", True):
        yield 123


def _granian_rules(config: Any, scope: Mapping[str, Any]) -> Iterator[int]:
    if _waits_for_ever():
        yield 102
    if _is_small(_16_MIB):
        yield 103


def _daphne_rules(config: Any, scope: Mapping[str, Any]) -> Iterator[int]:
    sizes = ("websocket_max_message_size", "websocket_max_frame_size")
    if any(_is_small(getattr(config, size, 1024 * 1024)) for size in sizes):
        yield 103
    if not settings.FORCE_SCRIPT_NAME:
        yield 131
    if getattr(config, "websocket_connect_timeout", 5) <= conf.open_timeout():
        yield 132


def _gunicorn_rules(config: Any, scope: Mapping[str, Any]) -> Iterator[int]:
    if _waits_for_ever():
        yield 102
    if _is_small(getattr(config, "websocket_max_message_size", _16_MIB)):
        yield 103
    if _is_short(getattr(config, "graceful_timeout", None)):
        yield 104


def _settings_rules() -> Iterator[int]:
    if "*" in settings.ALLOWED_HOSTS:
        yield 141
    if any(
        database.get("CONN_MAX_AGE", 0) is None
        for database in settings.DATABASES.values()
    ):
        yield 142
    if conf.max_connections() is None:
        yield 143
    if conf.groups_stay_here() and conf.groups_are_set():
        yield 144


@dataclass(frozen=True)
class _Server:
    owns: Callable[[Send], bool]
    # What of a send() has its options.
    config_of: Callable[[Any], Any]
    rules: Callable[[Any, Mapping[str, Any]], Iterator[int]]


_SERVERS = {
    "hypercorn": _Server(
        hypercorn.owns,
        lambda send: getattr(send.__self__, "config", None),
        _hypercorn_rules,
    ),
    "uvicorn": _Server(
        uvicorn.owns,
        lambda send: getattr(send.__self__, "config", None),
        _uvicorn_rules,
    ),
    "granian": _Server(granian.owns, granian.config_of, _granian_rules),
    "daphne": _Server(
        daphne.owns,
        lambda send: getattr(send.args[0], "server", None),
        _daphne_rules,
    ),
    "gunicorn": _Server(
        gunicorn.owns,
        lambda send: getattr(getattr(send.__self__, "log", None), "cfg", None),
        _gunicorn_rules,
    ),
}
SERVERS = tuple(_SERVERS)


def _waits_for_ever() -> bool:
    return conf.idle_timeout() is None


def _is_small(limit: int) -> bool:
    # 0 is none.
    return 0 < limit < conf.max_message_size()


def _is_short(timeout: float | None) -> bool:
    if timeout is None:
        return False
    return timeout < conf.shutdown_spread() + conf.shutdown_timeout()


def _has_small_headers() -> bool:
    """Return whether websockets, which uvicorn is built on, has its own limits."""
    return _limit("MAX_LINE_LENGTH") <= 8192 or _limit("MAX_NUM_HEADERS") <= 128


def _limit(name: str) -> int:
    # It reads the environment once, when it is imported.
    module = sys.modules.get("websockets.http11")
    limit = getattr(module, name, None) or os.environ.get(f"WEBSOCKETS_{name}")
    return int(limit or 0)
