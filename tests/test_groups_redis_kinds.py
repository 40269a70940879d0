"""Groups over a Redis with a password or TLS, a cluster, and sentinels."""

import asyncio
import gc
import itertools
import shutil
import subprocess
import time
from contextlib import ExitStack, contextmanager

import pytest
from browser import require
from redis_processes import ADA, KEPT, eventually, said
from redis_server import PATIENCE, free_port, run_redis

pytest_plugins = ["redis_fixtures"]

# Of the nodes of a cluster that go, redis-py leaves connections to the collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True, scope="module")
def collected():
    """Let the collector run where what it says is not minded, after the loops' end."""
    yield
    gc.collect()


async def check(processes, location, **options):
    """Publish, keep, replay and be there, in two processes."""
    one, two = processes(location, **options)
    groups = [f"chat.{number}" for number in range(20)]
    for group in (*groups, "kept.a"):
        await two.backend.subscribe(group)
    for group in groups:
        await one.publish(group, group)
    assert sorted(await two.until(20)) == sorted(groups)
    await one.publish("kept.a", "first", KEPT)
    await one.publish("kept.a", "second", KEPT)
    assert (await two.until(22))[20:] == ["first", "second"]
    position = two.delivered[20][1].position
    missed = await one.backend.since("kept.a", position, KEPT)
    assert [message.value for message in missed.messages] == ["second"]
    await one.backend.enter("chat.1", "1", "tab", ADA)
    assert await asyncio.to_thread(two.backend.members, "chat.1") == [ADA]
    one.backend.exit("chat.1", "1", "tab")
    assert said((await two.until(24))[22:]) == [("join", ADA), ("leave", ADA)]
    two.backend.unsubscribe("chat.1")
    return one, two


async def test_password(processes):
    """The URL may have a password."""
    with run_redis("--requirepass", "secret") as server:
        url = server.url.replace("//", "//:secret@")
        await check(processes, url)


async def test_wrong_password(processes, caplog):
    """A wrong password is in the log, without the password, and closes nothing."""
    with run_redis("--requirepass", "secret") as server:
        process = processes(server.url.replace("//", "//:wrong@"), 1)
        await process.backend.subscribe("chat")
        await process.publish("chat", "message")
    [line] = [m for m in caplog.messages if m.startswith("Redis is away")]
    assert "WRONGPASS" in line or "invalid" in line
    assert "wrong@" not in caplog.text


async def test_tls(processes, tmp_path):
    """rediss:// is TLS, whose certificate is checked."""
    require(shutil.which("openssl"), "OpenSSL: apt-get install openssl")
    subject = "-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *"openssl req -x509 -newkey rsa:2048 -nodes -days 2".split(),
            *("-keyout", key, "-out", certificate),
            *subject.split(),
        ],
        check=True,
        capture_output=True,
    )
    port = free_port()
    options = ["--tls-port", port, "--tls-cert-file", certificate]
    options += ["--tls-key-file", key, "--tls-auth-clients", "no"]
    with run_redis(*map(str, options)):
        url = f"rediss://127.0.0.1:{port}"
        await check(processes, url, ssl_ca_certs=str(certificate))


@contextmanager
def run_cluster():
    """Run a cluster of three nodes; give their URLs."""
    require(shutil.which("redis-cli"), "redis-cli: apt-get install redis-tools")
    with ExitStack() as stack:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000")
        nodes = [stack.enter_context(run_redis(*options)) for _ in range(3)]
        subprocess.run(
            ["redis-cli", "--cluster", "create", "--cluster-yes"]
            + [f"127.0.0.1:{node.port}" for node in nodes],
            check=True,
            capture_output=True,
        )
        deadline = time.monotonic() + PATIENCE
        while not all(b"cluster_state:ok" in n.ask("CLUSTER", "INFO") for n in nodes):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield nodes


async def test_cluster(processes):
    """In a cluster each channel is that of one node."""
    with run_cluster() as nodes:
        urls = [node.url for node in nodes]
        one, two = await check(processes, urls, cluster=True)

        async def each_has_some():
            channels = [len(n.ask("PUBSUB", "SHARDCHANNELS")) for n in nodes]
            # The groups but the one that was left, and one of each process.
            return min(channels) > 0 and sum(channels) == 20 + 2

        await eventually(each_has_some)
        assert [n.ask("PUBSUB", "CHANNELS") for n in nodes] == [[], [], []]
        # A node that goes takes all connections with it, and all come again.
        await asyncio.to_thread(nodes[0].kill)
        await asyncio.to_thread(nodes[0].start)
        two.delivered.clear()

        async def all_arrive():
            groups = {f"chat.{number}" for number in range(20)} - {"chat.1"}
            for group in groups:
                await one.publish(group, "again")
            return {group for group, _ in two.delivered} >= groups

        await eventually(all_arrive)


def move_slot(nodes, channel):
    """Move the slot of a channel to another node, with all that is in it."""
    [home] = [node for node in nodes if node.ask("PUBSUB", "SHARDCHANNELS", channel)]
    target = nodes[(nodes.index(home) + 1) % len(nodes)]
    slot = home.ask("CLUSTER", "KEYSLOT", channel)
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", home.ask("CLUSTER", "MYID"))
    home.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.ask("CLUSTER", "MYID"))
    for key in home.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
        home.ask("MIGRATE", "127.0.0.1", target.port, key, 0, PATIENCE * 1000)
    for node in (target, home):
        node.ask("CLUSTER", "SETSLOT", slot, "NODE", target.ask("CLUSTER", "MYID"))


@pytest.mark.parametrize("group", ["chat", "kept.chat"])
async def test_slot_moves(processes, group):
    """A group whose slot has moved to another node is found there by all."""
    history = KEPT if group == "kept.chat" else None
    with run_cluster() as nodes:
        one, two = processes([node.url for node in nodes], cluster=True)
        await two.backend.subscribe(group)
        await one.publish(group, 0, history)
        await two.until(1)
        await asyncio.to_thread(move_slot, nodes, one.backend._location.channel(group))
        published = itertools.count(1)

        async def one_arrives():
            number = next(published)
            await one.publish_when_back(group, number, history)
            return number in [message.value for _, message in two.delivered]

        await eventually(one_arrives)
        found = [message.value for _, message in two.delivered]
        assert found == sorted(set(found))
        if history:
            assert found == list(range(len(found)))


@contextmanager
def run_sentinel(folder, master, replica):
    """Run a sentinel that knows a master; give its URL."""
    port = free_port()
    configuration = folder / "sentinel.conf"
    configuration.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
        f"sentinel monitor main 127.0.0.1 {master.port} 1\n"
        "sentinel down-after-milliseconds main 500\n"
        "sentinel failover-timeout main 2000\n"
    )
    process = subprocess.Popen(
        ["redis-server", configuration, "--sentinel"],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(PATIENCE)


async def test_sentinel(processes, tmp_path):
    """The master is the one that the sentinels name, also after another became it."""
    with ExitStack() as stack:
        master = stack.enter_context(run_redis())
        replica = stack.enter_context(
            run_redis("--replicaof", f"127.0.0.1 {master.port}")
        )
        url = stack.enter_context(run_sentinel(tmp_path, master, replica))

        async def is_known():
            import redis

            with redis.Redis.from_url(url) as sentinel:
                try:
                    found = sentinel.execute_command("SENTINEL REPLICAS", "main")
                except redis.RedisError:
                    return False
                return bool(found) and b"master_link_status:up" in replica.ask("INFO")

        await eventually(is_known)
        one, two = await check(processes, [url], sentinel="main")
        await asyncio.to_thread(master.kill)
        await one.publish_when_back("kept.a", "to another", KEPT)
        assert (await two.until(25))[-1] == "to another"
