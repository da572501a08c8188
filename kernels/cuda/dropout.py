"""Dropout, by the draws of ``kernels.cpu.dropout``: a hash of the step, the unit and the example.

So the draws are those of every other device, and need no memory.
"""

from __future__ import annotations

from typing import Any

from .driver import THREADS, Place, blocks_for, cuda, device, kernel, real_of
from .memory import store, value
from .structures import START, STEP

# As on the CPU, 32-bit numbers are held in 64 bits.
LOW = 0xFFFFFFFF
_SPREAD = 0x9E3779B1


@device
def mixed(x):
    """Return a hash of a 32-bit number (C. Wellons' lowbias32, found by search, 2018)."""
    x = int(x)  # in the simulator NumPy's integers would overflow
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & LOW
    x = ((x ^ (x >> 15)) * 0x846CA68B) & LOW
    return x ^ (x >> 16)


@device
def draws(step, key):
    """Return the key of a step's draws."""
    return mixed(mixed(step & LOW) ^ key)


@device
def kept(key, unit, example, keep):
    """Return whether a unit, counted through all layers, is kept for the example at its place."""
    first = mixed(key ^ mixed(unit))
    second = mixed(first ^ LOW)
    x = (first + int(example) * _SPREAD) & LOW
    return (mixed(mixed(x) ^ second)) < keep


@kernel("drop", "VIIIIIIRJ")
def _drop(real):
    def function(A, place, n, m, unit, key, keep, scale, now):
        drawn = draws(value(now, STEP), key)
        for j in range(cuda.grid(1), m, cuda.gridsize(1)):
            for i in range(cuda.blockIdx.y, n, cuda.gridDim.y):
                at = place + i * m + j
                a = real(0)
                if kept(drawn, unit + i, value(now, START) + j, keep):
                    a = scale * value(A, at)
                store(A, at, a)

    return function


def drop(stream: Any, A: Place, n: int, m: int, unit: int, key: int, keep: int, now: Any) -> None:
    """Scale up those of A, (n, m), whose draw is below ``keep``, of 2^32; set the others to 0.

    The units are those from ``unit`` on, counted through all layers; the step is that of ``now``.
    """
    real = real_of(A.values)
    grid = (blocks_for(m, THREADS), min(n, 64))
    _drop.launch(grid, THREADS, stream, real, *A, n, m, unit, key, keep, real(2**32 / keep), now)
