"""Examples of the host that do not fit on the GPU: sent in chunks, while it works on others.

A chunk is some whole batches, in the order of the epoch. The host copies its examples together in
pinned memory, from which they go to a waiting room on the GPU; when the steps on the chunk before
are done, they move to where the kernels find them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.cuda import driver
from ..kernels.cuda.structures import Examples

Array = NDArray[Any]

# The share of a GPU's free memory that examples may take, and what a chunk may have.
_SHARE, _CHUNK_BYTES = 0.7, 64 * 2**20


def too_large(size: int) -> bool:
    """Return whether so many bytes are more than a call should take of the GPU's memory."""
    return size > _SHARE * driver.free_memory()


def most(each: int) -> int:
    """Return how many examples, of so many bytes, fit on the GPU."""
    return max(1, int(_SHARE * driver.free_memory() / each))


class _Room:
    """One array's part of a chunk: on the host, in the waiting room, and where it is used."""

    def __init__(self, source: Array, chunk: int, stream: Any) -> None:
        # One example a row, of which the values of a chunk follow one another.
        self._rows = source.T if source.ndim == 2 else source
        self._each = self._rows.size // len(self._rows)
        count, dtype = chunk * self._each, self._rows.dtype
        self._pinned = [driver.Pinned(count, dtype) for _ in range(2)]
        self._waiting = driver.empty(count, dtype, stream)
        self.here = driver.empty(count, dtype, stream)

    def send(self, which: Array, turn: int, copies: Any) -> None:
        count = len(which) * self._each
        pinned = self._pinned[turn % 2]
        target = pinned.free()[:count].reshape(len(which), *self._rows.shape[1:])
        np.take(self._rows, which, axis=0, out=target, mode="clip")
        pinned.send(self._waiting, count, copies)

    def move(self, examples: int, stream: Any) -> None:
        count = examples * self._each
        self.here[:count].copy_to_device(self._waiting[:count], stream=stream)


class Chunks:
    """The examples of a fit, chunk by chunk."""

    def __init__(self, X: Array, Y: Array, weights: Array | None, batch: int, stream: Any) -> None:
        each = X.nbytes // X.shape[1]
        batches = max(1, int(_CHUNK_BYTES / (each * batch)))
        self.examples = min(batches * batch, X.shape[1])
        self._stream, self._copies = stream, driver.new_stream()
        self._sent, self._moved = driver.Event(), driver.Event()
        self._turn = 0
        self._X = _Room(X, self.examples, stream)
        self._Y = _Room(Y, self.examples, stream)
        self._weights = None if weights is None else _Room(weights, self.examples, stream)
        self._rooms = [room for room in (self._X, self._Y, self._weights) if room is not None]

    def told(self, X: Array, Y: Array) -> Examples:
        """Return the examples of the chunk that is here, as kernels read them."""
        none = driver.empty(1, X.dtype.type, self._stream)
        no_labels = driver.empty(1, np.int64, self._stream)
        n_x, labelled = X.shape[0], Y.ndim == 1
        n_y = 0 if labelled else Y.shape[0]
        wide = driver.is_wide(driver.Place(self._X.here), n_x)
        return Examples(
            self._X.here, 0, 1, n_x, int(wide), none if labelled else self._Y.here, 0, 1, n_y,
            self._Y.here if labelled else no_labels, int(labelled),
            none if self._weights is None else self._weights.here, int(self._weights is not None),
            no_labels, 0,
        )  # fmt: skip

    def bring(self, which: Array) -> None:
        """Put these examples where the kernels find them, for the steps that follow."""
        self._moved.wait(self._copies)
        for room in self._rooms:
            room.send(which, self._turn, self._copies)
        self._turn += 1
        self._sent.record(self._copies)
        self._sent.wait(self._stream)
        for room in self._rooms:
            room.move(len(which), self._stream)
        self._moved.record(self._stream)
