"""How the parameters follow the gradient: the numbers of each optimiser.

An optimiser is a description: it holds no state, so one object serves any number of fits. The
moments that a rule keeps live in the fit, and start from zero with each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields

from . import validation as check
from .kernels.codes import OPTIMIZERS
from .kernels.structures import Rule

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSprop"]


class Optimizer(ABC):
    """The base of all optimisers."""

    learning_rate: float

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if field.name == "nesterov":
                check.boolean("nesterov", value)
                continue
            below_one = field.name in ("momentum", "decay", "beta1", "beta2")
            check.number(field.name, value, high=1.0 if below_one else float("inf"))

    @abstractmethod
    def rule(self, l1: float, l2: float) -> Rule:
        """Return the numbers as the kernels take them, with the penalties on the weights."""


def _rule(name: str, learning_rate: float, l1: float, l2: float, **numbers: float) -> Rule:
    values: dict[str, float] = {
        "momentum": 0.0,
        "beta1": 0.0,
        "beta2": 0.0,
        "epsilon": 0.0,
        "weight_decay": 0.0,
    }
    nesterov = bool(numbers.pop("nesterov", False))
    values.update(numbers)
    return Rule(
        OPTIMIZERS.index(name),
        float(learning_rate),
        float(values["momentum"]),
        nesterov,
        float(values["beta1"]),
        float(values["beta2"]),
        float(values["epsilon"]),
        False,
        float(values["weight_decay"]),
        float(l1),
        float(l2),
        0.0,
        0,
    )


@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent, with momentum.

    v := momentum v - learning_rate g;  w := w + v, or w + momentum v - learning_rate g with
    Nesterov's. Without momentum: w := w - learning_rate g, as in the notes.

    Parameters
    ----------
    learning_rate : float
        Alpha.
    momentum : float
        In [0, 1).
    nesterov : bool
        Whether to look ahead along the momentum, which must then be above 0.

    Raises
    ------
    ValueError
        If a number is out of its range, or nesterov has no momentum to look along.

    Notes
    -----
    Source: Sutskever, Martens, Dahl & Hinton 2013.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.SGD(0.1, momentum=0.9, nesterov=True)
    SGD(learning_rate=0.1, momentum=0.9, nesterov=True)
    """

    learning_rate: float
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and self.momentum == 0:
            raise ValueError(f"nesterov needs momentum above 0, got momentum={self.momentum}")

    def rule(self, l1: float, l2: float) -> Rule:
        """Return the numbers as the kernels take them, with the penalties on the weights."""
        return _rule(
            "sgd", self.learning_rate, l1, l2, momentum=self.momentum, nesterov=self.nesterov
        )


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """Steps scaled by a running mean of squared gradients.

    s := decay s + (1 - decay) g^2;  w := w - learning_rate g / (sqrt(s) + epsilon)

    Parameters
    ----------
    learning_rate : float
        Alpha.
    decay : float
        In [0, 1).
    epsilon : float
        Added to the root.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Notes
    -----
    Source: Tieleman & Hinton, lecture 6e of *Neural Networks for Machine Learning*, 2012.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.RMSprop(0.01).decay
    0.9
    """

    learning_rate: float = 0.001
    decay: float = 0.9
    epsilon: float = 1e-8

    def rule(self, l1: float, l2: float) -> Rule:
        """Return the numbers as the kernels take them, with the penalties on the weights."""
        return _rule("rmsprop", self.learning_rate, l1, l2, beta2=self.decay, epsilon=self.epsilon)


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adaptive moments.

    v := beta1 v + (1 - beta1) g;  s := beta2 s + (1 - beta2) g^2;
    w := w - learning_rate (v / (1 - beta1^t)) / (sqrt(s / (1 - beta2^t)) + epsilon), at step t.

    Parameters
    ----------
    learning_rate : float
        Alpha.
    beta1, beta2 : float
        In [0, 1).
    epsilon : float
        Added to the root.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Notes
    -----
    Source: Kingma & Ba, *Adam: a method for stochastic optimization*, 2015.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.Adam().learning_rate
    0.001
    """

    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def rule(self, l1: float, l2: float) -> Rule:
        """Return the numbers as the kernels take them, with the penalties on the weights."""
        return _rule(
            "adam",
            self.learning_rate,
            l1,
            l2,
            beta1=self.beta1,
            beta2=self.beta2,
            epsilon=self.epsilon,
        )


@dataclass(frozen=True)
class AdamW(Optimizer):
    """Adam, with weight decay apart from the gradient.

    w := w (1 - learning_rate weight_decay), then Adam's step. Biases do not decay.

    Parameters
    ----------
    learning_rate : float
        Alpha.
    beta1, beta2 : float
        In [0, 1).
    epsilon : float
        Added to the root.
    weight_decay : float
        How fast the weights shrink.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Notes
    -----
    Source: Loshchilov & Hutter, *Decoupled weight decay regularization*, 2019.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.AdamW(weight_decay=0.1).weight_decay
    0.1
    """

    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.01

    def rule(self, l1: float, l2: float) -> Rule:
        """Return the numbers as the kernels take them, with the penalties on the weights."""
        return _rule(
            "adamw",
            self.learning_rate,
            l1,
            l2,
            beta1=self.beta1,
            beta2=self.beta2,
            epsilon=self.epsilon,
            weight_decay=self.weight_decay,
        )
