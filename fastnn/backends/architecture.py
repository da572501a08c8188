"""A network's layers as the kernels of every device are told them."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np

from ..description import Description
from ..kernels.codes import ACTIVATIONS, LOSSES
from ..kernels.structures import Architecture


@lru_cache(maxsize=256)
def architecture(network: Description, keep: tuple[int, ...] = ()) -> Architecture:
    """Return the layers as data; ``keep`` of 2^32 draws keep a unit of each hidden layer."""
    layers, place, above = [], 0, 0
    for l, (n_in, n) in enumerate(pairwise(network.sizes)):
        kept = keep[l] if l < len(keep) else 0
        layers.append((n_in, n, ACTIVATIONS.index(network.activations[l]), place, above, kept))
        place += n * n_in + n
        above += n
    return Architecture(np.array(layers, np.int64), LOSSES.index(network.loss), network.delta)
