"""Networks that predict numbers, with scikit-learn's interface."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import column_or_1d

from ..kernels import reference
from ..network import Network
from ._inputs import FLOATS, query_labels, training_data
from ._mlp import BaseMLP

Array = NDArray[Any]


class MLPRegressor(RegressorMixin, BaseMLP):
    """A network that predicts numbers, in place of scikit-learn's class of the same name.

    The mean over the examples of the loss, summed over the targets, is minimised, plus
    ``alpha / (2 m)`` times the sum of the squared weights, where m is the size of a batch.

    Parameters
    ----------
    loss : {"squared_error", "poisson", "absolute_error", "huber"}
        Of one target: (a - y)^2 / 2; a - y + y log(y / a), whose output is exp, for counts and
        other targets of at least 0; |a - y|; the square near 0 and a line beyond ``delta``.
    hidden_layer_sizes : int or sequence of int
        The units of each hidden layer; ``()`` for none, which is linear regression.
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
    delta : float
        Where "huber" turns from a square to a line.
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
    coefs_, intercepts_ : list of ndarray
        W of each layer as (n_in, n_out), and b: views of one network's parameters.
    loss_, best_loss_ : float
        The training loss of the last epoch, and the least; the latter None with early stopping.
    loss_curve_ : list of float
        The training loss of each epoch; not for "lbfgs".
    validation_scores_, validation_loss_curve_ : list of float or None
        R^2 and loss of the examples held out, after each epoch.
    best_validation_score_, best_validation_loss_ : float or None
        The best of them; of the two only the one that ``early_stopping`` watches is kept.
    n_iter_, t_, n_layers_, n_outputs_, out_activation_, n_features_in_, feature_names_in_
        As in scikit-learn.
    should_stop_ : bool
        Whether `partial_fit` has come to an early stop; more calls of it change nothing.

    See Also
    --------
    fastnn.Network : What computes it all.
    MLPClassifier : Whose notes on differences from scikit-learn hold here.

    Notes
    -----
    Source: A. Ng's course notes; scikit-learn's documentation, for what its parameters mean.

    Examples
    --------
    >>> from fastnn.sklearn import MLPRegressor
    >>> import numpy as np
    >>> X = np.linspace(0, 3, 200)[:, None]
    >>> regressor = MLPRegressor(hidden_layer_sizes=16, solver="lbfgs", random_state=0)
    >>> round(regressor.fit(X, np.sin(X[:, 0])).score(X, np.sin(X[:, 0])), 2)
    1.0
    """

    _parameter_constraints: dict[str, list[Any]] = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson", "absolute_error", "huber"})],
        "delta": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        loss: str = "squared_error",
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
        delta: float = 1.0,
        dropout: float | Sequence[float] = 0.0,
        clip_norm: float | None = None,
        warmup: float = 0.0,
        device: str | None = None,
    ) -> None:
        self.loss = loss
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
        self.delta = delta
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
    ) -> MLPRegressor:
        """Train the network.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            The examples, one a row.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Their targets.
        sample_weight : array-like of shape (n_samples,), optional
            How much each example counts.
        X_val, y_val, sample_weight_val : array-like, optional
            Examples that are not trained on: their score and loss are recorded after each epoch,
            and watched by ``early_stopping``, which then holds none of X out.

        Returns
        -------
        MLPRegressor
            The estimator itself.

        Raises
        ------
        ValueError
            If a parameter or a shape does not fit, X or y holds NaN, a target of Poisson is
            negative, or training diverged.

        Examples
        --------
        >>> regressor = MLPRegressor(hidden_layer_sizes=(), solver="lbfgs", alpha=0, random_state=0)
        >>> regressor.fit([[0.0], [1.0]], [1.0, 3.0]).coefs_[0].round(3)
        array([[2.]])
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
        *,
        X_val: Any = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> MLPRegressor:
        """Train for one epoch on these examples, going on from what is there.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        X_val, y_val, sample_weight_val : array-like, optional
            Examples that ``early_stopping`` watches: needed with it. When it would stop, the best
            network is put back, ``should_stop_`` is True, and further calls change nothing.

        Returns
        -------
        MLPRegressor
            The estimator itself.

        Raises
        ------
        ValueError
            As `fit`.
        AttributeError
            If the solver is "lbfgs".

        Examples
        --------
        >>> regressor = MLPRegressor(hidden_layer_sizes=2, random_state=0)
        >>> regressor.partial_fit([[0.0], [1.0]], [1.0, 3.0]).n_iter_
        1
        """
        self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val), incremental=True)
        return self

    def predict(self, X: Any) -> Array:
        """Return the targets that the network expects.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            The examples.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets)

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X has another number of features, or holds NaN.

        Examples
        --------
        >>> regressor = MLPRegressor(hidden_layer_sizes=(), solver="lbfgs", alpha=0, random_state=0)
        >>> regressor.fit([[0.0], [1.0]], [1.0, 3.0]).predict([[2.0]]).round(3)
        array([5.])
        """
        A = self._outputs(X)
        return A[:, 0] if A.shape[1] == 1 else A

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn should know of this class."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.input_tags.sparse = True
        return tags

    def _validate_input(
        self, X: Any, y: Any, incremental: bool, reset: bool, dtype: Any
    ) -> tuple[Any, Array]:
        told = {"multi_output": True, "y_numeric": True, "reset": reset}
        X, y = training_data(self, X, y, dtype or FLOATS, **told)
        return X, _column(y, X)

    def _validate_held_out(self, X: Any, y: Any, dtype: Any) -> tuple[Any, Array]:
        X, y = query_labels(self, X, y, dtype, multi_output=True, y_numeric=True)
        y = _column(y, X)
        if self._count_outputs(y) != self.n_outputs_:
            raise ValueError(f"y_val has {self._count_outputs(y)} targets; y {self.n_outputs_}")
        return X, y

    def _count_outputs(self, y: Array) -> int:
        return 1 if y.ndim == 1 else y.shape[1]

    def _targets(self, y: Array) -> Array:
        return y.T if y.ndim == 2 else y

    def _as_given(self, y: Array) -> Array:
        return y

    def _network_loss(self) -> tuple[str, str, float]:
        return "exp" if self.loss == "poisson" else "identity", self.loss, self.delta

    def _loss_of(self, net: Network, l2: float) -> Callable[[float], float]:
        """Return what makes J the loss that scikit-learn looks at: squares are a mean of targets.

        The penalty in it is that of the epoch's end, where J's is of each batch.
        """
        if self.loss != "squared_error" or self.n_outputs_ == 1:
            return lambda J: J

        def loss_of(J: float) -> float:
            penalty = reference.penalty(net.W, 0.0, l2)
            return (J - penalty) / self.n_outputs_ + penalty

        return loss_of

    def _class_weighted(self, weights: Array | None, y: Array) -> Array | None:
        return weights

    def _score_of(self, A: Array, y: Array, weights: Array | None) -> float:
        if not np.isfinite(A).all():
            return float("nan")
        # As r2_score, whose checks of what is known here take longer than a small epoch.
        wide, found = y.reshape(A.shape).astype(np.float64), A.astype(np.float64)
        mean = np.average(wide, axis=0, weights=weights)
        spread = np.average((wide - mean) ** 2, axis=0, weights=weights)
        if not spread.all():  # targets that are all alike have rules of their own
            return float(r2_score(y, found[:, 0] if y.ndim == 1 else found, sample_weight=weights))
        return float(np.mean(1 - np.average((wide - found) ** 2, axis=0, weights=weights) / spread))


def _column(y: Any, X: Any) -> Array:
    """Return targets, dense, in the type of the examples; one column of them as a vector."""
    if sparse.issparse(y):
        y = y.toarray()
    if y.ndim == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    targets: Array = y.astype(X.dtype, copy=False)
    return targets
