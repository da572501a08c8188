"""How the learning rate changes in the course of a fit.

A schedule is any function of the time, in epochs since the fit began, that returns what the
optimiser's learning rate is multiplied by. It is given an array, the times at which steps begin,
and returns an array. These are the usual ones; `ReduceOnPlateau` goes by the costs instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import validation as check

__all__ = [
    "CosineDecay",
    "ExponentialDecay",
    "InverseDecay",
    "ReduceOnPlateau",
    "StepDecay",
    "WarmUp",
]

Array = NDArray[Any]
Schedule = Callable[[Array], Array]


@dataclass(frozen=True)
class StepDecay:
    """The learning rate falls by a factor every so many epochs: factor^floor(t / every).

    Parameters
    ----------
    every : float
        Epochs from one fall to the next, above 0.
    factor : float
        In (0, 1].

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> fastnn.StepDecay(10, 0.5)(np.array([0.0, 9.9, 10.0, 25.0]))
    array([1.  , 1.  , 0.5 , 0.25])
    """

    every: float
    factor: float = 0.1

    def __post_init__(self) -> None:
        check.number("every", self.every, low_open=True)
        check.number("factor", self.factor, low_open=True, high=1.0, high_open=False)

    def __call__(self, epoch: Array) -> Array:
        """Return the factor at each time."""
        return self.factor ** np.floor(np.asarray(epoch) / self.every)


@dataclass(frozen=True)
class ExponentialDecay:
    """The learning rate falls evenly on a logarithmic scale: factor^t.

    Parameters
    ----------
    factor : float
        What an epoch leaves of it, in (0, 1].

    Raises
    ------
    ValueError
        If the factor is out of its range.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> fastnn.ExponentialDecay(0.5)(np.array([0.0, 1.0, 2.0]))
    array([1.  , 0.5 , 0.25])
    """

    factor: float

    def __post_init__(self) -> None:
        check.number("factor", self.factor, low_open=True, high=1.0, high_open=False)

    def __call__(self, epoch: Array) -> Array:
        """Return the factor at each time."""
        return self.factor ** np.asarray(epoch, np.float64)


@dataclass(frozen=True)
class InverseDecay:
    """The learning rate falls as a power of the time: (1 + t)^-power.

    Parameters
    ----------
    power : float
        At least 0.

    Raises
    ------
    ValueError
        If the power is out of its range.

    Notes
    -----
    Source: Robbins & Monro 1951; powers from 1/2 to 1 converge in the noise of mini-batches.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> fastnn.InverseDecay(1.0)(np.array([0.0, 1.0, 3.0]))
    array([1.  , 0.5 , 0.25])
    """

    power: float = 0.5

    def __post_init__(self) -> None:
        check.number("power", self.power)

    def __call__(self, epoch: Array) -> Array:
        """Return the factor at each time."""
        return (1 + np.asarray(epoch, np.float64)) ** -self.power


@dataclass(frozen=True)
class CosineDecay:
    """The learning rate falls along half a cosine: final + (1 - final) (1 + cos(pi t / T)) / 2.

    Parameters
    ----------
    epochs : float
        T, above 0: from then on the factor is ``final``.
    final : float
        In [0, 1].

    Raises
    ------
    ValueError
        If a number is out of its range.

    Notes
    -----
    Source: Loshchilov & Hutter, *SGDR: stochastic gradient descent with warm restarts*, 2017,
    without the restarts.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> fastnn.CosineDecay(10)(np.array([0.0, 5.0, 10.0, 20.0])).round(3)
    array([1. , 0.5, 0. , 0. ])
    """

    epochs: float
    final: float = 0.0

    def __post_init__(self) -> None:
        check.number("epochs", self.epochs, low_open=True)
        check.number("final", self.final, high=1.0, high_open=False)

    def __call__(self, epoch: Array) -> Array:
        """Return the factor at each time."""
        part = np.minimum(np.asarray(epoch, np.float64) / self.epochs, 1.0)
        return self.final + (1 - self.final) * (1 + np.cos(np.pi * part)) / 2


@dataclass(frozen=True)
class WarmUp:
    """The learning rate rises in a straight line to its full height, and another schedule follows.

    Parameters
    ----------
    epochs : float
        How long it rises, above 0.
    then : callable, optional
        The schedule that follows, its time counted from the end of the rise; constant unless given.
    start : float
        The factor at first, in [0, 1].

    Raises
    ------
    ValueError
        If a number is out of its range.
    TypeError
        If ``then`` is not a function of the time.

    Notes
    -----
    Source: Goyal et al., *Accurate, large minibatch SGD*, 2017.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> schedule = fastnn.WarmUp(2, then=fastnn.StepDecay(5, 0.5), start=0.0)
    >>> schedule(np.array([0.0, 1.0, 2.0, 6.9, 7.0]))
    array([0. , 0.5, 1. , 1. , 0.5])
    """

    epochs: float
    then: Schedule | None = None
    start: float = 0.1

    def __post_init__(self) -> None:
        check.number("epochs", self.epochs, low_open=True)
        check.number("start", self.start, high=1.0, high_open=False)
        if self.then is not None and not callable(self.then):
            raise TypeError(f"then must be a function of the time, got {self.then!r}")
        if isinstance(self.then, ReduceOnPlateau):
            raise TypeError("then must be a function of the time; ReduceOnPlateau goes by costs")

    def __call__(self, epoch: Array) -> Array:
        """Return the factor at each time."""
        epoch = np.asarray(epoch, np.float64)
        rising = self.start + (1 - self.start) * np.minimum(epoch / self.epochs, 1.0)
        if self.then is None:
            return rising
        after = self.then(np.maximum(epoch - self.epochs, 0.0))
        return np.where(epoch < self.epochs, rising, after)


@dataclass(frozen=True)
class ReduceOnPlateau:
    """The learning rate falls by a factor when the cost no longer does.

    It watches the validation cost where there is one, else the cost. After more than ``patience``
    epochs without a fall of more than ``min_delta`` below the lowest yet, the rate is multiplied
    by ``factor``, and counting starts anew.

    Parameters
    ----------
    factor : float
        In (0, 1).
    patience : int
        Epochs that are waited for.
    min_delta : float
        What counts as a fall.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.ReduceOnPlateau(0.5, patience=1).factors([3.0, 2.0, 2.0, 2.0, 2.0])
    [1.0, 1.0, 1.0, 0.5, 0.5]
    """

    factor: float = 0.2
    patience: int = 2
    min_delta: float = 1e-4

    def __post_init__(self) -> None:
        check.number("factor", self.factor, low_open=True, high=1.0)
        check.integer("patience", self.patience, low=0)
        check.number("min_delta", self.min_delta)

    def factors(self, costs: Sequence[float]) -> list[float]:
        """Return the factor after each epoch, in view of the costs until then."""
        state, found = PlateauState(self), []
        for cost in costs:
            state.note(cost)
            found.append(state.factor)
        return found


class PlateauState:
    """How far a `ReduceOnPlateau` has come."""

    def __init__(self, schedule: ReduceOnPlateau) -> None:
        self.schedule, self.factor = schedule, 1.0
        self._lowest, self._waited = np.inf, 0

    def note(self, cost: float) -> None:
        """Take the cost of one more epoch into account."""
        self._waited = 0 if cost < self._lowest - self.schedule.min_delta else self._waited + 1
        self._lowest = min(self._lowest, cost)
        if self._waited > self.schedule.patience:
            self.factor *= self.schedule.factor
            self._waited = 0
