"""The parameters of a PyTorch model as a dictionary of arrays; PyTorch itself is not needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from ..network import Network
from .chain import Layer, float_array
from .errors import ConversionError
from .order import by_number, by_order, numbers, stem, unknown

Array = NDArray[Any]


def to_state_dict(network: Network) -> dict[str, Array]:
    """Return the parameters under the names that they have in :func:`to_torch`'s module.

    Parameters
    ----------
    network : Network
        Its parameters are copied.

    Returns
    -------
    dict of str to array
        ``"0.weight"`` (n_out, n_in), ``"0.bias"`` (n_out,), ... The number is the layer's place
        in the ``Sequential``, where every activation but the identity has a place of its own.

    Examples
    --------
    >>> import fastnn
    >>> net = fastnn.Network([4, 3, 2], ["relu", "softmax"])
    >>> {name: array.shape for name, array in fastnn.convert.to_state_dict(net).items()}
    {'0.weight': (3, 4), '0.bias': (3,), '2.weight': (2, 3), '2.bias': (2,)}
    """
    state: dict[str, Array] = {}
    place = 0
    for W, b, activation in zip(network.W, network.b, network.activations, strict=True):
        state[f"{place}.weight"] = W.copy()
        state[f"{place}.bias"] = b[:, 0].copy()
        place += 1 if activation == "identity" else 2
    return state


def layers_of_state(
    state: Mapping[str, Any], order: Sequence[str | int] | None = None
) -> list[Layer]:
    """Return the layers from first to last, without activations."""
    found: dict[str, dict[str, Array]] = {}
    for key, value in state.items():
        prefix, _, kind = str(key).rpartition(".")
        if kind not in ("weight", "bias"):
            raise ConversionError(
                f"{key!r} is no parameter of a dense layer; expected names that end in"
                " 'weight' and 'bias', such as '0.weight' and '0.bias'"
            )
        parts = found.setdefault(prefix, {})
        if value is not None or kind == "weight":
            parts[kind] = array_of_tensor(f"{key!r}", value)
    layers = {}
    for prefix, parts in found.items():
        name = f"layer {prefix!r}" if prefix else "the layer"
        if "weight" not in parts:
            raise ConversionError(f"{name}: it has a bias but no weight")
        layers[prefix] = Layer(name, parts["weight"], parts.get("bias"))
    if order is not None:
        return list(by_order(layers, order).values())
    numbered = by_number(layers)
    return list((_by_place(state, layers) if numbered is None else numbered).values())


def _by_place(state: Mapping[str, Any], layers: dict[str, Layer]) -> dict[str, Layer]:
    """Return layers whose names tell no order as the dictionary has them, if that means anything.

    What was sorted, as files and JAX do it, is no longer as its module had it. A module's own
    dictionary comes with a note of the versions of its parts, and where there are biases it has
    each after its weight.
    """
    keys = [str(key) for key in state]
    if keys == sorted(keys) and not hasattr(state, "_metadata"):
        chained = _by_shapes(layers)
        if chained is None:
            raise unknown(layers)
        return chained
    last: dict[str, tuple[tuple[int, str], ...]] = {}
    for name in layers:
        if stem(name) in last and numbers(name) <= last[stem(name)]:
            raise unknown(layers)
        last[stem(name)] = numbers(name)
    return layers


def _by_shapes(layers: dict[str, Layer]) -> dict[str, Layer] | None:
    """Return the layers in the one order in which they fit each other, or None."""
    if any(layer.W.ndim != 2 for layer in layers.values()):
        return None
    taking = {layer.W.shape[1]: name for name, layer in layers.items()}
    made = {layer.W.shape[0] for layer in layers.values()}
    first = [name for n_in, name in taking.items() if n_in not in made]
    # Where two take equally many inputs, or all form a ring, there may be several orders.
    if len(taking) < len(layers) or len(first) != 1:
        return None
    chained = {first[0]: layers[first[0]]}
    n_out = layers[first[0]].W.shape[0]
    while (name := taking.get(n_out)) is not None and name not in chained:
        chained[name] = layers[name]
        n_out = layers[name].W.shape[0]
    return chained if len(chained) == len(layers) else None


def array_of_tensor(name: str, value: Any) -> Array:
    """Return the values of an array, or of a PyTorch tensor on any device, as NumPy's."""
    if hasattr(value, "detach"):
        _check_tensor(name, value)
        value = value.detach().cpu().numpy()
    return float_array(name, value)


def _check_tensor(name: str, tensor: Any) -> None:
    # NumPy has no counterpart to some of PyTorch's types; the message should not be NumPy's.
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype not in ("float32", "float64"):
        advice = "cast to float32 first" if "float" in dtype else "expected float32 or float64"
        raise ConversionError(f"{name} has type {dtype}: {advice}")
    if tensor.is_meta:
        raise ConversionError(f"{name} is on the device 'meta' and has no values; load them first")
    if tensor.is_sparse or tensor.is_quantized:
        raise ConversionError(f"{name} is sparse or quantized; expected a dense tensor")
