"""One block of examples through a whole network, forward and backward, in shared memory.

A block of threads takes ``width`` examples at most through all layers. What they leave stays in
shared memory: A of the layers below the output, whose first is X, then D of all layers; one row a
unit, ``pitch`` values apart.

    A_0 = X                                     gathered in order
    D_l = W_l A_(l-1) + b_l                     Z, for the moment
    A_l = g(D_l), D_l := g'(D_l)                hidden layers
    A_l, D_l := A_l / p, D_l / p, or 0          in training with dropout, which keeps one in 1/p
    D_L = dZ_L                                  from the loss
    D_(l-1) := (W_l^T D_l) * D_(l-1)            dZ of the layer below
    dW_l += D_l A_(l-1)^T;  db_l += sum D_l     the 1/m follows when all blocks are summed

In a product a thread has 16 bytes of the examples, in `ROWS` rows; so many ``groups`` of threads
share a row. W is read where it stands: neighbouring threads read the same of it.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from ..codes import SOFTMAX
from ..structures import ABOVE, CODE, FIELDS, KEEP, N_IN, N_OUT, PLACE
from .activations import pieces, value_of
from .driver import MOST_SHARED, SIMULATED, TEAM, barrier, device
from .dropout import kept
from .losses import example_at, outputs
from .memory import copy16, store, value, vector_length
from .scalars import exp
from .softmax import LOWEST, larger
from .sums import meet, plus

# Threads of a warp; rows of a thread in a product.
WARP = 2 if SIMULATED else 32
ROWS = 4

# Numbers of groups, the best first; a network's memory decides.
GROUPS = (2, 1) if SIMULATED else (8, 4, 2)

# The widest layer, inputs included, of the networks that are taken through so.
WIDEST = 8 if SIMULATED else 128


def pitch_of(groups: int, real: Any) -> int:
    """Return the values from row to row: 16 bytes more than the examples, for the banks' sake."""
    return (groups + 1) * vector_length(real)


def groups_for(sizes: tuple[int, ...], real: Any) -> int:
    """Return the number of groups for a network, or 0 where it is too large."""
    if max(sizes) > WIDEST:
        return 0
    for groups in GROUPS:
        if shared_bytes(sizes, groups, real) <= MOST_SHARED:
            return groups
    return 0


def shared_bytes(sizes: tuple[int, ...], groups: int, real: Any) -> int:
    """Return the shared memory that a block needs."""
    rows = sum(sizes[:-1]) + sum(sizes[1:])
    return rows * pitch_of(groups, real) * real().itemsize


def blocks(real: Any) -> SimpleNamespace:
    """Return the functions by which a block of threads goes through a network.

    ``S`` is the shared memory of the examples, ``scratch`` takes a value of each thread; ``acc``,
    ``a`` and ``b`` are local, of ROWS * V, V and ROWS * V values.
    """
    V = vector_length(real)
    CELLS = ROWS * V
    p = pieces(real)
    values, slopes = p.values, p.slopes
    of_column = outputs(real)
    largest, summed = meet(larger), meet(plus)

    @device
    def field(net, l, which):
        return value(net.layers, l * FIELDS + which)

    @device
    def inputs_of(net, l):
        # The row of the A below layer l.
        return field(net, 0, N_IN) + field(net, l - 1, ABOVE) if l > 0 else 0

    @device
    def results_of(net, l):
        # The row of the Z, later dZ, of layer l: behind all A.
        last = net.depth - 1
        return field(net, 0, N_IN) + field(net, last, ABOVE) + field(net, l, ABOVE)

    @device
    def load_inputs(S, net, examples, begin, m, width, pitch, t):
        n = field(net, 0, N_IN)
        if examples.X_feature == 1:
            # A warp reads along an example.
            for j in range(t // WARP, width, TEAM // WARP):
                origin = 0
                if j < m:
                    example = example_at(examples, begin + j)
                    origin = examples.X_place + example * examples.X_example
                for i in range(t % WARP, n, WARP):
                    store(S, i * pitch + j, value(examples.X, origin + i) if j < m else real(0))
        else:
            across = min(width, TEAM)
            for j in range(t % across, width, across):
                origin = 0
                if j < m:
                    example = example_at(examples, begin + j)
                    origin = examples.X_place + example * examples.X_example
                for i in range(t // across, n, TEAM // across):
                    at = origin + i * examples.X_feature
                    store(S, i * pitch + j, value(examples.X, at) if j < m else real(0))

    @device
    def add_products(acc, a, b, k):
        # The k'th of V values of each row of W, times V examples.
        for r in range(ROWS):
            for c in range(V):
                acc[r * V + c] += b[r * V + k] * a[c]

    @device
    def rows_of_w(acc, S, source, pitch, W, first, second, third, fourth, n_in, wide, a, b):
        # acc = W[rows, :] S[source:, columns]; the rows of W begin at four places.
        for e in range(CELLS):
            acc[e] = real(0)
        whole = n_in - n_in % V
        for k in range(0, whole, V):
            if wide:
                copy16(b, 0, W, first + k)
                copy16(b, V, W, second + k)
                copy16(b, 2 * V, W, third + k)
                copy16(b, 3 * V, W, fourth + k)
            else:
                for v in range(V):
                    b[v] = value(W, first + k + v)
                    b[V + v] = value(W, second + k + v)
                    b[2 * V + v] = value(W, third + k + v)
                    b[3 * V + v] = value(W, fourth + k + v)
            for v in range(V):
                copy16(a, 0, S, source + (k + v) * pitch)
                add_products(acc, a, b, v)
        for k in range(whole, n_in):
            b[0] = value(W, first + k)
            b[V] = value(W, second + k)
            b[2 * V] = value(W, third + k)
            b[3 * V] = value(W, fourth + k)
            copy16(a, 0, S, source + k * pitch)
            add_products(acc, a, b, 0)

    @device
    def columns_of_w(acc, S, source, pitch, W, place, n_in, n_out, left, wide, a, b):
        # acc = W[:, columns]^T S[source:, columns]; ROWS adjoining columns of W, or what is left.
        for e in range(CELLS):
            acc[e] = real(0)
        second, third, fourth = min(1, left - 1), min(2, left - 1), min(3, left - 1)
        for i in range(n_out):
            at = place + i * n_in
            if wide and left >= ROWS:
                for r in range(0, ROWS, V):
                    copy16(b, r, W, at + r)
            else:
                b[0] = value(W, at)
                b[1] = value(W, at + second)
                b[2] = value(W, at + third)
                b[3] = value(W, at + fourth)
            copy16(a, 0, S, source + i * pitch)
            for r in range(ROWS):
                for c in range(V):
                    acc[r * V + c] += b[r] * a[c]

    @device
    def put_row(S, at, acc, r, add, v):
        for c in range(V):
            v[c] = acc[r * V + c] + add
        copy16(S, at, v, 0)

    @device
    def linear(S, net, l, groups, pitch, wide, t, acc, a, b):
        # Z_l = W_l A_(l-1) + b_l; a thread has the rows slot, slot + slots ...
        W, place = net.parameters, field(net, l, PLACE)
        n_in, n = field(net, l, N_IN), field(net, l, N_OUT)
        slots, column = TEAM // groups, t % groups * V
        source, target = inputs_of(net, l) * pitch + column, results_of(net, l) * pitch + column
        biases = place + n * n_in
        for row in range(t // groups, n, ROWS * slots):
            second, third, fourth = row + slots, row + 2 * slots, row + 3 * slots
            rows_of_w(
                acc, S, source, pitch, W, place + row * n_in, place + min(second, n - 1) * n_in,
                place + min(third, n - 1) * n_in, place + min(fourth, n - 1) * n_in, n_in, wide,
                a, b,
            )  # fmt: skip
            put_row(S, target + row * pitch, acc, 0, value(W, biases + row), a)
            if second < n:
                put_row(S, target + second * pitch, acc, 1, value(W, biases + second), a)
            if third < n:
                put_row(S, target + third * pitch, acc, 2, value(W, biases + third), a)
            if fourth < n:
                put_row(S, target + fourth * pitch, acc, 3, value(W, biases + fourth), a)

    @device
    def softmax_rows(S, target, source, n, pitch, width, scratch, t):
        # Each column by several threads, as many as there are of each.
        across = min(width, TEAM)
        lanes = TEAM // across
        lane = t // across
        for column in range(t % across, width, across):
            mine = t % across * lanes + lane
            top, total = real(LOWEST), real(0)
            for i in range(lane, n, lanes):
                top = larger(top, value(S, source + i * pitch + column))
            top = largest(scratch, top, mine, lane, lanes)
            for i in range(lane, n, lanes):
                e = exp(value(S, source + i * pitch + column) - top)
                store(S, target + i * pitch + column, e)
                total += e
            total = summed(scratch, total, mine, lane, lanes)
            for i in range(lane, n, lanes):
                at = target + i * pitch + column
                store(S, at, value(S, at) / total)

    @device
    def activate(
        S, net, l, m, at, drawn, dropping, backward, groups, pitch, scratch, t, v
    ):  # fmt: skip
        # Both are 0 beyond the m examples, so that these add nothing to any sum.
        n, code, width = field(net, l, N_OUT), field(net, l, CODE), groups * V
        source, target = results_of(net, l) * pitch, inputs_of(net, l + 1) * pitch
        if code == SOFTMAX:
            softmax_rows(S, target, source, n, pitch, width, scratch, t)
            return
        keep, unit = field(net, l, KEEP) if dropping else 0, field(net, l, ABOVE)
        column = t % groups * V
        scale = real(4294967296.0) / real(keep) if keep else real(1)
        for i in range(t // groups, n, TEAM // groups):
            z, a = source + i * pitch + column, target + i * pitch + column
            copy16(v, 0, S, z)
            values(v, code)
            for c in range(V):
                live = column + c < m
                if keep != 0:
                    live = live and kept(drawn, unit + i, at + column + c, keep)
                store(S, a + c, scale * v[c] if live else real(0))
            if backward:
                copy16(v, 0, S, z)
                slopes(v, code)
                for c in range(V):
                    live = column + c < m
                    if keep != 0:
                        live = live and kept(drawn, unit + i, at + column + c, keep)
                    store(S, z + c, scale * v[c] if live else real(0))

    @device
    def forward(
        S, net, examples, begin, m, at, drawn, dropping, backward, groups, pitch, scratch, t,
        acc, a, b,
    ):  # fmt: skip
        """Take the examples order[begin : begin + m], which stand at ``at``, to Z of the output."""
        load_inputs(S, net, examples, begin, m, groups * V, pitch, t)
        barrier()
        for l in range(net.depth):
            wide = net.wide and field(net, l, PLACE) % V == 0 and field(net, l, N_IN) % V == 0
            linear(S, net, l, groups, pitch, wide, t, acc, a, b)
            barrier()
            if l < net.depth - 1:
                activate(S, net, l, m, at, drawn, dropping, backward, groups, pitch, scratch, t, a)
                barrier()

    @device
    def output(S, net, examples, begin, m, groups, pitch, scratch, t):
        """Turn Z of the output into dZ; return a part of the examples' loss."""
        last, width = net.depth - 1, groups * V
        n, code = field(net, last, N_OUT), field(net, last, CODE)
        across = min(width, TEAM)
        lanes = TEAM // across
        column, lane = t % across, t // across
        total = real(0)
        for j in range(column, width, across):
            live = j < m
            example = example_at(examples, begin + j) if live else 0
            total += of_column(
                S, results_of(net, last) * pitch + j, pitch, n, live, examples, example, code,
                net.loss, net.delta, scratch, column * lanes + lane, lane, lanes,
            )  # fmt: skip
        return total

    @device
    def error_row(S, at, acc, r, plain, v):
        copy16(v, 0, S, at)
        for c in range(V):
            d = acc[r * V + c]
            v[c] = d if plain else d * v[c]
        copy16(S, at, v, 0)

    @device
    def softmax_errors(S, target, A, n, pitch, width, scratch, t):
        # dZ = A * (dA - sum_k dA_k A_k), where dA stands.
        across = min(width, TEAM)
        lanes = TEAM // across
        lane = t // across
        for column in range(t % across, width, across):
            along = real(0)
            for i in range(lane, n, lanes):
                place = i * pitch + column
                along += value(S, target + place) * value(S, A + place)
            along = summed(scratch, along, t % across * lanes + lane, lane, lanes)
            for i in range(lane, n, lanes):
                place = i * pitch + column
                d = value(S, A + place) * (value(S, target + place) - along)
                store(S, target + place, d)

    @device
    def errors(S, net, groups, pitch, scratch, t, acc, a, b):
        """Put dZ of all layers into D."""
        W = net.parameters
        slot, column = t // groups, t % groups * V
        for back in range(1, net.depth):
            l = net.depth - back
            place, n_in, n = field(net, l, PLACE), field(net, l, N_IN), field(net, l, N_OUT)
            wide = net.wide and place % V == 0 and n_in % V == 0
            source = results_of(net, l) * pitch + column
            target = results_of(net, l - 1) * pitch + column
            plain = field(net, l - 1, CODE) == SOFTMAX
            for row in range(ROWS * slot, n_in, ROWS * (TEAM // groups)):
                left = n_in - row
                columns_of_w(acc, S, source, pitch, W, place + row, n_in, n, left, wide, a, b)
                to = target + row * pitch
                error_row(S, to, acc, 0, plain, a)
                if left > 1:
                    error_row(S, to + pitch, acc, 1, plain, a)
                if left > 2:
                    error_row(S, to + 2 * pitch, acc, 2, plain, a)
                if left > 3:
                    error_row(S, to + 3 * pitch, acc, 3, plain, a)
            barrier()
            if plain:
                A = inputs_of(net, l) * pitch
                softmax_errors(S, target - column, A, n_in, pitch, groups * V, scratch, t)
                barrier()

    @device
    def put_sum(G, at, x, begin):
        store(G, at, x if begin else value(G, at) + x)

    @device
    def put_row_of_gradient(G, at, acc, r, k, n_in, groups, begin):
        for c in range(V):
            if k + c * groups < n_in:
                put_sum(G, at + c * groups, acc[r * V + c], begin)

    @device
    def weight_sums(acc, S, D, first, second, third, fourth, A, k, n_in, pitch, groups, a, b):
        # acc = D[rows, :] A[columns, :]^T: four rows; columns k, k + groups ...
        for e in range(CELLS):
            acc[e] = real(0)
        for j in range(0, groups * V, V):
            copy16(b, 0, S, D + first * pitch + j)
            copy16(b, V, S, D + second * pitch + j)
            copy16(b, 2 * V, S, D + third * pitch + j)
            copy16(b, 3 * V, S, D + fourth * pitch + j)
            for c in range(V):
                copy16(a, 0, S, A + min(k + c * groups, n_in - 1) * pitch + j)
                for r in range(ROWS):
                    for v in range(V):
                        acc[r * V + c] += b[r * V + v] * a[v]

    @device
    def gradient(S, net, l, G, g, begin, groups, pitch, t, acc, a, b):
        """Add dW and db of layer l to G, at g, or put them there to ``begin`` with."""
        n_in, n, place = field(net, l, N_IN), field(net, l, N_OUT), g + field(net, l, PLACE)
        A, D = inputs_of(net, l) * pitch, results_of(net, l) * pitch
        slots = TEAM // groups
        for i in range(t // groups, n, ROWS * slots):
            second, third, fourth = i + slots, i + 2 * slots, i + 3 * slots
            for k in range(t % groups, n_in, groups * V):
                weight_sums(
                    acc, S, D, i, min(second, n - 1), min(third, n - 1), min(fourth, n - 1), A, k,
                    n_in, pitch, groups, a, b,
                )  # fmt: skip
                at = place + k
                put_row_of_gradient(G, at + i * n_in, acc, 0, k, n_in, groups, begin)
                if second < n:
                    put_row_of_gradient(G, at + second * n_in, acc, 1, k, n_in, groups, begin)
                if third < n:
                    put_row_of_gradient(G, at + third * n_in, acc, 2, k, n_in, groups, begin)
                if fourth < n:
                    put_row_of_gradient(G, at + fourth * n_in, acc, 3, k, n_in, groups, begin)
        for i in range(t, n, TEAM):
            total = real(0)
            for j in range(0, groups * V, V):
                copy16(a, 0, S, D + i * pitch + j)
                for v in range(V):
                    total += a[v]
            put_sum(G, place + n * n_in + i, total, begin)

    @device
    def put_output(out, place, by_feature, by_example, S, net, m, groups, pitch, scratch, t):
        """Put A of the output, of m examples, into out."""
        last, width = net.depth - 1, groups * V
        n, code, D = field(net, last, N_OUT), field(net, last, CODE), results_of(net, last) * pitch
        if code == SOFTMAX:
            softmax_rows(S, D, D, n, pitch, width, scratch, t)
            barrier()
        across = min(width, TEAM)
        for j in range(t % across, width, across):
            if j < m:
                for i in range(t // across, n, TEAM // across):
                    x = value(S, D + i * pitch + j)
                    if code != SOFTMAX:
                        x = value_of(x, code)
                    store(out, place + i * by_feature + j * by_example, x)

    return SimpleNamespace(
        V=V, CELLS=CELLS, forward=forward, output=output, errors=errors, gradient=gradient,
        put_output=put_output,
    )  # fmt: skip
