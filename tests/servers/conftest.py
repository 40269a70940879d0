"""Real servers, each in a process of its own."""

import os
import sys
from pathlib import Path

import pytest

from serving import Server

HERE = Path(__file__).parent


@pytest.fixture(scope="module", params=["hypercorn"])
def server(request, tmp_path_factory):
    """Run the project in served.py on a server."""
    running = Server(
        request.param,
        "served:application",
        tmp_path_factory.mktemp(request.param),
        {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent), *sys.path])},
    )
    yield running
    running.stop()
