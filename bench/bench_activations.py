"""Activations and their derivatives: one value in, one value out, so bytes are what counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import compiled as K
import numpy_lines as lines
from conftest import ENTRANTS
from fastnn.kernels.codes import ACTIVATIONS

SHAPES = [(64, 256), (128, 4096)]
DTYPES = [np.float32, np.float64]


def _values(shape: tuple[int, int], dtype: Any, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("entrant", ENTRANTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def bench_activation_forward(
    race: Callable, activation: str, shape: tuple[int, int], dtype: Any, entrant: str
) -> None:
    Z = _values(shape, dtype)
    race(
        f"activation_forward {activation}",
        f"{shape[0]} x {shape[1]}",
        dtype,
        entrant,
        numpy=lines.forward_into(np.full_like(Z, 0.5), Z, activation),
        fastnn=K.activation_forward(np.full_like(Z, 0.5), Z, activation),
        traffic=2 * Z.nbytes,
    )


@pytest.mark.parametrize("entrant", ENTRANTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def bench_activation_derivative(
    race: Callable, activation: str, shape: tuple[int, int], dtype: Any, entrant: str
) -> None:
    Z = _values(shape, dtype)
    race(
        f"activation_derivative {activation}",
        f"{shape[0]} x {shape[1]}",
        dtype,
        entrant,
        numpy=lambda: lines.DERIVATIVE[activation](Z),
        fastnn=K.activation_derivative(np.full_like(Z, 0.5), Z, activation),
        traffic=2 * Z.nbytes,
    )


@pytest.mark.parametrize("entrant", ENTRANTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def bench_activation_backward(
    race: Callable, activation: str, shape: tuple[int, int], entrant: str
) -> None:
    Z, dA = _values(shape, np.float32), _values(shape, np.float32, 1)
    race(
        f"activation_backward {activation}",
        f"{shape[0]} x {shape[1]}",
        np.float32,
        entrant,
        numpy=lambda: lines.activation_backward(dA, Z, activation),
        fastnn=K.activation_backward(np.full_like(Z, 0.5), dA, Z, activation),
        traffic=3 * Z.nbytes,
    )
