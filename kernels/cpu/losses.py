"""Losses, and the gradient at the output layer.

    squared error         1/2 sum (a - y)^2
    absolute error        sum |a - y|
    Huber                 sum s (r - s/2), where r = a - y and s is r, but within +-delta
    Poisson               sum a - y + y log(y/a)           = sum exp(z) - y z - y + y log y
    binary cross-entropy  -sum [y log a + (1 - y) log(1 - a)]  = sum softplus(z) - y z
    cross-entropy         -sum y log a                         = sum y (log sum exp(z) - z)

The forms on the right start from the output layer's Z, where it is sigmoid, softmax or exp, and
hold no logarithm of zero. All are summed over the outputs; their mean over the examples is J.
"""

from __future__ import annotations

from ..codes import (
    ABSOLUTE_ERROR,
    BINARY_CROSS_ENTROPY,
    CROSS_ENTROPY,
    HUBER,
    IDENTITY,
    POISSON,
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


@helper
def sign(r):
    # zero and NaN stand for themselves
    return select(r > type(r)(0), type(r)(1), select(r < type(r)(0), -type(r)(1), r))


@helper
def within(r, delta):
    return select(r > delta, delta, select(r < -delta, -delta, r))


@helper
def poisson(a, y):
    return a - y + x_log_y(y, y) - x_log_y(y, a)


@kernel
def cost(A, Y, loss, delta, block):
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
        elif loss == ABSOLUTE_ERROR:
            for j in range(n):
                out[j] = abs(x[j] - t[j])
        elif loss == HUBER:
            for j in range(n):
                slope = within(x[j] - t[j], type(half)(delta))
                out[j] = slope * (x[j] - t[j] - half * slope)
        elif loss == POISSON:
            for j in range(n):
                out[j] = poisson(x[j], t[j])
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
def add_errors(losses, y, a, loss, delta):
    """Add the losses of a line of outputs; leave their derivatives by a in y."""
    if loss == ABSOLUTE_ERROR:
        for j in range(a.size):
            losses[j] += abs(a[j] - y[j])
            y[j] = sign(a[j] - y[j])
    elif loss == HUBER:
        half, delta = type(a[0])(0.5), type(a[0])(delta)
        for j in range(a.size):
            r = a[j] - y[j]
            slope = within(r, delta)
            losses[j] += slope * (r - half * slope)
            y[j] = slope
    else:
        for j in range(a.size):
            r = a[j] - y[j]
            losses[j] += type(r)(0.5) * r * r
            y[j] = r


@helper
def output_block(A, D, Y, weights, place, width, n, m, activation, loss, delta, scratch):
    """Return the weighted losses of a block of m examples, summed; leave dZ in D, which held Z.

    The block of A and D stands at ``place``, with ``width`` values from one row to the next, and
    Y likewise at 0; Y is worked in. ``scratch`` takes 2 width values. Only the first m columns are
    meant.
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
    elif loss == POISSON:  # behind exp
        values(A[place : place + cells], D[place : place + cells], activation)
        for j in range(m):
            losses[j] = 0
        for i in range(n):
            a = A[place + i * width : place + i * width + m]
            d = D[place + i * width : place + i * width + m]
            y = Y[i * width : i * width + m]
            for j in range(m):
                losses[j] += a[j] - y[j] * d[j] - y[j] + x_log_y(y[j], y[j])
            for j in range(m):
                d[j] = a[j] - y[j]
    else:  # an error between A and Y, behind any output
        if activation != SOFTMAX:
            values_and_derivatives(A[place : place + cells], D[place : place + cells], activation)
        for j in range(m):
            losses[j] = 0
        for i in range(n):
            a = A[place + i * width : place + i * width + m]
            d = D[place + i * width : place + i * width + m]
            y = Y[i * width : i * width + m]
            add_errors(losses, y, a, loss, delta)
            if activation == IDENTITY:
                for j in range(m):
                    d[j] = y[j]
            elif activation != SOFTMAX:
                for j in range(m):
                    d[j] = d[j] * y[j]
        if activation == SOFTMAX:
            softmax_backward_columns(D, Y, A, place, width, 0, width, n, m, scratch)
    for i in range(n):
        d = D[place + i * width : place + i * width + m]
        for j in range(m):
            d[j] = d[j] * weights[j]
    for j in range(m):
        losses[j] = losses[j] * weights[j]
    return long_sum(losses)
