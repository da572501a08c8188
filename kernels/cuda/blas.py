"""Large products by cuBLAS, through CuPy, where that is installed."""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache
from typing import Any

import numpy as np

from .driver import Place, address, handle_of
from .structures import Matrix

# The least of the three sizes of a product that goes to cuBLAS. Not measured yet.
LEAST = 512


@cache
def _cupy() -> Any:
    """Return CuPy, or None."""
    return importlib.import_module("cupy") if importlib.util.find_spec("cupy") else None


def takes(rows: int, columns: int, depth: int) -> bool:
    """Return whether a product of that size goes to cuBLAS."""
    return min(rows, columns, depth) >= LEAST and _cupy() is not None


def _view(place: Place, shape: tuple[int, int], strides: tuple[int, int]) -> Any:
    """Return a matrix, of strides in values, as CuPy's; its memory stays the owner's."""
    cupy, values = _cupy(), place.values
    size = values.dtype.itemsize
    memory = cupy.cuda.UnownedMemory(address(values), values.size * size, values)
    pointer = cupy.cuda.MemoryPointer(memory, place.place * size)
    in_bytes = tuple(stride * size for stride in strides)
    return cupy.ndarray(shape, np.dtype(values.dtype), pointer, in_bytes)


def product(
    stream: Any, C: Place, A: Matrix, B: Matrix, rows: int, columns: int, depth: int, scale: float
) -> None:
    """C = scale A B, (rows, depth) (depth, columns), C in C order."""
    cupy = _cupy()
    a = _view(Place(A.values, A.place), (rows, depth), (A.by_line, A.by_depth))
    b = _view(Place(B.values, B.place), (depth, columns), (B.by_depth, B.by_line))
    c = _view(C, (rows, columns), (columns, 1))
    with cupy.cuda.ExternalStream(handle_of(stream)):
        cupy.matmul(a, b, out=c)
        if scale != 1:
            cupy.multiply(c, c.dtype.type(scale), out=c)
