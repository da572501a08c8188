"""Losses, and the gradient at the output layer.

    squared error         1/2 sum (a - y)^2
    binary cross-entropy  -sum [y log a + (1 - y) log(1 - a)]  = sum softplus(z) - y z
    cross-entropy         -sum y log a                         = sum y (log sum exp(z) - z)

The forms on the right start from the output layer's Z, where it is sigmoid or softmax, and hold
no logarithm of zero. All are summed over the outputs; their mean over the examples is J.
"""

from __future__ import annotations

from ..codes import (
    BINARY_CROSS_ENTROPY,
    CROSS_ENTROPY,
    IDENTITY,
    SIGMOID,
    SOFTMAX,
)
from . import vector_math as vm
from .activations import (
    softmax_backward_columns,
    softmax_columns,
    values,
    values_and_derivatives,
)
from .compiler import helper, kernel
from .linear import long_sum
from .vectors import never_inline, select, widest_vectors


@helper
def x_log_y(x, y):
    # 0 log 0 = 0: a target of zero asks nothing of the logarithm.
    return select(x == type(x)(0), type(x)(0), x * vm.log(y))


@kernel
def cost(A, Y, loss, block):
    """Return the sum of the losses of all examples; A and Y are (n_y, m), or both (m, n_y).

    A ``block`` of values is worked off together.
    """
    widest_vectors()
    a, y = A.reshape(-1), Y.reshape(-1)
    total = 0.0
    for i in range(0, a.size, block.size):
        n = min(block.size, a.size - i)
        x, t, out = a[i : i + n], y[i : i + n], block[:n]
        one, half = type(x[0])(1), type(x[0])(0.5)
        if loss == BINARY_CROSS_ENTROPY:
            for j in range(n):
                out[j] = -x_log_y(t[j], x[j]) - x_log_y(one - t[j], one - x[j])
        elif loss == CROSS_ENTROPY:
            for j in range(n):
                out[j] = -x_log_y(t[j], x[j])
        else:
            for j in range(n):
                out[j] = half * (x[j] - t[j]) * (x[j] - t[j])
        total += long_sum(out)
    return total


@kernel
def output_gradient(dZ, A, Y):
    """dZ = A - Y."""
    out, a, y = dZ.reshape(-1), A.reshape(-1), Y.reshape(-1)
    for i in range(out.size):
        out[i] = a[i] - y[i]


@helper
def output_block(A, D, Y, weights, place, width, n, m, activation, loss, scratch):
    """Return the weighted losses of a block of m examples, summed; leave dZ in D, which held Z.

    The block of A and D stands at ``place``, with ``width`` values from one row to the next, and
    Y likewise at 0. ``scratch`` takes 2 width values. Only the first m columns are meant.
    """
    never_inline()
    widest_vectors()
    cells = n * width
    losses = scratch[width : width + m]
    if activation == SOFTMAX:
        # softmax_columns leaves the sums of exponentials in the second half of its scratch, the
        # largest values in the first.
        softmax_columns(A, D, place, width, n, m, scratch)
        top, total = scratch[:m], scratch[m : 2 * m]
    if activation == SOFTMAX and loss == CROSS_ENTROPY:
        for j in range(m):
            top[j] += vm.log(total[j])
        losses = total
        for j in range(m):
            losses[j] = 0
        for i in range(n):
            a = A[place + i * width : place + i * width + m]
            d = D[place + i * width : place + i * width + m]
            y = Y[i * width : i * width + m]
            for j in range(m):
                losses[j] += y[j] * (top[j] - d[j])
            for j in range(m):
                d[j] = a[j] - y[j]
    elif activation == SIGMOID and loss == BINARY_CROSS_ENTROPY:
        values(A[place : place + cells], D[place : place + cells], SIGMOID)
        for j in range(m):
            losses[j] = 0
        for i in range(n):
            a = A[place + i * width : place + i * width + m]
            d = D[place + i * width : place + i * width + m]
            y = Y[i * width : i * width + m]
            for j in range(m):
                losses[j] += vm.softplus(d[j]) - y[j] * d[j]
            for j in range(m):
                d[j] = a[j] - y[j]
    else:  # squared error, behind any output
        if activation != SOFTMAX:
            values_and_derivatives(A[place : place + cells], D[place : place + cells], activation)
        for j in range(m):
            losses[j] = 0
        for i in range(n):
            a = A[place + i * width : place + i * width + m]
            d = D[place + i * width : place + i * width + m]
            y = Y[i * width : i * width + m]
            for j in range(m):
                losses[j] += type(a[j])(0.5) * (a[j] - y[j]) * (a[j] - y[j])
            if activation == IDENTITY:
                for j in range(m):
                    d[j] = a[j] - y[j]
            elif activation != SOFTMAX:
                for j in range(m):
                    d[j] = d[j] * (a[j] - y[j])
            else:
                for j in range(m):
                    y[j] = a[j] - y[j]
        if activation == SOFTMAX:
            softmax_backward_columns(D, Y, A, place, width, 0, width, n, m, scratch)
    for i in range(n):
        d = D[place + i * width : place + i * width + m]
        for j in range(m):
            d[j] = d[j] * weights[j]
    for j in range(m):
        losses[j] = losses[j] * weights[j]
    return long_sum(losses)
