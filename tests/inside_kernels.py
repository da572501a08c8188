"""Kernels as a user writes them, with networks inside: plain functions, made for a type and a size.

They are compiled ahead of time, run in the simulator and on a GPU; imported where numba-cuda is.
"""

from __future__ import annotations

import fastnn.inside.cuda  # noqa: F401, it is inside.cuda
from fastnn import inside
from fastnn.kernels.cuda.driver import cuda


def examples(real, size):
    """Return a kernel: a thread for each row of X, whose work is local."""

    def kernel(parameters, layout, X, out):
        i = cuda.grid(1)
        if i < X.shape[0]:
            work = cuda.local.array(size, real)
            inside.cuda.forward(parameters, layout, X[i], out[i], work)

    return kernel


def examples_in_columns(parameters, layout, X, out, work):
    """Do the same for columns; the work of thread i is a column of an array on the GPU."""
    i = cuda.grid(1)
    if i < X.shape[1]:
        inside.cuda.forward(parameters, layout, X[:, i], out[:, i], work[:, i])


def derivatives(real, size):
    """Return a kernel: both products with the Jacobian at each row of X, work local."""

    def kernel(parameters, layout, X, out, v, dx, gradients, t, tangent):
        i = cuda.grid(1)
        if i < X.shape[0]:
            work = cuda.local.array(size, real)
            inside.cuda.linearize(parameters, layout, X[i], out[i], work)
            inside.cuda.vjp(parameters, layout, v[i], dx[i], gradients[:, i], work)
            inside.cuda.jvp(parameters, layout, t[i], tangent[i], work)

    return kernel


def derivatives_in_columns(parameters, layout, X, out, v, dx, gradients, t, tangent, work):
    """Do the same; the work of thread i is a column, and its gradient a row."""
    i = cuda.grid(1)
    if i < X.shape[0]:
        mine = work[:, i]
        inside.cuda.linearize(parameters, layout, X[i], out[i], mine)
        inside.cuda.vjp(parameters, layout, v[i], dx[i], gradients[i], mine)
        inside.cuda.jvp(parameters, layout, t[i], tangent[i], mine)


def jacobians(real, size):
    """Return a kernel: the Jacobian at each row of X, and the same row by row; work local."""

    def kernel(parameters, layout, X, out, J, rows, units):
        i = cuda.grid(1)
        if i < X.shape[0]:
            work = cuda.local.array(size, real)
            n_y = out.shape[1]
            inside.cuda.linearize(parameters, layout, X[i], out[i], work)
            for k in range(n_y):
                inside.cuda.vjp(parameters, layout, units[k], rows[i * n_y + k], None, work)
            inside.cuda.jacobian(parameters, layout, J[i * n_y : (i + 1) * n_y], work)

    return kernel


def parts(parameters, layout, x, v, dx, gradients, work):
    """Leave out dx, the gradient, and both."""
    inside.cuda.linearize(parameters, layout, x, v, work)
    inside.cuda.forward(parameters, layout, v, v, work)
    inside.cuda.vjp(parameters, layout, v, dx[0], None, work)
    inside.cuda.vjp(parameters, layout, v, None, gradients[0], work)
    inside.cuda.vjp(parameters, layout, v, None, None, work)
    inside.cuda.vjp(parameters, layout, v, dx[1], gradients[1], work)
    inside.cuda.jvp(parameters, layout, v, v, work)


def blocks(real):
    """Return a kernel: each block takes ``share`` columns of X, in dynamic shared memory."""

    def kernel(parameters, layout, X, out, share):
        shared = cuda.shared.array(0, real)
        first = cuda.blockIdx.x * share
        last = min(first + share, X.shape[1])
        inside.cuda.forward_block(
            parameters, layout, X[:, first:last], out[:, first:last], shared,
            cuda.threadIdx.x, cuda.blockDim.x,
        )  # fmt: skip

    return kernel


def blocks_of_unaligned_memory(real, size):
    """Return a kernel: a block, whose shared memory may begin anywhere."""

    def kernel(parameters, layout, X, out):
        shared = cuda.shared.array(size, real)
        inside.cuda.forward_block(
            parameters, layout, X, out, shared[1:], cuda.threadIdx.x, cuda.blockDim.x
        )

    return kernel
