"""What a fit looks after between two epochs: rates, orders, and when to stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .history import History
from .kernels.structures import Progress
from .schedules import PlateauState, ReduceOnPlateau, Schedule

Array = NDArray[Any]

# Learning rates that are worked out ahead, where a schedule changes them from step to step.
RATES = 4096


class Rates:
    """What the learning rate of each step is multiplied by."""

    def __init__(
        self,
        schedule: Schedule | ReduceOnPlateau | None,
        progress: Progress,
        history: History,
        batch: int,
        m: int,
    ) -> None:
        self._progress, self._batch, self._m = progress, batch, m
        self._first_epoch = history.first_epoch
        self._plateau: PlateauState | None = None
        self.by_cost = isinstance(schedule, ReduceOnPlateau)
        self._schedule: Schedule | None = None
        if isinstance(schedule, ReduceOnPlateau):
            self._plateau = PlateauState(schedule)
        else:
            self._schedule = schedule
        for i in range(len(history.cost)):
            self.note(history, i)

    def note(self, history: History, epoch: int) -> None:
        """Take the costs of an epoch into account."""
        if self._plateau is not None:
            costs = history.validation_cost or history.cost
            self._plateau.note(costs[epoch])
            self._progress.rates[1:] = self._plateau.factor

    def prepare(self, steps: int) -> int:
        """Work out the rates of that many steps, or of as many as fit; return how many."""
        if self._schedule is None:
            return steps
        counts, rates = self._progress.counts, self._progress.rates[1:]
        steps = min(steps, rates.size)
        of_an_epoch = -(-self._m // self._batch)
        ahead = np.arange(steps)
        step = int(counts[1]) * of_an_epoch + int(counts[2]) // self._batch + ahead
        times = step // of_an_epoch + (step % of_an_epoch) * (self._batch / self._m)
        factors = np.asarray(self._schedule(self._first_epoch + times), np.float64)
        if factors.shape not in ((), times.shape):
            raise ValueError(
                f"schedule returned an array of shape {factors.shape} for {times.shape} times"
            )
        if not (np.isfinite(factors).all() and (factors >= 0).all()):
            raise ValueError("schedule must return finite factors of at least 0")
        rates[(int(counts[0]) + ahead) % rates.size] = factors
        return steps


class Watch:
    """The validation cost, the parameters where it was lowest, and when to stop."""

    def __init__(
        self,
        cost: Callable[[], float] | None,
        patience: int | None,
        min_delta: float,
        parameters: Array,
        best: Array,
        history: History,
    ) -> None:
        self.cost, self._patience, self._min_delta = cost, patience, min_delta
        self._parameters, self.best = parameters, best
        self._level, self._waited = np.inf, 0
        for found in history.validation_cost:
            self._count(found)

    def _count(self, cost: float) -> None:
        fell = cost < self._level - self._min_delta
        self._waited = 0 if fell else self._waited + 1
        self._level = cost if fell else self._level

    def note(self, history: History, *, stop: bool = True) -> None:
        """Record the validation cost of an epoch; stop when patience runs out."""
        if self.cost is None:
            return
        costs = history.validation_cost
        costs.append(self.cost())
        if history.best_epoch is None or costs[-1] < costs[history.best_epoch]:
            history.best_epoch = len(costs) - 1
            self.best[...] = self._parameters
        self._count(costs[-1])
        if stop and self._patience is not None and self._waited >= self._patience:
            history.stopped = "patience"

    def restore(self, history: History) -> None:
        """Put the best parameters back, if that is what patience was for."""
        if self._patience is not None and history.best_epoch is not None:
            self._parameters[...] = self.best


class Orders:
    """The caller's own order of the examples in each epoch."""

    def __init__(
        self,
        shuffle: Callable[[int], ArrayLike],
        progress: Progress,
        history: History,
        rows: NDArray[np.int64] | None = None,
    ) -> None:
        self._shuffle, self._progress, self._first = shuffle, progress, history.first_epoch
        self._rows = rows  # which examples there are; None: all
        progress.random[0] = 0  # the compiled shuffle leaves the order alone

    def prepare(self) -> None:
        """Ask for the order of an epoch that is about to begin."""
        counts, order = self._progress.counts, self._progress.order
        if counts[2] > 0:
            return
        found = np.asarray(self._shuffle(self._first + int(counts[1])))
        if found.shape != order.shape or found.dtype.kind not in "iu":
            raise ValueError(
                f"shuffle must return {order.size} whole numbers, one for each example; got shape"
                f" {found.shape} of {found.dtype}"
            )
        if found.min() < 0 or found.max() >= order.size:
            raise ValueError(f"shuffle must return numbers from 0 to {order.size - 1}")
        order[...] = found if self._rows is None else self._rows[found]
