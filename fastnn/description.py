"""What a network is, apart from its parameters."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Description:
    """The sizes, activations and loss of a network; what the backends are told of it.

    ``delta`` is where Huber's loss turns from a square to a line.
    """

    sizes: tuple[int, ...]
    activations: tuple[str, ...]
    loss: str
    delta: float = 1.0

    @property
    def n_parameters(self) -> int:
        """Return the length of the flat vector W1, b1, W2, b2, ..."""
        return sum(n_out * (n_in + 1) for n_in, n_out in pairwise(self.sizes))
