"""The tags of {% load asgi_ext %}."""

import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage
from django.core.management import call_command
from django.http import HttpResponse
from django.template import Context, RequestContext, Template
from django.test import RequestFactory, override_settings
from django.utils.functional import SimpleLazyObject, empty

import django_asgi_ext

CLIENT = "django_asgi_ext/websocket.min.js"
TEMPLATE = "{% load asgi_ext %}{% websocket_client %}"


class Nonce(SimpleLazyObject):
    """A nonce of django-csp or Django: it is false until somebody reads it."""

    def __init__(self, value="r4nd0m"):
        super().__init__(lambda: value)

    def __bool__(self):
        return self._wrapped is not empty


@pytest.fixture
def make_request():
    return RequestFactory().get("/")


def render(context):
    return Template(TEMPLATE).render(context)


@override_settings(STATIC_URL="/static/")
def test_import_map():
    """Scripts import the minified client by the name of the package."""
    assert render(Context()) == (
        '<script type="importmap">{"imports": {"django_asgi_ext/websocket": '
        '"/static/django_asgi_ext/websocket.min.js"}}</script>'
    )


@override_settings(STATIC_URL="https://cdn.example.com/a&b/")
def test_url_of_static_files():
    """The URL is that of the static files, and nothing in it ends the script."""
    assert (
        '"https://cdn.example.com/a\\u0026b/django_asgi_ext/websocket.min.js"'
        in render(Context())
    )


def test_nonce_of_django():
    """The nonce is "csp_nonce" of the context, which is false before it is read."""
    html = render(Context({"csp_nonce": Nonce()}))
    assert html.startswith('<script type="importmap" nonce="r4nd0m">{')


@pytest.mark.parametrize("in_context", [True, False])
def test_nonce_of_django_csp(make_request, in_context):
    """The nonce is that of the request, in the context or beside it."""
    make_request.csp_nonce = Nonce()
    context = RequestContext(make_request)
    if in_context:
        context = Context({"request": make_request})
    html = render(context)
    assert html.startswith('<script type="importmap" nonce="r4nd0m">{')


def test_nonce_is_escaped():
    """Whatever a nonce is, it ends no attribute."""
    html = render(Context({"csp_nonce": '"><b>'}))
    assert html.startswith('<script type="importmap" nonce="&quot;&gt;&lt;b&gt;">{')


@pytest.mark.parametrize("nonce", [None, ""])
def test_no_nonce(make_request, nonce):
    """Without a nonce there is no attribute."""
    make_request.csp_nonce = nonce
    html = render(RequestContext(make_request, {"csp_nonce": nonce}))
    assert html.startswith('<script type="importmap">{')


@pytest.mark.skipif(
    not find_spec("django.middleware.csp"), reason="needs Django 6.0, which has nonces"
)
def test_policy_of_django(make_request):
    """With Django's own middleware the nonce is the one in the header."""
    from django.middleware.csp import ContentSecurityPolicyMiddleware
    from django.template.context_processors import csp
    from django.utils.csp import CSP

    def view(request):
        return HttpResponse(render(RequestContext(request, processors=[csp])))

    with override_settings(SECURE_CSP={"script-src": [CSP.NONCE]}):
        response = ContentSecurityPolicyMiddleware(view)(make_request)
    [nonce] = re.findall('nonce="(.*?)"', response.content.decode())
    assert response["Content-Security-Policy"] == f"script-src 'nonce-{nonce}'"


class ModulesStorage(ManifestStaticFilesStorage):
    """With hashed names, in what modules import too, where Django can do that."""

    support_js_module_import_aggregation = True


@pytest.mark.parametrize(
    "name",
    [
        "django.contrib.staticfiles.storage.ManifestStaticFilesStorage",
        f"{__name__}.ModulesStorage",
    ],
)
def test_manifest(tmp_path, name):
    """With hashed names of static files the URL has the hash."""
    changed = {"STATICFILES_STORAGE": name}
    if hasattr(settings, "STORAGES"):
        changed = {"STORAGES": {"staticfiles": {"BACKEND": name}}}
    apps = [*settings.INSTALLED_APPS, "django.contrib.staticfiles"]
    with override_settings(
        INSTALLED_APPS=apps, STATIC_URL="/static/", STATIC_ROOT=tmp_path, **changed
    ):
        call_command("collectstatic", verbosity=0, interactive=False)
        html = render(Context())
    [text] = re.findall("<script.*?>(.*)</script>", html)
    url = json.loads(text)["imports"]["django_asgi_ext/websocket"]
    found = re.fullmatch(r"/static/(.*/websocket\.min\.[0-9a-f]{12}\.js)", url)
    assert found, url
    source = Path(django_asgi_ext.__path__[0]) / "static" / CLIENT
    assert (tmp_path / found[1]).read_bytes() == source.read_bytes()
