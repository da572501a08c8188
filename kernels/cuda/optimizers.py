"""The step of gradient descent."""

from __future__ import annotations

from typing import Any

from .activations import pieces
from .driver import THREADS, Place, blocks_for, cuda, is_wide, kernel, real_of
from .memory import vector_length


@kernel("gradient_step", "VIVIIRI")
def _gradient_step(real):
    p = pieces(real)
    V, get, put = p.V, p.get, p.put

    def function(parameters, place, gradient, gradient_place, n, rate, wide):
        w, g = cuda.local.array(V, real), cuda.local.array(V, real)
        for piece in range(cuda.grid(1), (n + V - 1) // V, cuda.gridsize(1)):
            at = piece * V
            get(w, parameters, place + at, wide, n - at)
            get(g, gradient, gradient_place + at, wide, n - at)
            for i in range(V):
                w[i] -= rate * g[i]
            put(parameters, place + at, w, wide, n - at)

    return function


def gradient_step(
    stream: Any, parameters: Place, gradient: Place, learning_rate: float, n: int
) -> None:
    """Parameters := parameters - learning_rate * gradient, in place."""
    real = real_of(parameters.values)
    wide = int(is_wide(parameters) and is_wide(gradient))
    grid = blocks_for(n, THREADS * vector_length(real))
    _gradient_step.launch(
        grid, THREADS, stream, real, *parameters, *gradient, n, real(learning_rate), wide
    )
