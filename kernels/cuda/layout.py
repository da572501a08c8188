"""Copies between memory layouts, for arrays that no kernel reads as they stand."""

from __future__ import annotations

from typing import Any

from .driver import THREADS, Place, blocks_for, cuda, kernel, real_of
from .memory import store, value


@kernel("relayout", "VIIIVIIIII")
def _relayout(real):
    def function(
        out, out_place, out_row, out_column, A, place, row, column, rows, columns
    ):  # fmt: skip
        for e in range(cuda.grid(1), rows * columns, cuda.gridsize(1)):
            i, j = e // columns, e % columns
            x = value(A, place + i * row + j * column)
            store(out, out_place + i * out_row + j * out_column, x)

    return function


def relayout(
    stream: Any,
    out: Place,
    out_strides: tuple[int, int],
    A: Place,
    strides: tuple[int, int],
    shape: tuple[int, int],
) -> None:
    """out[...] = A, for matrices of any strides, which may be negative."""
    grid = blocks_for(shape[0] * shape[1], THREADS)
    real = real_of(A.values)
    _relayout.launch(grid, THREADS, stream, real, *out, *out_strides, *A, *strides, *shape)
