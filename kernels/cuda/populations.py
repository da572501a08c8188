"""Many networks at once: each block of threads trains a network of its own, epoch by epoch.

All read the same examples, each in an order of its own, by which it may leave some out; nothing
else is shared. A network goes through `training.steps_of`, as it does alone: the same sums, the
same bits.

    each epoch   shuffle, if it does;  its steps;  the cost of held-out examples, if there are any:
                 the parameters are kept where it is lowest, and training stops when patience ends
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from ..structures import FIELDS
from .block import ROWS
from .driver import ALIGNMENT, TEAM, barrier, cuda, device, dynamic, kernel, real_of
from .memory import store, value, vector_length
from .optimizers import noting
from .structures import TOLD, Examples, Net, Population, Rule, Space
from .training import COST, piecework, steps_of

# What is told of a network in whole numbers. A name of an array stands for the place of the
# network's first value in it.
WHOLE: Final = 28
(
    SIZE, DEPTH, LOSS, GROUPS, BATCH, PIECE, M, KIND, NESTEROV, KEY,
    PARAMETERS, LAYERS, SUMS, TICKETS, TOTALS, RANGES, PENALTIES, COSTS, TOLD_ROW,
    ORDER, SHUFFLES, WEIGHTS, EPOCH_STEPS, EPOCHS,
    HELD_OUT, HELD_OUT_PIECE, HELD_OUT_ORDER, PATIENCE,
) = range(WHOLE)  # fmt: skip

# What is told of it in numbers of the float type.
REAL: Final = 9
DELTA, MOMENTUM, BETA1, REST1, BETA2, REST2, L1, L2, CLIP_NORM = range(REAL)

# Where it stands: steps taken, epochs done, and those whose cost of held-out examples was seen;
# epochs waited for a lower one, the best epoch or -1, the state of the shuffle, and whether it has
# stopped. And the lowest of these costs, and the one that is to be undercut.
STANDS: Final = 7
STEPS_TAKEN, DONE, SEEN, WAITED, BEST, RANDOM, STOPPED = range(STANDS)
LEVELS: Final = 2
LOWEST, LEVEL = range(LEVELS)

_LOW, _TOP_57 = 0xFFFFFFFF, 0x01FFFFFFFFFFFFFF


@device
def shuffle(order, m, state):
    """Permute in place (Fisher and Yates); return the state of the 64-bit xorshift.

    In signed numbers, whose right shift is made that of unsigned ones.
    """
    x = state
    for i in range(m - 1, 0, -1):
        x ^= x << 13
        x ^= (x >> 7) & _TOP_57
        x ^= x << 17
        j = (((x >> 32) & _LOW) * (i + 1)) >> 32
        here, there = value(order, i), value(order, j)
        store(order, i, there)
        store(order, j, here)
    return x


def _rule_of(real: Any) -> Any:
    @device
    def rule_of(whole, numbers):
        return Rule(
            value(whole, KIND), value(whole, NESTEROV), value(numbers, MOMENTUM),
            value(numbers, BETA1), value(numbers, REST1), value(numbers, BETA2),
            value(numbers, REST2), value(numbers, L1), value(numbers, L2),
            value(numbers, CLIP_NORM), value(whole, KEY),
        )  # fmt: skip

    return rule_of


@kernel("fit_many", "PEI", (TEAM, 2, 2))
def _fit_many(real):
    take, rule_of = steps_of(real, barrier), _rule_of(real)
    V = vector_length(real)
    CELLS, shared_type = ROWS * V, dynamic(real)

    def function(every, shared, epochs):
        S = cuda.shared.array(0, shared_type, ALIGNMENT)
        scratch = cuda.shared.array(TEAM, real, ALIGNMENT)
        acc = cuda.local.array(CELLS, real)
        b = cuda.local.array(CELLS, real)
        a = cuda.local.array(V, real)
        k, t = cuda.blockIdx.x, cuda.threadIdx.x
        # What is this network's of each array.
        whole = every.whole[k * WHOLE : (k + 1) * WHOLE]
        numbers = every.numbers[k * REAL : (k + 1) * REAL]
        stands = every.stands[k * STANDS : (k + 1) * STANDS]
        n, at, depth = value(whole, SIZE), value(whole, PARAMETERS), value(whole, DEPTH)
        m, count, groups = value(whole, M), value(whole, EPOCH_STEPS), value(whole, GROUPS)
        tickets, ranges = value(whole, TICKETS), value(whole, RANGES)
        layer, total, cost = value(whole, LAYERS), value(whole, TOTALS), value(whole, COSTS)
        told = TOLD * value(whole, TOLD_ROW)
        range_at, order_at = value(whole, PENALTIES), value(whole, ORDER)
        order = every.orders[order_at : order_at + m]
        net = Net(
            every.parameters[at : at + n], n, every.layers[layer : layer + FIELDS * depth], depth,
            value(whole, LOSS), value(numbers, DELTA), every.wide,
        )  # fmt: skip
        examples = Examples(
            shared.X, shared.X_place, shared.X_feature, shared.X_example, shared.X_wide,
            shared.Y, shared.Y_place, shared.Y_feature, shared.Y_example, shared.labels,
            shared.labelled, every.weights[value(whole, WEIGHTS) :], every.weighted, order, 1,
        )  # fmt: skip
        space = Space(
            every.sums[value(whole, SUMS) :], every.totals[total : total + 2 * tickets],
            every.penalties[range_at : range_at + 2 * ranges],
            every.squares[range_at : range_at + 2 * ranges], tickets, ranges,
            every.gradient[at : at + n], every.state[2 * at : 2 * (at + n)],
            every.snapshot[at : at + n], every.is_weight[at : at + n],
            every.costs[cost : cost + every.rows], every.told[told : told + TOLD * every.rows],
        )  # fmt: skip
        rule = rule_of(whole, numbers)
        for epoch in range(epochs):
            barrier()
            if value(stands, STOPPED) != 0 or value(stands, DONE) == value(whole, EPOCHS):
                break
            step = value(stands, STEPS_TAKEN) + 1
            if value(whole, SHUFFLES) != 0 and t == 0:
                store(stands, RANDOM, shuffle(order, m, value(stands, RANDOM)))
            barrier()
            take(
                S, scratch, net, rule, examples, space, value(whole, PIECE), value(whole, BATCH), m,
                count, groups, (groups + 1) * V, 0, step, epoch * count, 0, 0, 1, t, acc, a, b,
            )  # fmt: skip
            barrier()
            if t == 0:
                store(stands, DONE, value(stands, DONE) + 1)
                store(stands, STEPS_TAKEN, value(stands, STEPS_TAKEN) + count)

    return function


@kernel("watch_many", "PE", (TEAM, 2, 2))
def _watch_many(real):
    do_piece, cost_of, rule_of = piecework(real), noting(real), _rule_of(real)
    V = vector_length(real)
    CELLS, shared_type = ROWS * V, dynamic(real)

    @device
    def note(whole, stands, levels, least_fall, J, lowest):
        epoch = value(stands, DONE) - 1
        if lowest:
            store(levels, LOWEST, J)
            store(stands, BEST, epoch)
        if np.float64(J) < np.float64(value(levels, LEVEL)) - least_fall:
            store(levels, LEVEL, J)
            store(stands, WAITED, 0)
        else:
            store(stands, WAITED, value(stands, WAITED) + 1)
        patience = value(whole, PATIENCE)
        if patience >= 0 and value(stands, WAITED) >= patience:
            store(stands, STOPPED, 1)

    def function(every, held_out):
        S = cuda.shared.array(0, shared_type, ALIGNMENT)
        scratch = cuda.shared.array(TEAM, real, ALIGNMENT)
        acc = cuda.local.array(CELLS, real)
        b = cuda.local.array(CELLS, real)
        a = cuda.local.array(V, real)
        k, t = cuda.blockIdx.x, cuda.threadIdx.x
        whole = every.whole[k * WHOLE : (k + 1) * WHOLE]
        numbers = every.numbers[k * REAL : (k + 1) * REAL]
        stands = every.stands[k * STANDS : (k + 1) * STANDS]
        levels = every.levels[k * LEVELS : (k + 1) * LEVELS]
        n, at, depth = value(whole, SIZE), value(whole, PARAMETERS), value(whole, DEPTH)
        m, groups = value(whole, HELD_OUT), value(whole, GROUPS)
        piece, order_at = value(whole, HELD_OUT_PIECE), value(whole, HELD_OUT_ORDER)
        tickets, total = value(whole, TICKETS), value(whole, TOTALS)
        layer = value(whole, LAYERS)
        if m == 0 or value(stands, STOPPED) != 0 or value(stands, DONE) == value(stands, SEEN):
            return
        net = Net(
            every.parameters[at : at + n], n, every.layers[layer : layer + FIELDS * depth], depth,
            value(whole, LOSS), value(numbers, DELTA), every.wide,
        )  # fmt: skip
        examples = Examples(
            held_out.X, held_out.X_place, held_out.X_feature, held_out.X_example, held_out.X_wide,
            held_out.Y, held_out.Y_place, held_out.Y_feature, held_out.Y_example, held_out.labels,
            held_out.labelled, held_out.weights, held_out.weighted,
            every.orders[order_at : order_at + m], 1,
        )  # fmt: skip
        none = every.gradient[at : at + n]
        space = Space(
            none, every.totals[total : total + 2 * tickets], none, none, tickets, 0, none, none,
            none, none, none, none,
        )  # fmt: skip
        rule = rule_of(whole, numbers)
        count = (m + piece - 1) // piece
        for index in range(count):
            do_piece(
                S, scratch, net, rule, examples, space, index, piece, 0, m, 0, 0, COST, 0, groups,
                (groups + 1) * V, t, acc, a, b,
            )  # fmt: skip
        barrier()
        J = cost_of(False, space, count, m, 0, scratch, t)
        lowest = J < value(levels, LOWEST) or value(stands, BEST) < 0
        barrier()
        if t == 0:
            store(every.held_out_costs, k, J)
            note(whole, stands, levels, value(every.least_falls, k), J, lowest)
            store(stands, SEEN, value(stands, DONE))
        if lowest:
            for i in range(t, n, TEAM):
                store(every.best, at + i, value(net.parameters, i))

    return function


def fit_many(
    stream: Any, every: Population, examples: Examples, count: int, epochs: int, shared: int
) -> None:
    """Take so many epochs of all networks, ``count`` of them, unless they have stopped before.

    A block of threads has ``shared`` bytes for the examples.
    """
    real = real_of(every.parameters)
    _fit_many.launch(count, TEAM, stream, real, every, examples, epochs, shared=shared)


def watch_many(stream: Any, every: Population, held_out: Examples, count: int, shared: int) -> None:
    """Note what held-out examples cost after an epoch; keep the best parameters, or stop."""
    real = real_of(every.parameters)
    _watch_many.launch(count, TEAM, stream, real, every, held_out, shared=shared)
