"""The device functions of networks inside kernels, compiled for this CPU and run there.

A script of its own: before the kernels are imported, Numba's ways of compiling for a GPU are
replaced by those for the CPU. So the types, and the instructions that the kernels emit for reading
and writing memory, are tried, which neither the simulator nor a compiler does. There is one thread,
so that it waits for nobody, and the C library's erfc in place of NVIDIA's.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numba
import numpy as np
from numba import cuda
from numba.cuda import extending

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def for_the_cpu(**_):
    return numba.njit(error_model="numpy")


def overload(function):
    if function.__name__ != "normal_cdf":
        return numba.extending.overload(function)

    def register(_):
        def normal_cdf(x):
            return lambda x: type(x)(math.erfc(-x / math.sqrt(2)) / 2)

        numba.extending.overload(function)(normal_cdf)

    return register


@numba.njit
def no_wait():
    pass


cuda.jit, cuda.syncthreads = for_the_cpu, no_wait
extending.intrinsic, extending.overload = numba.extending.intrinsic, overload

from test_inside import network, normal  # noqa: E402

import fastnn.inside.cuda  # noqa: E402, F401, it is inside.cuda
from fastnn import inside  # noqa: E402
from fastnn.kernels import reference  # noqa: E402
from fastnn.kernels.codes import ACTIVATIONS  # noqa: E402

M = 5
SIZES = ([1, 1], [4, 8, 3], [5, 9, 1, 6, 12], [16, 64, 64, 9])
# More roundings than any sum here makes.
ROUNDINGS = 100


@numba.njit
def derivatives(parameters, layout, X, out, v, dx, gradients, t, tangent, J, work):
    for i in range(X.shape[0]):
        mine = work[:, i]
        inside.cuda.linearize(parameters, layout, X[i], out[i], mine)
        inside.cuda.vjp(parameters, layout, v[i], dx[i], gradients[:, i], mine)
        inside.cuda.jvp(parameters, layout, t[i], tangent[i], mine)
        inside.cuda.jacobian(parameters, layout, J[i], mine)


@numba.njit
def outputs(parameters, layout, X, out, work):
    for i in range(X.shape[0]):
        inside.cuda.forward(parameters, layout, X[i], out[i], work)


@numba.njit
def together(parameters, layout, X, out, work):
    inside.cuda.forward_block(parameters, layout, X, out, work, 0, 1)


def shifted(values, shift):
    """Return a copy that begins so many values behind a multiple of 64 bytes."""
    memory = np.full(values.size + 64, np.nan, values.dtype)
    first = -memory.ctypes.data % 64 // values.itemsize + shift
    memory[first : first + values.size] = values
    return memory[first : first + values.size]


def assert_near(found, expected):
    limit = ROUNDINGS * np.finfo(found.dtype).eps * (1 + np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit)


def check(sizes, names, dtype, shift):
    net = network(sizes, names, dtype)
    parameters, layout = shifted(net.parameters, shift), inside.layout(net)
    X, V = normal(M, sizes[0], dtype=dtype), normal(M, sizes[-1], dtype=dtype, seed=5)
    T = normal(M, sizes[0], dtype=dtype, seed=6)
    out, tangent, again = np.full((3, M, sizes[-1]), np.nan, dtype)
    dx, gradients = np.full((M, sizes[0]), np.nan, dtype), np.zeros((parameters.size, M), dtype)
    J = np.full((M, sizes[-1], sizes[0]), np.nan, dtype)
    work = np.full((inside.cuda.work_size(net, derivatives=True), M), np.nan, dtype)
    derivatives(parameters, layout, X, out, V, dx, gradients, T, tangent, J, work)
    assert_near(out.T, reference.network_forward(parameters, sizes, names, X.T))
    for i in range(M):
        at = parameters, sizes, names, X[i]
        by_x, by_theta = reference.vjp(*at, V[i])
        assert_near(dx[i], by_x)
        assert_near(gradients[:, i], by_theta)
        assert_near(tangent[i], reference.jvp(*at, T[i]))
        assert_near(J[i], reference.jacobian(*at))
    outputs(parameters, layout, X, again, np.full(inside.cuda.work_size(net), np.nan, dtype))
    assert_near(again, out)
    for start in (0, 1):
        size = inside.cuda.shared_bytes(net, 4) // X.itemsize
        shared = shifted(np.full(size, np.nan, dtype), start)
        together(parameters, layout, X.T, again.T, shared)
        assert_near(again, out)


def main():
    for dtype in (np.float32, np.float64):
        for sizes in SIZES:
            hidden = ["tanh"] * (len(sizes) - 2)
            for activation in ACTIVATIONS:
                for shift, names in enumerate(([*hidden, activation], [activation, *hidden])):
                    check(sizes, names, dtype, shift)


if __name__ == "__main__":
    main()
    print("all as the reference says")
