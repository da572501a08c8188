"""One layer, forward and backward.

    Z = W A_prev + b                      # (n_out, n_in) (n_in, m) + (n_out, 1) -> (n_out, m)
    dZ = (W_next^T dZ_next) * g'(Z)       # (n, n_next) (n_next, m) -> (n, m)
    dW = dZ A_prev^T / m                  # (n_out, m) (m, n_in) -> (n_out, n_in)
    db = dZ.sum(axis=1, keepdims=True) / m

A matrix whose flag ``..._rows`` is set stands in memory with one example a row, as its transpose.
Outputs have one example a column.
"""

from __future__ import annotations

from ..codes import SOFTMAX
from .activations import COLUMNS, products, softmax_backward_columns, softmax_columns, values
from .compiler import helper, kernel
from .product import blocks, dots, product, sums_pay
from .tiles import BIAS, STORE, ZERO
from .vectors import vector_sum

# Values summed in the array's own type before the sum goes on in float64.
_SUM_BLOCK = 1024


@helper
def long_sum(x):
    """Return the sum of a flat array in float64, as blocks of sums in the array's own type."""
    total = 0.0
    for i in range(0, x.size, _SUM_BLOCK):
        total += vector_sum(x[i : i + _SUM_BLOCK])
    return total


@helper
def strides(A, rows):
    """Return features, examples, and the strides from one to the next, of a stored matrix."""
    if rows:
        return A.shape[1], A.shape[0], 1, A.shape[1]
    return A.shape[0], A.shape[1], A.shape[1], 1


# Values of a layer that are finished, activation included, before the next are begun; and columns,
# where there are many units.
_VALUES = 32768


@helper
def block_width(n):
    """Return how many columns of n units are finished together."""
    return max(COLUMNS, _VALUES // n)


@kernel
def linear_forward(Z, A_prev, A_prev_rows, W, b, begin, end, panel):
    """Z = W A_prev + b, for the examples begin <= j < end."""
    n_in, m, feature, example = strides(A_prev, A_prev_rows)
    product(
        Z.reshape(-1), begin, m,
        W.reshape(-1), 0, n_in, 1,
        A_prev.reshape(-1), begin * example, feature, example,
        W.shape[0], end - begin, n_in,
        BIAS, b, 0, panel,
    )  # fmt: skip


@kernel
def layer_forward(A, Z, A_prev, A_prev_rows, W, b, activation, begin, end, panel, scratch):
    """Z = W A_prev + b and A = g(Z), for the examples begin <= j < end.

    A block of examples at a time, so that Z is still in the cache when g is applied.
    """
    n_in, m, feature, example = strides(A_prev, A_prev_rows)
    n_out = W.shape[0]
    z, a = Z.reshape(-1), A.reshape(-1)
    width = COLUMNS if activation == SOFTMAX else block_width(n_out)
    for j in range(begin, end, width):
        columns = min(width, end - j)
        product(
            z, j, m,
            W.reshape(-1), 0, n_in, 1,
            A_prev.reshape(-1), j * example, feature, example,
            n_out, columns, n_in,
            BIAS, b, 0, panel,
        )  # fmt: skip
        if activation == SOFTMAX:
            softmax_columns(a, z, j, m, n_out, columns, scratch)
        else:
            for i in range(n_out):
                line = i * m + j
                values(a[line : line + columns], z[line : line + columns], activation)


@kernel
def hidden_gradient(
    dZ, W_next, dZ_next, dZ_next_rows, Z, activation, begin, end, panel, scratch, dA
):  # fmt: skip
    """dZ = (W_next^T dZ_next) * g'(Z), for the examples begin <= j < end.

    Softmax needs dA beside its own values, (n, COLUMNS); the others turn it into dZ in its place.
    """
    n_next, m, feature, example = strides(dZ_next, dZ_next_rows)
    n = W_next.shape[1]
    out, z = dZ.reshape(-1), Z.reshape(-1)
    width = COLUMNS if activation == SOFTMAX else block_width(n)
    for j in range(begin, end, width):
        columns = min(width, end - j)
        target, place, row = (dA, 0, width) if activation == SOFTMAX else (out, j, m)
        product(
            target, place, row,
            W_next.reshape(-1), 0, 1, n,
            dZ_next.reshape(-1), j * example, feature, example,
            n, columns, n_next,
            ZERO, target, 0, panel,
        )  # fmt: skip
        if activation == SOFTMAX:
            softmax_columns(out, z, j, m, n, columns, scratch)
            softmax_backward_columns(out, dA, out, j, m, 0, row, n, columns, scratch)
        else:
            for i in range(n):
                line = out[i * m + j : i * m + j + columns]
                products(line, z[i * m + j : i * m + j + columns], activation)


@kernel
def weight_gradient(dW, dZ, dZ_rows, A_prev, A_prev_rows, rows, columns, panel):
    """dW = dZ A_prev^T / m, for the units and inputs in the ranges ``rows`` and ``columns``."""
    _, m, dZ_feature, dZ_example = strides(dZ, dZ_rows)
    n_in, _, feature, example = strides(A_prev, A_prev_rows)
    out, dz, a = dW.reshape(-1), dZ.reshape(-1), A_prev.reshape(-1)
    n_out, n = rows[1] - rows[0], columns[1] - columns[0]
    corner = rows[0] * n_in + columns[0]
    left, right = rows[0] * dZ_feature, columns[0] * feature
    # Chosen by all rows of dW, not by those of this range: the bits must not depend on the range.
    if sums_pay(dW.shape[0], m, dZ_example, example):
        dots(
            out, corner, n_in,
            dz, left, dZ_feature,
            a, right, feature,
            n_out, n, m,
            ZERO, out, 0,
        )  # fmt: skip
    else:
        blocks(
            out, corner, n_in,
            dz, left, dZ_feature, dZ_example,
            a, right, example, feature,
            n_out, n, m,
            ZERO, out, 0, panel, STORE, out,
        )  # fmt: skip
    scale = type(out[0])(1 / m)
    for i in range(n_out):
        line = out[corner + i * n_in : corner + i * n_in + n]
        for j in range(n):
            line[j] = line[j] * scale


@kernel
def bias_gradient(db, dZ, dZ_rows, total):
    """db = dZ.sum(axis=1, keepdims=True) / m; ``total`` is worked in, as float64."""
    n_out, m, _, _ = strides(dZ, dZ_rows)
    flat = dZ.reshape(-1)
    if not dZ_rows:
        for i in range(n_out):
            db[i] = long_sum(flat[i * m : (i + 1) * m]) / m
        return
    # One example a row: partial sums of a block of examples side by side, then those together.
    for i in range(n_out):
        total[i] = 0
    for j in range(0, m, _SUM_BLOCK):
        for i in range(n_out):
            db[i] = 0
        for k in range(j, min(j + _SUM_BLOCK, m)):
            row = flat[k * n_out : (k + 1) * n_out]
            for i in range(n_out):
                db[i] += row[i]
        for i in range(n_out):
            total[i] += db[i]
    for i in range(n_out):
        db[i] = total[i] / m


@kernel
def input_gradient(dA_prev, W, dZ, dZ_rows, begin, end, panel):
    """dA_prev = W^T dZ, for the examples begin <= j < end."""
    n_out, m, feature, example = strides(dZ, dZ_rows)
    out = dA_prev.reshape(-1)
    n_in = W.shape[1]
    product(
        out, begin, m,
        W.reshape(-1), 0, 1, n_in,
        dZ.reshape(-1), begin * example, feature, example,
        n_in, end - begin, n_out,
        ZERO, out, 0, panel,
    )  # fmt: skip
