"""What a kernel of whole networks is told, grouped so that its arguments can be read.

Named tuples of arrays and numbers, which Numba understands as they are. ``(n,)`` stands for a
flat array; a matrix is told by its flat memory and two strides, counted in elements.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Architecture(NamedTuple):
    """The layers of a network, as data."""

    sizes: NDArray[np.int64]  # (L + 1,): n_x, n_1, ..., n_y
    activations: NDArray[np.int64]  # (L,), codes
    loss: int  # a code


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
    """How parameters are updated: an optimiser's numbers, and the penalties on the weights."""

    kind: int  # a code
    learning_rate: float
    momentum: float
    nesterov: bool
    beta1: float
    beta2: float
    epsilon: float
    weight_decay: float
    l1: float
    l2: float


class Progress(NamedTuple):
    """Where a fit stands; all arrays, so that one call continues where the last one stopped."""

    # (4,): steps taken, epochs finished, examples of this epoch seen, epochs to stop after
    counts: NDArray[np.int64]
    random: NDArray[np.uint64]  # (1,): the state of the shuffle
    order: NDArray[np.int64]  # (m,): this epoch's order of the examples; empty: as they stand
    cost: NDArray[np.float64]  # (1,): the sum over this epoch's batches of cost times size
    costs: NDArray[np.float64]  # (epochs,): the cost of each finished epoch
    state: NDArray[Any]  # (2, parameters): the optimiser's moments
    snapshot: NDArray[Any]  # (parameters,): the parameters after the last finished epoch


class Workspace(NamedTuple):
    """The memory that a kernel works in; ``width`` examples are in flight at once.

    ``A`` and ``D`` hold (n_l, width) for each layer l in turn; D the derivatives g'(Z), later dZ.
    """

    width: int
    X: NDArray[Any]  # (n_x, width): inputs gathered from a shuffled order
    A: NDArray[Any]
    D: NDArray[Any]
    T: NDArray[Any]  # (widest layer, width)
    Y: NDArray[Any]  # (n_y, width)
    weights: NDArray[Any]  # (width,)
    losses: NDArray[Any]  # (2 * width,)
    panel: NDArray[Any]
    gradient: NDArray[Any]  # (parameters,)


class QuerySpace(NamedTuple):
    """What of it a query works in: the fewer arrays, the shorter the call."""

    width: int
    A: NDArray[Any]  # (widest layer, width)
    T: NDArray[Any]  # (widest layer, width)
    losses: NDArray[Any]  # (2 * width,)
    panel: NDArray[Any]
