"""What :mod:`fastnn.inside.cuda` compares in each call.

Types are compared when a kernel is compiled, and sizes by every thread. The simulator compiles
nothing, and compares all when a thread comes by.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.core.errors import NumbaTypeError

from ..kernels.cpu.inside import LAYERS, PARAMETERS, SIZES
from ..kernels.cuda.driver import SIMULATED, device, overload
from ..kernels.cuda.inside import places
from ..kernels.cuda.inside_block import SIDE

_FLOATS = ("float32", "float64")


def _contiguous(array: Any) -> bool:
    """Return whether an array, or the type of one, is in C order."""
    flags = getattr(array, "flags", None)
    return bool(array.layout == "C" if flags is None else flags.c_contiguous)


def _expected(name: str, found: Any, dtype: str, dimensions: int, flat: bool) -> None:
    """Raise unless an array, or the type of one, is what is expected."""
    kind = f"an array of {dtype} with {dimensions} dimension{'s' if dimensions > 1 else ''}"
    if not hasattr(found, "ndim") or str(found.dtype) != dtype or found.ndim != dimensions:
        told = f"{found.ndim} of {found.dtype}" if hasattr(found, "ndim") else found
        raise TypeError(f"fastnn.inside.cuda: {name} must be {kind}, got {told}")
    if flat and not _contiguous(found):
        raise TypeError(f"fastnn.inside.cuda: {name} must be contiguous")
    if not SIMULATED and not found.mutable and name not in _READ:
        raise TypeError(f"fastnn.inside.cuda: {name} is read-only")


_READ = ("parameters", "layout", "x", "X", "v", "t")


def _is_none(found: Any) -> bool:
    return found is None or str(found) == "none"


def types_of(*names: str, dimensions: int = 1, shared: bool = False) -> Any:
    """Return a function of parameters, layout, work and such arrays, that compares their types.

    Work that a block shares must be contiguous.
    """

    def compare(parameters: Any, layout: Any, work: Any, a: Any, b: Any, c: Any) -> None:
        dtype = str(getattr(parameters, "dtype", "float64"))
        dtype = dtype if dtype in _FLOATS else "float64"
        _expected("parameters", parameters, dtype, 1, True)
        _expected("layout", layout, "int64", 1, True)
        _expected("work", work, dtype, 1, shared)
        for name, found in zip(names, (a, b, c), strict=False):
            if not (name in ("dx", "gradient") and _is_none(found)):
                _expected(name, found, dtype, dimensions, False)

    if SIMULATED:
        return compare

    def types(parameters: Any, layout: Any, work: Any, a: Any, b: Any, c: Any) -> None:
        """Stand for the comparison, in code that is compiled."""

    @overload(types)
    def _compiled(
        parameters: Any, layout: Any, work: Any, a: Any, b: Any, c: Any
    ) -> Callable[..., None]:
        try:
            compare(parameters, layout, work, a, b, c)
        except TypeError as error:
            raise NumbaTypeError(str(error)) from None
        return types

    return types


@device
def parameters_fit(parameters: Any, layout: Any) -> None:
    """Raise unless these two belong together."""
    if layout.size < 6 or layout.size != 2 * layout[LAYERS] + 4:
        raise ValueError("fastnn.inside.cuda: layout is none of fastnn.inside.layout's")
    if parameters.size != layout[PARAMETERS]:
        raise ValueError("fastnn.inside.cuda: parameters have not the size that the layout says")


@device
def work_fits(layout: Any, work: Any, derivatives: Any) -> None:
    """Raise unless one thread can work there."""
    widest, total = places(layout)
    least = 2 * widest + (2 * total - layout[SIZES] if derivatives else 0)
    if work.size < least:
        raise ValueError("fastnn.inside.cuda: work is smaller than work_size of the network says")


@device
def input_fits(layout: Any, x: Any) -> None:
    """Raise unless an array is of size n_x."""
    if x.size != layout[SIZES]:
        raise ValueError("fastnn.inside.cuda: x, dx or t has not the size n_x of the layout")


@device
def output_fits(layout: Any, out: Any) -> None:
    """Raise unless an array is of size n_y."""
    if out.size != layout[SIZES + layout[LAYERS]]:
        raise ValueError("fastnn.inside.cuda: out or v has not the size n_y of the layout")


@device
def jacobian_fits(layout: Any, J: Any) -> None:
    """Raise unless there is a row for each output, and a column for each input."""
    if J.shape[0] != layout[SIZES + layout[LAYERS]] or J.shape[1] != layout[SIZES]:
        raise ValueError("fastnn.inside.cuda: out has not n_y rows and n_x columns of the layout")


@device
def gradient_fits(parameters: Any, gradient: Any) -> None:
    """Raise unless there is a value for each parameter."""
    if gradient.size != parameters.size:
        raise ValueError("fastnn.inside.cuda: gradient has not as many values as parameters")


@device
def block_fits(layout: Any, X: Any, out: Any, work: Any) -> None:
    """Raise unless a block can take X to out there."""
    if X.shape[0] != layout[SIZES]:
        raise ValueError("fastnn.inside.cuda: X has not the n_x rows of the layout")
    if out.shape[0] != layout[SIZES + layout[LAYERS]] or out.shape[1] != X.shape[1]:
        raise ValueError("fastnn.inside.cuda: out has not n_y rows and a column for each of X")
    widest, _ = places(layout)
    if work.size < 2 * SIDE * widest:
        raise ValueError("fastnn.inside.cuda: work is smaller than shared_bytes of 4 examples")
