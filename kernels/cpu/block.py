"""One block of examples, forward and backward.

``work.width`` examples at most go through all layers while what they leave stays in the cache. For
layer l, with n_l units, and a block of m of them:

    A_0 = X                                     read where it stands, or rows gathered in order
    D_l = W_l A_(l-1) + b_l                     Z, for the moment
    A_l = g(D_l), D_l := g'(D_l)                one pass over both
    A_l, D_l := A_l / p, D_l / p, or 0          in training with dropout, which keeps one in 1/p
    D_L = dZ_L                                  from the loss
    D_(l-1) := (W_l^T D_l) * D_(l-1)            dZ of the layer below
    dW_l += D_l A_(l-1)^T;  db_l += sum D_l     the 1/m follows when all blocks are summed

``slot`` says which of the blocks that ``work`` holds: their A, D and gathered X follow one another.
"""

from __future__ import annotations

from ..codes import RELU, SOFTMAX
from ..structures import ABOVE, CODE, KEEP, N_IN, N_OUT, PLACE
from .activations import softmax_backward_columns, softmax_columns, values, values_and_derivatives
from .compiler import helper
from .dropout import drop
from .losses import output_block
from .product import by_tiles, fused_product, in_one_pass, product_of_runs
from .tiles import (
    ACCUMULATE,
    ACTIVATE,
    BIAS,
    DESCEND,
    MULTIPLY,
    STORE,
    ZERO,
    gather_lines,
    row_sums,
)
from .vectors import lanes_of


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
def inputs(layers, l, examples, order, start, slot, work):
    """Return where the block's A of the layer below l stands: memory, place, and its two strides.

    Feature i of example j is at place + i feature + j example. The block starts at order[start].
    """
    width = work.width
    if l > 0:
        return work.A, slot * work.cells + layers[l - 1, ABOVE] * width, width, 1
    if order.size == 0:
        place = start * examples.X_example
        return examples.X, place, examples.X_feature, examples.X_example
    return work.X, slot * layers[0, N_IN] * width, examples.X_feature, examples.X_example


@helper
def block_forward(parameters, network, examples, order, start, m, slot, work, backward, key):
    """Return the summed losses of the examples order[start : start + m].

    A, and what ``block_errors`` needs, stay in work. An empty order stands for 0, 1, 2, ...: then X
    is read where it stands, in either memory order. Else it holds one example a row. ``key`` is
    that of the step's draws for dropout.
    """
    layers, width = network.layers, work.width
    A, D = work.A, work.D
    last = layers.shape[0] - 1
    if order.size > 0:
        n_x = layers[0, N_IN]
        gather_lines(work.X, slot * n_x * width, examples.X, order, start, m, n_x)
    gather_targets(work, examples, order, start, m, layers[last, N_OUT])
    base = slot * work.cells
    total = 0.0
    for l in range(last + 1):
        n_in, n, code = layers[l, N_IN], layers[l, N_OUT], layers[l, CODE]
        place, layer = layers[l, PLACE], base + layers[l, ABOVE] * width
        source, s, feature, example = inputs(layers, l, examples, order, start, slot, work)
        fused = backward and code == RELU and l < last and width > 1
        fused = fused and by_tiles(n, m, n_in, width, 1, feature)
        fused_product(
            D, layer, width,
            parameters, place, n_in, 1,
            source, s, feature, example,
            n, m, n_in,
            BIAS, parameters, place + n * n_in, work.panel,
            ACTIVATE if fused else STORE, A,
        )  # fmt: skip
        cells = n * width
        if l == last:
            total = output_block(
                A, D, work.Y, work.weights, layer, width, n, m, code, network.loss, network.delta,
                work.losses,
            )  # fmt: skip
        elif code == SOFTMAX:
            softmax_columns(A, D, layer, width, n, m, work.losses)
        elif backward and not fused:
            values_and_derivatives(A[layer : layer + cells], D[layer : layer + cells], code)
        elif not backward:
            values(A[layer : layer + cells], D[layer : layer + cells], code)
        if layers[l, KEEP] != 0:
            drop(A, D, layer, width, n, m, layers[l, ABOVE], start, key, layers[l, KEEP])
    return total


@helper
def block_errors(parameters, network, m, slot, work):
    """Leave dZ of all layers in D, for the m examples that went forward in this slot."""
    layers, width = network.layers, work.width
    A, D, T = work.A, work.D, work.T
    base = slot * work.cells
    for l in range(layers.shape[0] - 1, 0, -1):
        n_in, n = layers[l, N_IN], layers[l, N_OUT]
        layer, below = base + layers[l, ABOVE] * width, base + layers[l - 1, ABOVE] * width
        fused = layers[l - 1, CODE] != SOFTMAX and width > 1
        fused = fused and in_one_pass(n_in, m, n, width, 1, n_in, width, lanes_of(D))
        target, t, finish = (D, below, MULTIPLY) if fused else (T, 0, STORE)
        fused_product(
            target, t, width,
            parameters, layers[l, PLACE], 1, n_in,
            D, layer, width, 1,
            n_in, m, n,
            ZERO, T, 0, work.panel, finish, target,
        )  # fmt: skip
        if fused:
            continue
        if layers[l - 1, CODE] == SOFTMAX:
            softmax_backward_columns(D, T, A, below, width, 0, width, n_in, m, work.losses)
        else:
            d, t = D[below : below + n_in * width], T[: n_in * width]
            for i in range(d.size):
                d[i] = d[i] * t[i]


@helper
def descends(layers, l, rows, columns, examples, work):
    """Return whether W may take its step while dW is in registers."""
    example = 1 if l > 0 else examples.X_example
    n_in, width = layers[l, N_IN], work.width
    return in_one_pass(rows, columns, width, n_in, width, 1, example, lanes_of(work.D))


@helper
def destination(G, parameters, rate, work):
    """Return where dW goes, and how a tile finishes: it finds the rate where biases would stand."""
    if rate == 0:
        return G, STORE
    work.weights[0] = rate
    return parameters, DESCEND


@helper
def add_gradient(
    G, g, parameters, rate, network, examples, order, start, m, slot,
    l, top, bottom, left, right, begin, work,
):  # fmt: skip
    """Add a block's part of dW[top:bottom, left:right] and, where left is 0, of db[top:bottom].

    The gradient of all parameters stands in G, at g; it is started if ``begin``. Where ``rate`` is
    not 0 this is all of dW, which is not kept, but W := W - rate dW at once.
    """
    layers, width = network.layers, work.width
    D = work.D
    n_in, n, place = layers[l, N_IN], layers[l, N_OUT], g + layers[l, PLACE]
    layer = slot * work.cells + layers[l, ABOVE] * width
    source, s, feature, example = inputs(layers, l, examples, order, start, slot, work)
    target, finish = destination(G, parameters, rate, work)
    fused_product(
        target, place + top * n_in + left, n_in,
        D, layer + top * width, width, 1,
        source, s + left * feature, example, feature,
        bottom - top, right - left, m,
        ZERO if begin else ACCUMULATE, work.weights, 0, work.panel, finish, G,
    )  # fmt: skip
    if left == 0:
        add_bias_gradient(G, place + n * n_in, D, layer, width, m, top, bottom, begin)


@helper
def add_bias_gradient(G, g, D, d, width, m, top, bottom, begin):
    """Add a block's part of db[top:bottom], which stands in G at g."""
    start, step = ZERO if begin else ACCUMULATE, lanes_of(D)
    for i in range(top, bottom, step):
        row_sums(min(step, bottom - i), m, start, G, g + i, D, d + i * width, width)


@helper
def gradient_of_blocks(
    G, parameters, rate, network, examples, order, start, stop, l, top, bottom, left, right, work
):  # fmt: skip
    """Sum dW[top:bottom, left:right] and db[top:bottom] over all blocks that are kept, at once.

    As ``add_gradient`` for each, with the same bits: each sum is in a register for longer.
    """
    layers, width, cells, D = network.layers, work.width, work.cells, work.D
    n_in, n, place = layers[l, N_IN], layers[l, N_OUT], layers[l, PLACE]
    layer = layers[l, ABOVE] * width
    source, s, feature, example = inputs(layers, l, examples, order, start, 0, work)
    target, finish = destination(G, parameters, rate, work)
    product_of_runs(
        target, place + top * n_in + left, n_in,
        D, layer + top * width, width, cells - width,
        source, s + left * feature, example, feature, cells - width if l > 0 else 0,
        bottom - top, right - left, stop - start, width,
        work.weights, 0, work.panel, finish, G,
    )  # fmt: skip
    if left == 0:
        for first in range(start, stop, width):
            d, m = layer + (first - start) // width * cells, min(width, stop - first)
            add_bias_gradient(
                G, place + n * n_in, D, d, width, m, top, bottom, first == start
            )  # fmt: skip
