"""The functions on a GPU as the benchmarks call them, by the names of ``compiled.py``.

Each copies its arrays to the GPU once, and returns the call that is timed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastnn.functional as F
from fastnn import residence
from fastnn.backends.cuda import on
from fastnn.kernels.cuda import linear
from fastnn.kernels.cuda.driver import Place
from gpu_timing import there

Array = NDArray[Any]
Call = Callable[[], Any]


def activation_forward(A: Array, Z: Array, activation: str) -> Call:
    a, z = there(A, Z)
    return lambda: F.activation_forward(z, activation, out=a)


def activation_derivative(D: Array, Z: Array, activation: str) -> Call:
    d, z = there(D, Z)
    return lambda: F.activation_derivative(z, activation, out=d)


def activation_backward(dZ: Array, dA: Array, Z: Array, activation: str) -> Call:
    dz, da, z = there(dZ, dA, Z)
    return lambda: F.activation_backward(da, z, activation, out=dz)


def linear_forward(Z: Array, A_prev: Array, W: Array, b: Array) -> Call:
    z, a, w, bias = there(Z, A_prev, W, b)
    return lambda: F.linear_forward(a, w, bias, out=z)


def layer_forward(A: Array, Z: Array, A_prev: Array, W: Array, b: Array, activation: str) -> Call:
    a, w, bias = there(A_prev, W, b)
    return lambda: F.layer_forward(a, w, bias, activation)


def hidden_gradient(dZ: Array, W_next: Array, dZ_next: Array, Z: Array, activation: str) -> Call:
    dz, w, dz_next, z = there(dZ, W_next, dZ_next, Z)
    return lambda: F.hidden_gradient(w, dz_next, z, activation, out=dz)


def weight_gradient(dW: Array, dZ: Array, A_prev: Array) -> Call:
    dw, dz, a = there(dW, dZ, A_prev)
    return lambda: F.weight_gradient(dz, a, out=dw)


def bias_gradient(db: Array, dZ: Array) -> Call:
    bias, dz = there(db, dZ)
    return lambda: F.bias_gradient(dz, out=bias)


def input_gradient(dA_prev: Array, W: Array, dZ: Array) -> Call:
    # No public function has it alone.
    assert dZ.flags.c_contiguous
    da, w, dz = there(dA_prev, W, dZ)
    places = [Place(array.ravel()) for array in (da, w, dz)]
    sizes = (*W.shape, dZ.shape[1])

    def call() -> Any:
        linear.input_gradient(0, *places, False, *sizes)
        return da

    return call


def cost(A: Array, Y: Array, loss: str) -> Call:
    # Past the public function, which copies the targets to the host to check them.
    a, y = (residence.view("A", array) for array in there(A, Y))
    backend = on(0)
    return lambda: backend.cost(a, y, loss, 1.0)


def output_gradient(dZ: Array, A: Array, Y: Array) -> Call:
    dz, a, y = there(dZ, A, Y)
    return lambda: F.output_gradient(a, y, out=dz)


def gradient_step(parameters: Array, gradient: Array, learning_rate: float) -> Call:
    w, g = there(np.ascontiguousarray(parameters), gradient)
    return lambda: F.gradient_step(w, g, learning_rate)
