"""One layer, forward and backward.

    Z = W A_prev + b                      # (n_out, n_in) (n_in, m) + (n_out, 1) -> (n_out, m)
    dZ = (W_next^T dZ_next) * g'(Z)       # (n, n_next) (n_next, m) -> (n, m)
    dW = dZ A_prev^T / m                  # (n_out, m) (m, n_in) -> (n_out, n_in)
    db = dZ.sum(axis=1, keepdims=True) / m
    dA_prev = W^T dZ                      # (n_in, n_out) (n_out, m) -> (n_in, m)

A matrix whose flag ``..._rows`` is set stands in memory with one example a row, as its transpose,
and is read so. Outputs have one example a column.
"""

from __future__ import annotations

from typing import Any

from ..codes import IDENTITY, SOFTMAX
from . import blas
from .activations import activation_backward, activation_forward, pieces
from .driver import MOST_DOWN, THREADS, Place, cuda, device, empty, kernel, real_of
from .memory import store, value
from .product import Product, matrix, slice_depth, slices_for
from .sums import row_cut, row_sums, slice_sums, sum_slices


def _activate(real: Any) -> Any:
    p = pieces(real)
    get, put, values = p.get, p.put, p.values

    @device
    def finish(Z, Z_place, A, A_place, code, wide, left, v, d):
        get(v, Z, Z_place, wide, left)
        values(v, code)
        put(A, A_place, v, wide, left)

    return finish


def _times_slope(real: Any) -> Any:
    p = pieces(real)
    V, get, put, slopes = p.V, p.get, p.put, p.slopes

    @device
    def finish(dZ, dZ_place, Z, Z_place, code, wide, left, v, d):
        get(v, Z, Z_place, wide, left)
        slopes(v, code)
        get(d, dZ, dZ_place, wide, left)
        for i in range(V):
            v[i] *= d[i]
        put(dZ, dZ_place, v, wide, left)

    return finish


_linear = Product("linear_forward", bias=True)
_layer = Product("layer_forward", bias=True, finish=_activate)
_hidden = Product("hidden_gradient", finish=_times_slope)
_plain = Product("product")


def strides(n: int, m: int, rows: bool) -> tuple[int, int]:
    """Return the strides from feature to feature and from example to example."""
    return (1, n) if rows else (m, 1)


@kernel("add_bias", "VIVIII")
def _add_bias(real):
    def function(Z, place, b, b_place, n, m):
        for i in range(cuda.blockIdx.y, n, cuda.gridDim.y):
            add = value(b, b_place + i)
            for at in range(place + i * m + cuda.grid(1), place + (i + 1) * m, cuda.gridsize(1)):
                store(Z, at, value(Z, at) + add)

    return function


def add_bias(stream: Any, Z: Place, b: Place, n: int, m: int) -> None:
    """Z := Z + b, (n, m) + (n, 1)."""
    # One block along a row: as many rows as there are keep a GPU busy.
    grid = (1, min(n, MOST_DOWN))
    _add_bias.launch(grid, THREADS, stream, real_of(Z.values), *Z, *b, n, m)


def linear_forward(
    stream: Any,
    Z: Place,
    A_prev: Place,
    A_prev_rows: bool,
    W: Place,
    b: Place,
    n_out: int,
    n_in: int,
    m: int,
) -> None:
    """Z = W A_prev + b."""
    feature, example = strides(n_in, m, A_prev_rows)
    left, right = matrix(W, n_in, 1), matrix(A_prev, example, feature)
    if blas.takes(n_out, m, n_in):
        blas.product(stream, Z, left, right, n_out, m, n_in, 1.0)
        add_bias(stream, Z, b, n_out, m)
        return
    _linear.launch(stream, Z, m, left, right, n_out, m, n_in, bias=b)


def layer_forward(
    stream: Any,
    A: Place,
    Z: Place,
    A_prev: Place,
    A_prev_rows: bool,
    W: Place,
    b: Place,
    activation: int,
    n_out: int,
    n_in: int,
    m: int,
) -> None:
    """Z = W A_prev + b and A = g(Z), softmax by a kernel of its own."""
    if activation == SOFTMAX or blas.takes(n_out, m, n_in):
        linear_forward(stream, Z, A_prev, A_prev_rows, W, b, n_out, n_in, m)
        activation_forward(stream, A, Z, activation, n_out, m, False)
        return
    feature, example = strides(n_in, m, A_prev_rows)
    left, right = matrix(W, n_in, 1), matrix(A_prev, example, feature)
    _layer.launch(stream, Z, m, left, right, n_out, m, n_in, bias=b, other=A, code=activation)


def input_gradient(
    stream: Any, dA_prev: Place, W: Place, dZ: Place, dZ_rows: bool, n_out: int, n_in: int, m: int
) -> None:
    """dA_prev = W^T dZ."""
    feature, example = strides(n_out, m, dZ_rows)
    left, right = matrix(W, 1, n_in), matrix(dZ, example, feature)
    if blas.takes(n_in, m, n_out):
        blas.product(stream, dA_prev, left, right, n_in, m, n_out, 1.0)
        return
    _plain.launch(stream, dA_prev, m, left, right, n_in, m, n_out)


def hidden_gradient(
    stream: Any,
    dZ: Place,
    W_next: Place,
    dZ_next: Place,
    dZ_next_rows: bool,
    Z: Place,
    activation: int,
    n_next: int,
    n: int,
    m: int,
) -> None:
    """dZ = (W_next^T dZ_next) * g'(Z); dZ must not overlap what is read."""
    if activation in (IDENTITY, SOFTMAX) or blas.takes(n, m, n_next):
        input_gradient(stream, dZ, W_next, dZ_next, dZ_next_rows, n_next, n, m)
        if activation != IDENTITY:
            activation_backward(stream, dZ, dZ, Z, activation, n, m, False)
        return
    feature, example = strides(n_next, m, dZ_next_rows)
    left, right = matrix(W_next, 1, n), matrix(dZ_next, example, feature)
    _hidden.launch(stream, dZ, m, left, right, n, m, n_next, other=Z, code=activation)


def weight_gradient(
    stream: Any,
    dW: Place,
    dZ: Place,
    dZ_rows: bool,
    A_prev: Place,
    A_prev_rows: bool,
    n_out: int,
    n_in: int,
    m: int,
) -> None:
    """dW = dZ A_prev^T / m, in slices of the examples where dW alone is too little work."""
    real = real_of(dW.values)
    dZ_feature, dZ_example = strides(n_out, m, dZ_rows)
    feature, example = strides(n_in, m, A_prev_rows)
    left, right = matrix(dZ, dZ_feature, dZ_example), matrix(A_prev, feature, example)
    if blas.takes(n_out, n_in, m):
        blas.product(stream, dW, left, right, n_out, n_in, m, 1 / m)
        return
    slices = slices_for(n_out, n_in, m, real)
    if slices == 1:
        _plain.launch(stream, dW, n_in, left, right, n_out, n_in, m, scale=1 / m)
        return
    parts = empty(slices * n_out * n_in, real, stream)
    _plain.launch(stream, Place(parts), n_in, left, right, n_out, n_in, m, slices=slices)
    sum_slices(stream, dW, parts, n_out * n_in, slices, 1 / m)


def gradient_slices(
    stream: Any,
    sums: Place,
    dZ: Place,
    A_prev: Place,
    A_prev_rows: bool,
    n_out: int,
    n_in: int,
    m: int,
    slices: int,
) -> None:
    """sums[s] = dZ A_prev^T and dZ.sum(axis=1), over each slice of the m examples.

    (slices, n_out * (n_in + 1)): the weights' part, then the biases', neither divided by m.
    """
    apart = n_out * (n_in + 1)
    feature, example = strides(n_in, m, A_prev_rows)
    left, right = matrix(dZ, m, 1), matrix(A_prev, feature, example)
    if slices == 1 and blas.takes(n_out, n_in, m):
        blas.product(stream, sums, left, right, n_out, n_in, m, 1.0)
    else:
        _plain.launch(stream, sums, n_in, left, right, n_out, n_in, m, slices=slices, apart=apart)
    biases = Place(sums.values, sums.place + n_out * n_in)
    slice_sums(stream, biases, apart, dZ, n_out, m, False, slice_depth(m, slices))


def bias_gradient(stream: Any, db: Place, dZ: Place, dZ_rows: bool, n: int, m: int) -> None:
    """db = dZ.sum(axis=1, keepdims=True) / m."""
    slices = row_cut(n, m, dZ_rows)[1]
    parts = empty(slices * n, real_of(db.values), stream)
    row_sums(stream, db, dZ, parts, n, m, dZ_rows, 1 / m)
