"""One example through a network, for the shortest wait: no blocks, no panels, nothing checked.

A_l = g(W_l A_(l-1) + b_l)          # each layer one column, so a row of sums of products
"""

from __future__ import annotations

from ..codes import SOFTMAX
from .activations import softmax_columns, values
from .compiler import kernel
from .product import dots
from .tiles import BIAS_EACH


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
