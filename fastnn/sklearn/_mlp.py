"""What the classifier and the regressor share: how a network is made, trained and asked."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import minimize
from sklearn.base import BaseEstimator, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions

from .. import validation as check
from ..history import History
from ..kernels.codes import ACTIVATIONS
from ..kernels.structures import Rule
from ..network import Network
from ..optimizers import SGD, Adam, Optimizer
from ..schedules import CosineDecay, ReduceOnPlateau, Schedule, WarmUp
from ..training import fit
from . import _sparse_training
from ._blocks import Examples, map_blocks
from ._callbacks import CallbackSupportMixin, FitTask
from ._inputs import keeping_fitted, query_data, weights_of
from ._monitor import Monitor

Array = NDArray[Any]

# scikit-learn's names of activations that have another here.
_OTHER_NAMES = {"logistic": "sigmoid"}
HIDDEN = {*ACTIVATIONS, *_OTHER_NAMES} - {"softmax", "exp"}

STOCHASTIC = ("sgd", "adam")


def hidden_layers(
    sizes: int | Sequence[int], activation: str | Sequence[str]
) -> tuple[list[int], list[str]]:
    """Return the units and the activation of each hidden layer, as such parameters name them."""
    units = [sizes] if np.ndim(sizes) == 0 else list(sizes)  # type: ignore[arg-type]
    units = [check.integer("hidden_layer_sizes", n, low=-(2**63)) for n in units]
    if any(n <= 0 for n in units):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {units}.")
    names = [activation] * len(units) if isinstance(activation, str) else list(activation)
    if len(names) != len(units):
        raise ValueError(
            f"activation names {len(names)} hidden layers, but hidden_layer_sizes={units} are"
            f" {len(units)}"
        )
    for name in names:
        check.one_of("activation", name, sorted(HIDDEN))
    return units, [_OTHER_NAMES.get(name, name) for name in names]


class _Adam(Adam):
    """Adam with epsilon where scikit-learn adds it."""

    def rule(self, l1: float, l2: float) -> Rule:
        """Return the numbers as the kernels take them."""
        return super().rule(l1, l2)._replace(epsilon_first=True)


class BaseMLP(CallbackSupportMixin, BaseEstimator, ABC):
    """A network with scikit-learn's interface."""

    _parameter_constraints: dict[str, list[Any]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(HIDDEN), list, tuple],
        "solver": [StrOptions({"lbfgs", *STOCHASTIC})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [
            StrOptions({"constant", "invscaling", "adaptive", "cosine"}),
            callable,
            ReduceOnPlateau,
        ],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean", StrOptions({"loss"})],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
            Options(Real, {np.inf}),
        ],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
        "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
        "warmup": [Interval(Real, 0, None, closed="left")],
        "device": [str, None],
    }

    # What a fit that fails gives back, beside the public attributes.
    _fitted = ("_net", "_description", "_history", "_best", "_factor", "_no_improvement_count",
               "_multilabel")  # fmt: skip

    best_loss_: float | None
    best_validation_score_: float | None
    best_validation_loss_: float | None
    coefs_: list[Array]
    intercepts_: list[Array]
    n_features_in_: int
    n_outputs_: int
    out_activation_: str

    # ------------------------------------------------------------------ what the classes add

    @abstractmethod
    def _validate_input(
        self, X: Any, y: Any, incremental: bool, reset: bool, dtype: Any
    ) -> tuple[Any, Array]:
        """Return the examples, one a row, and the targets as `train_test_split` takes them.

        In that type, or as `FLOATS` says if it is None.
        """

    @abstractmethod
    def _validate_held_out(self, X: Any, y: Any, dtype: Any) -> tuple[Any, Array]:
        """Return the caller's own validation examples, likewise."""

    @abstractmethod
    def _count_outputs(self, y: Array) -> int:
        """Return how many outputs such targets need."""

    @abstractmethod
    def _targets(self, y: Array) -> Array:
        """Return the targets as `Network.cost` takes them."""

    @abstractmethod
    def _as_given(self, y: Array) -> Array:
        """Return the targets as the caller gave them."""

    @abstractmethod
    def _network_loss(self) -> tuple[str, str, float]:
        """Return the network's output activation, its loss, and Huber's delta."""

    @abstractmethod
    def _class_weighted(self, weights: Array | None, y: Array) -> Array | None:
        """Return the weights of the examples, those of their classes in."""

    @abstractmethod
    def _score_of(self, A: Array, y: Array, weights: Array | None) -> float:
        """Return the score of outputs A, (m, n_outputs)."""

    # ------------------------------------------------------------------ the network

    def _hidden(self) -> tuple[list[int], list[str]]:
        """Return the units and the activation of each hidden layer."""
        return hidden_layers(self.hidden_layer_sizes, self.activation)

    def _new_network(self, dtype: Any) -> Network:
        units, names = self._hidden()
        output, loss, delta = self._network_loss()
        sizes = [self.n_features_in_, *units, self.n_outputs_]
        return Network(
            sizes, [*names, output], loss, dtype, initializer="zeros", delta=delta,
            device=self.device,
        )  # fmt: skip

    def _initialise(self, net: Network, random: np.random.RandomState) -> None:
        """Draw W and b uniformly, in scikit-learn's order: the same seed draws the same network.

        Source: Glorot & Bengio 2010, for the weights; scikit-learn draws the biases alike.
        """
        names = self._hidden()[1] or ["relu"]
        for W, b, name in zip(net.W, net.b, [*names, names[-1]], strict=False):
            n_out, n_in = W.shape
            bound = np.sqrt((2.0 if name == "sigmoid" else 6.0) / (n_in + n_out))
            W[...] = random.uniform(-bound, bound, (n_in, n_out)).T
            b[...] = random.uniform(-bound, bound, n_out)[:, None]

    def _network(self) -> Network:
        """Return the network of ``coefs_`` and ``intercepts_``, whoever made these."""
        net: Network | None = self.__dict__.get("_net")
        if net is None or any(a.base is not net.parameters for a in self.coefs_ + self.intercepts_):
            # As it was fitted, whatever the parameters were set to since.
            told, dtype = self._description, self.coefs_[0].dtype
            net = Network._of(told, np.empty(told.n_parameters, dtype), 0)
            net.device = self.device
            for W, b, coef, intercept in zip(
                net.W, net.b, self.coefs_, self.intercepts_, strict=True
            ):
                W[...] = coef.T
                b[...] = np.reshape(intercept, (-1, 1))
            self._show(net)
        return net

    def _show(self, net: Network) -> None:
        """Let the attributes be views of a network's parameters."""
        self._net, self._description = net, net._description
        self.coefs_, self.intercepts_ = _attributes(net)

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: the attributes, without the network that they are views of."""
        state: dict[str, Any] = dict(super().__getstate__())
        state.pop("_net", None)
        history = state.get("_history")
        if history is not None and history._momentum is not None:
            # The order of the examples is the caller's own: no model grows with their number.
            momentum = history._momentum._replace(order=np.arange(0))
            state["_history"] = replace(history, _momentum=momentum)
        return state

    def _outputs(self, X: Any) -> Array:
        """Return A, (m, n_outputs)."""
        X = query_data(self, X)
        return _outputs_of(self._network(), X)

    # ------------------------------------------------------------------ fitting

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        held_out: tuple[Any, Any, Any],
        incremental: bool,
    ) -> None:
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        if incremental and not first and self.__dict__.get("should_stop_", False):
            return
        with keeping_fitted(self):
            own = None if first or not incremental else self.coefs_[0].dtype
            X, y = self._validate_input(X, y, incremental, first, own)
            weights = weights_of(sample_weight, X.shape[0])
            self.n_outputs_ = self._count_outputs(y)
            random = check_random_state(self.random_state)
            net = self._new_network(X.dtype)
            if first:
                self._reset(net)
                self._initialise(net, random)
            else:
                before = self._network()
                if before.sizes != net.sizes:
                    raise ValueError(
                        f"the network has the sizes {list(before.sizes)}, so it is no start for one"
                        f" of {list(net.sizes)}: set warm_start=False"
                    )
                net.parameters[...] = before.parameters
                self._watch_alike()
            if self.solver in STOCHASTIC:
                self._fit_stochastic(net, X, y, weights, held_out, random, incremental)
            else:
                self._fit_lbfgs(net, X, y, weights, held_out)
            if not np.isfinite(net.parameters).all():
                raise ValueError(
                    "training diverged to non-finite weights: standardize the data, or lower"
                    " learning_rate_init"
                )

    def _watch_alike(self) -> None:
        """Have what early stopping keeps, also where it was switched on or off since."""
        if self.best_loss_ is None:
            self.best_loss_ = np.inf
        if self.best_validation_score_ is None:
            self.best_validation_score_, self.best_validation_loss_ = -np.inf, np.inf

    def _reset(self, net: Network) -> None:
        """Start the attributes of a fit from the beginning."""
        self.n_iter_ = self.t_ = 0
        self.n_layers_ = len(net.sizes)
        output = net.activations[-1]
        self.out_activation_ = "logistic" if output == "sigmoid" else output
        self.loss_curve_: list[float] = []
        self._no_improvement_count = 0
        self.__dict__.pop("_history", None)
        self.should_stop_ = False
        self._best: Array | None = None
        by_score = bool(self.early_stopping) and self.solver in STOCHASTIC
        self.best_loss_ = None if by_score else np.inf
        self.best_validation_score_ = -np.inf if by_score else None
        self.best_validation_loss_ = np.inf if by_score else None
        self.validation_scores_: list[float] | None = [] if by_score else None
        self.validation_loss_curve_: list[float] | None = [] if by_score else None

    def _held_out(
        self,
        X: Any,
        y: Array,
        weights: Array | None,
        held_out: tuple[Any, Any, Any],
        random: np.random.RandomState,
        incremental: bool,
    ) -> tuple[tuple[Any, Array, Array | None], tuple[Any, Array, Array | None] | None]:
        """Return the examples to train on, and those to look at, if there are any."""
        X_val, y_val, weight_val = held_out
        if (X_val is None) != (y_val is None):
            raise ValueError("give both X_val and y_val, or neither")
        if X_val is not None:
            try:
                X_val, y_val = self._validate_held_out(X_val, y_val, X.dtype)
            except ValueError as error:
                raise ValueError(f"X_val, y_val: {error}") from None
            weights_val = weights_of(weight_val, X_val.shape[0])
            return (X, y, weights), (X_val, y_val, weights_val)
        if weight_val is not None:
            raise ValueError("sample_weight_val needs X_val and y_val")
        if not self.early_stopping:
            return (X, y, weights), None
        if incremental:
            raise ValueError(
                f"partial_fit does not support early_stopping={self.early_stopping} unless it is"
                " given X_val and y_val: the rest is too little to hold any of it out"
            )
        # As scikit-learn, which takes no care that each of many classes is held out.
        stratify = y if is_classifier(self) and self.n_outputs_ == 1 else None
        arrays = (X, y) if weights is None else (X, y, weights)
        parts = train_test_split(
            *arrays, random_state=random, test_size=self.validation_fraction, stratify=stratify
        )
        if parts[1].shape[0] < 2:
            raise ValueError(
                f"The validation set is too small: validation_fraction={self.validation_fraction}"
                f" of {X.shape[0]} examples is {parts[1].shape[0]}; at least 2 are needed"
            )
        none = (None,) if weights is None else ()
        return (*parts[0::2], *none), (*parts[1::2], *none)

    def _fit_stochastic(
        self,
        net: Network,
        X: Any,
        y: Array,
        weights: Array | None,
        held_out: tuple[Any, Any, Any],
        random: np.random.RandomState,
        incremental: bool,
    ) -> None:
        train, held = self._held_out(X, y, weights, held_out, random, incremental)
        task = self._task(net, X, y, weights, 1 if incremental else self.max_iter)
        X, y, weights = train
        after = self.__dict__.get("_history") if incremental else None
        optimizer = self._steps()
        # Moments are of one optimiser, and are lost to Ctrl-C within an epoch.
        if after is not None and not after.leads_to(optimizer):
            after = None
        if after is None:
            self._factor = 1.0
        m = X.shape[0]
        batch = min(200, m) if self.batch_size == "auto" else self.batch_size
        if batch > m:
            warnings.warn(
                f"batch_size={batch} is larger than the number of examples, {m}: it is set to that",
                stacklevel=4,
            )
            batch = m
        weighted = self._class_weighted(weights, y)
        total = m if weighted is None else float(weighted.sum())
        # J is a mean, of which alpha's share is that of a batch's weight.
        l2 = self.alpha * m / (batch * total)
        look, loss_of = self._look(net, held), self._loss_of(net, l2)
        monitor = Monitor(self, net.parameters, look, self._adapts(), loss_of, task)
        self.n_iter_ = 0
        columns, targets, scaled = _examples(net, X, self._targets(y), weighted)
        history = fit(
            net,
            columns,
            targets,
            sample_weight=scaled,
            epochs=1 if incremental else self.max_iter,
            batch_size=batch,
            optimizer=optimizer,
            shuffle=self._orders(m, random) if self.shuffle else False,
            l2=l2,
            dropout=self._dropout(),
            clip_norm=self.clip_norm,
            schedule=self._schedule(m, monitor, after),
            after=after,
            progress=monitor.look,
            seed=int(random.randint(2**31 - 1)) if np.any(self._dropout()) else 0,
            trainer=partial(_sparse_training.trainer, device=self.device)
            if sparse.issparse(X)
            else None,
            checked=True,
        )
        self._history = history
        self.t_ += m * len(history.cost)
        self.should_stop_ = incremental and bool(self.early_stopping) and monitor.converged
        if self.should_stop_ or not incremental:
            monitor.restore()
        self._show(net)
        monitor.close()
        if history.stopped == "interrupted":
            warnings.warn("Training interrupted by user.", stacklevel=4)
        elif self.n_iter_ == self.max_iter and not incremental and not monitor.converged:
            # It begins as scikit-learn's, by which such warnings are filtered.
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached while the loss"
                " still improved",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _task(self, net: Network, X: Any, y: Array, weights: Array | None, n: int) -> FitTask:
        def attributes(parameters: Array) -> dict[str, Any]:
            copy = self._new_network(net.dtype)
            copy.parameters[...] = parameters
            coefs, intercepts = _attributes(copy)
            told = copy._description
            return {"coefs_": coefs, "intercepts_": intercepts, "_description": told}

        return FitTask(self, X, self._as_given(y), weights, n, f"{self.solver}-iter", attributes)

    def _look(
        self, net: Network, held: tuple[Any, Array, Array | None] | None
    ) -> Callable[[], tuple[float, float]] | None:
        """Return what tells the score and the loss of the examples held out, if there are any."""
        if held is None:
            return None
        X, y, weights = held
        if self.validation_scores_ is None:
            self.validation_scores_, self.validation_loss_curve_ = [], []
        try:
            examples = Examples(net, X, self._targets(y), self._class_weighted(weights, y))
        except ValueError as error:
            raise ValueError(f"the examples held out: {error}") from None
        return lambda: (self._score_of(_outputs_of(net, X), y, weights), examples.cost())

    def _adapts(self) -> bool:
        return bool(self.solver == "sgd" and self.learning_rate == "adaptive")

    def _steps(self) -> Optimizer:
        if self.solver == "adam":
            return _Adam(self.learning_rate_init, self.beta_1, self.beta_2, self.epsilon)
        return SGD(
            self.learning_rate_init, self.momentum, self.nesterovs_momentum and self.momentum > 0
        )

    def _loss_of(self, net: Network, l2: float) -> Callable[[float], float]:
        """Return what makes J the loss that scikit-learn looks at."""
        return lambda J: J

    def _schedule(self, m: int, monitor: Monitor, after: History | None) -> Any:
        """Return the schedule; scikit-learn's own two are for SGD alone, as they are there."""
        schedule: Any = None
        named = self.learning_rate
        if callable(named) or isinstance(named, ReduceOnPlateau):
            schedule = named
        elif named == "cosine":
            schedule = CosineDecay(max(self.max_iter - self.warmup, 1))
        elif self._adapts():
            schedule = monitor.schedule
        elif named == "invscaling" and self.solver == "sgd":
            schedule = _inverse_scaling(self.power_t, self.t_, m, after)
        return WarmUp(self.warmup, schedule) if self.warmup else schedule

    def _dropout(self) -> float | Sequence[float]:
        given = self.dropout
        return float(given) if np.ndim(given) == 0 else [float(p) for p in given]

    def _orders(self, m: int, random: np.random.RandomState) -> Callable[[int], Array]:
        """Return what orders the examples of an epoch, as scikit-learn does by the same seed."""
        order = np.arange(m)

        def shuffled(epoch: int) -> Array:
            nonlocal order
            places = np.arange(m)
            random.shuffle(places)
            order = order[places]
            return order

        return shuffled

    def _fit_lbfgs(
        self,
        net: Network,
        X: Any,
        y: Array,
        weights: Array | None,
        held_out: tuple[Any, Any, Any],
    ) -> None:
        if np.any(self._dropout()):
            raise ValueError("dropout needs solver='sgd' or 'adam': each step of lbfgs sees all")
        if any(x is not None for x in held_out):
            raise ValueError("X_val and y_val need solver='sgd' or 'adam'")
        weighted = self._class_weighted(weights, y)
        examples = Examples(net, X, self._targets(y), weighted)
        l2 = self.alpha / examples.total_weight
        penalised = np.concatenate(
            [np.r_[np.ones(W.size), np.zeros(b.size)] for W, b in zip(net.W, net.b, strict=True)]
        )
        task = self._task(net, X, y, weights, self.max_iter)

        def objective(theta: Array) -> tuple[float, Array]:
            net.parameters[...] = theta
            J, gradient = examples.gradient()
            pulled = penalised * theta
            return J + l2 / 2 * float(pulled @ pulled), gradient + l2 * pulled

        last = net.parameters.astype(np.float64)

        def iterated(intermediate_result: Any) -> None:
            nonlocal last
            last = intermediate_result.x.copy()
            self.n_iter_, self.loss_ = self.n_iter_ + 1, float(intermediate_result.fun)
            if self.verbose:
                print(f"lbfgs: loss = {intermediate_result.fun:.8f}")
            stop = task.end(intermediate_result.x)
            task.begin(intermediate_result.x)
            if stop:
                raise StopIteration

        self.n_iter_ = 0
        task.begin(last)
        try:
            found = minimize(
                objective,
                last,
                method="L-BFGS-B",
                jac=True,
                callback=iterated,
                options={"maxfun": self.max_fun, "maxiter": self.max_iter, "gtol": self.tol},
            )
        except KeyboardInterrupt:
            found = None
        net.parameters[...] = last if found is None else found.x
        self._show(net)
        task.close()
        if found is None:
            warnings.warn("Training interrupted by user.", stacklevel=4)
            return
        self.loss_, self.n_iter_ = float(found.fun), min(int(found.nit), self.max_iter)
        if found.status == 1:  # too many iterations, or evaluations
            warnings.warn(
                f"lbfgs failed to converge after {found.nit} iteration(s) (max_iter="
                f"{self.max_iter}, max_fun={self.max_fun}). Increase these, or scale the data",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _can_go_on(self) -> bool:
        """Return True, or raise, for `partial_fit`."""
        if self.solver not in STOCHASTIC:
            raise AttributeError(
                f"partial_fit needs solver='sgd' or 'adam': {self.solver} sees all examples at once"
            )
        return True


def _attributes(net: Network) -> tuple[list[Array], list[Array]]:
    """Return ``coefs_``, (n_in, n_out) each, and ``intercepts_``: views of the parameters."""
    return [W.T for W in net.W], [b[:, 0] for b in net.b]


def _inverse_scaling(power: float, seen: int, m: int, after: History | None) -> Schedule:
    """Return scikit-learn's schedule, by the number of examples seen at each epoch's end.

    A fit begins with the whole rate; one that goes on, with that of the end of the last.
    """
    first = 0 if after is None else after.first_epoch + len(after.cost)

    def schedule(time: Array) -> Array:
        epochs = np.floor(time) - first
        factor = (seen + epochs * m + 1.0) ** -power
        return factor if after is not None else np.where(epochs > 0, factor, 1.0)

    return schedule


def _outputs_of(net: Network, X: Any) -> Array:
    return map_blocks(X, net.dtype, net.sizes[-1], lambda block, out: net.forward(block, out=out))


def _examples(net: Network, X: Any, Y: Array, weights: Array | None) -> tuple[Any, Any, Any]:
    """Return examples, dense or sparse, targets and weights as a backend's trainer takes them."""
    if not sparse.issparse(X):
        return net._checked(X.T, Y, weights)
    m = X.shape[0]
    targets = check.targets(Y, net.sizes[-1], m, net.loss, net.dtype)
    return X.T, targets, check.weights(weights, m, net.dtype)
