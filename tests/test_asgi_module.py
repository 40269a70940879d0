"""The check of a project's asgi.py, which is read and not run."""

import sys

import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.test import override_settings

from django_asgi_ext import conf


def warned(**settings):
    """Return what manage.py check says of the project's asgi.py."""
    settings = {"WSGI_APPLICATION": "mysite.wsgi.application", **settings}
    with override_settings(**settings):
        return [each for each in run_checks() if each.id == "asgi_ext.W020"]


MAKES = "from django.core.asgi import get_asgi_application"


@pytest.mark.parametrize(
    "code",
    [
        f"{MAKES}\napplication = get_asgi_application()",
        f"{MAKES} as make\napplication = make()",
        "from django.core import asgi\napplication = asgi.get_asgi_application()",
        "import django.core.asgi\n"
        "application = django.core.asgi.get_asgi_application()",
    ],
)
def test_made_by_django(code, project):
    """However Django's function is imported, it is found."""
    project(code)
    assert len(warned()) == 1
    # It was not run.
    assert "mysite.asgi" not in sys.modules


@pytest.mark.parametrize(
    "code",
    [
        "from django_asgi_ext import get_asgi_application\n"
        "application = get_asgi_application()",
        f"{MAKES}\napplication = wrapped(get_asgi_application())",
        f"{MAKES}\napplication = get_asgi_application()\n"
        "application = wrapped(application)",
        f"{MAKES}\nhttp = get_asgi_application()\n"
        "async def application(scope, receive, send): ...",
        f"{MAKES}\napplication = get_asgi_application()\nfrom other import *",
        f"{MAKES}\nfor application in [get_asgi_application()]: pass",
        f"{MAKES}\n",
        "from other import application",
        "application = (",
        "\0",
        "",
    ],
)
def test_made_otherwise(code, project):
    """What may know what to do with a WebSocket is not warned of."""
    project(code)
    assert warned() == []


@pytest.mark.parametrize(
    "changed, application",
    [
        ({"ASGI_APPLICATION": "a.b.c"}, "a.b:c"),
        ({"ASGI_APPLICATION": None}, "mysite.asgi:application"),
        ({"WSGI_APPLICATION": "other.wsgi.app"}, "other.asgi:application"),
        (
            {"WSGI_APPLICATION": None, "ROOT_URLCONF": "config.urls"},
            "config.asgi:application",
        ),
        ({"WSGI_APPLICATION": None, "ROOT_URLCONF": "urls"}, "asgi:application"),
    ],
)
def test_asgi_application(changed, application):
    """The application is where settings say, or beside what they name."""
    changed = {"WSGI_APPLICATION": "mysite.wsgi.application", **changed}
    with override_settings(**changed):
        assert conf.asgi_application() == application


@pytest.mark.parametrize(
    "path",
    ["nowhere.asgi.application", "application", "json.a", "mysite.asgi:application"],
)
def test_no_module(path):
    """Where there is no asgi.py there is nothing to warn of."""
    assert warned(ASGI_APPLICATION=path) == []


def test_no_utf_8(project):
    """A module in an encoding that it does not name is left to who imports it."""
    project("# caf\xe9\n", encoding="latin-1")
    assert warned() == []


def test_no_urlconf():
    """A project that has nothing to serve can be checked."""
    with override_settings(WSGI_APPLICATION=None, ROOT_URLCONF=None):
        assert conf.asgi_application() == "asgi:application"
        del settings.ROOT_URLCONF
        assert conf.asgi_application() == "asgi:application"
        assert [each for each in run_checks() if each.id.startswith("asgi_ext")] == []
