"""The order of the examples, where training itself is not on the CPU."""

from __future__ import annotations

from .compiler import kernel
from .training import shuffle


@kernel
def reorder(order, random):
    """Permute in place, as training does at the beginning of an epoch."""
    shuffle(order, random)
