"""Softmax and its derivatives, by columns.

    A = exp(Z - max) / sum exp(Z - max)        dZ = A * (dA - sum_k dA_k A_k)

A block works on a group of columns, several threads to each, which meet in shared memory in a
fixed order. Feature i of example j stands at i * by_feature + j * by_example.
"""

from __future__ import annotations

from typing import Any

from .driver import ALIGNMENT, SIMULATED, THREADS, Place, cuda, device, kernel, real_of
from .memory import store, value
from .scalars import exp
from .sums import meet, plus

# The most threads that share a column.
_LANES = 2 if SIMULATED else 32

LOWEST = float("-inf")
FORWARD, DIAGONAL, BACKWARD = range(3)


@device
def larger(x, y):
    """Return the larger one; NaN only if x is."""
    return y if y > x else x


def _columns(real: Any) -> Any:
    largest, summed = meet(larger), meet(plus)

    def function(
        out, out_place, dA, dA_place, Z, Z_place, n, m, by_feature, by_example, lanes, what
    ):  # fmt: skip
        shared = cuda.shared.array(THREADS, real, ALIGNMENT)
        t = cuda.threadIdx.x
        group = THREADS // lanes
        # Threads side by side read what stands side by side.
        column, lane = (t // lanes, t % lanes) if by_feature == 1 else (t % group, t // group)
        example = cuda.blockIdx.x * group + column
        origin, last = example * by_example, n if example < m else 0
        mine = column * lanes + lane
        top = real(LOWEST)
        for i in range(lane, last, lanes):
            top = larger(top, value(Z, Z_place + origin + i * by_feature))
        top = largest(shared, top, mine, lane, lanes)
        total = real(0)
        for i in range(lane, last, lanes):
            total += exp(value(Z, Z_place + origin + i * by_feature) - top)
        total = summed(shared, total, mine, lane, lanes)
        along = real(0)
        if what == BACKWARD:
            for i in range(lane, last, lanes):
                at = origin + i * by_feature
                along += exp(value(Z, Z_place + at) - top) / total * value(dA, dA_place + at)
            along = summed(shared, along, mine, lane, lanes)
        for i in range(lane, last, lanes):
            at = origin + i * by_feature
            a = exp(value(Z, Z_place + at) - top) / total
            if what == DIAGONAL:
                a = a * (real(1) - a)
            elif what == BACKWARD:
                a = a * (value(dA, dA_place + at) - along)
            store(out, out_place + at, a)

    return function


_softmax = kernel("softmax", "VIVIVIIIIIII")(_columns)


def _launch(
    stream: Any, out: Place, dA: Place, Z: Place, n: int, m: int, rows: bool, what: int
) -> None:
    lanes = 1
    while lanes < min(n, _LANES):
        lanes *= 2
    by_feature, by_example = (1, n) if rows else (m, 1)
    group = THREADS // lanes
    _softmax.launch(
        -(-m // group), THREADS, stream, real_of(Z.values),
        *out, *dA, *Z, n, m, by_feature, by_example, lanes, what,
    )  # fmt: skip


def softmax_forward(stream: Any, A: Place, Z: Place, n: int, m: int, rows: bool) -> None:
    """A = softmax of each of m columns of n values; both (n, m), or (m, n) where ``rows``."""
    _launch(stream, A, A, Z, n, m, rows, FORWARD)


def softmax_diagonal(stream: Any, D: Place, Z: Place, n: int, m: int, rows: bool) -> None:
    """D = a (1 - a), the diagonal of the Jacobian."""
    _launch(stream, D, D, Z, n, m, rows, DIAGONAL)


def softmax_backward(
    stream: Any, dZ: Place, dA: Place, Z: Place, n: int, m: int, rows: bool
) -> None:
    """dZ = A * (dA - sum_k dA_k A_k); dZ may be dA."""
    _launch(stream, dZ, dA, Z, n, m, rows, BACKWARD)
