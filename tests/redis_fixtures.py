"""What tests of groups over Redis may use."""

import asyncio

import pytest
from redis_processes import Process
from redis_server import run_redis


@pytest.fixture(scope="module")
def shared_redis():
    """Run Redis for the tests of a module, which do not stop it."""
    with run_redis() as server:
        yield server


@pytest.fixture
def own_redis():
    """Run Redis for one test, which may stop it."""
    with run_redis() as server:
        yield server


@pytest.fixture(params=["memory", "redis"])
def backend(request, settings_of_ours):
    """Use one of the backends, with the POLICIES of the module."""
    ours = {"POLICIES": request.module.POLICIES}
    if request.param == "redis":
        ours["BACKEND"] = "django_asgi_ext.groups.redis.RedisBackend"
        ours["LOCATION"] = request.getfixturevalue("shared_redis").url
    settings_of_ours(GROUPS=ours)


@pytest.fixture
def policies(settings_of_ours):
    """Keep the messages of kept.*."""
    settings_of_ours(GROUPS={"POLICIES": {"kept.*": {"history": 100}}})


@pytest.fixture
async def processes(policies):
    """Make backends, and close them in the end."""
    made = []

    def make(location, count=2, **options):
        # A server, or where it is.
        location = getattr(location, "url", location)
        some = [Process(location, **options) for _ in range(count)]
        made.extend(some)
        return some if count > 1 else some[0]

    yield make
    for process in made:
        await asyncio.to_thread(process.backend.close)


@pytest.fixture
def group(request):
    """Return the name of a group that no other test has."""
    return request.node.name.translate(str.maketrans("[]", "..")).replace(" ", "")
