"""What ASGI_EXT["GROUPS"] says about the Redis."""

import subprocess
import sys
from importlib.util import find_spec

import pytest
from browser import require
from documents import ROOT

from django_asgi_ext import conf

BACKEND = "django_asgi_ext.groups.redis.RedisBackend"
LOCATION = "ASGI_EXT['GROUPS']['LOCATION']"
OPTIONS = "ASGI_EXT['GROUPS']['OPTIONS']"


@pytest.fixture
def problems(settings_of_ours):
    """Return what system checks say about a location with options."""
    require(find_spec("redis"), "redis: pip install redis")

    def find(location, **options):
        settings_of_ours(
            GROUPS={"BACKEND": BACKEND, "LOCATION": location, "OPTIONS": options}
        )
        return [(problem.number, problem.message) for problem in conf.problems()]

    return find


@pytest.mark.parametrize(
    ("location", "options"),
    [
        ("redis://localhost", {}),
        ("redis://:secret@[::1]:6380/3", {"socket_timeout": 1}),
        ("rediss://user:secret@redis.example", {"ssl_cert_reqs": "none"}),
        ("unix:///run/redis.sock", {"prefix": "site"}),
        (["redis://a:7000", "redis://b:7000"], {"cluster": True}),
        (["redis://a:26379", "redis://b:26379"], {"sentinel": "main"}),
    ],
)
def test_valid(problems, location, options):
    """A URL of a server, and lists of nodes and of sentinels, are fine."""
    assert problems(location, **options) == []


@pytest.mark.parametrize("location", [None, "", [], 6379, [None]])
def test_no_url(problems, location):
    """A system check wants a URL."""
    assert problems(location) == [
        (
            28,
            f"{LOCATION} must be a URL as 'redis://127.0.0.1:6379', or a list of "
            f"such, not {location!r}.",
        )
    ]


@pytest.mark.parametrize(
    ("location", "problem"),
    [
        (
            "localhost:6379",
            "must begin with 'redis://', 'rediss://' or 'unix://', not something "
            "without '://'.",
        ),
        (
            "http://user:secret@localhost",
            "must begin with 'redis://', 'rediss://' or 'unix://', not 'http://...'.",
        ),
        ("redis://", "has a URL without a host."),
        (
            "redis://localhost:port",
            "has a URL that is none: Port could not be cast to integer value as "
            "'port'.",
        ),
        ("redis://localhost/one", "has 'one' for the number of a database."),
        ("unix://", "must name a socket's path behind 'unix://'."),
        (
            ["redis://a", "redis://b"],
            "has several URLs, but OPTIONS no 'cluster' or 'sentinel'.",
        ),
    ],
)
def test_wrong_url(problems, location, problem):
    """A system check says what is wrong with a URL, and shows no password."""
    assert problems(location) == [(28, f"{LOCATION} {problem}")]


@pytest.mark.parametrize(
    ("location", "options", "problem"),
    [
        (
            "redis://a/1",
            {"cluster": True},
            f"{LOCATION} has the number of a database, but a cluster knows 0 only.",
        ),
        (
            "unix:///run/redis.sock",
            {"cluster": True},
            f"{LOCATION} names a socket's path, but a cluster has none.",
        ),
        ("redis://a", {"cluster": 1}, f"{OPTIONS}['cluster'] must be True or False."),
        ("redis://a", {"sentinel": ""}, f"{OPTIONS}['sentinel'] must be a str."),
        ("redis://a", {"prefix": 1}, f"{OPTIONS}['prefix'] must be a str."),
        (
            "redis://a",
            {"cluster": True, "sentinel": "main"},
            f"{OPTIONS} has both 'cluster' and 'sentinel'.",
        ),
    ],
)
def test_wrong_options(problems, location, options, problem):
    """A system check says what is wrong with our options."""
    assert problems(location, **options) == [(28, problem)]


def test_option_that_redis_does_not_know(problems):
    """A system check finds an argument that redis-py does not take."""
    [(number, message)] = problems("redis://localhost", socket_timout=1)
    assert number == 28
    assert message.startswith(f"{OPTIONS} is nothing for redis-py: ")
    assert "socket_timout" in message


def test_options_are_a_dict(settings_of_ours):
    """A system check wants a dict of options."""
    settings_of_ours(GROUPS={"OPTIONS": []})
    assert [] == list(conf.problems())
    settings_of_ours(GROUPS={"OPTIONS": [1]})
    [problem] = conf.problems()
    assert problem.number == 27
    assert problem.message == f"{OPTIONS} must be a dict, not [1]."


def test_options_of_the_memory_backend(settings_of_ours):
    """A system check finds options for a backend that has none."""
    settings_of_ours(GROUPS={"OPTIONS": {"prefix": "site"}})
    [problem] = conf.problems()
    assert problem.number == 28
    assert problem.message == f"{OPTIONS} means nothing to MemoryBackend."
    assert problem.hint == "See docs/redis.md."
    assert (ROOT / "docs/redis.md").exists()


def test_location_without_a_backend(settings_of_ours):
    """A system check tells who has named a Redis that nothing would use."""
    settings_of_ours(GROUPS={"LOCATION": "redis://localhost"})
    [problem] = conf.problems()
    assert problem.number == 28
    assert problem.message == "ASGI_EXT['GROUPS'] has a LOCATION and no BACKEND."
    assert problem.hint.endswith(" 'django_asgi_ext.groups.redis.RedisBackend'.")
    # Where the backend was chosen, it may be kept for another.
    name = "django_asgi_ext.groups.memory.MemoryBackend"
    settings_of_ours(GROUPS={"LOCATION": "redis://localhost", "BACKEND": name})
    assert [] == list(conf.problems())


def test_without_redis():
    """The backend says what to install if the package redis is missing."""
    script = (
        "import sys; sys.modules['redis'] = None\n"
        "from django.core.exceptions import ImproperlyConfigured\n"
        "try:\n"
        "    import django_asgi_ext.groups.redis\n"
        "except ImproperlyConfigured as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == (
        "The Redis backend needs redis: pip install 'django-asgi-ext[redis]'.\n"
    )
