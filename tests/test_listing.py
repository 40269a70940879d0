"""manage.py websockets: which URLs have WebSocket views."""

import functools
import io
import json

import pytest
from django.contrib.admin.views.decorators import staff_member_required
from django.contrib.auth.decorators import login_required, permission_required
from django.contrib.auth.mixins import LoginRequiredMixin, PermissionRequiredMixin
from django.core.management import call_command
from django.urls import include, path, re_path
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache

from django_asgi_ext import WebSocketView, websocket


@websocket
async def echo(socket):
    pass


@websocket(
    subprotocols=["v2.chat", "v1.chat"],
    origins=["https://example.com"],
    group=["chat.{room}", "news"],
)
async def chat(socket, room):
    pass


class Members(LoginRequiredMixin, PermissionRequiredMixin, WebSocketView):
    subprotocols = ["v1.chat"]


@method_decorator(login_required, name="dispatch")
class Decorated(WebSocketView):
    pass


class Own(WebSocketView):
    def dispatch(self, *args, **kwargs):
        return super().dispatch(*args, **kwargs)


def page(request):
    pass


def listed(*options):
    out = io.StringIO()
    call_command("websockets", *options, stdout=out, no_color=True)
    return out.getvalue()


def found(urls, *urlpatterns):
    urls(*urlpatterns)
    return json.loads(listed("--json"))


def test_text(urls):
    """Each URL is listed with what is known of it; pages are not."""
    urls(
        path("", page),
        path("ws/echo/", echo),
        path("ws/chat/<slug:room>/", login_required(chat), name="chat"),
    )
    assert listed() == (
        "/ws/echo/\n"
        "  view          test_listing.echo\n"
        "  origins       its own and CSRF_TRUSTED_ORIGINS\n"
        "/ws/chat/<slug:room>/\n"
        "  name          chat\n"
        "  view          test_listing.chat\n"
        "  subprotocols  v2.chat, v1.chat\n"
        "  origins       https://example.com\n"
        "  groups        chat.{room}, news\n"
        "  guards        login_required\n"
    )


def test_nothing(urls):
    """A project without WebSocket views is told so."""
    urls(path("", page))
    assert listed() == "No URL of the project has a WebSocket view.\n"


def test_json(urls):
    """--json prints the same for a program."""
    assert found(urls, path("ws/chat/<slug:room>/", chat, name="chat")) == [
        {
            "path": "/ws/chat/<slug:room>/",
            "name": "chat",
            "view": "test_listing.chat",
            "arguments": ["room"],
            "subprotocols": ["v2.chat", "v1.chat"],
            "origins": ["https://example.com"],
            "groups": ["chat.{room}", "news"],
            "guards": [],
        }
    ]


def test_no_json(urls):
    """--json of nothing is an empty list."""
    assert found(urls, path("", page)) == []


def test_include(urls):
    """Paths and namespaces of include() are put together."""
    inner = ([path("<int:pk>/", echo, name="echo")], "app")
    (url,) = found(urls, path("a/", include(inner, namespace="here")))
    assert (url["path"], url["name"]) == ("/a/<int:pk>/", "here:echo")


def test_regular_expression(urls):
    """A re_path() is listed by its regular expression."""
    (url,) = found(urls, re_path(r"^ws/(?P<room>\w+)/$", echo))
    assert url["path"] == r"/ws/(?P<room>\w+)/$"


@pytest.mark.parametrize(
    "view, guards",
    [
        (echo, []),
        (login_required(echo), ["login_required"]),
        (
            never_cache(permission_required("auth.add_user")(echo)),
            ["never_cache", "permission_required"],
        ),
        (staff_member_required(echo), ["staff_member_required"]),
        (functools.partial(login_required(chat), room="lobby"), ["login_required"]),
        (Members.as_view(), ["LoginRequiredMixin", "PermissionRequiredMixin"]),
        (login_required(Members.as_view()), None),
        (Decorated.as_view(), ["login_required"]),
        (Own.as_view(), ["Own"]),
    ],
    ids=["none", "one", "two", "staff", "partial", "mixins", "both", "method", "own"],
)
def test_guards(urls, view, guards):
    """Decorators and mixins are listed, the outermost first."""
    if guards is None:
        guards = ["login_required", "LoginRequiredMixin", "PermissionRequiredMixin"]
    (url,) = found(urls, path("ws/", view))
    assert url["guards"] == guards


def test_decorator_with_an_empty_cell(urls):
    """A decorator that knows a name which it has not set is listed as others are."""

    def limited(view, rate=None):
        if rate:
            limit = rate

        @functools.wraps(view)
        def wrapper(request, **kwargs):
            return view(request, **kwargs) if not rate else limit

        return wrapper

    (url,) = found(urls, path("ws/", limited(echo)))
    assert url["guards"] == [limited.__qualname__.split(".")[0]]


def test_decorator_of_the_function(urls):
    """What is inside of @websocket is no guard."""

    def noted(function):
        @functools.wraps(function)
        async def wrapper(*args):
            return await function(*args)

        return wrapper

    (url,) = found(urls, path("ws/", websocket(noted(page))))
    assert url["guards"] == []


def test_urlconf(urls):
    """--urlconf names another URLconf than that of the settings."""
    urls(path("ws/", echo))
    assert json.loads(listed("--json", "--urlconf", "project.urls")) == []
