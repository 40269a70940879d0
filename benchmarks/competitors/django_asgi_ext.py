"""What this repository holds. Its views are in urls.py."""

from competitors import project
from django_asgi_ext import get_asgi_application, groups

project.configure("django_asgi_ext")
application = get_asgi_application()


async def publish(text):
    await groups.apublish("benchmark", text)
