"""Training on sparse rows: made dense some at a time, as their turn comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..description import Description
from ..device import backend
from ..kernels.structures import Progress, Rule
from ._blocks import BLOCK_BYTES

Array = NDArray[Any]


def trainer(
    parameters: Array,
    network: Description,
    X: Any,
    Y: Array,
    sample_weight: Array | None,
    batch_size: int,
    rule: Rule,
    keep: tuple[int, ...],
    progress: Progress,
    threads: int | None = None,
    device: str | None = None,
) -> Callable[[int], None]:
    """Return the function that takes that many steps of training, or fewer.

    As a backend's, but X is the transpose of a CSR matrix, and the order of the examples is the
    caller's (``progress.random`` is 0) or as they stand. Every step is the one that the same dense
    examples would make, except for what dropout draws. Some megabytes are dense at a time, or one
    batch.
    """
    rows, (_, m) = X.T.tocsr(), X.shape
    take = backend(device).trainer
    batches = max(1, BLOCK_BYTES // (batch_size * network.sizes[0] * parameters.dtype.itemsize))
    counts, unused = progress.counts, np.empty_like(progress.snapshot)

    def advance(steps: int) -> None:
        first = int(counts[2])
        stop = min(first + min(steps, batches) * batch_size, m)
        which = progress.order[first:stop] if progress.order.size else np.arange(first, stop)
        dense = rows[which].toarray().astype(parameters.dtype, copy=False)
        # These examples are an epoch of their own, in the order that they have now.
        part = progress._replace(
            counts=np.array([counts[0], 0, 0, 1]),
            order=np.arange(0),
            cost=np.zeros(1),
            costs=np.zeros(1),
            snapshot=unused,
        )
        weights = None if sample_weight is None else sample_weight[which]
        run = take(
            parameters, network, dense.T, np.ascontiguousarray(Y[..., which]), weights,
            batch_size, rule, keep, part, threads,
        )  # fmt: skip
        run(-(-(stop - first) // batch_size))
        counts[0] = part.counts[0]
        counts[2] = stop
        progress.cost[0] += part.costs[0] * (stop - first)
        if stop == m:
            progress.costs[counts[1]] = progress.cost[0] / m
            progress.cost[0] = 0
            progress.snapshot[...] = parameters
            counts[1] += 1
            counts[2] = 0

    return advance
