"""Kernels of the tests' own; imported where a GPU, or the simulator, is there."""

from __future__ import annotations

import numpy as np

from fastnn.kernels.cuda.driver import cuda


@cuda.jit
def late(x, factor, steps):
    """Do x[...] = 3 * factor[0] in a long while: a thread for each value of a flat array."""
    i = cuda.grid(1)
    value = np.float32(1)
    for _ in range(steps):
        value = value * np.float32(0.999) + factor[0] * np.float32(0.001)
    if i < x.size:
        x[i] = 2 * factor[0] + round(value)
