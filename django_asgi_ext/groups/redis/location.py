"""What ASGI_EXT["GROUPS"] says about the Redis: where it is, and of which kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.core.exceptions import ImproperlyConfigured

SCHEMES = ("redis", "rediss", "unix")

# Those of the OPTIONS that are ours. All others are arguments of redis-py.
_OURS = ("cluster", "sentinel", "prefix")


@dataclass(frozen=True)
class Location:
    """
    Where the Redis is.

    ``urls`` are those of the server, of some nodes of a cluster or of the
    sentinels, ``sentinel`` is the name of the master that those know, ``prefix``
    begins the name of every key and channel, ``arguments`` are redis-py's.
    """

    urls: tuple[str, ...]
    is_cluster: bool
    sentinel: str | None
    prefix: str
    arguments: dict[str, Any]

    @property
    def publish(self) -> str:
        """Return the command that publishes, in a cluster on one node."""
        return "SPUBLISH" if self.is_cluster else "PUBLISH"

    def channel(self, group: str) -> str:
        """Return the channel of a group, which lies in the slot of its keys."""
        return f"{self.prefix}:{{{group}}}"

    def group(self, channel: str) -> str:
        """Return the group of a channel."""
        return channel[len(self.prefix) + 2 : -1]

    def key(self, group: str, name: str) -> str:
        """Return the name of a key of a group."""
        return f"{self.channel(group)}:{name}"


def read_location(location: Any, options: dict[str, Any]) -> Location:
    """
    Return what the settings LOCATION and OPTIONS mean.

    Raise ImproperlyConfigured if that is nothing.
    """
    for problem in problems(location, options):
        raise ImproperlyConfigured(problem)
    urls = _urls(location)
    return Location(
        urls,
        bool(options.get("cluster", False)),
        options.get("sentinel"),
        options.get("prefix") or _default_prefix(urls[0]),
        {name: value for name, value in options.items() if name not in _OURS},
    )


def problems(location: Any, options: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong in the settings LOCATION and OPTIONS."""
    setting = "ASGI_EXT['GROUPS']['LOCATION']"
    urls = _urls(location)
    if not urls or not all(isinstance(url, str) for url in urls):
        yield (
            f"{setting} must be a URL as 'redis://127.0.0.1:6379', or a list of "
            f"such, not {location!r}."
        )
        return
    cluster, sentinel = options.get("cluster", False), options.get("sentinel")
    for url in urls:
        for problem in _url_problems(url, bool(cluster)):
            # It may hold a password.
            yield f"{setting} {problem}."
    if not isinstance(cluster, bool):
        yield "ASGI_EXT['GROUPS']['OPTIONS']['cluster'] must be True or False."
    for name in ("sentinel", "prefix"):
        value = options.get(name)
        if value is not None and not (isinstance(value, str) and value):
            yield f"ASGI_EXT['GROUPS']['OPTIONS']['{name}'] must be a str."
    if cluster and sentinel:
        yield "ASGI_EXT['GROUPS']['OPTIONS'] has both 'cluster' and 'sentinel'."
    if len(urls) > 1 and not cluster and not sentinel:
        yield f"{setting} has several URLs, but OPTIONS no 'cluster' or 'sentinel'."


def _url_problems(url: str, is_cluster: bool) -> Iterator[str]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        yield f"has a URL that is none: {error}"
        return
    if parts.scheme not in SCHEMES:
        yield f"must begin with 'redis://', 'rediss://' or 'unix://', not {_shown(url)}"
        return
    if parts.scheme == "unix":
        if is_cluster:
            yield "names a socket's path, but a cluster has none"
        elif not parts.path:
            yield "must name a socket's path behind 'unix://'"
        return
    if port == 0 or not parts.hostname:
        yield "has a URL without a host"
    database = _database(parts)
    if not database.isdecimal():
        yield f"has {database!r} for the number of a database"
    elif is_cluster and int(database):
        yield "has the number of a database, but a cluster knows 0 only"


def _shown(url: str) -> str:
    scheme, separator, _ = url.partition("://")
    return repr(f"{scheme}://...") if separator else "something without '://'"


def _database(parts: SplitResult) -> str:
    return parts.path.strip("/") or "0"


def _urls(location: Any) -> tuple[Any, ...]:
    if isinstance(location, (list, tuple)):
        return tuple(location)
    return (location,) if location else ()


def _default_prefix(url: str) -> str:
    # Channels are those of all databases.
    parts = urlsplit(url)
    number = "0" if parts.scheme == "unix" else _database(parts)
    return f"asgi_ext:{int(number)}"
