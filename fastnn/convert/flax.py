"""Flax and plain JAX: trees of parameters. Neither library is imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from ..network import Network
from .chain import Layer, float_array, network_of
from .errors import ConversionError
from .order import by_number, by_order, unknown

Array = NDArray[Any]

# What weights and biases are called: by Flax, and in code that has neither Flax nor classes.
_WEIGHTS = ("kernel", "w", "W")
_BIASES = ("bias", "b")


def from_flax(
    params: Any,
    activations: str | Sequence[str],
    loss: str | None = None,
    *,
    order: Sequence[str | int] | None = None,
    delta: float = 1.0,
) -> Network:
    """Return the network of a tree of parameters, as Flax and pure JAX code keep them.

    Parameters
    ----------
    params : mapping or sequence
        A tree of dense layers, ``{"params": {"Dense_0": {"kernel": ..., "bias": ...}, ...}}``,
        with or without the outer ``"params"``; or the layers in order, each ``{"w": ..., "b":
        ...}`` or ``(w, b)``. Kernels are (n_in, n_out), biases (n_out,); the bias may be missing
        or None. Arrays of JAX or NumPy, float32 or float64.
    activations : str or sequence of str
        A tree does not know them: as in :class:`fastnn.Network`.
    loss : str, optional
        As in :class:`fastnn.Network`.
    order : sequence of str or int, optional
        The names of the layers from first to last, ``"outer/inner"`` where they are nested. It
        is needed where the names differ in more than their numbers: JAX sorts the keys of
        dictionaries, so their order says nothing. Keys that are integers may stand as such.
    delta : float
        Of the loss huber.

    Returns
    -------
    Network
        With a copy of the parameters, bit for bit, in their type; zeros for missing biases.

    Raises
    ------
    ConversionError
        If the tree holds anything but dense layers, their order is not known, or they do not
        fit each other.
    TypeError
        If params is neither mapping nor sequence, or order no sequence of names.

    Notes
    -----
    By number, ``Dense_10`` comes after ``Dense_9``. A square kernel fits either way: one that is
    (n_out, n_in) has to be transposed by the caller.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> params = {"params": {"Dense_0": {"kernel": np.ones((2, 3), np.float32)}}}
    >>> fastnn.convert.from_flax(params, activations=["identity"]).W[0].shape
    (3, 2)
    """
    if isinstance(params, Mapping):
        named = _ordered(_named(_inner(params)), order)
    elif isinstance(params, Sequence) and not isinstance(params, str):
        if order is not None:
            raise TypeError("order is for a tree with names: a sequence of layers has its own")
        named = {str(i): _parts(f"layer {i}", layer) for i, layer in enumerate(params)}
    else:
        found = type(params).__name__
        raise TypeError(f"params must be a mapping or a sequence of layers, got {found}")
    layers = [_layer(name, *parts) for name, parts in named.items()]
    return network_of(layers, activations, loss, delta)


def to_flax(network: Network) -> dict[str, dict[str, dict[str, Array]]]:
    """Return the parameters as the tree of a Flax module with a Dense for each layer.

    Parameters
    ----------
    network : Network
        Its parameters are copied.

    Returns
    -------
    dict
        ``{"params": {"Dense_0": {"kernel": (n_in, n_out), "bias": (n_out,)}, ...}}``, NumPy
        arrays in the network's type. JAX makes float32 of float64 unless ``jax_enable_x64`` is
        set. The activations are not in it.

    Examples
    --------
    >>> import fastnn
    >>> params = fastnn.convert.to_flax(fastnn.Network([2, 3], ["softmax"]))
    >>> params["params"]["Dense_0"]["kernel"].shape, params["params"]["Dense_0"]["bias"].shape
    ((2, 3), (3,))
    """
    pairs = zip(network.W, network.b, strict=True)
    dense = {
        f"Dense_{l}": {"kernel": W.T.copy(order="C"), "bias": b[:, 0].copy()}
        for l, (W, b) in enumerate(pairs)
    }
    return {"params": dense}


def _inner(params: Mapping[Any, Any]) -> Mapping[Any, Any]:
    if "params" not in params:
        return params
    others = [repr(str(name)) for name in params if name != "params"]
    if others:
        raise ConversionError(
            f"the tree holds {', '.join(others)} beside 'params': a layer that keeps more than"
            " parameters, such as batch normalisation, has no counterpart"
        )
    inner = params["params"]
    if not isinstance(inner, Mapping):
        found = type(inner).__name__
        raise ConversionError(f"'params' must hold a mapping of layers, got {found}")
    return inner


def _named(tree: Mapping[Any, Any]) -> dict[str, tuple[Any, Any | None]]:
    """Return the weights and biases of each dense layer in a tree, by name."""
    named: dict[str, tuple[Any, Any | None]] = {}
    try:
        for name, parts in _dense(tree, ()):
            if name in named:
                raise ConversionError(f"the tree holds two layers that are called {name!r}")
            named[name] = parts
    except RecursionError:
        raise ConversionError("the tree is nested too deeply") from None
    return named


def _dense(
    tree: Mapping[Any, Any], path: tuple[str, ...]
) -> Iterator[tuple[str, tuple[Any, Any | None]]]:
    """Yield the name, weights and biases of each dense layer in a tree."""
    inner = {key: value for key, value in tree.items() if isinstance(value, Mapping)}
    name = "/".join(path)
    if len(inner) < len(tree):
        yield name, _parts(f"layer {name!r}" if name else "the tree", tree)
    else:
        for key, value in inner.items():
            yield from _dense(value, (*path, str(key)))


def _parts(label: str, layer: Any) -> tuple[Any, Any | None]:
    """Return the weights and biases of one layer."""
    if isinstance(layer, Mapping):
        weights = [key for key in layer if key in _WEIGHTS]
        biases = [key for key in layer if key in _BIASES]
        if len(weights) == 1 and len(weights) + len(biases) == len(layer) <= 2:
            return layer[weights[0]], layer[biases[0]] if biases else None
        found = ", ".join(sorted(repr(str(key)) for key in layer)) or "nothing"
        raise ConversionError(
            f"{label}: it holds {found}; expected a dense layer, 'kernel' and 'bias' or 'w' and 'b'"
        )
    if isinstance(layer, Sequence) and not isinstance(layer, str) and len(layer) == 2:
        return layer[0], layer[1]
    raise ConversionError(f"{label}: expected (w, b) or {{'w': w, 'b': b}}, got {_shown(layer)}")


def _shown(layer: Any) -> str:
    kind = type(layer).__name__
    return f"{kind} of {len(layer)}" if isinstance(layer, Sequence) else kind


def _layer(name: str, w: Any, b: Any | None) -> Layer:
    label = f"layer {name!r}" if name else "the layer"
    kernel = float_array(f"the kernel of {label}", w)
    if kernel.ndim != 2:
        raise ConversionError(
            f"{label}: its kernel has shape {kernel.shape}; expected a matrix, (n_in, n_out)"
        )
    bias = None if b is None else float_array(f"the bias of {label}", b)
    return Layer(label, kernel.T, bias)


def _ordered(named: dict[str, Any], order: Sequence[str | int] | None) -> dict[str, Any]:
    """Return the layers from first to last."""
    if order is not None:
        return by_order(named, order)
    found = by_number(named)
    if found is None:
        raise unknown(named)
    return found
