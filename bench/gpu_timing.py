"""Arrays in the memory of a GPU, and time there: by CUDA events, else by the host's clock.

Work on a GPU is asynchronous. Events are recorded on its default stream, which waits for the
others that do not ask not to be waited for; where that is not known, the host's clock is read when
the GPU has nothing left to do.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np


def on_gpu() -> bool:
    """Return whether ``FASTNN_DEVICE`` sends everything to a GPU."""
    return os.environ.get("FASTNN_DEVICE", "").startswith("cuda")


def driver() -> Any:
    """Return the module that launches fastnn's kernels, and has ``numba.cuda``."""
    return importlib.import_module("fastnn.kernels.cuda.driver")


def there(*arrays: np.ndarray) -> Any:
    """Return the arrays as the benchmarks of this device take them: copied to the GPU, or as is.

    Memory order is kept; of what is strided in any other way the copy is in C order.
    """
    found = tuple(_moved(array) if on_gpu() else array for array in arrays)
    return found if len(found) > 1 else found[0]


def _moved(array: np.ndarray) -> Any:
    if not array.flags.c_contiguous and not array.flags.f_contiguous:
        array = np.ascontiguousarray(array)
    return driver().cuda.to_device(array)


def host(value: Any) -> Any:
    """Return a result, or a tuple of them, on the host."""
    if isinstance(value, tuple):
        return tuple(host(each) for each in value)
    return value.copy_to_host() if hasattr(value, "copy_to_host") else value


def synchronize() -> None:
    """Wait until the GPU has nothing left to do; without one, do nothing."""
    if on_gpu():
        driver().cuda.synchronize()


class Clock(Protocol):
    """What tells the time that a call takes."""

    name: str

    def seconds(self, call: Callable[[], Any]) -> float:
        """Return the seconds until the work that the call asks for is done."""
        ...


class HostClock:
    """The host's clock, read when ``finish()`` says that nothing is left to do."""

    name = "host clock"

    def __init__(self, finish: Callable[[], Any] = lambda: None) -> None:
        self._finish = finish

    def seconds(self, call: Callable[[], Any]) -> float:
        """Return the seconds until the work that the call asks for is done."""
        self._finish()
        begin = time.perf_counter()
        call()
        self._finish()
        return time.perf_counter() - begin


class EventClock:
    """Two events of a library's, before and behind the work on its stream.

    ``elapsed(first, second)`` returns milliseconds.
    """

    name = "CUDA events"

    def __init__(self, event: Callable[[], Any], elapsed: Callable[[Any, Any], float]) -> None:
        self._first, self._second, self._elapsed = event(), event(), elapsed

    def seconds(self, call: Callable[[], Any]) -> float:
        """Return the seconds until the work that the call asks for is done."""
        self._first.record()
        call()
        self._second.record()
        self._second.synchronize()
        return self._elapsed(self._first, self._second) / 1e3


def clock() -> Clock:
    """Return the clock for what fastnn does on the device of ``FASTNN_DEVICE``."""
    if not on_gpu():
        return HostClock()
    numba = driver()
    if numba.SIMULATED:
        return HostClock(numba.cuda.synchronize)
    return EventClock(numba.cuda.event, numba.cuda.event_elapsed_time)
