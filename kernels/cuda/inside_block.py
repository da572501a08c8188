"""A network inside the kernels of others: a matrix of examples by a block of threads together.

The activations of ``width`` examples, a multiple of four, stand in shared memory: one row a unit,
in two halves that change their parts with each layer. A thread has four units of four examples at
a time; neighbouring threads have neighbouring examples, and read the same weights.
"""

from __future__ import annotations

from ..codes import IDENTITY, SOFTMAX
from ..cpu.inside import LAYERS
from .activations import value_of
from .driver import barrier, device
from .inside import activation, places, units
from .memory import is_aligned16, quad, store, store_quad, value
from .scalars import exp
from .softmax import larger

# Examples, and units, that a thread works on at once.
SIDE = 4


@device
def forward_block(out, parameters, layout, X, work, thread, threads):
    """Out = A_L, (n_y, m), of the examples X, (n_x, m).

    All threads of the block call it. They have left ``work``, and are done, when it returns.
    """
    widest, _ = places(layout)
    m = out.shape[1]
    width = work.size // (2 * widest * SIDE) * SIDE
    aligned = is_aligned16(work, 0)
    for first in range(0, m, width):
        columns = min(width, m - first)
        groups = (columns + SIDE - 1) // SIDE
        p, q, place = 0, widest * width, 0
        load(work, p, width, X, first, columns, groups * SIDE, thread, threads)
        barrier()
        for l in range(1, value(layout, LAYERS) + 1):
            n_in, n, code = units(layout, l - 1), units(layout, l), activation(layout, l)
            layer(
                work, q, p, width, groups, aligned, parameters, place, n, n_in, code, thread,
                threads,
            )  # fmt: skip
            barrier()
            if code == SOFTMAX:
                for j in range(thread, columns, threads):
                    softmax_column(work, q + j, width, n)
                barrier()
            p, q, place = q, p, place + n * n_in + n
        put_output(out, first, columns, work, p, width, thread, threads)
        barrier()


@device
def load(work, p, width, X, first, columns, across, thread, threads):
    """Put the examples into the rows at p; those beyond the last, up to ``across``, are 0."""
    n = X.shape[0]
    # Neighbouring threads read what stands side by side.
    by_feature = abs(X.strides[0]) < abs(X.strides[1])
    zero = type(value(work, 0))(0)
    for e in range(thread, n * across, threads):
        i, j = (e % n, e // n) if by_feature else (e // across, e % across)
        store(work, p + i * width + j, X[i, first + j] if j < columns else zero)


@device
def put_output(out, first, columns, work, p, width, thread, threads):
    """Put the rows at p where the output of these examples belongs."""
    n = out.shape[0]
    by_feature = abs(out.strides[0]) < abs(out.strides[1])
    for e in range(thread, n * columns, threads):
        i, j = (e % n, e // n) if by_feature else (e // columns, e % columns)
        out[i, first + j] = value(work, p + i * width + j)


@device
def four(source, i, wide):
    """Return the four values from source[i] on; ``wide``: in loads of 16 bytes."""
    if wide:
        return quad(source, i)
    return value(source, i), value(source, i + 1), value(source, i + 2), value(source, i + 3)


@device
def put_four(target, i, values, wide):
    """Put four values from target[i] on."""
    if wide:
        store_quad(target, i, values)
    else:
        store(target, i, values[0])
        store(target, i + 1, values[1])
        store(target, i + 2, values[2])
        store(target, i + 3, values[3])


@device
def add_product(s, w, a):
    """Return s + w a, for one unit of four examples."""
    return s[0] + w * a[0], s[1] + w * a[1], s[2] + w * a[2], s[3] + w * a[3]


@device
def layer(
    work, q, p, width, groups, aligned, parameters, place, n, n_in, code, thread, threads
):  # fmt: skip
    """Put g(W A + b) into the rows at q, for A in those at p; Z where g is softmax."""
    last, biases = n - 1, place + n * n_in
    whole = n_in if n_in % SIDE == 0 and is_aligned16(parameters, place) else 0
    for part in range(thread, (n + SIDE - 1) // SIDE * groups, threads):
        i, column = part // groups * SIDE, part % groups * SIDE
        second, third, fourth = min(i + 1, last), min(i + 2, last), min(i + 3, last)
        b0, b1 = value(parameters, biases + i), value(parameters, biases + second)
        b2, b3 = value(parameters, biases + third), value(parameters, biases + fourth)
        s0, s1, s2, s3 = (b0, b0, b0, b0), (b1, b1, b1, b1), (b2, b2, b2, b2), (b3, b3, b3, b3)
        r0, r1 = place + i * n_in, place + second * n_in
        r2, r3 = place + third * n_in, place + fourth * n_in
        source = p + column
        k = 0
        while k < whole:
            w0, w1 = quad(parameters, r0 + k), quad(parameters, r1 + k)
            w2, w3 = quad(parameters, r2 + k), quad(parameters, r3 + k)
            a = four(work, source + k * width, aligned)
            s0, s1 = add_product(s0, w0[0], a), add_product(s1, w1[0], a)
            s2, s3 = add_product(s2, w2[0], a), add_product(s3, w3[0], a)
            a = four(work, source + (k + 1) * width, aligned)
            s0, s1 = add_product(s0, w0[1], a), add_product(s1, w1[1], a)
            s2, s3 = add_product(s2, w2[1], a), add_product(s3, w3[1], a)
            a = four(work, source + (k + 2) * width, aligned)
            s0, s1 = add_product(s0, w0[2], a), add_product(s1, w1[2], a)
            s2, s3 = add_product(s2, w2[2], a), add_product(s3, w3[2], a)
            a = four(work, source + (k + 3) * width, aligned)
            s0, s1 = add_product(s0, w0[3], a), add_product(s1, w1[3], a)
            s2, s3 = add_product(s2, w2[3], a), add_product(s3, w3[3], a)
            k += SIDE
        while k < n_in:
            a = four(work, source + k * width, aligned)
            s0 = add_product(s0, value(parameters, r0 + k), a)
            s1 = add_product(s1, value(parameters, r1 + k), a)
            s2 = add_product(s2, value(parameters, r2 + k), a)
            s3 = add_product(s3, value(parameters, r3 + k), a)
            k += 1
        target, rows = q + i * width + column, min(SIDE, n - i)
        put_four(work, target, s0, aligned)
        if rows > 1:
            put_four(work, target + width, s1, aligned)
        if rows > 2:
            put_four(work, target + 2 * width, s2, aligned)
        if rows > 3:
            put_four(work, target + 3 * width, s3, aligned)
        if code not in (IDENTITY, SOFTMAX):
            for e in range(rows * SIDE):
                at = target + e // SIDE * width + e % SIDE
                store(work, at, value_of(value(work, at), code))


@device
def softmax_column(work, z, width, n):
    """A = softmax(Z), for n values at z, z + width ..."""
    top = value(work, z)
    for i in range(1, n):
        top = larger(top, value(work, z + i * width))
    total = type(top)(0)
    for i in range(n):
        e = exp(value(work, z + i * width) - top)
        store(work, z + i * width, e)
        total += e
    for i in range(n):
        store(work, z + i * width, value(work, z + i * width) / total)
