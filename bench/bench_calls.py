"""The public functions, checks of arguments included, with all threads on both sides.

What a caller waits for: on small arrays the checks weigh most, on large ones NumPy's OpenBLAS
has a second thread that is already awake.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastnn.functional as F
import numpy_lines as lines
from conftest import ENTRANTS
from gpu_timing import there

SHAPES = [(8, 8, 8), (32, 64, 256), (64, 64, 4096), (512, 512, 1024)]

every_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
every_entrant = pytest.mark.parametrize("entrant", ENTRANTS)


@every_entrant
@every_shape
@pytest.mark.parametrize(
    "name", ["activation_forward", "linear_forward", "hidden_gradient", "weight_gradient"]
)
def bench_call(race: Callable, name: str, shape: Any, entrant: str) -> None:
    n_in, n_out, m = shape
    random = np.random.default_rng(0)
    A, W, b, Z, dZ = (
        random.normal(size=size).astype(np.float32)
        for size in ((n_in, m), (n_out, n_in), (n_out, 1), (n_in, m), (n_out, m))
    )
    out = np.full((n_out, m), np.float32(0.5))
    a, w, bias, z, dz, target = there(A, W, b, Z, dZ, out)
    ours, theirs = {
        "activation_forward": (
            lambda: F.activation_forward(dz, "sigmoid"),
            lambda: lines.sigmoid(dZ),
        ),
        "linear_forward": (
            lambda: F.linear_forward(a, w, bias, target),
            lambda: lines.linear_forward(A, W, b, out),
        ),
        "hidden_gradient": (
            lambda: F.hidden_gradient(w, dz, z, "relu"),
            lambda: lines.hidden_gradient(W, dZ, Z, "relu"),
        ),
        "weight_gradient": (
            lambda: F.weight_gradient(dz, a),
            lambda: lines.weight_gradient(dZ, A),
        ),
    }[name]
    race(
        f"call of {name}",
        f"{n_in} to {n_out}, m = {m}",
        np.float32,
        entrant,
        numpy=theirs,
        fastnn=ours,
        all_threads=True,
    )
