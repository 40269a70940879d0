"""The settings of the project that the servers serve."""

import json
import os

from project.settings import *  # noqa: F403
from project.settings import MIDDLEWARE

ROOT_URLCONF = "served"
MIDDLEWARE = [*MIDDLEWARE, "served.set_a_cookie"]
ASGI_EXT = {
    "MAX_MESSAGE_SIZE": 1_000_000,
    "THREADS": 3,
    # What the tests of a limit need.
    **json.loads(os.environ.get("SERVED_ASGI_EXT", "{}")),
}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {
        "django_asgi_ext": {"handlers": ["console"], "level": "INFO"},
        "django.request": {"handlers": ["console"], "level": "INFO"},
    },
}
