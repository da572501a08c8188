"""A network inside other compiled code: one example, or a few, with what it needs as arguments.

``layout`` is the network as plain numbers: L, the number of parameters, the values that ``work``
must hold, n_x, n_1, ..., n_y, and the code of each layer's activation. With r(n) = n rounded up to
a multiple of 16, ``work`` holds

    A_0, A_1, ..., A_L     r(n_l) values each, that ``linearize`` leaves
    D_0, D_1, ..., D_L     likewise: g'(Z_l), or nothing for l = 0 and for softmax
    P, Q                   r(widest) BLOCK values each, to pass from layer to layer
    the rest               2 BLOCK values, for softmax

``forward`` and ``forward_block`` write to the last two alone, so they leave a linearization as it
is. At the point where the network was linearized

    v^T dA_L/dx     = v^T G_L W_L ... G_1 W_1         G_l = diag(g'(Z_l)), or diag(a) - a a^T
    v^T dA_L/dW_l   = d_l A_(l-1)^T,  v^T dA_L/db_l = d_l,  with d_l = G_l W_(l+1)^T d_(l+1)
    dA_L/dx t       = G_L W_L ... G_1 W_1 t

``parameters``, ``gradient`` and ``work`` are contiguous; other arrays may have any strides, and
``out`` and ``dx`` may be the input. Sizes are the caller's to check.
"""

from __future__ import annotations

import math

from ..codes import EXP, IDENTITY, RELU, SOFTMAX
from .activations import softmax_columns, values, values_and_derivatives
from .compiler import helper, kernel
from .lines import add_outer, line_combination, line_sums
from .product import tiles
from .tiles import BIAS, STORE, ZERO, transpose_tile
from .vectors import TILE_ROWS, lanes_of, memory, never_inline, select, stack_array, vector_sum

# What stands where in a layout; the codes follow the sizes.
LAYERS, PARAMETERS, WORK, SIZES = 0, 1, 2, 3

# Examples that go through together, and rows of a Jacobian that are made together.
BLOCK = 64

# Where the parts of a workspace begin: so that an aligned one has aligned parts.
STEP = 16


@helper
def rounded(n):
    """Return n rounded up to a multiple of STEP."""
    return (n + STEP - 1) // STEP * STEP


@helper
def places(layout):
    """Return where D_0, P, Q and the rest begin in a workspace, and the width of the network."""
    units, widest = 0, 0
    for l in range(layout[LAYERS] + 1):
        n = rounded(layout[SIZES + l])
        units += n
        widest = max(widest, n)
    p = 2 * units
    return units, p, p + widest * BLOCK, p + 2 * widest * BLOCK, widest


# ------------------------------------------------------------------ softmax of one example


@helper
def softmax_one(work, a, z, n):
    """A = softmax(Z), for n values at a and z; those at z are changed."""
    A, Z = work[a : a + n], work[z : z + n]
    top = Z[0]
    for i in range(1, n):
        top = select(Z[i] > top, Z[i], top)
    for i in range(n):
        Z[i] = Z[i] - top
    values(A, Z, EXP)
    total = vector_sum(A)
    for i in range(n):
        A[i] = A[i] / total


@helper
def through_softmax_one(work, d, a, n):
    """D = A * (D - sum_k D_k A_k): the Jacobian is symmetric, so for both directions."""
    D, A = work[d : d + n], work[a : a + n]
    total = type(D[0])(0)
    for i in range(n):
        total += D[i] * A[i]
    for i in range(n):
        D[i] = A[i] * (D[i] - total)


@helper
def through_activation(work, d, D, A, n, code):
    """Multiply d by g'(Z), or by softmax's Jacobian."""
    if code == SOFTMAX:
        through_softmax_one(work, d, A, n)
    else:
        line, derivative = work[d : d + n], work[D : D + n]
        for i in range(n):
            line[i] = line[i] * derivative[i]


# ------------------------------------------------------------------ outputs


@helper
def go_forward(out, parameters, layout, x, work, p, q):
    """Out = A_L of the example x, by way of two lines in work, at p and q."""
    never_inline()
    layers, place, activations = layout[LAYERS], 0, SIZES + layout[LAYERS]
    lowest, zero = type(work[0])(-math.inf), type(work[0])(0)
    line = work[p : p + x.size]
    for i in range(x.size):
        line[i] = x[i]
    for l in range(1, layers + 1):
        n_in, n, code = layout[SIZES + l - 1], layout[SIZES + l], layout[activations + l]
        bias = place + n * n_in
        floor = zero if code == RELU else lowest
        line_sums(work, q, parameters, place, n, n_in, work, p, True, parameters, bias, floor)
        if code in (RELU, IDENTITY):
            p, q = q, p
        elif code == SOFTMAX:
            softmax_one(work, p, q, n)
        else:
            values(work[p : p + n], work[q : q + n], code)
        place = bias + n
    line = work[p : p + out.size]
    for i in range(out.size):
        out[i] = line[i]


@kernel
def forward(out, parameters, layout, x, work):
    """Out = A_L of the example x."""
    _, p, q, _, _ = places(layout)
    go_forward(out, parameters, layout, x, work, p, q)


@kernel
def forward_on_stack(out, parameters, layout, x):
    """Out = A_L of the example x, with a workspace that is gone when the function returns."""
    never_inline()  # else it would be gone when the caller returns, and a loop's would pile up
    _, _, _, _, widest = places(layout)
    work = stack_array(parameters, 2 * widest)
    go_forward(out, parameters, layout, x, work, 0, widest)


@kernel
def forward_block(out, parameters, layout, X, work):
    """Out = A_L, (n_y, m), of the examples X, (n_x, m).

    X is read where it stands if it has one feature, or one example, after another.
    """
    m, activations = out.shape[1], SIZES + layout[LAYERS]
    flat, feature, example = memory(X), X.strides[0] // X.itemsize, X.strides[1] // X.itemsize
    _, p, q, scratch, _ = places(layout)
    for first in range(0, m, BLOCK):
        columns, place = min(BLOCK, m - first), 0
        # Only as wide as need be: the columns beyond the last example are computed too.
        width = rounded(columns)
        for l in range(1, layout[LAYERS] + 1):
            n_in, n, code = layout[SIZES + l - 1], layout[SIZES + l], layout[activations + l]
            source, s, row = work, p, width
            if l == 1 and example == 1:
                source, s, row = flat, first, feature
            elif l == 1 and feature == 1:
                turn(work, p, width, flat, first * example, example, columns, n_in)
            elif l == 1:
                for i in range(n_in):
                    for j in range(columns):
                        work[p + i * width + j] = X[i, first + j]
            tiles(
                work, q, width,
                parameters, place, n_in, 1, TILE_ROWS * n_in, n_in, 0,
                source, s, row, 1,
                n, columns, n_in, BIAS, parameters, place + n * n_in, STORE, work,
            )  # fmt: skip
            if code == SOFTMAX:
                A, Z = work[p : p + n * width], work[q : q + n * width]
                softmax_columns(A, Z, 0, width, n, columns, work[scratch : scratch + 2 * BLOCK])
            elif code == IDENTITY:
                p, q = q, p
            else:
                values(work[p : p + n * width], work[q : q + n * width], code)
            place += n * n_in + n
        for i in range(out.shape[0]):
            line = work[p + i * width : p + i * width + columns]
            for j in range(columns):
                out[i, first + j] = line[j]


@helper
def turn(T, t, t_row, S, s, s_row, rows, columns):
    """T, (columns, rows), is the transpose of S."""
    lanes = lanes_of(T)
    for i in range(0, rows, lanes):
        for j in range(0, columns, lanes):
            transpose_tile(
                T, t + j * t_row + i, t_row, S, s + i * s_row + j, s_row,
                min(lanes, rows - i), min(lanes, columns - j),
            )  # fmt: skip


# ------------------------------------------------------------------ derivatives


@kernel
def linearize(out, parameters, layout, x, work):
    """Out = A_L of the example x; what the derivatives there need stays in work."""
    D, _, _, _, _ = places(layout)
    activations = SIZES + layout[LAYERS]
    lowest = type(work[0])(-math.inf)
    A, place = 0, 0
    line = work[: x.size]
    for i in range(x.size):
        line[i] = x[i]
    for l in range(1, layout[LAYERS] + 1):
        n_in, n, code = layout[SIZES + l - 1], layout[SIZES + l], layout[activations + l]
        below, A, D, bias = A, A + rounded(n_in), D + rounded(n_in), place + n * n_in
        line_sums(work, D, parameters, place, n, n_in, work, below, True, parameters, bias, lowest)
        if code == SOFTMAX:
            softmax_one(work, A, D, n)
        else:
            values_and_derivatives(work[A : A + n], work[D : D + n], code)
        place = bias + n
    for i in range(out.size):
        out[i] = work[A + i]


@kernel
def vjp(dx, gradient, parameters, layout, v, work):
    """Dx = v^T dA_L/dx, and v^T dA_L/dtheta is added to the gradient, where these are not empty."""
    first_D, d, q, _, _ = places(layout)
    layers = layout[LAYERS]
    activations = SIZES + layers
    n = layout[SIZES + layers]
    A, place = first_D - rounded(n), parameters.size
    for i in range(n):
        work[d + i] = v[i]
    through_activation(work, d, first_D + A, A, n, layout[activations + layers])
    for l in range(layers, 0, -1):
        n_in, n = layout[SIZES + l - 1], layout[SIZES + l]
        bias = place - n
        place, A = bias - n * n_in, A - rounded(n_in)
        if gradient.size > 0:
            add_outer(gradient, place, n, n_in, work, d, work, A)
            db, line = gradient[bias : bias + n], work[d : d + n]
            for i in range(n):
                db[i] = db[i] + line[i]
        if l == 1 and dx.size == 0:
            return
        D, code = first_D + A, layout[activations + l - 1]
        fused = l > 1 and code != SOFTMAX
        line_combination(work, q, parameters, place, n, n_in, work, d, fused, work, D)
        if l > 1 and code == SOFTMAX:
            through_softmax_one(work, q, A, n_in)
        d, q = q, d
    for i in range(dx.size):
        dx[i] = work[d + i]


@kernel
def jvp(out, parameters, layout, t, work):
    """Out = dA_L/dx t."""
    D, p, q, _, _ = places(layout)
    activations = SIZES + layout[LAYERS]
    lowest = type(work[0])(-math.inf)
    A, place = 0, 0
    for i in range(layout[SIZES]):
        work[p + i] = t[i]
    for l in range(1, layout[LAYERS] + 1):
        n_in, n, code = layout[SIZES + l - 1], layout[SIZES + l], layout[activations + l]
        A, D = A + rounded(n_in), D + rounded(n_in)
        line_sums(work, q, parameters, place, n, n_in, work, p, False, parameters, 0, lowest)
        through_activation(work, q, D, A, n, code)
        p, q = q, p
        place += n * n_in + n
    for i in range(out.size):
        out[i] = work[p + i]


@kernel
def jacobian(out, parameters, layout, work):
    """Out = dA_L/dx, (n_y, n_x): BLOCK rows at a time go backward through all layers."""
    first_D, _, _, _, widest = places(layout)
    layers = layout[LAYERS]
    activations = SIZES + layers
    n_y = layout[SIZES + layers]
    for first in range(0, n_y, BLOCK):
        _, d, q, _, _ = places(layout)
        rows = min(BLOCK, n_y - first)
        A, place = first_D - rounded(n_y), parameters.size
        for r in range(rows):
            line = work[d + r * widest : d + r * widest + n_y]
            for i in range(n_y):
                line[i] = 0
            line[first + r] = 1
            code = layout[activations + layers]
            through_activation(work, d + r * widest, first_D + A, A, n_y, code)
        for l in range(layers, 0, -1):
            n_in, n = layout[SIZES + l - 1], layout[SIZES + l]
            place, A = place - n * n_in - n, A - rounded(n_in)
            tiles(
                work, q, widest,
                work, d, widest, 1, TILE_ROWS * widest, n, 0,
                parameters, place, n_in, 1,
                rows, n_in, n, ZERO, work, 0, STORE, work,
            )  # fmt: skip
            for r in range(rows if l > 1 else 0):
                code = layout[activations + l - 1]
                through_activation(work, q + r * widest, first_D + A, A, n_in, code)
            d, q = q, d
        for r in range(rows):
            for i in range(out.shape[1]):
                out[first + r, i] = work[d + r * widest + i]
