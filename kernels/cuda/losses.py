"""Losses, and the gradient at the output layer.

    squared error         1/2 sum (a - y)^2
    absolute error        sum |a - y|
    Huber                 sum s (r - s/2), where r = a - y and s is r, but within +-delta
    Poisson               sum a - y + y log(y/a)           = sum exp(z) - y z - y + y log y
    binary cross-entropy  -sum [y log a + (1 - y) log(1 - a)]  = sum softplus(z) - y z
    cross-entropy         -sum y log a                         = sum y (log sum exp(z) - z)

The forms on the right start from the output layer's Z, where it is sigmoid, softmax or exp, and
hold no logarithm of zero. All are summed over the outputs; their mean over the examples is J.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..codes import (
    ABSOLUTE_ERROR,
    BINARY_CROSS_ENTROPY,
    CROSS_ENTROPY,
    HUBER,
    POISSON,
    SIGMOID,
    SOFTMAX,
)
from .activations import pieces, slope_of, value_of
from .driver import (
    ALIGNMENT,
    SIMULATED,
    THREADS,
    Place,
    blocks_for,
    cuda,
    device,
    empty,
    is_wide,
    kernel,
    real_of,
)
from .memory import store, value, vector_length
from .scalars import exp, log, softplus, x_log_y
from .softmax import LOWEST, larger
from .structures import ORIGIN, START, Examples
from .sums import meet, plus, power_of_two

# Pieces of 16 bytes whose losses a thread adds up.
_PIECES = 2 if SIMULATED else 16


# The most threads that share the outputs of an example.
_LANES = 2 if SIMULATED else 32


@device
def within(r, delta):
    return delta if r > delta else (-delta if r < -delta else r)


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
        s = within(r, delta)
        return s * (r - half * s)
    if code == POISSON:
        return r + x_log_y(y, y) - x_log_y(y, a)
    return half * r * r


@device
def error_of(a, y, code, delta):
    """Return the derivative by a of an error between a and y."""
    zero, one, r = type(a)(0), type(a)(1), a - y
    if code == ABSOLUTE_ERROR:
        return one if r > zero else (-one if r < zero else r)
    if code == HUBER:
        return within(r, delta)
    return r


@device
def example_at(examples, place):
    """Return the number of the example at a place of the order."""
    return value(examples.order, place) if examples.ordered else place


@device
def target_of(examples, i, example):
    """Return the target y_i of an example."""
    if examples.labelled:
        y = type(value(examples.Y, 0))(1 if value(examples.labels, example) == i else 0)
    else:
        at = examples.Y_place + i * examples.Y_feature + example * examples.Y_example
        y = value(examples.Y, at)
    return y


@device
def of_value(z, y, code, loss, delta):
    """Return the loss of an output, from its z, and its dz; not softmax."""
    a = value_of(z, code)
    d = a - y
    if code == SIGMOID and loss == BINARY_CROSS_ENTROPY:
        return softplus(z) - y * z, d
    if loss == POISSON:  # behind exp
        return d - y * z + x_log_y(y, y), d
    return loss_of(a, y, loss, delta), error_of(a, y, loss, delta) * slope_of(z, code)


def outputs(real: Any) -> Any:
    """Return the function that turns an example's Z, at the output, into dZ, and gives its loss.

    The ``lanes`` threads that share an example meet in ``shared``, where each has the place
    ``mine``; all threads of the block call it. Unit i stands at D[place + i * by_feature]. Where
    the column is not ``live`` there is no example, and dZ is 0. Each thread gets a part of the
    loss.
    """
    largest, summed = meet(larger), meet(plus)

    @device
    def of_column(
        D, place, by_feature, n, live, examples, example, code, loss, delta,
        shared, mine, lane, lanes,
    ):  # fmt: skip
        last = n if live else 0
        weight = real(1)
        if live and examples.weighted:
            weight = value(examples.weights, example)
        top, total, along, found = real(LOWEST), real(0), real(0), real(0)
        if code == SOFTMAX:
            for i in range(lane, last, lanes):
                top = larger(top, value(D, place + i * by_feature))
            top = largest(shared, top, mine, lane, lanes)
            for i in range(lane, last, lanes):
                total += exp(value(D, place + i * by_feature) - top)
            total = summed(shared, total, mine, lane, lanes)
            if loss != CROSS_ENTROPY:
                for i in range(lane, last, lanes):
                    a = exp(value(D, place + i * by_feature) - top) / total
                    along += a * error_of(a, target_of(examples, i, example), loss, delta)
                along = summed(shared, along, mine, lane, lanes)
        for i in range(lane, last, lanes):
            at = place + i * by_feature
            z, y = value(D, at), target_of(examples, i, example)
            if code != SOFTMAX:
                part, d = of_value(z, y, code, loss, delta)
            else:
                a = exp(z - top) / total
                if loss == CROSS_ENTROPY:
                    part, d = y * (top + log(total) - z), a - y
                else:
                    part, d = loss_of(a, y, loss, delta), a * (error_of(a, y, loss, delta) - along)
            found += part
            store(D, at, d * weight)
        if not live:
            for i in range(lane, n, lanes):
                store(D, place + i * by_feature, real(0))
        return found * weight

    return of_column


@kernel("output_block", "VIIIEIIRJVI")
def _output_block(real):
    of_column, summed = outputs(real), meet(plus)

    def function(D, place, n, m, examples, code, loss, delta, now, totals, lanes):
        shared = cuda.shared.array(THREADS, real, ALIGNMENT)
        t = cuda.threadIdx.x
        group = THREADS // lanes
        # Threads side by side read examples side by side.
        column, lane = t % group, t // group
        j = cuda.blockIdx.x * group + column
        live = j < m
        example = example_at(examples, value(now, START) - value(now, ORIGIN) + j) if live else 0
        total = of_column(
            D, place + j, m, n if live else 0, live, examples, example, code, loss, delta,
            shared, column * lanes + lane, lane, lanes,
        )  # fmt: skip
        total = summed(shared, total, t, t, THREADS)
        if t == 0:
            store(totals, cuda.blockIdx.x, total)

    return function


def output_blocks(n: int, m: int) -> tuple[int, int]:
    """Return the threads that share an example of n outputs, and the blocks for m examples."""
    lanes = power_of_two(n, _LANES)
    return lanes, -(-m // (THREADS // lanes))


def output_block(
    stream: Any, D: Place, totals: Any, examples: Examples, activation: int, loss: int,
    delta: float, now: Any, n: int, m: int,
) -> None:  # fmt: skip
    """Put dZ of the output layer into D, (n, m), which held its Z, and the losses into totals.

    ``totals`` takes a sum for each of the `output_blocks`.
    """
    real = real_of(D.values)
    lanes, blocks = output_blocks(n, m)
    _output_block.launch(
        blocks, THREADS, stream, real, *D, n, m, examples, activation, loss, real(delta), now,
        totals, lanes,
    )  # fmt: skip


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
    parts = empty(slices, real, stream)
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
