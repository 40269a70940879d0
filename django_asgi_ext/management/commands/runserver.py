"""Django's runserver, with the project's ASGI application on hypercorn."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.conf import settings
from django.core.management.base import CommandError, OutputWrapper
from django.utils import autoreload

from django_asgi_ext.development.application import project_application
from django_asgi_ext.development.ending import end_soon, let_child_end_first
from django_asgi_ext.protocols import ASGIApplication

if TYPE_CHECKING or apps.is_installed("django.contrib.staticfiles"):
    from django.contrib.staticfiles.management.commands.runserver import (
        Command as RunserverCommand,
    )
else:
    from django.core.management.commands.runserver import Command as RunserverCommand

if TYPE_CHECKING:
    from django_asgi_ext.development.server import DevelopmentServer


class Command(RunserverCommand):
    """manage.py runserver."""

    help = "Starts hypercorn for development: pages, static files and WebSockets."

    _server: DevelopmentServer | None = None

    def handle(self, *args: Any, **options: Any) -> None:
        """
        Begin as Django's does.

        Raise CommandError without hypercorn.
        """
        if find_spec("hypercorn") is None:
            raise CommandError(
                "runserver needs hypercorn: python -m pip install "
                '"django-asgi-ext[hypercorn]"'
            )
        super().handle(*args, **options)

    def run(self, **options: Any) -> None:
        """Run the server, and stop it when the autoreloader ends the process."""
        if not options["use_reloader"]:
            super().run(**options)
            return
        if os.environ.get(autoreload.DJANGO_AUTORELOAD_ENV) != "true":
            let_child_end_first()
        code = 0
        try:
            super().run(**options)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
            raise
        finally:
            if self._server is not None:
                end_soon(code)
                with suppress(KeyboardInterrupt):
                    self._server.stop()

    def inner_run(self, *args: Any, **options: Any) -> None:
        """Check the project and serve it."""
        self.stdout = _Banner(self.stdout)  # type: ignore[arg-type]
        # What Django does with threads is for a class of its own.
        super().inner_run(*args, **{**options, "use_threading": False})

    def get_handler(self, *args: Any, **options: Any) -> ASGIApplication:  # type: ignore[override]
        """
        Return the application, behind the static files if they are served.

        Raise CommandError if there is none.
        """
        application = project_application()
        if options.get("use_static_handler") and (
            settings.DEBUG or options["insecure_serving"]
        ):
            from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

            return ASGIStaticFilesHandler(application)  # type: ignore[arg-type]
        return application

    def server_cls(  # type: ignore[override]
        self, address: tuple[str, int], handler_class: object, ipv6: bool = False
    ) -> DevelopmentServer:
        """Return a server that listens at an address. Raise OSError if none can."""
        from django_asgi_ext.development.server import DevelopmentServer

        self._server = DevelopmentServer(address, ipv6)
        return self._server


class _Banner(OutputWrapper):
    """Names the server where Django, which has one only, writes its own."""

    def write(self, msg: str = "", *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        server = f"ASGI/hypercorn version {version('hypercorn')}"
        msg = re.sub(
            "Starting (WSGI )?development", f"Starting {server} development", msg
        )
        super().write(msg, *args, **kwargs)
