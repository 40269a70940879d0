"""The machine, which the processes of pytest-xdist share."""

from contextlib import contextmanager

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@contextmanager
def machine(config, alone):
    """Have the machine: with the other processes of a run, or alone."""
    if fcntl is None or not hasattr(config, "workerinput"):
        yield
        return
    folder = config.cache.mkdir("machine")
    kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
    with open(folder / "lock", "w") as lock:
        # Whoever waits to be alone keeps the others from coming in.
        with open(folder / "door", "w") as door:
            fcntl.flock(door, kind)
            fcntl.flock(lock, kind)
        yield
