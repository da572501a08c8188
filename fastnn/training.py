"""The loop around training: epochs, validation, early stopping, progress and Ctrl-C.

No example is touched here: a backend takes the steps. This loop asks it for as many as take
about a twentieth of a second, so that Ctrl-C is heard, and a long fit of a tiny network does not
spend its time in Python.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import residence
from . import validation as check
from .between_epochs import RATES, Orders, Rates, Watch
from .checkpoint import Checkpoint
from .device import selected
from .history import History, Momentum
from .kernels.codes import OPTIMIZERS
from .kernels.structures import Progress, Rule
from .optimizers import SGD, Optimizer
from .progress import ends, reporter
from .schedules import ReduceOnPlateau, Schedule

if TYPE_CHECKING:
    from .network import Network

Array = NDArray[Any]

# Seconds between two looks at the clock and at Ctrl-C; and operations before the first one, which
# take less on any machine.
_ATTENTION, _FIRST = 0.05, 2e7


def random_state(seed: int) -> NDArray[np.uint64]:
    """Return the state of a 64-bit xorshift, never zero: one step of splitmix64 (Vigna 2015)."""
    mask = 2**64 - 1
    z = (seed + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return np.array([(z ^ (z >> 31)) or 1], np.uint64)


def new_progress(
    parameters: Array,
    m: int,
    epochs: int,
    *,
    shuffled: bool,
    seed: int,
    rates: int = 1,
    after: Momentum | None = None,
) -> Progress:
    """Return where a fit of m examples stands before its first step."""
    progress = Progress(
        counts=np.array([0, 0, 0, epochs], np.int64),
        random=random_state(seed),
        order=np.arange(m if shuffled else 0),
        rates=np.ones(1 + rates),
        cost=np.zeros(1),
        costs=np.zeros(epochs),
        state=np.zeros((2, parameters.size), parameters.dtype),
        snapshot=parameters.copy(),
    )
    if after is not None:
        progress.counts[0] = after.steps
        progress.state[...] = after.moments
        if after.random[0] != 0:  # 0: the caller ordered the examples
            progress.random[...] = after.random
            if after.order.size == progress.order.size:
                progress.order[...] = after.order
    return progress


def kept_draws(dropout: float | Sequence[float], activations: tuple[str, ...]) -> tuple[int, ...]:
    """Return of how many of 2^32 draws keep a unit of each hidden layer; none if all are kept."""
    hidden = activations[:-1]
    if isinstance(dropout, np.ndarray):
        dropout = dropout.tolist()
    if isinstance(dropout, Sequence) and not isinstance(dropout, str):
        if len(dropout) != len(hidden):
            raise ValueError(
                f"dropout has {len(dropout)} values, but the network has {len(hidden)} hidden"
                " layers"
            )
        rates = [check.number(f"dropout[{l}]", rate, high=1.0) for l, rate in enumerate(dropout)]
    else:
        rates = [check.number("dropout", dropout, high=1.0)] * len(hidden)
    if not any(rates):
        return ()
    for l, (rate, activation) in enumerate(zip(rates, hidden, strict=True)):
        if rate and activation == "softmax":
            raise ValueError(f"hidden layer {l + 1} is softmax, which dropout is not made for")
    # A rate of nearly 1 still keeps one draw, a rate of nearly 0 still drops one.
    return tuple(min(max(round((1 - p) * 2**32), 1), 2**32 - 1) if p else 0 for p in rates)


def held_out(
    network: Network, validation: tuple[Any, ...] | None
) -> tuple[Array, Array, Array | None] | None:
    """Return the validation examples, checked, if there are any."""
    if validation is None:
        return None
    if not isinstance(validation, tuple | list) or len(validation) not in (2, 3):
        raise TypeError("validation must be (X, Y) or (X, Y, sample_weight)")
    try:
        return network._checked(*validation)
    except (TypeError, ValueError) as error:
        raise type(error)(f"validation: {error}") from None


@dataclass(frozen=True)
class _Plan:
    """The arguments of a fit, checked."""

    epochs: int
    batch: int
    optimizer: Optimizer
    rule: Rule
    keep: tuple[int, ...]
    shuffle: bool | Callable[[int], ArrayLike]
    schedule: Schedule | ReduceOnPlateau | None
    patience: int | None
    min_delta: float
    seed: int
    threads: int | None


def _plan(
    network: Network,
    m: int,
    epochs: int,
    batch_size: int | None,
    optimizer: Optimizer | None,
    shuffle: bool | Callable[[int], ArrayLike],
    l1: float,
    l2: float,
    dropout: float | Sequence[float],
    clip_norm: float | None,
    schedule: Schedule | ReduceOnPlateau | None,
    validated: bool,
    patience: int | None,
    min_delta: float,
    threads: int | None,
    seed: int | None,
) -> _Plan:
    epochs = check.integer("epochs", epochs)
    batch = m if batch_size is None else min(check.integer("batch_size", batch_size), m)
    optimizer = SGD(0.1) if optimizer is None else optimizer
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be SGD, RMSprop, Adam or AdamW, got {optimizer!r}")
    if not callable(shuffle):
        shuffle = check.boolean("shuffle", shuffle, "True, False or a callable")
    if not (schedule is None or callable(schedule) or isinstance(schedule, ReduceOnPlateau)):
        raise TypeError(f"schedule must be a function of the time, got {schedule!r}")
    if patience is not None:
        check.integer("patience", patience)
        if not validated:
            raise ValueError("patience needs validation=(X, Y): it watches the validation cost")
    seed = network.seed if seed is None else check.integer("seed", seed, low=0)
    rule = optimizer.rule(check.number("l1", l1), check.number("l2", l2))._replace(
        clip_norm=0.0 if clip_norm is None else check.number("clip_norm", clip_norm, low_open=True),
        key=int(random_state(seed)[0]) & 0xFFFFFFFF,
    )
    return _Plan(
        epochs,
        batch,
        optimizer,
        rule,
        kept_draws(dropout, network.activations),
        shuffle,
        schedule,
        patience,
        check.number("min_delta", min_delta),
        seed,
        None if threads is None else check.integer("threads", threads),
    )


def fit(
    network: Network, X: ArrayLike, Y: ArrayLike, *, progress: Any = False, **told: Any
) -> History:
    """Train the network; :meth:`Network.fit` says what the arguments are.

    And `prepared`, which is told of more of them.
    """
    fit = prepared(network, X, Y, **told)
    if not callable(progress):
        progress = check.boolean("progress", progress, "True, False or a callable")
    return fit.run(progress)


def prepared(
    network: Network,
    X: ArrayLike,
    Y: ArrayLike,
    *,
    epochs: int,
    batch_size: int | None = None,
    optimizer: Optimizer | None = None,
    shuffle: bool | Callable[[int], ArrayLike] = True,
    l1: float = 0.0,
    l2: float = 0.0,
    dropout: float | Sequence[float] = 0.0,
    clip_norm: float | None = None,
    schedule: Schedule | ReduceOnPlateau | None = None,
    sample_weight: ArrayLike | None = None,
    validation: tuple[Any, ...] | None = None,
    patience: int | None = None,
    min_delta: float = 0.0,
    after: History | None = None,
    checkpoint: Any = None,
    checkpoint_every: int = 1,
    threads: int | None = None,
    seed: int | None = None,
    trainer: Callable[..., Callable[[int], None]] | None = None,
    checked: bool = False,
    rows: NDArray[np.int64] | None = None,
) -> Prepared:
    """Return the fit that these arguments describe; nothing is changed or computed yet.

    ``trainer`` takes the steps in place of the device's own, to compare one with another, or to
    take them on examples of another kind. X, Y, sample_weight and validation may be ``checked``
    already. Of the checked examples only those numbered by ``rows`` are trained on, as if they
    were X[:, rows]; sample_weight holds the weights of these.
    """
    if not network.parameters.flags.writeable:
        raise ValueError("the network's parameters are read-only: training writes to them")
    examples: Any = (X, Y, sample_weight)
    if not checked:
        examples = network._checked(X, Y, sample_weight)
    m = examples[0].shape[1] if rows is None else rows.size
    plan = _plan(
        network, m, epochs, batch_size, optimizer, shuffle, l1, l2, dropout, clip_norm, schedule,
        validation is not None, patience, min_delta, threads, seed,
    )  # fmt: skip
    beside: Any = validation if checked else held_out(network, validation)
    before = None if after is None else _momentum(after, network.parameters, plan.rule)
    every = 1 if checkpoint is None else check.integer("checkpoint_every", checkpoint_every)
    first = 0 if after is None else after.first_epoch + len(after.cost)
    return Prepared(
        network, plan, examples, beside, rows, before, first, checkpoint, every, trainer
    )


@dataclass(frozen=True)
class Prepared:
    """A fit whose arguments are checked."""

    network: Network
    plan: _Plan
    examples: tuple[Any, ...]
    held_out: tuple[Array, Array, Array | None] | None
    rows: NDArray[np.int64] | None
    before: Momentum | None
    first_epoch: int
    checkpoint: Any
    checkpoint_every: int
    trainer: Callable[..., Callable[[int], None]] | None

    @property
    def m(self) -> int:
        """How many examples there are."""
        return int(self.examples[0].shape[1] if self.rows is None else self.rows.size)

    @property
    def operations(self) -> float:
        """About how many operations the fit takes, if it goes on to its end."""
        return 6.0 * self.network.parameters.size * self.m * self.plan.epochs

    @property
    def gathers(self) -> bool:
        """Whether the steps follow an order of the examples, and not how these stand."""
        plan = self.plan
        return callable(plan.shuffle) or (bool(plan.shuffle) and plan.batch < self.m)

    def reading(self, X: Array) -> Prepared:
        """Return the same fit, on the same examples in another memory order."""
        return replace(self, examples=(X, *self.examples[1:]))

    def run(
        self,
        progress: bool | Callable[[int, History], Any] = False,
        halted: Callable[[], bool] | None = None,
    ) -> History:
        """Train, until there is a reason to stop; ``halted`` is asked as often as for Ctrl-C."""
        network, plan, rows, m = self.network, self.plan, self.rows, self.m
        parameters, history = network.parameters, History(first_epoch=self.first_epoch)
        state = new_progress(
            parameters,
            m,
            plan.epochs,
            shuffled=self.gathers,
            seed=plan.seed,
            rates=RATES if callable(plan.schedule) else 1,
            after=self.before,
        )
        if rows is not None and not self._by_order:
            rows = None
        if rows is not None:
            state.order[...] = rows[state.order]
        orders = Orders(plan.shuffle, state, history, rows) if callable(plan.shuffle) else None
        examples = self._laid_out()
        best = parameters.copy()
        saved = None
        if self.checkpoint is not None:
            about = _about(network, plan, self.first_epoch)
            seen, others = (
                tuple(residence.to_host("X", array) for array in arrays)
                for arrays in (examples, self.held_out or ())
            )
            saved = Checkpoint(
                self.checkpoint, self.checkpoint_every, about, seen, others, parameters, state, best
            )
            saved.resume(history)
        cost = None
        if self.held_out is not None:
            costs = network._backend(self.held_out[0]).costs
            cost = costs(parameters, network._description, *self.held_out)
        watch = Watch(cost, plan.patience, plan.min_delta, parameters, best, history)
        rates = Rates(plan.schedule, state, history, plan.batch, m)
        advance = (self.trainer or network._backend(examples[0]).trainer)(
            parameters,
            network._description,
            *examples,
            plan.batch,
            plan.rule,
            plan.keep,
            state,
            plan.threads,
        )
        if halted is not None:
            advance = _unless(halted, advance)
        run = _Run(parameters, state, history, advance, plan.batch, m, watch, rates, orders, saved)
        run.to_the_end(progress)
        watch.restore(history)
        if state.counts[2] == 0:  # within an epoch the moments are ahead of the parameters
            history._momentum = self._momentum(state, rows)
        return history

    @property
    def _by_order(self) -> bool:
        """Whether the rows are found by the order of the examples, instead of copied."""
        here = isinstance(self.examples[0], np.ndarray)
        return self.gathers and here and selected(self.network.device) == "cpu"

    def _laid_out(self) -> tuple[Array, Array, Array | None]:
        """Return the examples as the trainer takes them."""
        X, Y, weights = self.examples
        rows = self.rows
        if rows is None:
            return X, Y, weights
        if not self._by_order:
            return X[:, rows], Y[..., rows], weights
        if weights is not None:
            of_all = np.zeros(X.shape[1], weights.dtype)
            of_all[rows] = weights
            weights = of_all
        return X, Y, weights

    def _momentum(self, state: Progress, rows: NDArray[np.int64] | None) -> Momentum:
        """Return what another fit would go on from."""
        order = np.arange(0) if callable(self.plan.shuffle) else state.order
        if rows is not None and order.size > 0:
            # The places in ``rows``; among equal ones any does.
            places = np.empty_like(order)
            places[np.argsort(order)] = np.argsort(rows)
            order = places
        steps, random = int(state.counts[0]), state.random
        return Momentum(self.plan.rule.kind, steps, state.state, random, order)


def _unless(halted: Callable[[], bool], advance: Callable[[int], None]) -> Callable[[int], None]:
    """Return ``advance``, which ends as if by Ctrl-C once ``halted`` says so."""

    def guarded(steps: int) -> None:
        if halted():
            raise KeyboardInterrupt
        advance(steps)

    return guarded


def _about(network: Network, plan: _Plan, first_epoch: int) -> dict[str, Any]:
    """Return what a fit must share with another to be gone on with."""
    return {
        "network": network,
        "batch_size": plan.batch,
        "optimizer": plan.optimizer,
        "shuffle": plan.shuffle,
        "l1": plan.rule.l1,
        "l2": plan.rule.l2,
        "dropout": plan.keep,
        "clip_norm": plan.rule.clip_norm,
        "schedule": plan.schedule,
        "patience": plan.patience,
        "min_delta": plan.min_delta,
        "first_epoch": first_epoch,
        "seed": plan.seed,
    }


class _Run:
    """A fit under way."""

    def __init__(
        self,
        parameters: Array,
        state: Progress,
        history: History,
        advance: Callable[[int], None],
        batch: int,
        m: int,
        watch: Watch,
        rates: Rates,
        orders: Orders | None,
        saved: Checkpoint | None,
    ) -> None:
        self._parameters, self._state, self._history = parameters, state, history
        self._advance, self._batch, self._m = advance, batch, m
        self._watch, self._rates, self._orders, self._saved = watch, rates, orders, saved
        self._start = 0.0

    def to_the_end(self, progress: bool | Callable[[int, History], Any]) -> None:
        """Train until there is a reason to stop."""
        state, history = self._state, self._history
        # What is to be done between two epochs; else one call may go through several.
        one_by_one = progress is not False or self._rates.by_cost or self._watch.cost is not None
        one_by_one = one_by_one or self._orders is not None or self._saved is not None
        steps_of_an_epoch = -(-self._m // self._batch)
        steps = max(1, int(_FIRST / (6.0 * self._parameters.size * self._batch)))
        try:
            with reporter(progress, int(state.counts[3])) as report:
                self._start = time.perf_counter()
                while state.counts[1] < state.counts[3] and history.stopped == "epochs":
                    if self._orders is not None:
                        self._orders.prepare()
                    left = steps_of_an_epoch - int(state.counts[2]) // self._batch
                    asked = self._rates.prepare(min(steps, left) if one_by_one else steps)
                    begin = time.perf_counter()
                    self._advance(asked)
                    faster = _ATTENTION / max(time.perf_counter() - begin, 1e-9)
                    steps = max(1, int(asked * min(faster, 4.0)))
                    if state.counts[1] > len(history.cost):
                        self._note(report)
        except KeyboardInterrupt:
            self._take_back()

    def _note(self, report: Callable[[History], Any]) -> None:
        """Record the epochs that have just ended; they share the time of the call."""
        history = self._history
        self._record()
        self._watch.note(history)
        self._rates.note(history, len(history.cost) - 1)
        self._record_seconds()
        said = report(history)
        if ends(said) and history.stopped == "epochs":
            history.stopped = "progress"
        if self._saved is not None:
            self._saved.note(history)

    def _record(self) -> None:
        cost = self._history.cost
        cost.extend(self._state.costs[len(cost) : self._state.counts[1]].tolist())

    def _record_seconds(self) -> None:
        history, now = self._history, time.perf_counter()
        done = len(history.cost) - len(history.seconds)
        if done > 0:
            history.seconds.extend([(now - self._start) / done] * done)
        self._start = now

    def _take_back(self) -> None:
        """Undo the steps since the last whole epoch, after Ctrl-C."""
        history = self._history
        self._parameters[...] = self._state.snapshot
        self._record()
        self._record_seconds()
        history.stopped = "interrupted"
        if self._watch.cost is not None and len(history.validation_cost) < len(history.cost):
            self._watch.note(history, stop=False)


def _momentum(after: object, parameters: Array, rule: Rule) -> Momentum:
    """Return what to go on from, if it is of such a network and such an optimiser."""
    if not isinstance(after, History):
        raise TypeError(f"after must be the History of an earlier fit, got {after!r}")
    found = after._momentum
    if found is None:
        raise ValueError(
            "after holds nothing to go on from: it is not the History of a fit, or of one that was"
            " interrupted within an epoch"
        )
    if found.moments.shape != (2, parameters.size) or found.moments.dtype != parameters.dtype:
        raise ValueError(
            f"after is of a network with {found.moments.shape[1]} parameters of"
            f" {found.moments.dtype}; this one has {parameters.size} of {parameters.dtype}"
        )
    if found.kind != rule.kind:
        theirs, ours = OPTIMIZERS[found.kind], OPTIMIZERS[rule.kind]
        raise ValueError(f"after is of a fit by {theirs}, whose moments are not those of {ours}")
    return found
