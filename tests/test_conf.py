"""The settings, their defaults and their checks."""

import datetime
import os
import sys
from types import ModuleType

import pytest
from django.apps import apps
from django.core.checks import registry, run_checks
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from django_asgi_ext import conf, get_asgi_application
from django_asgi_ext.checks import check_settings
from django_asgi_ext.groups.memory import MemoryBackend
from django_asgi_ext.groups.policy import History, Policy, policy_of

KNOWN = (
    "The settings are: CLOSE_TIMEOUT, GROUPS, HTTP, IDLE_TIMEOUT, MAX_CONNECTIONS, "
    "MAX_MESSAGE_SIZE, OPEN_TIMEOUT, OUTBOX, OUTBOX_SIZE, PROTOCOLS, "
    "REQUIRE_ORIGIN, SEND_TIMEOUT, SHUTDOWN_SPREAD, SHUTDOWN_TIMEOUT, SLOW_CALL, "
    "THREADS."
)


async def application(scope, receive, send):
    """Serve nothing."""


not_callable = 5


def found(**settings):
    """Return id, message and hint of what the check finds."""
    with override_settings(**settings):
        return [(error.id, error.msg, error.hint) for error in check_settings()]


def test_nothing_set():
    """Without ASGI_EXT nothing is wrong and everything has its default."""
    assert check_settings() == []
    assert conf.require_origin() is False
    assert conf.max_message_size() == 1024 * 1024
    assert conf.close_timeout() == 5
    assert conf.shutdown_timeout() == 3
    assert conf.shutdown_spread() == 0.5
    assert conf.threads() == min(32, (os.cpu_count() or 1) + 4)
    assert conf.protocols() == {}


def test_everything_set():
    """Every key is read when it is needed."""
    with override_settings(
        ASGI_EXT={
            "PROTOCOLS": {"mqtt": "test_conf.application", "http": None},
            "REQUIRE_ORIGIN": True,
            "MAX_MESSAGE_SIZE": 10,
            "CLOSE_TIMEOUT": 0.5,
            "SHUTDOWN_TIMEOUT": 2.5,
            "SHUTDOWN_SPREAD": 0,
            "THREADS": 3,
        }
    ):
        assert check_settings() == []
        assert conf.protocols() == {"mqtt": application, "http": None}
        assert conf.require_origin() is True
        assert conf.max_message_size() == 10
        assert conf.close_timeout() == 0.5
        assert conf.shutdown_timeout() == 2.5
        assert conf.shutdown_spread() == 0
        assert conf.threads() == 3


def test_none_is_the_default():
    """None stands for the default."""
    names = ["PROTOCOLS", "REQUIRE_ORIGIN", "MAX_MESSAGE_SIZE", "THREADS"]
    with override_settings(ASGI_EXT=dict.fromkeys(names)):
        assert check_settings() == []
        assert conf.max_message_size() == 1024 * 1024
        assert conf.protocols() == {}


@pytest.mark.parametrize("value", [None, [], "PROTOCOLS", 1])
def test_no_dict(value):
    """ASGI_EXT is a dict."""
    assert found(ASGI_EXT=value) == [
        ("asgi_ext.E001", f"ASGI_EXT must be a dict, not {value!r}.", "See the README.")
    ]


@pytest.mark.parametrize("name", ["ORIGIN", "threads", 5])
def test_unknown_key(name):
    """A key that is not known is named, with those that are."""
    assert found(ASGI_EXT={name: 1}) == [
        ("asgi_ext.E002", f"ASGI_EXT has no setting {name!r}.", KNOWN)
    ]


@pytest.mark.parametrize(
    "name, expected, values",
    [
        ("PROTOCOLS", "a dict of scope types and dotted paths", [[], "mqtt", 1]),
        ("REQUIRE_ORIGIN", "True or False", [1, 0, "yes", []]),
        (
            "MAX_MESSAGE_SIZE",
            "a whole number of bytes above 0",
            [0, -1, 1.5, True, "1M", float("nan")],
        ),
        (
            "CLOSE_TIMEOUT",
            "a number of seconds above 0",
            [0, -1, True, "5", float("nan"), float("inf"), [5]],
        ),
        ("SEND_TIMEOUT", "a number of seconds above 0", [0, -1, True, "5"]),
        ("SLOW_CALL", "a number of seconds above 0", [0, -1, True, "5"]),
        ("IDLE_TIMEOUT", "a number of seconds above 0", [0, -1, True, "5"]),
        ("SHUTDOWN_TIMEOUT", "a number of seconds above 0", [0, -1, True, "5"]),
        ("OPEN_TIMEOUT", "a number of seconds above 0", [0, -1, True, "5"]),
        ("OUTBOX", "a whole number of messages above 0", [0, -1, True, 1.5, "5"]),
        ("OUTBOX_SIZE", "a whole number of bytes above 0", [0, -1, True, 1.5, "5"]),
        (
            "GROUPS",
            "a dict with BACKEND, LOCATION, OPTIONS and POLICIES",
            [[], "a.b", 1],
        ),
        ("MAX_CONNECTIONS", "a whole number above 0", [0, -1, True, 1.5, "5"]),
        ("SHUTDOWN_SPREAD", "a number of seconds", [-1, True, False, "5", [0]]),
        ("THREADS", "a whole number of threads above 0", [0, -1, 1.5, True, "4"]),
    ],
)
def test_wrong_type(name, expected, values):
    """A value of the wrong type is named, with what it must be."""
    for value in values:
        assert found(ASGI_EXT={name: value}) == [
            (
                "asgi_ext.E003",
                f"ASGI_EXT['{name}'] must be {expected}, not {value!r}.",
                "Leave it out for the default.",
            )
        ]


def test_scope_type_that_is_no_str():
    """A scope type is a str."""
    assert found(ASGI_EXT={"PROTOCOLS": {5: "test_conf.application"}}) == [
        (
            "asgi_ext.E004",
            "ASGI_EXT['PROTOCOLS'] has a key that is no str: 5.",
            "The keys are scope types, as 'mqtt'.",
        )
    ]


@pytest.mark.parametrize(
    "path, message",
    [
        ("nowhere.mqtt", "cannot be imported: 'nowhere.mqtt'."),
        ("test_conf.nothing", "cannot be imported: 'test_conf.nothing'."),
        ("mqtt", "cannot be imported: 'mqtt'."),
        ("", "cannot be imported: ''."),
        ("test_conf.not_callable", "is no ASGI application: 'test_conf.not_callable'."),
        (5, "must be a dotted path or None, not 5."),
        pytest.param(
            application,
            f"must be a dotted path or None, not {application!r}.",
            id="application",
        ),
    ],
)
def test_protocol_that_cannot_be(path, message):
    """A protocol that is no ASGI application is named, with its path."""
    assert found(ASGI_EXT={"PROTOCOLS": {"mqtt": path}}) == [
        (
            "asgi_ext.E005",
            f"ASGI_EXT['PROTOCOLS']['mqtt'] {message}",
            "Name an ASGI application by its dotted path.",
        )
    ]


def test_module_that_fails(monkeypatch):
    """A module that raises on import is a wrong setting, and no crash."""

    class Loader:
        def find_spec(self, name, path=None, target=None):
            if name == "module_that_fails":
                raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(sys, "meta_path", [Loader(), *sys.meta_path])
    assert found(ASGI_EXT={"PROTOCOLS": {"mqtt": "module_that_fails.app"}}) == [
        (
            "asgi_ext.E005",
            "ASGI_EXT['PROTOCOLS']['mqtt'] cannot be imported: "
            "'module_that_fails.app'.",
            "Name an ASGI application by its dotted path.",
        )
    ]


def test_all_at_once():
    """Everything that is wrong is found in one go."""
    ids = [
        error_id
        for error_id, _, _ in found(
            ASGI_EXT={
                "PORT": 80,
                "THREADS": 0,
                "PROTOCOLS": {5: "a.b", "mqtt": "a.b", "coap": "c.d"},
            }
        )
    ]
    assert sorted(ids) == [
        "asgi_ext.E002",
        "asgi_ext.E003",
        "asgi_ext.E004",
        "asgi_ext.E005",
        "asgi_ext.E005",
    ]


def test_check_is_registered():
    """The check runs with those of the project."""
    assert apps.get_app_config("asgi_ext").name == "django_asgi_ext"
    assert check_settings in registry.registry.get_checks()
    with override_settings(ASGI_EXT=5):
        assert "asgi_ext.E001" in [error.id for error in run_checks()]


def test_application_refuses_wrong_settings():
    """get_asgi_application() does not start with a wrong setting."""
    with (
        override_settings(ASGI_EXT={"THREADS": 0, "PORT": 80}),
        pytest.raises(ImproperlyConfigured) as error,
    ):
        get_asgi_application()
    assert str(error.value) == (
        "ASGI_EXT['THREADS'] must be a whole number of threads above 0, not 0. "
        "Leave it out for the default.\n"
        f"ASGI_EXT has no setting 'PORT'. {KNOWN}"
    )


def test_application_refuses_a_protocol_it_cannot_import():
    """get_asgi_application() names the protocol that cannot be imported."""
    with (
        override_settings(ASGI_EXT={"PROTOCOLS": {"mqtt": "chat.mqtt.MQTT"}}),
        pytest.raises(ImproperlyConfigured) as error,
    ):
        get_asgi_application()
    assert str(error.value) == (
        "ASGI_EXT['PROTOCOLS']['mqtt'] cannot be imported: 'chat.mqtt.MQTT'. "
        "Name an ASGI application by its dotted path."
    )


def test_import_of_a_protocol_keeps_the_cause():
    """The error of a failing import says in its cause what is missing."""
    module = ModuleType("chat_of_a_test")
    sys.modules[module.__name__] = module
    try:
        with (
            override_settings(ASGI_EXT={"PROTOCOLS": {"mqtt": "chat_of_a_test.MQTT"}}),
            pytest.raises(ImproperlyConfigured) as error,
        ):
            conf.protocols()
    finally:
        del sys.modules[module.__name__]
    assert isinstance(error.value.__cause__, ImportError)


@pytest.mark.parametrize(
    "groups, number, message",
    [
        ({"BACKENDS": 1}, 21, "ASGI_EXT['GROUPS'] has no setting 'BACKENDS'."),
        (
            {"BACKEND": "nowhere.Backend"},
            22,
            "ASGI_EXT['GROUPS']['BACKEND'] cannot be imported: 'nowhere.Backend'.",
        ),
        (
            {"BACKEND": "test_conf.application"},
            22,
            "ASGI_EXT['GROUPS']['BACKEND'] is no backend for groups: "
            "'test_conf.application'.",
        ),
        (
            {"BACKEND": 5},
            22,
            "ASGI_EXT['GROUPS']['BACKEND'] must be a dotted path, not 5.",
        ),
        (
            {"POLICIES": ["chat.*"]},
            23,
            "ASGI_EXT['GROUPS']['POLICIES'] must be a dict, not ['chat.*'].",
        ),
        (
            {"POLICIES": {"chat.*": "close"}},
            23,
            "ASGI_EXT['GROUPS']['POLICIES']['chat.*'] must be a dict, and its key a "
            "str.",
        ),
        (
            {"POLICIES": {"chat.*": {"size": 5}}},
            24,
            "ASGI_EXT['GROUPS']['POLICIES']['chat.*'] has no option 'size'.",
        ),
        (
            {"POLICIES": {"chat.*": {"slow": "wait"}}},
            25,
            "ASGI_EXT['GROUPS']['POLICIES']['chat.*']['slow'] must be 'close', "
            "'drop_oldest' or 'latest', not 'wait'.",
        ),
        *(
            (
                {"POLICIES": {"chat.*": {"history": value}}},
                25,
                "ASGI_EXT['GROUPS']['POLICIES']['chat.*']['history'] must be a whole "
                f"number of messages or a timedelta above 0, not {value!r}.",
            )
            for value in (0, True, 1.5, "100", datetime.timedelta())
        ),
        (
            {"POLICIES": {"chat.*": {"presence": 1}}},
            25,
            "ASGI_EXT['GROUPS']['POLICIES']['chat.*']['presence'] must be True or "
            "False, not 1.",
        ),
        *(
            (
                {"POLICIES": {"chat.*": {"grace": value}}},
                25,
                "ASGI_EXT['GROUPS']['POLICIES']['chat.*']['grace'] must be a number "
                f"of seconds, not {value!r}.",
            )
            for value in (-1, True, "5", float("inf"))
        ),
    ],
)
def test_groups_that_cannot_be(groups, number, message):
    """What is wrong about groups is named, where it stands."""
    (problem,) = found(ASGI_EXT={"GROUPS": groups})
    assert problem[:2] == (f"asgi_ext.E{number:03}", message)


def test_groups():
    """Backend, location and policies of groups are read when they are needed."""
    assert conf.groups_backend() is MemoryBackend
    assert conf.groups_location() is None
    assert conf.group_policies() == {}
    assert (conf.outbox(), conf.outbox_size()) == (1000, 1024 * 1024)
    policies = {
        "chat.*": {"slow": "close", "history": 5, "presence": True},
        "chat.lobby": {"slow": "latest"},
        "news": {"slow": "drop_oldest", "history": datetime.timedelta(hours=1)},
    }
    with override_settings(
        ASGI_EXT={
            "OUTBOX": 3,
            "OUTBOX_SIZE": 4,
            "GROUPS": {
                "BACKEND": "django_asgi_ext.groups.memory.MemoryBackend",
                "LOCATION": "redis://",
                "POLICIES": policies,
            },
        }
    ):
        assert check_settings() == []
        assert conf.groups_location() == "redis://"
        assert (conf.outbox(), conf.outbox_size()) == (3, 4)
        # The first pattern that matches, with regard to case.
        assert policy_of("chat.lobby") == Policy("close", History(messages=5), True)
        assert policy_of("Chat.lobby") == Policy()
        assert policy_of("news") == Policy("drop_oldest", History(seconds=3600))
    assert policy_of("news") == Policy()
