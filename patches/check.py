"""
Check each patch against the release of Django that it is made for.

    python patches/check.py             all of them
    python patches/check.py 4.2 5.2     some of them
    python patches/check.py 5.2 --patch patches/django-3.0.patch

The newest point release is downloaded from the package index and unpacked. There
the patch must apply without fuzz, patches for other code must not, and Django's own
tests of ASGI must pass with those that the patch adds among them. One line each;
ends with 1 if one fails.
"""

import argparse
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from apply import PATCHES, PatchFailed, applies, apply, part_of, patch_for

RELEASES = sorted(path.stem.removeprefix("django-") for path in PATCHES.glob("*.patch"))


class CheckFailed(Exception):
    """A patch does not do what it is for."""


def requirements(release: str) -> list[str]:
    """Return what the tests of a release need."""
    # Tests of 3.1 look into what asgiref 3.5 has changed, unpatched as well.
    asgiref = "asgiref>=3.2.10,<3.5" if release < "4.0" else "asgiref"
    return [asgiref, "sqlparse", "pytz"]


def python_for(release: str) -> str:
    """
    Return the path of a Python that a release runs on.

    Django before 6.0 runs on 3.11, older releases than it was made for as well;
    Django 6.0 needs 3.12. Raise CheckFailed if there is none on PATH.
    """
    wanted = ["3.11"] if release < "6.0" else ["3.12", "3.13", "3.14"]
    for version in wanted:
        for folder in os.get_exec_path():
            python = Path(folder, f"python{version}")
            # What a version manager puts on PATH may not run.
            if python.is_file() and succeeds([str(python), "-c", "import venv"]):
                return str(python)
    raise CheckFailed(f"no Python {' or '.join(wanted)} on PATH")


def succeeds(command: list[str]) -> bool:
    """Return whether a command ends with 0."""
    done = subprocess.run(command, capture_output=True, check=False)
    return done.returncode == 0


def run(*command: str, cwd: Path, **environment: str) -> str:
    """Return what a command writes. Raise CheckFailed if it does not end with 0."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        text=True,
        errors="replace",
    )
    if done.returncode != 0:
        raise CheckFailed(f"{' '.join(command)}\n{done.stdout}")
    return done.stdout


def download(release: str, python: str, folder: Path) -> Path:
    """Download and unpack the source distribution of a release; return its folder."""
    what = ["--no-deps", "--no-binary", ":all:", f"Django=={release}.*"]
    run(python, "-m", "pip", "download", *what, cwd=folder)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def code_of(patch: Path) -> list[str]:
    """Return the lines of Django that a patch shows, without where they stand."""
    lines = part_of(patch, "django/").decode().splitlines()
    return [line for line in lines if not line.startswith(("@@", "index "))]


def check_others(patch: Path, tree: Path) -> None:
    """Raise CheckFailed if a patch that was made for other code applies."""
    for release in RELEASES:
        other = patch_for(release)
        if code_of(other) != code_of(patch) and applies(part_of(other, ""), tree):
            raise CheckFailed(f"{other.name} applies as well, with other code")


def run_tests(python: str, tree: Path, patch: Path) -> str:
    """Run Django's tests of ASGI. Raise CheckFailed if one fails or was not run."""
    tests = run(
        *(python, "runtests.py", "asgi", "--verbosity=2", "--parallel=1"),
        cwd=tree / "tests",
        PYTHONPATH=str(tree),
    )
    added = re.findall(r"^\+ +async def (test_\w+)", patch.read_text(), re.MULTILINE)
    # Python's own warnings may stand between the name of a test and its "ok".
    if not re.search(r"^OK$", tests, re.MULTILINE):
        raise CheckFailed(f"not every test was run\n{tests}")
    for name in added:
        if not re.search(rf"^{name} \(asgi\.", tests, re.MULTILINE):
            raise CheckFailed(f"{name} was not run\n{tests}")
    (ran,) = re.findall(r"^Ran (\d+) tests", tests, re.MULTILINE)
    return f"{ran} tests of asgi pass, {len(added)} of them new"


def check(release: str, patch: Path, folder: Path) -> str:
    """Check a patch in an empty folder and return what was seen."""
    base = python_for(release)
    run(base, "-m", "venv", "venv", cwd=folder)
    python = str(folder / "venv" / "bin" / "python")
    run(python, "-m", "pip", "install", *requirements(release), cwd=folder)
    tree = download(release, python, folder)
    if patch == patch_for(release):
        check_others(patch, tree)
    try:
        apply(part_of(patch, ""), tree)
    except PatchFailed as error:
        raise CheckFailed(f"{patch.name} does not apply\n{error}") from None
    tests = run_tests(python, tree, patch)
    return f"{tree.name}, {Path(base).name}: {patch.name} applies, {tests}"


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(
        description="Check each patch against the release that it is made for."
    )
    parser.add_argument("releases", nargs="*", default=RELEASES, metavar="release")
    parser.add_argument("--patch", type=Path, help="a patch that may not fit")
    options = parser.parse_args()
    failed = 0
    for release in options.releases:
        with tempfile.TemporaryDirectory(prefix="django-patch-") as folder:
            try:
                patch = (options.patch or patch_for(release)).resolve()
                print(check(release, patch, Path(folder).resolve()), flush=True)
            except (CheckFailed, PatchFailed) as error:
                failed += 1
                print(f"FAILED Django {release}: {error}", flush=True)
    passed = len(options.releases) - failed
    print(f"{passed} of {len(options.releases)} patches apply and pass.")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
