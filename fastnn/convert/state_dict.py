"""The parameters of a PyTorch model as a dictionary of arrays; PyTorch itself is not needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from ..network import Network
from .chain import Layer, float_array
from .errors import ConversionError

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


def layers_of_state(state: Mapping[str, Any]) -> list[Layer]:
    """Return the layers in the order of the dictionary, without activations."""
    found: dict[str, dict[str, Array]] = {}
    for key, value in state.items():
        prefix, _, kind = str(key).rpartition(".")
        if kind not in ("weight", "bias"):
            raise ConversionError(
                f"{key!r} is no parameter of a dense layer; expected names that end in"
                " 'weight' and 'bias', such as '0.weight' and '0.bias'"
            )
        found.setdefault(prefix, {})[kind] = array_of_tensor(f"{key!r}", value)
    layers = []
    for prefix, parts in found.items():
        name = f"layer {prefix!r}" if prefix else "the layer"
        if "weight" not in parts:
            raise ConversionError(f"{name}: it has a bias but no weight")
        layers.append(Layer(name, parts["weight"], parts.get("bias")))
    return layers


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
