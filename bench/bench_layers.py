"""One layer, forward and backward: 2 n_out n_in m operations for each product."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import compiled as K
import numpy_lines as lines
from conftest import ENTRANTS

# n_in, n_out, m
SHAPES = [
    (32, 64, 256),
    (64, 64, 4096),
    (64, 10, 1024),
    (784, 128, 256),
    (32, 1, 65536),
    (512, 512, 1024),
]
DTYPES = [np.float32, np.float64]


class Layer(NamedTuple):
    A_prev: np.ndarray
    W: np.ndarray
    b: np.ndarray
    Z: np.ndarray
    dZ: np.ndarray
    operations: float
    name: str


def _layer(shape: tuple[int, int, int], dtype: Any, order: str = "C") -> Layer:
    n_in, n_out, m = shape
    random = np.random.default_rng(0)

    def normal(*size: int) -> np.ndarray:
        return random.normal(size=size).astype(dtype)

    A_prev = np.asarray(normal(n_in, m), order=order)
    rows = "" if order == "C" else ", rows"
    return Layer(
        A_prev,
        normal(n_out, n_in),
        normal(n_out, 1),
        normal(n_in, m),
        normal(n_out, m),
        2.0 * n_out * n_in * m,
        f"{n_in} to {n_out}, m = {m}{rows}",
    )


every_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
every_order = pytest.mark.parametrize("order", ["C", "F"])
every_entrant = pytest.mark.parametrize("entrant", ENTRANTS)


@every_entrant
@every_order
@every_dtype
@every_shape
def bench_linear_forward(race: Callable, shape: Any, dtype: Any, order: str, entrant: str) -> None:
    x = _layer(shape, dtype, order)
    Z = np.empty_like(x.dZ)
    race(
        "linear_forward",
        x.name,
        dtype,
        entrant,
        numpy=lambda: lines.linear_forward(x.A_prev, x.W, x.b, Z),
        fastnn=K.linear_forward(np.full_like(Z, 0.5), x.A_prev, x.W, x.b),
        operations=x.operations,
    )


@every_entrant
@every_shape
def bench_layer_forward(race: Callable, shape: Any, entrant: str) -> None:
    x = _layer(shape, np.float32)
    race(
        "layer_forward tanh",
        x.name,
        np.float32,
        entrant,
        numpy=lambda: lines.layer_forward(x.A_prev, x.W, x.b, "tanh"),
        fastnn=K.layer_forward(
            np.full_like(x.dZ, 0.5), np.full_like(x.dZ, 0.5), x.A_prev, x.W, x.b, "tanh"
        ),
        operations=x.operations,
    )


@every_entrant
@every_dtype
@every_shape
def bench_hidden_gradient(race: Callable, shape: Any, dtype: Any, entrant: str) -> None:
    x = _layer(shape, dtype)
    race(
        "hidden_gradient relu",
        x.name,
        dtype,
        entrant,
        numpy=lambda: lines.hidden_gradient(x.W, x.dZ, x.Z, "relu"),
        fastnn=K.hidden_gradient(np.full_like(x.Z, 0.5), x.W, x.dZ, x.Z, "relu"),
        operations=x.operations,
    )


@every_entrant
@every_order
@every_dtype
@every_shape
def bench_weight_gradient(race: Callable, shape: Any, dtype: Any, order: str, entrant: str) -> None:
    x = _layer(shape, dtype, order)
    race(
        "weight_gradient",
        x.name,
        dtype,
        entrant,
        numpy=lambda: lines.weight_gradient(x.dZ, x.A_prev),
        fastnn=K.weight_gradient(np.full_like(x.W, 0.5), x.dZ, x.A_prev),
        operations=x.operations,
    )


@every_entrant
@every_dtype
@every_shape
def bench_input_gradient(race: Callable, shape: Any, dtype: Any, entrant: str) -> None:
    x = _layer(shape, dtype)
    dA_prev = np.full_like(x.Z, 0.5)
    race(
        "input_gradient",
        x.name,
        dtype,
        entrant,
        numpy=lambda: np.matmul(x.W.T, x.dZ, out=dA_prev),
        fastnn=K.input_gradient(np.full_like(x.Z, 0.5), x.W, x.dZ),
        operations=x.operations,
    )


@every_entrant
@every_order
@every_dtype
@every_shape
def bench_bias_gradient(race: Callable, shape: Any, dtype: Any, order: str, entrant: str) -> None:
    x = _layer(shape, dtype)
    dZ = np.asarray(x.dZ, order=order)
    race(
        "bias_gradient",
        x.name if order == "C" else f"{x.name}, rows",
        dtype,
        entrant,
        numpy=lambda: lines.bias_gradient(dZ),
        fastnn=K.bias_gradient(np.full_like(x.b, 0.5), dZ),
        traffic=dZ.nbytes,
    )
