"""Optimisers on the flat vector of parameters, with the last stage of the gradient's sums.

g = dJ/dw = scale * sum of the pieces' gradients + l1 sign(w) + l2 w     (penalties: weights only)

SGD       v := mu v - alpha g;  w := w + v,   or w + mu v - alpha g with Nesterov
RMSprop   s := beta2 s + (1 - beta2) g^2;  w := w - alpha g / (sqrt(s) + eps)
Adam      v := beta1 v + (1 - beta1) g, s as above;
          w := w - alpha_hat v / (sqrt(s) root_hat + eps)     (the host computes the two)
AdamW     Adam, after w := w (1 - alpha decay)                (decay: weights only)
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..codes import ADAMW, RMSPROP, SGD
from .activations import pieces
from .driver import (
    ALIGNMENT,
    SIMULATED,
    TEAM,
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
from .structures import (
    ALPHA,
    ALPHA_HAT,
    EPSILON,
    KEPT,
    ROOT_HAT,
    ROW,
    START,
    STEP,
    TOLD,
    Net,
    Rule,
    Space,
)
from .sums import meet, plus

# What is done about parameters whose gradient was summed: it is made that of J, and the step taken.
WHOLE, DERIVE, DESCEND = range(3)

# Parameters that a thread settles, one in each round of the block; those of a block are a range.
_ROUNDS = 2 if SIMULATED else 4

# Squares of the gradient are also summed for this part of it: above 1e19 those of float32 are
# infinite, where their norm is not.
_SMALL = 2.0**-80


@kernel("gradient_step", "VIVIIRI")
def _gradient_step(real):
    p = pieces(real)
    V, get, put = p.V, p.get, p.put

    def function(parameters, place, gradient, gradient_place, n, rate, wide):
        w, g = cuda.local.array(V, real), cuda.local.array(V, real)
        for piece in range(cuda.grid(1), (n + V - 1) // V, cuda.gridsize(1)):
            at = piece * V
            get(w, parameters, place + at, wide, n - at)
            get(g, gradient, gradient_place + at, wide, n - at)
            for i in range(V):
                w[i] -= rate * g[i]
            put(parameters, place + at, w, wide, n - at)

    return function


def gradient_step(
    stream: Any, parameters: Place, gradient: Place, learning_rate: float, n: int
) -> None:
    """Parameters := parameters - learning_rate * gradient, in place."""
    real = real_of(parameters.values)
    wide = int(is_wide(parameters) and is_wide(gradient))
    grid = blocks_for(n, THREADS * vector_length(real))
    _gradient_step.launch(
        grid, THREADS, stream, real, *parameters, *gradient, n, real(learning_rate), wide
    )


# ------------------------------------------------------------------ steps of training


@device
def update(w, d, q, net, rule, space, row, weight):
    """Return parameter q after its step by the gradient d; its moments are kept."""
    told, state = space.told, space.state
    alpha, second_place = value(told, row + ALPHA), net.size + q
    if rule.kind == SGD:
        move = alpha * d
        if rule.momentum == type(d)(0):
            return w - move
        first = rule.momentum * value(state, q) - move
        store(state, q, first)
        return w + (rule.momentum * first - move if rule.nesterov else first)
    second = rule.beta2 * value(state, second_place) + rule.rest2 * d * d
    store(state, second_place, second)
    epsilon = value(told, row + EPSILON)
    if rule.kind == RMSPROP:
        return w - alpha * d / (math.sqrt(second) + epsilon)
    first = rule.beta1 * value(state, q) + rule.rest1 * d
    store(state, q, first)
    root = math.sqrt(second) * value(told, row + ROOT_HAT) + epsilon
    if weight:
        w *= value(told, row + KEPT)
    return w - value(told, row + ALPHA_HAT) * first / root


def settling(real: Any) -> Any:
    """Return the function by which a block settles a range of the parameters.

    The parameters are those from ``first`` on, ``count`` in all, of which the range ``index`` is
    the block's. Their gradients stand in ``space.sums``, at ``place``, one behind the other
    ``apart`` from one slice to the next. ``half`` is that of the penalties.
    """
    summed = meet(plus)

    @device
    def settle_range(
        net, rule, space, first, count, index, range_place, place, apart, slices, examples, factor,
        row, what, keep, half, shared, t,
    ):  # fmt: skip
        scale = real(1) / real(examples)
        cost, squares, small = real(0), real(0), real(0)
        for u in range(_ROUNDS):
            e = (index * _ROUNDS + u) * TEAM + t
            if e < count:
                q = first + e
                w = value(net.parameters, q)
                weight = value(space.is_weight, q) != real(0)
                if what == DESCEND:
                    d = value(space.gradient, q) * factor
                else:
                    total = value(space.sums, place + e)
                    for s in range(1, slices):
                        total += value(space.sums, place + s * apart + e)
                    d = scale * total
                    if weight:
                        if w > real(0):
                            d += rule.l1
                        elif w < real(0):
                            d -= rule.l1
                        d += rule.l2 * w
                        cost += rule.l1 * abs(w) + real(0.5) * rule.l2 * w * w
                if what == DERIVE:
                    store(space.gradient, q, d)
                    squares += d * d
                    d *= real(_SMALL)
                    small += d * d
                else:
                    w = update(w, d, q, net, rule, space, row, weight)
                    store(net.parameters, q, w)
                    if keep:
                        store(space.snapshot, q, w)
        if what != DESCEND and (rule.l1 != real(0) or rule.l2 != real(0)):
            cost = summed(shared, cost, t, t, TEAM)
            if t == 0:
                store(space.penalties, half * space.ranges + range_place + index, cost)
        if what == DERIVE and rule.clip_norm != real(0):
            squares = summed(shared, squares, t, t, TEAM)
            small = summed(shared, small, t, t, TEAM)
            if t == 0:
                store(space.squares, 2 * (range_place + index), squares)
                store(space.squares, 2 * (range_place + index) + 1, small)

    return settle_range


def clipping(real: Any) -> Any:
    """Return the function of what the gradient is multiplied by, from its squares."""
    summed = meet(plus)

    @device
    def factor_of(rule, space, shared, t):
        squares, small = real(0), real(0)
        for r in range(t, space.ranges, TEAM):
            squares += value(space.squares, 2 * r)
            small += value(space.squares, 2 * r + 1)
        squares = summed(shared, squares, t, t, TEAM)
        small = summed(shared, small, t, t, TEAM)
        limit = rule.clip_norm
        if squares <= limit * limit:
            return real(1)
        if squares < real(math.inf):
            return limit / math.sqrt(squares)
        # A norm that is NaN or infinite leaves the gradient as it is: the cost will show it.
        limit *= real(_SMALL)
        if small > limit * limit and small < real(math.inf):
            return limit / math.sqrt(small)
        return real(1)

    return factor_of


def noting(real: Any) -> Any:
    """Return the function by which a block sums the cost of a step, J."""
    summed = meet(plus)

    @device
    def cost_of(penalised, space, tickets, examples, half, shared, t):
        total, penalty = real(0), real(0)
        for i in range(t, tickets, TEAM):
            total += value(space.totals, half * space.tickets + i)
        total = summed(shared, total, t, t, TEAM)
        if penalised:
            for i in range(t, space.ranges, TEAM):
                penalty += value(space.penalties, half * space.ranges + i)
            penalty = summed(shared, penalty, t, t, TEAM)
        return total / real(examples) + penalty

    return cost_of


@kernel("settle", "NUSIIIIIIIIIIIJ")
def _settle(real):
    settle_range, factor_of = settling(real), clipping(real)

    def function(
        net, rule, space, first, count, range_place, place, apart, slices, piece, batch, m, what,
        step, now,
    ):  # fmt: skip
        shared = cuda.shared.array(TEAM, real, ALIGNMENT)
        t = cuda.threadIdx.x
        start, row = value(now, START), value(now, ROW) * TOLD
        stop = min(start + batch, m)
        if piece:
            slices = (stop - start + piece - 1) // piece
        factor = real(1)
        if what == DESCEND:
            factor = factor_of(rule, space, shared, t)
        settle_range(
            net, rule, space, first, count, cuda.blockIdx.x, range_place, place, apart, slices,
            stop - start, factor, row, what, step and stop == m, 0, shared, t,
        )  # fmt: skip

    return function


class Part(NamedTuple):
    """Some of the parameters, and where the sums of their gradients stand."""

    first: int
    count: int
    ranges_before: int = 0
    place: int = 0
    apart: int = 0  # from one slice of the sums to the next
    slices: int = 0  # how many; or one for each piece of a batch:
    piece: int = 0


def settle(
    stream: Any, net: Net, rule: Rule, space: Space, part: Part, batch: int, m: int, what: int,
    keeps: bool, now: Any,
) -> None:  # fmt: skip
    """Turn sums into the gradient of J, or take that step, or both: `WHOLE`, `DERIVE`, `DESCEND`.

    The batch ends at the example ``m`` at the latest. ``keeps`` a snapshot where a step ends an
    epoch.
    """
    real = real_of(net.parameters)
    _settle.launch(
        ranges_of(part.count), TEAM, stream, real,
        net, rule, space, *part, batch, m, what, int(keeps), now,
    )  # fmt: skip


def ranges_of(count: int) -> int:
    """Return how many ranges so many parameters have."""
    return -(-count // (_ROUNDS * TEAM))


@kernel("note", "USIIIIJ")
def _note(real):
    cost_of = noting(real)

    def function(rule, space, piece, tickets, batch, m, now):
        shared = cuda.shared.array(TEAM, real, ALIGNMENT)
        t = cuda.threadIdx.x
        start = value(now, START)
        stop = min(start + batch, m)
        if piece:
            tickets = (stop - start + piece - 1) // piece
        penalised = rule.l1 != real(0) or rule.l2 != real(0)
        J = cost_of(penalised, space, tickets, stop - start, 0, shared, t)
        if t == 0:
            store(space.costs, value(now, ROW), J)
            store(now, START, stop if stop < m else 0)
            store(now, STEP, value(now, STEP) + 1)
            store(now, ROW, value(now, ROW) + 1)

    return function


def note(
    stream: Any, rule: Rule, space: Space, batch: int, m: int, now: Any, *, tickets: int, piece: int
) -> None:
    """Note J of a step among the costs, and go on to the next one.

    Its losses are in so many ``tickets``, or in one for each ``piece`` of the batch.
    """
    _note.launch(1, TEAM, stream, real_of(space.costs), rule, space, piece, tickets, batch, m, now)


def rule_of(rule: Any, real: Any) -> Rule:
    """Return an optimiser's numbers as kernels take them."""
    return Rule(
        int(rule.kind),
        int(rule.nesterov),
        real(rule.momentum),
        real(rule.beta1),
        real(1 - rule.beta1),
        real(rule.beta2),
        real(1 - rule.beta2),
        real(rule.l1),
        real(rule.l2),
        real(rule.clip_norm),
        int(rule.key),
    )


def told_of(rule: Any, rates: Any, first: int, real: Any) -> Any:
    """Return what each of some steps is told, (steps, TOLD), from the step ``first`` on.

    ``rates`` are the factors of the learning rate.
    """
    alpha = rule.learning_rate * np.asarray(rates, np.float64)
    steps = np.arange(first, first + len(alpha))
    found = np.empty((len(alpha), TOLD))
    with np.errstate(divide="ignore"):
        # Betas of 1 are refused, but those of 0 are not.
        correction = 1 / np.sqrt(1 - rule.beta2**steps)
        found[:, ALPHA_HAT] = alpha / (1 - rule.beta1**steps)
    found[:, ALPHA], found[:, ROOT_HAT] = alpha, correction
    found[:, EPSILON] = rule.epsilon * (correction if rule.epsilon_first else 1.0)
    found[:, KEPT] = 1 - alpha * (rule.weight_decay if rule.kind == ADAMW else 0.0)
    return found.astype(real)
