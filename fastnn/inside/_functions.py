"""The functions, as Python calls them: every argument checked, then the kernel."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.cpu import inside as kernels
from ._arrays import work_values

Array = NDArray[Any]


def forward(parameters: Array, layout: Array, x: Array, out: Array, work: Array) -> None:
    """Put the network's output for one example into ``out``.

    A_l = g_l(W_l A_(l-1) + b_l), from A_0 = x to out = A_L.

    Parameters
    ----------
    parameters : array, (n_parameters,)
        W1, b1, W2, b2, ..., each in C order; contiguous. Its type, float32 or float64, is that of
        all other arrays.
    layout : array of int64
        Of :func:`layout`.
    x : array, (n_x,)
        The example; any strides.
    out : array, (n_y,)
        Where the output goes; any strides. It may be ``x``.
    work : array
        Of :func:`work`, or of any thread's row of it. What :func:`linearize` left stays there.

    Raises
    ------
    ValueError
        If a size does not fit the layout: in compiled code too.
    TypeError
        If an array has the wrong type; in compiled code Numba's TypingError.

    Examples
    --------
    >>> import numba, numpy as np, fastnn
    >>> from fastnn import inside
    >>> net = fastnn.Network([2, 4, 2], ["tanh", "identity"], dtype=np.float64, seed=1)
    >>> @numba.njit
    ... def walk(x, steps, parameters, layout, work):
    ...     v = np.empty_like(x)
    ...     for _ in range(steps):
    ...         inside.forward(parameters, layout, x, v, work)
    ...         x += 0.1 * v
    >>> x = np.array([1.0, 0.0])
    >>> walk(x, 10, inside.parameters(net), inside.layout(net), inside.work(net))
    >>> x.round(3)
    array([ 1.538, -0.3  ])
    """
    _check(parameters, layout, work)
    _line("x", x, parameters, layout, 0)
    _line("out", out, parameters, layout, -1)
    kernels.forward(_writable("out", out), parameters, layout, x, work)


def forward_block(parameters: Array, layout: Array, X: Array, out: Array, work: Array) -> None:
    """Put the network's outputs for a matrix of examples into ``out``.

    As :func:`forward` for each column, but for the order of sums; 64 go through together.

    Parameters
    ----------
    parameters, layout, work : array
        As for :func:`forward`.
    X : array, (n_x, m)
        One example a column; any strides. Rows of examples are passed as ``X.T``.
    out : array, (n_y, m)
        Where the outputs go; any strides. It must share no memory with ``X``.

    Raises
    ------
    ValueError, TypeError
        As for :func:`forward`.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> from fastnn import inside
    >>> net = fastnn.Network([2, 4, 1], ["tanh", "identity"], dtype=np.float64)
    >>> X, out = np.ones((2, 100)), np.empty((1, 100))
    >>> inside.forward_block(net.parameters, inside.layout(net), X, out, inside.work(net))
    >>> bool(np.allclose(out, net.forward(X)))
    True
    """
    _check(parameters, layout, work)
    _typed("X", X, parameters.dtype, 2)
    _typed("out", out, parameters.dtype, 2)
    sizes = _sizes(layout)
    for name, array, n in (("X", X, sizes[0]), ("out", out, sizes[-1])):
        if array.shape != (n, X.shape[1]):
            expected = f"({n}, m)" if name == "X" else (n, X.shape[1])
            raise ValueError(f"{name} has shape {array.shape}; expected {expected}")
    kernels.forward_block(_writable("out", out), parameters, layout, X, work)


def linearize(parameters: Array, layout: Array, x: Array, out: Array, work: Array) -> None:
    """Put the output for one example into ``out``, and keep in ``work`` what derivatives need.

    :func:`vjp`, :func:`jvp` and :func:`jacobian` with the same ``work`` are then those at x, as
    often as they are called, until the next ``linearize``. The parameters must not change between.

    Parameters
    ----------
    parameters, layout, x, out, work : array
        As for :func:`forward`.

    Raises
    ------
    ValueError, TypeError
        As for :func:`forward`.

    Notes
    -----
    Kept are A_l and g'(Z_l) of each layer. The derivative of relu and leaky_relu at 0 is 1.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> from fastnn import inside
    >>> net = fastnn.Network([1, 1], ["exp"], dtype=np.float64)
    >>> net.parameters = [2.0, 0.0]  # exp(2 x)
    >>> layout, work, out, J = inside.layout(net), inside.work(net), np.empty(1), np.empty((1, 1))
    >>> inside.linearize(net.parameters, layout, np.array([0.0]), out, work)
    >>> inside.jacobian(net.parameters, layout, J, work)
    >>> out, J
    (array([1.]), array([[2.]]))
    """
    _check(parameters, layout, work)
    _line("x", x, parameters, layout, 0)
    _line("out", out, parameters, layout, -1)
    kernels.linearize(_writable("out", out), parameters, layout, x, work)


def vjp(
    parameters: Array,
    layout: Array,
    v: Array,
    dx: Array | None,
    gradient: Array | None,
    work: Array,
) -> None:
    """Put v^T dA/dx into ``dx``, and add v^T dA/dtheta to ``gradient``.

    The vector-Jacobian products at the x of the last :func:`linearize`; theta are all parameters.
    If v is the derivative of a loss by the output, they are those of the loss.

    Parameters
    ----------
    parameters, layout, work : array
        As for that ``linearize``.
    v : array, (n_y,)
        Any strides.
    dx : array, (n_x,), or None
        Where the first product goes; any strides. It may be ``v``. None leaves it out.
    gradient : array, (n_parameters,), or None
        What the second is added to, contiguous: start from zeros. None leaves it out.

    Raises
    ------
    ValueError, TypeError
        As for :func:`forward`.

    Notes
    -----
    With d_L = G_L v and d_l = G_l W_(l+1)^T d_(l+1), where G_l is diag(g'(Z_l)), or for softmax
    diag(a) - a a^T: dW_l = d_l A_(l-1)^T, db_l = d_l and dx = W_1^T d_1.

    Examples
    --------
    The gradient of the squared error of one example:

    >>> import numpy as np, fastnn
    >>> from fastnn import inside
    >>> net = fastnn.Network([2, 4, 1], ["tanh", "identity"], dtype=np.float64)
    >>> layout, work, gradient = inside.layout(net), inside.work(net), inside.gradient(net)
    >>> x, y, out, dx = np.ones(2), np.array([0.5]), np.empty(1), np.empty(2)
    >>> inside.linearize(net.parameters, layout, x, out, work)
    >>> inside.vjp(net.parameters, layout, out - y, dx, gradient, work)
    >>> bool(np.allclose(gradient, net.gradient(x[:, None], y)[1]))
    True
    """
    _check(parameters, layout, work)
    _line("v", v, parameters, layout, -1)
    if dx is not None:
        _line("dx", dx, parameters, layout, 0)
        _writable("dx", dx)
    if gradient is not None:
        _flat("gradient", gradient, parameters.dtype)
        _writable("gradient", gradient)
        if gradient.size != parameters.size:
            raise ValueError(
                f"gradient has {gradient.size} values, but there are {parameters.size} parameters"
            )
    none = work[:0]
    first, second = none if dx is None else dx, none if gradient is None else gradient
    kernels.vjp(first, second, parameters, layout, v, work)


def jvp(parameters: Array, layout: Array, t: Array, out: Array, work: Array) -> None:
    """Put dA/dx t into ``out``: how the output changes if x moves along t.

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
    ValueError, TypeError
        As for :func:`forward`.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> from fastnn import inside
    >>> net = fastnn.Network([1, 1], ["exp"], dtype=np.float64)
    >>> net.parameters = [2.0, 0.0]  # exp(2 x)
    >>> layout, work, out = inside.layout(net), inside.work(net), np.empty(1)
    >>> inside.linearize(net.parameters, layout, np.array([0.0]), out, work)
    >>> inside.jvp(net.parameters, layout, np.array([3.0]), out, work)
    >>> out
    array([6.])
    """
    _check(parameters, layout, work)
    _line("t", t, parameters, layout, 0)
    _line("out", out, parameters, layout, -1)
    kernels.jvp(_writable("out", out), parameters, layout, t, work)


def jacobian(parameters: Array, layout: Array, out: Array, work: Array) -> None:
    """Put dA/dx, all derivatives of the output by the input, into ``out``.

    The Jacobian at the x of the last :func:`linearize`.

    Parameters
    ----------
    parameters, layout, work : array
        As for that ``linearize``.
    out : array, (n_y, n_x)
        Where it goes; any strides. Row i holds the derivatives of output i.

    Raises
    ------
    ValueError, TypeError
        As for :func:`forward`.

    Notes
    -----
    All rows go backward through the layers together, 64 at a time: n_y times the operations of
    :func:`vjp` without a gradient. Where n_x is far below n_y, calls of :func:`jvp` are cheaper.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> from fastnn import inside
    >>> net = fastnn.Network([2, 2], ["identity"], dtype=np.float64)
    >>> net.parameters = [1.0, 2.0, 3.0, 4.0, 0.0, 0.0]
    >>> layout, work, J = inside.layout(net), inside.work(net), np.empty((2, 2))
    >>> inside.linearize(net.parameters, layout, np.ones(2), np.empty(2), work)
    >>> inside.jacobian(net.parameters, layout, J, work)
    >>> J
    array([[1., 2.],
           [3., 4.]])
    """
    _check(parameters, layout, work)
    _typed("out", out, parameters.dtype, 2)
    sizes = _sizes(layout)
    if out.shape != (sizes[-1], sizes[0]):
        raise ValueError(f"out has shape {out.shape}; expected {(sizes[-1], sizes[0])}")
    kernels.jacobian(_writable("out", out), parameters, layout, work)


# ------------------------------------------------------------------ checks


def _typed(name: str, array: object, dtype: np.dtype[Any], dimensions: int) -> Array:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, got {type(array).__name__}")
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array; expected an array without a mask")
    if array.dtype != dtype:
        raise TypeError(f"{name} has type {array.dtype}, but expected is {dtype}")
    if array.ndim != dimensions:
        raise ValueError(f"{name} has shape {array.shape}; expected {dimensions} dimensions")
    if not array.flags.aligned:
        raise ValueError(f"{name} is not aligned to its type in memory: pass a copy of it")
    return array


def _flat(name: str, array: object, dtype: np.dtype[Any]) -> Array:
    found = _typed(name, array, dtype, 1)
    if not found.flags.c_contiguous:
        raise ValueError(f"{name} is not contiguous: pass a copy of it")
    return found


def _writable(name: str, array: Array) -> Array:
    if not array.flags.writeable:
        raise ValueError(f"{name} is read-only")
    return array


def _sizes(layout: Array) -> list[int]:
    sizes: list[int] = layout[kernels.SIZES : kernels.SIZES + int(layout[0]) + 1].tolist()
    return sizes


def _line(name: str, array: object, parameters: Array, layout: Array, layer: int) -> None:
    found, n = _typed(name, array, parameters.dtype, 1), _sizes(layout)[layer]
    if found.size != n:
        raise ValueError(f"{name} has {found.size} values, but the layout says {n}")


def _check(parameters: object, layout: object, work: object) -> None:
    """Raise unless these three belong together."""
    dtype = parameters.dtype if isinstance(parameters, np.ndarray) else None
    if not isinstance(parameters, np.ndarray) or dtype not in (np.float32, np.float64):
        found = dtype or type(parameters).__name__
        raise TypeError(f"parameters must be an array of float32 or float64, got {found}")
    _flat("parameters", parameters, parameters.dtype)
    told = _flat("layout", layout, np.dtype(np.int64))
    if told.size < 6 or told.size != 2 * told[0] + 4:
        raise ValueError(f"layout has {told.size} values: that is none of fastnn.inside.layout's")
    sizes = _sizes(told)
    if min(sizes) < 1:
        raise ValueError(f"layout has sizes {sizes}: that is none of fastnn.inside.layout's")
    _writable("work", _flat("work", work, parameters.dtype))
    # By the sizes, which the kernels go by: so a layout that was changed is an error too.
    for name, array, expected in (
        ("parameters", parameters, sum(n * (m + 1) for m, n in pairwise(sizes))),
        ("work", work, work_values(sizes)),
    ):
        assert isinstance(array, np.ndarray)
        if array.size < expected or (name == "parameters" and array.size != expected):
            raise ValueError(f"{name} has {array.size} values, but the layout says {expected}")
