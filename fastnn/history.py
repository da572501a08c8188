"""What a fit leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .optimizers import Optimizer


class Momentum(NamedTuple):
    """What an optimiser and a shuffle would go on from."""

    kind: int  # the optimiser's code
    steps: int
    moments: NDArray[Any]  # (2, parameters)
    random: NDArray[np.uint64]  # (1,)
    order: NDArray[np.int64]  # (m,), or empty


@dataclass
class History:
    """What happened in a fit.

    Attributes
    ----------
    cost : list of float
        For each epoch, the mean over its examples of J, penalties included, as each batch met it.
    validation_cost : list of float
        For each epoch, J of the validation examples after it, without penalties; else empty.
    seconds : list of float
        What each epoch took, validation included.
    best_epoch : int or None
        The epoch, counted from 0, with the lowest validation cost.
    stopped : {"epochs", "patience", "progress", "interrupted"}
        Why training ended.
    first_epoch : int
        How many epochs came before, in fits that this one went on from.

    Examples
    --------
    >>> import fastnn
    >>> X, Y = fastnn.datasets.regression_curve(50)
    >>> net = fastnn.Network([1, 8, 1], ["tanh", "identity"])
    >>> history = net.fit(X, Y, epochs=20)
    >>> len(history.cost), history.stopped
    (20, 'epochs')
    """

    cost: list[float] = field(default_factory=list)
    validation_cost: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    best_epoch: int | None = None
    stopped: str = "epochs"
    first_epoch: int = 0
    _momentum: Momentum | None = field(default=None, repr=False, compare=False)

    def leads_to(self, optimizer: Optimizer) -> bool:
        """Return whether a fit by this optimiser may go on from here.

        Parameters
        ----------
        optimizer : Optimizer
            It must be of the same class.

        Returns
        -------
        bool
            Also False where Ctrl-C came within an epoch: the moments are then ahead of the
            parameters.

        Examples
        --------
        >>> import fastnn
        >>> X, Y = fastnn.datasets.regression_curve(50)
        >>> net = fastnn.Network([1, 8, 1], ["tanh", "identity"])
        >>> history = net.fit(X, Y, epochs=2, optimizer=fastnn.Adam())
        >>> history.leads_to(fastnn.Adam(0.1)), history.leads_to(fastnn.SGD(0.1))
        (True, False)
        """
        momentum = self._momentum
        return momentum is not None and momentum.kind == optimizer.rule(0.0, 0.0).kind
