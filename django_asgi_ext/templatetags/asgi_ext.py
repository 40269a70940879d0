"""What {% load asgi_ext %} brings: the browser client, for the scripts of a page."""

from __future__ import annotations

import json

from django import template
from django.template.context import Context
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

register = template.Library()

MODULE = "django_asgi_ext/websocket"

# Inside a script these could end it (HTML, section 4.12.1.3).
_ESCAPES = {ord(">"): "\\u003E", ord("<"): "\\u003C", ord("&"): "\\u0026"}


@register.simple_tag(takes_context=True)
def websocket_client(context: Context) -> SafeString:
    """
    Return an import map with which scripts import the browser client by its name.

    The name is "django_asgi_ext/websocket", the URL that of the static file in use
    (HTML, section 8.1.5). The nonce of a Content Security Policy is that of Django
    ("csp_nonce" in the context) or of django-csp (request.csp_nonce).
    """
    imports = {MODULE: static(f"{MODULE}.min.js")}
    return format_html(
        '<script type="importmap"{}>{}</script>',
        _nonce_attribute(context),
        mark_safe(json.dumps({"imports": imports}).translate(_ESCAPES)),  # noqa: S308
    )


def _nonce_attribute(context: Context) -> str:
    nonce = context.get("csp_nonce")
    if nonce is None:
        request = context.get("request", getattr(context, "request", None))
        nonce = getattr(request, "csp_nonce", None)
    # Both are made when they are first read, and are false until then.
    value = "" if nonce is None else str(nonce)
    return format_html(' nonce="{}"', value) if value else ""
