"""The settings of the project whose views work with a database."""

import json
import os

from project.settings import *  # noqa: F403
from project.settings import DATABASES

ROOT_URLCONF = "stored"
ASGI_EXT = {"THREADS": 4, "OPEN_TIMEOUT": 30}
DATABASES["default"]["OPTIONS"] = {}
DATABASES["default"].update(json.loads(os.environ["STORED_DATABASE"]))
