"""Networks too large for one block of threads: layer by layer, for a whole batch at once.

    X = examples in order                        gathered, unless they stand as they are needed
    D_l = W_l A_(l-1) + b_l;  A_l = g(D_l)       one product, and the activation of its tiles
    D_L = dZ_L                                   from the loss
    A_(l-1) := (W_l^T dZ_l) * g'(D_(l-1))        dZ of the layer below: one product, and g'
    dW_l, db_l                                   in slices of the examples, which are then summed
                                                 while the parameters take their step

With dropout A_l and dZ_l are scaled, or set to 0, in between. What a launch is told never changes
from one step to the next, so that a step can be recorded and repeated.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from . import blas, linear
from .driver import MOST_DOWN, THREADS, Place, blocks_for, cuda, empty, kernel, real_of
from .dropout import drop
from .losses import example_at
from .memory import store, value
from .optimizers import Part, ranges_of
from .product import slices_for
from .structures import ORIGIN, START, Examples


@kernel("gather", "VEIIJ")
def _gather(real):
    def function(out, examples, n, m, now):
        first = value(now, START) - value(now, ORIGIN)
        rows = examples.X_feature == 1
        # Neighbouring threads read and write neighbouring values, along an example or across.
        across, along = (n, m) if rows else (m, n)
        for q in range(cuda.blockIdx.y, along, cuda.gridDim.y):
            for p in range(cuda.grid(1), across, cuda.blockDim.x * cuda.gridDim.x):
                i, j = (p, q) if rows else (q, p)
                at = examples.X_place + i * examples.X_feature
                at += example_at(examples, first + j) * examples.X_example
                store(out, q * across + p, value(examples.X, at))

    return function


def gather(stream: Any, out: Any, examples: Examples, n: int, m: int, now: Any) -> None:
    """Copy the m examples of a step, (n, m), or (m, n) where theirs are rows."""
    rows = examples.X_feature == 1
    across, along = (n, m) if rows else (m, n)
    grid = (blocks_for(across, THREADS), min(along, MOST_DOWN))
    _gather.launch(grid, THREADS, stream, real_of(out), out, examples, n, m, now)


class Layer(NamedTuple):
    """A layer, and where its part of the memory begins."""

    n_in: int
    n: int
    code: int
    place: int  # of W among the parameters; b follows
    above: int  # the units of the layers before
    keep: int  # of 2^32 draws; 0: all
    slices: int  # of the examples, for its gradient
    sums: int  # where these stand
    ranges: int  # of the parameters of the layers before

    @property
    def size(self) -> int:
        """The number of its parameters."""
        return self.n * (self.n_in + 1)


def layers_of(table: Any, batch: int, real: Any) -> list[Layer]:
    """Return the layers, from the rows of ``kernels.structures.Architecture``."""
    found: list[Layer] = []
    sums = ranges = 0
    for n_in, n, code, place, above, keep in table:
        slices = 1 if blas.takes(n, n_in, batch) else slices_for(n, n_in, batch, real)
        found.append(Layer(n_in, n, code, place, above, keep, slices, sums, ranges))
        sums += slices * found[-1].size
        ranges += ranges_of(found[-1].size)
    return found


def part_of(layer: Layer) -> Part:
    """Return what is settled of a layer."""
    at = layer.ranges, layer.sums, layer.size, layer.slices
    return Part(layer.place, layer.size, *at)


def by_blas(layers: list[Layer], batch: int) -> bool:
    """Return whether a product of a step goes to cuBLAS."""
    return any(blas.takes(layer.n, layer.n_in, batch) for layer in layers)


def sums_of(layers: list[Layer]) -> tuple[int, int]:
    """Return the values that the slices of all gradients have, and the ranges of all layers."""
    last = layers[-1]
    return last.sums + last.slices * last.size, last.ranges + ranges_of(last.size)


class Batch:
    """The memory for a batch of m examples, layer by layer; training also keeps what it leaves."""

    def __init__(self, layers: list[Layer], m: int, real: Any, stream: Any, *, keeps: bool) -> None:
        self.layers, self.m = layers, m
        units = [layer.n for layer in layers]
        count = sum(units) if keeps else 2 * max(units)
        self.A, self.D = empty(count * m, real, stream), empty(count * m, real, stream)
        self._keeps = keeps
        self._widest = max(units) * m

    def places(self, l: int) -> tuple[Place, Place]:
        """Return where A and D of a layer stand."""
        # Where nothing is kept, a layer writes to one half what it reads from the other.
        at = self.layers[l].above * self.m if self._keeps else l % 2 * self._widest
        return Place(self.A, at), Place(self.D, at)


def forward(
    stream: Any, parameters: Place, batch: Batch, X: Place, rows: bool, m: int, now: Any, key: int,
    out: Place | None = None,
) -> None:  # fmt: skip
    """Take X, (n_x, m), or (m, n_x) where ``rows``, to D of the last layer, or its A to ``out``.

    Units are dropped by the draws of the step ``now``, if there is one.
    """
    source = X
    for l, layer in enumerate(batch.layers):
        A, D = batch.places(l)
        values, place = parameters.values, parameters.place + layer.place
        W, b = Place(values, place), Place(values, place + layer.n * layer.n_in)
        last = l == len(batch.layers) - 1
        if last and out is None:
            linear.linear_forward(stream, D, source, rows, W, b, layer.n, layer.n_in, m)
            return
        A = out if last and out is not None else A
        linear.layer_forward(stream, A, D, source, rows, W, b, layer.code, layer.n, layer.n_in, m)
        if layer.keep and now is not None:
            drop(stream, A, layer.n, m, layer.above, key, layer.keep, now)
        source, rows = A, False


def backward(
    stream: Any, parameters: Place, batch: Batch, X: Place, rows: bool, m: int, sums: Any, now: Any,
    key: int,
) -> None:  # fmt: skip
    """Put all gradients, in slices, into ``sums``, from dZ in D of the last layer.

    What A of a layer stands in takes its dZ, as soon as A is no longer needed.
    """
    layers = batch.layers
    dZ = batch.places(len(layers) - 1)[1]
    for l in range(len(layers) - 1, -1, -1):
        layer = layers[l]
        below, across = (batch.places(l - 1)[0], False) if l > 0 else (X, rows)
        linear.gradient_slices(
            stream, Place(sums, layer.sums), dZ, below, across, layer.n, layer.n_in, m, layer.slices
        )
        if l == 0:
            return
        W, under = Place(parameters.values, parameters.place + layer.place), layers[l - 1]
        A, Z = batch.places(l - 1)
        linear.hidden_gradient(stream, A, W, dZ, False, Z, under.code, layer.n, layer.n_in, m)
        if under.keep and now is not None:
            drop(stream, A, under.n, m, under.above, key, under.keep, now)
        dZ = A
