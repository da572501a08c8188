"""Networks inside your own ``@cuda.jit`` kernels: device functions that every thread can call.

The same functions as :mod:`fastnn.inside` has for the CPU, with the same arguments. It is imported
by its name, ``import fastnn.inside.cuda``, and needs numba-cuda: the extra ``cuda13`` or
``cuda12``. A kernel is launched on a GPU; without one, numba-cuda's simulator runs the same code in
Python, for tests, where ``NUMBA_ENABLE_CUDASIM=1`` was set before.

====================  =========================================================================
``forward``           out = A of the last layer, for one example, by one thread
``linearize``         out, and what the derivatives at x need, which stays in ``work``
``vjp``               dx = v^T dA/dx, and v^T dA/dtheta is added to a gradient
``jvp``               out = dA/dx t
``forward_block``     out = A for a matrix of examples, one a column, by a block of threads together
====================  =========================================================================

A kernel gets the network as two arrays on the GPU, ``cuda.to_device(inside.parameters(net))`` and
``cuda.to_device(inside.layout(net))``. Memory to work in is the caller's, of a size that
:func:`work_size` and :func:`shared_bytes` tell: local to a thread, shared by a block, or global.
"""

from __future__ import annotations

from typing import Any

from .. import validation as check
from ..cuda_driver import INSTALL
from ..network import Network
from ._arrays import layout as _layout

try:
    from ..kernels.cuda import inside as _kernels
    from ..kernels.cuda.inside_block import SIDE
    from ..kernels.cuda.inside_block import forward_block as _forward_block
except ImportError as error:
    raise ImportError(f"fastnn.inside.cuda needs numba-cuda: {INSTALL} ({error})") from error

from ..kernels.cuda.driver import device as _device
from ._cuda_checks import (
    block_fits,
    gradient_fits,
    input_fits,
    jacobian_fits,
    output_fits,
    parameters_fit,
    types_of,
    work_fits,
)

__all__ = [
    "forward", "forward_block", "jacobian", "jvp", "linearize", "shared_bytes", "vjp", "work_size"
]  # fmt: skip


# ------------------------------------------------------------------ on the host


def work_size(net: Network, derivatives: bool = False) -> int:
    """Return how many values a thread works in: the size of ``work``.

    2 max n_l for :func:`forward`, where l = 0, ..., L. :func:`linearize`, :func:`vjp` and
    :func:`jvp` need 2 max n_l + 2 sum n_l - n_0.

    Parameters
    ----------
    net : Network
    derivatives : bool
        Whether the thread calls ``linearize``.

    Returns
    -------
    int

    Raises
    ------
    TypeError
        If ``net`` is no network or ``derivatives`` no bool.

    Examples
    --------
    >>> import fastnn, fastnn.inside.cuda
    >>> from fastnn import inside
    >>> net = fastnn.Network([16, 256, 256, 256, 256, 9], "relu", "squared_error")
    >>> inside.cuda.work_size(net), inside.cuda.work_size(net, derivatives=True)
    (512, 2594)
    """
    sizes = _sizes(net)
    kept = 2 * sum(sizes) - sizes[0] if check.boolean("derivatives", derivatives) else 0
    return 2 * max(sizes) + kept


def shared_bytes(net: Network, examples: int = 32) -> int:
    """Return the bytes of shared memory in which a block takes so many examples through.

    2 r(examples) max n_l values, where r rounds up to a multiple of 4 and l = 0, ..., L. Any matrix
    goes through in parts of that many columns. A block has 48 KiB unless it asks for more.

    Parameters
    ----------
    net : Network
    examples : int
        How many, 1 at least.

    Returns
    -------
    int

    Raises
    ------
    TypeError
        If ``net`` is no network or ``examples`` no integer.
    ValueError
        If ``examples`` is less than 1.

    Examples
    --------
    >>> import fastnn, fastnn.inside.cuda
    >>> from fastnn import inside
    >>> net = fastnn.Network([16, 64, 64, 9], "relu", "squared_error")
    >>> inside.cuda.shared_bytes(net), inside.cuda.shared_bytes(net, 6)
    (16384, 4096)
    """
    widest = max(_sizes(net))
    columns = -(-check.integer("examples", examples, low=1) // SIDE) * SIDE
    return 2 * columns * widest * net.dtype.itemsize


def _sizes(net: Network) -> list[int]:
    told: list[int] = _layout(net).tolist()
    return told[3 : 4 + told[0]]


# ------------------------------------------------------------------ on the GPU

_types_of_one = types_of("x", "out")
_types_of_vjp = types_of("v", "dx", "gradient")
_types_of_jvp = types_of("t", "out")
_types_of_block = types_of("X", "out", dimensions=2, shared=True)
_types_of_jacobian = types_of("out", dimensions=2)


@_device
def forward(parameters: Any, layout: Any, x: Any, out: Any, work: Any) -> None:
    """Put the network's output for one example into ``out``: called by one thread.

    A_l = g_l(W_l A_(l-1) + b_l), from A_0 = x to out = A_L. All threads of a warp that call it with
    the same parameters read each weight together.

    Parameters
    ----------
    parameters : array, (n_parameters,)
        W1, b1, W2, b2, ..., each in C order; contiguous. Its type, float32 or float64, is that of
        all other arrays. Four weights are read at once in layers whose n_in is a multiple of four
        and whose W begins at a multiple of 16 bytes.
    layout : array of int64
        Of :func:`fastnn.inside.layout`.
    x : array, (n_x,)
        The example; any strides.
    out : array, (n_y,)
        Where the output goes; any strides. It may be ``x``.
    work : array
        Of :func:`work_size` values or more, for this thread alone; any strides. What
        :func:`linearize` left stays there.

    Raises
    ------
    TypingError
        If an array has the wrong type, when the kernel is compiled; TypeError in the simulator.
    ValueError
        If a size does not fit the layout, in the simulator. On a GPU the thread ends there, and
        what it should have written stays as it was; only of a kernel that was compiled with
        ``debug=True, opt=False`` does the launch raise an error.

    Examples
    --------
    >>> import numpy as np, fastnn, fastnn.inside.cuda
    >>> from numba import cuda, float32
    >>> from fastnn import inside
    >>> net = fastnn.Network([2, 4, 1], "tanh", "squared_error", seed=0)
    >>> SIZE = inside.cuda.work_size(net)
    >>> @cuda.jit
    ... def answers(parameters, layout, X, out):
    ...     i = cuda.grid(1)
    ...     work = cuda.local.array(SIZE, float32)
    ...     if i < X.shape[0]:
    ...         inside.cuda.forward(parameters, layout, X[i], out[i], work)
    >>> X, out = np.ones((3, 2), np.float32), np.zeros((3, 1), np.float32)
    >>> answers[1, 4](inside.parameters(net), inside.layout(net), X, out)
    >>> bool(np.allclose(out.T, net.forward(X.T)))
    True
    """
    _types_of_one(parameters, layout, work, x, out, None)
    parameters_fit(parameters, layout)
    work_fits(layout, work, False)
    input_fits(layout, x)
    output_fits(layout, out)
    _kernels.forward(out, parameters, layout, x, work)


@_device
def linearize(parameters: Any, layout: Any, x: Any, out: Any, work: Any) -> None:
    """Put the output for one example into ``out``, and keep in ``work`` what derivatives need.

    :func:`vjp`, :func:`jvp` and :func:`jacobian` with the same ``work`` are then those at x, as
    often as they are called, until the next ``linearize``. The parameters must not change between.

    Parameters
    ----------
    parameters, layout, x, out : array
        As for :func:`forward`.
    work : array
        Of ``work_size(net, derivatives=True)`` values or more, for this thread alone.

    Raises
    ------
    TypingError, TypeError, ValueError
        As for :func:`forward`.

    Notes
    -----
    Kept are A_l and g'(Z_l) of each layer. The derivative of relu and leaky_relu at 0 is 1.
    """
    _types_of_one(parameters, layout, work, x, out, None)
    parameters_fit(parameters, layout)
    work_fits(layout, work, True)
    input_fits(layout, x)
    output_fits(layout, out)
    _kernels.linearize(out, parameters, layout, x, work)


@_device
def vjp(parameters: Any, layout: Any, v: Any, dx: Any, gradient: Any, work: Any) -> None:
    """Put v^T dA/dx into ``dx``, and add v^T dA/dtheta to ``gradient``: called by one thread.

    The vector-Jacobian products at the x of the last :func:`linearize`; theta are all parameters.

    Parameters
    ----------
    parameters, layout, work : array
        As for that ``linearize``.
    v : array, (n_y,)
        Any strides.
    dx : array, (n_x,), or None
        Where the first product goes; any strides. It may be ``v``. None leaves it out.
    gradient : array, (n_parameters,), or None
        What the second is added to; any strides. For this thread alone: additions of two threads to
        the same would be lost. With ``gradients`` of shape (n_parameters, threads), column
        ``gradients[:, i]`` of thread i, neighbouring threads access neighbouring values.

    Raises
    ------
    TypingError, TypeError, ValueError
        As for :func:`forward`.

    Notes
    -----
    With d_L = G_L v and d_l = G_l W_(l+1)^T d_(l+1), where G_l is diag(g'(Z_l)), or for softmax
    diag(a) - a a^T: dW_l = d_l A_(l-1)^T, db_l = d_l and dx = W_1^T d_1.
    """
    _types_of_vjp(parameters, layout, work, v, dx, gradient)
    parameters_fit(parameters, layout)
    work_fits(layout, work, True)
    output_fits(layout, v)
    if dx is not None:
        input_fits(layout, dx)
    if gradient is not None:
        gradient_fits(parameters, gradient)
    _kernels.vjp(dx, gradient, parameters, layout, v, work)


@_device
def jvp(parameters: Any, layout: Any, t: Any, out: Any, work: Any) -> None:
    """Put dA/dx t into ``out``, how the output changes if x moves along t: called by one thread.

    The Jacobian-vector product at the x of the last :func:`linearize`.

    Parameters
    ----------
    parameters, layout, work : array
        As for that ``linearize``.
    t : array, (n_x,)
        Any strides.
    out : array, (n_y,)
        Where the product goes; any strides. It may be ``t``.

    Raises
    ------
    TypingError, TypeError, ValueError
        As for :func:`forward`.
    """
    _types_of_jvp(parameters, layout, work, t, out, None)
    parameters_fit(parameters, layout)
    work_fits(layout, work, True)
    input_fits(layout, t)
    output_fits(layout, out)
    _kernels.jvp(out, parameters, layout, t, work)


@_device
def jacobian(parameters: Any, layout: Any, out: Any, work: Any) -> None:
    """Put dA/dx, all derivatives of the output by the input, into ``out``: called by one thread.

    The Jacobian at the x of the last :func:`linearize`.

    Parameters
    ----------
    parameters, layout, work : array
        As for that ``linearize``.
    out : array, (n_y, n_x)
        Where it goes; any strides. Row i holds the derivatives of output i.

    Raises
    ------
    TypingError, TypeError, ValueError
        As for :func:`forward`.

    Notes
    -----
    One row after another: n_y times the operations of :func:`vjp` without a gradient, whose bits
    each row has. Where n_x is far below n_y, calls of :func:`jvp` are cheaper.
    """
    _types_of_jacobian(parameters, layout, work, out, None, None)
    parameters_fit(parameters, layout)
    work_fits(layout, work, True)
    jacobian_fits(layout, out)
    _kernels.jacobian(out, parameters, layout, work)


@_device
def forward_block(
    parameters: Any, layout: Any, X: Any, out: Any, work: Any, thread: Any, threads: Any
) -> None:
    """Put the outputs for a matrix of examples into ``out``: called by all threads of a block.

    As :func:`forward` for each column, but for the order of sums. They go through in parts, of as
    many examples as ``work`` holds; within a part a thread has four units of four examples at a
    time. Every thread of the block must make the call, since the threads wait for each other.

    Parameters
    ----------
    parameters, layout : array
        As for :func:`forward`.
    X : array, (n_x, m)
        One example a column; any strides. Rows of examples are passed as ``X.T``. What threads of
        the block wrote there, or in ``work``, must be there: ``cuda.syncthreads()``.
    out : array, (n_y, m)
        Where the outputs go; any strides. They are there for all threads of the block when the
        call returns. It must share no memory with ``X``.
    work : array
        Of :func:`shared_bytes`, contiguous and shared by the block: ``cuda.shared.array``. It is
        read and written 16 bytes at once where it begins at a multiple of 16 bytes, as dynamic
        shared memory does.
    thread, threads : int
        The number of this thread in its block, from 0, and how many there are: in a block of one
        dimension ``cuda.threadIdx.x`` and ``cuda.blockDim.x``.

    Raises
    ------
    TypingError, TypeError, ValueError
        As for :func:`forward`.
    """
    _types_of_block(parameters, layout, work, X, out, None)
    parameters_fit(parameters, layout)
    block_fits(layout, X, out, work)
    _forward_block(out, parameters, layout, X, work, thread, threads)
