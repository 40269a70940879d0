"""Django's settings for its own tests on SQLite, with a runner of ours."""

import os

from test_sqlite import *  # noqa: F403

TEST_RUNNER = os.environ["SUITE_RUNNER"]
