"""What a GPU can do at most: bytes copied, bytes read, multiply-adds, measured where it is used.

Read: a kernel that sums an array much larger than the cache, 16 bytes at a time, four of them in
flight. Multiply-adds: a kernel that does nothing else, in registers. Each is tried with several
numbers of blocks, and the best is the ceiling.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastnn.kernels.cuda.driver import cuda, kernel
from fastnn.kernels.cuda.memory import copy16, store, vector_length
from gpu_timing import Clock

# Loads in flight, and sums side by side in a thread: an FMA waits for the one before it.
LOADS, CHAINS, STEPS = 4, 16, 8


@kernel("ceiling_read", "VVI")
def _read(real):
    V = vector_length(real)
    VALUES = LOADS * V

    def function(sums, x, pieces):
        held = cuda.local.array(VALUES, real)
        total = real(0)
        stride = cuda.gridsize(1)
        # Whole rounds alone: the caller sees to it that there is no rest.
        for p in range(cuda.grid(1), pieces, LOADS * stride):
            for l in range(LOADS):
                copy16(held, l * V, x, (p + l * stride) * V)
            for i in range(VALUES):
                total += held[i]
        store(sums, cuda.grid(1), total)

    return function


@kernel("ceiling_fma", "VRI")
def _fma(real):
    def function(out, factor, times):
        held = cuda.local.array(CHAINS, real)
        for i in range(CHAINS):
            held[i] = factor * real(i)
        for _ in range(times):
            for _ in range(STEPS):
                for i in range(CHAINS):
                    held[i] = cuda.fma(held[i], factor, factor)
        total = real(0)
        for i in range(CHAINS):
            total += held[i]
        store(out, cuda.grid(1), total)

    return function


def _median(clock: Clock, call: Callable[[], Any], rounds: int) -> float:
    for _ in range(3):
        call()
    return statistics.median(clock.seconds(call) for _ in range(rounds))


def copied(clock: Clock, size: int, rounds: int) -> float:
    """Return bytes a second, read and written, of a copy within the GPU's memory."""
    x = cuda.to_device(np.arange(size // 4, dtype=np.float32))
    y = cuda.device_array_like(x)
    seconds = _median(clock, lambda: y.copy_to_device(x), rounds)
    assert y[-2:].copy_to_host().tolist() == x[-2:].copy_to_host().tolist()
    return 2 * x.nbytes / seconds


def read(clock: Clock, size: int, rounds: int, grids: Sequence[tuple[int, int]]) -> float:
    """Return bytes a second of the sum of an array."""
    real = np.float32
    values = np.random.default_rng(0).random(size // 4, real)
    x, best = cuda.to_device(values), 0.0
    expected = float(values.sum(dtype=np.float64))
    pieces = values.size // vector_length(real)
    for blocks, threads in grids:
        if pieces % (LOADS * blocks * threads):
            raise ValueError(
                f"{blocks} blocks of {threads} threads leave a rest of {pieces} pieces"
            )
        sums = cuda.to_device(np.full(blocks * threads, np.nan, real))

        def call(sums: Any = sums, grid: tuple[int, int] = (blocks, threads)) -> None:
            _read.launch(*grid, 0, real, sums, x, pieces)

        seconds = _median(clock, call, rounds)
        found = float(sums.copy_to_host().sum(dtype=np.float64))
        assert abs(found - expected) <= 1e-4 * expected, (found, expected)
        best = max(best, values.nbytes / seconds)
    return best


def multiplied(
    clock: Clock, real: Any, times: int, rounds: int, grids: Sequence[tuple[int, int]]
) -> float:
    """Return FLOP a second of multiply-adds in registers, two each."""
    best = 0.0
    for blocks, threads in grids:
        out = cuda.to_device(np.full(blocks * threads, np.nan, real))

        def call(out: Any = out, grid: tuple[int, int] = (blocks, threads)) -> None:
            _fma.launch(*grid, 0, real, out, real(0.5), times)

        seconds = _median(clock, call, rounds)
        # x := x / 2 + 1 / 2 ends at 1.
        assert np.allclose(out.copy_to_host(), CHAINS, rtol=1e-2)
        best = max(best, 2.0 * CHAINS * STEPS * times * blocks * threads / seconds)
    return best


def measure(clock: Clock, *, quick: bool) -> dict[str, float]:
    """Return all of them: bytes a second, and FLOP a second for both types."""
    if quick:
        grids, size, times, rounds = [(1, 4)], 4 * 1024, 4, 2
    else:
        grids = [(blocks, 256) for blocks in (1024, 2048, 4096, 8192)]
        size, times, rounds = 2**30, 2000, 15
    return {
        "copy": copied(clock, size, rounds),
        "read": read(clock, size, rounds, grids),
        "float32": multiplied(clock, np.float32, times, rounds, grids),
        "float64": multiplied(clock, np.float64, times // 2, rounds, grids),
    }
