"""The settings of grouped.py."""

from project.settings import *  # noqa: F403

ROOT_URLCONF = "grouped"
ASGI_EXT = {
    "CLOSE_TIMEOUT": 1,
    "SEND_TIMEOUT": 5,
    "GROUPS": {
        "POLICIES": {"kept.*": {"history": 1000}, "news.*": {"slow": "drop_oldest"}}
    },
}
