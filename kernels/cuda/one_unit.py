"""A large batch through a network of one unit, such as logistic regression: X is read once.

    z = w x + b;  J and dz from the loss;  dw = sum dz x;  db = sum dz

A thread takes whole examples, one after another, and holds x and its share of dw in registers; of
the kernels for so many features the smallest that serves is taken. The threads of a block add up
what they have at the end of a piece of the batch.
"""

from __future__ import annotations

from typing import Any

from ..codes import SOFTMAX
from ..structures import CODE
from .driver import ALIGNMENT, SIMULATED, TEAM, Kernel, barrier, cuda, device, kernel, real_of
from .losses import example_at, of_value, target_of
from .memory import copy16, store, value, vector_length
from .structures import ORIGIN, START, Examples, Net, Space
from .sums import meet, plus

# The numbers of features that there are kernels for.
FEATURES = (4, 8) if SIMULATED else (8, 32)

# The least batch for which this pays: its pieces keep a large GPU busy.
LEAST_BATCH = 24 if SIMULATED else 65536

# Pieces of a batch: about three blocks for each multiprocessor of a large GPU.
_PIECES = 3 if SIMULATED else 384

# Threads whose shares are first added up by one.
_GROUP = 2 if SIMULATED else 32


def serves(sizes: tuple[int, ...], activation: int, batch: int) -> bool:
    """Return whether a network of those sizes and a batch are for these kernels."""
    return (
        len(sizes) == 2 and sizes[1] == 1 and sizes[0] <= FEATURES[-1] and activation != SOFTMAX
        and batch >= LEAST_BATCH
    )  # fmt: skip


def piece_of(batch: int) -> int:
    """Return how many examples a piece of a batch has."""
    return -(-batch // _PIECES)


def _one_unit(features: int) -> Kernel:
    def factory(real):
        V = vector_length(real)
        summed = meet(plus)
        PITCH = TEAM + 1  # neighbouring features of a thread then stand in different banks
        CELLS = features * PITCH
        GROUPS = TEAM // _GROUP

        @device
        def load(x, examples, example, n):
            place = examples.X_place + example * examples.X_example
            step = examples.X_feature
            wide = step == 1 and examples.X_wide
            for k in range(0, features, V):
                if wide and k + V <= n:
                    copy16(x, k, examples.X, place + k)
                else:
                    for v in range(k, k + V):
                        x[v] = value(examples.X, place + v * step) if v < n else real(0)

        @device
        def z_of(W, x, w, z):
            for v in range(V):
                z[v] = real(0)
            for k in range(0, features, V):
                copy16(w, 0, W, k)
                for v in range(V):
                    z[v] += w[v] * x[k + v]
            total = z[0]
            for v in range(1, V):
                total += z[v]
            return total

        @device
        def add_up(S, g, sums, place, n, t):
            # Each thread adds the shares of a group of threads, then one the sums of the groups.
            for k in range(features):
                store(S, k * PITCH + t, g[k])
            barrier()
            for e in range(t, features * GROUPS, TEAM):
                k, group = e // GROUPS, e % GROUPS
                total = real(0)
                for u in range(group * _GROUP, (group + 1) * _GROUP):
                    total += value(S, k * PITCH + u)
                store(S, k * PITCH + group * _GROUP, total)
            barrier()
            for k in range(t, n, TEAM):
                total = real(0)
                for u in range(0, TEAM, _GROUP):
                    total += value(S, k * PITCH + u)
                store(sums, place + k, total)

        def function(net, examples, space, piece, batch, m, now):
            S = cuda.shared.array(CELLS, real, ALIGNMENT)
            scratch = cuda.shared.array(TEAM, real, ALIGNMENT)
            x = cuda.local.array(features, real)
            g = cuda.local.array(features, real)
            W = cuda.shared.array(features, real, ALIGNMENT)
            w = cuda.local.array(V, real)
            z = cuda.local.array(V, real)
            t, index, n = cuda.threadIdx.x, cuda.blockIdx.x, net.size - 1
            start, origin = value(now, START), value(now, ORIGIN)
            stop = min(start + batch, m)
            code, bias = value(net.layers, CODE), value(net.parameters, n)
            total, db = real(0), real(0)
            for k in range(features):
                g[k] = real(0)
            for k in range(t, features, TEAM):
                store(W, k, value(net.parameters, k) if k < n else real(0))
            barrier()
            first = start + index * piece
            for at in range(first + t, min(first + piece, stop), TEAM):
                example = example_at(examples, at - origin)
                load(x, examples, example, n)
                y = target_of(examples, 0, example)
                part, d = of_value(z_of(W, x, w, z) + bias, y, code, net.loss, net.delta)
                if examples.weighted:
                    weight = value(examples.weights, example)
                    part, d = part * weight, d * weight
                total += part
                db += d
                for k in range(features):
                    g[k] += d * x[k]
            if first < stop:
                place = index * net.size
                add_up(S, g, space.sums, place, n, t)
                db = summed(scratch, db, t, t, TEAM)
                total = summed(scratch, total, t, t, TEAM)
                if t == 0:
                    store(space.sums, place + n, db)
                    store(space.totals, index, total)

        return function

    return kernel(f"one_unit_{features}", "NESIIIJ", (TEAM, 3, 2))(factory)


_KERNELS = {features: _one_unit(features) for features in FEATURES}


def pieces(
    stream: Any, net: Net, examples: Examples, space: Space, piece: int, batch: int, m: int,
    now: Any,
) -> None:  # fmt: skip
    """Take the pieces of the batch that begins ``now`` forward and backward.

    It ends at the example ``m`` at the latest. ``space`` gets a gradient and a loss of each piece.
    """
    features = next(count for count in FEATURES if net.size - 1 <= count)
    _KERNELS[features].launch(
        -(-batch // piece), TEAM, stream, real_of(net.parameters),
        net, examples, space, piece, batch, m, now,
    )  # fmt: skip
