"""The ASGI application: what a server is told to serve."""

import os

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

from django_asgi_ext import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")

# For the demo only, which has no other server for its static files.
application = ASGIStaticFilesHandler(get_asgi_application())
