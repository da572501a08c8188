"""Whole networks: cost, gradient, and training, in one call each.

A block of ``work.width`` examples goes forward and backward through all layers while what it
leaves stays in the cache. For layer l, with n_l units, in that block:

    A_0 = X                                     read where it stands, or rows gathered in order
    D_l = W_l A_(l-1) + b_l                     Z, for the moment
    A_l = g(D_l), D_l := g'(D_l)                one pass over both
    D_L = dZ_L                                  from the loss
    dW_l += D_l A_(l-1)^T;  db_l += sum D_l     the 1/m follows when all blocks are done
    D_(l-1) := (W_l^T D_l) * D_(l-1)            dZ of the layer below

The blocks do not depend on the number of threads, and their sums are taken in their order.
"""

from __future__ import annotations

from ..codes import ADAMW, SOFTMAX
from .activations import softmax_backward_columns, softmax_columns, values, values_and_derivatives
from .compiler import helper, kernel
from .losses import output_block
from .optimizers import add_penalties, penalty, update
from .product import product
from .tiles import ACCUMULATE, BIAS, ZERO
from .vectors import NO_DENORMALS, swap_denormals, vector_sum


@helper
def gather_columns(out, Y, feature, example, n, order, start, m, width):
    """Copy the examples order[start : start + m] of a matrix into columns, ``width`` apart.

    An empty order stands for 0, 1, 2, ...
    """
    for i in range(n):
        line = out[i * width : i * width + m]
        if order.size == 0:
            place = i * feature + start * example
            for j in range(m):
                line[j] = Y[place + j * example]
        else:
            which = order[start : start + m]
            for j in range(m):
                line[j] = Y[i * feature + which[j] * example]


@helper
def gather_rows(out, X, n, order, start, m):
    """Copy the examples order[start : start + m], rows of n values, one after another."""
    for j in range(m):
        place = order[start + j] * n
        line, row = out[j * n : (j + 1) * n], X[place : place + n]
        for i in range(n):
            line[i] = row[i]


@helper
def gather_targets(work, examples, order, start, m, n):
    """Put the targets and weights of the examples order[start : start + m] into work."""
    width, Y, weights = work.width, work.Y, work.weights
    one = type(weights[0])(1)
    if examples.labels.size > 0:
        for i in range(n):
            for j in range(m):
                Y[i * width + j] = 0
        for j in range(m):
            label = examples.labels[order[start + j] if order.size > 0 else start + j]
            Y[label * width + j] = one
    else:
        feature, example = examples.Y_feature, examples.Y_example
        gather_columns(Y, examples.Y, feature, example, n, order, start, m, width)
    if examples.weights.size > 0:
        gather_columns(weights, examples.weights, 0, 1, 1, order, start, m, width)
    else:
        for j in range(m):
            weights[j] = one


@helper
def block_forward(parameters, network, B, b, b_feature, b_example, m, work, backward):
    """Return the summed losses of one block; leave A, and what ``block_backward`` needs, in work.

    B tells where the block's inputs stand: feature i of example j at b + i b_feature + j b_example.
    Targets and weights are in ``work``.
    """
    sizes, codes, width = network.sizes, network.activations, work.width
    A, D = work.A, work.D
    last = sizes.size - 1
    place, layer, below = 0, 0, 0  # of W_l in the parameters, of the blocks of layers l, l - 1
    total = 0.0
    for l in range(1, last + 1):
        n_in, n = sizes[l - 1], sizes[l]
        source, s, s_row, s_column = A, below, width, 1
        if l == 1:
            source, s, s_row, s_column = B, b, b_feature, b_example
        product(
            D, layer, width,
            parameters, place, n_in, 1,
            source, s, s_row, s_column,
            n, m, n_in,
            BIAS, parameters, place + n * n_in, work.panel,
        )  # fmt: skip
        cells = n * width
        if l == last:
            total = output_block(
                A, D, work.Y, work.weights, layer, width, n, m,
                codes[l - 1], network.loss, work.losses,
            )  # fmt: skip
        elif codes[l - 1] == SOFTMAX:
            softmax_columns(A, D, layer, width, n, m, work.losses)
        elif backward:
            values_and_derivatives(A[layer : layer + cells], D[layer : layer + cells], codes[l - 1])
        else:
            values(A[layer : layer + cells], D[layer : layer + cells], codes[l - 1])
        below = layer
        layer += cells
        place += n * n_in + n
    return total


@helper
def block_backward(parameters, network, B, b, b_feature, b_example, m, work, begin):
    """Add the gradient of the block that went forward last; start it, if ``begin``."""
    sizes, codes, width = network.sizes, network.activations, work.width
    A, D, T, G, panel = work.A, work.D, work.T, work.gradient, work.panel
    place, layer = parameters.size, 0  # of W_(l+1) in the parameters, of the block of layer l + 1
    for n in sizes[1:]:
        layer += n * width
    start = ZERO if begin else ACCUMULATE
    for l in range(sizes.size - 1, 0, -1):
        n_in, n = sizes[l - 1], sizes[l]
        layer -= n * width
        below = layer - n_in * width
        place -= n * n_in + n
        source, s, s_row, s_column = A, below, width, 1
        if l == 1:
            source, s, s_row, s_column = B, b, b_feature, b_example
        product(
            G, place, n_in,
            D, layer, width, 1,
            source, s, s_column, s_row,
            n, n_in, m,
            start, G, 0, panel,
        )  # fmt: skip
        db = G[place + n * n_in : place + n * n_in + n]
        for i in range(n):
            row_sum = vector_sum(D[layer + i * width : layer + i * width + m])
            db[i] = row_sum if begin else db[i] + row_sum
        if l > 1:
            product(
                T, 0, width,
                parameters, place, 1, n_in,
                D, layer, width, 1,
                n_in, m, n,
                ZERO, T, 0, panel,
            )  # fmt: skip
            if codes[l - 2] == SOFTMAX:
                softmax_backward_columns(D, T, A, below, width, 0, width, n_in, m, work.losses)
            else:
                d, t = D[below : below + n_in * width], T[: n_in * width]
                for i in range(d.size):
                    d[i] = d[i] * t[i]


@helper
def batch_cost(parameters, network, examples, order, start, stop, rule, backward, work):
    """Return J over the examples order[start : stop]; leave its gradient in work, if ``backward``.

    An empty order stands for 0, 1, 2, ...: then X is read where it stands, in either memory
    order. Else it holds one example a row, and blocks of them are gathered.
    """
    sizes, width = network.sizes, work.width
    n_x, n_y = sizes[0], sizes[sizes.size - 1]
    feature, example = examples.X_feature, examples.X_example
    total = 0.0
    for block in range(start, stop, width):
        m = min(width, stop - block)
        gather_targets(work, examples, order, block, m, n_y)
        if order.size == 0:
            B, b = examples.X, block * example
        else:
            gather_rows(work.X, examples.X, n_x, order, block, m)
            B, b = work.X, 0
        total += block_forward(parameters, network, B, b, feature, example, m, work, backward)
        if backward:
            begin = block == start
            block_backward(parameters, network, B, b, feature, example, m, work, begin)
    count = stop - start
    J = total / count
    place = 0
    for l in range(1, sizes.size):
        n, n_w = sizes[l], sizes[l] * sizes[l - 1]
        weights, biases = slice(place, place + n_w), slice(place + n_w, place + n_w + n)
        if rule.l1 != 0 or rule.l2 != 0:
            J += penalty(parameters[weights], rule.l1, rule.l2, work.losses)
        if backward:
            g = work.gradient
            add_penalties(parameters[weights], g[weights], 1 / count, rule.l1, rule.l2)
            add_penalties(parameters[biases], g[biases], 1 / count, 0.0, 0.0)
        place += n_w + n
    return J


@helper
def optimizer_step(parameters, network, rule, state, step, work):
    """Update the parameters by the gradient in ``work``, layer by layer: biases do not decay."""
    sizes, place = network.sizes, 0
    first, second = state[0], state[1]
    decay = rule.weight_decay if rule.kind == ADAMW else 0.0
    for l in range(1, sizes.size):
        n_w, n = sizes[l] * sizes[l - 1], sizes[l]
        for begin, end, shrink in (
            (place, place + n_w, decay),
            (place + n_w, place + n_w + n, 0.0),
        ):
            update(
                parameters[begin:end], work.gradient[begin:end],
                first[begin:end], second[begin:end], rule, shrink, step,
            )  # fmt: skip
        place += n_w + n


@helper
def shuffle(order, random):
    """Permute in place (Fisher and Yates), drawing from a 64-bit xorshift (Marsaglia 2003)."""
    x = random[0]
    for i in range(order.size - 1, 0, -1):
        x ^= x << type(x)(13)
        x ^= x >> type(x)(7)
        x ^= x << type(x)(17)
        # the high half of a 32-bit draw times i + 1 is a number from 0 to i
        j = ((x >> type(x)(32)) * type(x)(i + 1)) >> type(x)(32)
        order[i], order[j] = order[j], order[i]
    random[0] = x


@kernel
def network_cost(parameters, network, examples, order, rule, backward, work):
    """Return J over all examples; leave its gradient in ``work.gradient``, if ``backward``."""
    return batch_cost(parameters, network, examples, order, 0, examples.m, rule, backward, work)


@helper
def take_step(parameters, network, examples, batch_size, rule, progress, work):
    """Take one step of training, and at an epoch's end note its cost and its parameters."""
    counts, order, m = progress.counts, progress.order, examples.m
    start = counts[2]
    if start == 0:
        shuffle(order, progress.random)
    stop = min(start + batch_size, m)
    J = batch_cost(parameters, network, examples, order, start, stop, rule, True, work)
    counts[0] += 1
    optimizer_step(parameters, network, rule, progress.state, counts[0], work)
    progress.cost[0] += J * (stop - start)
    counts[2] = stop
    if stop == m:
        progress.costs[counts[1]] = progress.cost[0] / m
        progress.cost[0] = 0
        progress.snapshot[:] = parameters
        counts[1] += 1
        counts[2] = 0


@kernel
def train(parameters, network, examples, batch_size, rule, progress, steps, work):
    """Take up to ``steps`` steps of training, from where ``progress`` stands.

    The cost of an epoch is the mean over its examples of J, as each batch met it. Denormal numbers
    are taken for zeros: gradients that fade away would else make each step several times as long.
    """
    before = swap_denormals(NO_DENORMALS)
    for _ in range(steps):
        if progress.counts[1] == progress.counts[3]:
            break
        take_step(parameters, network, examples, batch_size, rule, progress, work)
    swap_denormals(before)
