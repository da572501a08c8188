"""A call of a function on a GPU: the memory that its arrays have there.

Arrays of the host are sent over and results brought back. Arrays that are on the GPU are used in
place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.cuda import driver, layout
from ..kernels.cuda.driver import Place
from ..residence import DeviceArray

Array = NDArray[Any]
AnyArray = Array | DeviceArray


class Call:
    """The memory and the stream of one call; results go where they belong when it ends."""

    def __init__(self, *arrays: AnyArray, stream: Any = None) -> None:
        handles = {A.stream: None for A in arrays if isinstance(A, DeviceArray) and A.stream}
        streams = [driver.stream_of(handle) for handle in handles]
        if stream is None:
            stream = streams.pop(0) if streams else 0
        self.stream = stream
        for other in streams:
            driver.wait_for(other)
        self._endings: list[Callable[[], None]] = []

    def __enter__(self) -> Call:
        return self

    def __exit__(self, kind: object, *others: object) -> None:
        if kind is None:
            for ending in self._endings:
                ending()

    def _flat(self, A: AnyArray) -> tuple[Place, tuple[int, ...]]:
        """Return an array's memory on the GPU, and its strides counted in values."""
        host = A if isinstance(A, np.ndarray) else A.host
        if host is not None:
            if not host.flags.c_contiguous and not host.flags.f_contiguous:
                host = np.ascontiguousarray(host)
            strides = tuple(s // host.itemsize for s in host.strides)
            return Place(driver.send(host.reshape(-1, order="A"), self.stream)), strides
        assert isinstance(A, DeviceArray)
        size = A.dtype.itemsize
        low, high = A.reach()
        values = driver.flat_memory(low, (high - low) // size, A.dtype, A.owner)
        return Place(values, (A.address - low) // size), tuple(s // size for s in A.strides)

    def stored(self, A: AnyArray) -> tuple[Place, bool]:
        """Return A in C order and False, or its transpose and True where that is in C order.

        Any other layout is copied, on the GPU.
        """
        if A.flags.c_contiguous:
            return self._flat(A)[0], False
        if A.flags.f_contiguous:
            return self._flat(A)[0], True
        place, strides = self._flat(A)
        if not isinstance(A, DeviceArray) or A.host is not None:
            return place, False  # made contiguous before it was sent
        copy = Place(driver.empty(A.size, A.dtype.type, self.stream))
        layout.relayout(self.stream, copy, (A.shape[1], 1), place, pair(strides), pair(A.shape))
        return copy, False

    def by_strides(self, A: AnyArray) -> tuple[Place, tuple[int, int]]:
        """Return a matrix, and the strides from row to row and from column to column."""
        place, rows = self.stored(A)
        return place, (1, A.shape[0]) if rows else (A.shape[1], 1)

    def flat(self, A: Array) -> Any:
        """Return a copy, on the GPU, of a vector of the host."""
        return driver.send(np.ascontiguousarray(A), self.stream)

    def row_major(self, A: AnyArray) -> Place:
        """Return A in C order."""
        place, rows = self.stored(A)
        if not rows:
            return place
        n, m = A.shape
        copy = Place(driver.empty(A.size, A.dtype.type, self.stream))
        layout.relayout(self.stream, copy, (m, 1), place, (1, n), (n, m))
        return copy

    def target(
        self, out: AnyArray, inputs: tuple[AnyArray, ...], rows: bool = False, same: bool = False
    ) -> Place:
        """Return the memory to write ``out`` to, in C order, or its transpose's where ``rows``.

        It is another than that of ``out`` where this is laid out otherwise or shares memory with
        an input; at the ``same`` places it may.
        """
        shape = out.shape[::-1] if rows else out.shape
        if isinstance(out, DeviceArray):
            fits = out.flags.f_contiguous if rows else out.flags.c_contiguous
            if fits and not any(_overlap(out, A, same) for A in inputs):
                return self._flat(out)[0]
        made = Place(driver.empty(out.size, out.dtype.type, self.stream))
        self._endings.append(lambda: self._bring(out, made, shape, rows))
        return made

    def _bring(self, out: AnyArray, made: Place, shape: tuple[int, ...], rows: bool) -> None:
        if isinstance(out, DeviceArray):
            place, strides = self._flat(out)
            at = (1, out.shape[0]) if rows else (out.shape[1], 1)
            layout.relayout(self.stream, place, pair(strides), made, at, pair(out.shape))
            return
        found = made.values.copy_to_host(stream=self.stream)
        driver.wait_for(self.stream)
        (out.T if rows else out)[...] = found.reshape(shape)


def pair(numbers: tuple[int, ...]) -> tuple[int, int]:
    first, second = numbers
    return first, second


def _overlap(out: DeviceArray, A: AnyArray, same: bool) -> bool:
    """Return whether writing ``out`` may change what is still to be read of A."""
    if not isinstance(A, DeviceArray) or A.host is not None:
        return False
    if same and (A.address, A.strides) == (out.address, out.strides):
        return False
    (low, high), (begin, end) = out.reach(), A.reach()
    return low < end and begin < high
