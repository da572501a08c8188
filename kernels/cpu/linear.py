"""One layer, forward and backward.

    Z = W A_prev + b                      # (n_out, n_in) (n_in, m) + (n_out, 1) -> (n_out, m)
    dZ = (W_next^T dZ_next) * g'(Z)       # (n, n_next) (n_next, m) -> (n, m)
    dW = dZ A_prev^T / m                  # (n_out, m) (m, n_in) -> (n_out, n_in)
    db = dZ.sum(axis=1, keepdims=True) / m

A matrix whose flag ``..._rows`` is set stands in memory with one example a row, as its transpose.
Outputs have one example a column.
"""

from __future__ import annotations

import numpy as np

from ..codes import SOFTMAX
from .activations import products, softmax, through_softmax, values
from .compiler import helper, kernel
from .product import product
from .vectors import BIAS, TILE_VECTORS, VECTOR_BYTES, ZERO, vector_sum

# Values summed in the array's own type before the sum goes on in float64.
_SUM_BLOCK = 1024


@helper
def long_sum(x):  # type: ignore[no-untyped-def]
    """Return the sum of a flat array in float64, as blocks of sums in the array's own type."""
    total = 0.0
    for i in range(0, x.size, _SUM_BLOCK):
        total += vector_sum(x[i : i + _SUM_BLOCK])
    return total


@helper
def strides(A, rows):  # type: ignore[no-untyped-def]
    """Return features, examples, and the strides from one to the next, of a stored matrix."""
    if rows:
        return A.shape[1], A.shape[0], 1, A.shape[1]
    return A.shape[0], A.shape[1], A.shape[1], 1


@kernel
def linear_forward(Z, A_prev, A_prev_rows, W, b, panel):  # type: ignore[no-untyped-def]
    """Z = W A_prev + b."""
    n_in, m, feature, example = strides(A_prev, A_prev_rows)
    product(
        Z.reshape(-1), 0, m,
        W.reshape(-1), 0, n_in, 1,
        A_prev.reshape(-1), 0, feature, example,
        W.shape[0], m, n_in,
        BIAS, b, 0, panel,
    )  # fmt: skip


@kernel
def layer_forward(A, Z, A_prev, A_prev_rows, W, b, activation, panel):  # type: ignore[no-untyped-def]
    """Z = W A_prev + b and A = g(Z), a block of examples at a time, so that Z is still in cache."""
    n_in, m, feature, example = strides(A_prev, A_prev_rows)
    n_out = W.shape[0]
    z, a = Z.reshape(-1), A.reshape(-1)
    width = 4 * TILE_VECTORS * (VECTOR_BYTES // Z.itemsize)
    for j in range(0, m, width):
        columns = min(width, m - j)
        product(
            z, j, m,
            W.reshape(-1), 0, n_in, 1,
            A_prev.reshape(-1), j * example, feature, example,
            n_out, columns, n_in,
            BIAS, b, 0, panel,
        )  # fmt: skip
        if activation != SOFTMAX:
            for i in range(n_out):
                line = i * m + j
                values(a[line : line + columns], z[line : line + columns], activation)
    if activation == SOFTMAX:
        softmax(A, Z, False)


@kernel
def hidden_gradient(dZ, W_next, dZ_next, dZ_next_rows, Z, activation, panel):  # type: ignore[no-untyped-def]
    """dZ = (W_next^T dZ_next) * g'(Z)."""
    n_next, m, feature, example = strides(dZ_next, dZ_next_rows)
    n = W_next.shape[1]
    out, z = dZ.reshape(-1), Z.reshape(-1)
    if activation == SOFTMAX:
        product(
            out, 0, m,
            W_next.reshape(-1), 0, 1, n,
            dZ_next.reshape(-1), 0, feature, example,
            n, m, n_next,
            ZERO, out, 0, panel,
        )  # fmt: skip
        dA = dZ.copy()
        softmax(dZ, Z, False)
        through_softmax(dZ, dA, False)
        return
    width = 4 * TILE_VECTORS * (VECTOR_BYTES // Z.itemsize)
    for j in range(0, m, width):
        columns = min(width, m - j)
        product(
            out, j, m,
            W_next.reshape(-1), 0, 1, n,
            dZ_next.reshape(-1), j * example, feature, example,
            n, columns, n_next,
            ZERO, out, 0, panel,
        )  # fmt: skip
        for i in range(n):
            line = out[i * m + j : i * m + j + columns]
            products(line, line, z[i * m + j : i * m + j + columns], activation)


@kernel
def weight_gradient(dW, dZ, dZ_rows, A_prev, A_prev_rows, panel):  # type: ignore[no-untyped-def]
    """dW = dZ A_prev^T / m."""
    n_out, m, dZ_feature, dZ_example = strides(dZ, dZ_rows)
    n_in, _, feature, example = strides(A_prev, A_prev_rows)
    out = dW.reshape(-1)
    product(
        out, 0, n_in,
        dZ.reshape(-1), 0, dZ_feature, dZ_example,
        A_prev.reshape(-1), 0, example, feature,
        n_out, n_in, m,
        ZERO, out, 0, panel,
    )  # fmt: skip
    scale = type(out[0])(1 / m)
    for i in range(out.size):
        out[i] = out[i] * scale


@kernel
def bias_gradient(db, dZ, dZ_rows):  # type: ignore[no-untyped-def]
    """db = dZ.sum(axis=1, keepdims=True) / m."""
    n_out, m, _, _ = strides(dZ, dZ_rows)
    flat = dZ.reshape(-1)
    if not dZ_rows:
        for i in range(n_out):
            db[i] = long_sum(flat[i * m : (i + 1) * m]) / m
        return
    # One example a row: partial sums of a block of examples side by side, then those together.
    for i in range(n_out):
        db[i] = 0
    total = db.astype(np.float64)
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
def linear_backward(dA_prev, dW, db, dZ, dZ_rows, A_prev, A_prev_rows, W, panel):  # type: ignore[no-untyped-def]
    """dA_prev = W^T dZ, dW = dZ A_prev^T / m and db = dZ.sum(axis=1, keepdims=True) / m."""
    n_out, m, feature, example = strides(dZ, dZ_rows)
    n_in = W.shape[1]
    out = dA_prev.reshape(-1)
    product(
        out, 0, m,
        W.reshape(-1), 0, 1, n_in,
        dZ.reshape(-1), 0, feature, example,
        n_in, m, n_out,
        ZERO, out, 0, panel,
    )  # fmt: skip
    weight_gradient(dW, dZ, dZ_rows, A_prev, A_prev_rows, panel)
    bias_gradient(db, dZ, dZ_rows)
