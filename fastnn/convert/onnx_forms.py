"""How each activation may be written in ONNX: as trees of operators, for reader and writer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..kernels.codes import LEAK

# What an activation is applied to, within a tree.
Z = "Z"


@dataclass(frozen=True)
class Op:
    """An operator, what it is applied to, and the values that its attributes may have.

    The first value is written. In all operators here it is also ONNX's default, so that an
    attribute that is left out has it.
    """

    kind: str
    operands: tuple[Tree, ...]
    attributes: dict[str, tuple[Any, ...]]


Tree: TypeAlias = Op | float | str


@dataclass(frozen=True)
class Form:
    """One way to write an activation: from which opset on, and whether in float64 too."""

    tree: Op
    since: int = 1
    float64: bool = True


def _op(kind: str, *operands: Tree, **attributes: tuple[Any, ...]) -> Op:
    return Op(kind, operands, attributes)


# The normal distribution function by its error function, twice: 1 + erf(z / sqrt 2).
_ERF = (
    _op("Add", _op("Erf", _op("Div", Z, math.sqrt(2))), 1.0),
    _op("Add", _op("Erf", _op("Mul", Z, math.sqrt(0.5))), 1.0),
)
_GELU = tuple(
    Form(tree)
    for erf in _ERF
    for tree in (
        _op("Mul", _op("Mul", Z, erf), 0.5),
        _op("Mul", Z, _op("Mul", erf, 0.5)),
        _op("Mul", _op("Mul", Z, 0.5), erf),
    )
)

# The writer takes the first form that suits the opset and the type. In float64 ONNX Runtime has no
# Elu, Softplus and Erf, so the first two are put together from others, as is SiLU, whose product
# its versions up to 1.24 at least replace by an operator that it then misses. And ONNX keeps the
# slope of LeakyRelu in float32, whose 0.01 is off by 2e-10.
FORMS: dict[str, tuple[Form, ...]] = {
    "sigmoid": (Form(_op("Sigmoid", Z)),),
    "tanh": (Form(_op("Tanh", Z)),),
    "relu": (Form(_op("Relu", Z)),),
    "leaky_relu": (
        Form(_op("LeakyRelu", Z, alpha=(LEAK,)), float64=False),
        Form(_op("Max", Z, _op("Mul", Z, LEAK))),
    ),
    # Of two axes the last is 1.
    "softmax": (Form(_op("Softmax", Z, axis=(-1, 1))),),
    "elu": (
        Form(_op("Elu", Z, alpha=(1.0,)), float64=False),
        Form(_op("Add", _op("Max", Z, 0.0), _op("Sub", _op("Exp", _op("Min", Z, 0.0)), 1.0))),
    ),
    "gelu": (Form(_op("Gelu", Z, approximate=("none",)), since=20), *_GELU),
    "silu": (
        Form(_op("Mul", Z, _op("Sigmoid", Z)), float64=False),
        Form(_op("Div", Z, _op("Add", _op("Exp", _op("Neg", Z)), 1.0))),
        Form(_op("Swish", Z, alpha=(1.0,)), since=24),
    ),
    "softplus": (
        Form(_op("Softplus", Z), float64=False),
        Form(
            _op(
                "Add",
                _op("Max", Z, 0.0),
                _op("Log", _op("Add", _op("Exp", _op("Neg", _op("Abs", Z))), 1.0)),
            )
        ),
        # PyTorch's, with its default threshold.
        Form(_op("Where", _op("Greater", Z, 20.0), Z, _op("Softplus", Z))),
    ),
    "exp": (Form(_op("Exp", Z)),),
}
COMMUTATIVE = ("Add", "Mul", "Max", "Min")
