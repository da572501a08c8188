"""The NumPy line that each kernel replaces: what one would write without fastnn.

In the arrays' own type, and into ``out`` where that is one natural line. NumPy has no erf: its
gelu calls the standard library's value by value, as one would without SciPy.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_erf = np.vectorize(math.erf, otypes=[np.float64])


def sigmoid(Z: Array) -> Array:
    return 1 / (1 + np.exp(-Z))


def softmax(Z: Array) -> Array:
    e = np.exp(Z - Z.max(axis=0))
    return e / e.sum(axis=0)


def gelu(Z: Array) -> Array:
    return (Z * (0.5 * (1 + _erf(Z / math.sqrt(2))))).astype(Z.dtype)


def _gelu_derivative(Z: Array) -> Array:
    cdf = 0.5 * (1 + _erf(Z / math.sqrt(2)))
    return (cdf + Z * np.exp(-Z * Z / 2) / math.sqrt(2 * math.pi)).astype(Z.dtype)


def _silu_derivative(Z: Array) -> Array:
    s = sigmoid(Z)
    return s * (1 + Z * (1 - s))


def _softmax_derivative(Z: Array) -> Array:
    A = softmax(Z)
    return A * (1 - A)


FORWARD = {
    "identity": lambda Z: Z.copy(),
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "relu": lambda Z: np.maximum(Z, 0),
    "leaky_relu": lambda Z: np.maximum(Z.dtype.type(0.01) * Z, Z),
    "softmax": softmax,
    "elu": lambda Z: np.where(Z >= 0, Z, np.expm1(np.minimum(Z, 0))),
    "gelu": gelu,
    "silu": lambda Z: Z * sigmoid(Z),
    "softplus": lambda Z: np.logaddexp(Z.dtype.type(0), Z),
    "exp": np.exp,
}

# Those that are one NumPy function take the array to write to.
_INTO = {
    "identity": lambda Z, out: np.copyto(out, Z),
    "tanh": lambda Z, out: np.tanh(Z, out=out),
    "relu": lambda Z, out: np.maximum(Z, 0, out=out),
    "softplus": lambda Z, out: np.logaddexp(Z.dtype.type(0), Z, out=out),
    "exp": lambda Z, out: np.exp(Z, out=out),
}


def forward_into(out: Array, Z: Array, activation: str) -> Any:
    """Return the call that computes A, into ``out`` where that is one natural line."""
    if activation in _INTO:
        return lambda: (_INTO[activation](Z, out), out)[1]
    return lambda: FORWARD[activation](Z)


DERIVATIVE = {
    "identity": np.ones_like,
    "sigmoid": lambda Z: (s := sigmoid(Z)) * (1 - s),
    "tanh": lambda Z: 1 - np.tanh(Z) ** 2,
    "relu": lambda Z: (Z >= 0).astype(Z.dtype),
    "leaky_relu": lambda Z: np.where(Z >= 0, Z.dtype.type(1), Z.dtype.type(0.01)),
    "softmax": _softmax_derivative,
    "elu": lambda Z: np.where(Z >= 0, Z.dtype.type(1), np.exp(np.minimum(Z, 0))),
    "gelu": _gelu_derivative,
    "silu": _silu_derivative,
    "softplus": sigmoid,
    "exp": np.exp,
}


def activation_backward(dA: Array, Z: Array, activation: str) -> Array:
    if activation == "softmax":
        A = softmax(Z)
        return A * (dA - (dA * A).sum(axis=0))
    return dA * DERIVATIVE[activation](Z)


def linear_forward(A_prev: Array, W: Array, b: Array, out: Array) -> Array:
    np.matmul(W, A_prev, out=out)
    out += b
    return out


def layer_forward(A_prev: Array, W: Array, b: Array, activation: str) -> tuple[Array, Array]:
    Z = W @ A_prev + b
    return FORWARD[activation](Z), Z


def hidden_gradient(W_next: Array, dZ_next: Array, Z: Array, activation: str) -> Array:
    return (W_next.T @ dZ_next) * DERIVATIVE[activation](Z)


def weight_gradient(dZ: Array, A_prev: Array) -> Array:
    return dZ @ A_prev.T / dZ.dtype.type(dZ.shape[1])


def bias_gradient(dZ: Array) -> Array:
    return dZ.sum(axis=1, keepdims=True) / dZ.dtype.type(dZ.shape[1])


def linear_backward(dZ: Array, A_prev: Array, W: Array) -> tuple[Array, Array, Array]:
    return W.T @ dZ, weight_gradient(dZ, A_prev), bias_gradient(dZ)


def cost(A: Array, Y: Array, loss: str) -> float:
    m = A.shape[1]
    if loss == "binary_cross_entropy":
        return float(-(Y * np.log(A) + (1 - Y) * np.log(1 - A)).sum() / m)
    if loss == "cross_entropy":
        return float(-(Y * np.log(A)).sum() / m)
    if loss == "absolute_error":
        return float(np.abs(A - Y).sum() / m)
    if loss == "huber":
        R = np.abs(A - Y)
        return float(np.where(R <= 1, R * R / 2, R - 0.5).sum() / m)
    if loss == "poisson":
        return float((A - Y + Y * np.log(np.where(Y > 0, Y, 1) / A)).sum() / m)
    return float(((A - Y) ** 2).sum() / (2 * m))


def gradient_step(parameters: Array, gradient: Array, learning_rate: float) -> None:
    parameters -= parameters.dtype.type(learning_rate) * gradient
