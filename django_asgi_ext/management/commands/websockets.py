"""The command that lists the project's WebSocket URLs."""

from __future__ import annotations

import dataclasses
import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from django_asgi_ext.websockets.listing import WebSocketURL, websocket_urls


class Command(BaseCommand):
    """manage.py websockets."""

    help = "Lists every WebSocket URL of the project, with what guards it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add --json and --urlconf."""
        parser.add_argument("--json", action="store_true", help="for a program")
        parser.add_argument("--urlconf", help="in place of ROOT_URLCONF")

    def handle(self, **options: Any) -> None:
        """Print the list."""
        urls = websocket_urls(options["urlconf"])
        if options["json"]:
            entries = [dataclasses.asdict(url) for url in urls]
            self.stdout.write(json.dumps(entries, indent=2))
        elif urls:
            self.stdout.write("\n".join(map(self._describe, urls)))
        else:
            self.stdout.write("No URL of the project has a WebSocket view.")

    def _describe(self, url: WebSocketURL) -> str:
        lines = [self.style.MIGRATE_HEADING(url.path)]
        origins = url.origins
        if origins is None:
            origins = ("its own and CSRF_TRUSTED_ORIGINS",)
        for title, texts in (
            ("name", (url.name,)),
            ("view", (url.view,)),
            ("subprotocols", url.subprotocols),
            ("origins", origins),
            ("groups", url.groups),
            ("guards", url.guards),
        ):
            if any(texts):
                lines.append(f"  {title:12}  {', '.join(texts)}")
        return "\n".join(lines)
