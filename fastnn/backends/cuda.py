"""A GPU as a device: sends what stands on the host, lays arrays out as the kernels read them.

Arrays of the host are sent over and results brought back. Arrays that are on the GPU are used in
place, and the functions return when the work has been put on their stream.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.codes import ACTIVATIONS, LOSSES
from ..kernels.cuda import activations, driver, layout, linear, losses, optimizers
from ..kernels.cuda.driver import Place
from ..residence import DeviceArray
from . import cuda_populations as populations
from .cuda_calls import AnyArray, Call, pair
from .cuda_networks import costs, network_cost, network_forward, predictor
from .cuda_training import trainer

Array = NDArray[Any]


def _as_matrix(A: AnyArray) -> AnyArray:
    """Return an array of any number of dimensions as (1, n)."""
    if isinstance(A, np.ndarray):
        return A.reshape(1, -1)
    size = A.dtype.itemsize
    if A.ndim == 1:
        return A.with_shape((1, *A.shape), (size * A.size, *A.strides))
    if not A.flags.c_contiguous:
        raise ValueError(
            f"an array on a GPU of {A.ndim} dimensions must be in C order; its shape is {A.shape},"
            f" its strides are {A.strides} bytes"
        )
    return A.with_shape((1, A.size), (size * A.size, size))


def _elementwise(out: AnyArray, inputs: tuple[AnyArray, ...], run: Callable[..., None]) -> None:
    """Let ``run(call, out, *inputs, n, m, rows)`` fill ``out`` from inputs of one memory order."""
    if out.ndim != 2:
        if isinstance(out, np.ndarray) and not out.flags.c_contiguous:
            copy = np.empty(out.shape, out.dtype)
            _elementwise(copy, inputs, run)
            out[...] = copy
            return
        out, inputs = _as_matrix(out), tuple(_as_matrix(A) for A in inputs)
    with Call(out, *inputs) as call:
        first, rows = call.stored(inputs[0])
        rest = [call.row_major(A.T if rows else A) for A in inputs[1:]]
        target = call.target(out, inputs, rows, same=True)
        run(call.stream, target, first, *rest, *out.shape, rows)


def linear_forward(Z: AnyArray, A_prev: AnyArray, W: AnyArray, b: AnyArray) -> None:
    with Call(Z, A_prev, W, b) as call:
        source, rows = call.stored(A_prev)
        w, bias = call.row_major(W), call.row_major(b)
        target = call.target(Z, (A_prev, W, b))
        n_out, n_in = pair(W.shape)
        linear.linear_forward(call.stream, target, source, rows, w, bias, n_out, n_in, Z.shape[1])


def activation_forward(A: AnyArray, Z: AnyArray, activation: str) -> None:
    code = ACTIVATIONS.index(activation)

    def run(stream: Any, A: Place, Z: Place, n: int, m: int, rows: bool) -> None:
        activations.activation_forward(stream, A, Z, code, n, m, rows)

    _elementwise(A, (Z,), run)


def layer_forward(
    A: AnyArray, Z: AnyArray, A_prev: AnyArray, W: AnyArray, b: AnyArray, activation: str
) -> None:
    code = ACTIVATIONS.index(activation)
    with Call(A, Z, A_prev, W, b) as call:
        source, rows = call.stored(A_prev)
        w, bias = call.row_major(W), call.row_major(b)
        a, z = call.target(A, (A_prev, W, b)), call.target(Z, (A_prev, W, b))
        n_out, n_in = pair(W.shape)
        linear.layer_forward(
            call.stream, a, z, source, rows, w, bias, code, n_out, n_in, Z.shape[1]
        )


def activation_derivative(D: AnyArray, Z: AnyArray, activation: str) -> None:
    code = ACTIVATIONS.index(activation)

    def run(stream: Any, D: Place, Z: Place, n: int, m: int, rows: bool) -> None:
        activations.activation_derivative(stream, D, Z, code, n, m, rows)

    _elementwise(D, (Z,), run)


def activation_backward(dZ: AnyArray, dA: AnyArray, Z: AnyArray, activation: str) -> None:
    code = ACTIVATIONS.index(activation)

    def run(stream: Any, dZ: Place, dA: Place, Z: Place, n: int, m: int, rows: bool) -> None:
        activations.activation_backward(stream, dZ, dA, Z, code, n, m, rows)

    _elementwise(dZ, (dA, Z), run)


def output_gradient(dZ: AnyArray, A: AnyArray, Y: AnyArray) -> None:
    def run(stream: Any, dZ: Place, A: Place, Y: Place, n: int, m: int, rows: bool) -> None:
        losses.output_gradient(stream, dZ, A, Y, n * m)

    _elementwise(dZ, (A, Y), run)


def hidden_gradient(
    dZ: AnyArray, W_next: AnyArray, dZ_next: AnyArray, Z: AnyArray, activation: str
) -> None:
    code = ACTIVATIONS.index(activation)
    with Call(dZ, W_next, dZ_next, Z) as call:
        source, rows = call.stored(dZ_next)
        w, z = call.row_major(W_next), call.row_major(Z)
        target = call.target(dZ, (W_next, dZ_next, Z))
        sizes = (*pair(W_next.shape), Z.shape[1])
        linear.hidden_gradient(call.stream, target, w, source, rows, z, code, *sizes)


def weight_gradient(dW: AnyArray, dZ: AnyArray, A_prev: AnyArray) -> None:
    with Call(dW, dZ, A_prev) as call:
        dz, dz_rows = call.stored(dZ)
        source, rows = call.stored(A_prev)
        target = call.target(dW, (dZ, A_prev))
        sizes = (*pair(dW.shape), dZ.shape[1])
        linear.weight_gradient(call.stream, target, dz, dz_rows, source, rows, *sizes)


def bias_gradient(db: AnyArray, dZ: AnyArray) -> None:
    with Call(db, dZ) as call:
        dz, rows = call.stored(dZ)
        target = call.target(db, (dZ,))
        linear.bias_gradient(call.stream, target, dz, rows, *pair(dZ.shape))


def linear_backward(
    dA_prev: AnyArray, dW: AnyArray, db: AnyArray, dZ: AnyArray, A_prev: AnyArray, W: AnyArray
) -> None:
    with Call(dA_prev, dW, db, dZ, A_prev, W) as call:
        dz, dz_rows = call.stored(dZ)
        source, rows = call.stored(A_prev)
        w = call.row_major(W)
        d_input = call.target(dA_prev, (dZ, A_prev, W))
        d_weights, d_bias = call.target(dW, (dZ, A_prev, W)), call.target(db, (dZ, A_prev, W))
        n_out, n_in = pair(W.shape)
        m = dZ.shape[1]
        linear.input_gradient(call.stream, d_input, w, dz, dz_rows, n_out, n_in, m)
        linear.weight_gradient(call.stream, d_weights, dz, dz_rows, source, rows, n_out, n_in, m)
        linear.bias_gradient(call.stream, d_bias, dz, dz_rows, n_out, m)


def cost(A: AnyArray, Y: AnyArray, loss: str, delta: float) -> float:
    with Call(A, Y) as call:
        a, rows = call.stored(A)
        y = call.row_major(Y.T if rows else Y)
        J = driver.empty(1, np.float64, call.stream)
        losses.cost(call.stream, J, a, y, LOSSES.index(loss), delta, *pair(A.shape))
        found = J.copy_to_host(stream=call.stream)
        driver.wait_for(call.stream)
        return float(found[0])


def gradient_step(parameters: AnyArray, gradient: AnyArray, learning_rate: float) -> None:
    def run(stream: Any, out: Place, w: Place, g: Place, n: int, m: int, rows: bool) -> None:
        if (driver.address(out.values), out.place) != (driver.address(w.values), w.place):
            layout.relayout(stream, out, (n * m, 1), w, (n * m, 1), (1, n * m))
        optimizers.gradient_step(stream, out, g, learning_rate, n * m)

    _elementwise(parameters, (parameters, gradient), run)


def copy_to_host(A: DeviceArray) -> Array:
    """Return a copy, on the host, of an array of any type that is on a GPU."""
    with driver.gpu(A.device):
        stream = driver.stream_of(A.stream)
        low, high = A.reach()
        size = A.dtype.itemsize
        memory = driver.flat_memory(low, (high - low) // size, A.dtype, A.owner)
        found = memory.copy_to_host(stream=stream)
        driver.wait_for(stream)
        first = found[(A.address - low) // size :]
        return np.lib.stride_tricks.as_strided(first, A.shape, A.strides).copy()


# ------------------------------------------------------------------ one of several GPUs

_FUNCTIONS = (
    linear_forward,
    activation_forward,
    layer_forward,
    activation_derivative,
    activation_backward,
    output_gradient,
    hidden_gradient,
    weight_gradient,
    bias_gradient,
    linear_backward,
    cost,
    gradient_step,
    network_forward,
    predictor,
    network_cost,
    costs,
    trainer,
)


@cache
def on(index: int) -> Any:
    """Return the functions that compute on that GPU."""

    def there(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def run(*arguments: Any) -> Any:
            with driver.gpu(index):
                found = function(*arguments)
            # What a function returns to be called, computes there as well.
            return there(found) if callable(found) else found

        return run

    many = SimpleNamespace(takes=populations.takes, fit_many=there(populations.fit_many))
    functions = {function.__name__: there(function) for function in _FUNCTIONS}
    return SimpleNamespace(**functions, populations=many)
