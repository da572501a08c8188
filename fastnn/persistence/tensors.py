"""Named arrays and what they mean, in one safetensors file."""

from __future__ import annotations

import io
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import validation as check
from . import header
from .header import ContentError, Tensor
from .replacing import replacing

Array = NDArray[Any]
Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]

# The name in the file's metadata by which we know our own files. One alone: the library writes
# several in any order, and equal networks shall give equal files.
_KEY = "fastnn"
# Error messages quote what a file holds, which may be a megabyte.
_LONGEST_MESSAGE = 300

_TYPES = tuple(dtype.newbyteorder("=") for dtype in header.DTYPES.values())


class FileFormatError(ValueError):
    """A file is not what is to be read: cut short, damaged, foreign, or of a newer fastnn.

    The message says which file and what is wrong with it.

    Examples
    --------
    >>> import pathlib, tempfile, fastnn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "notes.txt")
    ...     count = path.write_text("Dear diary, today I trained a network")
    ...     try:
    ...         fastnn.load(path)
    ...     except fastnn.FileFormatError as error:
    ...         print(str(error).replace(folder, "..."))
    cannot read '.../notes.txt': it is not a safetensors file, or cut short: it has 37 bytes, and
    its first 8 announce a header of 7019251584754345284
    """


class Contents:
    """An open file: what it is about, which tensors it holds, and their values on demand."""

    def __init__(self, file: io.BufferedReader, size: int) -> None:
        self._file = file
        self.tensors, metadata = header.read(file, size)
        self._start = file.tell()
        self.about = _about(metadata)

    def copy(self, name: str, out: Array) -> Array:
        """Read a tensor into an array of its shape and type, contiguous in C order."""
        tensor = self.tensors[name]
        self._file.seek(self._start + tensor.begin)
        # An ordinary read, straight into place: no second copy, and no map of a file that may
        # change its length meanwhile.
        if self._file.readinto(out.reshape(-1).view(np.uint8).data) != tensor.nbytes:
            raise ContentError("it was cut short while it was read")
        if not tensor.dtype.isnative:
            out.byteswap(inplace=True)
        return out


def _about(metadata: Mapping[str, str]) -> dict[str, Any]:
    if _KEY not in metadata:
        raise ContentError(
            f"it is a safetensors file of another program: its metadata has no {_KEY!r}"
        )
    try:
        about = header.parse(metadata[_KEY])
    except ValueError as error:
        raise ContentError(f"its metadata {_KEY!r} is no JSON text: {error}") from None
    if not isinstance(about, dict):
        raise ContentError(f"its metadata {_KEY!r} is JSON, but no object")
    return about


@contextmanager
def opened(path: Path) -> Iterator[Contents]:
    """Open a file of ours; any ContentError within the ``with`` becomes a FileFormatError."""
    name = os.fspath(path)
    with open(name, "rb", opener=_without_waiting) as file:
        try:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise ContentError("it is not a regular file")
            yield Contents(file, found.st_size)
        except ContentError as error:
            text = str(error)
            if len(text) > _LONGEST_MESSAGE:
                text = text[:_LONGEST_MESSAGE] + "..."
            raise FileFormatError(f"cannot read {os.fsdecode(name)!r}: {text}") from None


def _without_waiting(name: str, flags: int) -> int:
    # A named pipe that nobody writes to would be waited for; to files it makes no difference.
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))


def write(path: Path, tensors: Mapping[str, ArrayLike], about: Mapping[str, Any]) -> None:
    """Write named arrays, and what they are about, as one safetensors file.

    At any moment the old file or the new one is at ``path``, whole: the new one is written
    beside it, flushed to the disk, and renamed.

    Parameters
    ----------
    path : str, bytes or path-like
        The file, by custom ``*.safetensors``. One that is there is replaced, and keeps its mode.
    tensors : mapping of str to array
        Arrays of integers or floats of 8 to 64 bits, of any shape, by printable names.
    about : mapping
        Values of JSON, by names: what :func:`read` gives back.

    Raises
    ------
    TypeError
        If an array has another type, or about holds what JSON has no value for.
    ValueError
        If a name is empty or not printable, about holds NaN or infinity, or names and about
        take more than a megabyte.
    OSError
        If the file cannot be written.
    ImportError
        If safetensors is not installed.

    Notes
    -----
    Any program that reads safetensors reads the file; ``about`` is a JSON text under the name
    ``fastnn`` in its metadata. Equal arguments give equal files.

    Source: the format's page, https://huggingface.co/docs/safetensors.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from fastnn import persistence
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = folder + "/moments.safetensors"
    ...     persistence.write(path, {"v": np.array([1.0, 0.5])}, {"step": 7})
    ...     tensors, about = persistence.read(path)
    >>> tensors["v"], about
    (array([1. , 0.5]), {'step': 7})
    """
    arrays = {_name(name): _storable(name, value) for name, value in tensors.items()}
    data = _serialized(arrays, _json(about))
    with replacing(path) as file:
        file.write(data)


def _name(name: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"tensors must be named by text, got {type(name).__name__}")
    if not header.is_name(name):
        raise ValueError(f"{name!r} cannot name a tensor; expected printable text")
    return name


def _storable(name: str, value: ArrayLike) -> Array:
    array = check.any_array(f"tensor {name}", value)
    native = array.dtype.newbyteorder("=")
    if native not in _TYPES:
        expected = ", ".join(dtype.name for dtype in _TYPES)
        raise TypeError(f"tensor {name} has type {array.dtype}; expected one of {expected}")
    return np.asarray(array, native, order="C")


def _json(about: Mapping[str, Any]) -> str:
    if not isinstance(about, Mapping):
        raise TypeError(f"about must be a mapping, got {type(about).__name__}")
    try:
        return json.dumps(dict(about), allow_nan=False)
    except TypeError as error:
        raise TypeError(f"about must hold values of JSON: {error}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"about must hold values of JSON: {error}") from None


def _serialized(arrays: dict[str, Array], about: str) -> bytes:
    try:
        from safetensors.numpy import save
    except ImportError as error:
        raise ImportError(
            "files are written by safetensors, which is not installed:"
            ' pip install "numba-fastnn[files]"'
        ) from error
    data: bytes = save(arrays, {_KEY: about})
    try:  # a file that could not be read again takes no other's place
        _about(header.read(io.BytesIO(data), len(data))[1])
    except ContentError as error:
        raise ValueError(f"such a file could not be read again: {error}") from None
    return data


def read(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return the arrays and the ``about`` of a file that :func:`write` wrote.

    Nothing in the file is run, and no size in it believed: memory is asked for once all sizes
    agree with the length of the file, and only for the values that are there.

    Parameters
    ----------
    path : str, bytes or path-like
        The file.

    Returns
    -------
    tensors : dict of str to array
        New arrays, in C order.
    about : dict
        What was passed to :func:`write`, with tuples as lists.

    Raises
    ------
    FileFormatError
        If it is cut short, damaged, or no such file.
    OSError
        As :func:`open`: FileNotFoundError, IsADirectoryError, PermissionError.

    Notes
    -----
    Needs nothing beyond NumPy.

    Examples
    --------
    >>> import tempfile
    >>> from fastnn import persistence
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     persistence.write(folder + "/a", {"x": [1, 2]}, {"unit": "metre"})
    ...     persistence.read(folder + "/a")
    ({'x': array([1, 2])}, {'unit': 'metre'})
    """
    with opened(path) as contents:
        values = {name: contents.copy(name, _empty(t)) for name, t in contents.tensors.items()}
        return values, contents.about


def _empty(tensor: Tensor) -> Array:
    return np.empty(tensor.shape, tensor.dtype.newbyteorder("="))
