"""Costs, the output layer's dZ and the step of gradient descent: bytes are what counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import compiled as K
import numpy_lines as lines
from conftest import ENTRANTS
from fastnn.kernels.codes import LOSSES

SHAPES = [(1, 65536), (10, 1024), (64, 4096)]
DTYPES = [np.float32, np.float64]

every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
every_entrant = pytest.mark.parametrize("entrant", ENTRANTS)


def _outputs(shape: tuple[int, int], dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    A = random.uniform(0.01, 0.99, shape).astype(dtype)
    return A, (random.random(shape) < 0.5).astype(dtype)


@every_entrant
@every_dtype
@every_shape
@pytest.mark.parametrize("loss", LOSSES)
def bench_cost(race: Callable, loss: str, shape: Any, dtype: Any, entrant: str) -> None:
    A, Y = _outputs(shape, dtype)
    race(
        f"cost {loss}",
        f"{shape[0]} x {shape[1]}",
        dtype,
        entrant,
        numpy=lambda: lines.cost(A, Y, loss),
        fastnn=K.cost(A, Y, loss),
        traffic=A.nbytes + Y.nbytes,
    )


@every_entrant
@every_dtype
@every_shape
def bench_output_gradient(race: Callable, shape: Any, dtype: Any, entrant: str) -> None:
    A, Y = _outputs(shape, dtype)
    dZ = np.full_like(A, 0.5)
    race(
        "output_gradient",
        f"{shape[0]} x {shape[1]}",
        dtype,
        entrant,
        numpy=lambda: np.subtract(A, Y, out=dZ),
        fastnn=K.output_gradient(np.full_like(A, 0.5), A, Y),
        traffic=3 * A.nbytes,
    )


@every_entrant
@every_dtype
@pytest.mark.parametrize("size", [6_337, 100_480, 1_000_000])
def bench_gradient_step(race: Callable, size: int, dtype: Any, entrant: str) -> None:
    random = np.random.default_rng(0)
    w, g = random.normal(size=size).astype(dtype), random.normal(size=size).astype(dtype)
    g *= 1e-6  # thousands of steps are timed: the parameters should stay where they are
    race(
        "gradient_step",
        f"{size} parameters",
        dtype,
        entrant,
        numpy=lambda: lines.gradient_step(w, g, 0.1),
        fastnn=K.gradient_step(w.copy(), g, 0.1),
        traffic=3 * w.nbytes,
    )
