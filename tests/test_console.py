"""The console: what a browser gets at the URL of a WebSocket while DEBUG is on."""

import html
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async
from browser import require
from django.contrib.auth.decorators import login_required
from django.db import DatabaseError
from django.http import HttpResponse
from django.test import Client, RequestFactory, override_settings
from django.urls import include, path, re_path
from django.views.decorators.cache import never_cache
from project.http import request
from project.users import log_in

import django_asgi_ext
from django_asgi_ext import ASGIHandler, WebSocketView, websocket
from django_asgi_ext.websockets.not_upgraded import upgrade_required

ROOT = Path(__file__).parents[1]
BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
BARE = "This URL is for WebSocket connections.\n"
HOSTILE = "</script><script>alert(1)</script><b title='\"&amp;"


@websocket(subprotocols=["chat.v2", "chat.v1"], max_message_size=1234567)
async def chat(socket, room="lobby"):
    """
    Talk to everybody.

    In a room.
    """


class Echo(WebSocketView):
    """Say everything again."""

    origins = ["https://example.com"]


@pytest.fixture
def debug():
    with override_settings(DEBUG=True):
        yield


async def opened(url="/ws/", **changes):
    """Return what a browser gets that opens a URL."""
    headers = {**BROWSER, **changes.pop("headers", {})}
    return await request(ASGIHandler(), url, headers=headers, **changes)


def shown(body, element):
    """Return the text of an element of the page, by its id, on one line."""
    inside = re.search(rf'id="{element}"[^>]*>(.*?)</(?:p|dd|bdi)>', body, re.S)[1]
    return " ".join(html.unescape(re.sub("<[^>]+>", "", inside)).split())


@pytest.mark.parametrize("view", [chat, Echo.as_view()], ids=["function", "class"])
async def test_page(urls, debug, view):
    """A browser gets a page, and is told what to upgrade to nevertheless."""
    urls(path("ws/", view))
    status, headers, body = await opened()
    assert status == 426
    assert headers["upgrade"] == ["websocket"]
    assert headers["connection"] == ["Upgrade"]
    assert headers["content-type"] == ["text/html; charset=utf-8"]
    assert body.startswith("<!doctype html>")


async def test_log(urls, debug, caplog):
    """It is logged as the 426 that it is."""
    urls(path("ws/", chat))
    await opened()
    (record,) = caplog.records
    assert record.getMessage() == f"Upgrade Required: /ws/ ({BARE.strip()})"


@pytest.mark.parametrize("view", [chat, Echo.as_view()], ids=["function", "class"])
@pytest.mark.parametrize("part", ["", "?asgi-ext-console=script.js"])
async def test_without_debug(urls, view, part):
    """Without DEBUG there is no page, and nothing that belongs to it."""
    urls(path("ws/", view))
    status, headers, body = await opened(f"/ws/{part}")
    assert (status, body) == (426, BARE)
    assert headers.keys() == (await request(ASGIHandler(), "/ws/"))[1].keys()
    assert "content-security-policy" not in headers


@pytest.mark.parametrize(
    "accept",
    ["*/*", "text/*", "application/json", "text/html;q=0", "text/html ; q=0.000", ""],
)
async def test_scripts(urls, debug, accept):
    """Who does not ask for HTML by name gets the answer of before."""
    urls(path("ws/", chat))
    status, headers, body = await opened(headers={"accept": accept})
    assert (status, body) == (426, BARE)
    assert headers["content-type"] == ["text/plain; charset=utf-8"]


async def test_curl(urls, debug):
    """A request without an Accept header gets the answer of before."""
    urls(path("ws/", chat))
    status, headers, body = await request(ASGIHandler(), "/ws/")
    assert (status, body) == (426, BARE)


@pytest.mark.parametrize(
    "accept", ["text/html", "TEXT/HTML", "a/b, text/html ;q=0.001", "text/html;q=1.0"]
)
async def test_accept(urls, debug, accept):
    """Whoever names HTML gets the page, however it is written."""
    urls(path("ws/", chat))
    assert (await opened(headers={"accept": accept}))[2].startswith("<!doctype html>")


@pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS"])
async def test_other_methods(urls, debug, method):
    """The page is for GET and HEAD."""
    urls(path("ws/", chat))
    assert (await opened(method=method))[2] == BARE


@pytest.mark.parametrize("url", ["/ws/", "/ws/?asgi-ext-console=style.css"])
async def test_head(urls, debug, url):
    """HEAD answers as GET does, but for the nonce."""
    urls(path("ws/", chat))
    status, headers, _ = await opened(url)
    status_of_head, headers_of_head, _ = await opened(url, method="HEAD")
    for changing in ("content-security-policy", "expires"):
        assert headers.pop(changing, None) is not None or "style" in url
        headers_of_head.pop(changing, None)
    assert (status_of_head, headers_of_head) == (status, headers)


async def test_handshake_as_plain_http(urls, debug):
    """A handshake that a server takes for plain HTTP never gets the page."""
    urls(path("ws/", chat))
    body = (await opened(headers={"upgrade": "websocket"}))[2]
    assert body.splitlines()[1].startswith("The handshake has come without")


async def test_handshake(connect, debug):
    """A handshake is not concerned, whatever it accepts and asks for."""

    @websocket
    async def greet(socket):
        await socket.send("hello")

    peer = connect(greet, headers=BROWSER, query_string=b"asgi-ext-console=script.js")
    await peer.accepted()
    assert await peer.hear() == "hello"
    assert await peer.closed() == (1000, "")


async def test_http_page(urls, debug):
    """A view that has a page of its own serves that."""

    def page(request):
        return HttpResponse("mine")

    urls(path("ws/", websocket(chat.__wrapped__, http=page)))
    for query in ("", "?asgi-ext-console=script.js"):
        assert (await opened(f"/ws/{query}"))[2] == "mine"


async def test_decorators(urls, debug):
    """Decorators decide before there is a page, or a part of it."""
    urls(path("ws/", login_required(chat)))
    for query in ("", "?asgi-ext-console=script.js"):
        status, headers, _ = await opened(f"/ws/{query}")
        assert status == 302
        assert headers["location"][0].startswith("/accounts/login/?next=/ws/")


async def test_nothing_is_cached(urls, debug):
    """Neither the page nor its parts may be stored."""
    urls(path("ws/", chat))
    for query in ("", "?asgi-ext-console=style.css", "?asgi-ext-console=script.js"):
        _, headers, _ = await opened(f"/ws/{query}")
        assert "no-store" in headers["cache-control"][0]
        assert headers["x-content-type-options"] == ["nosniff"]


async def test_vary(urls, debug):
    """A cache on the way is told that Accept decides."""
    urls(path("ws/", chat))
    assert "Accept" in (await opened())[1]["vary"][0].split(", ")


# What it shows


async def test_facts(urls, debug):
    """The page names the view, its URL, its arguments, guards and docstring."""
    inner = ([path("<str:room>/", login_required(never_cache(chat)), name="chat")], "a")
    urls(path("ws/", include(inner, namespace="here")))
    headers = await log_in("emmy")
    body = (await opened("/ws/my room/", headers=headers))[2]
    assert shown(body, "view") == "test_console.chat"
    assert shown(body, "docstring") == "Talk to everybody. In a room."
    assert shown(body, "name") == "here:chat"
    assert shown(body, "route") == "ws/<str:room>/"
    assert shown(body, "arguments") == "room = 'my room'"
    assert shown(body, "guards") == "login_required never_cache"
    assert shown(body, "subprotocols") == "chat.v2 chat.v1"
    assert shown(body, "origins") == "its own, and CSRF_TRUSTED_ORIGINS"
    assert shown(body, "largest") == "1,234,567 bytes"
    assert shown(body, "user") == "emmy"


async def test_facts_of_a_class(urls, debug):
    """For a class the page shows the class's docstring and attributes."""
    urls(path("ws/", Echo.as_view()))
    body = (await opened())[2]
    assert shown(body, "view") == "test_console.Echo"
    assert shown(body, "docstring") == "Say everything again."
    assert shown(body, "origins") == "its own https://example.com"
    assert shown(body, "largest") == "1,048,576 bytes"


async def test_nothing_to_show(urls, debug):
    """What a URL does not have is said to be none."""

    @websocket
    async def plain(socket):
        pass

    urls(path("ws/", plain))
    body = (await opened())[2]
    for element in ("name", "arguments", "guards", "subprotocols"):
        assert shown(body, element) == "none"
    assert 'id="docstring"' not in body
    assert shown(body, "user") == "not logged in"


async def test_arguments_without_names(urls, debug):
    """URL arguments without names are shown with their places."""
    urls(re_path(r"^ws/(\d+)/(\d+)/$", chat))
    body = (await opened("/ws/12/34/"))[2]
    assert shown(body, "arguments") == "0 = '12' 1 = '34'"


async def test_no_auth(urls, debug):
    """A project without users, sessions and templates has the page as well."""
    urls(path("ws/", chat))
    with override_settings(INSTALLED_APPS=[], MIDDLEWARE=[], TEMPLATES=[]):
        status, _, body = await opened()
    assert status == 426
    assert shown(body, "user") == "unknown (no middleware sets request.user)"


class BrokenUser:
    @property
    def is_authenticated(self):
        raise DatabaseError("no such table: <auth_user>")


async def test_database_is_down(urls, debug):
    """If the user cannot be loaded, the page says so and is there."""

    def with_user(request):
        request.user = BrokenUser()
        return chat(request)

    with_user.__wrapped__ = chat
    urls(path("ws/", with_user))
    status, _, body = await opened()
    assert status == 426
    error = "DatabaseError: no such table: <auth_user>"
    assert shown(body, "user") == f"unknown ({error})"


async def test_unknown_way_to_the_view(debug):
    """A view that was not reached through the URLconf answers as before."""
    plain = RequestFactory().get("/ws/", HTTP_ACCEPT="text/html")
    response = await sync_to_async(upgrade_required)(plain)
    assert response.content.decode() == BARE


async def test_view_that_calls_another(urls, debug):
    """A view that is none for WebSockets and calls one that is answers as before."""
    urls(path("ws/", lambda request: chat(request)))
    assert (await opened())[2] == BARE


async def test_wsgi(urls, debug):
    """The page knows when the server is one for WSGI, which has no WebSockets."""
    urls(path("ws/", chat))
    response = await sync_to_async(Client().get)("/ws/", HTTP_ACCEPT="text/html")
    assert response.status_code == 426
    assert for_script(response.content.decode())["isASGI"] is False
    assert for_script((await opened())[2])["isASGI"] is True


def for_script(body):
    """Return what the page tells its script."""
    return json.loads(re.search(r'id="for-script"[^>]*>(.*?)</script>', body)[1])


# What it must not let in


async def test_hostile_values(urls, debug):
    """Whatever comes from outside is text on the page."""

    async def hostile(socket, **kwargs):
        pass

    hostile.__doc__ = hostile.__qualname__ = HOSTILE
    view = websocket(hostile)
    urls(path("ws/<path:room>", view, name=HOSTILE))
    headers = await log_in(HOSTILE)
    status, _, body = await opened(f"/ws/{HOSTILE}?{HOSTILE}", headers=headers)
    assert status == 426
    # In heading, title, arguments, user, docstring and so on, and only as text.
    assert html.unescape(body).count("alert(1)") > 8
    assert "<script>" not in body
    assert "<b title" not in body
    assert body.count("<script") == body.count("</script") == 2


async def test_hostile_query(urls, debug):
    """A query cannot leave the attributes that it is in."""
    urls(path("ws/", chat))
    body = (await opened("/ws/?\"'><script>x&a=1"))[2]
    source = html.unescape(re.search(r'src="([^"]*)"', body)[1])
    assert source == "?\"'><script>x&a=1&asgi-ext-console=script.js"


@pytest.mark.parametrize(
    "query",
    [
        "asgi-ext-console=../../conf.py",
        "asgi-ext-console=page.html",
        "asgi-ext-console=format.js",
        "asgi-ext-console=",
        "asgi-ext-console",
        "asgi-ext-console=script.js&room=1",
        "x" * 10000,
        "&".join(["a=1"] * 2000),
        "%ff",
    ],
)
async def test_no_part(urls, debug, query):
    """A query that names no part, or not as its last, gets the page."""
    urls(path("ws/", chat))
    status, _, body = await opened(f"/ws/?{query}")
    assert (status, body[:15]) == (426, "<!doctype html>")


# Style, script and policy


@pytest.mark.parametrize(
    ("part", "content_type", "text"),
    [("style.css", "text/css", ":root {"), ("script.js", "text/javascript", "facts")],
)
async def test_part(urls, debug, part, content_type, text):
    """Style and script come from the same URL, whatever is accepted."""
    urls(path("ws/", chat))
    for accept in ("*/*", "text/css,*/*;q=0.1"):
        status, headers, body = await opened(
            f"/ws/?room=1&asgi-ext-console={part}", headers={"accept": accept}
        )
        assert status == 200
        assert headers["content-type"] == [f"{content_type}; charset=utf-8"]
        assert text in body


async def test_parts_keep_the_query(urls, debug):
    """Style and script are asked for with the query of the page, as guards want it."""
    urls(path("ws/", chat))
    body = (await opened("/ws/?token=1"))[2]
    for attribute, part in (("href", "style.css"), ("src", "script.js")):
        assert f'{attribute}="?token=1&amp;asgi-ext-console={part}"' in body
    assert 'src="?asgi-ext-console=script.js"' in (await opened())[2]


async def test_policy(urls, debug):
    """The page brings a strict policy, with a nonce that is new each time."""
    urls(path("ws/", chat))
    nonces = set()
    for _ in range(2):
        _, headers, body = await opened()
        (policy,) = headers["content-security-policy"]
        (nonce,) = set(re.findall("nonce-([^']+)", policy))
        assert body.count(f'nonce="{nonce}"') == 2
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy
        nonces.add(nonce)
    assert len(nonces) == 2


async def test_nothing_inline(urls, debug):
    """No style or script is in the page itself, so that no policy need allow it."""
    urls(path("ws/", chat))
    body = (await opened())[2]
    assert not re.search(r"<style|\son\w+=|\sstyle=|javascript:", body)
    (data,) = re.findall("<script(?![^>]*src=)[^>]*>", body)
    assert 'type="application/json"' in data
    assert "http:" not in body.replace("http://www.w3.org/2000/svg", "")


def test_django_policy(urls, debug):
    """Django's own middleware, where there is one, leaves the page's policy alone."""
    pytest.importorskip("django.middleware.csp", reason="since Django 6.0")
    urls(path("ws/", chat))
    middleware = ["django.middleware.csp.ContentSecurityPolicyMiddleware"]
    theirs = {"default-src": ["'none'"]}
    with override_settings(MIDDLEWARE=middleware, SECURE_CSP=theirs):
        response = Client().get("/ws/", HTTP_ACCEPT="text/html")
        bare = Client().get("/ws/")
    assert bare["Content-Security-Policy"] == "default-src 'none'"
    assert "script-src 'nonce-" in response["Content-Security-Policy"]


# What is shipped


@pytest.mark.once
def test_wheel(tmp_path):
    """A wheel has the files of the page in it."""
    source = tmp_path / "source"
    shutil.copytree(
        ROOT / "django_asgi_ext",
        source / "django_asgi_ext",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", tmp_path, source],
        capture_output=True,
        text=True,
    )
    require("No matching distribution" not in pip.stderr, "PyPI: it has setuptools")
    assert pip.returncode == 0, pip.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    folder = "django_asgi_ext/websockets/console"
    here = {f"{folder}/{file.name}" for file in (ROOT / folder).glob("*.*")}
    assert len(here) > 10
    assert here <= names


def test_installed():
    """The package that is tested has the files of the page in it."""
    installed = Path(django_asgi_ext.__file__).parent / "websockets" / "console"
    assert {"page.html", "style.css", "main.js"} <= {
        file.name for file in installed.iterdir()
    }
