"""Ensembles of networks that predict numbers, with scikit-learn's interface."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import column_or_1d

from ._ensemble import BaseMLPEnsemble, Schedule

Array = NDArray[Any]


class MLPEnsembleRegressor(RegressorMixin, BaseMLPEnsemble):
    """Networks that predict numbers together, each trained on a draw of the examples: bagging.

    Each has weights and examples of its own draw; the mean of what they say is the answer, and
    their spread says how far it can be trusted.

    Parameters
    ----------
    n_estimators : int
        How many networks.
    loss : {"squared_error", "poisson", "absolute_error", "huber"}
        As for `MLPRegressor`.
    delta : float
        Where "huber" turns from a square to a line.
    hidden_layer_sizes, activation, bootstrap, max_samples, solver, alpha, batch_size, \
learning_rate, learning_rate_init, max_iter, momentum, nesterovs_momentum, early_stopping, \
validation_fraction, n_iter_no_change, tol, dropout, clip_norm, random_state, n_jobs, device
        As for `MLPEnsembleClassifier`.

    Attributes
    ----------
    networks_ : list of Network
        The trained networks.
    histories_ : list of History
        What happened in each one's training.
    n_iter_ : int
        The most epochs that one of them was trained for.
    n_outputs_, n_features_in_, feature_names_in_
        As in scikit-learn.

    See Also
    --------
    MLPRegressor : One network, as scikit-learn trains it.
    MLPEnsembleClassifier : Whose notes hold here.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.sklearn import MLPEnsembleRegressor
    >>> X = np.linspace(0, 3, 200)[:, None]
    >>> ensemble = MLPEnsembleRegressor(
    ...     n_estimators=5, hidden_layer_sizes=32, learning_rate_init=0.02, random_state=0
    ... ).fit(X, np.sin(X[:, 0]))
    >>> mean, spread = ensemble.predict([[1.5], [30.0]], return_std=True)
    >>> bool(abs(mean[0] - np.sin(1.5)) < 0.1), bool(spread[1] > 5 * spread[0])
    (True, True)
    """

    _parameter_constraints: dict[str, list[Any]] = {
        **BaseMLPEnsemble._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson", "absolute_error", "huber"})],
        "delta": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        n_estimators: int = 10,
        loss: str = "squared_error",
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str | Sequence[str] = "relu",
        *,
        bootstrap: bool = True,
        max_samples: float = 1.0,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: Schedule = "constant",
        learning_rate_init: float = 0.001,
        max_iter: int = 200,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        delta: float = 1.0,
        dropout: float | Sequence[float] = 0.0,
        clip_norm: float | None = None,
        random_state: Any = None,
        n_jobs: int | None = None,
        device: str | None = None,
    ) -> None:
        self.n_estimators = n_estimators
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.bootstrap = bootstrap
        self.max_samples = max_samples
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.delta = delta
        self.dropout = dropout
        self.clip_norm = clip_norm
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.device = device

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> MLPEnsembleRegressor:
        """Train the networks.

        Parameters
        ----------
        X : {array-like, data frame} of shape (n_samples, n_features)
            The examples, one a row.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Their targets.
        sample_weight : array-like of shape (n_samples,), optional
            How much each example counts, whenever it is drawn.

        Returns
        -------
        MLPEnsembleRegressor
            The estimator itself.

        Raises
        ------
        ValueError
            If a parameter or a shape does not fit, X or y holds NaN, a target of Poisson is
            negative, or training diverged.

        Examples
        --------
        >>> MLPEnsembleRegressor(3, random_state=0).fit([[0.0], [1.0]], [1.0, 3.0]).n_iter_
        200
        """
        self._fit(X, y, sample_weight)
        return self

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Return the targets that the networks expect, on average.

        Parameters
        ----------
        X : {array-like, data frame} of shape (n_samples, n_features)
            The examples.
        return_std : bool
            Whether to return the networks' standard deviation beside it.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets), or two of them

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X has another number of features, or holds NaN.

        Examples
        --------
        >>> ensemble = MLPEnsembleRegressor(3, random_state=0).fit([[0.0], [1.0]], [1.0, 3.0])
        >>> ensemble.predict([[0.5], [0.7]]).shape
        (2,)
        """
        mean, spread = self._mean_and_spread(X)
        if self.n_outputs_ == 1:
            mean, spread = mean[:, 0], spread[:, 0]
        return (mean, spread) if return_std else mean

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn should know of this class."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _learn_targets(self, y: Array) -> None:
        self.n_outputs_ = 1 if y.ndim == 1 else y.shape[1]

    def _targets(self, y: Array, dtype: Any) -> Array:
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return y.T.astype(dtype, copy=False)

    def _network_loss(self) -> tuple[str, str, float]:
        return "exp" if self.loss == "poisson" else "identity", self.loss, self.delta

    def _class_weighted(self, weights: Array | None, y: Array) -> Array | None:
        return weights
