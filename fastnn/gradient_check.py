"""Gradients by central differences, to check those that backpropagation computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import validation as check
from .kernels import reference
from .network import Network
from .preprocessing import one_hot

__all__ = ["GradientCheck", "check_gradient", "numerical_gradient"]


def numerical_gradient(
    f: Callable[[NDArray[np.float64]], float], x: ArrayLike, step: float | None = None
) -> NDArray[np.float64]:
    """Return the gradient of f at x by central differences, (f(x + h e) - f(x - h e)) / 2h.

    Parameters
    ----------
    f : callable
        Takes a float64 array of x's shape, returns a number.
    x : array
        Any shape; not changed.
    step : float, optional
        h, for every coordinate; unless given, eps^(1/3) max(1, abs(x_i)), which balances the
        truncation error h^2 against the rounding error eps / h.

    Returns
    -------
    array of x's shape
        float64; its relative error is about eps^(2/3), 4e-11, for a smooth f.

    Raises
    ------
    ValueError
        If x is empty, or step is not above 0.
    TypeError
        If x is not real.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.numerical_gradient(lambda v: 3 * (v[0] + v[1] * v[2]), [5, 3, 2]).round(6)
    array([3., 6., 9.])
    """
    (found,) = check.arrays(x=x)
    # In C order, so that the flat vectors below are views.
    point = np.array(found, np.float64, order="C")
    if step is not None:
        step = check.number("step", step, low_open=True)
    gradient = np.empty_like(point)
    flat, out = point.reshape(-1), gradient.reshape(-1)
    for i, value in enumerate(flat.copy()):
        h = step if step is not None else np.finfo(np.float64).eps ** (1 / 3) * max(1, abs(value))
        flat[i] = value + h
        high = float(f(point))
        above = flat[i]
        flat[i] = value - h
        low = float(f(point))
        # Divide by the step that was taken: value + h is rounded.
        out[i] = (high - low) / (above - flat[i])
        flat[i] = value
    return gradient


@dataclass(frozen=True)
class GradientCheck:
    """The outcome of :func:`check_gradient`; true where the gradient passed.

    Attributes
    ----------
    relative_error : float
        norm(gradient - numerical) / (norm(gradient) + norm(numerical)).
    tolerance : float
        What it was held against.
    gradient, numerical : array, (n_parameters,)
        Both gradients.
    """

    relative_error: float
    tolerance: float
    gradient: NDArray[Any]
    numerical: NDArray[np.float64]

    def __bool__(self) -> bool:
        return self.relative_error <= self.tolerance


def check_gradient(
    net: Network,
    X: ArrayLike,
    Y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    l1: float = 0.0,
    l2: float = 0.0,
    tolerance: float | None = None,
) -> GradientCheck:
    """Compare a network's gradient with central differences of the reference's cost.

    Parameters
    ----------
    net : Network
        It is not changed; its device computes the gradient.
    X, Y, sample_weight, l1, l2
        As for :meth:`Network.gradient`. Few examples do: the cost is computed twice for each
        parameter.
    tolerance : float, optional
        For the relative error: 1e-4 in float32 and 1e-7 in float64 unless given.

    Returns
    -------
    GradientCheck
        True if the relative error is within the tolerance.

    Raises
    ------
    ValueError, TypeError
        As :meth:`Network.gradient`; or if tolerance is not a number of at least 0.

    Notes
    -----
    The differences are taken in float64, of the reference formulas, so that their own error does
    not hide that of a float32 gradient. At a kink, such as ReLU's where z = 0 exactly, the two
    rightly differ.

    Examples
    --------
    >>> import fastnn
    >>> X, y = fastnn.datasets.planar_flower(30)
    >>> net = fastnn.Network([2, 4, 1], ["tanh", "sigmoid"])
    >>> bool(fastnn.check_gradient(net, X, y))
    True
    """
    if tolerance is None:
        tolerance = 1e-4 if net.dtype == np.float32 else 1e-7
    tolerance = check.number("tolerance", tolerance)
    _, gradient = net.gradient(X, Y, sample_weight, l1, l2)
    examples, targets, weights = net._checked(X, Y, sample_weight)
    if targets.ndim == 1:
        targets = one_hot(targets, net.sizes[-1], dtype=np.float64)

    def cost(parameters: NDArray[np.float64]) -> float:
        layers = net.sizes, net.activations, net.loss
        return reference.network_cost(parameters, *layers, examples, targets, weights, l1, l2)

    numerical = numerical_gradient(cost, net.parameters)
    # In float64: the squares of a float32 gradient may overflow. NaN stays NaN, and fails.
    norms = float(np.linalg.norm(gradient.astype(np.float64)) + np.linalg.norm(numerical))
    error = float(np.linalg.norm(gradient - numerical)) / norms if norms != 0 else 0.0
    return GradientCheck(error, tolerance, gradient, numerical)
