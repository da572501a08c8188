"""The compiled kernels as a device: lays arrays out as the kernels read them, and calls."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..description import Description
from ..kernels.codes import ACTIVATIONS, LOSSES, SOFTMAX
from ..kernels.cpu import activations, linear, losses, optimizers, query, training
from ..kernels.cpu.activations import COLUMNS
from ..kernels.cpu.product import PANEL_BYTES
from ..kernels.cpu.team import DISMISSED, SIGNALS
from ..kernels.cpu.vectors import TILE_ROWS, TILE_VECTORS, VECTOR_BYTES
from ..kernels.structures import (
    Cut,
    Examples,
    Progress,
    QuerySpace,
    Rule,
    Task,
)
from ..threads import count as thread_count
from ..threads import helped, ranges, share
from .architecture import architecture

Array = NDArray[Any]

# A cache line, and the widest vector register.
_ALIGNMENT = 64
# Examples in flight: as many as keep a network's activations within about half of the L2 cache.
_BLOCK_BYTES = 512 * 1024
_SMALLEST_BLOCK, _LARGEST_BLOCK = 64, 512

# A batch is kept whole where its values are no more than so many times the parameters.
_KEPT = 8

# Operations worth a ticket of their own, some 20 microseconds; and tickets that a job may have.
_TICKET, _TICKETS = 2e6, 8

# Columns in a tile of the matrix product, for float32.
_TILE_COLUMNS = TILE_VECTORS * 16

# Values of an array that threads share, and what one is worth in operations of a product.
_SHARED_VALUES, _VALUE = 400_000, 100.0

# What stands for targets, labels or weights that there are not.
_NONE: dict[int, Array] = {4: np.empty(0, np.float32), 8: np.empty(0, np.float64)}
_NO_LABELS = np.empty(0, np.int64)

# Workspaces that a thread keeps for its next query or gradient.
_WORKSPACES = 4

_local = threading.local()


def _aligned(
    size: int, dtype: np.dtype[Any], new: Callable[[int, np.dtype[Any]], Array] = np.empty
) -> Array:
    raw = new(size + _ALIGNMENT // dtype.itemsize, dtype)
    return raw[(-raw.ctypes.data % _ALIGNMENT) // dtype.itemsize :][:size]


def _panel(dtype: np.dtype[Any]) -> Array:
    """Return this thread's panel for the matrix product; it is made once."""
    try:
        panel: Array = _local.panels[dtype.itemsize]
    except AttributeError:
        types: list[np.dtype[Any]] = [np.dtype(np.float32), np.dtype(np.float64)]
        _local.panels = {t.itemsize: _aligned(PANEL_BYTES // t.itemsize, t) for t in types}
        panel = _local.panels[dtype.itemsize]
    return panel


def _scratch(dtype: np.dtype[Any]) -> Array:
    """Return memory for two lines of a block, where the panel is in use."""
    return np.empty(2 * COLUMNS, dtype)


class _Memory:
    """The memory of an array, offered as writable."""

    def __init__(self, A: Array) -> None:
        self.owner = A
        interface = A.__array_interface__
        self.__array_interface__ = {**interface, "data": (interface["data"][0], False)}


def _plain(A: Array) -> Array:
    """Return A as an array that the compiled signatures know: aligned, and not read-only.

    Numba would compile each kernel again for read-only and for unaligned arrays. No kernel writes
    to an input, so a read-only one is passed as a view that does not say so.
    """
    if A.flags.behaved:
        return A
    if not A.flags.aligned:
        return A.copy(order="K")
    return np.asarray(_Memory(A))


def _row_major(A: Array) -> Array:
    """Return A in C order, plain."""
    return A if A.flags.carray else np.ascontiguousarray(_plain(A))


def _stored(A: Array) -> tuple[Array, bool]:
    """Return A in C order and False, or its transpose and True where that is contiguous.

    Any other layout is copied.
    """
    if A.flags.carray:
        return A, False
    A = _plain(A)
    if A.flags.c_contiguous:
        return A, False
    if A.flags.f_contiguous:
        return A.T, True
    return np.ascontiguousarray(A), False


def _apart(out: Array, inputs: tuple[Array, ...]) -> bool:
    """Return whether no input shares memory with ``out``."""
    for A in inputs:
        # Two arrays that own their memory are apart; NumPy's answer takes longer.
        views = out.base is not None or A.base is not None
        if A is out or (views and np.may_share_memory(out, A)):
            return False
    return True


def _into(out: Array, inputs: tuple[Array, ...], rows: bool, run: Callable[[Array], None]) -> None:
    """Let ``run`` fill ``out``, through a copy where it overlaps an input or is laid out otherwise.

    ``run`` is given the array in C order: the transpose of the result where ``rows``.
    """
    target = out.T if rows else out
    if target.flags.carray and _apart(out, inputs):
        run(target)
    else:
        copy = np.empty(target.shape, out.dtype)
        run(copy)
        target[...] = copy


def _work(n: int, k: int, m: int) -> float:
    """Return the operations of a product (n, k) (k, m), and what its traffic is worth in them."""
    return 2.0 * n * k * m + 16.0 * (n + k) * m


def _by_examples(part: Callable[[Array, int, int], None], out: Array, weights: int) -> None:
    """Let threads fill ``out``, (n, m), by ranges of its columns; ``weights`` is the size of W."""
    n, m = out.shape
    pieces = ranges(m, _work(n, weights // n, m), _TILE_COLUMNS)
    if len(pieces) == 1:
        part(out, 0, m)
        return
    share([partial(part, out, begin, end) for begin, end in pieces])


def _elementwise(
    out: Array, inputs: tuple[Array, ...], run: Callable[..., None], whole: bool = False
) -> None:
    """Let ``run(out, *inputs, rows)`` fill ``out`` from inputs that share one memory order.

    Unless the ``whole`` array is needed at once, threads share the values of a large one.
    """
    if out.ndim != 2:
        inputs = tuple(A.reshape(1, -1) for A in inputs)
        if not out.flags.c_contiguous:
            copy = np.empty(out.shape, out.dtype)
            _elementwise(copy, inputs, run, whole)
            out[...] = copy
            return
        out = out.reshape(1, -1)
    first, rows = _stored(inputs[0])
    rest = [_row_major(A.T if rows else A) for A in inputs[1:]]
    if whole or out.size < _SHARED_VALUES:
        _into(out, inputs, rows, lambda target: run(target, first, *rest, rows))
        return

    def share_out(target: Array) -> None:
        # Value by value: any cut of the memory will do.
        flat = [A.reshape(-1) for A in (target, first, *rest)]
        pieces = ranges(target.size, _VALUE * target.size, 1024)
        share([partial(run, *(A[None, b:e] for A in flat), rows) for b, e in pieces])

    _into(out, inputs, rows, share_out)


def linear_forward(Z: Array, A_prev: Array, W: Array, b: Array) -> None:
    stored, rows = _stored(A_prev)
    w, bias = _row_major(W), _row_major(b).reshape(-1)

    def part(out: Array, begin: int, end: int) -> None:
        linear.linear_forward(out, stored, rows, w, bias, begin, end, _panel(out.dtype))

    _into(Z, (A_prev, W, b), False, lambda out: _by_examples(part, out, W.size))


def activation_forward(A: Array, Z: Array, activation: str) -> None:
    code = ACTIVATIONS.index(activation)
    _elementwise(
        A,
        (Z,),
        lambda A, Z, rows: activations.activation_forward(A, Z, code, rows, _panel(Z.dtype)),
        activation == "softmax",
    )


def layer_forward(A: Array, Z: Array, A_prev: Array, W: Array, b: Array, activation: str) -> None:
    stored, rows = _stored(A_prev)
    w, bias, code = _row_major(W), _row_major(b).reshape(-1), ACTIVATIONS.index(activation)

    def part(Z: Array, begin: int, end: int) -> None:
        panel, scratch = _panel(Z.dtype), _scratch(Z.dtype)
        linear.layer_forward(A, Z, stored, rows, w, bias, code, begin, end, panel, scratch)

    _by_examples(part, Z, W.size)


def activation_derivative(D: Array, Z: Array, activation: str) -> None:
    code = ACTIVATIONS.index(activation)
    _elementwise(
        D,
        (Z,),
        lambda D, Z, rows: activations.activation_derivative(D, Z, code, rows, _panel(Z.dtype)),
        activation == "softmax",
    )


def activation_backward(dZ: Array, dA: Array, Z: Array, activation: str) -> None:
    code = ACTIVATIONS.index(activation)
    _elementwise(
        dZ,
        (dA, Z),
        lambda dZ, dA, Z, rows: activations.activation_backward(
            dZ, dA, Z, code, rows, _panel(Z.dtype)
        ),
        activation == "softmax",
    )


def output_gradient(dZ: Array, A: Array, Y: Array) -> None:
    _elementwise(dZ, (A, Y), lambda dZ, A, Y, rows: losses.output_gradient(dZ, A, Y))


def hidden_gradient(dZ: Array, W_next: Array, dZ_next: Array, Z: Array, activation: str) -> None:
    stored, rows = _stored(dZ_next)
    w, z = _row_major(W_next), _row_major(Z)
    code = ACTIVATIONS.index(activation)

    def part(out: Array, begin: int, end: int) -> None:
        panel, scratch = _panel(out.dtype), _scratch(out.dtype)
        beside = np.empty(len(out) * COLUMNS if code == SOFTMAX else 0, out.dtype)
        told = w, stored, rows, z, code, begin, end, panel, scratch, beside
        linear.hidden_gradient(out, *told)

    _into(dZ, (W_next, dZ_next, Z), False, lambda out: _by_examples(part, out, w.size))


def weight_gradient(dW: Array, dZ: Array, A_prev: Array) -> None:
    dz, dz_rows = _stored(dZ)
    stored, rows = _stored(A_prev)

    def run(out: Array) -> None:
        def part(units: tuple[int, int], inputs: tuple[int, int]) -> None:
            panel = _panel(out.dtype)
            linear.weight_gradient(out, dz, dz_rows, stored, rows, units, inputs, panel)

        n_out, n_in = out.shape
        work = _work(n_out, n_in, dZ.shape[1])
        # Inputs are shared out where there are enough: each part then packs its own lines only.
        if n_in >= n_out or n_in >= 4 * _TILE_COLUMNS:
            pieces = ranges(n_in, work, _TILE_COLUMNS if n_in > _TILE_COLUMNS else 16)
            share([partial(part, (0, n_out), piece) for piece in pieces])
        else:
            pieces = ranges(n_out, work, TILE_ROWS)
            share([partial(part, piece, (0, n_in)) for piece in pieces])

    _into(dW, (dZ, A_prev), False, run)


def bias_gradient(db: Array, dZ: Array) -> None:
    dz, rows = _stored(dZ)
    total = np.empty(len(db))
    _into(db, (dZ,), False, lambda out: linear.bias_gradient(out.reshape(-1), dz, rows, total))


def linear_backward(
    dA_prev: Array, dW: Array, db: Array, dZ: Array, A_prev: Array, W: Array
) -> None:
    dz, rows = _stored(dZ)
    w = _row_major(W)

    def part(out: Array, begin: int, end: int) -> None:
        linear.input_gradient(out, w, dz, rows, begin, end, _panel(out.dtype))

    _by_examples(part, dA_prev, W.size)
    weight_gradient(dW, dZ, A_prev)
    bias_gradient(db, dZ)


def cost(A: Array, Y: Array, loss: str, delta: float) -> float:
    a, rows = _stored(A)
    y = _row_major(Y.T if rows else Y)
    total = losses.cost(a, y, LOSSES.index(loss), delta, _scratch(a.dtype))
    return float(total / A.shape[1])


def gradient_step(parameters: Array, gradient: Array, learning_rate: float) -> None:
    _into(
        parameters,
        (gradient,),
        False,
        lambda out: _step(out, parameters, _row_major(gradient), learning_rate),
    )


def _step(out: Array, parameters: Array, gradient: Array, learning_rate: float) -> None:
    if out is not parameters:
        out[...] = parameters
    optimizers.gradient_step(out.reshape(-1), gradient.reshape(-1), learning_rate)


# ------------------------------------------------------------------ networks


def _flat(A: Array) -> tuple[Array, int, int]:
    """Return the flat memory of a matrix, and its strides from row to row and column to column."""
    stored, rows = _stored(A)
    if rows:
        return stored.reshape(-1), 1, stored.shape[1]
    return stored.reshape(-1), stored.shape[1], 1


def _examples(X: Array, Y: Array, sample_weight: Array | None) -> Examples:
    none = _NONE[X.dtype.itemsize]
    if Y.ndim == 1:
        labels, targets = _row_major(Y), (none, 0, 0)
    else:
        labels, targets = _NO_LABELS, _flat(Y)
    weights = none if sample_weight is None else _row_major(sample_weight)
    return Examples(X.shape[1], *_flat(X), *targets, labels, weights)


def _block_width(network: Description, itemsize: int) -> int:
    """Return how many examples may be in flight together."""
    fits = _BLOCK_BYTES // (2 * sum(network.sizes) * itemsize)
    return min(max(_SMALLEST_BLOCK, fits), _LARGEST_BLOCK)


def _width(network: Description, dtype: np.dtype[Any], at_once: int) -> int:
    """Return how many of ``at_once`` examples of a query are in flight together."""
    if at_once == 1:
        return 1  # one example is a column of contiguous values, in every layer
    width = min(_block_width(network, dtype.itemsize), at_once)
    return _up(width, _ALIGNMENT // dtype.itemsize)  # whole vectors, so that lines are aligned


def _up(n: int, step: int) -> int:
    """Return the multiple of ``step`` from n on."""
    return -(-n // step) * step


@lru_cache(maxsize=256)
def _cut(network: Description, itemsize: int, batch: int) -> Cut:
    """Return how batches of this size are cut; the number of threads has no say in it."""
    lanes = _ALIGNMENT // itemsize
    units, weights = sum(network.sizes[1:]), network.n_parameters
    operations = 6.0 * weights * batch
    width = min(_block_width(network, itemsize), batch)
    shared = operations >= 2 * _TICKET
    kept = 2 * units * batch <= _KEPT * weights if shared else batch <= width
    if shared:
        most = _LARGEST_BLOCK if kept else width
        width = min(max(_SMALLEST_BLOCK, -(-batch // _TICKETS)), most, batch)
    width = _up(width, lanes) if batch > 1 else 1
    if kept:
        return Cut(batch, width, -(-batch // width), 0, _parts(network, itemsize, batch))
    examples = max(-(-batch // (2 * _TICKETS)), int(_TICKET / (6.0 * weights)))
    return Cut(batch, width, 0, _up(examples, width), np.empty((0, 5), np.int64))


def _parts(network: Description, itemsize: int, batch: int) -> Array:
    """Return the parts in which gradients are computed: layer, rows from and to, columns."""
    tile = TILE_VECTORS * (VECTOR_BYTES // itemsize)
    found = []
    for l, (n_in, n) in enumerate(pairwise(network.sizes)):
        count = min(int(2.0 * n * n_in * batch / _TICKET), _TICKETS)
        rows = columns = 1
        # Inputs are shared out where there are enough: each part then packs its own lines only.
        if count > 1 and n_in >= max(n, 4 * tile):
            columns = count
        elif count > 1:
            rows = min(count, n // (4 * TILE_ROWS))
        down = _up(-(-n // max(rows, 1)), TILE_ROWS) if rows > 1 else n
        across = _up(-(-n_in // columns), tile) if columns > 1 else n_in
        found += [
            (l, top, min(top + down, n), left, min(left + across, n_in))
            for top in range(0, n, down)
            for left in range(0, n_in, across)
        ]
    return np.array(found, np.int64)


class _Space:
    """The memory for batches of one size, and how they are cut."""

    def __init__(
        self, network: Description, dtype: np.dtype[Any], batch: int, gathered: bool
    ) -> None:
        self.network, self.dtype, self.gathered = network, dtype, gathered
        self.architecture = architecture(network)
        self.cut = cut = _cut(network, dtype.itemsize, batch)
        pieces = 0 if cut.slots else -(-batch // cut.piece)
        self.tickets = cut.slots or pieces
        # Also the squares of each range of the gradient, where it is clipped.
        self.totals = np.zeros(max(self.tickets, -(-network.n_parameters // training.RANGE)))
        self.sums = _zeros(pieces * network.n_parameters, dtype)
        self.slab = self._new_slab()
        self.desk = self._new_desk()
        self._others: list[tuple[Array, Array]] = []

    def _new_slab(self) -> Array:
        cells = self.cut.width * max(1, self.cut.slots)
        sizes = self.network.sizes
        inputs = sizes[0] if self.gathered else 0
        return _zeros(cells * (2 * sum(sizes[1:]) + inputs), self.dtype)

    def _new_desk(self) -> Array:
        sizes = self.network.sizes
        columns = max(sizes[1:]) + sizes[-1] + 3
        return _zeros(PANEL_BYTES // self.dtype.itemsize + columns * self.cut.width, self.dtype)

    def of_helper(self, i: int) -> tuple[Array, Array]:
        """Return the memory of a helper: a slab of its own, unless there is one for all."""
        while len(self._others) <= i:
            slab = self.slab if self.cut.slots else self._new_slab()
            self._others.append((slab, self._new_desk()))
        return self._others[i]


def _run(parameters: Array, task: Task, steps: int, space: _Space, most: int | None) -> float:
    """Let threads do a task, ``most`` at most; return its cost."""
    threads = 1
    if space.tickets > 1:
        threads = min(thread_count(), space.tickets, most or space.tickets)
    if threads == 1:
        told = parameters, task.plain(), steps, space.slab, space.desk, True
        return float(training.train(*told))
    signals = np.zeros(SIGNALS, np.int64)
    told = task._replace(signals=signals).plain()
    J = 0.0

    def lead() -> None:
        nonlocal J
        J = training.train(parameters, told, steps, space.slab, space.desk, True)

    def assist(memory: tuple[Array, Array]) -> None:
        training.train(parameters, told, steps, *memory, False)

    helpers = [partial(assist, space.of_helper(i)) for i in range(threads - 1)]
    try:
        helped(lead, helpers)
    finally:
        # The leader has said so, unless Ctrl-C came before it began.
        signals[DISMISSED] = 1
    return J


def _query_space(network: Description, dtype: np.dtype[Any], width: int) -> QuerySpace:
    """Return the memory for the outputs of blocks of ``width`` examples."""
    widest = max(network.sizes[1:]) * width
    A, T = _zeros(widest, dtype), _zeros(widest, dtype)
    return QuerySpace(width, A, T, _zeros(2 * width, dtype), _panel(dtype))


def _zeros(length: int, dtype: np.dtype[Any]) -> Array:
    # Zeros: the columns beyond a ragged block are computed too, from whatever stands there.
    return _aligned(length, dtype, np.zeros)


def _kept(make: Callable[..., Any], network: Description, dtype: np.dtype[Any], *sizes: Any) -> Any:
    """Return what ``make`` returned for such calls of this thread: none should wait for memory."""
    key = make, network, dtype.itemsize, *sizes
    kept: dict[Any, Any] = _local.__dict__.setdefault("kept", {})
    space = kept.get(key)
    if space is None:
        if len(kept) >= _WORKSPACES:
            del kept[next(iter(kept))]
        space = kept[key] = make(network, dtype, *sizes)
    return space


def network_forward(out: Array, parameters: Array, network: Description, X: Array) -> None:
    m = X.shape[1]
    if m == 1 and out.flags.c_contiguous and _apart(out, (X, parameters)):
        x = np.ascontiguousarray(_plain(X))
        predictor(parameters, network)(x.reshape(-1), out.reshape(-1))
        return
    told, width = architecture(network), _width(network, X.dtype, m)
    plain, (flat, feature, example) = _plain(parameters), _flat(X)

    def part(target: Array, begin: int, end: int) -> None:
        work = _kept(_query_space, network, X.dtype, width)
        query.network_forward(target, plain, told, flat, feature, example, begin, end, work)

    def run(target: Array) -> None:
        pieces = ranges(m, _work(1, plain.size, m), _LARGEST_BLOCK)
        share([partial(part, target, begin, end) for begin, end in pieces])

    _into(out, (X, parameters), False, run)


@lru_cache(maxsize=256)
def _layers(network: Description) -> Array:
    """Return L, n_x, n_1 ... n_y, and the activations' codes."""
    codes = [ACTIVATIONS.index(name) for name in network.activations]
    return np.array([len(codes), *network.sizes, *codes])


def _column_space(network: Description, dtype: np.dtype[Any], width: int) -> Array:
    """Return the memory for one example."""
    return _aligned(2 + 2 * max(network.sizes), dtype)


def predictor(parameters: Array, network: Description) -> Callable[..., Array]:
    """Return the function that answers for one example, a vector, and checks nothing."""
    layers, plain, kernel, empty = _layers(network), _plain(parameters), query.forward_one, np.empty
    n_y, dtype, local = network.sizes[-1], parameters.dtype, threading.local()

    def predict(x: Array, out: Array | None = None) -> Array:
        if out is None:
            out = empty(n_y, dtype)
        try:
            work = local.work
        except AttributeError:
            work = local.work = _kept(_column_space, network, dtype, 1)
        kernel(out, plain, layers, x, work)
        return out

    return predict


_NO_SIGNALS = np.empty(0, np.int64)


def _no_progress(dtype: np.dtype[Any]) -> Progress:
    """Return what stands for a fit where there is none."""
    none, wide = _NONE[dtype.itemsize], _NONE[8]
    return Progress(_NO_LABELS, np.empty(0, np.uint64), _NO_LABELS, wide, wide, wide, none, none)


_NO_PROGRESS = {dtype.itemsize: _no_progress(dtype) for dtype in map(np.dtype, ("f4", "f8"))}


def network_cost(
    parameters: Array,
    network: Description,
    X: Array,
    Y: Array,
    sample_weight: Array | None,
    l1: float,
    l2: float,
    gradient: Array | None = None,
) -> float:
    """Return J, and put its derivatives into ``gradient`` where one is given."""
    task, space = _cost_task(network, X, Y, sample_weight, l1, l2, gradient)
    return _run(_plain(parameters), task, 0, space, None)


def costs(
    parameters: Array, network: Description, X: Array, Y: Array, sample_weight: Array | None
) -> Callable[[], float]:
    """Return the function that returns J without penalties, for this thread to call often."""
    task, space = _cost_task(network, X, Y, sample_weight, 0.0, 0.0, None)
    if space.tickets > 1:
        return partial(_run, parameters, task, 0, space, None)
    told = parameters, task.plain(), 0, space.slab, space.desk, True
    return partial(training.train, *told)


def _cost_task(
    network: Description,
    X: Array,
    Y: Array,
    sample_weight: Array | None,
    l1: float,
    l2: float,
    gradient: Array | None,
) -> tuple[Task, _Space]:
    space: _Space = _kept(_Space, network, X.dtype, X.shape[1], False)
    none = _NONE[X.dtype.itemsize]
    task = Task(
        training.COST if gradient is None else training.GRADIENT,
        space.architecture,
        space.cut,
        _examples(X, Y, sample_weight),
        Rule(0, 0.0, 0.0, False, 0.0, 0.0, 0.0, False, 0.0, l1, l2, 0.0, 0),
        _NO_PROGRESS[X.dtype.itemsize],
        none if gradient is None else gradient,
        space.sums,
        space.totals,
        _NO_SIGNALS,
    )
    return task, space


def trainer(
    parameters: Array,
    network: Description,
    X: Array,
    Y: Array,
    sample_weight: Array | None,
    batch_size: int,
    rule: Rule,
    keep: tuple[int, ...],
    progress: Progress,
    threads: int | None = None,
) -> Any:
    """Return the function that takes that many steps of training.

    With dropout, ``keep`` of 2^32 draws keep a unit of each hidden layer. An order may name some of
    the examples only, and any of them several times: those are what an epoch goes through.
    """
    gathered = progress.order.size > 0
    if gathered:
        # Examples visited in random order should be rows, each one piece of memory: columns are
        # copied once, since gathering them value by value takes longer within one epoch.
        X = np.ascontiguousarray(X.T).T
    space: _Space = _kept(_Space, network, X.dtype, batch_size, gathered)
    examples = _examples(X, Y, sample_weight)
    if gathered:
        examples = examples._replace(m=progress.order.size)
        if len(X) == 1:
            # No step from a feature to the next is taken, but its length decides how products are
            # summed: of a single example it would be 1, and of several it is not.
            examples = examples._replace(X_feature=2)
    task = Task(
        training.STEPS,
        architecture(network, keep),
        space.cut,
        examples,
        rule,
        progress._replace(state=progress.state.reshape(-1)),
        _aligned(network.n_parameters, X.dtype),
        space.sums,
        space.totals,
        _NO_SIGNALS,
    )

    def advance(steps: int) -> None:
        _run(parameters, task, steps, space, threads)

    return advance
