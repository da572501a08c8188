"""The loop around training: epochs, validation, early stopping, progress and Ctrl-C.

No example is touched here: a backend takes the steps. This loop asks it for as many as take
about a twentieth of a second, so that Ctrl-C is heard, and a long fit of a tiny network does not
spend its time in Python.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import validation as check
from .device import backend
from .kernels.structures import Progress
from .optimizers import SGD, Optimizer
from .progress import reporter

if TYPE_CHECKING:
    from .network import Network

Array = NDArray[Any]

# Seconds between two looks at the clock and at Ctrl-C.
_ATTENTION = 0.05


@dataclass
class History:
    """What happened in a fit.

    Attributes
    ----------
    cost : list of float
        For each epoch, the mean over its examples of J, penalties included, as each batch met it.
    validation_cost : list of float
        For each epoch, J of the validation examples after it, without penalties; else empty.
    seconds : list of float
        What each epoch took, validation included.
    best_epoch : int or None
        The epoch, counted from 0, with the lowest validation cost.
    stopped : {"epochs", "patience", "interrupted"}
        Why training ended.

    Examples
    --------
    >>> import fastnn
    >>> X, Y = fastnn.datasets.regression_curve(50)
    >>> net = fastnn.Network([1, 8, 1], ["tanh", "identity"])
    >>> history = net.fit(X, Y, epochs=20)
    >>> len(history.cost), history.stopped
    (20, 'epochs')
    """

    cost: list[float] = field(default_factory=list)
    validation_cost: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    best_epoch: int | None = None
    stopped: str = "epochs"


def _random_state(seed: int) -> NDArray[np.uint64]:
    """Return the state of a 64-bit xorshift, never zero: one step of splitmix64 (Vigna 2015)."""
    mask = 2**64 - 1
    z = (seed + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return np.array([(z ^ (z >> 31)) or 1], np.uint64)


def new_progress(parameters: Array, m: int, epochs: int, *, shuffled: bool, seed: int) -> Progress:
    """Return where a fit of m examples stands before its first step."""
    return Progress(
        counts=np.array([0, 0, 0, epochs], np.int64),
        random=_random_state(seed),
        order=np.arange(m if shuffled else 0),
        cost=np.zeros(1),
        costs=np.zeros(epochs),
        state=np.zeros((2, parameters.size), parameters.dtype),
        snapshot=parameters.copy(),
    )


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


def fit(
    network: Network,
    X: ArrayLike,
    Y: ArrayLike,
    *,
    epochs: int,
    batch_size: int | None = None,
    optimizer: Optimizer | None = None,
    shuffle: bool = True,
    l1: float = 0.0,
    l2: float = 0.0,
    sample_weight: ArrayLike | None = None,
    validation: tuple[Any, ...] | None = None,
    patience: int | None = None,
    progress: bool | Callable[[int, History], None] = False,
    threads: int | None = None,
    seed: int | None = None,
    trainer: Callable[..., Callable[[int], None]] | None = None,
) -> History:
    """Train the network; :meth:`Network.fit` says what the arguments are.

    ``trainer`` takes the steps in place of the device's own, to compare one with another.
    """
    examples = network._checked(X, Y, sample_weight)
    m = examples[0].shape[1]
    epochs = check.integer("epochs", epochs)
    batch = m if batch_size is None else min(check.integer("batch_size", batch_size), m)
    if optimizer is None:
        optimizer = SGD(0.1)
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be SGD, RMSprop, Adam or AdamW, got {optimizer!r}")
    shuffle = check.boolean("shuffle", shuffle)
    if not callable(progress):
        progress = check.boolean("progress", progress, "True, False or a callable")
    rule = optimizer.rule(check.number("l1", l1), check.number("l2", l2))
    if threads is not None:
        threads = check.integer("threads", threads)
    if patience is not None:
        check.integer("patience", patience)
        if validation is None:
            raise ValueError("patience needs validation=(X, Y): it watches the validation cost")
    validation_cost = _validation_cost(network, validation)

    parameters = network.parameters
    shuffled = shuffle and batch < m
    seed = network.seed if seed is None else check.integer("seed", seed, low=0)
    state = new_progress(parameters, m, epochs, shuffled=shuffled, seed=seed)
    advance = (trainer or backend(network.device).trainer)(
        parameters,
        network._description,
        *examples,
        batch,
        rule,
        state,
        threads,
    )
    history = History()
    steps_of_an_epoch = -(-m // batch)
    best = parameters.copy()
    watched = validation_cost is not None or progress is not False
    steps = 1
    try:
        with reporter(progress, epochs) as report:
            start = time.perf_counter()
            while state.counts[1] < epochs and history.stopped == "epochs":
                left = steps_of_an_epoch - int(state.counts[2]) // batch
                asked = min(steps, left) if watched else steps
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
                if validation_cost is not None:
                    history.validation_cost.append(validation_cost())
                    _note_best(history, parameters, best, patience)
                now = time.perf_counter()
                history.seconds.extend([(now - start) / done] * done)
                start = now
                report(history)
    except KeyboardInterrupt:
        # The steps since the last whole epoch are taken back.
        finished = int(state.counts[1])
        parameters[...] = state.snapshot
        history.cost[:] = state.costs[:finished].tolist()
        history.stopped = "interrupted"
        missing = finished - len(history.seconds)
        if missing > 0:
            history.seconds.extend([(time.perf_counter() - start) / missing] * missing)
        if validation_cost is not None and len(history.validation_cost) < finished:
            history.validation_cost.append(validation_cost())
            _note_best(history, parameters, best, None)
    if patience is not None and history.best_epoch is not None:
        parameters[...] = best
    return history


def _note_best(history: History, parameters: Array, best: Array, patience: int | None) -> None:
    """Keep the parameters if the last epoch is the best so far; stop when patience runs out."""
    last, costs = len(history.validation_cost) - 1, history.validation_cost
    if history.best_epoch is None or costs[last] < costs[history.best_epoch]:
        history.best_epoch = last
        best[...] = parameters
    elif patience is not None and last - history.best_epoch >= patience:
        history.stopped = "patience"
