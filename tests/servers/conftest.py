"""Real servers, each in a process of its own."""

import pytest
from serving import ENVIRONMENT, Server


@pytest.fixture(
    scope="module", params=["hypercorn", "uvicorn", "granian", "daphne", "gunicorn"]
)
def server(request, tmp_path_factory):
    """Run the project in served.py on a server."""
    running = Server(
        request.param,
        "served:application",
        tmp_path_factory.mktemp(request.param),
        ENVIRONMENT,
    )
    yield running
    running.stop()
