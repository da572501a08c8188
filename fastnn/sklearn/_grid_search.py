"""A grid search whose fits are trained side by side."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import _fit_context, clone, is_classifier
from sklearn.exceptions import FitFailedWarning
from sklearn.metrics import check_scoring, get_scorer_names
from sklearn.model_selection import GridSearchCV, ParameterGrid, check_cv
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.validation import _num_samples

from ._ensemble import JOBS, BaseMLPEnsemble, Members, together, train
from ._inputs import keeping_fitted, weights_of
from ._search_results import search_results

Array = NDArray[Any]
Split = tuple[Array, Array]


class _Fold(NamedTuple):
    """The examples of a fold as the networks see them: all, and which are trained on and tested."""

    X: Array
    y: Array
    train: Array
    test: Array
    numbers: Any  # which of the caller's examples these are


class MLPGridSearchCV(GridSearchCV):
    """All points of a grid on all folds, trained side by side, in place of `GridSearchCV`.

    The networks of all fits are trained by one call of :func:`fastnn.fit_many`, on all processors;
    the best parameters are then fitted on all examples. The scores are those of scikit-learn's
    `GridSearchCV` of the same estimator.

    Parameters
    ----------
    estimator : MLPEnsembleClassifier, MLPEnsembleRegressor or Pipeline
        Of a pipeline, which must end in one of these, the steps before are fitted once for each
        fold, and each fold's networks are trained by a call of their own.
    param_grid : dict or list of dict
        The values of each parameter; of a pipeline only parameters of its last step, as
        ``name_of_the_step__parameter``.
    scoring : str or callable, optional
        One score; the estimator's own unless given.
    n_jobs : int, optional
        At most so many threads; None or -1 for all that the process may run on. It replaces the
        estimator's.
    refit : bool
        Whether to fit the best parameters on all examples.
    cv : int, splitter or iterable, optional
        How to split the examples, as for `GridSearchCV`.

    Attributes
    ----------
    best_estimator_, best_params_, best_score_, best_index_, cv_results_, n_splits_, scorer_, \
refit_time_
        As of `GridSearchCV`. A fit's time is that of its networks, each alone, on a machine that
        trained several at once.

    See Also
    --------
    sklearn.model_selection.GridSearchCV : Which takes any estimator, and several scores.

    Notes
    -----
    What differs: one score; no ``error_score``, ``verbose``, ``pre_dispatch`` and training scores;
    the weights of examples count in training alone. Points whose training diverges have the score
    NaN, and a warning. Every fold must hold all classes. Where each step takes all examples, scores
    may differ from `GridSearchCV`'s by rounding. Ctrl-C is an error; the search stays as it was.

    Examples
    --------
    >>> from fastnn.sklearn import MLPEnsembleClassifier, MLPGridSearchCV
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> network = MLPEnsembleClassifier(n_estimators=1, bootstrap=False, random_state=0)
    >>> search = MLPGridSearchCV(
    ...     network, {"hidden_layer_sizes": [2, 16], "learning_rate_init": [1e-5, 0.02]}
    ... )
    >>> search.fit(X, y).best_params_
    {'hidden_layer_sizes': 16, 'learning_rate_init': 0.02}
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "estimator": [HasMethods(["fit"])],
        "param_grid": [dict, list],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "n_jobs": JOBS,
        "refit": ["boolean"],
        "cv": ["cv_object"],
    }

    def __init__(
        self,
        estimator: Any,
        param_grid: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: bool = True,
        cv: Any = None,
    ) -> None:
        super().__init__(estimator, param_grid, scoring=scoring, n_jobs=n_jobs, refit=refit, cv=cv)

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: Any,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> MLPGridSearchCV:
        """Train all points on all folds, and the best one on all examples.

        Parameters
        ----------
        X : {array-like, data frame} of shape (n_samples, n_features)
            The examples, one a row.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Their classes or targets.
        sample_weight : array-like of shape (n_samples,), optional
            How much each example counts in training.
        groups : array-like of shape (n_samples,), optional
            For splitters by groups.

        Returns
        -------
        MLPGridSearchCV
            The search itself.

        Raises
        ------
        TypeError
            If the estimator is none of fastnn's ensembles, nor a pipeline that ends in one.
        ValueError
            If a point names an unknown parameter or one of another step, a fold lacks a class, or
            all points diverge.

        Examples
        --------
        >>> from fastnn.sklearn import MLPEnsembleRegressor
        >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0.0, 1.0, 2.0, 3.0]
        >>> ensemble = MLPEnsembleRegressor(2, random_state=0)
        >>> search = MLPGridSearchCV(ensemble, {"alpha": [0, 1]}, cv=2)
        >>> len(search.fit(X, y).cv_results_["params"])
        2
        """
        with keeping_fitted(self):
            splitter = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
            # A splitter of one's own may name them by masks, or from the end.
            places = np.arange(_num_samples(X))
            splits = [(places[a], places[b]) for a, b in splitter.split(X, y, groups)]
            self.scorer_, self.multimetric_ = check_scoring(self.estimator, self.scoring), False
            self.n_splits_ = len(splits)
            points = [dict(point) for point in ParameterGrid(self.param_grid)]
            weights = weights_of(sample_weight, len(places))
            self._search(X, y, weights, splits, points)
            if self.refit:
                begin = time.perf_counter()
                best = clone(self.estimator).set_params(**clone(self.best_params_, safe=False))
                told = (
                    {}
                    if sample_weight is None
                    else {self._prefix() + "sample_weight": sample_weight}
                )
                self.best_estimator_ = best.fit(X, y, **told)
                self.refit_time_ = time.perf_counter() - begin
                if hasattr(self.best_estimator_, "feature_names_in_"):
                    self.feature_names_in_ = self.best_estimator_.feature_names_in_
        return self

    def _prefix(self) -> str:
        """Return what the parameters of the ensemble begin with."""
        return f"{self.estimator.steps[-1][0]}__" if isinstance(self.estimator, Pipeline) else ""

    def _candidate(self, point: Mapping[str, Any]) -> BaseMLPEnsemble:
        """Return the ensemble at a point of the grid."""
        last = self.estimator[-1] if isinstance(self.estimator, Pipeline) else self.estimator
        if not isinstance(last, BaseMLPEnsemble):
            raise TypeError(
                "estimator must be an MLPEnsembleClassifier, an MLPEnsembleRegressor or a pipeline"
                f" that ends in one, got {type(last).__name__}: use GridSearchCV for it"
            )
        prefix = self._prefix()
        for name in point:
            if not name.startswith(prefix):
                raise ValueError(
                    f"param_grid names {name!r}; of a pipeline it may name parameters of the last"
                    f" step alone, as {prefix}alpha"
                )
        own = {name.removeprefix(prefix): value for name, value in point.items()}
        candidate: BaseMLPEnsemble = clone(last).set_params(**clone(own, safe=False))
        candidate._validate_params()
        return candidate

    def _search(
        self,
        X: Any,
        y: Any,
        weights: Array | None,
        splits: list[Split],
        points: list[dict[str, Any]],
    ) -> None:
        """Train and score each point on each fold, and find the best."""
        shape = len(points), len(splits)
        scores, fit_times, score_times = (np.zeros(shape) for _ in range(3))
        fits = [(p, f) for p in range(shape[0]) for f in range(shape[1])]
        candidates = [self._candidate(point) for point in points]
        folds = self._folds(X, y, splits)
        # Folds whose examples are one array are trained together.
        for common in {id(fold.X): fold.X for fold in folds}.values():
            here = [(p, f) for p, f in fits if folds[f].X is common]
            ensembles = [deepcopy(candidates[p]) for p, _ in here]
            own = None if weights is None else weights[folds[here[0][1]].numbers]
            members = [
                ensemble._members(common, folds[f].y, own, folds[f].train)
                for ensemble, (_, f) in zip(ensembles, here, strict=True)
            ]
            self._train(ensembles, members, common, folds[here[0][1]].y)
            for ensemble, (p, f) in zip(ensembles, here, strict=True):
                seconds = [sum(history.seconds) for history in ensemble.histories_]
                fit_times[p, f], begin = sum(seconds), time.perf_counter()
                scores[p, f] = self._score(ensemble, folds[f])
                score_times[p, f] = time.perf_counter() - begin
        if np.isnan(scores).all():
            raise ValueError("training diverged at every point: lower learning_rate_init")
        self.cv_results_ = search_results(points, scores, fit_times, score_times)
        self.best_index_ = int(self.cv_results_["rank_test_score"].argmin())
        self.best_score_ = float(self.cv_results_["mean_test_score"][self.best_index_])
        self.best_params_ = points[self.best_index_]

    def _folds(self, X: Any, y: Any, splits: list[Split]) -> list[_Fold]:
        """Return the examples of each fold; without a pipeline they are one array for all."""
        judge = self._candidate({})
        if not isinstance(self.estimator, Pipeline) or len(self.estimator.steps) == 1:
            whole, targets = judge._validated(X, y)
            return [_Fold(whole, targets, *split, slice(None)) for split in splits]
        folds = []
        for some, rest in splits:
            head = clone(self.estimator[:-1])
            examples, targets = _safe_indexing(X, some), _safe_indexing(y, some)
            # As a pipeline does: what a step is fitted on it may transform in another way.
            trained = judge._validated(head.fit_transform(examples, targets), targets)
            examples, targets = _safe_indexing(X, rest), _safe_indexing(y, rest)
            tested = judge._validated(head.transform(examples), targets)
            numbers = np.concatenate([some, rest])
            train, test = np.split(np.arange(len(numbers)), [len(some)])
            whole, targets = (np.concatenate(parts) for parts in zip(trained, tested, strict=True))
            folds.append(_Fold(whole, targets, train, test, numbers))
        return folds

    def _train(
        self, ensembles: list[BaseMLPEnsemble], members: list[Members], X: Array, y: Array
    ) -> None:
        """Train all ensembles' networks in one call; leave them, and their histories, in each."""
        classes: list[Any] = [getattr(ensemble, "classes_", None) for ensemble in ensembles]
        for found in classes[1:]:
            if not np.array_equal(found, classes[0]):
                raise ValueError(
                    f"one fold's training examples have the classes {found}, another's"
                    f" {classes[0]}: give a cv that puts all classes into each, as StratifiedKFold"
                )
        histories, whole = train(
            together(members), X, ensembles[0]._targets(y, X.dtype), self.n_jobs
        )
        if not whole:
            raise KeyboardInterrupt
        for ensemble, some in zip(ensembles, members, strict=True):
            ensemble.networks_ = some.networks
            ensemble.histories_ = [histories.pop(0) for _ in some.networks]

    def _score(self, ensemble: BaseMLPEnsemble, fold: _Fold) -> float:
        """Return the score of a trained ensemble, NaN if training diverged."""
        try:
            ensemble._keep(ensemble.networks_, ensemble.histories_)
        except ValueError as error:
            warnings.warn(f"its score is NaN: {error}", FitFailedWarning, stacklevel=5)
            return float("nan")
        score = self.scorer_(ensemble, fold.X[fold.test], fold.y[fold.test])
        if not isinstance(score, Real):
            raise ValueError(
                f"scoring must return a number, got {type(score).__name__}; of several scores"
                " scikit-learn's GridSearchCV takes care"
            )
        return float(score)
