"""A network as one callable, whose parameters stay as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import validation as check
from ..kernels.cpu import inside as kernels
from ..network import Network
from ._arrays import aligned, layout, rounded
from ._functions import _line, _sizes, _writable

Array = NDArray[Any]

# What a call takes of the stack at most: the stacks of threads are small, on some systems 128 KiB.
_STACK_BYTES = 64 * 1024


class Frozen:
    """A network with the parameters of this moment, as a function: ``f(x, out)``.

    Made by :meth:`fastnn.Network.njit`. It can be called from Python, from ``@njit`` functions to
    which it is passed as an argument, and from those that find it as a global variable or in a
    closure. A call allocates nothing: it works on the stack, so that any number of threads may
    make them at the same time.

    Parameters
    ----------
    net : Network
        What is copied; later changes of it have no effect.
    preprocessing : bool
        Whether ``net.preprocessing`` becomes a part of the first layer: then ``x`` is what goes
        into the first Standardizer. W1' = W1 / scale and b1' = b1 - W1' mean, in float64, rounded
        once.

    Attributes
    ----------
    parameters : array, (n_parameters,)
        W1, b1, W2, ...: read-only, and known to compiled code too, for derivatives by
        :func:`fastnn.inside.linearize`.
    layout : array of int64
        As :func:`fastnn.inside.layout` gives it; likewise.

    Raises
    ------
    TypeError
        If ``net`` is no network or ``preprocessing`` no bool.
    ValueError
        If the network is so wide (n_x included) that a call would take more than 64 KiB of the
        stack: 8,192 units in float32, 4,096 in float64. Or if there is no preprocessing to take in,
        or a Standardizer of it was fitted on other features since.

    Notes
    -----
    A function that has it as an argument can be kept on disk by ``@njit(cache=True)``. One that
    has it as a global cannot: Numba says so in a warning, and compiles it anew in each process.
    So no file ever answers with parameters of another day.

    Where a feature's mean is many times its scale, float32 loses digits if ``preprocessing`` is
    taken in: mean / scale = 1,000 costs three of seven.

    Examples
    --------
    >>> import numba, numpy as np, fastnn
    >>> net = fastnn.Network([2, 4, 1], ["tanh", "identity"], dtype=np.float64)
    >>> f = net.njit()
    >>> @numba.njit
    ... def mean_output(f, X):
    ...     out, total = np.empty(1), 0.0
    ...     for i in range(X.shape[0]):
    ...         f(X[i], out)
    ...         total += out[0]
    ...     return total / X.shape[0]
    >>> rows = np.random.default_rng(0).normal(size=(1000, 2))
    >>> bool(np.isclose(mean_output(f, rows), net.forward(rows.T).mean()))
    True
    """

    def __init__(self, net: Network, preprocessing: bool = False) -> None:
        told = layout(net)
        check.boolean("preprocessing", preprocessing)
        line = rounded(max(net.sizes)) * net.dtype.itemsize
        if 2 * line > _STACK_BYTES:
            raise ValueError(
                f"the widest layer has {max(net.sizes)} units, but a call may take no more than "
                f"{_STACK_BYTES // 2 // net.dtype.itemsize} of {net.dtype} on the stack: "
                "use fastnn.inside.forward, with a workspace"
            )
        self._keep(_folded(net) if preprocessing else net.parameters, told)

    def _keep(self, parameters: Array, layout: Array) -> None:
        self._parameters = aligned(parameters.shape, parameters.dtype)
        self._parameters[...] = parameters
        self._parameters.flags.writeable = False
        self._layout = layout.copy()
        self._layout.flags.writeable = False

    # Without setters: calls do not compare the sizes of the two.
    @property
    def parameters(self) -> Array:
        """W1, b1, W2, ..., read-only."""
        return self._parameters

    @property
    def layout(self) -> Array:
        """What the layers are, as integers, read-only."""
        return self._layout

    def __getstate__(self) -> dict[str, Array]:
        return {"parameters": self._parameters, "layout": self._layout}

    def __setstate__(self, state: dict[str, Array]) -> None:
        self._keep(state["parameters"], state["layout"])

    def __repr__(self) -> str:
        return f"Frozen({_sizes(self.layout)}, dtype={self.parameters.dtype})"

    def __call__(self, x: Array, out: Array | None = None) -> Array:
        """Return the output for one example; ``out`` must be given in compiled code.

        Parameters
        ----------
        x : array, (n_x,)
            In the network's type; any strides.
        out : array, (n_y,), optional
            Where to put the result. It may be ``x``.

        Returns
        -------
        array, (n_y,)
            In compiled code nothing.

        Raises
        ------
        ValueError
            If a size does not fit: in compiled code too.
        TypeError
            If an array has the wrong type; in compiled code Numba's TypingError.
        """
        _line("x", x, self.parameters, self.layout, 0)
        if out is None:
            out = np.empty(_sizes(self.layout)[-1], self.parameters.dtype)
        else:
            _line("out", out, self.parameters, self.layout, -1)
        kernels.forward_on_stack(_writable("out", out), self.parameters, self.layout, x)
        return out


def _folded(net: Network) -> Array:
    """Return the parameters with ``net.preprocessing`` in the first layer."""
    if not net.preprocessing:
        raise ValueError("net.preprocessing is empty: there is nothing to take into the network")
    # All steps together make slope x + shift of x.
    slope, shift = np.ones((net.sizes[0], 1)), np.zeros((net.sizes[0], 1))
    for i, step in enumerate(net.preprocessing):
        # It was compared when it was set, but may have been fitted again since.
        if len(step.mean_) != net.sizes[0]:
            raise ValueError(
                f"preprocessing[{i}] was fitted on {len(step.mean_)} features, but the network has "
                f"{net.sizes[0]} inputs"
            )
        slope, shift = slope / step.scale_, (shift - step.mean_) / step.scale_
    W, b = net.W[0].astype(np.float64), net.b[0].astype(np.float64)
    n = W.size
    changed = net.parameters.copy()
    changed[:n] = (W * slope.T).ravel()
    changed[n : n + b.size] = (b + W @ shift).ravel()
    return changed
