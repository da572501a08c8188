"""Training on a GPU: parameters, moments and examples live there through a fit.

The host shuffles the order of an epoch while the GPU works on the one before. Each call of
``advance`` ends by bringing back what training shows: costs, parameters, moments.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..description import Description
from ..kernels.cpu.order import reorder
from ..kernels.cuda import driver, optimizers
from ..kernels.structures import Progress, Rule
from .cuda_calls import AnyArray, Call
from .cuda_networks import examples_of, steps_for
from .cuda_streaming import Chunks, too_large

Array = NDArray[Any]

# Steps whose numbers and costs are sent and brought back together.
_ROWS = 7 if driver.SIMULATED else 16384


class Training:
    """A fit on a GPU."""

    def __init__(
        self,
        parameters: Array,
        network: Description,
        X: AnyArray,
        Y: Array,
        sample_weight: Array | None,
        batch_size: int,
        rule: Rule,
        keep: tuple[int, ...],
        progress: Progress,
    ) -> None:
        self._parameters, self._rule, self._progress = parameters, rule, progress
        self._batch, self._m, self._real = batch_size, X.shape[1], parameters.dtype.type
        self._stream = driver.new_stream()
        call = Call(X, stream=self._stream)
        self._chunks = None
        if isinstance(X, np.ndarray) and too_large(X.nbytes + Y.nbytes):
            self._chunks = Chunks(X, Y, sample_weight, batch_size, self._stream)
            examples = self._chunks.told(X, Y)
        else:
            examples = examples_of(call, X, Y, sample_weight)
        self._order = _Order(progress, self._stream, here=self._chunks is None)
        if self._order.here is not None:
            examples = examples._replace(order=self._order.here, ordered=1)
        kind = steps_for(network, self._real)
        about = call, network, keep, parameters
        self._steps = kind(*about, examples, self._m, batch_size, rule, _ROWS)
        space = self._steps.space
        space.state.copy_to_device(progress.state.reshape(-1), stream=self._stream)
        space.snapshot.copy_to_device(progress.snapshot, stream=self._stream)

    def advance(self, steps: int) -> None:
        """Take up to so many steps, from where the progress stands."""
        counts = self._progress.counts
        while steps > 0 and counts[1] < counts[3]:
            taken = min(steps, _ROWS, self._left())
            self._put(taken)
            self._note(taken)
            steps -= taken

    def _left(self) -> int:
        counts, m = self._progress.counts, self._m
        of_an_epoch = -(-m // self._batch)
        epochs = int(counts[3] - counts[1])
        return epochs * of_an_epoch - -(-int(counts[2]) // self._batch)

    def _put(self, steps: int) -> None:
        """Put steps on the stream, as many at a time as one order of the examples serves."""
        progress, batch = self._progress, self._batch
        first, start, row = int(progress.counts[0]) + 1, int(progress.counts[2]), 0
        factors = progress.rates[1:]
        rates = factors[(np.arange(first, first + steps) - 1) % len(factors)]
        told = optimizers.told_of(self._rule, rates, first, self._real).reshape(-1)
        self._steps.space.told[: told.size].copy_to_device(told, stream=self._stream)
        while row < steps:
            some, origin = steps - row, 0
            if progress.order.size and start == 0:
                self._order.next()
            if progress.order.size or self._chunks is not None:
                some = min(some, -(-(self._m - start) // batch))
            if self._chunks is not None:
                some = min(some, self._chunks.examples // batch or 1)
                end = min(start + some * batch, self._m)
                self._chunks.bring(self._order.examples(start, end))
                origin = start
            self._steps.place(start, first + row, row, origin)
            self._steps.take(some, start)
            row += some
            start = self._after(start, some)

    def _after(self, start: int, steps: int) -> int:
        """Return where the step begins that follows so many, the first at ``start``."""
        of_an_epoch = -(-self._m // self._batch)
        return (start // self._batch + steps) % of_an_epoch * self._batch

    def _note(self, steps: int) -> None:
        """Wait for the steps; bring back what they cost, the parameters and the moments."""
        progress, m, space = self._progress, self._m, self._steps.space
        brought = space.costs[:steps], self._steps.net.parameters, space.state, space.snapshot
        found = [values.copy_to_host(stream=self._stream) for values in brought]
        driver.wait_for(self._stream)
        # All at once, so that Ctrl-C hardly finds a part of it done.
        costs, self._parameters[...] = found[0], found[1]
        progress.state[...], progress.snapshot[...] = found[2].reshape(2, -1), found[3]
        self._order.keep()
        counts = progress.counts
        for J in costs.tolist():
            start = int(counts[2])
            stop = min(start + self._batch, m)
            counts[0] += 1
            progress.cost[0] += J * (stop - start)
            counts[2] = stop
            if stop == m:
                progress.costs[counts[1]] = progress.cost[0] / m
                progress.cost[0] = 0
                counts[1] += 1
                counts[2] = 0


class _Order:
    """The order of the examples: shuffled on the host, and sent from memory the GPU can read.

    What the progress holds is changed when the steps have been taken.
    """

    def __init__(self, progress: Progress, stream: Any, *, here: bool) -> None:
        self._progress, self._stream = progress, stream
        self._count, self._epoch = progress.order.size, 0
        self._order, self._random = progress.order.copy(), progress.random.copy()
        self.here = None  # on the GPU, if it is wanted there
        if self._count and here:
            self._pinned = [driver.Pinned(self._count, np.int64) for _ in range(2)]
            self.here = driver.empty(self._count, np.int64, stream)
            self._send()

    def next(self) -> None:
        """Send the order of an epoch that is about to begin."""
        if self._progress.random[0] != 0:
            reorder(self._order, self._random)
        else:
            self._order[...] = self._progress.order  # the caller's
        if self.here is not None:
            self._send()

    def examples(self, start: int, end: int) -> Array:
        """Return the examples that stand at these places of the epoch."""
        return self._order[start:end] if self._count else np.arange(start, end)

    def _send(self) -> None:
        pinned = self._pinned[self._epoch % 2]
        self._epoch += 1
        pinned.free()[...] = self._order
        pinned.send(self.here, self._count, self._stream)

    def keep(self) -> None:
        """Tell the progress of the orders that were used."""
        self._progress.order[...] = self._order
        self._progress.random[...] = self._random


def trainer(
    parameters: Array,
    network: Description,
    X: AnyArray,
    Y: Array,
    sample_weight: Array | None,
    batch_size: int,
    rule: Rule,
    keep: tuple[int, ...],
    progress: Progress,
    threads: int | None = None,
) -> Any:
    """Return the function that takes that many steps of training.

    With dropout, ``keep`` of 2^32 draws keep a unit of each hidden layer.
    """
    about = parameters, network, X, Y, sample_weight, batch_size, rule, keep, progress
    return Training(*about).advance
