"""What the machine can do at most: FMAs a second, and bytes read a second."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numba import njit

from entrant import THREADS
from fastnn.kernels.cpu.tiles import STORE, ZERO, tile
from fastnn.kernels.cpu.vectors import TILE_ROWS, TILE_VECTORS, VECTOR_BYTES

# Terms of the sums in a tile: its lines of B, 256 bytes each at most, stay in the L1 cache.
_TERMS = 96

# Bytes of the array that is read: as many as the largest X of the workloads, so that it lies in
# memory, or in a cache of the last level, as that does.
_ARRAY = 128 * 2**20


@njit(nogil=True)
def _tiles(times, rows, columns, C, A, B, bias):
    for _ in range(times):
        tile(
            rows,
            columns,
            _TERMS,
            ZERO,
            STORE,
            C,
            0,
            columns,
            C,
            A,
            0,
            1,
            rows,
            B,
            0,
            columns,
            bias,
            0,
        )


@njit(nogil=True, fastmath=True)
def _sum(x):
    total = x.dtype.type(0)
    for i in range(x.size):
        total += x[i]
    return total


def _seconds(calls: list[Callable[[], Any]], rounds: int) -> float:
    """Return the median time of all calls, each on a thread of its own."""
    times = []
    with ThreadPoolExecutor(len(calls)) as pool:
        for _ in range(rounds + 1):  # the first one starts the threads
            begin = time.perf_counter()
            for done in [pool.submit(call) for call in calls]:
                done.result()
            times.append(time.perf_counter() - begin)
    return statistics.median(times[1:])


def fma_peak(dtype: str, threads: int, rounds: int, times: int) -> float:
    """Return FLOP/s of fastnn's own tile, on operands in registers and the L1 cache."""
    columns = TILE_VECTORS * VECTOR_BYTES // np.dtype(dtype).itemsize

    def call() -> Callable[[], Any]:
        shapes = TILE_ROWS * columns, TILE_ROWS * _TERMS, _TERMS * columns, TILE_ROWS
        C, A, B, bias = (np.ones(n, dtype) for n in shapes)
        _tiles(1, TILE_ROWS, columns, C, A, B, bias)
        assert np.all(C == _TERMS)
        return partial(_tiles, times, TILE_ROWS, columns, C, A, B, bias)

    each = 2.0 * TILE_ROWS * columns * _TERMS * times
    return threads * each / _seconds([call() for _ in range(threads)], rounds)


def read_bandwidth(threads: int, rounds: int, size: int) -> float:
    """Return bytes/s of the sum of one large array, shared by the threads."""
    x = np.ones(size // 4, np.float32)
    _sum(x[:64])
    return x.nbytes / _seconds([partial(_sum, part) for part in np.array_split(x, threads)], rounds)


def measure(*, quick: bool) -> dict[str, Any]:
    """Return the limits of one thread and of all of them, in FLOP/s and bytes/s."""
    rounds, times, size = (3, 5_000, _ARRAY // 8) if quick else (9, 100_000, _ARRAY)
    found: dict[str, Any] = {"threads": THREADS}
    for key, threads in (("one", 1), ("all", THREADS)):
        found[key] = {
            "float32": fma_peak("float32", threads, rounds, times),
            "float64": fma_peak("float64", threads, rounds, times),
            "read": read_bandwidth(threads, rounds, size),
        }
    return found


def told(limits: dict[str, Any]) -> str:
    """Return the limits as one sentence."""

    def pair(key: str) -> str:
        return f"{limits['one'][key] / 1e9:.3g} and {limits['all'][key] / 1e9:.3g}"

    return (
        f"The machine's limits, one thread and {limits['threads']}: {pair('float32')} GFLOP/s in"
        f" float32, {pair('float64')} in float64; reading {pair('read')} GB/s."
    )


def least(operations: float, traffic: float, dtype: str, limits: dict[str, Any]) -> float:
    """Return the seconds that the binding limit of all threads asks for."""
    found: dict[str, float] = limits["all"]
    return max(operations / found[dtype], traffic / found["read"])
