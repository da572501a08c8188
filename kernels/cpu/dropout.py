"""Dropout: units that a step of training does without.

Each unit of each example is kept or not by a draw of its own, a hash of the step, the unit and the
example's place in the epoch. So the draws are the same however a batch is cut and whoever computes
it, and need no memory.

Source: Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov 2014; what is kept is scaled up in
training, so that nothing is to be done when the network is used.
"""

from __future__ import annotations

from .compiler import helper
from .vectors import never_inline, select, widest_vectors

# The low half of a 64-bit number: draws are 32-bit numbers, held in 64 bits.
LOW = 0xFFFFFFFF

# 2^32 over the golden ratio: multiples of it, modulo 2^32, are spread evenly.
_SPREAD = 0x9E3779B1


@helper
def mixed(x):
    """Return a hash of a 32-bit number (C. Wellons' lowbias32, found by search, 2018)."""
    x = int(x)  # as Python, where this is tested, NumPy's integers would overflow
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & LOW
    x = ((x ^ (x >> 15)) * 0x846CA68B) & LOW
    return x ^ (x >> 16)


@helper
def drop(A, D, place, width, n, m, unit, example, key, keep):
    """Scale A and D up where the draw is below ``keep``, of 2^32; else set both to 0.

    The block of A and D stands at ``place``: units from ``unit`` on, examples from ``example`` on.
    """
    never_inline()
    widest_vectors()
    real = type(A[0])
    scale = real(4294967296.0 / keep)
    for i in range(n):
        # Two numbers for each unit: with one, two units could draw alike, some places apart.
        first = mixed(key ^ mixed(unit + i))
        second = mixed(first ^ LOW)
        a = A[place + i * width : place + i * width + m]
        d = D[place + i * width : place + i * width + m]
        for j in range(m):
            x = (first + (int(example) + j) * _SPREAD) & LOW
            kept = mixed(mixed(x) ^ second) < keep
            a[j] = select(kept, scale * a[j], real(0))
            d[j] = select(kept, scale * d[j], real(0))
