"""Whole networks: a pass of training, a gradient, and the answers to a batch of queries.

NumPy's side is the reference, line by line in the network's own type, through the same loop.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest

import fastnn
from conftest import ENTRANTS
from fastnn.backends import numpy as numpy_backend
from fastnn.device import backend as selected_backend
from fastnn.kernels import reference
from fastnn.training import kept_draws, new_progress
from gpu_timing import there


class Workload(NamedTuple):
    sizes: list[int]
    hidden: str
    loss: str
    m: int
    batch: int
    optimizer: Any
    dropout: float = 0.0
    clip_norm: float = 0.0


WORKLOADS = [
    Workload([2, 4, 1], "tanh", "binary_cross_entropy", 400, 400, fastnn.SGD(0.1)),
    Workload([32, 1], "relu", "binary_cross_entropy", 100_000, 100_000, fastnn.SGD(0.1)),
    Workload([64, 64, 10], "relu", "cross_entropy", 1437, 32, fastnn.Adam()),
    Workload([32, 64, 64, 1], "relu", "binary_cross_entropy", 8192, 32, fastnn.SGD(0.01)),
    Workload([32, 64, 64, 1], "relu", "binary_cross_entropy", 8192, 32, fastnn.SGD(0.01), 0.2),
    Workload([32, 64, 64, 1], "relu", "binary_cross_entropy", 8192, 32, fastnn.SGD(0.01), 0, 1.0),
    Workload([32, 64, 64, 1], "tanh", "binary_cross_entropy", 65536, 256, fastnn.SGD(0.01)),
    Workload([784, 128, 10], "relu", "cross_entropy", 12800, 128, fastnn.SGD(0.01)),
    Workload([784, 512, 512, 10], "relu", "cross_entropy", 2560, 256, fastnn.SGD(0.01)),
]


def _name(work: Workload) -> str:
    sizes = "-".join(map(str, work.sizes))
    rule = type(work.optimizer).__name__
    more = ", dropout" if work.dropout else ", clipped" if work.clip_norm else ""
    return f"{sizes} {work.hidden}, batch {work.batch} of {work.m}, {rule}{more}"


def _data(work: Workload, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    X = random.normal(size=(work.m, work.sizes[0])).astype(dtype).T
    n_y = work.sizes[-1]
    # Labels that cannot be fitted: gradients stay of ordinary size, however long this is timed.
    if n_y == 1:
        return X, random.integers(0, 2, (1, work.m)).astype(dtype)
    return X, random.integers(0, n_y, work.m)


def _epoch(work: Workload, dtype: Any, backend: str) -> Callable[[], Any]:
    """Return the function that trains for one epoch."""
    net = fastnn.Network(work.sizes, work.hidden, work.loss, dtype)
    X, Y = _data(work, dtype)
    shuffled = work.batch < work.m
    progress = new_progress(net.parameters, work.m, 10**6, shuffled=shuffled, seed=0)
    if backend == "numpy":
        trainer, examples = partial(numpy_backend.trainer, dtype=dtype), (X, Y, None)
    else:
        trainer, examples = selected_backend().trainer, net._checked(*there(X, Y))
    rule = work.optimizer.rule(0.0, 0.0)._replace(clip_norm=work.clip_norm)
    keep = kept_draws(work.dropout, net.activations)
    told = (net.parameters, net._description, *examples, work.batch, rule, keep, progress)
    advance = trainer(*told)

    def epoch() -> float:
        advance(-(-work.m // work.batch))
        return float(progress.costs[progress.counts[1] - 1])

    return epoch


def _operations(work: Workload) -> float:
    products = [a * b for a, b in pairwise(work.sizes)]
    # forward, dW, and dZ of all layers but the first
    return 2.0 * work.m * (3 * sum(products) - products[0])


every_entrant = pytest.mark.parametrize("entrant", ENTRANTS)
every_workload = pytest.mark.parametrize("work", WORKLOADS, ids=_name)


@every_entrant
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda d: d.__name__)
@every_workload
def bench_epoch(race: Callable, work: Workload, dtype: Any, entrant: str) -> None:
    ours, theirs = _epoch(work, dtype, "fastnn"), _epoch(work, dtype, "numpy")
    # The first epochs agree; later ones are timed, so both are not compared again.
    np.testing.assert_allclose(ours(), theirs(), rtol=1e-4 if dtype == np.float32 else 1e-9)
    race(
        "training, one epoch",
        _name(work),
        dtype,
        entrant,
        numpy=theirs,
        fastnn=ours,
        operations=_operations(work),
        exact=False,
        all_threads=True,
    )


@every_entrant
@pytest.mark.parametrize("sizes", [[32, 1], [32, 64, 64, 1], [784, 128, 10]], ids=str)
@pytest.mark.parametrize("m", [1, 32, 100_000])
def bench_forward(race: Callable, sizes: list[int], m: int, entrant: str) -> None:
    net = fastnn.Network(sizes, loss="squared_error")
    net.parameters[...] = np.random.default_rng(1).normal(size=net.parameters.size) * 0.1
    X = np.random.default_rng(0).normal(size=(m, sizes[0])).astype(np.float32).T
    x = there(X)
    products = sum(a * b for a, b in pairwise(sizes))
    race(
        "call of Network.forward",
        f"{'-'.join(map(str, sizes))} relu, m = {m}",
        np.float32,
        entrant,
        numpy=lambda: reference.network_forward(
            net.parameters, net.sizes, net.activations, X, dtype=np.float32
        ),
        fastnn=lambda: net.forward(x),
        operations=2.0 * products * m,
        all_threads=True,
    )


@every_entrant
@pytest.mark.parametrize("sizes", [[32, 1], [32, 64, 64, 1], [784, 128, 10]], ids=str)
def bench_predict_one(race: Callable, sizes: list[int], entrant: str) -> None:
    net = fastnn.Network(sizes, loss="squared_error")
    net.parameters[...] = np.random.default_rng(1).normal(size=net.parameters.size) * 0.1
    x = np.random.default_rng(0).normal(size=sizes[0]).astype(np.float32)
    W, b = net.W, [each.ravel() for each in net.b]

    def line() -> np.ndarray:
        a = x
        for i in range(len(W) - 1):
            a = np.maximum(W[i] @ a + b[i], 0)
        return W[-1] @ a + b[-1]

    race(
        "call of Network.predict_one",
        f"{'-'.join(map(str, sizes))} relu",
        np.float32,
        entrant,
        numpy=line,
        fastnn=lambda: net.predict_one(x),
        operations=2.0 * sum(a * b for a, b in pairwise(sizes)),
        all_threads=True,
    )
