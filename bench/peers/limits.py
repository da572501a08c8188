"""What the machine can do at most: FMAs a second, and bytes read a second."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from entrant import THREADS
from fastnn.kernels.cpu.compiler import OPTIONS
from fastnn.kernels.cpu.vectors import TILE_ROWS, TILE_VECTORS, VECTOR_BYTES, Vectors

# Sums side by side, as many as a tile has: an FMA waits for the one before it, so a few do not do.
_SUMS = TILE_ROWS * TILE_VECTORS

# Bytes of the array that is read: as many as the largest X of the workloads, so that it lies in
# memory, or in a cache of the last level, as that does.
_ARRAY = 128 * 2**20


@intrinsic
def _multiply_and_add(typingctx, out, times):
    """Do nothing but FMAs in registers, ``_SUMS`` vectors of them so many times."""

    def codegen(context, builder, signature, args):
        v = Vectors(context, builder, signature.args[0])
        place = v.data(args[0], ir.Constant(args[1].type, 0))
        factor = v.load(place)
        sums = [cgutils.alloca_once_value(builder, factor) for _ in range(_SUMS)]
        with cgutils.for_range(builder, args[1]):
            for total in sums:
                builder.store(v.fma(factor, factor, builder.load(total)), total)
        total = builder.load(sums[0])
        for other in sums[1:]:
            total = builder.fadd(total, builder.load(other))
        v.store(total, place)
        return context.get_dummy_value()

    return types.void(out, types.intp), codegen


@njit(**OPTIONS)
def _fmas(out, times):
    _multiply_and_add(out, times)


@njit(nogil=True, fastmath=True, _nrt=False)
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
    """Return FLOP/s of FMAs on whole registers, with nothing to load or store."""
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize

    def call() -> Callable[[], Any]:
        out = np.ones(lanes, dtype)
        _fmas(out, 1)
        assert np.all(out == 2 * _SUMS)
        return partial(_fmas, out, times)

    each = 2.0 * _SUMS * lanes * times
    return threads * each / _seconds([call() for _ in range(threads)], rounds)


def read_bandwidth(threads: int, rounds: int, size: int) -> float:
    """Return bytes/s of the sum of one large array, shared by the threads."""
    x = np.ones(size // 4, np.float32)
    _sum(x[:64])
    return x.nbytes / _seconds([partial(_sum, part) for part in np.array_split(x, threads)], rounds)


def measure(*, quick: bool) -> dict[str, Any]:
    """Return the limits of one thread and of all of them, in FLOP/s and bytes/s."""
    rounds, times, size = (3, 10**5, _ARRAY // 8) if quick else (9, 5 * 10**6, _ARRAY)
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


def now(dtype: str) -> dict[str, float]:
    """Return the limits of all threads at this moment: they change while others use the machine."""
    return {
        dtype: fma_peak(dtype, THREADS, 1, 5 * 10**5),
        "read": read_bandwidth(THREADS, 1, _ARRAY // 2),
    }


def least(operations: float, traffic: float, dtype: str, found: dict[str, float]) -> float:
    """Return the seconds that the binding one of these limits asks for."""
    return max(operations / found[dtype], traffic / found["read"])
