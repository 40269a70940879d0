"""A process in a terminal, as a developer has it."""

import os
import pty
import signal
import subprocess
import sys
import threading
import time

import pytest

# As long as it may take on a machine with other things to do, in seconds.
TIMEOUT = 40

# Makes the terminal the one whose keys send signals.
IN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


class Terminal:
    """Python with some arguments; what it writes is in ``output``."""

    def __init__(self, folder, environment, *arguments):
        self._ours, theirs = pty.openpty()
        self.output = ""
        self.process = subprocess.Popen(
            [sys.executable, "-c", IN_TERMINAL, *arguments],
            cwd=folder,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        try:
            while text := os.read(self._ours, 4096):
                self.output += text.decode().replace("\r\n", "\n")
        except OSError:
            # Nobody has the terminal any more.
            pass

    def wait_for(self, text, times=1):
        """Wait until a text has been written so many times."""
        deadline = time.monotonic() + TIMEOUT
        while self.output.count(text) < times:
            if time.monotonic() > deadline:
                pytest.fail(f"Not written {times} times: {text!r}\n{self.output}")
            time.sleep(0.02)

    def press_control_c(self):
        """Interrupt what runs in the terminal."""
        os.write(self._ours, b"\x03")

    def wait(self):
        """Wait for the end of the process, and return its exit code."""
        try:
            code = self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            pytest.fail(f"It does not end:\n{self.output}")
        self._reader.join(TIMEOUT)
        return code

    def close(self):
        """End the process and what it has started, by force."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(TIMEOUT)
        self._reader.join(TIMEOUT)
        os.close(self._ours)
