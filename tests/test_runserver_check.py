"""The check that says whether manage.py runserver is ours."""

import sys
from contextlib import ExitStack

import pytest
from django.core.checks import registry
from django.core.management import get_commands
from django.test import override_settings

from django_asgi_ext.checks import check_runserver

OURS = "django_asgi_ext"
STATICFILES = "django.contrib.staticfiles"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder for apps, of which nothing is left after the test."""
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] == "other"]:
        del sys.modules[name]


@pytest.fixture
def install(folder, monkeypatch):
    """Install apps, and make those that are given with the text of a runserver."""
    registered = registry.registry.registered_checks
    monkeypatch.setattr(registry.registry, "registered_checks", set(registered))

    def write(app, text):
        commands = folder / app / "management" / "commands"
        commands.mkdir(parents=True)
        for package in (commands, commands.parent, commands.parent.parent):
            (package / "__init__.py").touch()
        (commands / "runserver.py").write_text(text)

    with ExitStack() as stack:

        def install(*names, **texts):
            for app, text in texts.items():
                write(app, text)
            stack.callback(get_commands.cache_clear)
            stack.enter_context(override_settings(INSTALLED_APPS=names))
            get_commands.cache_clear()

        yield install


RUNSERVER = """
from django.core.management.commands.runserver import Command as Other
class Command(Other):
    pass
"""
STATIC_RUNSERVER = """
from django.contrib.staticfiles.management.commands.runserver import Command as Other
class Command(Other):
    pass
"""
OUR_RUNSERVER = """
from django_asgi_ext.management.commands.runserver import Command as Other
class Command(Other):
    pass
"""


def warning(app, rival):
    """Return what the check says."""
    return [
        (
            "asgi_ext.W021",
            "manage.py runserver is not that of django_asgi_ext but that of "
            f"{app}, which stands before it in INSTALLED_APPS.",
            f'Put "django_asgi_ext" before "{rival}" in INSTALLED_APPS.',
        )
    ]


def checked():
    """Return what the check finds."""
    return [(found.id, found.msg, found.hint) for found in check_runserver()]


def test_it_is_ours():
    """With the app installed manage.py runserver is ours."""
    assert get_commands()["runserver"] == OURS
    assert checked() == []


def test_check_is_registered():
    """The check runs with the others."""
    assert check_runserver in registry.registry.get_checks()


def test_behind_staticfiles(install):
    """Behind Django's static files ours is not used, and the check says so."""
    install(STATICFILES, OURS)
    assert checked() == warning(STATICFILES, STATICFILES)


def test_before_staticfiles(install):
    """Before Django's static files it is."""
    install(OURS, STATICFILES)
    assert checked() == []


def test_behind_another_app(install):
    """Behind another app that has a runserver ours is not used."""
    install("other", OURS, other=RUNSERVER)
    assert checked() == warning("other", "other")


def test_before_another_app(install):
    """Before it, it is."""
    install(OURS, "other", other=RUNSERVER)
    assert checked() == []


def test_command_that_builds_upon_ours(install):
    """An app before it may have a runserver that is a subclass of ours."""
    install("other", OURS, other=OUR_RUNSERVER)
    assert checked() == []


def test_command_that_builds_upon_that_of_staticfiles(install):
    """If it is a subclass of the next one, ours belongs between the two."""
    install("other", STATICFILES, OURS, other=STATIC_RUNSERVER)
    assert checked() == warning("other", STATICFILES)


def test_command_that_always_builds_upon_that_of_staticfiles(install):
    """If that was of no use, ours belongs before both."""
    install("other", OURS, STATICFILES, other=STATIC_RUNSERVER)
    assert checked() == warning("other", "other")


def test_command_that_is_broken(install):
    """A runserver that cannot be imported is none of ours."""
    install("other", OURS, other="import nothing_of_that_name")
    assert checked() == warning("other", "other")
