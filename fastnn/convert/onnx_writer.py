"""ONNX: a network as a model."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from .. import validation as check
from ..network import Network
from .chain import optional
from .errors import ConversionError
from .onnx_forms import FORMS, Op, Tree

# The oldest opset in which every operator that is written means what it means today.
_OLDEST_OPSET = 13

# ONNX keeps a model in one message of Protocol Buffers, which ends there. Names and operators take
# a few hundred bytes a layer.
_LIMIT = 2**31 - 1
_AROUND = 1024

LOSS_KEY, DELTA_KEY = "fastnn.loss", "fastnn.delta"


def to_onnx(network: Network, path: str | os.PathLike[str] | None = None, opset: int = 17) -> Any:
    """Return the network as an ONNX model, and save it if a path is given.

    Parameters
    ----------
    network : Network
        Its parameters are copied.
    path : path, optional
        Where to save the model.
    opset : int
        The version of ONNX's operators: from 13 to the newest that the onnx package knows.

    Returns
    -------
    onnx.ModelProto
        Input ``"X"``, (N, n_x), and output ``"A"``, (N, n_y): examples are rows, any number of
        them. A Gemm and an activation for each layer, in the network's type; the loss is kept
        as metadata.

    Raises
    ------
    ConversionError
        If an activation cannot be written, or the model would take 2 GiB or more.
    ValueError
        If the opset is out of range.
    ImportError
        If onnx is not installed: ``pip install "numba-fastnn[onnx]"``.

    Notes
    -----
    GELU is the operator Gelu from opset 20 on, else x (1 + erf(x / sqrt 2)) / 2. ONNX Runtime
    1.32 computes neither in float64: convert a float32 network for it. In float64, leaky ReLU,
    ELU, SiLU and softplus are written as several operators, because ONNX keeps the slope in
    float32 and ONNX Runtime has no Elu and Softplus of that type.

    Examples
    --------
    >>> import fastnn
    >>> model = fastnn.convert.to_onnx(fastnn.Network([4, 3, 2], ["relu", "softmax"]))
    >>> [node.op_type for node in model.graph.node]
    ['Gemm', 'Relu', 'Gemm', 'Softmax']
    """
    onnx = optional("onnx", "onnx")
    newest = onnx.defs.onnx_opset_version()
    if not _OLDEST_OPSET <= check.integer("opset", opset) <= newest:
        raise ValueError(f"opset must lie in [{_OLDEST_OPSET}, {newest}], got {opset}")
    size = network.parameters.nbytes + _AROUND * len(network.W)
    if size > _LIMIT:
        raise ConversionError(
            f"the model would take some {size} bytes, but ONNX holds at most {_LIMIT} (2 GiB) in"
            " one model; a float32 network takes half of a float64 one, and Network.save has no"
            " such limit"
        )
    graph = _Graph(onnx, network, opset)
    opsets = [onnx.helper.make_opsetid("", opset)]
    model = onnx.helper.make_model(
        graph.build(),
        opset_imports=opsets,
        # The oldest version of the file that has this opset: so that older readers read it.
        ir_version=onnx.helper.find_min_ir_version_for(opsets),
        producer_name="fastnn",
    )
    notes = {LOSS_KEY: network.loss}
    if network.loss == "huber":
        notes[DELTA_KEY] = repr(network.delta)
    onnx.helper.set_model_props(model, notes)
    onnx.checker.check_model(model, full_check=True)
    if path is not None:
        onnx.save_model(model, os.fspath(path))
    return model


class _Graph:
    """The nodes and constants of one model, as they come to be."""

    def __init__(self, onnx: Any, network: Network, opset: int) -> None:
        self.onnx, self.network, self.opset = onnx, network, opset
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def build(self) -> Any:
        network, helper = self.network, self.onnx.helper
        tensor, last = "X", len(network.W)
        layers = zip(network.W, network.b, network.activations, strict=True)
        for l, (W, b, activation) in enumerate(layers, start=1):
            inputs = [tensor, self._constant(f"W{l}", W), self._constant(f"b{l}", b[:, 0])]
            out = "A" if l == last else f"A{l}"
            tensor = out if activation == "identity" else f"Z{l}"
            self._node("Gemm", inputs, tensor, {"transB": 1})
            if activation != "identity":
                tree = _tree(l - 1, activation, self.opset, network.dtype)
                tensor = self._write(tree, tensor, out)
        kind = helper.np_dtype_to_tensor_dtype(network.dtype)
        return helper.make_graph(
            self.nodes,
            "fastnn",
            [helper.make_tensor_value_info("X", kind, ["N", network.sizes[0]])],
            [helper.make_tensor_value_info("A", kind, ["N", network.sizes[-1]])],
            list(self.constants.values()),
        )

    def _write(self, tree: Tree, z: str, out: str | None = None) -> str:
        """Add the operators of a tree, and return what the result is called."""
        if isinstance(tree, float):
            return self._constant(f"c{tree:g}", np.asarray(tree, self.network.dtype))
        if not isinstance(tree, Op):
            return z
        operands = [self._write(operand, z) for operand in tree.operands]
        attributes = {name: values[0] for name, values in tree.attributes.items()}
        return self._node(tree.kind, operands, out or f"t{len(self.nodes)}", attributes)

    def _node(self, kind: str, inputs: list[str], out: str, attributes: dict[str, Any]) -> str:
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [out], name=name, **attributes))
        return out

    def _constant(self, name: str, values: Any) -> str:
        if name not in self.constants:
            # A copy in C order: a view may be written by its base.
            array = np.array(values, order="C")
            self.constants[name] = self.onnx.numpy_helper.from_array(array, name)
        return name


def _tree(l: int, activation: str, opset: int, dtype: np.dtype[Any]) -> Op:
    for form in FORMS.get(activation, ()):
        if form.since <= opset and (form.float64 or dtype == np.float32):
            return form.tree
    raise ConversionError(
        f"layer {l}: the activation {activation!r} has no operators in ONNX; convertible are"
        f" identity, {', '.join(FORMS)}"
    )
