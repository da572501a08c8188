"""Cost, gradient and training of small networks: each block of threads goes through all of one.

A batch is cut into pieces, by the network and the batch alone. A step is

    each piece   forward and backward, ``width`` examples at a time; a gradient of its own
    each range   of the parameters: its gradient, from all pieces, and its step

as two launches (`pieces`, ``optimizers.settle``), or many steps in one launch (`train`), by one
block of threads, or by as many as fit on the GPU at once, which then wait for each other twice a
step. The sums are the same in each case, and so are the bits.
"""

from __future__ import annotations

from typing import Any

from .block import ROWS, blocks, shared_bytes
from .driver import (
    ALIGNMENT,
    SIMULATED,
    TEAM,
    barrier,
    cuda,
    device,
    dynamic,
    grid_barrier,
    kernel,
    real_of,
)
from .dropout import draws
from .memory import store, value, vector_length
from .optimizers import DERIVE, DESCEND, WHOLE, clipping, noting, settling
from .structures import ORIGIN, ROW, START, STEP, TOLD, Examples, Net, Rule, Space
from .sums import meet, plus

# What a launch is for.
COST, GRADIENT, STEPS = range(3)

# The most pieces of a batch: about two for each multiprocessor of a large GPU.
MOST_PIECES = 3 if SIMULATED else 256


def piece_of(batch: int, groups: int, real: Any) -> int:
    """Return how many examples a piece of a batch has: whole blocks."""
    width = groups * vector_length(real)
    blocks_of_batch = -(-batch // width)
    return width * -(-blocks_of_batch // MOST_PIECES)


def pieces_of(batch: int, piece: int) -> int:
    """Return how many pieces a batch has."""
    return -(-batch // piece)


def piecework(real: Any) -> Any:
    """Return the function that takes a piece of a batch through a network."""
    work = blocks(real)
    V = work.V
    forward, output, errors, gradient = work.forward, work.output, work.errors, work.gradient
    summed = meet(plus)

    @device
    def do_piece(
        S, scratch, net, rule, examples, space, index, piece, start, stop, origin, step, purpose,
        half, groups, pitch, t, acc, a, b,
    ):  # fmt: skip
        """Take a piece forward and, if there is to be a gradient, backward."""
        dropping = purpose == STEPS
        drawn = draws(step, rule.key) if dropping else 0
        width, total = groups * V, real(0)
        first = start + index * piece
        end = min(first + piece, stop)
        for at in range(first, end, width):
            m = min(width, end - at)
            forward(
                S, net, examples, at - origin, m, at, drawn, dropping, purpose != COST, groups,
                pitch, scratch, t, acc, a, b,
            )  # fmt: skip
            total += output(S, net, examples, at - origin, m, groups, pitch, scratch, t)
            barrier()
            if purpose != COST:
                errors(S, net, groups, pitch, scratch, t, acc, a, b)
                for l in range(net.depth):
                    gradient(
                        S, net, l, space.sums, index * net.size, at == first, groups, pitch, t,
                        acc, a, b,
                    )  # fmt: skip
                barrier()
        total = summed(scratch, total, t, t, TEAM)
        if t == 0:
            store(space.totals, half * space.tickets + index, total)

    return do_piece


@kernel("pieces", "NUESIIIIIJ", (TEAM, 2, 2))
def _pieces(real):
    do_piece = piecework(real)
    V = vector_length(real)
    CELLS, shared_type = ROWS * V, dynamic(real)

    def function(net, rule, examples, space, piece, batch, m, purpose, groups, now):
        S = cuda.shared.array(0, shared_type, ALIGNMENT)
        scratch = cuda.shared.array(TEAM, real, ALIGNMENT)
        acc = cuda.local.array(CELLS, real)
        b = cuda.local.array(CELLS, real)
        a = cuda.local.array(V, real)
        start = value(now, START)
        stop = min(start + batch, m)
        if start + cuda.blockIdx.x * piece < stop:
            do_piece(
                S, scratch, net, rule, examples, space, cuda.blockIdx.x, piece, start, stop,
                value(now, ORIGIN), value(now, STEP), purpose, 0, groups, (groups + 1) * V,
                cuda.threadIdx.x, acc, a, b,
            )  # fmt: skip

    return function


def steps_of(real: Any, meeting: Any) -> Any:
    """Return the function that takes many steps, by blocks of threads that meet in ``meeting``."""
    do_piece, settle_range = piecework(real), settling(real)
    factor_of, cost_of = clipping(real), noting(real)

    @device
    def take(
        S, scratch, net, rule, examples, space, piece, batch, m, steps, groups, pitch, start, step,
        first_row, origin, me, all_blocks, t, acc, a, b,
    ):  # fmt: skip
        """Take so many steps, the first of which begins at the example ``start``."""
        what = DERIVE if rule.clip_norm != real(0) else WHOLE
        penalised = rule.l1 != real(0) or rule.l2 != real(0)
        for row in range(first_row, first_row + steps):
            stop, half = min(start + batch, m), row % 2
            tickets = (stop - start + piece - 1) // piece
            for index in range(me, tickets, all_blocks):
                do_piece(
                    S, scratch, net, rule, examples, space, index, piece, start, stop, origin,
                    step, STEPS, half, groups, pitch, t, acc, a, b,
                )  # fmt: skip
            meeting()
            for index in range(me, space.ranges, all_blocks):
                settle_range(
                    net, rule, space, 0, net.size, index, 0, 0, net.size, tickets,
                    stop - start, real(1), row * TOLD, what, stop == m, half, scratch, t,
                )  # fmt: skip
            meeting()
            if what == DERIVE:
                factor = factor_of(rule, space, scratch, t)
                for index in range(me, space.ranges, all_blocks):
                    settle_range(
                        net, rule, space, 0, net.size, index, 0, 0, 0, 0, stop - start, factor,
                        row * TOLD, DESCEND, stop == m, half, scratch, t,
                    )  # fmt: skip
                meeting()
            if me == 0:
                J = cost_of(penalised, space, tickets, stop - start, half, scratch, t)
                if t == 0:
                    store(space.costs, row, J)
            start = stop if stop < m else 0
            step += 1

    return take


def _steps(meeting: Any) -> Any:
    """Return the factory of the kernel that takes many steps; its blocks meet in ``meeting``."""

    def factory(real):
        take = steps_of(real, meeting)
        V = vector_length(real)
        CELLS, shared_type = ROWS * V, dynamic(real)

        def function(net, rule, examples, space, piece, batch, m, steps, groups, now):
            S = cuda.shared.array(0, shared_type, ALIGNMENT)
            scratch = cuda.shared.array(TEAM, real, ALIGNMENT)
            acc = cuda.local.array(CELLS, real)
            b = cuda.local.array(CELLS, real)
            a = cuda.local.array(V, real)
            take(
                S, scratch, net, rule, examples, space, piece, batch, m, steps, groups,
                (groups + 1) * V, value(now, START), value(now, STEP), value(now, ROW),
                value(now, ORIGIN), cuda.blockIdx.x, cuda.gridDim.x, cuda.threadIdx.x, acc, a, b,
            )  # fmt: skip

        return function

    return factory


_train_alone = kernel("train_alone", "NUESIIIIIJ", (TEAM, 2, 2))(_steps(barrier))
_train_together = kernel("train_together", "NUESIIIIIJ", (TEAM, 2, 2))(_steps(grid_barrier))


def pieces(
    stream: Any, net: Net, rule: Rule, examples: Examples, space: Space, piece: int, batch: int,
    m: int, purpose: int, groups: int, sizes: tuple[int, ...], now: Any,
) -> None:  # fmt: skip
    """Take the pieces of the batch that begins ``now`` forward, and backward for a gradient.

    It ends at the example ``m`` at the latest. ``space`` gets a gradient and a loss of each piece.
    """
    real = real_of(net.parameters)
    _pieces.launch(
        pieces_of(batch, piece), TEAM, stream, real,
        net, rule, examples, space, piece, batch, m, purpose, groups, now,
        shared=shared_bytes(sizes, groups, real),
    )  # fmt: skip


def blocks_at_once(sizes: tuple[int, ...], groups: int, real: Any) -> int:
    """Return how many blocks of threads `train` may have on this GPU."""
    return _train_together.at_once(real, TEAM, shared_bytes(sizes, groups, real))


def train(
    stream: Any, net: Net, rule: Rule, examples: Examples, space: Space, piece: int, batch: int,
    m: int, steps: int, groups: int, sizes: tuple[int, ...], now: Any, together: int,
) -> None:  # fmt: skip
    """Take so many steps from ``now`` on, by ``together`` blocks of threads at most.

    ``now`` is left as it was.
    """
    real = real_of(net.parameters)
    count = min(together, pieces_of(batch, piece))
    chosen = _train_alone if count == 1 else _train_together
    chosen.launch(
        count, TEAM, stream, real,
        net, rule, examples, space, piece, batch, m, steps, groups, now,
        shared=shared_bytes(sizes, groups, real),
    )  # fmt: skip
