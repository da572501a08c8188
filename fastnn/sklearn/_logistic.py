"""Logistic regression with scikit-learn's interface."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse, special
from sklearn.base import BaseEstimator, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model._base import LinearClassifierMixin, SparseCoefMixin
from sklearn.utils._param_validation import Hidden, Interval, StrOptions
from sklearn.utils.extmath import safe_sparse_dot

from .. import functional as F
from ._blocks import map_blocks
from ._callbacks import CallbackSupportMixin, FitTask
from ._inputs import (
    FLOATS,
    class_labels,
    keeping_fitted,
    query_data,
    training_data,
    weights_of,
    with_class_weight,
)
from ._objective import Objective
from ._solvers import NEWTON_LIMIT, Listener, Solution, newton, refined

Array = NDArray[Any]

SOLVERS = ("lbfgs", "liblinear", "newton-cg", "newton-cholesky", "sag", "saga")

# How a warning that max_iter was too small begins. Filters know scikit-learn's by these words.
_NOT_CONVERGED = {
    "lbfgs": "lbfgs failed to converge after {n} iteration(s)",
    "liblinear": "Liblinear failed to converge, increase the number of iterations",
    "newton-cg": "newton-cg failed to converge after {n} iteration(s)",
    "newton-cholesky": "Newton solver did not converge after {n} iterations",
    "sag": "The max_iter was reached which means the coef_ did not converge",
    "saga": "The max_iter was reached which means the coef_ did not converge",
}
# Beyond this, squares and products of values overflow.
_LARGEST_VALUE = 1e30


class LogisticRegression(
    CallbackSupportMixin, LinearClassifierMixin, SparseCoefMixin, BaseEstimator
):
    """Logistic regression, as scikit-learn's class of that name, on fastnn's kernels.

    Minimises over W and b, with z_j = W x_j + b::

        C sum_j w_j loss(z_j, y_j) + l1_ratio sum |W| + (1 - l1_ratio) / 2 sum W^2

    For two classes there is one row of W, and the loss is the binary cross-entropy of sigmoid(z);
    for more, there is a row for each, and it is the cross-entropy of softmax(z).

    Parameters
    ----------
    penalty : {"l1", "l2", "elasticnet", None}, optional
        Deprecated, as in scikit-learn: l1_ratio and C say it all.
    C : float
        The weight of the losses; infinity for no penalty.
    l1_ratio : float
        0 for an L2 penalty, 1 for an L1 penalty, between them for both (elastic net).
    dual : bool
        Taken with liblinear and an L2 penalty; the result is the same.
    tol : float
        A fit ends when no element of the (least sub-) gradient of what is minimised, divided by
        C sum_j w_j, is larger. This holds for all solvers. Newton's method (see below) also ends
        only after a step of which the slope promised no more than 2 tol of the cost. With
        liblinear, sag and saga it goes on, for 3 steps at most, until one moves no coefficient by
        more than tol times the largest. A fit also ends where no step lowers the cost beyond its
        rounding errors. It warns (ConvergenceWarning) if the gradient there is larger than tol and
        than its own rounding errors, which in float32 are often above the default tol; and if
        max_iter came first, but not if only those last 3 steps were cut short.
    fit_intercept : bool
        Whether there is a b.
    intercept_scaling : float
        With liblinear, b is penalised as the weight, times this, of a feature of this value.
    class_weight : dict or "balanced", optional
        The weights of the classes, by which those of the examples are multiplied; "balanced"
        makes every class weigh the same.
    random_state : int or RandomState, optional
        Taken, and without effect: no solver here draws numbers.
    solver : {"lbfgs", "liblinear", "newton-cg", "newton-cholesky", "sag", "saga"}
        With the penalties that it takes in scikit-learn, see below.
    max_iter : int
        The most iterations of the solver.
    verbose : int
        Whether to print the cost after each iteration.
    warm_start : bool
        Whether a fit starts from the coefficients that are there.
    n_jobs : int, optional
        Deprecated, and without effect, as in scikit-learn. ``FASTNN_NUM_THREADS`` limits threads.
    device : str, optional
        Where to compute: see `fastnn.use_device`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes, in order.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        W, in the type of X; in float64 with liblinear.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        b, zeros if it is not fitted.
    n_iter_ : ndarray of shape (1,), int32
        The iterations made.
    n_features_in_ : int
        The number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if X had names that are all strings.

    See Also
    --------
    fastnn.Network : What computes the losses and their gradient.

    Notes
    -----
    The names of solvers choose what is minimised, as they do in scikit-learn, and one of two
    methods, both deterministic:

    ==================  =============================  ==================================
    solver              penalties                      method
    ==================  =============================  ==================================
    "lbfgs", "sag"      L2 or none                     L-BFGS (SciPy)
    "newton-cg"         L2 or none                     Newton
    "newton-cholesky"   L2 or none                     Newton
    "liblinear"         L1 or L2, of the intercept     Newton
                        too; two classes
    "saga"              all                            Newton
    ==================  =============================  ==================================

    Newton's method moves those coefficients that are not 0 or, under an L1 penalty, may leave it
    (if these are more than 2,000, the steepest). It forms the matrix of their second derivatives;
    of more than 2,000 it solves by conjugate gradients instead, without the matrix. Where there is
    no L1 penalty and there are more than 2,000 coefficients, L-BFGS takes its place. Newton's
    method also ends a fit by L-BFGS that could not reach tol, and one with liblinear, sag or saga.

    Float32 stays float32. Sparse data is made dense by blocks of rows of a few MB, never whole.
    The blocks have all columns, zeros included: wide sparse data, such as counts of words, is
    taken, but slowly, as if it were dense.
    Callbacks (scikit-learn 1.9) are called after each iteration of every solver, and may stop it.
    A fit that fails or is interrupted leaves the estimator as it was fitted before.

    Source: A. Ng's course notes, *Logistic regression as a neural network*; for the active set,
    N. Keskar and others, A second-order method for convex L1-regularized optimization with
    active-set prediction, 2016.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastnn.sklearn import LogisticRegression
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = LogisticRegression(max_iter=200).fit(X, y)
    >>> classifier.predict(X[:2])
    array([0, 0])
    >>> classifier.predict_proba(X[:1]).round(2)
    array([[0.98, 0.02, 0.  ]])
    >>> round(classifier.score(X, y), 2)
    0.97
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "penalty": [
            StrOptions({"l1", "l2", "elasticnet"}),
            None,
            Hidden(StrOptions({"deprecated"})),
        ],
        "C": [Interval(Real, 0, None, closed="right")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both"), None],
        "dual": ["boolean"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "fit_intercept": ["boolean"],
        "intercept_scaling": [Interval(Real, 0, None, closed="neither")],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "random_state": ["random_state"],
        "solver": [StrOptions(set(SOLVERS))],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "n_jobs": [None, Integral],
        "device": [str, None],
    }

    classes_: Array
    coef_: Any  # sparse after sparsify()
    intercept_: Array
    n_iter_: Array
    n_features_in_: int

    def __init__(
        self,
        penalty: str | None = "deprecated",
        *,
        C: float = 1.0,
        l1_ratio: float | None = 0.0,
        dual: bool = False,
        tol: float = 1e-4,
        fit_intercept: bool = True,
        intercept_scaling: float = 1,
        class_weight: Mapping[Any, float] | str | None = None,
        random_state: Any = None,
        solver: str = "lbfgs",
        max_iter: int = 100,
        verbose: int = 0,
        warm_start: bool = False,
        n_jobs: int | None = None,
        device: str | None = None,
    ) -> None:
        self.penalty = penalty
        self.C = C
        self.l1_ratio = l1_ratio
        self.dual = dual
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.intercept_scaling = intercept_scaling
        self.class_weight = class_weight
        self.random_state = random_state
        self.solver = solver
        self.max_iter = max_iter
        self.verbose = verbose
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.device = device

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> LogisticRegression:
        """Find the coefficients.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            The examples, one a row. Float32 and float64 arrays of any memory order are read in
            place.
        y : array-like of shape (n_samples,)
            Their classes.
        sample_weight : array-like of shape (n_samples,), optional
            How much each example counts.

        Returns
        -------
        LogisticRegression
            The estimator itself.

        Raises
        ------
        ValueError
            If the solver does not take the penalty, or dual, or so many classes; if X or y has
            another shape than expected, or X holds NaN or infinity; if a weight is negative, or
            all are zero; if there is only one class.
        DeviceError
            If the device is not there.

        Examples
        --------
        >>> LogisticRegression().fit([[0.0], [1.0]], ["no", "yes"]).classes_
        array(['no', 'yes'], dtype='<U3')
        """
        penalty, C = self._penalty()
        _check_solver(self.solver, penalty, self.dual)
        with keeping_fitted(self):
            # liblinear, the library, computes in float64 alone.
            dtype = np.float64 if self.solver == "liblinear" else FLOATS
            X, y = training_data(self, X, y, dtype)
            self.classes_, labels = class_labels(y)
            if self.solver == "liblinear":
                _check_liblinear(X, self.classes_)
            weights = weights_of(sample_weight, X.shape[0])
            weighted = with_class_weight(weights, self.class_weight, self.classes_, y)
            objective = Objective(
                X, labels, weighted, len(self.classes_), self.fit_intercept, self.device
            )
            self._penalise(objective, penalty, C)
            task = FitTask(
                self,
                X,
                y,
                weights,
                self.max_iter,
                f"{self.solver}-iter",
                lambda theta: dict(
                    zip(("coef_", "intercept_"), objective.split(theta), strict=True)
                ),
            )
            solution = self._solve(objective, self._start(objective), task)
            self.coef_, self.intercept_ = objective.split(solution.theta)
            self.n_iter_ = np.array([solution.n_iter], np.int32)
            task.close()
        return self

    def _penalty(self) -> tuple[str | None, float]:
        """Return the penalty's name, None if C alone makes it vanish, and C."""
        penalty, C = self.penalty, self.C
        if penalty == "deprecated":
            if self.l1_ratio is None:
                warnings.warn(
                    "'l1_ratio=None' was deprecated in scikit-learn 1.8: give a number from 0 to 1",
                    FutureWarning,
                    stacklevel=4,
                )
            by_ratio: dict[float | None, str] = {None: "l2", 0: "l2", 1: "l1"}
            penalty = None if np.inf == C else by_ratio.get(self.l1_ratio, "elasticnet")
        else:
            self._warn_of_penalty()
            if penalty == "elasticnet" and self.l1_ratio is None:
                raise ValueError("l1_ratio must be a number from 0 to 1 for an elasticnet penalty")
            C = np.inf if penalty is None else C
        if penalty != "elasticnet" and self.l1_ratio is not None and 0 < self.l1_ratio < 1:
            warnings.warn(
                f"penalty={penalty!r} takes no notice of l1_ratio, which is {self.l1_ratio:g}: it"
                " counts for penalty='elasticnet'. Leave penalty out to have it count",
                UserWarning,
                stacklevel=4,
            )
        if self.n_jobs is not None:
            warnings.warn(
                f"'n_jobs' has no effect and was deprecated in scikit-learn 1.8; got {self.n_jobs}:"
                " leave it out",
                FutureWarning,
                stacklevel=4,
            )
        return penalty, C

    def _warn_of_penalty(self) -> None:
        warnings.warn(
            "'penalty' was deprecated in scikit-learn 1.8: for 'l2' give l1_ratio=0, for 'l1'"
            " l1_ratio=1, for 'elasticnet' an l1_ratio between them, and for None C=np.inf",
            FutureWarning,
            stacklevel=5,
        )
        if {"l2": 0, "l1": 1}.get(str(self.penalty), self.l1_ratio) != self.l1_ratio:
            warnings.warn(
                f"Inconsistent values: penalty={self.penalty} with l1_ratio={self.l1_ratio};"
                " the penalty holds. Give l1_ratio alone",
                UserWarning,
                stacklevel=5,
            )
        if self.penalty is None and self.C != 1.0:
            warnings.warn(
                f"penalty=None leaves C={self.C:g} and l1_ratio without effect: leave them out, or"
                " leave penalty out and give C=np.inf",
                UserWarning,
                stacklevel=5,
            )

    def _penalise(self, objective: Objective, penalty: str | None, C: float) -> None:
        strength = 1.0 / (C * objective.examples.total_weight)
        share = {"l1": 1.0, "elasticnet": self.l1_ratio}.get(str(penalty), 0.0) or 0.0
        scaling = self.intercept_scaling if self.solver == "liblinear" else None
        objective.penalise(share * strength, (1 - share) * strength, scaling)

    def _start(self, objective: Objective) -> Array:
        """Return the coefficients to start from."""
        start = np.zeros(objective.size)
        if self.warm_start and hasattr(self, "coef_"):
            coef = self.coef_.toarray() if sparse.issparse(self.coef_) else self.coef_
            expected = objective.n_rows, objective.n_features
            if coef.shape != expected:
                raise ValueError(
                    f"coef_ has shape {coef.shape}, so it is no start for a fit whose coef_ has"
                    f" shape {expected}: set warm_start=False, or give the same classes and"
                    " features"
                )
            start[: objective.n_weights] = coef.ravel()
            if self.fit_intercept:
                start[objective.n_weights :] = self.intercept_
        return start

    def _solve(self, objective: Objective, start: Array, task: FitTask) -> Solution:
        """Return the solution, having warned if there is none yet."""
        task.begin(start)
        method: Callable[..., Solution]
        small = objective.size <= NEWTON_LIMIT
        by_newton = self.solver not in ("lbfgs", "sag")
        # SciPy makes a step even if none is allowed.
        none_allowed = self.max_iter == 0 and self.solver != "lbfgs"
        method = refined
        if none_allowed or (by_newton and (small or objective.l1.any())):
            method = newton
        settle = self.solver in ("liblinear", "sag", "saga")
        listener = self._listener(task)
        found = method(objective, start, self.tol, self.max_iter, listener, settle=settle)
        if found.reason == "limit" or (
            found.reason == "precision" and found.violation > max(self.tol, objective.floor())
        ):
            begin = _NOT_CONVERGED[self.solver].format(n=found.n_iter)
            within = found.violation <= self.tol
            last = ", and the last step still promised to lower the cost" if within else ""
            warnings.warn(
                f"{begin}: the gradient's largest element is {found.violation:.3g}, tol is"
                f" {self.tol:g}{last}. Increase the number of iterations"
                f" (max_iter={self.max_iter}), scale the data"
                " (sklearn.preprocessing.StandardScaler), or raise tol",
                ConvergenceWarning,
                stacklevel=4,
            )
        return found

    def _listener(self, task: FitTask) -> Listener:
        n_iter = 0

        def listen(theta: Array, cost: float) -> bool:
            nonlocal n_iter
            n_iter += 1
            if self.verbose:
                print(f"{self.solver}, iteration {n_iter}: cost {cost:.6g}")
            stop = task.end(theta)
            task.begin(theta)
            return stop

        return listen

    def decision_function(self, X: Any) -> Array:
        """Return z = W x + b of each example.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            The examples, one a row.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            For two classes, what is above 0 where the second is the likelier.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        ValueError
            If X has another number of features than in `fit`, or holds NaN or infinity.

        Examples
        --------
        >>> LogisticRegression().fit([[-1.0], [1.0]], [0, 1]).decision_function([[2.0]]) > 0
        array([ True])
        """
        X = query_data(self, X)
        if sparse.issparse(self.coef_):
            scores = safe_sparse_dot(X, self.coef_.T, dense_output=True) + self.intercept_
        else:
            dtype = np.result_type(X.dtype, self.coef_.dtype)
            # Whoever sets the coefficients may set a vector, and one number for all intercepts.
            W = np.atleast_2d(np.asarray(self.coef_, dtype))
            b = np.broadcast_to(
                np.reshape(np.asarray(self.intercept_, dtype), (-1, 1)), (len(W), 1)
            )
            compute = partial(F.linear_forward, W=W, b=b, device=self.device)
            scores = map_blocks(X, dtype, len(W), lambda x, out: compute(x, out=out))
        flat: Array = scores.ravel() if scores.shape[1] == 1 else scores
        return flat

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class, for each example.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            The examples, one a row.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Sigmoid or softmax of `decision_function`; the classes in the order of ``classes_``.

        Raises
        ------
        NotFittedError, ValueError
            As `decision_function`.

        Examples
        --------
        >>> LogisticRegression().fit([[-1.0], [1.0]], [0, 1]).predict_proba([[0.0]]).round(4)
        array([[0.5, 0.5]])
        """
        scores = self.decision_function(X)
        if scores.ndim == 1:
            second = F.sigmoid(scores, device=self.device)
            return np.stack([1 - second, second], axis=1)
        F.softmax(scores.T, out=scores.T, device=self.device)
        return scores

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithm of the probability of each class, for each example.

        It is computed from the decision function, and is finite where a probability is too small
        for its type.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            The examples, one a row.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)

        Raises
        ------
        NotFittedError, ValueError
            As `decision_function`.

        Examples
        --------
        >>> LogisticRegression().fit([[-1.0], [1.0]], [0, 1]).predict_log_proba([[0.0]]).round(4)
        array([[-0.6931, -0.6931]])
        """
        scores = self.decision_function(X)
        if scores.ndim == 1:
            zero = scores.dtype.type(0)
            return np.stack([-np.logaddexp(zero, scores), -np.logaddexp(zero, -scores)], axis=1)
        logarithms: Array = special.log_softmax(scores, axis=1)
        return logarithms

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        if self.solver == "liblinear":
            tags.classifier_tags.multi_class = False
        return tags


def _check_solver(solver: str, penalty: str | None, dual: bool) -> None:
    """Raise unless the solver takes the penalty, and dual."""
    if solver not in ("liblinear", "saga") and penalty not in ("l2", None):
        raise ValueError(
            f"Solver {solver} supports only 'l2' or None penalties, got {penalty} penalty:"
            " set l1_ratio=0, or solver='saga'"
        )
    if solver != "liblinear" and dual:
        raise ValueError(f"Solver {solver} supports only dual=False, got dual=True")
    if solver == "liblinear" and penalty == "elasticnet":
        raise ValueError(
            "Only 'saga' solver supports elasticnet penalty, got solver=liblinear."
            " Set l1_ratio to 0 or 1, or solver='saga'"
        )
    if solver == "liblinear" and penalty is None:
        raise ValueError(
            "solver='liblinear' needs a penalty, and got none (C=np.inf, or penalty=None):"
            " give another solver, or a finite C"
        )
    if solver == "liblinear" and dual and penalty == "l1":
        raise ValueError(
            "dual=True needs an L2 penalty, and got an L1 penalty (l1_ratio=1, or penalty='l1'):"
            " set dual=False, or l1_ratio=0"
        )


def _check_liblinear(X: Any, classes: Array) -> None:
    """Raise unless there are two classes, and no value so large that its square overflows."""
    if len(classes) > 2:
        raise ValueError(
            # The sentence that scikit-learn's estimator checks look for.
            "Only binary classification is supported."
            f" With solver='liblinear', y may hold 2 classes, and holds {len(classes)}: give"
            " another solver, or wrap the estimator in sklearn.multiclass.OneVsRestClassifier"
        )
    largest = X.max()
    if largest > _LARGEST_VALUE:
        raise ValueError(
            f"X holds {largest:g}; solver='liblinear' takes values up to {_LARGEST_VALUE:g}, as in"
            " scikit-learn: scale X, or give another solver"
        )
