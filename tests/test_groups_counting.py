"""The numbers of what was lost in a process."""

import os
import threading

import pytest

from django_asgi_ext.groups.counting import Counters, counters


def test_numbers_of_several_threads():
    """Whatever threads count at the same time, nothing is forgotten."""
    numbers = Counters()

    def count():
        for _ in range(2000):
            numbers.add("dropped")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers.add("closed", 3)
    assert numbers.read() == {"dropped": 8000, "closed": 3}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_fork():
    """A process that is forked counts from the beginning, though a thread counts."""
    counters.add("dropped")
    before = counters.read()
    # As another thread may.
    with counters._lock:
        pid = os.fork()
        if not pid:
            is_free = counters._lock.acquire(timeout=5)
            is_new = is_free and set(counters._numbers.values()) == {0}
            os._exit(not is_new)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert counters.read() == before
