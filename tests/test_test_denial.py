"""The test client: the response of a denial, as Django's test client has it."""

import pytest
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, HttpResponseRedirect, JsonResponse
from django.test import SimpleTestCase
from django.urls import path
from talking import echo, run

from django_asgi_ext import websocket
from django_asgi_ext.test import AsyncClient, Client, HandshakeDenied


@pytest.fixture
def answer(serve):
    """Let a view answer with a response; return what a test sees of it."""

    def see(response, client=None):
        @websocket
        async def view(socket):
            return response

        serve(view)
        with pytest.raises(HandshakeDenied) as denied:
            with (client or Client()).websocket("/ws/"):
                pass
        return denied.value.response

    return see


@pytest.mark.parametrize("fetch", [True, False])
def test_assert_redirects(urls, fetch):
    """assertRedirects() takes a denial, and fetches the page with the same client."""
    agents = []

    def login(request):
        agents.append(request.META["HTTP_USER_AGENT"])
        return HttpResponse()

    urls(path("ws/", login_required(echo)), path("accounts/login/", login))

    class Case(SimpleTestCase):
        client_class = Client

        def test(self):
            self.client.defaults["HTTP_USER_AGENT"] = "test"
            with self.assertRaises(HandshakeDenied) as denied:
                with self.client.websocket("/ws/?q=1"):
                    pass
            response = denied.exception.response
            self.assertRedirects(
                response,
                "/accounts/login/?next=/ws/%3Fq%3D1",
                fetch_redirect_response=fetch,
            )
            with self.assertRaises(AssertionError):
                self.assertRedirects(response, "/login/", fetch_redirect_response=fetch)

    run(Case)
    assert agents == ["test", "test"] * fetch


def test_redirect_to_a_relative_path(answer):
    """assertRedirects() joins a relative Location with the path of the handshake."""
    response = answer(HttpResponseRedirect("login/"))
    SimpleTestCase().assertRedirects(
        response, "/ws/login/", fetch_redirect_response=False
    )


async def test_redirect_in_an_async_test(serve):
    """assertRedirects() takes a denial in an async test, if it does not fetch."""
    serve(login_required(echo))
    client = AsyncClient()
    with pytest.raises(HandshakeDenied) as denied:
        async with client.websocket("/ws/"):
            pass
    response = denied.value.response
    assert response.client is client
    SimpleTestCase().assertRedirects(
        response, "/accounts/login/?next=/ws/", fetch_redirect_response=False
    )


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_each_redirect(answer, status):
    """Each redirect has its url, whatever its scheme is."""
    redirect = HttpResponse("Over there.", status=status)
    redirect["Location"] = "app:login"
    response = answer(redirect)
    assert response.status_code == status
    assert response.url == response["Location"] == "app:login"
    assert response.content == b"Over there."
    assert "app:login" in repr(response)


@pytest.mark.parametrize("status", [302, 304, 404])
def test_no_redirect(answer, status):
    """What redirects to nowhere has no url."""
    response = answer(HttpResponse(status=status))
    assert response.status_code == status
    assert not hasattr(response, "url")


def test_assert_contains(serve):
    """assertContains() takes a denial."""

    @websocket
    async def view(socket):
        return HttpResponse("<p>caf\u00e9</p>", status=402)

    serve(view)
    with pytest.raises(HandshakeDenied) as denied:
        with Client().websocket("/ws/"):
            pass
    case, response = SimpleTestCase(), denied.value.response
    case.assertContains(response, "<p>caf\u00e9</p>", status_code=402, html=True)
    case.assertNotContains(response, "tea", status_code=402)


def test_json(answer):
    """json() returns what the response has in JSON, and takes nothing else for it."""
    response = answer(JsonResponse({"price": ["\u20ac", 1]}, status=402))
    assert response.json() == {"price": ["\u20ac", 1]}
    response = answer(HttpResponse("{}", content_type="text/plain", status=402))
    with pytest.raises(ValueError, match=r'^Content-Type header is "text/plain", not'):
        response.json()


def test_request(urls):
    """A denial has the client, the request and the resolver match, as Django's."""

    @websocket
    async def view(socket, name):
        raise PermissionDenied

    def page(request, name):
        return HttpResponse()

    client = Client()
    urls(path("ws/<str:name>/", view, name="ws"), path("page/<str:name>/", page))
    with pytest.raises(HandshakeDenied) as denied:
        with client.websocket("/ws/caf\u00e9/?q=\u20ac%26", secure=True):
            pass
    response = denied.value.response
    django = client.get("/page/caf\u00e9/?q=%E2%82%AC%26", secure=True)
    assert response.client is client
    names = "QUERY_STRING REQUEST_METHOD SERVER_PORT wsgi.url_scheme".split()
    for name in names:
        assert response.request[name] == django.request[name]
    page_path = django.request["PATH_INFO"]
    assert response.request["PATH_INFO"] == page_path.replace("page", "ws")
    assert response.resolver_match.url_name == "ws"
    assert response.resolver_match.kwargs == {"name": "caf\u00e9"}


def test_closed_before_the_accept():
    """A close before the accept is a response of the same kind."""

    async def application(scope, receive, send):
        await send({"type": "websocket.close"})

    client = Client(application=application)
    with pytest.raises(HandshakeDenied) as denied:
        with client.websocket("/ws/"):
            pass
    assert denied.value.response.client is client
    assert denied.value.response.request["PATH_INFO"] == "/ws/"
