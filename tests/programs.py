"""Programs of tests, each in a process of its own."""

import os
import subprocess
import sys


def run_python(program, timeout):
    """Run a program that finds what the tests find; return how it has finished."""
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
