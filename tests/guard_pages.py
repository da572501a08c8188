"""Networks inside compiled code, with a forbidden page before and behind every array.

Compiled code that reads or writes beyond an array, by a pointer or otherwise, ends the process:
``test_inside_processes.py`` runs this file as a program of its own.
"""

from __future__ import annotations

import ctypes
import itertools
import mmap

import numba
import numpy as np

import fastnn
from fastnn import inside

PAGE = mmap.PAGESIZE
FORBIDDEN = 0  # PROT_NONE
# Around the lengths of vectors, their multiples and the blocks of examples.
WIDTHS = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 67, 130]

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

held = []  # the memory, and where each begins


def guarded(values, at_end):
    """Return a copy that begins right behind a forbidden page, or ends right before one."""
    size = values.nbytes
    body = max(PAGE, -(-size // PAGE) * PAGE)
    memory = mmap.mmap(-1, body + 2 * PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    found = np.frombuffer(memory, values.dtype, values.size, PAGE + (body - size) * at_end)
    found = found.reshape(values.shape)
    found[...] = values
    for page in (start, start + PAGE + body):
        assert LIBC.mprotect(page, PAGE, FORBIDDEN) == 0
    held.append((memory, start, len(memory)))
    return found


def forget():
    """Allow all that was forbidden, and let the memory go."""
    for _, start, size in held:
        LIBC.mprotect(start, size, mmap.PROT_READ | mmap.PROT_WRITE)
    held.clear()


@numba.njit
def one(f, parameters, layout, x, out, v, dx, gradient, t, tangent, J, work):
    f(x, out)
    inside.forward(parameters, layout, x, out, work)
    inside.linearize(parameters, layout, x, out, work)
    inside.vjp(parameters, layout, v, dx, gradient, work)
    inside.jvp(parameters, layout, t, tangent, work)
    inside.jacobian(parameters, layout, J, work)


def _signature(real):
    # Any strides, as one type: else Numba compiles for each combination of memory orders.
    matrix, flat = numba.types.Array(real, 2, "A"), real[::1]
    return numba.void(flat, numba.int64[::1], matrix, matrix, flat)


@numba.njit([_signature(real) for real in (numba.float32, numba.float64)])
def several(parameters, layout, X, out, work):
    inside.forward_block(parameters, layout, X, out, work)


def drawn(random, dtype):
    """Return a network of one to three layers."""
    sizes = [int(n) for n in random.choice(WIDTHS, random.integers(2, 5))]
    names = ["relu", "tanh", "identity", "gelu", "softmax"]
    kinds = [str(random.choice(names[: 5 if n > 1 else 4])) for n in sizes[1:]]
    return fastnn.Network(sizes, kinds, "squared_error", dtype, seed=0)


def main(networks=60):
    """Call all functions of some networks, with the arrays at either end of their pages."""
    random = np.random.default_rng(0)
    for _, dtype, at_end in itertools.product(range(networks), (np.float32, np.float64), (0, 1)):
        net = drawn(random, np.dtype(dtype))
        n_x, n_y = net.sizes[0], net.sizes[-1]

        def array(*shape):
            return guarded(random.standard_normal(shape).astype(dtype), at_end)

        told = guarded(net.parameters, at_end), guarded(inside.layout(net), at_end)
        work = guarded(inside.work(net).reshape(-1), at_end)
        vectors = [array(n) for n in (n_x, n_y, n_y, n_x, net.parameters.size, n_x, n_y)]
        one(net.njit(), *told, *vectors, array(n_y, n_x), work)
        for m in (0, 1, 3, int(random.integers(1, 200))):
            several(*told, array(n_x, m), array(n_y, m), work)
            several(*told, array(m, n_x).T, array(m, n_y).T, work)
            several(*told, array(2 * m, n_x)[::-2].T, array(n_y, m), work)
        forget()
    print("within their pages")


if __name__ == "__main__":
    main()
