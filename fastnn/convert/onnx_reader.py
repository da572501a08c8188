"""ONNX: a model that is a chain of dense layers, as a network.

A file is not to be trusted: the sizes are those of the stored values, every operator has to be
one of a few whose meaning here is known, and every node has to be part of the chain.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import permutations
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.codes import LOSSES
from ..network import Network
from .chain import OUTPUT_OF_LOSS, Layer, network_of, optional
from .errors import ConversionError
from .onnx_graph import ACCEPTED, DOMAINS, Graph
from .onnx_match import match_activation
from .onnx_writer import DELTA_KEY, LOSS_KEY

Array = NDArray[Any]

# From here on Gemm, Reshape and Dropout have the inputs and attributes that are looked at.
_OLDEST_OPSET = 7
_PASSING = ("Identity", "Dropout", "Cast", "Flatten", "Reshape", "Transpose")


def from_onnx(
    model_or_path: Any, loss: str | None = None, *, delta: float | None = None
) -> Network:
    """Return the network that an ONNX model computes.

    Parameters
    ----------
    model_or_path : onnx.ModelProto or path
        One chain of dense layers: Gemm (alpha and beta 1, A not transposed) or MatMul, or one
        of them without biases and an Add, each followed by at most one activation: Relu,
        LeakyRelu(0.01), Elu(1), Sigmoid, Tanh, Softmax, Softplus, Gelu, Exp, or several
        operators that together are GELU, SiLU, leaky ReLU, ELU or softplus, as :func:`to_onnx`
        and PyTorch write them. Identity, Dropout, Cast, Reshape, Transpose and Flatten may
        stand where they do nothing; a Flatten or Reshape of images into rows may come first.
        Values in other files are read where a path is given, from the folder of the model.
    loss : str, optional
        As in :class:`fastnn.Network`; unless given, the one that :func:`to_onnx` noted down. A
        model that ends in a dense layer ends in logits if the loss is ``"cross_entropy"``,
        ``"binary_cross_entropy"`` or ``"poisson"``: the network's last activation is then
        softmax, sigmoid or exp.
    delta : float, optional
        Of the loss huber; unless given, what :func:`to_onnx` noted down, or 1.

    Returns
    -------
    Network
        With a copy of the parameters, bit for bit, float32 or float64; zeros for missing
        biases. What the model takes as ``X``, one example a row, the network takes as ``X.T``.

    Raises
    ------
    ConversionError
        If the model is no valid ONNX, or is anything but such a chain; the message names the
        node.
    OSError
        If the file cannot be read.
    ImportError
        If onnx is not installed: ``pip install "numba-fastnn[onnx]"``.

    Notes
    -----
    ONNX keeps the slope of LeakyRelu in float32: a float64 model that says 0.01 there computes
    with 0.00999999978, the network with 0.01. PyTorch's Softplus, exported, is the identity
    above 20, where the network's differs by up to 2.1e-9.

    Examples
    --------
    >>> import fastnn
    >>> net = fastnn.Network([4, 3, 2], ["gelu", "softmax"])
    >>> again = fastnn.convert.from_onnx(fastnn.convert.to_onnx(net))
    >>> again
    Network([4, 3, 2], activations=['gelu', 'softmax'], loss='cross_entropy', dtype=float32)
    >>> bool((again.parameters == net.parameters).all())
    True
    """
    onnx = optional("onnx", "onnx")
    model = _valid(onnx, _loaded(onnx, model_or_path))
    layers = _shapes_checked(*_chain(Graph(onnx, model.graph)))
    notes = {entry.key: entry.value for entry in model.metadata_props}
    if loss is None:
        loss = _noted_loss(notes)
    return network_of(layers, loss=loss, delta=_noted_delta(notes) if delta is None else delta)


def _noted_loss(notes: dict[str, str]) -> str | None:
    noted = notes.get(LOSS_KEY)
    # Those that need one output follow from it; a note is not to add an activation.
    return noted if noted in LOSSES and noted not in OUTPUT_OF_LOSS else None


def _noted_delta(notes: dict[str, str]) -> float:
    noted = notes.get(DELTA_KEY, "1")
    try:
        return float(noted)
    except ValueError:
        raise ConversionError(f"the model notes {DELTA_KEY}={noted!r}; expected a number") from None


def _loaded(onnx: Any, model_or_path: Any) -> Any:
    if isinstance(model_or_path, onnx.ModelProto):
        return model_or_path
    if not isinstance(model_or_path, str | os.PathLike):
        found = type(model_or_path).__name__
        raise TypeError(f"expected an onnx.ModelProto or a path, got {found}")
    decode_error = optional("google.protobuf.message", "onnx").DecodeError
    path = os.fspath(model_or_path)
    try:
        return onnx.load_model(path, format="protobuf")
    except (decode_error, onnx.checker.ValidationError) as error:
        raise ConversionError(f"{path} is no ONNX model: {error}") from None


def _valid(onnx: Any, model: Any) -> Any:
    """Return the model if it is valid ONNX, complete, and of operators whose meaning is fixed."""
    for tensor in _stored(model.graph):
        if onnx.external_data_helper.uses_external_data(tensor):
            raise ConversionError(
                f"the values of {tensor.name!r} are in another file: give the path of the model,"
                " or load it with onnx.load"
            )
    opset = max((each.version for each in model.opset_import if each.domain in DOMAINS), default=0)
    newest = onnx.defs.onnx_opset_version()
    if opset > newest:  # the checker would take its operators for those of today
        raise ConversionError(
            f"the model uses opset {opset}, but onnx {onnx.__version__} knows no newer one than"
            f" {newest}: install a newer onnx"
        )
    invalid = (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError)
    try:
        onnx.checker.check_model(model, full_check=True)
    except invalid as error:
        raise ConversionError(f"the model is no valid ONNX: {error}") from None
    if model.functions:
        names = ", ".join(repr(function.name) for function in model.functions)
        raise ConversionError(f"the model defines operators of its own, {names}; {ACCEPTED}")
    if opset < _OLDEST_OPSET:
        raise ConversionError(
            f"the model uses opset {opset}; expected at least {_OLDEST_OPSET}:"
            " onnx.version_converter can raise it"
        )
    return model


def _stored(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in graph.node:
        yield from (attribute.t for attribute in node.attribute if attribute.HasField("t"))


@dataclass(frozen=True)
class _Step:
    """A dense layer, or (without one) a node that may change the shape of examples."""

    node: int
    layer: Layer | None = None


def _chain(graph: Graph) -> tuple[Graph, list[_Step]]:
    """Walk from the output back to the input; return the steps from first to last."""
    steps: list[_Step] = []
    activation, after = "identity", ""
    tensor = graph.output
    while tensor != graph.input:
        i = graph.use(tensor)
        if graph.nodes[i].op_type in _PASSING:
            if graph.nodes[i].op_type in ("Flatten", "Reshape"):
                steps.append(_Step(i))
            tensor = _passed(graph, i, tensor)
        elif (linear := _linear(graph, i)) is not None:
            layer, tensor = linear
            steps.append(_Step(i, replace(layer, activation=activation)))
            activation, after = "identity", ""
        elif after:
            raise graph.error(
                i, f"{after} follows it; a network has one activation after each dense layer"
            )
        else:
            activation, tensor = match_activation(graph, tensor)
            after = graph.label(i)
    if after:
        raise ConversionError(f"{after}: there is no dense layer before it")
    graph.check_all_used()
    return graph, steps[::-1]


def _linear(graph: Graph, i: int) -> tuple[Layer, str] | None:
    """Return the dense layer that ends in this node, and the tensor that it takes."""
    node = graph.nodes[i]
    if node.op_type == "Gemm":
        return _gemm(graph, i), node.input[0]
    if node.op_type == "MatMul":
        return _matmul(graph, i), node.input[0]
    if node.op_type != "Add":
        return None
    for product, bias in permutations(node.input):
        j = graph.producer.get(product)
        kind = None if j is None else graph.nodes[j].op_type
        if j is None or kind not in ("MatMul", "Gemm") or graph.constant(bias) is None:
            continue
        if kind == "Gemm" and _biased(graph.nodes[j]):  # the sum of two biases would be rounded
            continue
        graph.use(product)
        layer = _gemm(graph, j) if kind == "Gemm" else _matmul(graph, j)
        return replace(layer, b=_bias(graph, i, bias, layer.W)), graph.nodes[j].input[0]
    return None


def _gemm(graph: Graph, i: int) -> Layer:
    node, attributes = graph.nodes[i], graph.attributes(i)
    for name, expected in (("alpha", 1.0), ("beta", 1.0), ("transA", 0)):
        if attributes.get(name, expected) != expected:
            raise graph.error(i, f"{name} is {attributes[name]:g}; expected {expected:g}")
    W = _weights(graph, i)
    if not attributes.get("transB", 0):
        W = W.T
    b = _bias(graph, i, node.input[2], W) if _biased(node) else None
    return Layer(graph.label(i), W, b)


def _biased(gemm: Any) -> bool:
    # An optional input that is left out may be there by an empty name.
    return len(gemm.input) > 2 and bool(gemm.input[2])


def _matmul(graph: Graph, i: int) -> Layer:
    return Layer(graph.label(i), _weights(graph, i).T, None)


def _weights(graph: Graph, i: int) -> Array:
    W = graph.parameters(i, graph.nodes[i].input[1], "weights")
    if W.ndim != 2:
        raise graph.error(i, f"its weights have shape {W.shape}; expected a matrix")
    return W


def _bias(graph: Graph, i: int, tensor: str, W: Array) -> Array:
    bias = graph.parameters(i, tensor, "biases")
    if bias.size == 1 and bias.ndim <= 2:
        return np.broadcast_to(bias.ravel(), W.shape[:1])
    if bias.shape not in ((len(W),), (1, len(W))):
        raise graph.error(i, f"its biases have shape {bias.shape}; expected ({len(W)},)")
    return bias.ravel()


def _passed(graph: Graph, i: int, tensor: str) -> str:
    """Return the tensor that a node hands on as it is; shapes are checked later."""
    node, attributes = graph.nodes[i], graph.attributes(i)
    if node.op_type == "Dropout":
        if tensor != node.output[0]:
            raise graph.error(i, "its mask is used; expected its first output alone")
        training = node.input[2] if len(node.input) > 2 else ""
        if training:
            flag = graph.constant(training)
            if flag is None or flag.any():
                raise graph.error(i, "its training_mode is not false; export for inference")
    if node.op_type == "Cast" and attributes["to"] != graph.kind:
        kinds = graph.type_name(graph.kind), graph.type_name(attributes["to"])
        raise graph.error(i, f"it casts {kinds[0]} to {kinds[1]}; expected it to do nothing")
    if node.op_type == "Transpose":
        perm = list(attributes.get("perm", ()))
        if not perm or perm != sorted(perm):
            raise graph.error(i, "it changes the order of the axes; expected it to do nothing")
    passed: str = node.input[0]
    return passed


def _shapes_checked(graph: Graph, steps: list[_Step]) -> list[Layer]:
    """Go from the input on with the shape of one example, and return the layers."""
    shape = graph.input_shape()
    layers: list[Layer] = []
    for step in steps:
        if step.layer is None:
            shape = _flattened(graph, step.node, shape, first=not layers)
            continue
        n_out, n_in = step.layer.W.shape
        if len(shape) != 1 or shape[0] not in (None, n_in):
            raise graph.error(
                step.node, f"it takes (N, {n_in}), but an example has the shape {_shown(shape)}"
            )
        shape = (n_out,)
        layers.append(step.layer)
    return layers


def _flattened(
    graph: Graph, i: int, shape: tuple[int | None, ...], first: bool
) -> tuple[int | None, ...]:
    """Return the shape of an example after Flatten or Reshape, if it is one flat row."""
    known = [n for n in shape if n is not None]
    n = prod(known) if len(known) == len(shape) else None
    if graph.nodes[i].op_type == "Flatten":
        flattens = graph.attributes(i).get("axis", 1) in (1, -len(shape))
    else:
        flattens = _reshapes_to_rows(graph, i, n)
    if not flattens or (len(shape) > 1 and not first):
        raise graph.error(
            i,
            f"it changes the shape of examples, {_shown(shape)}; expected it to do nothing, or to"
            " flatten each example before the first dense layer",
        )
    return (n,)


def _reshapes_to_rows(graph: Graph, i: int, n: int | None) -> bool:
    target = graph.constant(graph.nodes[i].input[1])
    if target is None or target.shape != (2,) or n is None:
        return False
    batch, row = target.tolist()
    copies_batch = batch == 0 and not graph.attributes(i).get("allowzero", 0)
    # One of the two may be -1: what is left over.
    return (copies_batch and row in (-1, n)) or (batch == -1 and row == n)


def _shown(shape: tuple[int | None, ...]) -> str:
    return f"({', '.join('?' if n is None else str(n) for n in shape)})"
