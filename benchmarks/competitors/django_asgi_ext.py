"""What this repository holds. Its views are in urls.py."""

from competitors import project
from django_asgi_ext import get_asgi_application

project.configure("django_asgi_ext")
application = get_asgi_application()
