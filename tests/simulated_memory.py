"""What the tests change in numba-cuda's simulator."""

from __future__ import annotations

import threading
from typing import Any


class OnceEach(dict):
    """Shared arrays by the line that declares them.

    The simulator looks whether an array is there and makes one if not, thread by thread: two that
    look at once would each get an array of its own. Here the second waits for the first one's.
    """

    def __init__(self) -> None:
        super().__init__()
        self._changed, self._begun = threading.Condition(), set()

    def get(self, key: Any, default: Any = None) -> Any:
        with self._changed:
            if key not in self._begun:
                self._begun.add(key)
                return default
            self._changed.wait_for(lambda: key in self)
            return self[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        with self._changed:
            super().__setitem__(key, value)
            self._changed.notify_all()


def share_arrays() -> None:
    """Let all threads of a simulated block get the same shared arrays."""
    from numba.cuda.simulator import kernelapi

    shared = kernelapi.FakeCUDAShared
    create = shared.__init__
    if create.__module__ != shared.__module__:
        return

    def patched(self: Any, *arguments: Any) -> None:
        create(self, *arguments)
        self._allocations = OnceEach()

    shared.__init__ = patched
