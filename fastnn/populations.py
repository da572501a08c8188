"""Many networks at once: trained side by side, asked together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import residence
from . import validation as check
from .device import backend, selected
from .history import History
from .network import Network
from .optimizers import Optimizer
from .progress import counter
from .schedules import ReduceOnPlateau, Schedule
from .shared_examples import SharedExamples
from .side_by_side import Report, run_all
from .threads import count, share
from .training import Prepared, prepared

Array = NDArray[Any]
PerNetwork = Any  # one value for all networks, or a list with one for each

# Operations of a fit, on average, from which on threads gain: of shorter ones Python's part, which
# only one thread can do at a time, takes as long as the compiled one.
_WORTH_THREADS = 2e7

# Outputs that ``ensemble_forward`` holds at once, in values.
_BLOCK = 1 << 22


def fit_many(
    networks: Iterable[Network],
    X: ArrayLike,
    Y: ArrayLike,
    epochs: int | Sequence[int],
    batch_size: int | Sequence[int | None] | None = None,
    optimizer: Optimizer | list[Optimizer] | None = None,
    shuffle: PerNetwork = True,
    l1: float | Sequence[float] = 0.0,
    l2: float | Sequence[float] = 0.0,
    sample_weight: PerNetwork = None,
    validation: PerNetwork = None,
    patience: int | Sequence[int | None] | None = None,
    progress: bool | Callable[[int, int, History], Any] = False,
    threads: int | None = None,
    seed: int | Sequence[int | None] | None = None,
    *,
    rows: PerNetwork = None,
    dropout: PerNetwork = 0.0,
    clip_norm: float | Sequence[float | None] | None = None,
    schedule: Schedule | ReduceOnPlateau | list[Any] | None = None,
    min_delta: float | Sequence[float] = 0.0,
    after: list[History | None] | None = None,
) -> list[History]:
    """Train many networks on the same examples, or on parts of them, side by side.

    Each ends with the bits that :meth:`Network.fit` alone would give it.

    Parameters
    ----------
    networks : sequence of Network
        K different ones, of any sizes and losses; each is trained in place.
    X, Y : array, (n_x, m) and (n_y, m)
        The examples and targets, as for :meth:`Network.fit`; X is not copied for each network.
    epochs, batch_size, l1, l2, patience, seed, clip_norm, min_delta
        As for :meth:`Network.fit`: one number for all networks, or a sequence of K, one for each.
    optimizer, shuffle, schedule, dropout, sample_weight
        As for :meth:`Network.fit`: one for all networks, or a **list** of K. A tuple or an array is
        one value: ``dropout=(0.1, 0.2)`` is for two hidden layers of each network,
        ``dropout=[0.1, 0.2]`` for two networks.
    validation : tuple, array of int, or list of these
        ``(X, Y)`` or ``(X, Y, sample_weight)``, as for :meth:`Network.fit`; or the numbers of
        examples of X, which stand for these with their targets and weights.
    rows : array of int or bool, or list of these
        The numbers of the examples that a network is trained on, in that order, and as often as
        each is named; all unless given. The same as fitting X[:, rows], whose weights are
        sample_weight[rows]; but X and Y are checked whole, those that are never named included.
    after : list of History, optional
        Of earlier fits of these networks, one of each, to go on from; None in the list begins anew.
    progress : bool or callable
        True shows a bar of networks; a callable is called after each network, by one thread at a
        time, with how many have ended, its place among the networks, and its history. No further
        fit begins when it returns True.
    threads : int, optional
        At most so many networks at once; ``FASTNN_NUM_THREADS``, or the processors that this
        process may run on, unless given.

    Returns
    -------
    list of History
        One for each network. One that was never begun has no costs, and ``stopped`` says why.

    Raises
    ------
    ValueError, TypeError
        As :meth:`Network.fit`, with the place of the network; or if a sequence has not K values,
        two networks are one or share their parameters, or rows name examples that there are not. No
        network has changed then.

    Notes
    -----
    Ctrl-C ends all fits, each with the parameters of its last whole epoch. The order in which they
    are run is not that of the list: the longest begin first. An error in the midst of training, of
    a schedule or a callable, ends the others likewise before it is raised.

    Networks that shuffle read the examples they need out of X by their numbers. Others, which take
    all examples in each step or never shuffle, copy X[:, rows] for as long as they train.

    Examples
    --------
    >>> import fastnn
    >>> X, y = fastnn.datasets.moons(200)
    >>> networks = fastnn.Network([2, 8, 1], ["tanh", "sigmoid"]).replicate(3)
    >>> histories = fastnn.fit_many(networks, X, y, epochs=20, batch_size=20, l2=[0, 0.01, 0.1])
    >>> [len(history.cost) for history in histories]
    [20, 20, 20]
    """
    kept = _networks(networks)
    numbers = {
        "epochs": epochs, "batch_size": batch_size, "l1": l1, "l2": l2, "patience": patience,
        "seed": seed, "clip_norm": clip_norm, "min_delta": min_delta,
    }  # fmt: skip
    others = {
        "optimizer": optimizer, "shuffle": shuffle, "schedule": schedule, "dropout": dropout,
        "sample_weight": sample_weight, "validation": validation, "rows": rows, "after": after,
    }  # fmt: skip
    each = {name: _each(name, value, len(kept), _of_numbers) for name, value in numbers.items()}
    each |= {name: _each(name, value, len(kept), _of_others) for name, value in others.items()}
    if isinstance(after, History) and len(kept) > 1:
        raise TypeError("after is one History; expected a list with one for each network")
    most = count() if threads is None else check.integer("threads", threads)
    # A GPU has enough to do with one.
    on_host = all(selected(net.device) in ("cpu", "numpy") for net in kept)
    at_once = min(most, len(kept)) if on_host else 1
    if not callable(progress):
        progress = check.boolean("progress", progress, "True, False or a callable")
    examples = SharedExamples(X, Y)
    fits = []
    for i, net in enumerate(kept):
        told = {name: values[i] for name, values in each.items()}
        try:
            fits.append(_prepared(net, examples, most // at_once, **told))
        except (TypeError, ValueError) as error:
            raise type(error)(f"networks[{i}]: {error}") from None
    if sum(fit.operations for fit in fits) < _WORTH_THREADS * len(fits):
        at_once = 1
    with counter(progress, len(fits)) as report:
        if on_host:
            return run_all(fits, at_once, report)
        return _on_gpus(fits, report)


def _on_gpus(fits: Sequence[Prepared], report: Report) -> list[History]:
    """Run the fits: all that a GPU takes at once, then the others, one after another."""
    found: dict[int, History] = {}
    why = ""
    devices = [selected(fit.network.device) for fit in fits]
    for device in dict.fromkeys(name for name in devices if name.startswith("cuda")):
        together = backend(device).populations
        some = [i for i, name in enumerate(devices) if name == device and together.takes(fits[i])]
        for place, history in together.fit_many([fits[i] for i in some]):
            found[some[place]] = history
            if history.stopped == "interrupted":
                why = "interrupted"
            elif report(len(found), some[place], history):
                why = why or "progress"
    left = [i for i in range(len(fits)) if i not in found]
    if why:
        return [found.get(i) or History(stopped=why) for i in range(len(fits))]

    def note(done: int, place: int, history: History) -> Any:
        return report(len(found) + done, left[place], history)

    found |= dict(zip(left, run_all([fits[i] for i in left], 1, note), strict=True))
    return [found[i] for i in range(len(fits))]


def _networks(networks: Iterable[Network]) -> list[Network]:
    if not isinstance(networks, Iterable):
        raise TypeError(f"networks must be a sequence of Network, got {type(networks).__name__}")
    kept = list(networks)
    if not kept:
        raise ValueError("networks is empty: give at least one")
    places: dict[int, int] = {}
    for i, net in enumerate(kept):
        if not isinstance(net, Network):
            raise TypeError(f"networks[{i}] must be a Network, got {type(net).__name__}")
        # A network again, or a shallow copy of it: both would write to the same parameters.
        first = places.setdefault(id(net.parameters), i)
        if net is kept[first] and first != i:
            raise ValueError(
                f"networks[{i}] is networks[{first}] again: give each its own, as replicate makes"
            )
        if first != i:
            raise ValueError(
                f"networks[{i}] has the parameters of networks[{first}]: give each its own, as"
                " replicate and copy.deepcopy make"
            )
    return kept


def _of_numbers(value: Any) -> bool:
    if hasattr(value, "__array__"):  # of NumPy, pandas, ...
        return np.ndim(value) > 0
    return isinstance(value, Sequence) and not isinstance(value, str)


def _of_others(value: Any) -> bool:
    return isinstance(value, list)


def _each(name: str, value: Any, k: int, several: Callable[[Any], bool]) -> list[Any]:
    """Return one value for each of k networks."""
    if not several(value):
        return [value] * k
    if len(value) != k:
        tuples = "; what is one value of several parts is a tuple" if several is _of_others else ""
        raise ValueError(
            f"{name} has {len(value)} values for {k} networks; expected one value for all, or a"
            f" list with one for each{tuples}"
        )
    return list(value)


def _prepared(
    net: Network,
    examples: SharedExamples,
    threads: int,
    sample_weight: Any,
    validation: Any,
    rows: Any,
    **told: Any,
) -> Prepared:
    """Return the fit of one network, checked."""
    X, Y = examples.of(net)
    numbers = examples.numbers("rows", rows)
    weights = examples.weights(net, sample_weight, rows)
    held_out = examples.held_out(net, validation, sample_weight)
    fit = prepared(
        net, X, Y, sample_weight=weights, validation=held_out, rows=numbers, threads=threads,
        checked=True, **told,
    )  # fmt: skip
    return fit.reading(examples.by_rows(net)) if fit.gathers else fit


# ------------------------------------------------------------------ answers


def forward_many(networks: Iterable[Network], X: ArrayLike, out: Array | None = None) -> Array:
    """Return the outputs of many networks for the same examples: out[k] = networks[k].forward(X).

    Parameters
    ----------
    networks : sequence of Network
        K of them, with equal numbers of inputs and of outputs, and of one type.
    X : array, (n_x, m)
        The examples.
    out : array, (K, n_y, m), optional
        Where to put the result.

    Returns
    -------
    array, (K, n_y, m)

    Raises
    ------
    ValueError, TypeError
        As :meth:`Network.forward`, or if the networks are not alike in that.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> networks = fastnn.Network([2, 4, 1], ["tanh", "sigmoid"]).replicate(5)
    >>> fastnn.forward_many(networks, np.zeros((2, 3), np.float32)).shape
    (5, 1, 3)
    """
    kept = _alike(networks)
    X = kept[0]._inputs(residence.to_host("X", X))
    A = check.output(out, (len(kept), kept[0].sizes[-1], X.shape[1]), kept[0].dtype)
    # The devices are chosen here: which one is asked for belongs to this thread.
    share(
        [
            partial(backend(net.device).network_forward, A[k], net.parameters, net._description, X)
            for k, net in enumerate(kept)
        ]
    )
    return A


def ensemble_forward(networks: Iterable[Network], X: ArrayLike) -> tuple[Array, Array]:
    """Return the mean of many networks' outputs, and how far these lie apart.

    mean = (1/K) sum_k A_k,  spread = sqrt((1/K) sum_k (A_k - mean)^2)

    Parameters
    ----------
    networks : sequence of Network
        K of them, with equal numbers of inputs and of outputs, and of one type.
    X : array, (n_x, m)
        The examples.

    Returns
    -------
    mean, spread : array, (n_y, m)

    Raises
    ------
    ValueError, TypeError
        As :func:`forward_many`.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> networks = fastnn.Network([2, 4, 1], ["tanh", "sigmoid"]).replicate(5)
    >>> mean, spread = fastnn.ensemble_forward(networks, np.ones((2, 3), np.float32))
    >>> mean.shape, bool((spread > 0).all())
    ((1, 3), True)
    """
    kept = _alike(networks)
    X = kept[0]._inputs(residence.to_host("X", X))
    n_y, m = kept[0].sizes[-1], X.shape[1]
    mean, spread = (np.empty((n_y, m), kept[0].dtype) for _ in range(2))
    width = max(_BLOCK // (len(kept) * n_y), 64)
    for begin in range(0, m, width):
        columns = slice(begin, min(begin + width, m))
        A = forward_many(kept, X[:, columns])
        mean[:, columns] = A.mean(axis=0)
        spread[:, columns] = A.std(axis=0)
    return mean, spread


def _alike(networks: Iterable[Network]) -> list[Network]:
    """Return the networks, if their outputs for the same X can stand in one array."""
    if not isinstance(networks, Iterable):
        raise TypeError(f"networks must be a sequence of Network, got {type(networks).__name__}")
    kept = list(networks)
    if not kept:
        raise ValueError("networks is empty: give at least one")
    for i, net in enumerate(kept):
        if not isinstance(net, Network):
            raise TypeError(f"networks[{i}] must be a Network, got {type(net).__name__}")
        for what, ours, first in (
            ("inputs", net.sizes[0], kept[0].sizes[0]),
            ("outputs", net.sizes[-1], kept[0].sizes[-1]),
        ):
            if ours != first:
                raise ValueError(f"networks[{i}] has {ours} {what}, but networks[0] has {first}")
        if net.dtype != kept[0].dtype:
            raise TypeError(f"networks[{i}] is {net.dtype}, but networks[0] is {kept[0].dtype}")
    return kept


def grid(**axes: Iterable[Any]) -> list[dict[str, Any]]:
    """Return all combinations of named values, the last name's changing fastest.

    Parameters
    ----------
    **axes : iterable
        The values of each name.

    Returns
    -------
    list of dict

    Raises
    ------
    ValueError
        If a name has no values.
    TypeError
        If what it has cannot be gone through, or is a string.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.grid(units=[8, 16], l2=[0.0, 0.1])
    [{'units': 8, 'l2': 0.0}, {'units': 8, 'l2': 0.1}, {'units': 16, 'l2': 0.0}, {'units': 16,
    'l2': 0.1}]
    """
    for name, values in axes.items():
        of_none = not isinstance(values, Iterable) or getattr(values, "ndim", 1) == 0
        if isinstance(values, str | bytes) or of_none:
            raise TypeError(f"{name} must be a sequence of values, got {type(values).__name__}")
    kept = {name: list(values) for name, values in axes.items()}
    for name, found in kept.items():
        if not found:
            raise ValueError(f"{name} has no values: give at least one")
    return [dict(zip(kept, point, strict=True)) for point in product(*kept.values())]
