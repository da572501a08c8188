"""Whole networks on a GPU: what they answer, their cost and its gradient.

A network that a block of threads can take whole (``kernels.cuda.block``) goes through by blocks of
examples; any other layer by layer (``kernels.cuda.layers``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..description import Description
from ..kernels import structures
from ..kernels.codes import ACTIVATIONS
from ..kernels.cuda import block, driver, layers, losses, one_unit, optimizers, query, training
from ..kernels.cuda.driver import Place
from ..kernels.cuda.optimizers import Part
from ..kernels.cuda.structures import NOW, TOLD, Examples, Net, Space
from .architecture import architecture
from .cuda_calls import AnyArray, Call
from .cuda_streaming import most, too_large

Array = NDArray[Any]


def rows_of(network: Description, keep: tuple[int, ...] = ()) -> list[tuple[int, ...]]:
    """Return the rows of the table of layers, as numbers."""
    return [tuple(row) for row in architecture(network, keep).layers.tolist()]


def weights_of(network: Description) -> NDArray[np.bool_]:
    """Return which of the parameters are weights: a penalty is for them, not for biases."""
    found = np.zeros(network.n_parameters, np.bool_)
    for n_in, n, _, at, *_ in rows_of(network):
        found[at : at + n * n_in] = True
    return found


def examples_of(call: Call, X: AnyArray, Y: Array | None, weights: Array | None) -> Examples:
    """Return the examples as kernels read them, sent where they are not on the GPU; no order."""
    none = driver.empty(1, X.dtype.type, call.stream)
    no_labels = driver.empty(1, np.int64, call.stream)
    x, x_strides = call.by_strides(X)
    y, y_strides, labels, labelled = Place(none), (0, 0), no_labels, 0
    if Y is not None and Y.ndim == 1:
        labels, labelled = call.flat(Y), 1
    elif Y is not None:
        y, y_strides = call.by_strides(Y)
    weighted = weights is not None
    wide = x_strides[0] == 1 and driver.is_wide(x, x_strides[1])
    return Examples(
        *x, *x_strides, int(wide), *y, *y_strides, labels, labelled,
        none if weights is None else call.flat(weights), int(weighted), no_labels, 0,
    )  # fmt: skip


def net_of(call: Call, parameters: Array, network: Description, keep: tuple[int, ...]) -> Net:
    """Return a network as kernels read it, with a copy of its parameters."""
    table = architecture(network, keep)
    here = call.flat(parameters)
    return Net(
        here,
        network.n_parameters,
        call.flat(table.layers.reshape(-1)),
        len(table.layers),
        table.loss,
        parameters.dtype.type(table.delta),
        int(driver.is_wide(Place(here))),
    )


# ------------------------------------------------------------------ answers


def _parts(network: Description, X: AnyArray, *, backward: bool) -> list[slice]:
    """Return the parts of the examples that fit on the GPU one at a time, if they are the host's.

    Layer by layer each takes two arrays of all units, or, in turn, of the widest layer.
    """
    m, sizes = X.shape[1], network.sizes
    values = sizes[0] + sizes[-1] + 1
    if not block.groups_for(sizes, X.dtype.type):
        values += sizes[0] + 2 * sum(sizes[1:]) if backward else 4 * max(sizes[1:])
    if not isinstance(X, np.ndarray) or not too_large(m * values * X.itemsize):
        return [slice(0, m)]
    width = most(values * X.itemsize)
    return [slice(begin, min(begin + width, m)) for begin in range(0, m, width)]


def network_forward(out: AnyArray, parameters: Array, network: Description, X: AnyArray) -> None:
    parts = _parts(network, X, backward=False)
    if len(parts) == 1:
        _forward(out, parameters, network, X)
        return
    assert isinstance(X, np.ndarray)
    assert isinstance(out, np.ndarray)
    for part in parts:
        _forward(out[:, part], parameters, network, X[:, part])


def _forward(out: AnyArray, parameters: Array, network: Description, X: AnyArray) -> None:
    with Call(out, X) as call:
        real, m = X.dtype.type, X.shape[1]
        target = call.target(out, (X,))
        net = net_of(call, parameters, network, ())
        groups = block.groups_for(network.sizes, real)
        if groups:
            examples = examples_of(call, X, None, None)
            query.network_forward(call.stream, target, net, examples, m, groups, network.sizes)
            return
        x, rows = call.stored(X)
        found = layers.layers_of(rows_of(network), m, real)
        batch = layers.Batch(found, m, real, call.stream, keeps=False)
        parameters_here = Place(net.parameters)
        layers.forward(call.stream, parameters_here, batch, x, rows, m, None, 0, out=target)


def predictor(parameters: Array, network: Description) -> Callable[..., Array]:
    """Return the function that answers for one example, a vector of the host."""

    def predict(x: Array, out: Array | None = None) -> Array:
        out = np.empty(network.sizes[-1], parameters.dtype) if out is None else out
        network_forward(out[:, None], parameters, network, x[:, None])
        return out

    return predict


# ------------------------------------------------------------------ steps


class Steps(ABC):
    """A network on the GPU, its examples, and what puts steps over batches of them on the stream.

    Where training stands is told by `place`, before steps are put there.
    """

    def __init__(
        self,
        call: Call,
        network: Description,
        keep: tuple[int, ...],
        parameters: Array,
        examples: Examples,
        m: int,
        batch: int,
        rule: structures.Rule,
        rows: int,
    ) -> None:
        self.stream, self.real, self.sizes = call.stream, parameters.dtype.type, network.sizes
        self.table, self.code = rows_of(network, keep), ACTIVATIONS.index(network.activations[-1])
        self.net, self.examples = net_of(call, parameters, network, keep), examples
        self.m, self.batch = m, batch
        self.rule = optimizers.rule_of(rule, self.real)
        self.now = driver.send(np.zeros(NOW, np.int64), self.stream)
        n, (tickets, sums, ranges) = network.n_parameters, self.shape()
        penalized = call.flat(weights_of(network).astype(self.real))
        self.space = Space(
            self._new(sums), self._new(2 * tickets), self._new(2 * ranges), self._new(2 * ranges),
            tickets, ranges, self._new(n), call.flat(np.zeros(2 * n, self.real)), self._new(n),
            penalized, self._new(rows), self._new(rows * TOLD),
        )  # fmt: skip

    def _new(self, count: int) -> Any:
        return driver.empty(max(count, 1), self.real, self.stream)

    def place(self, start: int, step: int, row: int, origin: int = 0) -> None:
        """Say where training stands: the next steps go on from there."""
        told = np.array([start, step, row, origin])
        self.now.copy_to_device(told, stream=self.stream)

    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """Return the sums that a batch's losses are in, its gradients' values, and the ranges."""

    @abstractmethod
    def once(self, purpose: int) -> None:
        """Put on the stream what leaves the cost of all examples, or their gradient as well."""

    @abstractmethod
    def take(self, steps: int, start: int) -> None:
        """Put so many steps on the stream, of which the first begins at the example ``start``."""

    def _settle(self, purpose: int, parts: list[Part], batch: int) -> None:
        """Turn the sums of all parts into the gradient, or into a step."""
        if purpose == training.COST:
            return
        steps = purpose == training.STEPS
        clipped = steps and self.rule.clip_norm != 0
        about = self.stream, self.net, self.rule, self.space
        what = optimizers.WHOLE if steps and not clipped else optimizers.DERIVE
        for part in parts:
            optimizers.settle(*about, part, batch, self.m, what, steps, self.now)
        if clipped:
            everything = Part(0, self.net.size)
            told = batch, self.m, optimizers.DESCEND, True
            optimizers.settle(*about, everything, *told, self.now)


class BlockSteps(Steps):
    """Steps of a network that a block of threads takes whole."""

    def shape(self) -> tuple[int, int, int]:  # noqa: D102
        self._groups = block.groups_for(self.sizes, self.real)
        self._piece = training.piece_of(self.batch, self._groups, self.real)
        self._one_unit = one_unit.serves(self.sizes, self.code, self.batch)
        if self._one_unit:
            self._piece = one_unit.piece_of(self.batch)
        self._together = 0
        tickets = training.pieces_of(self.batch, self._piece)
        return tickets, tickets * self.net.size, optimizers.ranges_of(self.net.size)

    def once(self, purpose: int) -> None:  # noqa: D102
        about = self.stream, self.net, self.rule, self.examples, self.space
        cut = self._piece, self.batch, self.m
        if self._one_unit:
            one_unit.pieces(self.stream, self.net, self.examples, self.space, *cut, self.now)
        else:
            training.pieces(*about, *cut, purpose, self._groups, self.sizes, self.now)
        part = Part(0, self.net.size, apart=self.net.size, piece=self._piece)
        self._settle(purpose, [part], self.batch)
        optimizers.note(
            self.stream, self.rule, self.space, self.batch, self.m, self.now, tickets=0,
            piece=self._piece,
        )  # fmt: skip

    def take(self, steps: int, start: int) -> None:  # noqa: D102
        if self._apart():
            for _ in range(steps):
                self.once(training.STEPS)
            return
        if not self._together:
            self._together = training.blocks_at_once(self.sizes, self._groups, self.real)
        training.train(
            self.stream, self.net, self.rule, self.examples, self.space, self._piece, self.batch,
            self.m, steps, self._groups, self.sizes, self.now, self._together,
        )  # fmt: skip

    def _apart(self) -> bool:
        """Return whether each step has launches of its own."""
        if self._one_unit:
            return True
        # The simulator's blocks run one after another: they cannot wait for each other.
        return driver.SIMULATED and training.pieces_of(self.batch, self._piece) > 1


class LayerSteps(Steps):
    """Steps of any network, layer by layer; each is recorded once, and repeated."""

    def shape(self) -> tuple[int, int, int]:  # noqa: D102
        self._batches: dict[int, _LayerBatch] = {}
        rest = self.m % self.batch
        found = [self._layers(m) for m in (self.batch, rest) if m]
        tickets = losses.output_blocks(self.sizes[-1], self.batch)[1]
        sums, ranges = zip(*map(layers.sums_of, found), strict=True)
        return tickets, max(sums), ranges[0]

    def _layers(self, m: int) -> list[layers.Layer]:
        return layers.layers_of(self.table, m, self.real)

    def _batch(self, m: int) -> _LayerBatch:
        if m not in self._batches:
            self._batches[m] = _LayerBatch(self, self._layers(m), m)
        return self._batches[m]

    def once(self, purpose: int) -> None:  # noqa: D102
        self._batch(self.batch).put(self, purpose)

    def take(self, steps: int, start: int) -> None:  # noqa: D102
        for _ in range(steps):
            m = min(self.batch, self.m - start)
            self._batch(m).step(self)
            start = (start + m) % self.m


class _LayerBatch:
    """The memory and the launches for batches of m examples."""

    def __init__(self, steps: LayerSteps, found: list[layers.Layer], m: int) -> None:
        # Not the steps, who keep this one: memory would wait for Python to find the cycle.
        self._layers, self._m = found, m
        self._memory = layers.Batch(found, m, steps.real, steps.stream, keeps=True)
        self._X = driver.empty(steps.sizes[0] * m, steps.real, steps.stream)
        self._recording: driver.Recording | None = None
        self._warm = False

    def step(self, steps: LayerSteps) -> None:
        """Take a step of training."""
        if self._recording is None and not self._warm:
            # The first one compiles the kernels, which cannot be recorded; nor can what CuPy does.
            self._warm = not layers.by_blas(self._layers, self._m)
            self.put(steps, training.STEPS)
            return
        if self._recording is None:
            put = partial(self.put, steps, training.STEPS)
            self._recording = driver.Recording(steps.stream, put)
        self._recording.launch()

    def put(self, steps: LayerSteps, purpose: int) -> None:
        """Put the launches of a step on the stream."""
        m = self._m
        stream, net, space, now = steps.stream, steps.net, steps.space, steps.now
        examples, parameters = steps.examples, Place(net.parameters)
        rows, key = examples.X_feature == 1, steps.rule.key
        dropping = now if purpose == training.STEPS else None
        layers.gather(stream, self._X, examples, steps.sizes[0], m, now)
        X, last = Place(self._X), self._layers[-1]
        layers.forward(stream, parameters, self._memory, X, rows, m, dropping, key)
        D = self._memory.places(len(self._layers) - 1)[1]
        losses.output_block(
            stream, D, space.totals, examples, last.code, net.loss, float(net.delta), now, last.n, m
        )
        if purpose != training.COST:
            layers.backward(stream, parameters, self._memory, X, rows, m, space.sums, dropping, key)
        steps._settle(purpose, [layers.part_of(layer) for layer in self._layers], m)
        tickets = losses.output_blocks(last.n, m)[1]
        optimizers.note(stream, steps.rule, space, m, steps.m, now, tickets=tickets, piece=0)


def steps_for(network: Description, real: Any) -> type[Steps]:
    """Return the kind of steps that a network takes."""
    return BlockSteps if block.groups_for(network.sizes, real) else LayerSteps


_QUESTION = structures.Rule(0, 0.0, 0.0, False, 0.0, 0.0, 0.0, False, 0.0, 0.0, 0.0, 0.0, 0)


def network_cost(
    parameters: Array,
    network: Description,
    X: AnyArray,
    Y: Array,
    sample_weight: Array | None,
    l1: float,
    l2: float,
    gradient: Array | None = None,
) -> float:
    """Return J, and put its derivatives into ``gradient`` where one is given."""
    parts = _parts(network, X, backward=True)
    if len(parts) == 1:
        return _cost(parameters, network, X, Y, sample_weight, l1, l2, gradient)
    assert isinstance(X, np.ndarray)
    J, m = 0.0, X.shape[1]
    total = np.zeros(parameters.size)
    for part in parts:
        weights = None if sample_weight is None else sample_weight[part]
        some = X[:, part], Y[..., part], weights
        found = None if gradient is None else np.empty_like(gradient)
        share = some[0].shape[1] / m
        J += share * _cost(parameters, network, *some, l1, l2, found)
        if found is not None:
            total += share * found
    if gradient is not None:
        gradient[...] = total
    return J


def _all_at_once(
    call: Call,
    parameters: Array,
    network: Description,
    X: AnyArray,
    Y: Array,
    sample_weight: Array | None,
    l1: float,
    l2: float,
) -> Steps:
    """Return a step over all examples."""
    m, rule = X.shape[1], _QUESTION._replace(l1=l1, l2=l2)
    examples = examples_of(call, X, Y, sample_weight)
    kind = steps_for(network, parameters.dtype.type)
    return kind(call, network, (), parameters, examples, m, m, rule, 1)


def _answer(steps: Steps, purpose: int) -> float:
    """Return J of all examples; ``purpose`` may be to leave its gradient as well."""
    steps.place(0, 1, 0)
    steps.once(purpose)
    J = steps.space.costs.copy_to_host(stream=steps.stream)
    driver.wait_for(steps.stream)
    return float(J[0])


def _cost(
    parameters: Array,
    network: Description,
    X: AnyArray,
    Y: Array,
    sample_weight: Array | None,
    l1: float,
    l2: float,
    gradient: Array | None,
) -> float:
    with Call(X) as call:
        steps = _all_at_once(call, parameters, network, X, Y, sample_weight, l1, l2)
        # Without a gradient the penalties are still to be summed.
        wanted = gradient is not None or l1 != 0 or l2 != 0
        J = _answer(steps, training.GRADIENT if wanted else training.COST)
        if gradient is not None:
            found = steps.space.gradient.copy_to_host(stream=call.stream)
            driver.wait_for(call.stream)
            gradient[...] = found
        return J


def costs(
    parameters: Array, network: Description, X: AnyArray, Y: Array, sample_weight: Array | None
) -> Callable[[], float]:
    """Return the function that returns J without penalties; the examples are sent once."""
    if len(_parts(network, X, backward=True)) > 1:
        return partial(network_cost, parameters, network, X, Y, sample_weight, 0.0, 0.0)
    steps = _all_at_once(Call(X), parameters, network, X, Y, sample_weight, 0.0, 0.0)

    def cost() -> float:
        steps.net.parameters.copy_to_device(parameters, stream=steps.stream)
        return _answer(steps, training.COST)

    return cost
