"""The reference formulas as a device: to debug, and to see what the compiled code buys."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..description import Description
from ..kernels import reference
from ..kernels.codes import OPTIMIZERS
from ..kernels.structures import Progress, Rule
from ..preprocessing import one_hot

Array = NDArray[Any]


def linear_forward(Z: Array, A_prev: Array, W: Array, b: Array) -> None:
    Z[...] = reference.linear_forward(A_prev, W, b)


def activation_forward(A: Array, Z: Array, activation: str) -> None:
    A[...] = reference.activation_forward(Z, activation)


def layer_forward(A: Array, Z: Array, A_prev: Array, W: Array, b: Array, activation: str) -> None:
    A[...], Z[...] = reference.layer_forward(A_prev, W, b, activation)


def activation_derivative(D: Array, Z: Array, activation: str) -> None:
    D[...] = reference.activation_derivative(Z, activation)


def activation_backward(dZ: Array, dA: Array, Z: Array, activation: str) -> None:
    dZ[...] = reference.activation_backward(dA, Z, activation)


def output_gradient(dZ: Array, A: Array, Y: Array) -> None:
    dZ[...] = reference.output_gradient(A, Y)


def hidden_gradient(dZ: Array, W_next: Array, dZ_next: Array, Z: Array, activation: str) -> None:
    dZ[...] = reference.hidden_gradient(W_next, dZ_next, Z, activation)


def weight_gradient(dW: Array, dZ: Array, A_prev: Array) -> None:
    dW[...] = reference.weight_gradient(dZ, A_prev)


def bias_gradient(db: Array, dZ: Array) -> None:
    db[...] = reference.bias_gradient(dZ)


def linear_backward(
    dA_prev: Array, dW: Array, db: Array, dZ: Array, A_prev: Array, W: Array
) -> None:
    dA_prev[...], dW[...], db[...] = reference.linear_backward(dZ, A_prev, W)


def cost(A: Array, Y: Array, loss: str, delta: float) -> float:
    return reference.cost(A, Y, loss, delta)


def gradient_step(parameters: Array, gradient: Array, learning_rate: float) -> None:
    reference.gradient_step(parameters, gradient, learning_rate)


def network_forward(out: Array, parameters: Array, network: Description, X: Array) -> None:
    out[...] = reference.network_forward(parameters, network.sizes, network.activations, X)


def predictor(parameters: Array, network: Description) -> Callable[..., Array]:
    """Return the function that answers for one example, a vector."""

    def predict(x: Array, out: Array | None = None) -> Array:
        out = np.empty(network.sizes[-1], parameters.dtype) if out is None else out
        network_forward(out[:, None], parameters, network, x[:, None])
        return out

    return predict


def network_cost(
    parameters: Array,
    network: Description,
    X: Array,
    Y: Array,
    sample_weight: Array | None,
    l1: float,
    l2: float,
    gradient: Array | None = None,
) -> float:
    """Return J, and put its derivatives into ``gradient`` where one is given."""
    about: tuple[Any, ...] = parameters, network.sizes, network.activations, network.loss
    about += X, _dense(Y, network), sample_weight, l1, l2
    if gradient is None:
        return reference.network_cost(*about, delta=network.delta)
    J, gradient[...] = reference.network_gradient(*about, delta=network.delta)
    return J


def costs(
    parameters: Array, network: Description, X: Array, Y: Array, sample_weight: Array | None
) -> Callable[[], float]:
    """Return the function that returns J without penalties, for this thread to call often."""
    return partial(network_cost, parameters, network, X, Y, sample_weight, 0.0, 0.0)


def trainer(
    parameters: Array,
    network: Description,
    X: Array,
    Y: Array,
    sample_weight: Array | None,
    batch_size: int,
    rule: Rule,
    keep: tuple[int, ...],
    progress: Progress,
    threads: int | None = None,
    dtype: Any = np.float64,
) -> Any:
    """Return the function that takes that many steps of training; on one thread, in ``dtype``.

    With dropout, ``keep`` of 2^32 draws keep a unit of each hidden layer.
    """
    dense = _dense(Y, network)

    def advance(steps: int) -> None:
        reference.train(
            parameters,
            network.sizes,
            network.activations,
            network.loss,
            X,
            dense,
            sample_weight,
            batch_size,
            OPTIMIZERS[rule.kind],
            rule,
            progress,
            steps,
            delta=network.delta,
            keep=keep,
            dtype=dtype,
        )

    return advance


def _dense(Y: Array, network: Description) -> Array:
    return one_hot(Y, network.sizes[-1]) if Y.ndim == 1 else Y
