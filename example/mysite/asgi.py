"""The ASGI application: what a server is told to serve."""

import os

from django_asgi_ext import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")

application = get_asgi_application()
