"""A protocol from outside, on its own server: docs/mqtt.md runs as written."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.request import urlopen

import django
import pytest
from browser import require
from documents import blocks
from serving import Server, free_port
from websockets.sync.client import connect

PAGE = "docs/mqtt.md"

# With the scripts of this Python, and where Debian has its daemons.
PATH = os.pathsep.join(
    [str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin"]
)

WITH_LIFESPAN = """
from mysite.asgi import get_asgi_application


def lifespan():
    raise RuntimeError("The lifespan has begun.")


application = get_asgi_application(lifespan=lifespan)
"""


def command(name, port):
    """Return the page's command line of a program, with a port for the broker's."""
    (line,) = [
        line
        for block in blocks(PAGE, "sh")
        for line in block.splitlines()
        if line.startswith(f"{name} ")
    ]
    return [part.replace("1883", str(port)) for part in shlex.split(line)]


class Program(Server):
    """A command that runs until it is stopped; what it writes is in ``log``."""

    def __init__(self, arguments, folder, env):
        self.name = arguments[0]
        self.log_path = folder / f"{self.name}.log"
        self._log_begins = 0
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                arguments,
                cwd=folder,
                env=env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


@pytest.fixture(scope="module", autouse=True)
def programs():
    """Say what is missing."""
    if django.VERSION < (3, 2) and not find_spec("mqttasgi"):
        pytest.skip("mqttasgi needs Django 3.2")
    require(find_spec("mqttasgi"), "mqttasgi: pip install 'mqttasgi>=2'")
    for name, package in [
        ("mosquitto", "mosquitto"),
        ("mosquitto_rr", "mosquitto-clients"),
    ]:
        require(shutil.which(name, path=PATH), f"{name}: apt-get install {package}")


@pytest.fixture(scope="module")
def project(programs, tmp_path_factory):
    """Return the folder of a new project with the page's files in it."""
    folder = tmp_path_factory.mktemp("project")

    def python(*arguments):
        subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env=environment(folder),
            check=True,
            capture_output=True,
        )

    python("-m", "django", "startproject", "mysite", ".")
    python("manage.py", "startapp", "sensors")
    for name, text in files(folder).items():
        (folder / name).write_text(text)
    python("manage.py", "makemigrations", "sensors")
    python("manage.py", "migrate")
    return folder


def files(folder):
    """Return the files of the page, and others for what it says beside them."""
    shown = {
        re.match(r"# (\S+)\n", block)[1]: block for block in blocks(PAGE, "python")
    }
    in_settings = shown.pop("mysite/settings.py")
    unregistered, registration = shown["mysite/asgi.py"].split("\nfrom sensors.mqtt")
    assert "protocols.register" in registration
    settings = (folder / "mysite/settings.py").read_text()
    return {
        **shown,
        "mysite/settings.py": f"{settings}\nINSTALLED_APPS += ['sensors']\n",
        "mysite/in_settings.py": f"from mysite.settings import *\n\n{in_settings}",
        "mysite/unregistered.py": unregistered,
        "mysite/with_lifespan.py": WITH_LIFESPAN,
    }


def environment(folder, **more):
    """Return the environment of the programs."""
    path = os.pathsep.join([str(folder), *sys.path])
    env = {**os.environ, "PATH": PATH, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    # That of the tests; the project names its own.
    env.pop("DJANGO_SETTINGS_MODULE", None)
    return {**env, **more}


@contextmanager
def starting(project):
    """Return a function that starts commands in the project, and stop them."""
    started = []

    def start(arguments, **env):
        started.append(Program(arguments, project, environment(project, **env)))
        return started[-1]

    try:
        yield start
    finally:
        for program in started:
            if program.process.poll() is None:
                program.stop()


@pytest.fixture
def run(project):
    """Run commands in the project until the test ends."""
    with starting(project) as start:
        yield start


class Broker:
    """Mosquitto, on a port of 127.0.0.1 which it keeps."""

    def __init__(self, run, folder):
        self.port = free_port()
        self._run = run
        self._configuration = folder / "mosquitto.conf"
        self._configuration.write_text(
            f"listener {self.port} 127.0.0.1\n"
            "allow_anonymous true\n"
            "log_type notice\n"
            "log_type information\n"
            "log_type subscribe\n"
        )
        self.start()

    def start(self):
        self.program = self._run(["mosquitto", "-c", str(self._configuration)])
        self.program.wait_for_log(" running\n")

    def wait_for_subscription(self):
        """Wait until mqttasgi gets what thermometers publish."""
        self.program.wait_for_log(" 1 sensors/+/celsius\n")

    def ask(self, celsius):
        """Run the page's thermometer and return the answer."""
        arguments = command("mosquitto_rr", self.port)
        arguments[arguments.index("21.5")] = celsius
        asked = subprocess.run(
            [*arguments, "-W", "20"],
            env={**os.environ, "PATH": PATH},
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
        return asked.stdout


@pytest.fixture
def broker(project, tmp_path):
    """Run a broker, for longer than mqttasgi, which must not wait for it to end."""
    with starting(project) as start:
        yield Broker(start, tmp_path)


@pytest.fixture
def mqttasgi(project, broker):
    """Run the page's mqttasgi, with options and variables of the test's own."""
    with starting(project) as run:

        def start(*options, module="mysite.asgi", **env):
            arguments = command("mqttasgi", broker.port)
            assert arguments.pop() == "mysite.asgi:application"
            return run([*arguments, *options, f"{module}:application"], **env)

        yield start


def test_page(broker, mqttasgi, run):
    """One application: MQTT on mqttasgi, pages and WebSockets on hypercorn."""
    mqttasgi()
    port = free_port()
    hypercorn = run([*command("hypercorn", port), "--bind", f"127.0.0.1:{port}"])
    hypercorn.wait_for_log("Running on")
    broker.wait_for_subscription()

    answer = broker.ask("21.5")

    assert answer == "/sensors/attic/\n"
    url = f"127.0.0.1:{port}{answer.strip()}"
    with urlopen(f"http://{url}", timeout=10) as response:
        assert json.load(response) == {"celsius": [21.5]}
    with connect(f"ws://{url}", origin=f"http://127.0.0.1:{port}") as websocket:
        websocket.send("")
        assert json.loads(websocket.recv(10)) == [21.5]


def test_settings(broker, mqttasgi):
    """ASGI_EXT["PROTOCOLS"] does it for an application that registers nothing."""
    mqttasgi(module="mysite.unregistered", DJANGO_SETTINGS_MODULE="mysite.in_settings")
    broker.wait_for_subscription()
    assert broker.ask("1") == "/sensors/attic/\n"


def test_unregistered(broker, mqttasgi):
    """Without its application the error names the registered types, on SIGTERM."""
    program = mqttasgi("-v", "1", module="mysite.unregistered")
    program.wait_for_log("Connected to")
    # Not before does mqttasgi tell.
    program.process.send_signal(signal.SIGTERM)
    program.wait_for_log(
        "django_asgi_ext.exceptions.UnsupportedProtocol: No protocol for scope type "
        "'mqtt' (registered: http, lifespan, websocket).\n"
    )
    with pytest.raises(subprocess.TimeoutExpired):
        program.process.wait(1)
    program.process.kill()
    program.process.wait(10)


def test_bad_message(broker, mqttasgi):
    """A message that the application cannot store is logged, the next one is stored."""
    from paho.mqtt import publish

    program = mqttasgi()
    broker.wait_for_subscription()
    publish.single(
        "sensors/attic/celsius", "warm", hostname="127.0.0.1", port=broker.port
    )
    program.wait_for_log("could not convert string to float: b'warm'")
    assert "Not stored: {'topic': 'sensors/attic/celsius'" in program.log
    assert broker.ask("2") == "/sensors/attic/\n"


def test_broker_restarts(broker, mqttasgi):
    """The application subscribes again when the broker is back."""
    mqttasgi("-r", "0")
    broker.wait_for_subscription()
    broker.program.stop()
    broker.start()
    broker.wait_for_subscription()
    assert broker.ask("3") == "/sensors/attic/\n"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_shutdown(broker, mqttasgi, signum):
    """A signal ends the application and then mqttasgi, without any traceback."""
    program = mqttasgi()
    broker.wait_for_subscription()
    broker.ask("4")
    program.process.send_signal(signum)
    assert program.process.wait(10) == 0
    assert "Traceback" not in program.log


def test_no_lifespan(broker, mqttasgi):
    """mqttasgi serves the application without its lifespan."""
    program = mqttasgi(module="mysite.with_lifespan")
    broker.wait_for_subscription()
    assert broker.ask("5") == "/sensors/attic/\n"
    assert "lifespan" not in program.log
