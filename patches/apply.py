"""
Apply the patch that fits the Django installed in this environment.

    python patches/apply.py             patch it; does nothing if it is patched
    python patches/apply.py --reverse   take the patch out again

Run it with the Python of the environment. It needs git or patch, and ends with 1
if there is no patch for this Django or its code is not that of the release.
"""

import argparse
import os
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

PATCHES = Path(__file__).resolve().parent


class PatchFailed(Exception):
    """A patch does not apply."""


def patch_for(version: str) -> Path:
    """Return the patch for a version of Django, as 5.2.19, or its release, as 5.2."""
    release = ".".join(version.split(".")[:2])
    patch = PATCHES / f"django-{release}.patch"
    if not patch.is_file():
        raise PatchFailed(f"There is no patch for Django {release}.")
    return patch


def part_of(patch: Path, folder: str) -> bytes:
    """Return what a patch changes below one folder, "" for all of it."""
    _, *files = patch.read_bytes().split(b"diff --git a/")
    return b"".join(
        b"diff --git a/" + file for file in files if file.startswith(folder.encode())
    )


def apply(diff: bytes, tree: Path, *, reverse: bool = False, dry: bool = False) -> None:
    """
    Change the files of a tree, all or none, without fuzz.

    Raise PatchFailed if the lines to change are not as the diff says.
    """
    if shutil.which("git"):
        command = ["git", "apply", *["--reverse"] * reverse, *["--check"] * dry]
    elif shutil.which("patch"):
        # --forward, in both directions: what seems to be done already is a failure.
        command = ["patch", "-p1", "--fuzz=0", "--forward", "--reject-file=-"]
        command += ["--reverse"] * reverse
        if not dry:
            apply(diff, tree, reverse=reverse, dry=True)
        command += ["--dry-run"] * dry
    else:
        raise PatchFailed("Neither git nor patch is installed.")
    tree = tree.resolve()
    # Inside another repository git would skip every file, and say nothing.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tree.parent)}
    done = subprocess.run(
        command,
        cwd=tree,
        env=environment,
        input=diff,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode != 0:
        raise PatchFailed(done.stdout.decode(errors="replace").strip())


def applies(diff: bytes, tree: Path, *, reverse: bool = False) -> bool:
    """Return whether a diff could be applied, or taken out."""
    try:
        apply(diff, tree, reverse=reverse, dry=True)
    except PatchFailed:
        return False
    return True


def patch_installed(*, reverse: bool = False) -> str:
    """
    Patch the Django of this environment and return what was done.

    Raise PatchFailed if there is none, or no patch fits it.
    """
    try:
        django = distribution("Django")
    except PackageNotFoundError:
        raise PatchFailed("Django is not installed in this environment.") from None
    patch = patch_for(django.version)
    diff = part_of(patch, "django/")
    tree = Path(str(django.locate_file(".")))
    which = f"Django {django.version} in {tree}"
    if applies(diff, tree, reverse=not reverse):
        return f"{which} is {'not' if reverse else 'already'} patched."
    apply(diff, tree, reverse=reverse)
    return f"{which}: {patch.name} {'taken out' if reverse else 'applied'}."


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(
        description="Apply the patch that fits the Django installed here."
    )
    parser.add_argument("--reverse", action="store_true", help="take it out again")
    try:
        print(patch_installed(reverse=parser.parse_args().reverse))
    except PatchFailed as error:
        sys.exit(f"Not patched: {error}")


if __name__ == "__main__":
    main()
