"""PyTorch: a Sequential of Linear layers and activations, or the dictionary of its parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..kernels.codes import LEAK
from ..network import Network
from .chain import NO_LOG_SOFTMAX, OUTPUT_OF_LOSS, Layer, network_of, optional
from .errors import ConversionError
from .state_dict import array_of_tensor, layers_of_state, to_state_dict

# Each activation's module, and the values that its attributes may have: the first is written.
# PyTorch takes softplus for the identity above the threshold. At 40 that is so in float64 too;
# its own default, 20, is off by up to 2.1e-9 there.
_MODULES: dict[str, tuple[str, dict[str, tuple[Any, ...]]]] = {
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "relu": ("ReLU", {}),
    "leaky_relu": ("LeakyReLU", {"negative_slope": (LEAK,)}),
    "softmax": ("Softmax", {"dim": (1, -1)}),
    "elu": ("ELU", {"alpha": (1.0,)}),
    "gelu": ("GELU", {"approximate": ("none",)}),
    "silu": ("SiLU", {}),
    "softplus": ("Softplus", {"beta": (1.0,), "threshold": (40.0, 20.0)}),
}
_ACTIVATIONS = {module: activation for activation, (module, _) in _MODULES.items()}

_REASONS = {
    "LogSoftmax": NO_LOG_SOFTMAX,
}


def from_torch(
    module_or_state_dict: Any,
    activations: str | Sequence[str] | None = None,
    loss: str | None = None,
    *,
    order: Sequence[str | int] | None = None,
    delta: float = 1.0,
) -> Network:
    """Return the network that a PyTorch model, or the dictionary of its parameters, stands for.

    Parameters
    ----------
    module_or_state_dict : torch.nn.Sequential, torch.nn.Linear, or mapping of str to array
        A Sequential, nested or not, of Linear, Identity, Dropout, ReLU, LeakyReLU(0.01), ELU,
        GELU, SiLU, Softplus, Sigmoid, Tanh and Softmax(1); Flatten may come first. Dropout is
        left out: it does nothing in inference, and to train with it is asked of
        :meth:`fastnn.Network.fit`. A dictionary has the weights (n_out, n_in) and biases
        (n_out,) of each layer, as arrays or tensors; a bias may be missing or None. For arrays
        PyTorch need not be installed.
    activations : str or sequence of str
        For a dictionary, which does not know them: as in :class:`fastnn.Network`.
    loss : str, optional
        As in :class:`fastnn.Network`. A module that ends in a Linear ends in logits if the loss
        is ``"cross_entropy"`` (CrossEntropyLoss), ``"binary_cross_entropy"``
        (BCEWithLogitsLoss) or ``"poisson"`` (PoissonNLLLoss): the network's last activation is
        then softmax, sigmoid or exp.
    order : sequence of str or int, optional
        For a dictionary: the names of the layers from first to last, as ``"fc1"`` of
        ``"fc1.weight"``; the notes say when it is needed.
    delta : float
        Of the loss huber.

    Returns
    -------
    Network
        With a copy of the parameters, bit for bit, in their type. A Linear without bias gets
        zeros. Examples are columns: what the module takes as ``X`` the network takes as ``X.T``.

    Raises
    ------
    ConversionError
        If anything else is in the module, it has hooks or a ``forward`` put in place of its
        own, the order of a dictionary's layers is not known, or parameters are not float32 or
        float64.
    TypeError
        If activations are missing, activations or order are given beside a module, or order is
        no sequence of names.
    ImportError
        If a module is given and PyTorch is not installed.

    Notes
    -----
    Layers of a dictionary whose names differ in their numbers alone come by number, ``"10"``
    after ``"2"``. Others come in the order of the dictionary. If it is sorted, as it comes out of
    a safetensors file, that order says nothing: then they come in the only order in which they
    fit each other, and where there are several, or it cannot be seen that there are not, `order`
    is asked for. A ``state_dict()`` names the layers in the order in which ``__init__`` made
    them: if ``forward`` calls them in another, only `order` can say so.

    PyTorch's Softplus is the identity above its threshold, 20 by default: in float64 its output
    differs from the network's there, by at most 2.1e-9.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> state = {"0.weight": np.ones((1, 2), np.float32), "0.bias": np.zeros(1, np.float32)}
    >>> net = fastnn.convert.from_torch(state, activations=["sigmoid"])
    >>> net.forward(np.zeros((2, 3), np.float32))
    array([[0.5, 0.5, 0.5]], dtype=float32)
    """
    if isinstance(module_or_state_dict, Mapping):
        if activations is None:
            raise TypeError(
                "a dictionary of parameters does not know its activations: give activations="
            )
        return network_of(layers_of_state(module_or_state_dict, order), activations, loss, delta)
    if order is not None:
        raise TypeError("the order is read from the module: leave order= out")
    if activations is not None:
        raise TypeError("the activations are read from the module: leave activations= out")
    torch = optional("torch", "torch")
    if not isinstance(module_or_state_dict, torch.nn.Module):
        found = type(module_or_state_dict).__name__
        raise TypeError(f"expected a torch.nn.Module or a dictionary of arrays, got {found}")
    _check_global_hooks(torch.nn.modules.module)
    try:
        layers = _layers(torch.nn, module_or_state_dict)
    except RecursionError:
        raise ConversionError("the modules are nested too deeply") from None
    return network_of(layers, loss=loss, delta=delta)


def to_torch(network: Network, logits: bool = False) -> Any:
    """Return the network as a ``torch.nn.Sequential`` of Linear layers and activations.

    Parameters
    ----------
    network : Network
        Its parameters are copied.
    logits : bool
        Whether to leave out a last sigmoid, softmax or exp, for PyTorch's BCEWithLogitsLoss,
        CrossEntropyLoss and PoissonNLLLoss.

    Returns
    -------
    torch.nn.Sequential
        On the CPU, in the network's type, in training mode. Its examples are rows.

    Raises
    ------
    ConversionError
        If PyTorch has no module for an activation, as for exp, or logits are asked of a network
        with another output.
    ImportError
        If PyTorch is not installed.

    Examples
    --------
    >>> import fastnn
    >>> net = fastnn.Network([4, 3, 2], ["relu", "softmax"])
    >>> fastnn.convert.to_torch(net)
    Sequential(
      (0): Linear(in_features=4, out_features=3, bias=True)
      (1): ReLU()
      (2): Linear(in_features=3, out_features=2, bias=True)
      (3): Softmax(dim=1)
    )
    """
    outputs = OUTPUT_OF_LOSS.values()
    if logits and network.activations[-1] not in outputs:
        raise ConversionError(
            f"the last layer ({network.activations[-1]}) has no logits: logits=True leaves out a"
            f" last {', '.join(outputs)}"
        )
    torch = optional("torch", "torch")
    dtype = getattr(torch, network.dtype.name)
    modules: list[Any] = []
    for l, (W, activation) in enumerate(zip(network.W, network.activations, strict=True)):
        n_out, n_in = W.shape
        # skip_init: drawing weights that are overwritten would move PyTorch's random state.
        linear = torch.nn.utils.skip_init(torch.nn.Linear, n_in, n_out, device="cpu", dtype=dtype)
        modules.append(linear)
        last = l == len(network.W) - 1
        if activation != "identity" and not (last and logits):
            modules.append(_module(torch.nn, l, activation))
    sequential = torch.nn.Sequential(*modules)
    state = to_state_dict(network)
    sequential.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    return sequential


def _module(nn: Any, l: int, activation: str) -> Any:
    if activation not in _MODULES:
        raise ConversionError(
            f"layer {l}: PyTorch has no module for the activation {activation!r};"
            f" convertible are identity, {', '.join(_MODULES)}, and as output those that"
            " logits=True leaves out"
        )
    kind, attributes = _MODULES[activation]
    return getattr(nn, kind)(**{name: values[0] for name, values in attributes.items()})


def _check_global_hooks(modules: Any) -> None:
    if modules._global_forward_hooks or modules._global_forward_pre_hooks:
        raise ConversionError(
            "there are hooks of all modules (torch.nn.modules.module.register_module_forward_hook"
            " or register_module_forward_pre_hook), which may change what they compute; remove"
            " them first"
        )


def _layers(nn: Any, model: Any) -> list[Layer]:
    layers: list[Layer] = []
    for name, module in _flat(nn, "", model):
        kind = type(module).__name__
        # Exactly these classes: a subclass may compute anything.
        known = type(module) is getattr(nn, kind, None)
        if known and kind == "Linear":
            weight = array_of_tensor(f"{name}.weight", module.weight)
            bias = None if module.bias is None else array_of_tensor(f"{name}.bias", module.bias)
            layers.append(Layer(f"{name} (Linear)", weight, bias))
        elif known and kind in _ACTIVATIONS:
            activation = _activation(name, kind, module)
            if not layers or layers[-1].activation != "identity":
                before = "no Linear" if not layers else layers[-1].activation
                raise ConversionError(
                    f"{name} ({kind}): there is {before} before it; a network has one activation"
                    " after each Linear"
                )
            layers[-1] = replace(layers[-1], activation=activation)
        elif known and kind == "Flatten":
            _check_flatten(name, module, layers)
        elif not (known and kind in ("Identity", "Dropout")):
            raise ConversionError(f"{name} ({kind}): {_reason(kind)}")
    return layers


def _flat(nn: Any, name: str, module: Any) -> Iterator[tuple[str, Any]]:
    """Yield the modules that a Sequential calls, one after the other."""
    label = f"module {name!r}" if name else "the module"
    hooks = (module._forward_hooks, module._forward_pre_hooks)
    if any(hooks):
        raise ConversionError(
            f"{label} ({type(module).__name__}): it has hooks, which may change what it computes;"
            " remove them first"
        )
    # PyTorch calls what the instance has before what its class has.
    if "forward" in vars(module):
        raise ConversionError(
            f"{label} ({type(module).__name__}): its forward was replaced, and may compute"
            " anything; remove it with del module.forward"
        )
    if type(module) is nn.Sequential:
        # named_children() would leave out the second call of a module that is there twice.
        for inner, child in module._modules.items():
            yield from _flat(nn, f"{name}.{inner}" if name else inner, child)
    else:
        yield label, module


def _activation(name: str, kind: str, module: Any) -> str:
    activation = _ACTIVATIONS[kind]
    for attribute, values in _MODULES[activation][1].items():
        found = getattr(module, attribute)
        if found not in values:
            raise ConversionError(
                f"{name} ({kind}): {attribute} is {found!r}; fastnn's {activation} needs"
                f" {' or '.join(map(repr, values))}"
            )
    return activation


def _check_flatten(name: str, module: Any, layers: list[Layer]) -> None:
    if layers or (module.start_dim, module.end_dim) != (1, -1):
        raise ConversionError(
            f"{name} (Flatten): expected Flatten(1, -1) before the first Linear, where the network"
            f" takes flat examples; got Flatten({module.start_dim}, {module.end_dim}) after"
            f" {len(layers)} Linear"
        )


def _reason(kind: str) -> str:
    accepted = ", ".join(["Linear", "Identity", "Dropout", "Flatten", *_ACTIVATIONS])
    reason = _REASONS.get(
        kind,
        "what it computes cannot be read from it; where it only calls dense layers in turn,"
        " pass its state_dict() with activations=",
    )
    return f"{reason}. Convertible are Sequential of {accepted}"
