"""The settings of the project whose groups reach over several processes."""

import os

from project.settings import *  # noqa: F403

ROOT_URLCONF = "crossing"
ASGI_EXT = {
    "GROUPS": {
        "BACKEND": "django_asgi_ext.groups.redis.RedisBackend",
        "LOCATION": os.environ["CROSSING_REDIS"],
        "POLICIES": {
            "kept.*": {"history": 100_000},
            "present.*": {"presence": True, "grace": 4},
        },
    }
}
