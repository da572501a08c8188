"""What a kernel of whole networks is told, grouped so that its arguments can be read.

Named tuples of arrays and numbers, which Numba understands as they are. ``(n,)`` stands for a
flat array; a matrix is told by its flat memory and two strides, counted in elements.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# The columns of ``Architecture.layers``: the units that a layer reads and has, the code of its
# activation, the place of its W in the parameters (b follows), the units of all layers before, and
# how many of 2^32 draws keep a unit in training: 0 stands for all of them.
FIELDS = 6
N_IN, N_OUT, CODE, PLACE, ABOVE, KEEP = range(FIELDS)


class Architecture(NamedTuple):
    """The layers of a network, as data."""

    layers: NDArray[np.int64]  # (L, 6)
    loss: int  # a code
    delta: float  # where Huber's loss turns from a square to a line


class Examples(NamedTuple):
    """The examples that a kernel reads, in whichever memory order they have.

    Feature i of example j stands at ``X[i * X_feature + j * X_example]``; one of the two strides
    is 1. The targets are ``Y``, likewise, or integer ``labels`` where that is not empty.
    ``weights`` have mean 1; where they are empty every example weighs 1.
    """

    m: int
    X: NDArray[Any]
    X_feature: int
    X_example: int
    Y: NDArray[Any]
    Y_feature: int
    Y_example: int
    labels: NDArray[np.int64]
    weights: NDArray[Any]


class Rule(NamedTuple):
    """How parameters are updated: an optimiser's numbers, the penalties on the weights, and more.

    The learning rate of a step is ``learning_rate`` times a factor of ``Progress.rates``.
    """

    kind: int  # a code
    learning_rate: float
    momentum: float
    nesterov: bool
    beta1: float
    beta2: float
    epsilon: float
    epsilon_first: bool  # added to the root before that is corrected for the moments' start at 0
    weight_decay: float
    l1: float
    l2: float
    clip_norm: float  # a longer gradient is scaled to this length; 0: as it is
    key: int  # of the draws for dropout, below 2^32


class Progress(NamedTuple):
    """Where a fit stands; all arrays, so that one call continues where the last one stopped."""

    # (4,): steps taken, epochs finished, examples of this epoch seen, epochs to stop after
    counts: NDArray[np.int64]
    random: NDArray[np.uint64]  # (1,): the state of the shuffle; 0: the order stays as it is
    order: NDArray[np.int64]  # (m,): this epoch's order of the examples; empty: as they stand
    # (1 + n,): this step's factor of the learning rate; then those of n steps, s at 1 + s % n
    rates: NDArray[np.float64]
    cost: NDArray[np.float64]  # (1,): the sum over this epoch's batches of cost times size
    costs: NDArray[np.float64]  # (epochs,): the cost of each finished epoch
    state: NDArray[Any]  # (2, parameters): the optimiser's moments
    snapshot: NDArray[Any]  # (parameters,): the parameters after the last finished epoch


class Cut(NamedTuple):
    """How batches are cut, which depends on the network and their size alone."""

    batch: int  # examples in a batch, the last one of an epoch aside
    width: int  # examples in a block
    slots: int  # blocks that are kept, which is the whole batch; or 0
    piece: int  # else the examples in a piece, whole blocks
    parts: NDArray[np.int64]  # (P, 5): parts of the weights: layer, rows from and to, columns


class Task(NamedTuple):
    """What a call of ``train`` is about; the same for all threads."""

    purpose: int  # a code: cost, gradient or steps
    network: Architecture
    cut: Cut
    examples: Examples
    rule: Rule
    progress: Progress
    gradient: NDArray[Any]  # (parameters,)
    sums: NDArray[Any]  # (pieces * parameters,): the gradient of each piece
    totals: NDArray[np.float64]  # the summed losses of each block or piece
    signals: NDArray[np.int64]  # between the threads; empty where there is one

    def plain(self) -> tuple[Any, ...]:
        """Return plain tuples of plain tuples: a call then starts in a third of the time."""
        parts = self.network, self.cut, self.examples, self.rule, self.progress
        return self.purpose, *map(tuple, parts), *self[6:]


class Workspace(NamedTuple):
    """The memory that a block is worked in: ``width`` examples are in flight at once.

    ``A`` and ``D`` hold (n_l, width) for each layer l in turn, for each of the slots; D the
    derivatives g'(Z), later dZ.
    """

    width: int
    cells: int  # of A, and of D, in a slot
    X: NDArray[Any]  # (slots, n_x, width): inputs gathered from a shuffled order
    A: NDArray[Any]
    D: NDArray[Any]
    T: NDArray[Any]  # (widest layer, width)
    Y: NDArray[Any]  # (n_y, width)
    weights: NDArray[Any]  # (width,)
    losses: NDArray[Any]  # (2 * width,)
    panel: NDArray[Any]


class QuerySpace(NamedTuple):
    """What of it a query works in: the fewer arrays, the shorter the call."""

    width: int
    A: NDArray[Any]  # (widest layer, width)
    T: NDArray[Any]  # (widest layer, width)
    losses: NDArray[Any]  # (2 * width,)
    panel: NDArray[Any]
