"""Networks that classify, with scikit-learn's interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    check_classification_targets,
    type_of_target,
    unique_labels,
)
from sklearn.utils.validation import column_or_1d

from ._inputs import FLOATS, keeping_fitted, query_labels, training_data, with_class_weight
from ._mlp import BaseMLP

Array = NDArray[Any]


class MLPClassifier(ClassifierMixin, BaseMLP):
    """A network that classifies, in place of scikit-learn's class of the same name.

    Two classes have one sigmoid output, more have softmax outputs, and labels that do not exclude
    one another a sigmoid each. The mean over the examples of the cross-entropy is minimised, plus
    ``alpha / (2 m)`` times the sum of the squared weights, where m is the size of a batch.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int
        The units of each hidden layer; ``()`` for none, which is logistic regression.
    activation : str or sequence of str
        Of all hidden layers, or one for each: "identity", "logistic" (also "sigmoid"), "tanh",
        "relu", and, beyond scikit-learn's, "leaky_relu", "elu", "gelu", "silu", "softplus".
    solver : {"adam", "sgd", "lbfgs"}
        The last is SciPy's, over all examples at once.
    alpha : float
        The penalty on the squares of the weights.
    batch_size : int or "auto"
        Examples in a step; min(200, n_samples) for "auto".
    learning_rate : {"constant", "invscaling", "adaptive", "cosine"} or schedule
        How the learning rate changes. The second and third are scikit-learn's, and for
        ``solver="sgd"`` alone: init / (1 + examples seen)^power_t after each epoch; and a fifth
        whenever training would else stop for want of improvement. "cosine" falls along half a
        cosine to 0 at ``max_iter`` epochs, and stays there. Also any schedule of fastnn's,
        `fastnn.StepDecay` and so on, or a function from an array of times, in epochs, to an array
        of what ``learning_rate_init`` is multiplied by.
    learning_rate_init : float
        The learning rate at first.
    power_t : float
        For "invscaling".
    max_iter : int
        The most epochs; for "lbfgs", iterations.
    shuffle : bool
        Whether each epoch visits the examples in a new order.
    random_state : int, RandomState or None
        Draws the initial weights, the examples held out, and the orders, each as scikit-learn
        does: the same seed there makes the same network, but for rounding and what the notes say.
        Also draws dropout.
    tol : float
        What counts as an improvement for ``n_iter_no_change``; for "lbfgs" the largest element of
        the gradient at which it stops.
    verbose : bool
        Whether to print a line after each epoch.
    warm_start : bool
        Whether `fit` starts from the network that the last call left.
    momentum : float
        For ``solver="sgd"``; in [0, 1).
    nesterovs_momentum : bool
        Whether it looks ahead along the momentum.
    early_stopping : {False, True, "loss"}
        Whether to stop when the score (True) or the loss of examples held out improves no longer,
        and return to the network that was best on them. Without it training stops when the
        training loss improves no longer.
    validation_fraction : float
        The share of examples held out for it, unless `fit` is given X_val and y_val.
    beta_1, beta_2, epsilon : float
        For ``solver="adam"``.
    n_iter_no_change : int
        The most epochs without an improvement of ``tol``.
    max_fun : int
        The most evaluations of "lbfgs".
    class_weight : dict, "balanced" or None
        How much the examples of each class count; "balanced" for n_samples / (n_classes * those of
        the class). Not for multilabel targets.
    dropout : float or sequence of float
        The share of units that each step does without, of all hidden layers or of each.
    clip_norm : float, optional
        The length to which longer gradients are scaled.
    warmup : float
        The epochs in which the learning rate rises from a tenth; ``learning_rate`` follows.
    device : str, optional
        Where to compute; see `fastnn.use_device`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes, in order.
    coefs_, intercepts_ : list of ndarray
        W of each layer as (n_in, n_out), and b: views of one network's parameters.
    loss_, best_loss_ : float
        The training loss of the last epoch, and the least; the latter None with early stopping.
    loss_curve_ : list of float
        The training loss of each epoch; not for "lbfgs".
    validation_scores_, validation_loss_curve_ : list of float or None
        Accuracy and loss of the examples held out, after each epoch.
    best_validation_score_, best_validation_loss_ : float or None
        The best of them; of the two only the one that ``early_stopping`` watches is kept.
    n_iter_, t_, n_layers_, n_outputs_, out_activation_, n_features_in_, feature_names_in_
        As in scikit-learn.
    should_stop_ : bool
        Whether `partial_fit` has come to an early stop; more calls of it change nothing.

    See Also
    --------
    fastnn.Network : What computes it all.

    Notes
    -----
    Differences from scikit-learn are listed in its guide, docs/coming_from_scikit_learn.md. Ctrl-C
    ends training with the network of the last whole epoch, or iteration of "lbfgs", and a warning.
    With "lbfgs" ``clip_norm``, ``warmup`` and ``early_stopping`` have no meaning.

    Float32 examples are computed in float32. Sparse ones are made dense some megabytes at a time,
    or by batches where these are larger: slow where there are tens of thousands of columns.
    Callbacks (scikit-learn 1.9) are called after each epoch, and may stop the fit.

    Source: A. Ng's course notes; scikit-learn's documentation, for what its parameters mean.

    Examples
    --------
    >>> from fastnn.sklearn import MLPClassifier
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = MLPClassifier(16, "gelu", solver="lbfgs", tol=1e-3, random_state=0).fit(X, y)
    >>> round(classifier.score(X, y), 1)
    1.0
    """

    _parameter_constraints: dict[str, list[Any]] = {
        **BaseMLP._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    classes_: Array

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str | Sequence[str] = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str | Callable[[Array], Array] = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool | str = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        class_weight: Mapping[Any, float] | str | None = None,
        dropout: float | Sequence[float] = 0.0,
        clip_norm: float | None = None,
        warmup: float = 0.0,
        device: str | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.class_weight = class_weight
        self.dropout = dropout
        self.clip_norm = clip_norm
        self.warmup = warmup
        self.device = device

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: Any = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> MLPClassifier:
        """Train the network.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            The examples, one a row.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Their classes; or zeros and ones, a column for each label.
        sample_weight : array-like of shape (n_samples,), optional
            How much each example counts.
        X_val, y_val, sample_weight_val : array-like, optional
            Examples that are not trained on: their score and loss are recorded after each epoch,
            and watched by ``early_stopping``, which then holds none of X out.

        Returns
        -------
        MLPClassifier
            The estimator itself.

        Raises
        ------
        ValueError
            If a parameter or a shape does not fit, X or y holds NaN, or training diverged.

        Examples
        --------
        >>> MLPClassifier(2, random_state=0, solver="lbfgs").fit([[0.0], [1.0]], [3, 7]).classes_
        array([3, 7])
        """
        self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val), incremental=False)
        return self

    @available_if(lambda estimator: estimator._can_go_on())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        classes: ArrayLike | None = None,
        *,
        X_val: Any = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> MLPClassifier:
        """Train for one epoch on these examples, going on from what is there.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        classes : array-like of shape (n_classes,), optional
            All classes that there will be; needed in the first call.
        X_val, y_val, sample_weight_val : array-like, optional
            Examples that ``early_stopping`` watches: needed with it. When it would stop, the best
            network is put back, ``should_stop_`` is True, and further calls change nothing.

        Returns
        -------
        MLPClassifier
            The estimator itself.

        Raises
        ------
        ValueError
            As `fit`; or if the first call names no classes.
        AttributeError
            If the solver is "lbfgs".

        Examples
        --------
        >>> classifier = MLPClassifier(2, random_state=0)
        >>> classifier.partial_fit([[0.0], [1.0]], [3, 7], classes=[3, 5, 7]).classes_
        array([3, 5, 7])
        """
        with keeping_fitted(self):
            if _is_multilabel(y):
                labels = np.arange(np.shape(y)[1])
                if classes is not None and not np.array_equal(np.unique(classes), labels):
                    raise ValueError(
                        f"classes of multilabel targets are the columns' numbers, 0 to"
                        f" {len(labels) - 1}, or None; got {classes!r}"
                    )
                classes = labels
            _check_partial_fit_first_call(self, classes)
            self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val), incremental=True)
        return self

    def predict(self, X: Any) -> Array:
        """Return the likeliest class of each example.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            The examples.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X has another number of features, or holds NaN.

        Examples
        --------
        >>> X, y = [[0.0], [1.0]], ["no", "yes"]
        >>> MLPClassifier(4, solver="lbfgs", random_state=0).fit(X, y).predict([[2.0]])
        array(['yes'], dtype='<U3')
        """
        codes = self._codes(self._outputs(X))
        return codes if codes.ndim == 2 else self.classes_[codes]

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            The examples.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            For multilabel targets that of each label.

        Raises
        ------
        NotFittedError, ValueError
            As `predict`.

        Examples
        --------
        >>> X, y = [[0.0], [1.0]], [0, 1]
        >>> MLPClassifier(4, solver="lbfgs", random_state=0).fit(X, y).predict_proba(X).shape
        (2, 2)
        """
        A = self._outputs(X)
        if self._multilabel or A.shape[1] > 1:
            return A
        return np.hstack([1 - A, A]) if len(self.classes_) == 2 else np.ones_like(A)

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithm of `predict_proba`.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
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
        >>> MLPClassifier(4, solver="lbfgs", random_state=0).fit(X, y).predict_log_proba(X).shape
        (2, 2)
        """
        A = self.predict_proba(X)
        with np.errstate(divide="ignore"):
            return np.log(A, out=A)

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn should know of this class."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.input_tags.sparse = True
        return tags

    def _codes(self, A: Array) -> Array:
        """Return the places of the likeliest classes, or zeros and ones for labels."""
        if self.out_activation_ == "softmax":
            codes: Array = A.argmax(axis=1)
            return codes
        codes = (A > 0.5).astype(np.int64)
        if self._multilabel:
            return codes
        # Where only one class was seen it is the answer.
        return np.minimum(codes[:, 0], len(self.classes_) - 1)

    def _validate_input(
        self, X: Any, y: Any, incremental: bool, reset: bool, dtype: Any
    ) -> tuple[Any, Array]:
        X, y = training_data(self, X, y, dtype or FLOATS, multi_output=True, reset=reset)
        check_classification_targets(y)
        goes_on = hasattr(self, "classes_") and (incremental or (self.warm_start and not reset))
        if not goes_on:
            self._multilabel = _is_multilabel(y)
            self.classes_ = np.arange(y.shape[1]) if self._multilabel else unique_labels(y)
        elif not hasattr(self, "coefs_"):  # the first partial_fit
            self._multilabel = _is_multilabel(y)
        return X, self._encoded(y, partly=incremental)

    def _validate_held_out(self, X: Any, y: Any, dtype: Any) -> tuple[Any, Array]:
        X, y = query_labels(self, X, y, dtype, multi_output=True)
        return X, self._encoded(y, partly=True)

    def _encoded(self, y: Array, partly: bool) -> Array:
        """Return the place of each example's class, or zeros and ones for labels."""
        if self._multilabel != _is_multilabel(y):
            kinds = {True: "multilabel", False: "not multilabel"}
            raise ValueError(
                f"y is {kinds[not self._multilabel]}, but was {kinds[self._multilabel]} before"
            )
        if self._multilabel:
            dense = y.toarray() if hasattr(y, "toarray") else np.asarray(y)
            if dense.shape[1] != len(self.classes_):
                raise ValueError(f"y has {dense.shape[1]} labels; expected {len(self.classes_)}")
            return dense.astype(np.int64)
        y = column_or_1d(y, warn=True)
        found = unique_labels(y)
        if not partly and set(found) != set(self.classes_):
            raise ValueError(
                f"warm_start goes on with the same classes, {self.classes_}, but y has {found}: set"
                " warm_start=False"
            )
        if len(np.setdiff1d(found, self.classes_)):
            raise ValueError(f"y has the classes {found}, but only {self.classes_} are known")
        return np.searchsorted(self.classes_, y)

    def _count_outputs(self, y: Array) -> int:
        if self._multilabel:
            return int(y.shape[1])
        return 1 if len(self.classes_) <= 2 else len(self.classes_)

    def _targets(self, y: Array) -> Array:
        return y.T if y.ndim == 2 else y

    def _as_given(self, y: Array) -> Array:
        return y if self._multilabel else self.classes_[y]

    def _network_loss(self) -> tuple[str, str, float]:
        if self._multilabel or len(self.classes_) <= 2:
            return "sigmoid", "binary_cross_entropy", 1.0
        return "softmax", "cross_entropy", 1.0

    def _class_weighted(self, weights: Array | None, y: Array) -> Array | None:
        if self.class_weight is None:
            return weights
        if self._multilabel:
            raise ValueError("class_weight is for classes that exclude one another, not for labels")
        return with_class_weight(weights, self.class_weight, self.classes_, self.classes_[y])

    def _score_of(self, A: Array, y: Array, weights: Array | None) -> float:
        if not np.isfinite(A).all():
            return float("nan")
        # As accuracy_score, whose checks of what is known here take longer than a small epoch.
        right = self._codes(A) == y
        return float(np.average(right.all(axis=1) if y.ndim == 2 else right, weights=weights))


def _is_multilabel(y: Any) -> bool:
    return bool(type_of_target(y).startswith("multilabel"))
