"""The loop around training: epochs, validation, early stopping, progress and Ctrl-C.

No example is touched here: a backend takes the steps. This loop asks it for as many as take
about a twentieth of a second, so that Ctrl-C is heard, and a long fit of a tiny network does not
spend its time in Python.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import validation as check
from .checkpoint import Checkpoint
from .device import backend
from .history import History, Momentum
from .kernels.structures import Progress
from .optimizers import SGD, Optimizer
from .progress import reporter
from .schedules import PlateauState, ReduceOnPlateau, Schedule

if TYPE_CHECKING:
    from .network import Network

Array = NDArray[Any]

# Seconds between two looks at the clock and at Ctrl-C.
_ATTENTION = 0.05

# Learning rates that are worked out ahead, where a schedule changes them from step to step.
_RATES = 4096


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
        progress.random[...] = after.random
        if after.order.size == progress.order.size:
            progress.order[...] = after.order
    return progress


def kept_draws(dropout: float | Sequence[float], activations: tuple[str, ...]) -> tuple[int, ...]:
    """Return of how many of 2^32 draws keep a unit of each hidden layer; none if all are kept."""
    hidden = activations[:-1]
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


def _validation_cost(
    network: Network, validation: tuple[Any, ...] | None
) -> Callable[[], float] | None:
    """Return the function that gives the validation cost now, its data checked once."""
    if validation is None:
        return None
    if not isinstance(validation, tuple | list) or len(validation) not in (2, 3):
        raise TypeError("validation must be (X, Y) or (X, Y, sample_weight)")
    try:
        examples = network._checked(*validation)
    except (TypeError, ValueError) as error:
        raise type(error)(f"validation: {error}") from None
    return lambda: network._cost_of(*examples, l1=0.0, l2=0.0)


class _Rates:
    """What the learning rate of each step is multiplied by."""

    def __init__(
        self,
        schedule: Schedule | ReduceOnPlateau | None,
        progress: Progress,
        history: History,
        batch: int,
        m: int,
    ) -> None:
        self._progress, self._batch, self._m = progress, batch, m
        self._first_epoch = history.first_epoch
        self._plateau: PlateauState | None = None
        self._schedule: Schedule | None = None
        if isinstance(schedule, ReduceOnPlateau):
            self._plateau = PlateauState(schedule)
        else:
            self._schedule = schedule
        for i in range(len(history.cost)):
            self.note(history, i)

    def note(self, history: History, epoch: int) -> None:
        """Take the costs of an epoch into account."""
        if self._plateau is not None:
            costs = history.validation_cost or history.cost
            self._plateau.note(costs[epoch])
            self._progress.rates[1:] = self._plateau.factor

    def prepare(self, steps: int) -> int:
        """Work out the rates of that many steps, or of as many as fit; return how many."""
        if self._schedule is None:
            return steps
        counts, rates = self._progress.counts, self._progress.rates[1:]
        steps = min(steps, rates.size)
        of_an_epoch = -(-self._m // self._batch)
        ahead = np.arange(steps)
        step = int(counts[1]) * of_an_epoch + int(counts[2]) // self._batch + ahead
        times = step // of_an_epoch + (step % of_an_epoch) * (self._batch / self._m)
        factors = np.asarray(self._schedule(self._first_epoch + times), np.float64)
        if factors.shape not in ((), times.shape):
            raise ValueError(
                f"schedule returned an array of shape {factors.shape} for {times.shape} times"
            )
        if not (np.isfinite(factors).all() and (factors >= 0).all()):
            raise ValueError("schedule must return finite factors of at least 0")
        rates[(int(counts[0]) + ahead) % rates.size] = factors
        return steps


class _Watch:
    """The validation cost, the parameters where it was lowest, and when to stop."""

    def __init__(
        self,
        cost: Callable[[], float] | None,
        patience: int | None,
        min_delta: float,
        parameters: Array,
        best: Array,
        history: History,
    ) -> None:
        self.cost, self._patience, self._min_delta = cost, patience, min_delta
        self._parameters, self.best = parameters, best
        self._level, self._waited = np.inf, 0
        for found in history.validation_cost:
            self._count(found)

    def _count(self, cost: float) -> None:
        fell = cost < self._level - self._min_delta
        self._waited = 0 if fell else self._waited + 1
        self._level = cost if fell else self._level

    def note(self, history: History, *, stop: bool = True) -> None:
        """Record the validation cost of an epoch; stop when patience runs out."""
        if self.cost is None:
            return
        costs = history.validation_cost
        costs.append(self.cost())
        if history.best_epoch is None or costs[-1] < costs[history.best_epoch]:
            history.best_epoch = len(costs) - 1
            self.best[...] = self._parameters
        self._count(costs[-1])
        if stop and self._patience is not None and self._waited >= self._patience:
            history.stopped = "patience"

    def restore(self, history: History) -> None:
        """Put the best parameters back, if that is what patience was for."""
        if self._patience is not None and history.best_epoch is not None:
            self._parameters[...] = self.best


class _Orders:
    """The caller's own order of the examples in each epoch."""

    def __init__(
        self, shuffle: Callable[[int], ArrayLike], progress: Progress, history: History
    ) -> None:
        self._shuffle, self._progress, self._first = shuffle, progress, history.first_epoch
        progress.random[0] = 0  # the compiled shuffle leaves the order alone

    def prepare(self) -> None:
        """Ask for the order of an epoch that is about to begin."""
        counts, order = self._progress.counts, self._progress.order
        if counts[2] > 0:
            return
        found = np.asarray(self._shuffle(self._first + int(counts[1])))
        if found.shape != order.shape or found.dtype.kind not in "iu":
            raise ValueError(
                f"shuffle must return {order.size} whole numbers, one for each example; got shape"
                f" {found.shape} of {found.dtype}"
            )
        if found.min() < 0 or found.max() >= order.size:
            raise ValueError(f"shuffle must return numbers from 0 to {order.size - 1}")
        order[...] = found


def fit(
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
    progress: bool | Callable[[int, History], Any] = False,
    threads: int | None = None,
    seed: int | None = None,
    trainer: Callable[..., Callable[[int], None]] | None = None,
    checked: bool = False,
) -> History:
    """Train the network; :meth:`Network.fit` says what the arguments are.

    ``trainer`` takes the steps in place of the device's own, to compare one with another, or to
    take them on examples of another kind: X, Y and sample_weight are then ``checked`` already.
    """
    examples: Any = (X, Y, sample_weight)
    if not checked:
        examples = network._checked(X, Y, sample_weight)
    m = examples[0].shape[1]
    epochs = check.integer("epochs", epochs)
    batch = m if batch_size is None else min(check.integer("batch_size", batch_size), m)
    if optimizer is None:
        optimizer = SGD(0.1)
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be SGD, RMSprop, Adam or AdamW, got {optimizer!r}")
    if not callable(shuffle):
        shuffle = check.boolean("shuffle", shuffle, "True, False or a callable")
    if not callable(progress):
        progress = check.boolean("progress", progress, "True, False or a callable")
    if not (schedule is None or callable(schedule) or isinstance(schedule, ReduceOnPlateau)):
        raise TypeError(f"schedule must be a function of the time, got {schedule!r}")
    if threads is not None:
        threads = check.integer("threads", threads)
    min_delta = check.number("min_delta", min_delta)
    if patience is not None:
        check.integer("patience", patience)
        if validation is None:
            raise ValueError("patience needs validation=(X, Y): it watches the validation cost")
    if after is not None and not isinstance(after, History):
        raise TypeError(f"after must be the History of an earlier fit, got {after!r}")
    seed = network.seed if seed is None else check.integer("seed", seed, low=0)
    rule = optimizer.rule(check.number("l1", l1), check.number("l2", l2))._replace(
        clip_norm=0.0 if clip_norm is None else check.number("clip_norm", clip_norm, low_open=True),
        key=int(random_state(seed)[0]) & 0xFFFFFFFF,
    )
    keep = kept_draws(dropout, network.activations)
    cost_of_validation = _validation_cost(network, validation)

    parameters = network.parameters
    history = History()
    before = None
    if after is not None:
        history.first_epoch = after.first_epoch + len(after.cost)
        before = _momentum(after, parameters)
    state = new_progress(
        parameters,
        m,
        epochs,
        shuffled=callable(shuffle) or (shuffle and batch < m),
        seed=seed,
        rates=1 if schedule is None or isinstance(schedule, ReduceOnPlateau) else _RATES,
        after=before,
    )
    best = parameters.copy()
    orders = _Orders(shuffle, state, history) if callable(shuffle) else None
    saved = None
    if checkpoint is not None:
        about = {
            "network": network, "examples": examples, "batch_size": batch, "optimizer": optimizer,
            "shuffle": shuffle, "l1": l1, "l2": l2, "dropout": keep, "clip_norm": rule.clip_norm,
            "schedule": schedule, "validation": validation, "patience": patience,
            "min_delta": min_delta, "first_epoch": history.first_epoch, "seed": seed,
        }  # fmt: skip
        every = check.integer("checkpoint_every", checkpoint_every)
        saved = Checkpoint(checkpoint, every, about, parameters, state, best)
        saved.resume(history)
    watch = _Watch(cost_of_validation, patience, min_delta, parameters, best, history)
    rates = _Rates(schedule, state, history, batch, m)
    advance = (trainer or backend(network.device).trainer)(
        parameters, network._description, *examples, batch, rule, keep, state, threads
    )

    # What is to be done between two epochs; else one call may go through several.
    watched = any(x is not None for x in (cost_of_validation, orders, saved))
    watched = watched or progress is not False or isinstance(schedule, ReduceOnPlateau)
    steps_of_an_epoch = -(-m // batch)
    steps = 1
    try:
        with reporter(progress, epochs) as report:
            start = time.perf_counter()
            while state.counts[1] < epochs and history.stopped == "epochs":
                if orders is not None:
                    orders.prepare()
                left = steps_of_an_epoch - int(state.counts[2]) // batch
                asked = rates.prepare(min(steps, left) if watched else steps)
                begin = time.perf_counter()
                advance(asked)
                now = time.perf_counter()
                faster = _ATTENTION / max(now - begin, 1e-9)
                steps = max(1, int(asked * min(faster, 4.0)))
                done = int(state.counts[1]) - len(history.cost)
                if done == 0:
                    continue
                # One call may finish several epochs: they share its time.
                history.cost.extend(state.costs[len(history.cost) : state.counts[1]].tolist())
                watch.note(history)
                rates.note(history, len(history.cost) - 1)
                now = time.perf_counter()
                history.seconds.extend([(now - start) / done] * done)
                start = now
                if report(history) is True and history.stopped == "epochs":
                    history.stopped = "progress"
                if saved is not None:
                    saved.note(history)
    except KeyboardInterrupt:
        # The steps since the last whole epoch are taken back.
        finished = int(state.counts[1])
        parameters[...] = state.snapshot
        history.cost[:] = state.costs[:finished].tolist()
        history.stopped = "interrupted"
        missing = finished - len(history.seconds)
        if missing > 0:
            history.seconds.extend([(time.perf_counter() - start) / missing] * missing)
        if cost_of_validation is not None and len(history.validation_cost) < finished:
            watch.note(history, stop=False)
    watch.restore(history)
    order, random = state.order, state.random
    history._momentum = Momentum(int(state.counts[0]), state.state, random, order)
    return history


def _momentum(after: History, parameters: Array) -> Momentum:
    """Return what to go on from, if it is of such a network."""
    found = after._momentum
    if found is None:
        raise ValueError("after holds nothing to go on from: it is not the History of a fit")
    if found.moments.shape != (2, parameters.size) or found.moments.dtype != parameters.dtype:
        raise ValueError(
            f"after is of a network with {found.moments.shape[1]} parameters of"
            f" {found.moments.dtype}; this one has {parameters.size} of {parameters.dtype}"
        )
    return found
