"""What is dangerous about a server, by its configuration and by the settings."""

import logging
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import websockets.http11
from django.conf import settings
from django.core.checks import run_checks
from django.test import override_settings
from django.urls import path
from gunicorn.config import Config as GunicornConfig
from hypercorn.config import Config as HypercornConfig
from hypercorn.protocol.ws_stream import WSStream
from peer import Peer, websocket_scope
from uvicorn.config import Config as UvicornConfig

from django_asgi_ext import deployment, get_asgi_application, groups, websocket
from django_asgi_ext.checks import check_deployment
from django_asgi_ext.deployment import DANGERS, dangers, dangers_of
from django_asgi_ext.groups.memory import MemoryBackend
from django_asgi_ext.servers import granian
from django_asgi_ext.test import Client, HandshakeDenied

DOCS = Path(__file__).parents[1] / "docs" / "deployment.md"
QUIET = {"IDLE_TIMEOUT": 60, "MAX_CONNECTIONS": 100}
# Of the peer, and of hypercorn.


@pytest.fixture(autouse=True)
def known_place(monkeypatch, tmp_path):
    """Stand in an empty folder, as a process that has warned of nothing yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(deployment, "_has_warned", False)
    monkeypatch.setattr(deployment, "_warned_of", set())
    monkeypatch.setattr(deployment, "_workers", 1)


@pytest.fixture
def install(monkeypatch, tmp_path):
    """Make the given packages the only ones that are installed."""

    def install(*names):
        for name in names:
            metadata = tmp_path / f"{name}-1.dist-info" / "METADATA"
            metadata.parent.mkdir()
            metadata.write_text(f"Name: {name}\nVersion: 1\n")
        monkeypatch.setattr(sys, "path", [str(tmp_path)])

    return install


def numbers(found):
    """Return the numbers of dangers."""
    return [danger.number for danger in found]


def checked():
    """Return the numbers of what the check finds."""
    return [
        int(warning.id.removeprefix("asgi_ext.W")) for warning in check_deployment()
    ]


class OtherBackend(MemoryBackend):
    """One that is not the default."""


OTHER = "test_deployment.OtherBackend"


async def receive(socket):
    """Wait until the peer leaves."""
    await socket.recv()


async def application(scope, receive, send):
    """Serve nothing."""


def hypercorn(**options):
    """Return a configuration of hypercorn."""
    return HypercornConfig.from_mapping(options)


def uvicorn(**options):
    """Return a configuration of uvicorn, loaded."""
    config = UvicornConfig(application, log_config=None, **options)
    config.load()
    return config


def gunicorn(**options):
    """Return a configuration of gunicorn."""
    config = GunicornConfig()
    for name, value in options.items():
        config.set(name, value)
    return config


def daphne(**options):
    """Return what daphne's server has of its options: to import it needs a reactor."""
    return SimpleNamespace(
        **{
            "websocket_connect_timeout": 5,
            "websocket_max_message_size": 1024 * 1024,
            "websocket_max_frame_size": 1024 * 1024,
            **options,
        }
    )


CONFIGURATIONS = {
    "hypercorn": hypercorn,
    "uvicorn": uvicorn,
    "granian": lambda: None,
    "daphne": daphne,
    "gunicorn": gunicorn,
}
TLS = {"certfile": "cert.pem", "keyfile": "key.pem"}
SIZE = "websocket_max_message_size"


@pytest.mark.parametrize(
    "server, options, ours, expected",
    [
        ("hypercorn", {}, {}, [102]),
        ("hypercorn", {"websocket_ping_interval": 20}, {}, []),
        ("hypercorn", {}, QUIET, []),
        ("hypercorn", {SIZE: 1024 * 1024}, QUIET, []),
        ("hypercorn", {SIZE: 1024 * 1024 - 1}, QUIET, [103]),
        ("hypercorn", TLS, QUIET, [111]),
        ("hypercorn", {**TLS, "alpn_protocols": ["http/1.1"]}, QUIET, []),
        ("hypercorn", {**TLS, "quic_bind": ["[::]:443"]}, QUIET, [111, 112]),
        # Without TLS it does not listen there.
        ("hypercorn", {"quic_bind": ["[::]:443"]}, QUIET, []),
        ("hypercorn", {"worker_class": "trio", SIZE: 1}, {}, [113]),
        ("hypercorn", {"worker_class": "uvloop"}, QUIET, []),
        ("uvicorn", {}, {}, [121]),
        ("uvicorn", {"ws": "wsproto"}, {}, [123]),
        ("uvicorn", {"ws": "wsproto", "ws_per_message_deflate": False}, {}, []),
        ("uvicorn", {"ws_per_message_deflate": True}, {}, [121]),
        ("uvicorn", {"ws_ping_interval": None}, {}, [102, 121]),
        ("uvicorn", {"ws_ping_interval": 0}, {}, [102, 121]),
        ("uvicorn", {"ws_ping_interval": 0}, QUIET, [121]),
        ("uvicorn", {"ws_max_size": 1000}, {}, [103, 121]),
        ("uvicorn", {"timeout_graceful_shutdown": 3}, {}, [104, 121]),
        ("uvicorn", {"timeout_graceful_shutdown": 4}, {}, [121]),
        ("uvicorn", {"timeout_graceful_shutdown": 0}, {}, [104, 121]),
        ("uvicorn", {"limit_concurrency": 100}, {}, [121, 122]),
        ("granian", {}, {}, [102]),
        ("granian", {}, QUIET, []),
        ("granian", {}, {**QUIET, "MAX_MESSAGE_SIZE": 16 * 1024 * 1024}, []),
        ("granian", {}, {**QUIET, "MAX_MESSAGE_SIZE": 16 * 1024 * 1024 + 1}, [103]),
        ("daphne", {}, {}, [131]),
        ("daphne", {SIZE: 1000}, {}, [103, 131]),
        ("daphne", {"websocket_max_frame_size": 1000}, {}, [103, 131]),
        # No limit.
        ("daphne", {SIZE: 0, "websocket_max_frame_size": 0}, {}, [131]),
        ("daphne", {}, {"MAX_MESSAGE_SIZE": 2_000_000}, [103, 131]),
        ("daphne", {"websocket_connect_timeout": 4}, {}, [131, 132]),
        ("daphne", {"websocket_connect_timeout": -1}, {}, [131, 132]),
        ("daphne", {}, {"OPEN_TIMEOUT": 5}, [131, 132]),
        ("gunicorn", {}, {}, [102]),
        ("gunicorn", {}, QUIET, []),
        ("gunicorn", {SIZE: 1000}, QUIET, [103]),
        ("gunicorn", {SIZE: 0}, QUIET, []),
        ("gunicorn", {"graceful_timeout": 3}, QUIET, [104]),
        ("gunicorn", {"graceful_timeout": 3}, {**QUIET, "SHUTDOWN_TIMEOUT": 2}, []),
    ],
)
def test_configuration(server, options, ours, expected):
    """What is dangerous is found in the server's own configuration and in ASGI_EXT."""
    config = CONFIGURATIONS[server](**options)
    with override_settings(ASGI_EXT=ours):
        assert numbers(dangers_of(server, config, websocket_scope())) == expected


@pytest.mark.parametrize("server", deployment.SERVERS)
def test_nothing_is_known(server):
    """A server without a configuration is taken for one with its defaults."""
    config = CONFIGURATIONS[server]()
    known = numbers(dangers_of(server, config, websocket_scope()))
    assert numbers(dangers_of(server, object(), websocket_scope())) == [
        *known,
        # It may have TLS.
        *([111] if server == "hypercorn" else []),
    ]


@pytest.mark.parametrize(
    "line_length, num_headers, expected",
    [(65536, 1024, []), (8192, 1024, [121]), (65536, 128, [121]), ("", "", [121])],
)
@pytest.mark.parametrize("where", ["environment", "module"])
def test_header_limits(monkeypatch, where, line_length, num_headers, expected):
    """The limits are those that websockets has read, or will read."""
    if where == "environment":
        monkeypatch.setenv("WEBSOCKETS_MAX_LINE_LENGTH", str(line_length))
        monkeypatch.setenv("WEBSOCKETS_MAX_NUM_HEADERS", str(num_headers))
        monkeypatch.delitem(sys.modules, "websockets.http11")
    else:
        monkeypatch.setattr(websockets.http11, "MAX_LINE_LENGTH", line_length or 8192)
        monkeypatch.setattr(websockets.http11, "MAX_NUM_HEADERS", num_headers or 128)
    assert numbers(dangers_of("uvicorn")) == expected


@pytest.mark.parametrize(
    "version, expected",
    [
        ("1.1", []),
        ("2", [111]),
        ("3", [112]),
    ],
)
def test_handshake_on_hypercorn(version, expected):
    """The handshake shows what no configuration does."""
    scope = websocket_scope(http_version=version)
    with override_settings(ASGI_EXT=QUIET):
        assert numbers(dangers_of("hypercorn", hypercorn(), scope)) == expected


def test_script_name():
    """With FORCE_SCRIPT_NAME no header says where the application is mounted."""
    with override_settings(FORCE_SCRIPT_NAME="/site"):
        assert dangers_of("daphne") == []


def test_server_is_named():
    """The message names the server."""
    for server in ("hypercorn", "granian", "gunicorn"):
        (danger,) = [d for d in dangers_of(server) if d.number == 102]
        assert danger.message == (
            f"{server.capitalize()} sends no pings: a peer that vanishes without a "
            "word is never noticed."
        )
        assert danger.hint == DANGERS[102].hint


def test_every_danger_is_documented():
    """The documentation has each danger by its id, and no other."""
    documented = re.findall(r"W\d{3}", DOCS.read_text())
    assert set(documented) == {f"W{number}" for number in DANGERS}
    for danger in DANGERS.values():
        assert danger.message.endswith(".")
        assert danger.hint.endswith(".")
        assert danger.id == f"asgi_ext.W{danger.number}"


def test_unknown_server():
    """A send() that is no server's is said to be none."""

    async def send(event):
        pass

    assert numbers(dangers(send, websocket_scope())) == [101]


def stream(config):
    """Return a send() of hypercorn's."""
    return WSStream(None, config, None, None, False, None, None, None, 1).app_send


def test_warn(caplog):
    """The first connection of a process logs each danger on one line, no other does."""
    scope = websocket_scope(http_version="2")
    for _ in range(2):
        deployment.warn(stream(hypercorn()), scope)
    assert [(r.name, r.levelname, r.getMessage()) for r in caplog.records] == [
        (
            "django_asgi_ext.deployment",
            "WARNING",
            f"{danger.id}: {danger.message} {danger.hint}",
        )
        for danger in dangers_of("hypercorn", hypercorn(), scope)
    ]
    assert len(caplog.records) == len(caplog.text.splitlines()) == 2


def test_warn_of_what_is_silenced(caplog):
    """SILENCED_SYSTEM_CHECKS silences the first connection too."""
    scope = websocket_scope(http_version="2")
    with override_settings(SILENCED_SYSTEM_CHECKS=["asgi_ext.W102"]):
        deployment.warn(stream(hypercorn()), scope)
    (record,) = caplog.records
    assert record.getMessage().startswith("asgi_ext.W111: ")


@pytest.mark.parametrize(
    "options", [{"alpn_protocols": 5}, {SIZE: None}, {SIZE: "many"}]
)
def test_warn_never_raises(caplog, options):
    """A server that is not as it was breaks no connection."""
    caplog.set_level(logging.DEBUG)
    send = stream(hypercorn())
    send.__self__.config = SimpleNamespace(**options)
    deployment.warn(send, websocket_scope())
    (record,) = caplog.records
    assert record.levelname == "DEBUG"
    assert record.getMessage() == "The server cannot be looked at."
    assert record.exc_info[0] is TypeError


def test_warn_without_a_configuration(caplog):
    """A server whose configuration is not found is taken for one by default."""
    send = stream(hypercorn())
    del send.__self__.config
    deployment.warn(send, websocket_scope())
    assert [record.getMessage()[:13] for record in caplog.records] == [
        "asgi_ext.W102",
        "asgi_ext.W111",
    ]


async def test_a_test_of_a_view_is_no_server(caplog):
    """A view that is tested with asgiref's communicator logs nothing."""
    peer = Peer(get_asgi_application(), websocket_scope("/nowhere/"))
    assert (await peer.denied())[0] == 404
    assert not [r for r in caplog.records if r.name == "django_asgi_ext.deployment"]
    assert deployment._has_warned


def test_a_client_of_a_test_is_no_server(caplog):
    """A view that is tested with the test client logs nothing."""
    with pytest.raises(HandshakeDenied), Client().websocket("/nowhere/"):
        pass
    assert not [r for r in caplog.records if r.name == "django_asgi_ext.deployment"]
    assert deployment._has_warned


def test_check(install):
    """The check warns of what each installed server does by default, in order."""
    install("daphne", "granian", "gunicorn", "hypercorn", "uvicorn", "websockets")
    expected = [143, 102, 111, 121, 102, 131, 102]
    assert checked() == expected
    messages = [warning.msg for warning in check_deployment()]
    assert [message.split()[0] for message in messages[1:]] == (
        ["Hypercorn"] * 2 + ["Uvicorn", "Granian", "Daphne", "Gunicorn"]
    )
    warning = check_deployment()[-1]
    (danger,) = dangers_of("gunicorn")
    assert (warning.id, warning.msg, warning.hint) == (
        danger.id,
        danger.message,
        danger.hint,
    )


def test_check_of_what_is_not_installed(install):
    """A server that is not installed is not in use."""
    install("granian")
    assert checked() == [143, 102]
    with override_settings(ASGI_EXT=QUIET):
        assert checked() == []


def test_check_with_uvicorn_alone(install):
    """Without websockets, uvicorn takes wsproto."""
    install("uvicorn")
    with override_settings(ASGI_EXT=QUIET):
        assert checked() == [123]


@pytest.mark.parametrize(
    "text, expected",
    [
        ('alpn_protocols = ["http/1.1"]', []),
        ('quic_bind = "[::]:443"', [111, 112]),
        ("websocket_max_message_size = 1000", [103, 111]),
        ('worker_class = "trio"', [113]),
        ("this is no TOML", [111]),
    ],
)
def test_check_of_hypercorn_toml(install, tmp_path, text, expected):
    """The check reads hypercorn.toml where it runs."""
    install("hypercorn")
    (tmp_path / "hypercorn.toml").write_text(text)
    with override_settings(ASGI_EXT=QUIET):
        assert checked() == expected


@pytest.mark.parametrize(
    "name, value, expected",
    [
        ("LIMIT_CONCURRENCY", "100", [121, 122]),
        ("LIMIT_CONCURRENCY", "", [121]),
        ("TIMEOUT_GRACEFUL_SHUTDOWN", "1", [104, 121]),
        ("WS_MAX_SIZE", "1000", [103, 121]),
        ("WS", "wsproto", [123]),
        ("WS", "websockets-sansio", [121]),
    ],
)
def test_check_of_the_environment(install, monkeypatch, name, value, expected):
    """The check reads the variables that uvicorn takes options from."""
    install("uvicorn", "websockets")
    monkeypatch.setenv(f"UVICORN_{name}", value)
    with override_settings(ASGI_EXT=QUIET):
        assert checked() == expected


def test_check_of_compression_in_the_environment(install, monkeypatch):
    """A variable that is false is False."""
    install("uvicorn")
    monkeypatch.setenv("UVICORN_WS_PER_MESSAGE_DEFLATE", "False")
    with override_settings(ASGI_EXT=QUIET):
        assert checked() == []


def test_check_of_settings(install, monkeypatch):
    """The check warns of settings that are dangerous on any server."""
    install()
    assert checked() == [143]
    with override_settings(ASGI_EXT=QUIET):
        assert checked() == []
        with override_settings(ALLOWED_HOSTS=["example.com", "*"]):
            assert checked() == [141]
        monkeypatch.setitem(settings.DATABASES["default"], "CONN_MAX_AGE", 60)
        assert checked() == []
        monkeypatch.setitem(settings.DATABASES["default"], "CONN_MAX_AGE", None)
        assert checked() == [142]


def test_check_of_groups(install, urls):
    """The check warns of groups in memory, if the project has groups."""
    install()
    with override_settings(ASGI_EXT=QUIET):
        assert checked() == []
        urls(path("ws/", websocket(group="chat")(application)))
        assert checked() == [144]
        with override_settings(ASGI_EXT={**QUIET, "GROUPS": {"BACKEND": OTHER}}):
            assert checked() == []
    urls()
    with override_settings(ASGI_EXT={**QUIET, "GROUPS": {"POLICIES": {"*": {}}}}):
        assert checked() == [144]


@pytest.mark.parametrize(
    "options, expected",
    [({"workers": 2}, ["W144"]), ({"workers": 1}, []), ({}, [])],
)
async def test_warn_of_groups(caplog, connect, options, expected):
    """The first member of a group in memory logs what several workers mean for it."""
    deployment.warn(stream(hypercorn(websocket_ping_interval=9, **options)), {})
    peers = [connect(websocket(group="chat")(receive)), connect("/ws/")]
    for peer in peers:
        await peer.accepted()
        await peer.leave()
    assert re.findall(r"W\d{3}", caplog.text) == expected


@pytest.mark.parametrize(
    "arguments, environment, expected",
    [
        ([], None, 1),
        (["--workers", "3"], None, 3),
        (["--workers=4"], None, 4),
        (["--workers"], None, 1),
        ([], "2", 2),
    ],
)
def test_workers_of_granian(monkeypatch, arguments, environment, expected):
    """Granian's command line says how many workers there are."""
    monkeypatch.setattr(sys, "argv", ["granian", "mysite.asgi:application", *arguments])
    if environment is not None:
        monkeypatch.setenv("GRANIAN_WORKERS", environment)
    assert granian.config_of(None).workers == expected


def test_warn_of_publishing(caplog, monkeypatch):
    """A process that has no application is told, once, that nobody is reached."""
    monkeypatch.setattr(deployment, "_is_serving", False)
    for _ in range(2):
        groups.publish("chat", "hello")
    (record,) = caplog.records
    assert record.getMessage() == (
        f"asgi_ext.W145: {DANGERS[145].message} {DANGERS[145].hint}"
    )


def test_warn_of_publishing_where_it_is_right(caplog, monkeypatch):
    """With an application, or with another backend, there is nothing to warn of."""
    monkeypatch.setattr(deployment, "_is_serving", False)
    with override_settings(ASGI_EXT={"GROUPS": {"BACKEND": OTHER}}):
        groups.publish("chat", "hello")
    get_asgi_application()
    groups.publish("chat", "hello")
    assert not caplog.records


def test_check_of_wrong_settings():
    """Where ASGI_EXT is wrong, that is all there is to say."""
    with override_settings(ASGI_EXT={"OPEN_TIMEOUT": "5"}):
        assert check_deployment() == []


def test_check_is_for_deployment_only():
    """The check runs with --deploy, and by its tags."""
    ours = {"asgi_ext.W143"}
    for tags in (None, ["asgi_ext"], ["security"]):
        found = run_checks(tags=tags, include_deployment_checks=True)
        assert ours <= {message.id for message in found}
    assert not [m for m in run_checks() if str(m.id).startswith("asgi_ext.W")]


def test_check_can_be_silenced():
    """A danger is silenced as any check is."""
    (warning, *_) = check_deployment()
    assert not warning.is_silenced()
    with override_settings(SILENCED_SYSTEM_CHECKS=[warning.id]):
        assert warning.is_silenced()
