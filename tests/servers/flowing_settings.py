"""The settings of the project whose peers send too much, or read too little."""

from project.settings import *  # noqa: F403
from served_settings import ASGI_EXT, LOGGING  # noqa: F401

ROOT_URLCONF = "flowing"
