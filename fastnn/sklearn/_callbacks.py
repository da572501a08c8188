"""Callbacks of scikit-learn 1.9 and later: told once per iteration of a solver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing: callbacks came with scikit-learn 1.9."""


Array = NDArray[Any]

__all__ = ["CallbackSupportMixin", "FitTask"]


class FitTask:
    """One fit, as the callbacks of an estimator see it: a task of which each iteration is a part.

    An iteration's task begins before it is known whether there will be another iteration, so the
    last one to begin is empty: so it is in scikit-learn's own estimators.

    Parameters
    ----------
    estimator : estimator
        Whose fit it is. Without callbacks, or in an older scikit-learn, nothing is done.
    X, y : array
        What it is fitted to.
    sample_weight : array, optional
        The weights of the examples.
    max_iter : int
        The most iterations there may be.
    name : str
        The name of an iteration's task.
    attributes : callable
        Returns what makes the estimator ready to predict, from the parameters of an iteration.
    """

    def __init__(
        self,
        estimator: Any,
        X: Any,
        y: Any,
        sample_weight: Any,
        max_iter: int,
        name: str,
        attributes: Callable[[Array], dict[str, Any]],
    ) -> None:
        self._name, self._attributes = name, attributes
        self._told = {
            "estimator": estimator,
            "X": X,
            "y": y,
            "metadata": None if sample_weight is None else {"sample_weight": sample_weight},
        }
        self._whole = None
        if hasattr(estimator, "_init_callback_context"):
            self._whole = estimator._init_callback_context(max_subtasks=max(max_iter, 1) + 1)
            self._whole.call_on_fit_task_begin(**self._told)
        self._listened = self._whole is not None and hasattr(estimator, "_skl_callbacks")
        self._iteration: Any = None

    def begin(self, parameters: Array) -> None:
        """Say that an iteration begins with these parameters."""
        if self._listened and self._whole is not None:
            self._iteration = self._whole.subcontext(task_name=self._name)
            self._iteration.call_on_fit_task_begin(
                **self._told, reconstruction_attributes=self._attributes(parameters)
            )

    def end(self, parameters: Array) -> bool:
        """Say that the iteration has ended with these parameters; return whether to stop."""
        if not self._listened:
            return False
        return bool(
            self._iteration.call_on_fit_task_end(
                **self._told, reconstruction_attributes=self._attributes(parameters)
            )
        )

    def close(self) -> None:
        """Say that the fit has ended, and the iteration that began after the last one."""
        if self._iteration is not None:
            self._iteration.call_on_fit_task_end(estimator=self._told["estimator"])
        if self._whole is not None:
            self._whole.call_on_fit_task_end(**self._told, reconstruction_attributes={})
