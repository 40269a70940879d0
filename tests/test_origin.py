"""The check of the Origin header."""

import logging
import sys

import pytest
from django.core.exceptions import DisallowedHost
from django.http import HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from django.test import RequestFactory, override_settings
from django.urls import path
from peer import Peer, websocket_scope

from django_asgi_ext import ASGIHandler, WebSocketView, websocket
from django_asgi_ext.websockets import origin


def is_allowed(header, host="testserver", origins=None, **more):
    """Ask for a handshake with these two headers."""
    if header is not None:
        more["HTTP_ORIGIN"] = header
    with override_settings(ALLOWED_HOSTS=["*"]):
        return origin.is_allowed(
            RequestFactory().get("/", HTTP_HOST=host, **more), origins
        )


@pytest.mark.parametrize(
    "text, parts",
    [
        ("http://example.com", ("http", "example.com", 80)),
        ("https://example.com", ("https", "example.com", 443)),
        ("https://example.com:443", ("https", "example.com", 443)),
        ("https://example.com:8443", ("https", "example.com", 8443)),
        ("HTTPS://EXAMPLE.COM", ("https", "example.com", 443)),
        ("https://example.com.", ("https", "example.com.", 443)),
        ("http://[::1]:8000", ("http", "[::1]", 8000)),
        ("http://[2001:DB8::A]", ("http", "[2001:db8::a]", 80)),
        ("http://127.0.0.1", ("http", "127.0.0.1", 80)),
        ("https://bücher.example", ("https", "xn--bcher-kva.example", 443)),
        ("https://xn--bcher-kva.example", ("https", "xn--bcher-kva.example", 443)),
        ("https://a_b.example", ("https", "a_b.example", 443)),
        ("chrome-extension://abcdef", ("chrome-extension", "abcdef", None)),
    ],
)
def test_parse(text, parts):
    """parse() returns scheme, host and port in one form for each origin."""
    assert origin.parse(text) == parts


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "example.com",
        "//example.com",
        "https://",
        "https:///",
        "https://example.com/",
        "https://example.com/path",
        "https://example.com?query",
        "https://example.com#fragment",
        "https://example.com:",
        "https://example.com:port",
        "https://example.com:-1",
        "https://example.com:٤٤٣",
        "https://user@example.com",
        "https://user:password@example.com",
        "https://example.com https://example.org",
        "https://example.com,https://example.org",
        " https://example.com",
        "https://example.com ",
        "https://example.com\n",
        "https://example.com\0",
        "https://example.com\\.evil.example",
        "https://[::1",
        "https://::1",
        "https://[::1]evil.example",
        "https://[fe80::1%25eth0]",
        "https://" + "ü" * 64 + ".example",
        "https://ü..example",
        "https:example.com",
        "://example.com",
        "1http://example.com",
    ],
)
def test_parse_what_is_no_origin(text):
    """parse() returns None for what no browser sends as an origin."""
    assert origin.parse(text) is None


@pytest.mark.parametrize(
    "header, host",
    [
        ("http://testserver", "testserver"),
        ("http://testserver:80", "testserver"),
        ("http://testserver", "testserver:80"),
        ("http://testserver:8000", "testserver:8000"),
        ("http://TESTSERVER", "testserver"),
        ("http://testserver", "TestServer"),
        ("HTTP://testserver", "testserver"),
        ("http://[::1]:8000", "[::1]:8000"),
        ("http://127.0.0.1", "127.0.0.1"),
        ("http://testserver.", "testserver."),
        ("http://xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_own(header, host):
    """The request's own origin is allowed, however it is written."""
    assert is_allowed(header, host)


@pytest.mark.parametrize(
    "header, host",
    [
        ("null", "testserver"),
        ("", "testserver"),
        ("*", "testserver"),
        ("http://*", "testserver"),
        ("http://*.testserver", "testserver"),
        ("http://.testserver", "testserver"),
        ("https://testserver", "testserver"),
        ("ws://testserver", "testserver"),
        ("http://testserver:8000", "testserver"),
        ("http://testserver:443", "testserver"),
        ("http://testserver", "testserver:8000"),
        ("http://testserver.", "testserver"),
        ("http://testserver", "testserver."),
        ("http://evil.example", "testserver"),
        ("http://testserver.evil.example", "testserver"),
        ("http://sub.testserver", "testserver"),
        ("http://eviltestserver", "testserver"),
        ("http://testserver@evil.example", "testserver"),
        ("http://evil.example/testserver", "testserver"),
        ("http://testserver,http://testserver", "testserver"),
        ("http://testserver,http://evil.example", "testserver"),
        ("http://[::1]", "127.0.0.1"),
        ("http://[::2]", "[::1]"),
        ("file://", "testserver"),
        ("chrome-extension://abcdef", "testserver"),
        ("testserver", "testserver"),
    ],
)
def test_foreign(header, host):
    """Another scheme, host or port is refused, and so is what is no origin."""
    assert not is_allowed(header, host)


def test_own_over_tls():
    """A secure request is at home on https and port 443."""
    assert is_allowed("https://testserver", secure=True)
    assert is_allowed("https://testserver:443", secure=True)
    assert not is_allowed("http://testserver", secure=True)
    assert not is_allowed("https://testserver:80", secure=True)


def test_own_behind_a_proxy():
    """Scheme, host and port of a trusted proxy are the request's own."""
    forwarded = {
        "HTTP_X_FORWARDED_HOST": "example.com",
        "HTTP_X_FORWARDED_PROTO": "https",
    }
    assert not is_allowed("https://example.com", **forwarded)
    with override_settings(
        USE_X_FORWARDED_HOST=True,
        SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
    ):
        assert is_allowed("https://example.com", **forwarded)
        assert not is_allowed("http://example.com", **forwarded)
        assert not is_allowed("https://testserver", **forwarded)


def test_host_is_checked_first():
    """A Host header that is not allowed is an error, whatever the origin is."""
    with override_settings(ALLOWED_HOSTS=["example.com"]):
        for headers in ({}, {"HTTP_ORIGIN": "http://evil.example"}):
            request = RequestFactory().get("/", HTTP_HOST="evil.example", **headers)
            for origins in (None, [], ["*"]):
                with pytest.raises(DisallowedHost):
                    origin.is_allowed(request, origins)


def test_missing():
    """A missing Origin header is allowed unless REQUIRE_ORIGIN."""
    assert is_allowed(None)
    assert is_allowed(None, origins=[])
    with override_settings(ASGI_EXT={"REQUIRE_ORIGIN": True}):
        assert not is_allowed(None)
        assert not is_allowed(None, origins=["https://example.com"])
        assert is_allowed("http://testserver")


TRUSTED = [
    "https://example.com",
    "https://*.example.org",
    "http://insecure.example:8080",
    "https://*.ports.example:8443",
    "https://bücher.example",
    "https://[2001:db8::1]",
    "HTTPS://Upper.Example",
]


@pytest.mark.parametrize(
    "header",
    [
        "https://example.com",
        "https://example.com:443",
        "https://EXAMPLE.com",
        "https://example.org",
        "https://a.example.org",
        "https://a.b.example.org",
        "http://insecure.example:8080",
        "https://a.ports.example:8443",
        "https://xn--bcher-kva.example",
        "https://[2001:db8::1]",
        "https://upper.example",
    ],
)
def test_trusted(header):
    """What CSRF_TRUSTED_ORIGINS or a view's own list names is allowed."""
    with override_settings(CSRF_TRUSTED_ORIGINS=TRUSTED):
        assert is_allowed(header)
    assert is_allowed(header, origins=TRUSTED)
    assert not is_allowed(header)


@pytest.mark.parametrize(
    "header",
    [
        "http://example.com",
        "https://example.com:8443",
        "https://sub.example.com",
        "https://evilexample.com",
        "https://example.com.evil.example",
        "http://a.example.org",
        "https://a.example.org:8443",
        "https://evilexample.org",
        "https://*.example.org",
        "https://*",
        "http://insecure.example",
        "https://insecure.example:8080",
        "https://a.ports.example",
        "https://ports.example",
        "https://sub.xn--bcher-kva.example",
        "null",
    ],
)
def test_not_trusted(header):
    """What is near to an entry of the list, but not it, is refused."""
    with override_settings(CSRF_TRUSTED_ORIGINS=TRUSTED):
        assert not is_allowed(header)
    assert not is_allowed(header, origins=TRUSTED)


@pytest.mark.parametrize(
    "entry",
    [
        "https://example.com",
        "https://*.example.com",
        "https://*.example.com:8443",
        "https://*example.com",
        "https://.example.com",
        "https://*",
        "https://*.",
        "http://*.example.com",
        "https://[::1]",
    ],
)
@pytest.mark.skipif(
    not hasattr(CsrfViewMiddleware, "_origin_verified"),
    reason="Django before 4.0 does not look at the Origin header.",
)
def test_same_as_for_forms(entry):
    """An entry lets in the same origins as Django does for a form."""
    for header in [
        "https://example.com",
        "https://a.example.com",
        "https://a.b.example.com",
        "https://evilexample.com",
        "https://example.com.evil.example",
        "https://a.example.com:8443",
        "https://example.com:8443",
        "http://a.example.com",
        "https://evil.example",
        "https://[::1]",
        "https://[::2]",
        "null",
        "http://testserver",
        "https://testserver",
    ]:
        request = RequestFactory().get("/", HTTP_ORIGIN=header)
        with override_settings(CSRF_TRUSTED_ORIGINS=[entry]):
            theirs = CsrfViewMiddleware(HttpResponse)._origin_verified(request)
            assert (header, origin.is_allowed(request)) == (header, theirs)


def test_entries_without_a_scheme():
    """Entries of Django before 4.0 stand for the scheme of the request."""
    with override_settings(
        CSRF_TRUSTED_ORIGINS=["example.com", ".example.org", "a.example:8443"]
    ):
        for header, secure, allowed in [
            ("https://example.com", True, True),
            ("http://example.com", True, False),
            ("http://example.com", False, True),
            ("https://example.com", False, False),
            ("https://sub.example.com", True, False),
            ("https://example.org", True, True),
            ("https://sub.example.org", True, True),
            ("https://evilexample.org", True, False),
            ("https://a.example:8443", True, True),
            ("https://a.example", True, False),
        ]:
            assert is_allowed(header, secure=secure) is allowed, header


def test_list_of_a_view_replaces_the_setting():
    """A view's own list stands in place of the setting, beside its own origin."""
    with override_settings(CSRF_TRUSTED_ORIGINS=["https://example.com"]):
        assert not is_allowed("https://example.com", origins=[])
        assert is_allowed("https://example.org", origins=["https://example.org"])
        assert is_allowed("http://testserver", origins=[])


def test_all():
    """A star in a view's own list allows all, even what is no origin."""
    for header in ["https://evil.example", "null", "", None]:
        assert is_allowed(header, origins=["https://example.com", "*"])


def test_star_in_the_setting():
    """A star in CSRF_TRUSTED_ORIGINS allows nothing, as for Django."""
    with override_settings(CSRF_TRUSTED_ORIGINS=["*"]):
        assert not is_allowed("https://evil.example")
        assert not is_allowed("*")


def test_null_by_name():
    """The origin "null" is allowed where a view's list names it."""
    assert is_allowed("null", origins=["null"])
    assert not is_allowed("nullnull", origins=["null"])


def test_other_schemes_by_name():
    """An origin of a browser's extension is allowed where the list names it."""
    origins = ["chrome-extension://abcdef"]
    assert is_allowed("chrome-extension://abcdef", origins=origins)
    assert not is_allowed("chrome-extension://abcdefg", origins=origins)
    assert not is_allowed("moz-extension://abcdef", origins=origins)


def test_letters_that_old_idna_folds():
    """An entry with a sharp s does not stand for the host with a double s."""
    origins = ["https://straße.example"]
    assert not is_allowed("https://strasse.example", origins=origins)


# Over the wire


@websocket
async def echo(socket):
    async for message in socket:
        await socket.send(message)


FOREIGN = {"origin": "https://evil.example"}


async def assert_accepted(peer):
    await peer.accepted()
    await peer.leave()


@pytest.mark.parametrize("header", [None, "http://testserver", "HTTP://TestServer:80"])
async def test_accepted(connect, header):
    """A handshake from the own origin, or without one, is accepted."""
    await assert_accepted(connect(echo, headers={"origin": header}))


async def test_accepted_over_tls(connect):
    """A handshake over wss comes from https."""
    headers = {"origin": "https://testserver"}
    await assert_accepted(connect(echo, headers=headers, scheme="wss"))
    assert (await connect(echo, headers=headers).denied())[0] == 403


async def test_refused(connect, caplog):
    """A foreign origin is refused with 403, and one line in django.security."""
    caplog.set_level(logging.DEBUG)
    status, headers, body = await connect(echo, headers=FOREIGN).denied()
    assert (status, body) == (403, "")
    (record,) = [r for r in caplog.records if r.name.startswith("django")]
    assert record.name.startswith("django.security.")
    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        "Forbidden (Origin https://evil.example is not allowed for host testserver; "
        "see CSRF_TRUSTED_ORIGINS and @websocket(origins=...)): /ws/"
    )
    assert record.status_code == 403
    assert record.request.path == "/ws/"


async def test_refused_without(connect, caplog):
    """The line for a missing origin says so."""
    with override_settings(ASGI_EXT={"REQUIRE_ORIGIN": True}):
        assert (await connect(echo).denied())[0] == 403
    (record,) = caplog.records
    assert record.getMessage() == (
        "Forbidden (Origin (none) is not allowed for host testserver; "
        "see CSRF_TRUSTED_ORIGINS and @websocket(origins=...)): /ws/"
    )


async def test_refused_on_one_line(connect, caplog):
    """What a peer sends as an origin cannot begin a new line in the log."""
    headers = {"origin": "https://evil.example\nERROR root: \x1b[31mAll is lost"}
    assert (await connect(echo, headers=headers).denied())[0] == 403
    (record,) = caplog.records
    assert record.getMessage().isprintable()


async def test_refused_without_the_extension(connect):
    """A server that cannot send a response is told to refuse."""
    peer = connect(echo, headers=FOREIGN, extensions={})
    event = await peer.connect()
    await peer.wait(timeout=5)
    assert event == {"type": "websocket.close", "code": 1000, "reason": ""}


@pytest.mark.parametrize(
    "second", ["http://testserver", "https://evil.example", "null", ""]
)
async def test_two_headers(connect, second):
    """Two Origin headers are refused, also if both are the request's own."""
    peer = connect(echo, headers={"origin": "http://testserver"})
    peer.scope["headers"].append((b"origin", second.encode()))
    assert (await peer.denied())[0] == 403


async def test_view_does_not_run(connect):
    """Neither the view nor its decorators run for a foreign origin."""
    ran = []

    @websocket
    async def view(socket):
        ran.append("view")

    def decorator(view):
        def decorated(request, *args, **kwargs):
            ran.append("decorator")
            return view(request, *args, **kwargs)

        decorated.__wrapped__ = view
        return decorated

    assert (await connect(decorator(view), headers=FOREIGN).denied())[0] == 403
    assert ran == []


async def test_trusted_over_the_wire(connect):
    """CSRF_TRUSTED_ORIGINS counts where the view has no list of its own."""
    with override_settings(CSRF_TRUSTED_ORIGINS=["https://*.example"]):
        await assert_accepted(connect(echo, headers=FOREIGN))
        closed = websocket(origins=[])(echo.__wrapped__)
        assert (await connect(closed, headers=FOREIGN).denied())[0] == 403


async def test_list_of_a_view(connect):
    """origins= of @websocket lets others in."""
    view = websocket(origins=["https://evil.example"])(echo.__wrapped__)
    await assert_accepted(connect(view, headers=FOREIGN))
    headers = {"origin": "https://other.example"}
    assert (await connect(view, headers=headers).denied())[0] == 403


async def test_list_of_a_class(connect):
    """origins of a WebSocketView counts as attribute and as argument."""

    class View(WebSocketView):
        origins = ["https://evil.example"]

    await assert_accepted(connect(View.as_view(), headers=FOREIGN))
    closed = View.as_view(origins=[])
    assert (await connect(closed, headers=FOREIGN).denied())[0] == 403
    opened = WebSocketView.as_view(origins=["*"])
    await assert_accepted(connect(opened, headers=FOREIGN))


def test_list_that_is_a_str():
    """A str in place of a list of origins is refused at import."""
    with pytest.raises(TypeError) as error:
        websocket(origins="*")(echo.__wrapped__)
    assert str(error.value) == "origins must be a list of str, not '*'."


async def test_unknown_path_says_404(urls):
    """Where no WebSocket view is, a foreign origin gets 404 as everybody."""
    urls(path("page/", HttpResponse))
    for target in ["/page/", "/nowhere/"]:
        peer = Peer(ASGIHandler(), websocket_scope(target, headers=FOREIGN))
        assert (await peer.denied())[0] == 404


async def test_host_that_is_not_allowed(connect, caplog):
    """A Host header that is not allowed is 400, also where all origins are."""
    view = websocket(origins=["*"])(echo.__wrapped__)
    with override_settings(MIDDLEWARE=[]):
        peer = connect(view, headers={"host": "evil.example", **FOREIGN})
        assert (await peer.denied())[0] == 400
    assert "django.security.DisallowedHost" in [r.name for r in caplog.records]


async def test_middleware_that_calls_the_view(connect):
    """A middleware that calls the view itself passes by no check."""

    class Caller:
        def __init__(self, get_response):
            self.get_response = get_response

        def __call__(self, request):
            return self.get_response(request)

        def process_view(self, request, view, args, kwargs):
            return view(request, *args, **kwargs)

    sys.modules[__name__].Caller = Caller

    @websocket
    async def view(socket):
        await socket.accept()

    with override_settings(MIDDLEWARE=[f"{__name__}.Caller"]):
        peer = connect(view, headers={"origin": "https://evil.example"})
        assert (await peer.denied())[0] == 403


def test_long_origin():
    """An Origin that no host can have is refused before it costs anything."""
    assert origin.parse("https://" + "é." * 30_000 + "example") is None
