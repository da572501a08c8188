"""A network inside the kernels of others: one example by one thread.

``layout`` is the network as plain numbers: ``kernels/cpu/inside.py``. Of the values of ``work``,
with r for the widest layer, inputs included, and N for the units of all layers,

    P, Q                   r values each, to pass from layer to layer
    A_0, A_1, ..., A_L     N values, that ``linearize`` leaves
    D_1, ..., D_L          N - n_0 values, likewise: g'(Z_l), or nothing for softmax

``forward`` needs the first two alone, so it leaves a linearization as it is. Every thread of a warp
reads the same weight at the same time, four at once where they stand at multiples of 16 bytes.

Inner loops are written with ``while``: Numba's ``range`` leaves selects behind, and then addresses
are computed anew for each load (for sm_90 and float32, 125 instructions for 32 multiply-adds in
place of 65).

``parameters`` and ``layout`` are contiguous; other arrays may have any strides, and ``out`` and
``dx`` may be the input. Sizes are the caller's to check. No function here names ``cuda``: they are
parts of kernels in other modules (``driver.device``).
"""

from __future__ import annotations

from ..codes import SOFTMAX
from ..cpu.inside import LAYERS, SIZES
from .activations import slope_of, value_of
from .driver import device
from .memory import is_aligned16, quad, store, value
from .scalars import exp
from .softmax import larger

__all__ = ["forward", "jacobian", "jvp", "linearize", "places", "units", "vjp"]


@device
def units(layout, l):
    """Return n_l."""
    return value(layout, SIZES + l)


@device
def activation(layout, l):
    """Return the code of the activation of layer l, from 1."""
    return value(layout, SIZES + value(layout, LAYERS) + l)


@device
def places(layout):
    """Return the width of the network, which is where Q begins, and its units."""
    widest, total = units(layout, 0), units(layout, 0)
    for l in range(1, value(layout, LAYERS) + 1):
        widest, total = max(widest, units(layout, l)), total + units(layout, l)
    return widest, total


# ------------------------------------------------------------------ products with W


@device
def row_sums(work, q, p, parameters, place, n, n_in, biases):
    """Put W A + b at q, for A at p; biases < 0: without b.

    Four rows at once. Rows beyond the last one are computed like it, and left out.
    """
    last = n - 1
    whole = n_in if n_in % 4 == 0 and is_aligned16(parameters, place) else 0
    for i in range(0, n, 4):
        first, second = place + i * n_in, place + min(i + 1, last) * n_in
        third, fourth = place + min(i + 2, last) * n_in, place + min(i + 3, last) * n_in
        s0 = type(value(work, p))(0)
        s1, s2, s3 = s0, s0, s0
        if biases >= 0:
            s0, s1 = value(parameters, biases + i), value(parameters, biases + min(i + 1, last))
            s2 = value(parameters, biases + min(i + 2, last))
            s3 = value(parameters, biases + min(i + 3, last))
        k = 0
        while k < whole:
            a = (
                value(work, p + k),
                value(work, p + k + 1),
                value(work, p + k + 2),
                value(work, p + k + 3),
            )
            s0 = along(s0, quad(parameters, first + k), a)
            s1 = along(s1, quad(parameters, second + k), a)
            s2 = along(s2, quad(parameters, third + k), a)
            s3 = along(s3, quad(parameters, fourth + k), a)
            k += 4
        while k < n_in:
            x = value(work, p + k)
            s0 += value(parameters, first + k) * x
            s1 += value(parameters, second + k) * x
            s2 += value(parameters, third + k) * x
            s3 += value(parameters, fourth + k) * x
            k += 1
        put_four(work, q, i, n, s0, s1, s2, s3)


@device
def along(s, w, a):
    """Return s + w^T a."""
    s += w[0] * a[0]
    s += w[1] * a[1]
    s += w[2] * a[2]
    s += w[3] * a[3]
    return s


@device
def put_four(work, q, i, n, s0, s1, s2, s3):
    """Put four values at q + i, those that there is a row for, of n."""
    store(work, q + i, s0)
    if i + 1 < n:
        store(work, q + i + 1, s1)
    if i + 2 < n:
        store(work, q + i + 2, s2)
    if i + 3 < n:
        store(work, q + i + 3, s3)


@device
def column_sums(work, q, d, parameters, place, n, n_in):
    """Put W^T D at q, for D at d; four columns at once."""
    last = n_in - 1
    wide = n_in % 4 == 0 and is_aligned16(parameters, place)
    for k in range(0, n_in, 4):
        s0 = type(value(work, d))(0)
        s1, s2, s3 = s0, s0, s0
        second, third, fourth = min(k + 1, last), min(k + 2, last), min(k + 3, last)
        i = 0
        while i < n:
            x, row = value(work, d + i), place + i * n_in
            if wide:
                w = quad(parameters, row + k)
                s0, s1, s2, s3 = s0 + w[0] * x, s1 + w[1] * x, s2 + w[2] * x, s3 + w[3] * x
            else:
                s0 += value(parameters, row + k) * x
                s1 += value(parameters, row + second) * x
                s2 += value(parameters, row + third) * x
                s3 += value(parameters, row + fourth) * x
            i += 1
        put_four(work, q, k, n_in, s0, s1, s2, s3)


@device
def add_gradient(gradient, place, n, n_in, work, d, A):
    """Add D A^T and D to the gradient's W and b."""
    bias = place + n * n_in
    for i in range(n):
        x, k = value(work, d + i), 0
        while k < n_in:
            at = place + i * n_in + k
            store(gradient, at, value(gradient, at) + x * value(work, A + k))
            k += 1
        store(gradient, bias + i, value(gradient, bias + i) + x)


# ------------------------------------------------------------------ activations


@device
def softmax_one(work, a, z, n):
    """Put softmax(Z) at a, for n values at z, which may be a."""
    top = value(work, z)
    for i in range(1, n):
        top = larger(top, value(work, z + i))
    total = type(top)(0)
    for i in range(n):
        e = exp(value(work, z + i) - top)
        store(work, a + i, e)
        total += e
    for i in range(n):
        store(work, a + i, value(work, a + i) / total)


@device
def through_activation(work, d, D, A, n, code):
    """Multiply d by g'(Z), or by softmax's Jacobian, which is symmetric."""
    if code == SOFTMAX:
        total = type(value(work, d))(0)
        for i in range(n):
            total += value(work, d + i) * value(work, A + i)
        for i in range(n):
            store(work, d + i, value(work, A + i) * (value(work, d + i) - total))
    else:
        for i in range(n):
            store(work, d + i, value(work, d + i) * value(work, D + i))


# ------------------------------------------------------------------ one example


@device
def read(work, p, x, n):
    for i in range(n):
        store(work, p + i, value(x, i))


@device
def write(out, work, p, n):
    for i in range(n):
        store(out, i, value(work, p + i))


@device
def forward(out, parameters, layout, x, work):
    """Out = A_L of the example x."""
    layers, place, n = value(layout, LAYERS), 0, units(layout, 0)
    q, _ = places(layout)
    p = 0
    read(work, p, x, n)
    for l in range(1, layers + 1):
        n_in, n, code = n, units(layout, l), activation(layout, l)
        bias = place + n * n_in
        row_sums(work, q, p, parameters, place, n, n_in, bias)
        if code == SOFTMAX:
            softmax_one(work, q, q, n)
        else:
            for i in range(n):
                store(work, q + i, value_of(value(work, q + i), code))
        p, q, place = q, p, bias + n
    write(out, work, p, n)


@device
def linearize(out, parameters, layout, x, work):
    """Out = A_L of the example x; what the derivatives there need stays in work."""
    widest, total = places(layout)
    n, place, A = units(layout, 0), 0, 2 * widest
    D = A + total
    read(work, A, x, n)
    for l in range(1, value(layout, LAYERS) + 1):
        n_in, n, code = n, units(layout, l), activation(layout, l)
        below, A, bias = A, A + n_in, place + n * n_in
        row_sums(work, D, below, parameters, place, n, n_in, bias)
        if code == SOFTMAX:
            softmax_one(work, A, D, n)
        else:
            for i in range(n):
                z = value(work, D + i)
                store(work, A + i, value_of(z, code))
                store(work, D + i, slope_of(z, code))
        D, place = D + n, bias + n
    write(out, work, A, n)


@device
def vjp(dx, gradient, parameters, layout, v, work):
    """Dx = v^T dA_L/dx, and v^T dA_L/dtheta is added to the gradient, where these are not None."""
    read(work, 0, v, units(layout, value(layout, LAYERS)))
    backward(dx, gradient, parameters, layout, work)


@device
def jacobian(J, parameters, layout, work):
    """J = dA_L/dx, (n_y, n_x), one row after another."""
    n = units(layout, value(layout, LAYERS))
    zero, one = type(value(work, 0))(0), type(value(work, 0))(1)
    for row in range(n):
        for i in range(n):
            store(work, i, one if i == row else zero)
        backward(J[row], None, parameters, layout, work)


@device
def backward(dx, gradient, parameters, layout, work):
    """Do what ``vjp`` does, for v at P."""
    layers = value(layout, LAYERS)
    q, total = places(layout)
    d, n, place = 0, units(layout, layers), parameters.size
    A = 2 * q + total - n
    D = A + total - units(layout, 0)
    through_activation(work, d, D, A, n, activation(layout, layers))
    for back in range(layers):
        l = layers - back
        n, n_in = units(layout, l), units(layout, l - 1)
        place, A, D = place - n - n * n_in, A - n_in, D - n_in
        if gradient is not None:
            add_gradient(gradient, place, n, n_in, work, d, A)
        if l > 1:
            column_sums(work, q, d, parameters, place, n, n_in)
            through_activation(work, q, D, A, n_in, activation(layout, l - 1))
        elif dx is not None:
            column_sums(work, q, d, parameters, place, n, n_in)
        d, q = q, d
    if dx is not None:
        write(dx, work, d, units(layout, 0))


@device
def jvp(out, parameters, layout, t, work):
    """Out = dA_L/dx t."""
    q, total = places(layout)
    p, n, place, A = 0, units(layout, 0), 0, 2 * q
    D = A + total
    read(work, p, t, n)
    for l in range(1, value(layout, LAYERS) + 1):
        n_in, n = n, units(layout, l)
        A += n_in
        row_sums(work, q, p, parameters, place, n, n_in, -1)
        through_activation(work, q, D, A, n, activation(layout, l))
        p, q, D, place = q, p, D + n, place + n * n_in + n
    write(out, work, p, n)
