"""What a caller may pass: each check answers with one sentence that names the argument.

The sentence says what the argument was and what was expected. Nothing is changed by a check.
"""

from __future__ import annotations

import numbers
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
# Kinds of types, as NumPy's letters: booleans count as integers, any width of float as real.
INTEGERS = "biu"
REALS = "biuf"


def one_of(name: str, value: object, known: Iterable[str]) -> str:
    """Return the name if it is known, else raise with the list of known ones."""
    known = tuple(known)
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a name, got {type(value).__name__}")
    if value not in known:
        raise ValueError(f"unknown {name} {value!r}; known are {', '.join(known)}")
    return str(value)  # NumPy's strings are a kind of their own


def boolean(name: str, value: object, expected: str = "True or False") -> bool:
    """Return True or False; no other value stands for one of them."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be {expected}, got {type(value).__name__}")
    return bool(value)


def number(
    name: str,
    value: object,
    *,
    low: float = 0.0,
    high: float = np.inf,
    low_open: bool = False,
    high_open: bool = True,
) -> float:
    """Return a real number within the bounds."""
    if type(value) is float and (low < value < high or (value == low and not low_open)):
        return value  # the common case, in a fraction of the time
    # The first two are plain types, and found faster than by asking numbers.Real.
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | numbers.Real):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    try:
        x = float(value)
    except OverflowError:  # an integer beyond all floats
        x = -np.inf if value < 0 else np.inf
    above = x > low if low_open else x >= low
    below = x < high if high_open else x <= high
    if not (above and below):
        bounds = f"{'(' if low_open else '['}{low:g}, {high:g}{')' if high_open else ']'}"
        raise ValueError(f"{name} must lie in {bounds}, got {x:g}")
    return x


def integer(name: str, value: Any, *, low: int = 1) -> int:
    """Return a whole number of at least ``low``."""
    try:
        # True is an integer to Python; as a size or a seed it is a mistake.
        whole = None if isinstance(value, bool | np.bool_) else operator.index(value)
    except TypeError:
        whole = None
    if whole is None:
        raise TypeError(f"{name} must be a whole number, got {type(value).__name__}")
    if whole < low:
        raise ValueError(f"{name} must be at least {low}, got {whole}")
    return whole


def generator(name: str, seed: object) -> np.random.Generator:
    """Return the generator that a seed stands for, or the one that was given."""
    if isinstance(seed, np.random.Generator):
        return seed
    return np.random.default_rng(integer(name, seed, low=0))


def _type(dtype: DTypeLike) -> np.dtype[Any] | None:
    """Return the type, or None if there is no such type."""
    try:
        # NumPy reads None as float64, even in a comparison.
        return None if dtype is None else np.dtype(dtype)
    except (TypeError, ValueError):
        return None


def float_type(dtype: DTypeLike) -> np.dtype[Any]:
    """Return float32 or float64."""
    found = _type(dtype)
    if found is None or found not in FLOATS:
        raise TypeError(f"dtype must be float32 or float64, got {dtype!r}")
    return found


def real_type(dtype: DTypeLike) -> np.dtype[Any]:
    """Return a type of real numbers, of any width."""
    found = _type(dtype)
    if found is None or found.kind not in REALS:
        raise TypeError(f"dtype must be a boolean, integer or float type, got {dtype!r}")
    return found


def any_array(name: str, value: object) -> Array:
    """Return a NumPy array of any type, without a copy."""
    if hasattr(value, "__cuda_array_interface__"):
        raise TypeError(f"{name} is on a GPU, but what it is passed to computes on the CPU")
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array; fill or drop the masked values first")
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} is not a rectangular array: {error}") from None


def of_kind(name: str, array: Array, kinds: str, expected: str) -> Array:
    """Return the array if its type is of one of these kinds, NumPy's letters."""
    if array.dtype.kind not in kinds:
        raise TypeError(f"{name} has type {array.dtype}; expected {expected}")
    return array


def real_array(name: str, value: object) -> Array:
    """Return a NumPy array of real numbers, of any width and byte order, without a copy."""
    return of_kind(name, any_array(name, value), REALS, "real numbers")


def host_array(name: str, value: object) -> Array:
    """Return a NumPy array of booleans, integers, float32 or float64, as the kernels take it.

    It is a copy only where the bytes are in foreign order.
    """
    array = any_array(name, value)
    if array.dtype.kind not in INTEGERS and array.dtype.newbyteorder("=") not in FLOATS:
        raise TypeError(
            f"{name} has type {array.dtype}; expected float32, float64, integers or booleans"
        )
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return array


def own_type(value: object, array: Array) -> np.dtype[Any] | None:
    """Return the float type that a value, read as ``array``, brings into a call.

    None if it takes that of the others: so do integers and booleans, and Python's floats and
    lists of them, which are float64 only because NumPy reads them so.
    """
    if array.dtype.kind != "f":
        return None
    of_python = isinstance(value, list | tuple) or type(value) is float
    return None if of_python and array.dtype == np.float64 else array.dtype


def plain_arrays(dtype: Any, values: dict[str, Any]) -> list[Array] | None:
    """Return the values if nothing need be said of them: the common case, in a microsecond."""
    common = dtype
    for value in values.values():
        if type(value) is not np.ndarray or value.size == 0:
            return None
        if common is None:
            common = value.dtype
        if value.dtype is not common:
            return None
    return list(values.values()) if common is FLOATS[0] or common is FLOATS[1] else None


def arrays(dtype: Any = None, **values: object) -> list[Array]:
    """Return arrays of one float type: the network's, ``dtype``, or the one they share.

    Integers, booleans and Python's lists are converted to it, to float64 where nothing else
    decides; two float types in one call are an error.
    """
    if (plain := plain_arrays(dtype, values)) is not None:
        return plain
    found = {name: host_array(name, value) for name, value in values.items()}
    types = {
        name: own
        for name, value in values.items()
        if (own := own_type(value, found[name])) is not None
    }
    if dtype is not None:
        target = np.dtype(dtype)
        for name, own in types.items():
            if own != target:
                raise TypeError(f"{name} has type {own}, but the network's parameters are {target}")
    elif types:
        first, target = next(iter(types.items()))
        for name, own in types.items():
            if own != target:
                raise TypeError(f"{first} has type {target}, but {name} has type {own}")
    else:
        target = np.dtype(np.float64)
    for name, array in found.items():
        filled(name, array)
    return [array.astype(target, copy=False) for array in found.values()]


def filled(name: str, array: Array) -> Array:
    """Return the array if it holds any value."""
    if array.size == 0:
        raise ValueError(f"{name} is empty: its shape is {array.shape}; expected at least 1 value")
    return array


def matrix(name: str, array: Array) -> Array:
    """Return the array if it has two dimensions."""
    if array.ndim != 2:
        raise ValueError(f"{name} must have 2 dimensions, one example a column; got {array.shape}")
    return array


def real_matrix(name: str, value: object) -> Array:
    """Return a matrix of real numbers with at least one feature and one example."""
    return filled(name, matrix(name, real_array(name, value)))


def same_shape(name: str, array: Array, other: str, shape: tuple[int, ...]) -> None:
    """Raise unless the array has that shape."""
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, but {other} has shape {shape}")


def output(out: object, shape: tuple[int, ...], dtype: np.dtype[Any], order: str = "C") -> Array:
    """Return the array to write to: ``out`` if it fits, or a new one."""
    if out is None:
        return np.empty(shape, dtype, order="F" if order == "F" else "C")
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a NumPy array, got {type(out).__name__}")
    if isinstance(out, np.ma.MaskedArray):
        raise TypeError("out is a masked array; expected an array without a mask")
    if out.dtype != dtype:
        raise TypeError(f"out has type {out.dtype}, but the result has type {dtype}")
    if out.shape != shape:
        raise ValueError(f"out has shape {out.shape}, but the result has shape {shape}")
    if not out.flags.writeable:
        raise ValueError("out is read-only")
    return out


def targets(
    Y: object,
    n_y: int,
    m: int,
    loss: str,
    dtype: np.dtype[Any],
    *,
    examples: str = "X",
    output: str = "the network's output",
) -> Array:
    """Return Y as (n_y, m) in ``dtype``, or a vector of m integer labels.

    Labels are taken for cross-entropy, and zeros and ones for one output of binary
    cross-entropy; a vector of m values for one output of squared error. ``examples`` and
    ``output`` are what the caller calls the arrays that Y is held against.
    """
    found = filled("Y", host_array("Y", Y))
    lowest = found.min()
    if lowest != lowest:  # as any minimum with a NaN among the values
        raise ValueError(f"Y holds NaN: {int(np.isnan(found).sum())} of its {found.size} values")
    if found.ndim == 1 and loss == "cross_entropy":
        if found.shape != (m,):
            raise ValueError(f"Y has {found.size} labels, but {examples} has {m} examples")
        if found.dtype.kind == "f" and (found != np.trunc(found)).any():
            raise ValueError("Y is a vector, so it must hold integer labels")
        # Before they are converted: infinity is no integer.
        if lowest < 0 or found.max() >= n_y:
            wrong = found[(found < 0) | (found >= n_y)][0]
            raise ValueError(f"Y holds the label {wrong}; expected 0 to {n_y - 1}")
        return found.astype(np.int64)
    if found.ndim == 1 and n_y == 1:
        found = found.reshape(1, -1)
    if found.shape != (n_y, m):
        raise ValueError(f"Y has shape {found.shape}, but {output} has shape {(n_y, m)}")
    own = own_type(Y, found)
    if own is not None and own != dtype:
        raise TypeError(f"Y has type {own}, but {output} has type {dtype}")
    if loss == "poisson" and not (lowest >= 0 and found.max() < np.inf):
        raise ValueError(
            f"Y must hold finite values of at least 0 for poisson; it goes from {lowest} to"
            f" {found.max()}"
        )
    if loss.endswith("cross_entropy") and (lowest < 0 or found.max() > 1):
        raise ValueError(
            f"Y must lie in [0, 1] for {loss}; it goes from {found.min()} to {found.max()}"
        )
    return found.astype(dtype, copy=False)


def weights(sample_weight: object, m: int, dtype: np.dtype[Any]) -> Array | None:
    """Return the weights of the examples, scaled to a mean of 1."""
    if sample_weight is None:
        return None
    found = host_array("sample_weight", sample_weight)
    if found.shape != (m,):
        raise ValueError(f"sample_weight has shape {found.shape}, but X has {m} examples")
    wide = found.astype(np.float64)
    if not np.isfinite(wide).all() or (wide < 0).any():
        raise ValueError("sample_weight must hold finite values of at least 0")
    if not wide.any():
        raise ValueError("sample_weight is zero for every example")
    wide /= wide.max()  # so that their sum is finite
    scaled: Array = (wide / wide.mean()).astype(dtype)
    return scaled
