"""Ensembles of networks that classify, with scikit-learn's interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from ._ensemble import BaseMLPEnsemble, Schedule
from ._inputs import with_class_weight

Array = NDArray[Any]


class MLPEnsembleClassifier(ClassifierMixin, BaseMLPEnsemble):
    """Networks that classify together, each trained on a draw of the examples: bagging.

    Each has weights and examples of its own draw; the mean of their probabilities is the answer,
    and their spread says how far it can be trusted. All are trained side by side by
    :func:`fastnn.fit_many`, on all processors.

    Parameters
    ----------
    n_estimators : int
        How many networks.
    hidden_layer_sizes : int or sequence of int
        The units of each hidden layer of a network; ``()`` for none.
    activation : str or sequence of str
        Of all hidden layers, or one for each, as for `MLPClassifier`.
    bootstrap : bool
        Whether each network's examples are drawn with repetition.
    max_samples : int or float
        How many are drawn, or the share of all. All without repetition are simply all.
    solver : {"adam", "sgd"}
        The optimiser.
    alpha : float
        The penalty on the squares of the weights, as for `MLPClassifier`: each batch of m examples
        adds ``alpha / (2 m)`` times their sum to the cost.
    batch_size : int or "auto"
        Examples in a step; "auto" is 200. Never more than there are.
    learning_rate : {"constant", "cosine"} or schedule
        How the learning rate changes: "cosine" falls along half a cosine to 0 at ``max_iter``. Also
        any schedule of fastnn's, or a function from an array of times, in epochs, to an array of
        what ``learning_rate_init`` is multiplied by.
    learning_rate_init : float
        The learning rate at first.
    max_iter : int
        The epochs; without early stopping each network has all of them.
    momentum : float
        For ``solver="sgd"``; in [0, 1).
    nesterovs_momentum : bool
        Whether it looks ahead along the momentum.
    early_stopping : bool
        Whether each network stops when the loss of the examples that it was not given improves no
        longer, and returns to where that was best.
    validation_fraction : float
        The share that is kept from each network for it, where it would be given all.
    n_iter_no_change : int
        The most epochs without an improvement of ``tol``, with early stopping.
    tol : float
        What counts as an improvement.
    class_weight : dict, "balanced" or None
        How much the examples of each class count.
    dropout : float or sequence of float
        The share of units that each step does without, of all hidden layers or of each.
    clip_norm : float, optional
        The length to which longer gradients are scaled.
    random_state : int, RandomState or None
        Draws each network's seed, and its examples.
    n_jobs : int, optional
        At most so many threads; None or -1 for all that the process may run on.
    device : str, optional
        Where to compute; see `fastnn.use_device`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes, in order.
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
    MLPClassifier : One network, as scikit-learn trains it.
    MLPGridSearchCV : Chooses the parameters of an ensemble.

    Notes
    -----
    ``n_estimators=1, bootstrap=False`` is one network on all examples. The same random_state gives
    the same bits for any number of threads. Ctrl-C ends training with the networks of the last
    whole epochs, and a warning; before each has had one, it is an error and the estimator stays as
    it was.

    Source: Breiman 1996, *Bagging predictors*; Lakshminarayanan et al. 2017, for what the spread of
    networks from different draws says.

    Examples
    --------
    >>> from fastnn.sklearn import MLPEnsembleClassifier
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> ensemble = MLPEnsembleClassifier(
    ...     n_estimators=8, hidden_layer_sizes=16, learning_rate_init=0.02, random_state=0
    ... )
    >>> round(ensemble.fit(X, y).score(X, y), 1)
    1.0
    >>> mean, spread = ensemble.predict_proba(X[:2], return_std=True)
    >>> mean.shape, spread.shape
    ((2, 3), (2, 3))
    """

    _parameter_constraints: dict[str, list[Any]] = {
        **BaseMLPEnsemble._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    classes_: Array

    def __init__(
        self,
        n_estimators: int = 10,
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
        class_weight: Mapping[Any, float] | str | None = None,
        dropout: float | Sequence[float] = 0.0,
        clip_norm: float | None = None,
        random_state: Any = None,
        n_jobs: int | None = None,
        device: str | None = None,
    ) -> None:
        self.n_estimators = n_estimators
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
        self.class_weight = class_weight
        self.dropout = dropout
        self.clip_norm = clip_norm
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.device = device

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> MLPEnsembleClassifier:
        """Train the networks.

        Parameters
        ----------
        X : {array-like, data frame} of shape (n_samples, n_features)
            The examples, one a row.
        y : array-like of shape (n_samples,)
            Their classes.
        sample_weight : array-like of shape (n_samples,), optional
            How much each example counts, whenever it is drawn.

        Returns
        -------
        MLPEnsembleClassifier
            The estimator itself.

        Raises
        ------
        ValueError
            If a parameter or a shape does not fit, X or y holds NaN, or training diverged.

        Examples
        --------
        >>> MLPEnsembleClassifier(2, 2, random_state=0).fit([[0.0], [1.0]], [3, 7]).classes_
        array([3, 7])
        """
        self._fit(X, y, sample_weight)
        return self

    def predict(self, X: Any) -> Array:
        """Return the class of each example that is likeliest on average.

        Parameters
        ----------
        X : {array-like, data frame} of shape (n_samples, n_features)
            The examples.

        Returns
        -------
        ndarray of shape (n_samples,)

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X has another number of features, or holds NaN.

        Examples
        --------
        >>> X, y = [[0.0], [1.0]], ["no", "yes"]
        >>> ensemble = MLPEnsembleClassifier(3, 4, bootstrap=False, random_state=0)
        >>> ensemble.set_params(learning_rate_init=0.1).fit(X, y).predict([[2.0]])
        array(['yes'], dtype='<U3')
        """
        likeliest = self.predict_proba(X).argmax(axis=1)
        classes: Array = self.classes_[likeliest]
        return classes

    def predict_proba(self, X: Any, return_std: bool = False) -> Any:
        """Return the probability of each class, the mean of the networks'.

        Parameters
        ----------
        X : {array-like, data frame} of shape (n_samples, n_features)
            The examples.
        return_std : bool
            Whether to return the networks' standard deviation beside it.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), or two of them

        Raises
        ------
        NotFittedError, ValueError
            As `predict`.

        Examples
        --------
        >>> X, y = [[0.0], [1.0]], [0, 1]
        >>> MLPEnsembleClassifier(2, 4, random_state=0).fit(X, y).predict_proba(X).shape
        (2, 2)
        """
        mean, spread = self._mean_and_spread(X)
        if mean.shape[1] == 1 and len(self.classes_) == 2:
            mean, spread = np.hstack([1 - mean, mean]), np.hstack([spread, spread])
        elif mean.shape[1] == 1:  # where only one class was seen it is the answer
            mean, spread = np.ones_like(mean), np.zeros_like(mean)
        return (mean, spread) if return_std else mean

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithm of `predict_proba`.

        Parameters
        ----------
        X : {array-like, data frame} of shape (n_samples, n_features)
            The examples.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)

        Raises
        ------
        NotFittedError, ValueError
            As `predict`.

        Examples
        --------
        >>> X, y = [[0.0], [1.0]], [0, 1]
        >>> MLPEnsembleClassifier(2, 4, random_state=0).fit(X, y).predict_log_proba(X).shape
        (2, 2)
        """
        A = self.predict_proba(X)
        with np.errstate(divide="ignore"):
            logarithms: Array = np.log(A)
        return logarithms

    def _learn_targets(self, y: Array) -> None:
        check_classification_targets(y)
        y = column_or_1d(y, warn=True)
        self.classes_ = np.unique(y)
        self.n_outputs_ = 1 if len(self.classes_) <= 2 else len(self.classes_)

    def _targets(self, y: Array, dtype: Any) -> Array:
        places: Array = np.searchsorted(self.classes_, column_or_1d(y))
        return places

    def _network_loss(self) -> tuple[str, str, float]:
        if self.n_outputs_ == 1:
            return "sigmoid", "binary_cross_entropy", 1.0
        return "softmax", "cross_entropy", 1.0

    def _class_weighted(self, weights: Array | None, y: Array) -> Array | None:
        return with_class_weight(weights, self.class_weight, self.classes_, column_or_1d(y))
