"""What a file of a network holds.

The tensors ``W1``, ``b1``, ``W2``, ... as ``net.W`` and ``net.b`` show them, and for the i-th
Standardizer ``preprocessing{i}.mean`` and ``preprocessing{i}.scale``. Everything else is in the
metadata, as JSON: see `_about`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from itertools import pairwise
from typing import Any

import numpy as np

from .. import validation as check
from .._version import __version__
from ..description import Description
from ..network import Network, _describe
from ..preprocessing import Standardizer
from .header import ContentError, Tensor
from .tensors import Array, Contents, Path, opened, write

# Raised when a file has to be read in another way than before; fields that may be left out can be
# added without.
FORMAT = 1

_HOLDS = "network"
_FLOAT64 = np.dtype(np.float64)
_NAMED = 5


def save(net: Network, path: Path) -> None:
    """Write a network to a file: what :meth:`fastnn.Network.save` does."""
    tensors: dict[str, Array] = {}
    for l, (W, b) in enumerate(zip(net.W, net.b, strict=True), 1):
        tensors[f"W{l}"], tensors[f"b{l}"] = W, b
    for i, step in enumerate(net.preprocessing):
        mean, scale = _columns(f"preprocessing[{i}]", step, net.sizes[0])
        tensors[_statistic(i + 1, "mean")], tensors[_statistic(i + 1, "scale")] = mean, scale
    write(path, tensors, _about(net))


def _about(net: Network) -> dict[str, Any]:
    return {
        "holds": _HOLDS,
        "format": FORMAT,
        "version": __version__,
        "description": asdict(net._description),
        "dtype": net.dtype.name,
        "seed": net.seed,
        "preprocessing": [
            {"name": "Standardizer", "dtype": None if step.dtype is None else step.dtype.name}
            for step in net.preprocessing
        ],
    }


def _statistic(i: int, name: str) -> str:
    return f"preprocessing{i}.{name}"


def _columns(name: str, step: Standardizer, n_x: int) -> tuple[Array, Array]:
    """Return the statistics, if they still are what `fit` left."""
    columns = np.asarray(step.mean_), np.asarray(step.scale_)
    for part, values in zip(("mean_", "scale_"), columns, strict=True):
        if values.dtype != _FLOAT64 or values.shape != (n_x, 1):
            raise ValueError(
                f"{name}.{part} has type {values.dtype} and shape {values.shape};"
                f" expected float64, {(n_x, 1)}"
            )
    return columns


def load(path: Path) -> Network:
    """Return the network that :meth:`Network.save` wrote to a file.

    Nothing in the file is run, and no size in it is believed before it agrees with the values
    that are there. Needs nothing beyond NumPy and Numba.

    Parameters
    ----------
    path : str, bytes or path-like
        The file.

    Returns
    -------
    Network
        With the same description, parameters (bit for bit, NaN included), dtype, seed and
        preprocessing. Where it computes is not in the file: ``device`` is None.

    Raises
    ------
    FileFormatError
        If the file is cut short, damaged, of another program, or of a newer fastnn; the message
        says what is wrong.
    OSError
        As :func:`open`: FileNotFoundError, IsADirectoryError, PermissionError.

    Examples
    --------
    >>> import tempfile, fastnn
    >>> X, y = fastnn.datasets.xor()
    >>> standardizer = fastnn.preprocessing.Standardizer().fit(X)
    >>> net = fastnn.Network([2, 8, 1], ["tanh", "sigmoid"], seed=1)
    >>> history = net.fit(standardizer.transform(X), y, 500, optimizer=fastnn.Adam(0.05))
    >>> net.preprocessing = [standardizer]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     net.save(folder + "/xor.safetensors")
    ...     loaded = fastnn.load(folder + "/xor.safetensors")
    >>> for step in loaded.preprocessing:  # carried, not applied: that is up to the caller
    ...     X = step.transform(X)
    >>> loaded.predict(X)
    array([0, 1, 1, 0])
    """
    with opened(path) as contents:
        about = _checked(contents.about)
        description = _description(about["description"])
        dtype = check.float_type(_dtype_name("dtype", about["dtype"]))
        steps = _steps(about["preprocessing"])
        _check_tensors(contents.tensors, _expected(description, dtype, steps))
        net = Network._of(description, np.empty(description.n_parameters, dtype), about["seed"])
        for l, (W, b) in enumerate(zip(net.W, net.b, strict=True), 1):
            contents.copy(f"W{l}", W)
            contents.copy(f"b{l}", b)
        for i, step in enumerate(steps, 1):
            step.mean_, step.scale_ = (_filled(contents, i, name) for name in ("mean", "scale"))
    net.preprocessing = steps
    return net


def _checked(about: dict[str, Any]) -> dict[str, Any]:
    """Return what the file is about, if it is a network that this version knows how to read."""
    if about.get("holds") != _HOLDS:
        raise ContentError(f"it holds {about.get('holds')!r}; expected {_HOLDS!r}")
    written, version = about.get("format"), about.get("version")
    if type(written) is not int or written < 1:
        raise ContentError(f"its format is {written!r}; expected a number from 1")
    if written > FORMAT:
        raise ContentError(
            f"it was written in format {written}, by fastnn {version!r}; fastnn {__version__}"
            f" reads up to format {FORMAT}: use a newer one"
        )
    _same_names("the metadata", about.keys(), set(_ABOUT))
    for name, kind in _ABOUT.items():
        if type(about[name]) is not kind:
            found = type(about[name]).__name__
            raise ContentError(f"its {name} is of type {found}; expected {kind.__name__}")
    if about["seed"] < 0:
        raise ContentError(f"its seed is {about['seed']}; expected at least 0")
    return about


_ABOUT = {
    "holds": str,
    "format": int,
    "version": str,
    "description": dict,
    "dtype": str,
    "seed": int,
    "preprocessing": list,
}


def _description(told: dict[str, Any]) -> Description:
    optional = {f.name: f.default for f in fields(Description) if f.default is not MISSING}
    complete = optional | told
    _same_names("the description", complete.keys(), {f.name for f in fields(Description)})
    try:
        description = _describe(**complete)
    except (TypeError, ValueError) as error:
        raise ContentError(f"its description is of no network: {error}") from None
    # Said in full: what a constructor would fill in, or read in two ways, is not for a file.
    for name, value in json.loads(json.dumps(asdict(description))).items():
        if complete[name] != value:
            raise ContentError(f"its description has {name} {complete[name]!r}; expected {value!r}")
    return description


def _steps(told: list[Any]) -> tuple[Standardizer, ...]:
    """Return Standardizers, as the file tells of them, still without their statistics."""
    steps = []
    for i, step in enumerate(told):
        if not isinstance(step, dict) or step.keys() != {"name", "dtype"}:
            raise ContentError(f"its preprocessing[{i}] is not told by name and dtype alone")
        if step["name"] != "Standardizer":
            raise ContentError(
                f"its preprocessing[{i}] is {step['name']!r}; known is 'Standardizer'"
            )
        dtype = step["dtype"]
        steps.append(
            Standardizer(None if dtype is None else _dtype_name(f"preprocessing[{i}].dtype", dtype))
        )
    return tuple(steps)


def _dtype_name(name: str, value: Any) -> str:
    if value not in ("float32", "float64"):
        raise ContentError(f"its {name} is {value!r}; expected 'float32' or 'float64'")
    return str(value)


def _expected(
    description: Description,
    dtype: np.dtype[Any],
    steps: tuple[Standardizer, ...],
) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Return the shape and type of each tensor that belongs into the file."""
    expected: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
    for l, (n_in, n_out) in enumerate(pairwise(description.sizes), 1):
        expected[f"W{l}"] = (n_out, n_in), dtype
        expected[f"b{l}"] = (n_out, 1), dtype
    for i in range(1, len(steps) + 1):
        for name in ("mean", "scale"):
            expected[_statistic(i, name)] = (description.sizes[0], 1), _FLOAT64
    return expected


def _check_tensors(
    found: Mapping[str, Tensor], expected: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]
) -> None:
    _same_names("the tensors", found.keys(), expected.keys())
    for name, (shape, dtype) in expected.items():
        tensor = found[name]
        if tensor.shape != shape:
            raise ContentError(f"tensor {name} has shape {tensor.shape}, expected {shape}")
        if tensor.dtype.newbyteorder("=") != dtype:
            raise ContentError(f"tensor {name} has type {tensor.dtype.name}, expected {dtype.name}")


def _filled(contents: Contents, i: int, name: str) -> Array:
    statistic = _statistic(i, name)
    return contents.copy(statistic, np.empty(contents.tensors[statistic].shape))


def _same_names(where: str, found: Any, expected: Any) -> None:
    """Raise unless the same names are found as are expected."""
    for problem, names in (("lack", expected - found), ("have unexpected", found - expected)):
        if names:
            some = sorted(names)[:_NAMED]
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            raise ContentError(f"{where} {problem} {', '.join(map(repr, some))}{more}")
