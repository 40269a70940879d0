"""An event loop in which waiting takes no time and a hang is an error."""

import asyncio
import selectors


class Hang(BaseException):
    """Nothing is scheduled, so nothing will ever happen."""


class _Selector(selectors.DefaultSelector):
    loop = None

    def select(self, timeout=None):
        if timeout is None:
            raise Hang
        self.loop.now += max(0, timeout)
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop without input and output, whose clock jumps to the next timer."""

    def __init__(self):
        selector = _Selector()
        selector.loop = self
        self.now = 0.0
        super().__init__(selector)

    def time(self):
        return self.now


class InlineExecutor:
    """Runs a call at once, on the thread of the loop."""

    def submit(self, fn, /, *args, **kwargs):
        from concurrent.futures import Future

        future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future
