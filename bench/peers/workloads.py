"""What is timed: the networks, their data, and the least that each needs of the machine.

Labels are drawn at random, so that they cannot be fitted, and learning rates are small: gradients
keep their size, nothing saturates however long a workload is timed, and the rounding errors of an
epoch do not grow into disagreements.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # of Adam, everywhere

OWN_CACHE = 2 * 2**20  # bytes, of one core; many have less

TABLE, VARIANTS, DRAWN = "The workloads", "Variants", "Shapes drawn at random"


@dataclass(frozen=True)
class Workload:
    """One row: a network, and how it is used.

    ``kind`` is "fit" (timed by the epoch, inside a fit of ``epochs`` of them), "gradient" (cost
    and gradient, called from Python) or "query" (outputs, called from Python). ``aims`` are the
    ratios, peer's time over fastnn's, that fastnn is to reach.
    """

    kind: str
    sizes: tuple[int, ...]
    hidden: str
    loss: str
    m: int
    batch: int
    optimizer: str = "sgd"
    rate: float = 0.01
    dtype: str = "float32"
    epochs: int = 1
    group: str = TABLE
    aims: tuple[tuple[str, float], ...] = ()
    note: str = ""

    @property
    def name(self) -> str:
        sizes = "-".join(map(str, self.sizes))
        hidden = f" {self.hidden}" if len(self.sizes) > 2 else ""
        told = {
            "fit": f"batch {self.batch:,} of {self.m:,}",
            "gradient": f"cost and gradient of {self.m:,}",
            "query": "one row" if self.m == 1 else f"{self.m:,} rows",
        }[self.kind]
        rest = [] if self.kind != "fit" or self.optimizer == "sgd" else [self.optimizer.title()]
        rest += [self.dtype] if self.dtype != "float32" else []
        return ", ".join([f"{sizes}{hidden}", told, *rest])

    @property
    def unit(self) -> str:
        if self.kind != "fit":
            return "call"
        return "step" if self.batch == self.m else "epoch"

    @property
    def operations(self) -> float:
        """FLOP of a unit: the products alone, a multiplication and an addition for two.

        A product with an (n, k) matrix takes 2 n k for each example. A query has one for each
        layer. Training has one more for dW, and for all layers but the first one for the dZ of
        the layer before. Activations, biases and updates are not counted, so that the share of
        the limit of a narrow network, which is mostly those, reads low.
        """
        products = [n * k for n, k in pairwise(self.sizes)]
        if self.kind == "query":
            return 2.0 * self.m * sum(products)
        return 2.0 * self.m * (3 * sum(products) - products[0])

    @property
    def traffic(self) -> float:
        """Bytes of a unit: X and the targets read once, the outputs of a query written.

        The least that memory must deliver; nothing where all of it fits a core's own cache, as
        parameters and activations are taken to do.
        """
        values = self.sizes[0] + (self.sizes[-1] if self.loss == "squared_error" else 1)
        if self.kind == "query":
            values = self.sizes[0] + self.sizes[-1]
        size = float(values * self.m * np.dtype(self.dtype).itemsize)
        return size if size > OWN_CACHE else 0.0

    def reduced(self) -> Workload:
        """Return the same with few examples: to see that it runs, not how fast."""
        if self.kind == "fit" and self.batch < self.m:
            return replace(self, m=3 * self.batch)
        return replace(
            self, m=min(self.m, 5000), batch=min(self.batch, 5000), epochs=min(self.epochs, 20)
        )


class Data(NamedTuple):
    """Examples as rows, and initial parameters; each peer lays them out as is natural to it."""

    X: Array  # (m, n_x)
    y: Array  # (m,) integer labels; (m, n_y) targets for squared error
    W: list[Array]  # (n_l, n_(l-1)) for each layer
    b: list[Array]  # (n_l,)


def data(work: Workload, seed: int = 0) -> Data:
    """Return the data of a workload: the same for everyone."""
    random = np.random.default_rng(seed)
    dtype, (n_x, *_, n_y) = np.dtype(work.dtype), work.sizes
    X = random.standard_normal((work.m, n_x), dtype=dtype)
    if work.loss == "squared_error":
        y = random.standard_normal((work.m, n_y), dtype=dtype)
    else:
        y = random.integers(0, max(n_y, 2), work.m)
    # As many units are busy in every layer, and biases are not the zeros that would hide an error.
    W = [
        (random.standard_normal((n, k)) * np.sqrt((2 if work.hidden == "relu" else 1) / k))
        for k, n in pairwise(work.sizes)
    ]
    b = [random.standard_normal(n) * 0.1 for n in work.sizes[1:]]
    return Data(X, y, [w.astype(dtype) for w in W], [v.astype(dtype) for v in b])


def flat(W: list[Array], b: list[Array]) -> Array:
    """Return W1, b1, W2, b2, ... in one vector, the order in which results are compared."""
    return np.concatenate([np.ravel(A) for pair in zip(W, b, strict=True) for A in pair])


_SMALL = ((32, 64, 64, 1), "relu", "binary_cross_entropy")

_TABLE = [
    Workload(
        "fit", (2, 4, 1), "tanh", "binary_cross_entropy", 400, 400, epochs=1000,
        aims=(("JAX", 3.0), ("NumPy", 15.0)),
    ),
    Workload(
        "gradient", (24, 8, 2), "tanh", "squared_error", 200, 200, dtype="float64",
        note="SimpleChains.jl publishes 5.7 µs, on its authors' machine",
    ),
    Workload(
        "fit", (32, 1), "relu", "binary_cross_entropy", 1_000_000, 1_000_000, epochs=10,
        aims=(("NumPy", 2.8),),
    ),
    Workload(
        "fit", *_SMALL, 8192, 32, epochs=4,
        aims=(("JAX", 3.5), ("scikit-learn", 20.0), ("PyTorch", 45.0)),
    ),
    Workload("fit", *_SMALL, 65536, 256, aims=(("JAX", 2.5),)),
    Workload(
        "fit", (784, 128, 10), "relu", "cross_entropy", 12_800, 128, aims=(("JAX", 1.8),)
    ),
    Workload(
        "fit", (784, 512, 512, 10), "relu", "cross_entropy", 12_800, 256, aims=(("best", 1.2),)
    ),
    Workload(
        "fit", (1024, 1024, 1024, 10), "relu", "cross_entropy", 10_240, 1024,
        aims=(("best", 1.0),),
    ),
    Workload("query", *_SMALL, 1, 1, aims=(("ONNX Runtime", 8.0),)),
    Workload("query", *_SMALL, 200_000, 200_000, aims=(("ONNX Runtime", 2.5),)),
]  # fmt: skip

_BASE = Workload("fit", *_SMALL, 8192, 32, epochs=4, group=VARIANTS, aims=(("best", 1.0),))
_VARIANTS = [
    replace(_BASE, optimizer="adam", rate=0.0001),
    replace(_BASE, hidden="tanh"),
    replace(_BASE, hidden="sigmoid"),
    replace(_BASE, dtype="float64"),
    replace(_BASE, m=65536, batch=256, epochs=1, optimizer="adam", rate=0.0001),
    replace(_BASE, m=65536, batch=256, epochs=1, hidden="tanh"),
]


def drawn(seed: int, count: int) -> list[Workload]:
    """Return workloads of shapes that nobody chose, each an epoch of a GFLOP or 2,000 steps."""
    random = np.random.default_rng(seed)

    def between(low: int, high: int) -> int:
        return int(np.exp(random.uniform(np.log(low), np.log(high + 1))))

    found = []
    for _ in range(count):
        hidden = [between(9, 300) for _ in range(random.integers(1, 4))]
        sizes = (between(5, 300), *hidden, int(random.integers(1, 13)))
        work = Workload(
            "fit",
            sizes,
            str(random.choice(["relu", "tanh", "sigmoid"])),
            "binary_cross_entropy" if sizes[-1] == 1 else "cross_entropy",
            1,
            between(16, 1024),
            str(random.choice(["sgd", "adam"])),
            group=DRAWN,
            aims=(("best", 1.0),),
        )
        steps = min(max(4, int(1e9 / (work.operations * work.batch))), 2000)
        rate = 0.01 if work.optimizer == "sgd" else 0.0001
        found.append(replace(work, m=steps * work.batch, rate=rate))
    return found


WORKLOADS = [
    *_TABLE,
    *_VARIANTS,
    # Two that such a draw should cover, and eight that were drawn.
    Workload("fit", (37, 101, 53, 3), "relu", "cross_entropy", 33 * 500, 33, group=DRAWN,
             aims=(("best", 1.0),)),
    Workload("fit", (37, 101, 53, 3), "relu", "cross_entropy", 20_000, 1000, group=DRAWN,
             aims=(("best", 1.0),)),
    *drawn(seed=2024, count=8),
]  # fmt: skip
