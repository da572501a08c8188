"""The same values in every memory layout, inside memory whose other cells are watched."""

from __future__ import annotations

import numpy as np

LAYOUTS = ("C", "F", "every second row", "every second column", "reversed", "slice", "F slice")


def _frame(name, shape, dtype, fill):
    """Return a larger array, and the view of that shape in it."""
    n, m = shape
    if name == "C":
        base = np.full((n, m), fill, dtype)
        return base, base
    if name == "F":
        base = np.full((m, n), fill, dtype)
        return base, base.T
    if name == "every second row":
        base = np.full((2 * n, m), fill, dtype)
        return base, base[::2]
    if name == "every second column":
        base = np.full((n, 2 * m), fill, dtype)
        return base, base[:, 1::2]
    if name == "reversed":
        base = np.full((n, m), fill, dtype)
        return base, base[::-1, ::-1]
    if name == "slice":
        base = np.full((n + 2, m + 5), fill, dtype)
        return base, base[1:-1, 2:-3]
    if name == "F slice":
        base = np.full((m + 5, n + 2), fill, dtype)
        return base, base[2:-3, 1:-1].T
    raise ValueError(name)


def laid_out(array, name):
    """Return an equal array in that layout; what lies around it in memory is NaN."""
    _, view = _frame(name, array.shape, array.dtype, np.nan)
    view[...] = array
    return view


class Target:
    """An array to write to, in that layout; ``check`` finds what was written around it."""

    def __init__(self, shape, dtype, name):
        self.base, self.out = _frame(name, shape, dtype, np.nan)

    def check(self):
        inside = np.zeros(self.base.shape, bool)
        offset = self.out.__array_interface__["data"][0] - self.base.__array_interface__["data"][0]
        # The same view of the mask: strides and offset, from bytes to items.
        item = self.base.itemsize
        first = inside.reshape(-1)[offset // item :]
        view = np.lib.stride_tricks.as_strided(
            first, self.out.shape, tuple(s // item for s in self.out.strides)
        )
        view[...] = True
        assert np.isnan(self.base[~inside]).all(), "wrote outside of out"


def assert_unchanged(before, after):
    """Assert that arrays hold the bytes they held, and are the objects they were."""
    for name, array in after.items():
        assert array.tobytes() == before[name], f"{name} was changed"


def photograph(arrays):
    """Return the bytes of each array, to be compared later."""
    return {name: array.tobytes() for name, array in arrays.items()}
