"""The settings of the project whose pages use the browser client."""

from project.settings import *  # noqa: F403

ROOT_URLCONF = "pages"
ALLOWED_HOSTS = ["127.0.0.1", "localhost", ".localhost", "chat.test"]
STATIC_URL = "/static/"
ASGI_EXT = {"GROUPS": {"POLICIES": {"kept.*": {"history": 100}}}}
