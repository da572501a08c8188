"""The functions, as compiled code calls them.

Numba compiles a call into the caller together with what is registered here for the types of its
arguments: a comparison of the sizes, which costs a few nanoseconds, and the call of the kernel.
So the caller's machine code is complete, and can be kept on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from numba import types
from numba.core.errors import NumbaTypeError
from numba.extending import overload

from ..kernels.cpu import inside as kernels
from ..kernels.cpu.compiler import OPTIONS
from ..kernels.cpu.inside import LAYERS, SIZES
from . import _functions

_FLOATS = (types.float32, types.float64)


def _expected(name: str, found: Any, dtype: Any, dimensions: int, *, flat: bool = False) -> None:
    """Raise unless a type is that of such an array."""
    kind = f"an array of {dtype} with {dimensions} dimension{'s' if dimensions > 1 else ''}"
    if not isinstance(found, types.Array) or found.dtype != dtype or found.ndim != dimensions:
        raise NumbaTypeError(f"fastnn.inside: {name} must be {kind}, got {found}")
    if not found.aligned:
        raise NumbaTypeError(f"fastnn.inside: {name} is not aligned to its type: {found}")
    if flat and found.layout != "C":
        raise NumbaTypeError(f"fastnn.inside: {name} must be contiguous, got {found}")


def _writable(name: str, found: Any) -> None:
    if not found.mutable:
        raise NumbaTypeError(f"fastnn.inside: {name} is read-only: {found}")


def _common(parameters: Any, layout: Any, work: Any) -> Any:
    """Return the type of all numbers, once these three are what they should be."""
    dtype = getattr(parameters, "dtype", None)
    _expected("parameters", parameters, dtype if dtype in _FLOATS else types.float64, 1, flat=True)
    _expected("layout", layout, types.int64, 1, flat=True)
    _expected("work", work, dtype, 1, flat=True)
    _writable("work", work)
    return dtype


def _njit(function: Callable[..., Any]) -> Any:
    return numba.njit(**OPTIONS)(function)


@_njit
def _sizes_fit(parameters: Any, layout: Any, work: Any) -> None:
    if layout.size < 6 or layout.size != 2 * layout[LAYERS] + 4:
        raise ValueError("fastnn.inside: layout is none of fastnn.inside.layout's")
    # By the sizes, which the kernels go by: so a layout that was changed is an error too.
    n_in = fewest = widest = layout[SIZES]
    expected, units = 0, kernels.rounded(n_in)
    for l in range(SIZES + 1, SIZES + 1 + layout[LAYERS]):
        n = layout[l]
        fewest, widest, units = min(fewest, n), max(widest, n), units + kernels.rounded(n)
        expected, n_in = expected + n * (n_in + 1), n
    if fewest < 1:
        raise ValueError("fastnn.inside: layout is none of fastnn.inside.layout's")
    if parameters.size != expected:
        raise ValueError("fastnn.inside: parameters have not the size that the layout says")
    if work.size < 2 * (units + kernels.BLOCK * (kernels.rounded(widest) + 1)):
        raise ValueError("fastnn.inside: work is smaller than the layout says")


def _one_example(kernel: Any) -> Callable[..., Any]:
    """Return what is called for ``forward`` and ``linearize``."""

    def call(parameters: Any, layout: Any, x: Any, out: Any, work: Any) -> Any:
        dtype = _common(parameters, layout, work)
        _expected("x", x, dtype, 1)
        _expected("out", out, dtype, 1)
        _writable("out", out)

        def compiled(parameters: Any, layout: Any, x: Any, out: Any, work: Any) -> None:
            _sizes_fit(parameters, layout, work)
            if x.size != layout[SIZES]:
                raise ValueError("fastnn.inside: x has not the size n_x of the layout")
            if out.size != layout[SIZES + layout[LAYERS]]:
                raise ValueError("fastnn.inside: out has not the size n_y of the layout")
            kernel(out, parameters, layout, x, work)

        return compiled

    return call


def _forward_block(parameters: Any, layout: Any, X: Any, out: Any, work: Any) -> Any:
    dtype = _common(parameters, layout, work)
    _expected("X", X, dtype, 2)
    _expected("out", out, dtype, 2)
    _writable("out", out)
    kernel = kernels.forward_block

    def compiled(parameters: Any, layout: Any, X: Any, out: Any, work: Any) -> None:
        _sizes_fit(parameters, layout, work)
        if X.shape[0] != layout[SIZES]:
            raise ValueError("fastnn.inside: X has not the n_x rows of the layout")
        if out.shape[0] != layout[SIZES + layout[LAYERS]] or out.shape[1] != X.shape[1]:
            raise ValueError("fastnn.inside: out has not n_y rows and a column for each of X")
        kernel(out, parameters, layout, X, work)

    return compiled


def _vjp(parameters: Any, layout: Any, v: Any, dx: Any, gradient: Any, work: Any) -> Any:
    dtype = _common(parameters, layout, work)
    _expected("v", v, dtype, 1)
    with_dx, with_gradient = (not isinstance(x, types.NoneType) for x in (dx, gradient))
    if with_dx:
        _expected("dx", dx, dtype, 1)
        _writable("dx", dx)
    if with_gradient:
        _expected("gradient", gradient, dtype, 1, flat=True)
        _writable("gradient", gradient)
    kernel = kernels.vjp

    def compiled(parameters: Any, layout: Any, v: Any, dx: Any, gradient: Any, work: Any) -> None:
        _sizes_fit(parameters, layout, work)
        if v.size != layout[SIZES + layout[LAYERS]]:
            raise ValueError("fastnn.inside: v has not the size n_y of the layout")
        first, second = work[:0], work[:0]
        if with_dx:
            if dx.size != layout[SIZES]:
                raise ValueError("fastnn.inside: dx has not the size n_x of the layout")
            first = dx
        if with_gradient:
            if gradient.size != parameters.size:
                raise ValueError("fastnn.inside: gradient has not as many values as parameters")
            second = gradient
        kernel(first, second, parameters, layout, v, work)

    return compiled


def _jvp(parameters: Any, layout: Any, t: Any, out: Any, work: Any) -> Any:
    dtype = _common(parameters, layout, work)
    _expected("t", t, dtype, 1)
    _expected("out", out, dtype, 1)
    _writable("out", out)
    kernel = kernels.jvp

    def compiled(parameters: Any, layout: Any, t: Any, out: Any, work: Any) -> None:
        _sizes_fit(parameters, layout, work)
        if t.size != layout[SIZES]:
            raise ValueError("fastnn.inside: t has not the size n_x of the layout")
        if out.size != layout[SIZES + layout[LAYERS]]:
            raise ValueError("fastnn.inside: out has not the size n_y of the layout")
        kernel(out, parameters, layout, t, work)

    return compiled


def _jacobian(parameters: Any, layout: Any, out: Any, work: Any) -> Any:
    dtype = _common(parameters, layout, work)
    _expected("out", out, dtype, 2)
    _writable("out", out)
    kernel = kernels.jacobian

    def compiled(parameters: Any, layout: Any, out: Any, work: Any) -> None:
        _sizes_fit(parameters, layout, work)
        if out.shape[0] != layout[SIZES + layout[LAYERS]] or out.shape[1] != layout[SIZES]:
            raise ValueError("fastnn.inside: out has not the shape (n_y, n_x) of the layout")
        kernel(out, parameters, layout, work)

    return compiled


def register() -> None:
    """Tell Numba what to compile for calls of the functions."""
    for function, call in (
        (_functions.forward, _one_example(kernels.forward)),
        (_functions.linearize, _one_example(kernels.linearize)),
        (_functions.forward_block, _forward_block),
        (_functions.vjp, _vjp),
        (_functions.jvp, _jvp),
        (_functions.jacobian, _jacobian),
    ):
        overload(function, jit_options=OPTIONS)(call)  # type: ignore[arg-type]
