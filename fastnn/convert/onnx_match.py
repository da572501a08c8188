"""Which activation a group of ONNX nodes computes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .chain import NO_LOG_SOFTMAX
from .onnx_forms import COMMUTATIVE, FORMS, Op, Tree
from .onnx_graph import ACCEPTED, DOMAINS, Graph

Array = NDArray[Any]


@dataclass(frozen=True)
class _Match:
    """What a tree has been found to stand for: the tensor that is its Z, and its nodes."""

    z: str | None = None
    nodes: frozenset[int] = frozenset()


def match_activation(graph: Graph, tensor: str) -> tuple[str, str]:
    """Return the activation whose result the tensor is, and the tensor that it is applied to."""
    for name, forms in FORMS.items():
        for form in forms:
            found = _match(graph, form.tree, tensor, _Match())
            if found is not None and found.z is not None:
                graph.used.update(found.nodes)
                return name, found.z
    i = graph.producer[tensor]
    if graph.nodes[i].op_type == "LogSoftmax":
        raise graph.error(i, f"{NO_LOG_SOFTMAX}; {ACCEPTED}")
    raise graph.error(i, f"it cannot be converted{_given(graph, i)}; {ACCEPTED}")


def _given(graph: Graph, i: int) -> str:
    plain = {
        name: value
        for name, value in graph.attributes(i).items()
        if isinstance(value, int | float | str)
    }
    shown = ", ".join(f"{name}={value}" for name, value in plain.items())
    return f" with {shown}" if shown else " where it stands"


def _match(graph: Graph, tree: Tree, tensor: str, match: _Match) -> _Match | None:
    """Return what the tree stands for if the tensor is computed so, else None."""
    if isinstance(tree, Op):
        return _match_op(graph, tree, tensor, match)
    constant = graph.constant(tensor)
    if isinstance(tree, float):
        return match if constant is not None and _equals(constant, tree) else None
    if constant is not None or match.z not in (None, tensor):
        return None
    return _Match(tensor, match.nodes)


def _match_op(graph: Graph, tree: Op, tensor: str, match: _Match) -> _Match | None:
    i = graph.producer.get(tensor)
    if i is None:
        return None
    node = graph.nodes[i]
    if (node.op_type, len(node.input)) != (tree.kind, len(tree.operands)):
        return None
    if node.domain not in DOMAINS or not _has(graph.attributes(i), tree.attributes):
        return None
    orders = permutations(node.input) if tree.kind in COMMUTATIVE else [tuple(node.input)]
    for inputs in orders:
        found: _Match | None = _Match(match.z, match.nodes | {i})
        for operand, name in zip(tree.operands, inputs, strict=True):
            found = None if found is None else _match(graph, operand, name, found)
        if found is not None:
            return found
    return None


def _has(attributes: dict[str, Any], expected: dict[str, tuple[Any, ...]]) -> bool:
    """Tell whether attributes have the values that they may have."""
    for name, value in attributes.items():
        values = expected.get(name, ())
        if isinstance(value, float):  # ONNX keeps it in float32
            values = tuple(float(np.float32(each)) for each in values)
        if value not in values:
            return False
    return True


def _equals(constant: Array, value: float) -> bool:
    """Tell whether a constant is one value, rounded to its type, and adds no dimension."""
    if constant.size != 1 or constant.ndim > 2 or constant.dtype.kind != "f":
        return False
    rounded = constant.dtype.type(value)
    error = abs(float(constant.item()) - float(rounded))
    # Constants such as sqrt 2 may have been rounded another way.
    return error <= 2 * float(np.spacing(abs(rounded)))
