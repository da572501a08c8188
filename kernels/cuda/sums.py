"""Sums in two stages: each block adds up a slice, then the slices are added in their order.

No atomics, and cuts that follow from the sizes alone: the same bits in every run, on every GPU.
"""

from __future__ import annotations

from typing import Any

from .driver import (
    ALIGNMENT,
    MOST_DOWN,
    SIMULATED,
    THREADS,
    Place,
    barrier,
    blocks_for,
    cuda,
    device,
    kernel,
    real_of,
)
from .memory import store, value

# Values that a thread adds one by one, and the most threads that share a row's slice where
# features, not examples, stand side by side.
_IN_LINE = 3 if SIMULATED else 64
_LANES_ACROSS = 2 if SIMULATED else 8


def meet(combine: Any) -> Any:
    """Return the function by which the lanes of a group of threads combine what each has.

    ``mine`` is the thread's place in shared memory, where those of a group adjoin; ``lanes`` is a
    power of 2. Each thread gets the result, and the memory is free again.
    """

    @device
    def combined(shared, x, mine, lane, lanes):
        store(shared, mine, x)
        barrier()
        half = lanes // 2
        while half > 0:
            if lane < half:
                store(shared, mine, combine(value(shared, mine), value(shared, mine + half)))
            barrier()
            half //= 2
        found = value(shared, mine - lane)
        barrier()
        return found

    return combined


@device
def plus(x, y):
    """Return x + y."""
    return x + y


def power_of_two(least: int, most: int) -> int:
    """Return the power of 2 from ``least`` on, but at most ``most``, itself one."""
    return min(1 << (least - 1).bit_length(), most)


@kernel("slice_sums", "VIIVIIIIIII")
def _slice_sums(real):
    summed = meet(plus)

    def function(
        parts, parts_place, apart, A, place, n, m, by_feature, by_example, lanes, length
    ):  # fmt: skip
        shared = cuda.shared.array(THREADS, real, ALIGNMENT)
        t = cuda.threadIdx.x
        group = THREADS // lanes
        # Threads side by side read what stands side by side.
        unit, lane = (t // lanes, t % lanes) if by_example == 1 else (t % group, t // group)
        begin = cuda.blockIdx.x * length
        for first in range(cuda.blockIdx.y * group, n, cuda.gridDim.y * group):
            i = first + unit
            end = min(m, begin + length) if i < n else begin
            total = real(0)
            for j in range(begin + lane, end, lanes):
                total += value(A, place + i * by_feature + j * by_example)
            total = summed(shared, total, unit * lanes + lane, lane, lanes)
            if lane == 0 and i < n:
                store(parts, parts_place + cuda.blockIdx.x * apart + i, total)

    return function


@kernel("sum_slices", "VIVIIR")
def _sum_slices(real):
    def function(out, place, parts, n, slices, scale):
        # A few at a time, so that rounding errors grow with the root of their number.
        for i in range(cuda.grid(1), n, cuda.gridsize(1)):
            total = real(0)
            for s in range(0, slices, 32):
                part = real(0)
                for r in range(s, min(s + 32, slices)):
                    part += value(parts, r * n + i)
                total += part
            store(out, place + i, scale * total)

    return function


def lanes_for(n: int, m: int, rows: bool) -> int:
    """Return how many threads share a slice of one of n rows of m values."""
    if rows:
        return THREADS // power_of_two(n, THREADS // _LANES_ACROSS)
    return power_of_two(m, THREADS)


def slice_sums(
    stream: Any, parts: Place, apart: int, A: Place, n: int, m: int, rows: bool, length: int
) -> None:
    """parts[s] = A[:, s * length : (s + 1) * length].sum(axis=1)   # each (n,), ``apart``.

    A is (n, m), or (m, n) where ``rows``.
    """
    lanes = lanes_for(n, m, rows)
    by_feature, by_example = (1, n) if rows else (m, 1)
    grid = (-(-m // length), min(-(-n // (THREADS // lanes)), MOST_DOWN))
    _slice_sums.launch(
        grid, THREADS, stream, real_of(A.values), *parts, apart, *A, n, m, by_feature, by_example,
        lanes, length,
    )  # fmt: skip


def row_cut(n: int, m: int, rows: bool) -> tuple[int, int]:
    """Return how the sums of n rows of m values are cut: length and number of slices."""
    length = lanes_for(n, m, rows) * _IN_LINE
    return length, -(-m // length)


def row_sums(
    stream: Any, out: Place, A: Place, parts: Any, n: int, m: int, rows: bool, scale: float
) -> None:
    """out = scale * A.sum(axis=1)   # (n, m), or (m, n) where ``rows`` -> (n,).

    ``parts`` takes n values for each slice of `row_cut`.
    """
    length, slices = row_cut(n, m, rows)
    slice_sums(stream, Place(parts), n, A, n, m, rows, length)
    sum_slices(stream, out, parts, n, slices, scale)


def sum_slices(stream: Any, out: Place, parts: Any, n: int, slices: int, scale: float) -> None:
    """out = scale * parts.sum(axis=0)   # (slices, n) -> (n,)."""
    real = real_of(parts)
    grid = blocks_for(n, THREADS)
    _sum_slices.launch(grid, THREADS, stream, real, *out, parts, n, slices, real(scale))
