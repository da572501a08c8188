"""An ONNX graph as the reader sees it: nodes by what they produce, and constants."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .chain import float_array
from .errors import ConversionError
from .onnx_forms import FORMS, Z

Array = NDArray[Any]

# ONNX's own operators; those of other domains may mean anything.
DOMAINS = ("", "ai.onnx")

# What a Constant may hold but a tensor, and its type.
_PLAIN = {
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
}


def _accepted() -> str:
    forms = [(name, form.tree) for name, several in FORMS.items() for form in several]
    alone = {tree.kind for _, tree in forms if tree.operands == (Z,)}
    together = {name for name, tree in forms if tree.operands != (Z,)}
    return (
        "convertible is one chain of Gemm, MatMul, and either + Add, with "
        + ", ".join(sorted(alone))
        + ", several operators that together are "
        + ", ".join(sorted(together))
        + ", Identity, and Flatten, Reshape, Transpose, Dropout and Cast where they do nothing"
    )


ACCEPTED = _accepted()


class Graph:
    """The nodes of a graph with one input and one output, and which of them were made use of."""

    def __init__(self, onnx: Any, graph: Any) -> None:
        self.onnx = onnx
        self.nodes = list(graph.node)
        self.producer = {name: i for i, node in enumerate(self.nodes) for name in node.output}
        self.initializers = {tensor.name: tensor for tensor in graph.initializer}
        self.used: set[int] = set()
        inputs = [each for each in graph.input if each.name not in self.initializers]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise ConversionError(
                f"the model has {len(inputs)} inputs and {len(graph.output)} outputs; expected"
                " one of each"
            )
        self.input: str = inputs[0].name
        self.output: str = graph.output[0].name
        self._declared = inputs[0].type.tensor_type
        self.kind: int = self._declared.elem_type
        if self.kind not in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE):
            raise ConversionError(
                f"the input {self.input!r} is of type {self.type_name(self.kind)}; expected"
                " FLOAT or DOUBLE: cast the model first"
            )

    def type_name(self, kind: int) -> str:
        """Return what ONNX calls a type."""
        name: str = self.onnx.TensorProto.DataType.Name(kind)
        return name

    def input_shape(self) -> tuple[int | None, ...]:
        """Return the shape of one example, None where it is left open."""
        dimensions = self._declared.shape.dim
        if len(dimensions) < 2:
            raise ConversionError(
                f"the input {self.input!r} declares {len(dimensions)} dimensions; expected (N, n_x)"
            )
        return tuple(
            each.dim_value if each.HasField("dim_value") else None for each in dimensions[1:]
        )

    def label(self, i: int) -> str:
        """Return a node as an error names it."""
        node = self.nodes[i]
        return f"node {i} {node.name!r} ({node.op_type})"

    def error(self, i: int, why: str) -> ConversionError:
        """Return the error that names a node."""
        return ConversionError(f"{self.label(i)}: {why}")

    def use(self, tensor: str) -> int:
        """Return the node that produces a tensor, as part of the chain."""
        if tensor not in self.producer:
            raise ConversionError(
                f"{tensor!r} does not depend on the input {self.input!r}; {ACCEPTED}"
            )
        i = self.producer[tensor]
        if self.nodes[i].domain not in DOMAINS:
            raise self.error(i, f"it is of the domain {self.nodes[i].domain!r}; {ACCEPTED}")
        self.used.add(i)
        return i

    def check_all_used(self) -> None:
        """Raise unless every node has been used; constants that nothing takes do no harm."""
        unused = [
            self.label(i)
            for i, node in enumerate(self.nodes)
            if i not in self.used and not (node.op_type == "Constant" and node.domain in DOMAINS)
        ]
        if unused:
            raise ConversionError(
                f"{', '.join(unused[:5])}: not part of the chain from {self.input!r} to"
                f" {self.output!r}; {ACCEPTED}"
            )

    def attributes(self, i: int) -> dict[str, Any]:
        """Return the attributes of a node, text as text."""
        read = self.onnx.helper.get_attribute_value
        found = {each.name: read(each) for each in self.nodes[i].attribute}
        return {
            name: value.decode(errors="replace") if isinstance(value, bytes) else value
            for name, value in found.items()
        }

    def constant(self, tensor: str) -> Array | None:
        """Return the values of a tensor that is the same for every input, or None."""
        flipped, passed = False, []
        while tensor not in self.initializers:
            if tensor not in self.producer:
                return None
            i = self.producer[tensor]
            passed.append(i)
            node = self.nodes[i]
            if node.domain not in DOMAINS:
                return None
            if node.op_type == "Constant":
                break
            if node.op_type == "Transpose":
                perm = list(self.attributes(i).get("perm", (1, 0)))
                if perm not in ([1, 0], [0, 1]):
                    return None
                flipped ^= perm == [1, 0]
            elif node.op_type != "Identity":
                return None
            tensor = node.input[0]
        self.used.update(passed)
        values = self.values(tensor)
        return values.T if flipped else values

    def values(self, tensor: str) -> Array:
        """Return what an initializer or a Constant node holds."""
        if tensor in self.initializers:
            stored, label = self.initializers[tensor], repr(tensor)
        else:
            i = self.producer[tensor]
            attributes, label = self.attributes(i), self.label(i)
            for name, kind in _PLAIN.items():
                if name in attributes:
                    return np.asarray(attributes[name], kind)
            if "value" not in attributes:
                raise self.error(i, f"expected a constant with value, {', '.join(_PLAIN)}")
            stored = attributes["value"]
        try:
            values: Array = self.onnx.numpy_helper.to_array(stored)
        except ValueError as error:
            raise ConversionError(f"the values of {label} cannot be read: {error}") from None
        return values

    def parameters(self, i: int, tensor: str, what: str) -> Array:
        """Return weights or biases of a node."""
        values = self.constant(tensor)
        if values is None:
            raise self.error(i, f"its {what} {tensor!r} are not stored in the model")
        return float_array(f"{tensor!r}, {what} of {self.label(i)},", values)
