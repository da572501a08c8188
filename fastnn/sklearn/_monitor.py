"""What is looked at after each epoch of an estimator's fit: curves, early stopping, callbacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..history import History
from ._callbacks import FitTask

Array = NDArray[Any]


class Monitor:
    """Records an epoch in the estimator's attributes, and says whether to stop.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        Whose attributes are kept: ``loss_curve_``, ``validation_scores_`` and so on.
    parameters : array
        The network's.
    held_out : callable or None
        Returns the score and the loss of the examples held out; None where there are none.
    adaptive : bool
        Whether the learning rate falls to a fifth where scikit-learn would otherwise stop.
    loss_of : callable
        Returns the loss as scikit-learn counts it, from the network's cost.
    task : FitTask
        What the callbacks are told through.
    """

    def __init__(
        self,
        estimator: Any,
        parameters: Array,
        held_out: Callable[[], tuple[float, float]] | None,
        adaptive: bool,
        loss_of: Callable[[float], float],
        task: FitTask,
    ) -> None:
        self.estimator, self.parameters = estimator, parameters
        self._held_out, self._task = held_out, task
        self._loss_of = loss_of
        self._adaptive = adaptive
        self._by_loss = estimator.early_stopping == "loss"
        self._watched = held_out is not None and bool(estimator.early_stopping)
        self.converged = False
        task.begin(parameters)

    def schedule(self, epoch: Array) -> Array:
        """Return what the learning rate is multiplied by, under ``learning_rate="adaptive"``."""
        return np.full_like(epoch, self.estimator._factor)

    def look(self, _epoch: int, history: History) -> bool:
        """Take an epoch into account that has just ended; return whether to stop."""
        estimator, loss = self.estimator, self._loss_of(history.cost[-1])
        # First everything is found out, then noted: Ctrl-C may come in between.
        found = None if self._held_out is None else self._held_out()
        estimator.n_iter_ += 1
        estimator.loss_ = loss
        estimator.loss_curve_.append(loss)
        self._say(f"Iteration {estimator.n_iter_}, loss = {loss:.8f}")
        if found is not None:
            score, validation_loss = found
            estimator.validation_scores_.append(score)
            estimator.validation_loss_curve_.append(validation_loss)
            self._say(f"Validation score: {score:f}, loss: {validation_loss:.8f}")
        self._count(loss)
        stop = estimator._no_improvement_count > estimator.n_iter_no_change and self._stops()
        told_to = self._task.end(self.parameters)
        self._task.begin(self.parameters)
        return stop or told_to

    def _count(self, loss: float) -> None:
        """Count the epochs that brought no improvement by ``tol``, and keep the best parameters."""
        estimator = self.estimator
        if not self._watched:
            gain = estimator.best_loss_ - loss
            estimator.best_loss_ = min(estimator.best_loss_, loss)
            # So that a NaN counts as an improvement, which it does in scikit-learn.
            improved = not gain < estimator.tol
            better = False
        elif self._by_loss:
            found = estimator.validation_loss_curve_[-1]
            best = estimator.best_validation_loss_
            improved, better = best - found >= estimator.tol, found < best
            estimator.best_validation_loss_ = min(best, found)
        else:
            found = estimator.validation_scores_[-1]
            best = estimator.best_validation_score_
            improved, better = not found < best + estimator.tol, found > best
            estimator.best_validation_score_ = max(best, found) if found == found else best
        if better:
            estimator._best = self.parameters.copy()
        estimator._no_improvement_count = 0 if improved else estimator._no_improvement_count + 1

    def _stops(self) -> bool:
        """Return whether to stop now that nothing has improved for long, and say why."""
        estimator = self.estimator
        what = "Training loss"
        if self._watched:
            what = "Validation loss" if self._by_loss else "Validation score"
        said = (
            f"{what} has not improved by tol={estimator.tol:g} in more than"
            f" {estimator.n_iter_no_change} epochs."
        )
        if self._adaptive and estimator._factor * estimator.learning_rate_init > 1e-6:
            estimator._factor /= 5
            estimator._no_improvement_count = 0
            rate = estimator._factor * estimator.learning_rate_init
            self._say(f"{said} Setting learning rate to {rate:f}")
            return False
        self._say(said + " Stopping.")
        self.converged = True
        return True

    def _say(self, line: str) -> None:
        if self.estimator.verbose:
            print(line)

    def close(self) -> None:
        """End the callbacks' task."""
        self._task.close()

    def restore(self) -> None:
        """Put the best parameters back, if examples held out were watched."""
        if self._watched and self.estimator._best is not None:
            self.parameters[...] = self.estimator._best
