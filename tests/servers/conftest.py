"""Real servers, each in a process of its own."""

import pytest
from serving import COMMANDS, ENVIRONMENT, Server


@pytest.fixture(scope="module", params=list(COMMANDS))
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
