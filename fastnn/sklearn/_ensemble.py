"""What ensembles share: networks on drawn examples, trained side by side."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from ..history import History
from ..network import Network
from ..optimizers import SGD, Adam, Optimizer
from ..populations import ensemble_forward, fit_many
from ..schedules import CosineDecay, ReduceOnPlateau
from ._inputs import FLOATS, keeping_fitted, weights_of
from ._mlp import HIDDEN, hidden_layers

Array = NDArray[Any]
Rows = NDArray[np.int64]
Schedule = str | Callable[[Array], Array] | ReduceOnPlateau


@dataclass
class Members:
    """The networks of an ensemble before training, and what each is told."""

    networks: list[Network]
    told: dict[str, Any]  # of `fit_many`: a list with one for each network


def together(members: Sequence[Members]) -> Members:
    """Return all of them as if they were of one ensemble."""
    told: dict[str, Any] = {
        name: [value for some in members for value in some.told[name]] for name in members[0].told
    }
    return Members([net for some in members for net in some.networks], told)


def train(
    members: Members, X: Array, targets: Array, n_jobs: int | None
) -> tuple[list[History], bool]:
    """Train them on X, one example a row; return their histories, and whether to the end."""
    threads = None if n_jobs == -1 else n_jobs
    histories = fit_many(members.networks, X.T, targets, threads=threads, **members.told)
    whole = all(history.stopped != "interrupted" for history in histories)
    # The order of the examples is the caller's own: no model grows with their number.
    return [replace(history, _momentum=None) for history in histories], whole


# What ``n_jobs`` may be.
JOBS: list[Any] = [Interval(Integral, 1, None, closed="left"), Options(Integral, {-1}), None]


class BaseMLPEnsemble(BaseEstimator, ABC):
    """Networks that are trained alike, each on its own examples, with scikit-learn's interface."""

    _parameter_constraints: dict[str, list[Any]] = {
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(HIDDEN), list, tuple],
        "bootstrap": ["boolean"],
        "max_samples": [
            Interval(Integral, 1, None, closed="left"),
            Interval(Real, 0, 1, closed="right"),
        ],
        "solver": [StrOptions({"sgd", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "cosine"}), callable, ReduceOnPlateau],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
        "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
        "random_state": ["random_state"],
        "n_jobs": JOBS,
        "device": [str, None],
    }

    networks_: list[Network]
    n_features_in_: int
    n_outputs_: int

    # ------------------------------------------------------------------ what the classes add

    @abstractmethod
    def _learn_targets(self, y: Array) -> None:
        """Set the attributes that follow from the targets."""

    @abstractmethod
    def _targets(self, y: Array, dtype: Any) -> Array:
        """Return the targets as `fit_many` takes them."""

    @abstractmethod
    def _network_loss(self) -> tuple[str, str, float]:
        """Return the networks' output activation, their loss, and Huber's delta."""

    @abstractmethod
    def _class_weighted(self, weights: Array | None, y: Array) -> Array | None:
        """Return the weights of the examples, those of their classes in."""

    # ------------------------------------------------------------------ fitting

    def _validated(self, X: Any, y: Any) -> tuple[Array, Array]:
        numeric = self.__sklearn_tags__().estimator_type == "regressor"
        X, y = validate_data(
            self, X, y, dtype=list(FLOATS), multi_output=numeric, y_numeric=numeric
        )
        return X, y

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> None:
        with keeping_fitted(self):
            X, y = self._validated(X, y)
            weights = weights_of(sample_weight, len(X))
            members = self._members(X, y, weights, None)
            histories, whole = train(members, X, self._targets(y, X.dtype), self.n_jobs)
            if not whole and not all(history.cost for history in histories):
                raise KeyboardInterrupt  # before each network had an epoch
            self._keep(members.networks, histories)
        if not whole:
            warnings.warn("Training interrupted by user.", stacklevel=3)

    def _members(self, X: Array, y: Array, weights: Array | None, rows: Rows | None) -> Members:
        """Draw the networks of a fit to these rows of X, and the examples of each.

        By the same random_state the same are drawn as if there were no others than those rows.
        """
        some = y if rows is None else y[rows]
        self.n_features_in_ = X.shape[1]
        self._learn_targets(some)
        random = check_random_state(self.random_state)
        units, names = hidden_layers(self.hidden_layer_sizes, self.activation)
        output, loss, delta = self._network_loss()
        sizes = [self.n_features_in_, *units, self.n_outputs_]
        networks, drawn, held = [], [], []
        for _ in range(self.n_estimators):
            seed = int(random.randint(2**31 - 1))
            networks.append(
                Network(
                    sizes, [*names, output], loss, X.dtype, seed, delta=delta, device=self.device
                )
            )
            mine, others = self._draw(len(some), random)
            drawn.append(mine if rows is None else rows if mine is None else rows[mine])
            held.append(others if rows is None or others is None else rows[others])
        own = None if weights is None or rows is None else weights[rows]
        weighted = self._class_weighted(weights if rows is None else own, some)
        if weighted is not None and rows is not None:
            of_rows, weighted = weighted, np.zeros(len(X))
            weighted[rows] = of_rows
        batches = [self._batch(len(some) if mine is None else len(mine)) for mine in drawn]
        alike = {
            "epochs": self.max_iter,
            "optimizer": self._optimizer(),
            "schedule": self._schedule(),
            "patience": self.n_iter_no_change if self.early_stopping else None,
            "min_delta": float(self.tol),
            "dropout": self._dropout(),
            "clip_norm": self.clip_norm,
            "sample_weight": weighted,
        }
        told: dict[str, Any] = {name: [value] * self.n_estimators for name, value in alike.items()}
        told |= {
            "rows": drawn,
            "validation": held if self.early_stopping else [None] * self.n_estimators,
            "batch_size": batches,
            "l2": [self.alpha / batch for batch in batches],
        }
        return Members(networks, told)

    def _draw(self, m: int, random: np.random.RandomState) -> tuple[Rows | None, Rows | None]:
        """Return which of m examples a network is trained on, and which it is not."""
        share = self.max_samples
        size = int(share) if isinstance(share, Integral) else max(1, round(share * m))
        if size > m:
            raise ValueError(f"max_samples={size} is more than the {m} examples")
        if self.bootstrap:
            mine = random.randint(0, m, size)
        elif size < m:
            mine = random.permutation(m)[:size]
        elif self.early_stopping:
            mine = random.permutation(m)[: m - max(1, round(self.validation_fraction * m))]
        else:
            return None, None
        others = np.flatnonzero(np.bincount(mine, minlength=m) == 0)
        if self.early_stopping and (len(others) == 0 or len(mine) == 0):
            raise ValueError(
                f"early_stopping needs examples to train on and others to watch, but {m} leave"
                f" {len(mine)} and {len(others)}: give more, or another max_samples"
            )
        return mine, others

    def _batch(self, m: int) -> int:
        return min(200 if self.batch_size == "auto" else self.batch_size, m)

    def _optimizer(self) -> Optimizer:
        if self.solver == "adam":
            return Adam(self.learning_rate_init)
        nesterov = bool(self.nesterovs_momentum and self.momentum > 0)
        return SGD(self.learning_rate_init, self.momentum, nesterov)

    def _schedule(self) -> Any:
        named = self.learning_rate
        if isinstance(named, str):
            return CosineDecay(self.max_iter) if named == "cosine" else None
        return named

    def _dropout(self) -> float | tuple[float, ...]:
        given = self.dropout
        return float(given) if np.ndim(given) == 0 else tuple(float(p) for p in given)

    def _keep(self, networks: list[Network], histories: list[History]) -> None:
        """Let these be what was fitted."""
        if not all(np.isfinite(net.parameters).all() for net in networks):
            raise ValueError(
                "training diverged to non-finite weights: standardize the data, or lower"
                " learning_rate_init"
            )
        self.networks_, self.histories_ = networks, histories
        self.n_iter_ = max(len(history.cost) for history in histories)

    # ------------------------------------------------------------------ answers

    def _mean_and_spread(self, X: Any) -> tuple[Array, Array]:
        """Return the mean of the networks' outputs and their deviation from it, (m, n_outputs)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=list(FLOATS), reset=False)
        X = X.astype(self.networks_[0].dtype, copy=False)
        mean, spread = ensemble_forward(self.networks_, X.T)
        return mean.T, spread.T
