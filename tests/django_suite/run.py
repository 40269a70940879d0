"""
Run the tests of the installed Django with the ASGI handler of django_asgi_ext.

They are those of the release's source distribution, unmodified, and run twice:
as they are, and with our handlers and our get_asgi_application() in the places of
Django's. Every test must pass, but for those in suite_exceptions.py; one of these
that begins to pass, or fails in another way, is a failure as well.

Most tests of requests use Django's sync client. So, where our chain of middleware
runs, they run twice more: with that client over Django's async chain and over ours.
Some do not pass there at all, but none may differ.
"""

import json
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import django
from suite_exceptions import exceptions_on

from django_asgi_ext.http.support import can_fuse

HERE = Path(__file__).parent
# Folders of Django's tests. No other one touches Django's ASGI handler: they name
# neither it nor get_asgi_application(), and Django's test clients do without it.
FOLDERS = [
    "asgi",
    "async",
    "handlers",
    "middleware",
    "middleware_exceptions",
    "staticfiles_tests",
]
# Those that are about what becomes of a request.
REQUEST_FOLDERS = [
    *FOLDERS,
    "auth_tests",
    "cache",
    "csrf_tests",
    "generic_views",
    "i18n",
    "messages_tests",
    "sessions_tests",
    "test_client",
    "view_tests",
]


def source_distribution():
    """Return the file with the sources of the installed Django, once downloaded."""
    release = django.get_version()
    folder = Path(sys.prefix, "django-sources", release)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--no-binary", "django", "--dest", folder, f"django=={release}"]
    if not list(folder.glob("*.tar.gz")):
        subprocess.run(command, check=True)
    return next(folder.glob("*.tar.gz"))


def extract_tests(archive, folder):
    """Extract the tests, which import one another, and return where they are."""
    with tarfile.open(archive) as tar:
        members = [
            member for member in tar if Path(member.name).parts[1:2] == ("tests",)
        ]
        tar.extractall(folder, members, filter="data")
    return next(folder.glob("*/tests"))


def run(runner, archive, folders):
    """Return what came out of the tests in some folders with one of the runners."""
    with tempfile.TemporaryDirectory() as folder:
        outcome = Path(folder, "outcome.json")
        paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
        options = ["--settings=suite_settings", "--parallel=1", "--noinput"]
        finished = subprocess.run(
            [sys.executable, "runtests.py", *options, *folders],
            cwd=extract_tests(archive, Path(folder)),
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(paths),
                "SUITE_RUNNER": f"suite_runner.{runner}",
                "SUITE_OUTCOME": str(outcome),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if not outcome.exists():
            sys.exit(f"Django's tests did not run with {runner}:\n{finished.stdout}")
        return json.loads(outcome.read_text())


def problems(bare, swapped, exceptions):
    """Yield what is not as it should be, in words."""
    if not swapped["served"]:
        yield "The ASGI handler of django_asgi_ext has served no request."
    if bare["ran"] != swapped["ran"]:
        yield "Other tests ran with django_asgi_ext than without."
    for name, outcome in (("without", bare), ("with", swapped)):
        for test, traceback in outcome["failed"].items():
            if test not in exceptions:
                yield f"{test} fails {name} django_asgi_ext:\n{traceback}"
    for test, exception in exceptions.items():
        if exception.error not in (swapped["failed"].get(test) or ""):
            yield f"{test} does not fail as suite_exceptions.py says."
        if (test in bare["failed"]) is not exception.without_us_too:
            yield f"{test} without us: not as suite_exceptions.py says."


def differences(theirs, ours):
    """Yield what differs between Django's async chain and ours, in words."""
    if not ours["served"]:
        yield "The fused chain has served no request."
    if theirs["ran"] != ours["ran"]:
        yield "Other tests ran over the fused chain."
    for test in theirs["failed"].keys() ^ ours["failed"].keys():
        traceback = theirs["failed"].get(test) or ours["failed"].get(test)
        chain = "the fused" if test in ours["failed"] else "Django's"
        yield f"{test} fails over {chain} chain only:\n{traceback}"


def run_side_by_side(runners, archive, folders):
    """Return what came out with each of the runners."""
    with ThreadPoolExecutor() as threads:
        return threads.map(lambda runner: run(runner, archive, folders), runners)


def main():
    archive = source_distribution()
    fuses = can_fuse()
    folders = REQUEST_FOLDERS if fuses else FOLDERS
    bare, swapped = run_side_by_side(["BareRunner", "SwappedRunner"], archive, folders)
    exceptions = exceptions_on("{}.{}".format(*django.VERSION))
    found = list(problems(bare, swapped, exceptions))
    print(
        f"Django {django.get_version()} on Python {platform.python_version()}: "
        f"{len(swapped['ran'])} tests, {len(swapped['served'])} of them served by "
        f"django_asgi_ext, {len(exceptions)} exceptions."
    )
    if fuses:
        theirs, ours = run_side_by_side(
            ["AsyncRunner", "FusedRunner"], archive, folders
        )
        found += differences(theirs, ours)
        print(
            f"With the sync client, too, over the async chain: {len(ours['ran'])} "
            f"tests, {len(ours['served'])} of them served by django_asgi_ext, "
            f"{len(theirs['failed'])} fail over Django's chain."
        )
    return "\n\n".join(found) or None


if __name__ == "__main__":
    sys.exit(main())
