"""The settings of the project that a browser looks at."""

from project.settings import *  # noqa: F403

ROOT_URLCONF = "browsed"
