"""The files of the browser client, which servers/reconnecting runs in a browser."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from browser import require

import django_asgi_ext

FOLDER = Path(django_asgi_ext.__path__[0]) / "static" / "django_asgi_ext"
ROOT = Path(__file__).parents[1]


def test_size():
    """What a browser loads is at most 6 KB long."""
    assert (FOLDER / "websocket.min.js").stat().st_size <= 6000


def test_minified(tmp_path):
    """The minified file is what the command in the source makes of the source."""
    require(shutil.which("esbuild"), "esbuild: apt-get install esbuild")
    source = (FOLDER / "websocket.js").read_text()
    [command] = re.findall(r"^ \*     (esbuild .*)$", source, re.M)
    shutil.copy(FOLDER / "websocket.js", tmp_path)
    subprocess.run(command, shell=True, cwd=tmp_path, check=True, timeout=30)
    made = (tmp_path / "websocket.min.js").read_bytes()
    assert made == (FOLDER / "websocket.min.js").read_bytes(), f"Run: {command}"


@pytest.mark.once
def test_types(tmp_path):
    """A page's script that uses each name passes tsc, and mistakes do not."""
    require(shutil.which("tsc"), "tsc: apt-get install node-typescript")
    configuration = {
        "compilerOptions": {
            "strict": True,
            "noEmit": True,
            "target": "es2022",
            "module": "es2022",
            "moduleResolution": "node",
            "baseUrl": str(tmp_path),
            "paths": {"django_asgi_ext/*": [str(FOLDER / "*")]},
        },
        "files": [str(Path(__file__).parent / "typing" / "websocket.ts")],
    }
    (tmp_path / "tsconfig.json").write_text(json.dumps(configuration))
    checked = subprocess.run(
        ["tsc", "--project", tmp_path], capture_output=True, text=True, timeout=50
    )
    assert checked.stdout == ""
    assert checked.returncode == 0


def part(name, begin):
    """Return the lines of a file from one that begins so to one that ends a block."""
    text = (FOLDER / name).read_text()
    return re.search(rf"^{begin}.*?^}}", text, re.M | re.S)[0]


def test_names_of_options():
    """The options that are declared are those that there are, with their defaults."""
    declared = part("websocket.d.ts", "export interface ReconnectingWebSocketOptions")
    known = part("websocket.js", "const DEFAULTS")
    names = re.findall(r"^  (\w+)\?: ", declared, re.M)
    assert names == re.findall(r"^  (\w+): ", known, re.M)
    defaults = dict(re.findall(r"^  (\w+): (.*),$", known, re.M))
    told = re.findall(r"Default: ([\w.]+?)\. \*/|Default: ([\w.]+?)\.\n", declared)
    told = dict(zip(names, map("".join, told), strict=True))
    assert told == {**defaults, "lastIds": "none", "maxBufferedAmount": "1048576"}


def test_names_of_members():
    """The members that are declared are those that there are."""
    member = r"^  (?:static |readonly |get |set )*(\w+)(?:<.*>)?(?:\(| = |: )"
    declared = re.findall(member, part("websocket.d.ts", "export class"), re.M)
    known = re.findall(member, part("websocket.js", "export class"), re.M)
    [events] = re.findall(r"EVENTS = \[(.*)\]", (FOLDER / "websocket.js").read_text())
    handlers = [f"on{name}" for name in re.findall(r"\w+", events)]
    inherited = {"addEventListener", "removeEventListener"}
    assert set(declared) - inherited == {*known, *handlers}


@pytest.mark.once
@pytest.mark.timeout(180)
def test_wheel(tmp_path):
    """A wheel holds the files, beside the tag that points to them."""
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    ignored = shutil.ignore_patterns("__pycache__")
    package = tmp_path / "django_asgi_ext"
    shutil.copytree(ROOT / "django_asgi_ext", package, ignore=ignored)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "."]
    subprocess.run(command, cwd=tmp_path, check=True)
    [wheel] = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("websocket.js", "websocket.min.js", "websocket.d.ts"):
        assert f"django_asgi_ext/static/django_asgi_ext/{name}" in names
    assert "django_asgi_ext/templatetags/asgi_ext.py" in names
