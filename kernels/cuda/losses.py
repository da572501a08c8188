"""Losses of given outputs, and the gradient at the output layer.

squared error         1/2 sum (a - y)^2
absolute error        sum |a - y|
Huber                 sum s (r - s/2), where r = a - y and s is r, but within +-delta
Poisson               sum a - y + y log(y/a)
binary cross-entropy  -sum [y log a + (1 - y) log(1 - a)]
cross-entropy         -sum y log a
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..codes import ABSOLUTE_ERROR, BINARY_CROSS_ENTROPY, CROSS_ENTROPY, HUBER, POISSON
from .activations import pieces
from .driver import (
    ALIGNMENT,
    SIMULATED,
    THREADS,
    Place,
    blocks_for,
    cuda,
    device,
    is_wide,
    kernel,
    real_of,
)
from .memory import store, value, vector_length
from .scalars import x_log_y
from .sums import meet, plus

# Pieces of 16 bytes whose losses a thread adds up.
_PIECES = 2 if SIMULATED else 16


@device
def loss_of(a, y, code, delta):
    """Return what one output adds to the loss."""
    one, half, r = type(a)(1), type(a)(0.5), a - y
    if code == BINARY_CROSS_ENTROPY:
        return -x_log_y(y, a) - x_log_y(one - y, one - a)
    if code == CROSS_ENTROPY:
        return -x_log_y(y, a)
    if code == ABSOLUTE_ERROR:
        return abs(r)
    if code == HUBER:
        s = delta if r > delta else (-delta if r < -delta else r)
        return s * (r - half * s)
    if code == POISSON:
        return r + x_log_y(y, y) - x_log_y(y, a)
    return half * r * r


@kernel("cost_slices", "VVIVIIIRI")
def _cost_slices(real):
    p = pieces(real)
    V, get = p.V, p.get
    summed = meet(plus)

    def function(parts, A, A_place, Y, Y_place, n, code, delta, wide):
        shared = cuda.shared.array(THREADS, real, ALIGNMENT)
        a, y = cuda.local.array(V, real), cuda.local.array(V, real)
        t = cuda.threadIdx.x
        begin = cuda.blockIdx.x * THREADS * _PIECES + t
        total = real(0)
        for piece in range(begin, begin + THREADS * _PIECES, THREADS):
            at = piece * V
            if at < n:
                get(a, A, A_place + at, wide, n - at)
                get(y, Y, Y_place + at, wide, n - at)
                # Beyond the end both are 0, which is no loss.
                for i in range(V):
                    total += loss_of(a[i], y[i], code, delta)
        total = summed(shared, total, t, t, THREADS)
        if t == 0:
            store(parts, cuda.blockIdx.x, total)

    return function


@kernel("cost", "DVII")
def _cost(real):
    # The last stage alone, a value a block, is summed in float64.
    summed = meet(plus)

    def function(out, parts, slices, examples):
        shared = cuda.shared.array(THREADS, np.float64, ALIGNMENT)
        t = cuda.threadIdx.x
        total = np.float64(0)
        for s in range(t, slices, THREADS):
            total += np.float64(value(parts, s))
        total = summed(shared, total, t, t, THREADS)
        if t == 0:
            store(out, 0, total / np.float64(examples))

    return function


def cost(stream: Any, J: Any, A: Place, Y: Place, loss: int, delta: float, n: int, m: int) -> None:
    """J = the losses of all examples, summed, / m; A and Y are (n, m), or both (m, n)."""
    real = real_of(A.values)
    count = n * m
    slices = -(-count // (THREADS * _PIECES * vector_length(real)))
    parts = cuda.device_array(slices, real, stream=stream)
    wide = int(is_wide(A) and is_wide(Y))
    _cost_slices.launch(
        slices, THREADS, stream, real, parts, *A, *Y, count, loss, real(delta), wide
    )
    _cost.launch(1, THREADS, stream, real, J, parts, slices, m)


@kernel("output_gradient", "VIVIVIII")
def _output_gradient(real):
    p = pieces(real)
    V, get, put = p.V, p.get, p.put

    def function(dZ, dZ_place, A, A_place, Y, Y_place, n, wide):
        a, y = cuda.local.array(V, real), cuda.local.array(V, real)
        for piece in range(cuda.grid(1), (n + V - 1) // V, cuda.gridsize(1)):
            at = piece * V
            get(a, A, A_place + at, wide, n - at)
            get(y, Y, Y_place + at, wide, n - at)
            for i in range(V):
                a[i] -= y[i]
            put(dZ, dZ_place + at, a, wide, n - at)

    return function


def output_gradient(stream: Any, dZ: Place, A: Place, Y: Place, n: int) -> None:
    """dZ = A - Y, n values of one memory order."""
    real = real_of(A.values)
    wide = int(all(is_wide(place) for place in (dZ, A, Y)))
    grid = blocks_for(n, THREADS * vector_length(real))
    _output_gradient.launch(grid, THREADS, stream, real, *dZ, *A, *Y, n, wide)
