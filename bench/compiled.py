"""The compiled kernels as the benchmarks call them: outputs made ahead, nothing checked.

Each function lays its arrays out once and returns the call that is timed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from fastnn.backends.cpu import _panel, _stored
from fastnn.kernels.codes import ACTIVATIONS, LOSSES
from fastnn.kernels.cpu import activations, linear, losses, optimizers

Array = NDArray[Any]
Call = Callable[[], Any]


def activation_forward(A: Array, Z: Array, activation: str) -> Call:
    code = ACTIVATIONS.index(activation)
    return lambda: (activations.activation_forward(A, Z, code, False), A)[1]


def activation_derivative(D: Array, Z: Array, activation: str) -> Call:
    code = ACTIVATIONS.index(activation)
    return lambda: (activations.activation_derivative(D, Z, code, False), D)[1]


def activation_backward(dZ: Array, dA: Array, Z: Array, activation: str) -> Call:
    code = ACTIVATIONS.index(activation)
    return lambda: (activations.activation_backward(dZ, dA, Z, code, False), dZ)[1]


def linear_forward(Z: Array, A_prev: Array, W: Array, b: Array) -> Call:
    stored, rows = _stored(A_prev)
    bias, m, panel = b.ravel(), Z.shape[1], _panel(Z.dtype)
    return lambda: (linear.linear_forward(Z, stored, rows, W, bias, 0, m, panel), Z)[1]


def layer_forward(A: Array, Z: Array, A_prev: Array, W: Array, b: Array, activation: str) -> Call:
    stored, rows = _stored(A_prev)
    bias, m, panel, code = b.ravel(), Z.shape[1], _panel(Z.dtype), ACTIVATIONS.index(activation)

    def call() -> tuple[Array, Array]:
        linear.layer_forward(A, Z, stored, rows, W, bias, code, 0, m, panel)
        return A, Z

    return call


def hidden_gradient(dZ: Array, W_next: Array, dZ_next: Array, Z: Array, activation: str) -> Call:
    stored, rows = _stored(dZ_next)
    m, panel, code = Z.shape[1], _panel(Z.dtype), ACTIVATIONS.index(activation)

    def call() -> Array:
        linear.hidden_gradient(dZ, W_next, stored, rows, Z, code, 0, m, panel)
        return dZ

    return call


def weight_gradient(dW: Array, dZ: Array, A_prev: Array) -> Call:
    (dz, dz_rows), (stored, rows) = _stored(dZ), _stored(A_prev)
    units, inputs, panel = (0, dW.shape[0]), (0, dW.shape[1]), _panel(dW.dtype)

    def call() -> Array:
        linear.weight_gradient(dW, dz, dz_rows, stored, rows, units, inputs, panel)
        return dW

    return call


def bias_gradient(db: Array, dZ: Array) -> Call:
    dz, rows = _stored(dZ)
    flat = db.reshape(-1)
    return lambda: (linear.bias_gradient(flat, dz, rows), db)[1]


def input_gradient(dA_prev: Array, W: Array, dZ: Array) -> Call:
    dz, rows = _stored(dZ)
    m, panel = dZ.shape[1], _panel(W.dtype)
    return lambda: (linear.input_gradient(dA_prev, W, dz, rows, 0, m, panel), dA_prev)[1]


def cost(A: Array, Y: Array, loss: str) -> Call:
    code, m = LOSSES.index(loss), A.shape[1]
    return lambda: losses.cost(A, Y, code) / m


def output_gradient(dZ: Array, A: Array, Y: Array) -> Call:
    return lambda: (losses.output_gradient(dZ, A, Y), dZ)[1]


def gradient_step(parameters: Array, gradient: Array, learning_rate: float) -> Call:
    return lambda: optimizers.gradient_step(parameters, gradient, learning_rate)
