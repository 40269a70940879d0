"""The settings of the project whose WebSocket URLs a browser opens."""

from project.settings import *  # noqa: F403
from project.settings import MIDDLEWARE

DEBUG = True
ROOT_URLCONF = "consoled"
MIDDLEWARE = ["consoled.policies", *MIDDLEWARE]
