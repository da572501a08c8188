"""What is timed on a GPU, what it needs at least, and what it is to reach.

Bytes are those that must come from and go to the GPU's memory, each input once and each output
once; operations are those of products, two for a multiply-add. Divided by what the GPU was measured
to do in the same run (``gpu_ceilings.py``), the larger of the two times is the floor.

====================  =======================================  ===================================
workload              bytes                                    operations
====================  =======================================  ===================================
values, n of them     4 n for each array read or written       not counted: bytes bind
logistic regression   4 (n_x + 1) m: X and the targets         4 n_x m: X read once serves both
a step of a network   4 (n_x + 1) batch                        2 batch (3 sum n_l n_(l-1) - n_1 n_0)
an epoch of one       the same for m examples                  the same for m examples
a product, n each     12 n^2                                   2 n^3
networks at once      those of one, X for all                  those of one, for each network
====================  =======================================  ===================================

Parameters and what a network keeps between its layers are taken to stay in the cache. Data is
larger than the cache, or rotated through, where the workload allows: a step is timed as one of the
many of an epoch. 65,536 rows of 32 values are 8 MiB, which do lie in a large GPU's cache, as they
will for whoever trains on so few.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

PEERS = str(Path(__file__).resolve().parent / "peers")
if PEERS not in sys.path:
    sys.path.append(PEERS)

import with_numpy  # noqa: E402
import workloads as cpu_workloads  # noqa: E402

Array = NDArray[Any]
RATE = 0.25  # of the step of gradient descent


class Target(NamedTuple):
    """What a workload is to reach.

    ``of`` is "copy" or "read", a share of that bandwidth; or the beginning of peers' names: their
    time, the shortest, over fastnn's is to be ``least``.
    """

    of: str
    least: float

    @property
    def text(self) -> str:
        """Return the target in words."""
        if self.of in ("copy", "read"):
            return f"at least {self.least:.0%} of the {self.of} bandwidth"
        if self.least < 1:
            return f"at least {self.least:.0%} of the speed of {self.of}"
        if self.least == 1:
            return f"not slower than {self.of}"
        return f"at least {self.least:g} times as fast as {self.of}"


@dataclass(frozen=True)
class Workload:
    """A row: what is computed, and what it is to reach.

    ``kind`` is "values" (the function ``what``, n values), "product" (n x n matrices), "fit" (an
    epoch of ``network``, timed by the step where ``by_step``) or "population" (n such networks,
    each from its own beginning, for ``network.epochs`` epochs of the same examples).
    """

    name: str
    kind: str
    targets: tuple[Target, ...] = ()
    what: str = ""
    n: int = 0
    network: cpu_workloads.Workload | None = None
    by_step: bool = False

    @property
    def steps(self) -> int:
        """Return the units of work in what an entrant does at once."""
        return self.network.m // self.network.batch if self.network and self.by_step else 1

    @property
    def unit(self) -> str:
        """Return what the time is of."""
        if self.kind == "population":
            assert self.network is not None
            return f"{self.network.epochs} epochs"
        if self.kind != "fit":
            return "call"
        return "step" if self.by_step else "epoch"

    @property
    def bytes(self) -> float:
        """Return the least traffic of a unit."""
        if self.kind == "values":
            return 4.0 * self.n * ARRAYS[self.what]
        if self.kind == "product":
            return 12.0 * self.n**2
        assert self.network is not None
        if self.kind == "population":
            examples = (self.network.sizes[0] + 1) * self.network.m
            return 4.0 * (examples + 2 * self.n * self.network_size)
        return 4.0 * (self.network.sizes[0] + 1) * self.network.m / self.steps

    @property
    def operations(self) -> float:
        """Return the operations of a unit."""
        if self.kind == "values":
            return 0.0
        if self.kind == "product":
            return 2.0 * self.n**3
        assert self.network is not None
        if self.kind == "population":
            return self.network.operations * self.network.epochs * self.n
        return self.network.operations / self.steps

    @property
    def network_size(self) -> int:
        """Return the number of parameters of a network."""
        assert self.network is not None
        return sum(n * (k + 1) for k, n in pairwise(self.network.sizes))

    def floor(
        self, traffic: float, operations: float, ceilings: Mapping[str, float]
    ) -> tuple[float, str]:
        """Return the least seconds of so many bytes and operations, and which ceiling binds."""
        bandwidth = "read" if self.network else "copy"
        return max(
            (traffic / ceilings[bandwidth], bandwidth),
            (operations / ceilings["float32"], "float32"),
        )

    def reduced(self) -> Workload:
        """Return the same, so small that the simulator can do it."""
        work = self.network
        if work is not None:
            sizes = tuple(min(n, 4) if n > 10 else min(n, 3) for n in work.sizes)
            batch = 4
            work = replace(
                work, sizes=sizes, batch=batch, m=2 * batch if work.m > work.batch else 4,
                epochs=min(work.epochs, 2),
            )  # fmt: skip
        most = {"values": 64, "product": 20, "fit": 0, "population": 3}[self.kind]
        return replace(self, n=min(self.n, most), network=work)


# The functions of "values", and how many arrays each reads and writes.
ARRAYS = {
    "relu": 2,
    "tanh": 2,
    "sigmoid": 2,
    "gelu": 2,
    "tanh derivative": 2,
    "relu backward": 3,
    "output gradient": 3,
    "gradient step": 3,
}

_MEBIBYTES = 2**20 // 4  # values in one


def _fit(
    name: str, sizes: tuple[int, ...], batch: int, m: int, by_step: bool, *targets: Target
) -> Workload:
    loss = "cross_entropy" if sizes[-1] > 1 else "binary_cross_entropy"
    network = cpu_workloads.Workload("fit", sizes, "relu", loss, m, batch)
    return Workload(name, "fit", targets, network=network, by_step=by_step)


WORKLOADS = [
    *(
        Workload(f"{what}, 256 MiB", "values", (Target("copy", 0.85),), what, 256 * _MEBIBYTES)
        for what in ARRAYS
    ),
    _fit(
        "logistic regression, 16,000,000 x 32", (32, 1), 16_000_000, 16_000_000, True,
        Target("read", 0.80), Target("PyTorch", 1.7),
    ),
    _fit(
        "32-64-64-1, batch 65,536", (32, 64, 64, 1), 65_536, 16 * 65_536, True,
        Target("PyTorch CUDA graph", 2.0),
    ),
    _fit(
        "32-64-64-1, batch 256 of 65,536", (32, 64, 64, 1), 256, 65_536, False,
        Target("PyTorch eager", 5.0), Target("PyTorch CUDA graph", 2.0),
    ),
    _fit(
        "784-512-512-10, batch 4,096", (784, 512, 512, 10), 4096, 8 * 4096, True,
        Target("PyTorch", 1.0),
    ),
    Workload(
        "4,096 networks 30-16-1, batch 32 of 576", "population",
        (Target("PyTorch eager", 20.0), Target("PyTorch CUDA graph", 1.0)), n=4096,
        network=cpu_workloads.Workload(
            "fit", (30, 16, 1), "relu", "binary_cross_entropy", 576, 32, epochs=100
        ),
    ),
    Workload(
        "product of 4096 x 4096 matrices", "product", (Target("cuBLAS", 0.65),), n=4096
    ),
]  # fmt: skip


class Problem(NamedTuple):
    """The data of a workload on the host, the same for everyone, and what is to come out."""

    inputs: tuple[Array, ...]  # of "values" and "product"; the networks of "population", as rows
    data: cpu_workloads.Data | None  # of "fit" and "population"
    check: Callable[[Array], None]  # raises where a result is wrong


class DisagreementError(Exception):
    """An entrant computes something else."""


def problem(work: Workload, seed: int = 0) -> Problem:
    """Draw the data, and compute in float64 what it is to give."""
    if work.network is not None:
        several = work.kind == "population"
        return (_population if several else _training)(work, work.network, seed)
    random = np.random.default_rng(seed)
    shape = (work.n, work.n) if work.kind == "product" else (work.n,)
    inputs = tuple(random.standard_normal(shape, np.float32) for _ in range(2))
    if work.kind == "product":
        exact = inputs[0].astype(np.float64) @ inputs[1].astype(np.float64)

        def check(found: Array) -> None:
            _near(work, found, exact, 1e-5)
    else:
        # Every value must be written; one in 37, and the last ones, are compared.
        chosen = np.r_[0 : work.n : 37, max(0, work.n - 40) : work.n]
        expected = _value(work.what, *(x[chosen].astype(np.float64) for x in inputs))

        def check(found: Array) -> None:
            if np.isnan(found).any():
                raise DisagreementError(f"{work.name}: not every value was written")
            _near(work, found[chosen], expected, 1e-5)

    return Problem(inputs, None, check)


def _value(what: str, x: Array, y: Array) -> Array:
    """Return the function's value in the type of its arguments."""
    from fastnn.kernels import reference

    name, _, kind = what.partition(" ")
    match kind:
        case "derivative":
            return reference.activation_derivative(x, name)
        case "backward":
            return reference.activation_backward(x, y, name)
        case "gradient":
            return x - y
        case "step":
            return x - RATE * y
    return reference.activation_forward(x, name)


def _training(work: Workload, network: cpu_workloads.Workload, seed: int) -> Problem:
    data = cpu_workloads.data(network, seed)
    start, moved = _moved(network, data, 1)

    def check(found: Array) -> None:
        _near(work, found.astype(np.float64) - start, moved, 5e-3)

    return Problem((), data, check)


def _population(work: Workload, network: cpu_workloads.Workload, seed: int) -> Problem:
    data = cpu_workloads.data(network, seed)
    first = cpu_workloads.flat(data.W, data.b)
    random = np.random.default_rng(seed + 1)
    # Every network from its own beginning.
    starts = first * random.uniform(0.5, 1.5, (work.n, first.size)).astype(first.dtype)
    chosen = sorted({0, work.n // 2, work.n - 1})
    known = []
    for k in chosen:
        W, b = layers_of(starts[k], network.sizes)
        known.append(_moved(network, data._replace(W=W, b=b), network.epochs))

    def check(found: Array) -> None:
        if found.shape != starts.shape or not np.isfinite(found).all():
            raise DisagreementError(f"{work.name}: not the finite parameters of all networks")
        for k, (start, moved) in zip(chosen, known, strict=True):
            _near(work, found[k].astype(np.float64) - start, moved, 5e-3)

    return Problem((starts,), data, check)


def layers_of(parameters: Array, sizes: tuple[int, ...]) -> tuple[list[Array], list[Array]]:
    """Return W and b of each layer, of networks that are the last axis: W1, b1, W2, b2, ..."""
    W, b, at, before = [], [], 0, parameters.shape[:-1]
    for k, n in pairwise(sizes):
        W.append(parameters[..., at : at + n * k].reshape(*before, n, k))
        b.append(parameters[..., at + n * k : at + n * (k + 1)])
        at += n * (k + 1)
    return W, b


def _moved(
    network: cpu_workloads.Workload, data: cpu_workloads.Data, epochs: int
) -> tuple[Array, Array]:
    """Return the parameters, and how far so many epochs move them, in float64.

    The parameters themselves would agree even if the gradients did not.
    """
    wide = cpu_workloads.Data(
        data.X.astype(np.float64),
        data.y,
        [w.astype(np.float64) for w in data.W],
        [v.astype(np.float64) for v in data.b],
    )
    entry = with_numpy.prepare(network, wide)
    start = cpu_workloads.flat(wide.W, wide.b)
    return start, entry.flat(entry.run(epochs)) - start


def _near(work: Workload, found: Array, exact: Array, tolerance: float) -> None:
    if found.shape != exact.shape:
        raise DisagreementError(f"{work.name}: a result of shape {found.shape}, not {exact.shape}")
    error = np.linalg.norm(found.astype(np.float64) - exact) / np.linalg.norm(exact)
    if not error <= tolerance:
        raise DisagreementError(f"{work.name}: off from NumPy's float64 by {error:.1e}")
