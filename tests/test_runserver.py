"""manage.py runserver: what it serves, and what it complains of."""

import io
import sys
from importlib.metadata import version

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.core.management.base import OutputWrapper
from django.test import override_settings

from django_asgi_ext import get_asgi_application
from django_asgi_ext.development.application import project_application
from django_asgi_ext.management.commands.runserver import Command, _Banner


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder for modules, of which nothing is left after the test."""
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None) or ""
        if path.startswith(str(tmp_path)) or name == "mysite":
            del sys.modules[name]


@pytest.fixture
def asgi(folder):
    """Write mysite/asgi.py, and return what is found in it."""
    (folder / "mysite").mkdir()

    def found(text=None, path="mysite.asgi.application"):
        if text is not None:
            (folder / "mysite" / "asgi.py").write_text(text)
        with override_settings(ASGI_APPLICATION=path):
            return project_application()

    return found


def test_application(asgi):
    """It is what the path leads to."""
    assert asgi("application = len") is len


@pytest.mark.parametrize(
    "path, missing",
    [
        ("mysite.asgi.application", "mysite.asgi"),
        ("nowhere.asgi.application", "nowhere"),
        ("mysite.a.b.application", "mysite.a"),
    ],
)
def test_no_module(asgi, path, missing):
    """A module that is not there is named, with the way out."""
    with pytest.raises(CommandError) as error:
        asgi(path=path)
    assert str(error.value) == (
        f"There is no module {missing!r}, so no ASGI application {path!r}. Write it, "
        "or set ASGI_APPLICATION to the dotted path of another."
    )


@pytest.mark.parametrize("text", ["", "application = 5"])
def test_no_application(asgi, text):
    """A module without an application is named, with the way out."""
    with pytest.raises(CommandError) as error:
        asgi(text)
    assert str(error.value) == (
        "The module 'mysite.asgi' has no ASGI application 'application'. Define it "
        "there, or set ASGI_APPLICATION to the dotted path of another."
    )


@pytest.mark.parametrize("path", ["asgi", "", "application"])
def test_no_path(asgi, path):
    """What is no dotted path is told so."""
    with pytest.raises(CommandError) as error:
        asgi(path=path)
    assert str(error.value) == (
        "ASGI_APPLICATION must be a dotted path, as 'mysite.asgi.application', "
        f"not {path!r}."
    )


@pytest.mark.parametrize(
    "text, kind",
    [
        ("application = nothing", NameError),
        ("import nothing_of_that_name", ModuleNotFoundError),
        ("from os import nothing_of_that_name", ImportError),
        ("application =", SyntaxError),
    ],
)
def test_broken_module(asgi, text, kind):
    """A module that fails does so as ever, with a note that says what it is for."""
    with pytest.raises(kind) as error:
        asgi(text)
    assert error.value.__notes__ == [
        "The ASGI application 'mysite.asgi.application' cannot be imported."
    ]


def test_without_hypercorn(monkeypatch):
    """Without hypercorn the command says how to get it."""
    monkeypatch.setitem(sys.modules, "hypercorn", None)
    with pytest.raises(CommandError) as error:
        call_command("runserver", "127.0.0.1:0", "--noreload")
    assert str(error.value) == (
        'runserver needs hypercorn: python -m pip install "django-asgi-ext[hypercorn]"'
    )


def test_bad_address():
    """An address that is none gets Django's own error."""
    with pytest.raises(CommandError) as error:
        call_command("runserver", "nowhere:at:all", "--noreload")
    assert str(error.value) == (
        '"nowhere:at:all" is not a valid port number or address:port pair.'
    )


@pytest.mark.parametrize("name", ["Starting", "Starting WSGI"])
def test_banner(name):
    """The banner names the server that it is, whatever Django calls its own."""
    out = io.StringIO()
    _Banner(OutputWrapper(out)).write(f"{name} development server at x")
    _Banner(OutputWrapper(out)).write("another line")
    assert out.getvalue() == (
        f"Starting ASGI/hypercorn version {version('hypercorn')} development server "
        "at x\n"
        "another line\n"
    )


ours = get_asgi_application()

STATIC = {"use_static_handler": True, "insecure_serving": False}


@pytest.mark.parametrize(
    "debug, options, is_static",
    [
        (True, STATIC, True),
        (False, STATIC, False),
        (False, {**STATIC, "insecure_serving": True}, True),
        (True, {**STATIC, "use_static_handler": False}, False),
        # Without the app there are no such options.
        (True, {}, False),
    ],
)
def test_static_files(debug, options, is_static):
    """Static files are served when Django's runserver would."""
    path = f"{__name__}.ours"
    with override_settings(DEBUG=debug, ASGI_APPLICATION=path, STATIC_URL="/static/"):
        handler = Command().get_handler(**options)
    assert (handler is not ours) == is_static
    assert getattr(handler, "application", ours) is ours


def test_options():
    """It has the options of Django's."""
    parser = Command().create_parser("manage.py", "runserver")
    found = parser.parse_args(["--ipv6", "--noreload", "--nothreading", "8001"])
    assert (found.use_ipv6, found.use_reloader, found.addrport) == (True, False, "8001")
    assert not apps.is_installed("django.contrib.staticfiles")
    assert "--nostatic" not in parser.format_help()
