"""What a safetensors file says of itself, believed only where it agrees with the file's length.

Such a file is the length N of its header (8 bytes, little-endian), the header (N bytes of JSON in
UTF-8), and the values of its tensors, one after the other, without gaps. The header names each
tensor with its type, its shape and where its values begin and end; under ``__metadata__`` it may
hold a map from text to text.

The header is read here, and not by the library, which takes the last of two equal names, parses
up to 100 MB, and maps the file into memory, where a file that is cut short meanwhile ends the
process by a signal.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn

import numpy as np

# A tensor takes about 75 bytes of it. JSON can take thirty times its length in memory while it is
# parsed: a limit of 100 MB, as the library's, would be none.
LONGEST_HEADER = 2**20
# NumPy's limit.
_MOST_DIMENSIONS = 64
# Reading a number takes time by the square of its digits.
_MOST_DIGITS = 1000

DTYPES: Mapping[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
}


class ContentError(Exception):
    """What is wrong with a file; whoever knows the file's name adds it."""


@dataclass(frozen=True)
class Tensor:
    """The type and shape of a tensor, and where its values are, in bytes after the header."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def nbytes(self) -> int:
        """Return how many bytes an array of this type and shape takes."""
        return math.prod(self.shape) * self.dtype.itemsize


def read(file: BinaryIO, size: int) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a file of so many bytes; leave it at the values.

    Raises
    ------
    ContentError
        If the header is none, or the file is not what its header says.
    """
    length = int.from_bytes(file.read(8), "little")
    if length > size - 8:
        raise ContentError(
            f"it is not a safetensors file, or cut short: it has {size} bytes, and its first 8"
            f" announce a header of {length}"
        )
    if length > LONGEST_HEADER:
        raise ContentError(
            f"its header, with the metadata, is too large: {length} bytes;"
            f" expected at most {LONGEST_HEADER}"
        )
    entries = _entries(file.read(length))
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ContentError("it is not a safetensors file: its metadata is no map from text to text")
    tensors = {name: _tensor(name, entry) for name, entry in entries.items()}
    _check_places(tensors, size - 8 - length)
    return tensors, metadata


def _entries(text: bytes) -> dict[str, Any]:
    try:
        entries = parse(text.decode())
    except ValueError as error:
        raise ContentError(f"it is not a safetensors file: no JSON header: {error}") from None
    if not isinstance(entries, dict):
        raise ContentError("it is not a safetensors file: its JSON header is no object")
    return entries


def is_name(name: str) -> bool:
    """Return whether a tensor may be called so."""
    return name.isprintable() and name not in ("", "__metadata__")


def _tensor(name: str, entry: Any) -> Tensor:
    if not is_name(name):
        raise ContentError(f"a tensor is called {name!r}; expected printable text")
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ContentError(f"tensor {name!r} is not told by dtype, shape and data_offsets alone")
    code, shape, places = entry["dtype"], entry["shape"], entry["data_offsets"]
    dtype = DTYPES.get(code) if isinstance(code, str) else None
    if dtype is None:
        raise ContentError(f"tensor {name!r} has type {code!r}; known are {', '.join(DTYPES)}")
    if not _counts(shape) or len(shape) > _MOST_DIMENSIONS:
        raise ContentError(f"tensor {name!r} has shape {shape!r}; expected a list of sizes")
    # NumPy multiplies the other dimensions even where one is 0.
    if math.prod(max(n, 1) for n in shape) * dtype.itemsize > sys.maxsize:
        raise ContentError(f"tensor {name!r} has shape {shape!r}, which is too large")
    if not _counts(places) or len(places) != 2:
        raise ContentError(f"tensor {name!r} has data_offsets {places!r}; expected begin, end")
    return Tensor(dtype, tuple(shape), *places)


def _counts(values: Any) -> bool:
    # True and False are integers to Python.
    return isinstance(values, list) and all(type(n) is int and n >= 0 for n in values)


def _check_places(tensors: Mapping[str, Tensor], available: int) -> None:
    """Raise unless the tensors follow each other, up to the end of the file."""
    place = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if tensor.begin != place or tensor.end - tensor.begin != tensor.nbytes:
            raise ContentError(
                f"tensor {name!r} of {tensor.nbytes} bytes is told to stand from {tensor.begin}"
                f" to {tensor.end}; expected {place} to {place + tensor.nbytes}"
            )
        place = tensor.end
    if place > available:
        raise ContentError(f"it is cut short: its tensors take {place} bytes, it holds {available}")
    if place < available:
        raise ContentError(f"it holds {available} bytes of values, but its tensors take {place}")


def parse(text: str) -> Any:
    """Return what a JSON text says, if all parsers would agree about it.

    Raises
    ------
    ValueError
        If it is not JSON, a name stands twice in one object, a number is NaN, infinite or of
        more than 1,000 digits, or the nesting is deeper than Python's stack.

    Examples
    --------
    >>> parse('{"sizes": [2, 1]}')
    {'sizes': [2, 1]}
    >>> parse('{"a": 1, "a": 2}')
    Traceback (most recent call last):
        ...
    ValueError: the name 'a' stands twice
    """
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the name {name!r} stands twice")
        found[name] = value
    return found


def _integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number has {len(digits)} digits; expected at most {_MOST_DIGITS}")
    return int(digits)


def _real(digits: str) -> float:
    value = float(digits)
    return value if math.isfinite(value) else _no_number(digits)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name[:20]} is not a finite number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_real, parse_constant=_no_number
)
