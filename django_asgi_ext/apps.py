"""The application configuration."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks

from django_asgi_ext.checks import (
    check_asgi_module,
    check_deployment,
    check_groups,
    check_runserver,
    check_settings,
)


class ASGIExtConfig(AppConfig):
    """What being in INSTALLED_APPS adds: system checks."""

    name = "django_asgi_ext"
    label = "asgi_ext"
    verbose_name = "ASGI extensions"

    def ready(self) -> None:
        """Register the system checks."""
        checks.register(check_settings)
        checks.register(check_asgi_module)
        checks.register(check_groups, checks.Tags.urls)
        checks.register(check_runserver)
        checks.register(check_deployment, "asgi_ext", checks.Tags.security, deploy=True)
