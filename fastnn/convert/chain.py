"""What all converters share: a chain of dense layers, and the network that it makes."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import validation as check
from ..network import Network
from .errors import ConversionError

Array = NDArray[Any]

# The losses that other libraries compute from logits, and what turns these into outputs.
OUTPUT_OF_LOSS = {
    "binary_cross_entropy": "sigmoid",
    "cross_entropy": "softmax",
    "poisson": "exp",
}

NO_LOG_SOFTMAX = (
    "a network's output is softmax, not its logarithm; leave it out and pass loss='cross_entropy'"
)


@dataclass(frozen=True)
class Layer:
    """One dense layer of a model: A = g(W A_prev + b)."""

    name: str  # as an error names it
    W: Array  # (n_out, n_in)
    b: Array | None  # (n_out,); without it, zeros
    activation: str = "identity"


def optional(module: str, extra: str) -> Any:
    """Import a library that only this conversion needs."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        raise ImportError(
            f'this conversion needs {library}: pip install "numba-fastnn[{extra}]"'
        ) from error


def float_array(name: str, value: object) -> Array:
    """Return the values as float32 or float64, whichever they are, in this machine's byte order."""
    found = np.asarray(value)
    if found.dtype.newbyteorder("=") not in check.FLOATS:
        advice = (
            "cast to float32 first"
            if found.dtype.name in ("float16", "bfloat16")
            else "expected float32 or float64"
        )
        raise ConversionError(f"{name} has type {found.dtype.name}: {advice}")
    return found.astype(found.dtype.newbyteorder("="), copy=False)


def network_of(
    layers: Sequence[Layer],
    activations: str | Sequence[str] | None = None,
    loss: str | None = None,
    delta: float = 1.0,
) -> Network:
    """Return the network with these layers and a copy of their parameters.

    ``activations`` stands for those of the layers where the source does not know them. Otherwise
    a last layer without activation gets the one that turns logits into what the loss takes.
    """
    sizes, dtype = _sizes(layers), _common_type(layers)
    if activations is None:
        names = [layer.activation for layer in layers]
        if names[-1] == "identity" and loss is not None:
            names[-1] = OUTPUT_OF_LOSS.get(loss, "identity")
        activations = names
    try:
        network = Network(sizes, activations, loss, dtype, initializer="zeros", delta=delta)
    except ValueError as error:
        raise ConversionError(str(error)) from None
    for layer, W, b in zip(layers, network.W, network.b, strict=True):
        W[...] = layer.W
        if layer.b is not None:
            b[:, 0] = layer.b
    return network


def _sizes(layers: Sequence[Layer]) -> list[int]:
    if not layers:
        raise ConversionError("the model has no dense layer; expected at least one")
    for layer in layers:
        _check_shapes(layer)
    for before, after in pairwise(layers):
        if after.W.shape[1] != before.W.shape[0]:
            raise ConversionError(
                f"{after.name}: it takes {after.W.shape[1]} inputs,"
                f" but {before.name} before it has {before.W.shape[0]} outputs"
            )
    return [layers[0].W.shape[1], *(layer.W.shape[0] for layer in layers)]


def _check_shapes(layer: Layer) -> None:
    if layer.W.ndim != 2:
        raise ConversionError(
            f"{layer.name}: its weights have shape {layer.W.shape}; expected a matrix,"
            " (n_out, n_in)"
        )
    # Without a single value, a shape may claim any size.
    if layer.W.size == 0:
        raise ConversionError(f"{layer.name}: its weights, {layer.W.shape}, hold no value")
    if layer.b is not None and layer.b.shape != layer.W.shape[:1]:
        raise ConversionError(
            f"{layer.name}: its biases have shape {layer.b.shape}; expected {layer.W.shape[:1]}"
        )


def _common_type(layers: Sequence[Layer]) -> np.dtype[Any]:
    first = layers[0]
    for layer in layers:
        for what, array in (("weights", layer.W), ("biases", layer.b)):
            if array is not None and array.dtype != first.W.dtype:
                raise ConversionError(
                    f"{layer.name}: its {what} are {array.dtype}, but the weights of"
                    f" {first.name} are {first.W.dtype}; cast all to one type"
                )
    dtype: np.dtype[Any] = first.W.dtype
    return dtype
