"""The outputs of whole networks, for many examples and for one.

Many go through in blocks of ``work.width``, so that what a layer leaves is still in the cache when
the next reads it. One goes through with the shortest wait: no blocks, no panels, nothing checked;
each layer is one column, which is computed as a row of sums of products.
"""

from __future__ import annotations

from ..codes import SOFTMAX
from ..structures import CODE, N_IN, N_OUT, PLACE
from .activations import softmax_columns, values
from .compiler import kernel
from .product import dots, product
from .tiles import BIAS, BIAS_EACH


@kernel
def network_forward(out, parameters, network, X, feature, example, begin, end, work):
    """Out = A of the last layer, (n_y, m), for the examples begin <= j < end.

    X is flat memory, read where it stands: feature i of example j at i feature + j example.
    """
    layers, width, A, T = network.layers, work.width, work.A, work.T
    n_y, m = out.shape
    flat = out.reshape(-1)
    for block in range(begin, end, width):
        columns = min(width, end - block)
        for l in range(layers.shape[0]):
            n_in, n = layers[l, N_IN], layers[l, N_OUT]
            code, place = layers[l, CODE], layers[l, PLACE]
            source, s, s_row, s_column = A, 0, width, 1
            if l == 0:
                source, s, s_row, s_column = X, block * example, feature, example
            product(
                T, 0, width,
                parameters, place, n_in, 1,
                source, s, s_row, s_column,
                n, columns, n_in,
                BIAS, parameters, place + n * n_in, work.panel,
            )  # fmt: skip
            if code == SOFTMAX:
                softmax_columns(A, T, 0, width, n, columns, work.losses)
            else:
                values(A[: n * width], T[: n * width], code)
        for i in range(n_y):
            target = flat[i * m + block : i * m + block + columns]
            line = A[i * width : i * width + columns]
            for j in range(columns):
                target[j] = line[j]


@kernel
def forward_one(out, parameters, layers, x, work):
    """Out = A_L of the example x; ``layers`` holds L, n_x, n_1 ... n_y, then the activations.

    ``work`` takes 2 values, and twice those of the widest layer, n_x included.
    """
    count = layers[0]
    half = (work.size - 2) // 2
    A, Z, place = 2, 2 + half, 0
    for i in range(layers[1]):
        work[A + i] = x[i]
    for l in range(1, count + 1):
        n_in, n, activation = layers[l], layers[l + 1], layers[count + 1 + l]
        dots(
            work, Z, 1,
            work, A, 1,
            parameters, place, n_in,
            1, n, n_in,
            BIAS_EACH, parameters, place + n * n_in,
        )  # fmt: skip
        if activation == SOFTMAX:
            # One column: stride 1 from row to row.
            softmax_columns(work[A : A + n], work[Z : Z + n], 0, 1, n, 1, work[:2])
        else:
            values(work[A : A + n], work[Z : Z + n], activation)
        place += n * n_in + n
    for i in range(out.size):
        out[i] = work[A + i]
