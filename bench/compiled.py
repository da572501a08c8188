"""The compiled kernels as the benchmarks call them: outputs made ahead, nothing checked.

Each function lays its arrays out once and returns the call that is timed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.backends.cpu import _panel, _scratch, _stored
from fastnn.kernels.codes import ACTIVATIONS, LOSSES
from fastnn.kernels.cpu import activations, linear, losses, optimizers

Array = NDArray[Any]
Call = Callable[[], Any]


def activation_forward(A: Array, Z: Array, activation: str) -> Call:
    code, scratch = ACTIVATIONS.index(activation), _scratch(Z.dtype)
    return lambda: (activations.activation_forward(A, Z, code, False, scratch), A)[1]


def activation_derivative(D: Array, Z: Array, activation: str) -> Call:
    code, scratch = ACTIVATIONS.index(activation), _scratch(Z.dtype)
    return lambda: (activations.activation_derivative(D, Z, code, False, scratch), D)[1]


def activation_backward(dZ: Array, dA: Array, Z: Array, activation: str) -> Call:
    code, scratch = ACTIVATIONS.index(activation), _scratch(Z.dtype)
    return lambda: (activations.activation_backward(dZ, dA, Z, code, False, scratch), dZ)[1]


def linear_forward(Z: Array, A_prev: Array, W: Array, b: Array) -> Call:
    stored, rows = _stored(A_prev)
    bias, m, panel = b.ravel(), Z.shape[1], _panel(Z.dtype)
    return lambda: (linear.linear_forward(Z, stored, rows, W, bias, 0, m, panel), Z)[1]


def layer_forward(A: Array, Z: Array, A_prev: Array, W: Array, b: Array, activation: str) -> Call:
    stored, rows = _stored(A_prev)
    bias, m, code = b.ravel(), Z.shape[1], ACTIVATIONS.index(activation)
    panel, scratch = _panel(Z.dtype), _scratch(Z.dtype)

    def call() -> tuple[Array, Array]:
        linear.layer_forward(A, Z, stored, rows, W, bias, code, 0, m, panel, scratch)
        return A, Z

    return call


def hidden_gradient(dZ: Array, W_next: Array, dZ_next: Array, Z: Array, activation: str) -> Call:
    stored, rows = _stored(dZ_next)
    m, code = Z.shape[1], ACTIVATIONS.index(activation)
    panel, scratch, none = _panel(Z.dtype), _scratch(Z.dtype), Z[:0].ravel()

    def call() -> Array:
        linear.hidden_gradient(dZ, W_next, stored, rows, Z, code, 0, m, panel, scratch, none)
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
    flat, total = db.reshape(-1), np.empty(len(db))
    return lambda: (linear.bias_gradient(flat, dz, rows, total), db)[1]


def input_gradient(dA_prev: Array, W: Array, dZ: Array) -> Call:
    dz, rows = _stored(dZ)
    m, panel = dZ.shape[1], _panel(W.dtype)
    return lambda: (linear.input_gradient(dA_prev, W, dz, rows, 0, m, panel), dA_prev)[1]


def cost(A: Array, Y: Array, loss: str) -> Call:
    code, m, scratch = LOSSES.index(loss), A.shape[1], _scratch(A.dtype)
    return lambda: losses.cost(A, Y, code, 1.0, scratch) / m


def output_gradient(dZ: Array, A: Array, Y: Array) -> Call:
    return lambda: (losses.output_gradient(dZ, A, Y), dZ)[1]


def gradient_step(parameters: Array, gradient: Array, learning_rate: float) -> Call:
    return lambda: optimizers.gradient_step(parameters, gradient, learning_rate)
