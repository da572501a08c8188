"""Whole networks on the GPU: outputs, costs, gradients and fits against the reference and the CPU.

What is computed once (outputs, costs, gradients) may be off by three times the largest error of the
plain formulas in the same type, and 8 roundings of the largest value: the rule of
``tests/test_network.py``. A fit is held against one in float64 from the same start: the distance of
the parameters, as a vector, may be three times that of the plain formulas' fit in the same type,
and 16 roundings. As a vector, because a step of Adam divides each gradient by its own size, so that
where a gradient nearly cancels the last bits decide: which entries those are differs between two
correct programs, how many does not. In float64 there is no wider type to fit in, and the distance
may be 2,000 roundings, as in ``tests/test_training_options.py``. The fits are short and their rates
small, so that errors add up and do not multiply.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
import pytest
from gpu_machine import Strided, sized, to_host
from layouts import laid_out

import fastnn
from fastnn.backends import numpy as numpy_backend
from fastnn.kernels import reference
from fastnn.kernels.codes import ACTIVATIONS, LOSSES
from fastnn.training import fit

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("on_gpu")]

FLOATS = (np.float32, np.float64)
both_types = pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.__name__)

M = sized(1000, 19)
SIZES = sized([33, 70, 41, 3], [5, 7, 4, 3])
OUTPUTS = {
    "binary_cross_entropy": "sigmoid",
    "cross_entropy": "softmax",
    "poisson": "exp",
    "squared_error": "identity",
    "absolute_error": "identity",
    "huber": "tanh",
}


def network(loss="squared_error", hidden="relu", dtype=np.float32, sizes=None, **told):
    sizes = sizes or SIZES
    activations = [*[hidden] * (len(sizes) - 2), OUTPUTS[loss]]
    return fastnn.Network(sizes, activations, loss, dtype, seed=3, delta=0.3, **told)


def examples(net, m=M, seed=0):
    """Return inputs and targets that suit the network's loss."""
    random = np.random.default_rng(seed)
    X = random.standard_normal((net.sizes[0], m)).astype(net.dtype)
    Y = random.random((net.sizes[-1], m))
    if net.loss == "cross_entropy":
        Y /= Y.sum(axis=0)
    if net.loss == "poisson":
        Y = np.floor(4 * Y)
    return X, Y.astype(net.dtype)


def weights(net, m=M):
    return (np.random.default_rng(1).random(m) + 0.5).astype(net.dtype)


def expected(formula, dtype):
    """Return what ``formula(type)`` gives in a wider type, and how far off a result may be."""
    exact = np.asarray(formula(np.float64 if dtype == np.float32 else np.longdouble))
    plain = np.asarray(formula(dtype))
    return exact, (3 * np.abs(plain - exact).max() + 8 * np.finfo(dtype).eps * np.abs(exact).max())


def assert_near(found, told):
    exact, limit = told
    assert np.shape(found) == exact.shape
    assert np.abs(np.asarray(found) - exact).max() <= limit


# ------------------------------------------------------------------ computed once


@both_types
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("hidden", [name for name in ACTIVATIONS if name != "exp"])
def test_outputs_costs_and_gradients(hidden, loss, dtype):
    net = network(loss, hidden, dtype)
    X, Y = examples(net)
    given = weights(net)
    W = given / given.mean()
    told = net.parameters, net.sizes, net.activations
    outputs = expected(lambda kind: reference.network_forward(*told, X, dtype=kind), dtype)
    assert_near(net.forward(X), outputs)
    about = (*told, loss, X, Y, W.astype(dtype), 1e-3, 1e-2)
    J, gradient = net.gradient(X, Y, given, l1=1e-3, l2=1e-2)

    def formula(kind):
        return reference.network_gradient(*about, delta=0.3, dtype=kind)

    assert_near(gradient, expected(lambda kind: formula(kind)[1], dtype))
    cost = expected(lambda kind: formula(kind)[0], dtype)
    assert_near(J, cost)
    assert_near(net.cost(X, Y, given, l1=1e-3, l2=1e-2), cost)


@both_types
@pytest.mark.parametrize("output", ACTIVATIONS)
def test_every_output_of_squared_error(output, dtype):
    net = fastnn.Network(SIZES, ["tanh", "relu", output], "squared_error", dtype, seed=4)
    X, Y = examples(net)
    about = net.parameters, net.sizes, net.activations, net.loss, X, Y
    for i, found in enumerate(net.gradient(X, Y)):
        told = expected(lambda kind: reference.network_gradient(*about, dtype=kind)[i], dtype)
        assert_near(found, told)


# The last of them is more than one block of a GPU does at a time; wide layers have few examples,
# since the reference has no fast product for its longest type.
WIDE, NARROW = sized(
    (
        [[784, 512, 10], [300, 65, 4]],
        [[1, 1], [3, 1], [5, 7, 3], [64, 33, 17, 10], [32, 64, 64, 1], [82, 128, 1]],
    ),
    ([[9, 14, 2]], [[1, 1], [5, 7, 3], [9, 4, 5, 2]]),
)
EXAMPLES = [(sizes, m) for sizes in WIDE for m in sized((1, 257), (3,))]
EXAMPLES += [(sizes, m) for sizes in NARROW for m in sized((1, 15, 64, 257, 1500, 40_001), (1, 9))]


@both_types
@pytest.mark.parametrize(("sizes", "m"), EXAMPLES, ids=str)
def test_shapes_and_layouts(sizes, m, dtype):
    loss = "cross_entropy" if sizes[-1] > 1 else "binary_cross_entropy"
    net = network(loss, "tanh", dtype, sizes)
    net.parameters[...] = np.random.default_rng(2).standard_normal(net.parameters.size) / max(sizes)
    X, Y = examples(net, m)
    told = net.parameters, net.sizes, net.activations
    outputs = expected(lambda kind: reference.network_forward(*told, X, dtype=kind), dtype)
    gradient = expected(
        lambda kind: reference.network_gradient(*told, loss, X, Y, dtype=kind)[1], dtype
    )
    for layout in ("C", "F", "every second column", "F slice"):
        x, y = laid_out(X, layout), laid_out(Y, layout)
        assert_near(net.forward(x), outputs)
        assert_near(net.gradient(x, y)[1], gradient)


@both_types
def test_costs_of_logits_that_leave_the_range_of_exp(dtype):
    for loss in ("binary_cross_entropy", "cross_entropy"):
        net = network(loss, dtype=dtype, sizes=[2, 3])
        net.parameters[...] = 1e4
        X = np.array([[1, -1, 1], [1, -1, -1]], dtype)
        Y = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]], dtype)
        about = net.parameters, net.sizes, net.activations, loss, X, Y
        J, gradient = net.gradient(X, Y)
        assert np.isfinite(J) and np.isfinite(gradient).all()
        assert_near(J, expected(lambda kind: reference.network_cost(*about, dtype=kind), dtype))


def test_predictions():
    for loss in ("cross_entropy", "binary_cross_entropy", "squared_error"):
        net = network(loss)
        X, _ = examples(net)
        A = reference.network_forward(net.parameters, net.sizes, net.activations, X)
        found = net.predict(X)
        if loss == "cross_entropy":
            top = np.sort(A, axis=0)
            sure = top[-1] - top[-2] > 1e-5
            assert np.array_equal(found[sure], A.argmax(axis=0)[sure])
        elif loss == "binary_cross_entropy":
            sure = np.abs(A - 0.5) > 1e-5
            assert np.array_equal(found[sure], (A >= 0.5)[sure])
        else:
            np.testing.assert_allclose(found, A, rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------ fits


class Fit(NamedTuple):
    """What a fit is told."""

    optimizer: fastnn.optimizers.Optimizer = fastnn.SGD(0.01, 0.5)
    batch: int = sized(130, 8)
    loss: str = "squared_error"
    hidden: str = "relu"
    rows: bool = False
    labels: bool = False
    weighted: bool = False
    options: dict = {}


FITS = {
    **{
        type(rule).__name__ + (", Nesterov" if getattr(rule, "nesterov", False) else ""): Fit(rule)
        for rule in (
            fastnn.SGD(0.01),
            fastnn.SGD(0.01, 0.9, True),
            fastnn.RMSprop(0.001),
            fastnn.Adam(0.001),
            fastnn.AdamW(0.001, weight_decay=0.1),
        )
    },
    **{loss: Fit(loss=loss) for loss in LOSSES},
    **{f"{name}, hidden": Fit(hidden=name) for name in ACTIVATIONS if name not in ("relu", "exp")},
    "rows": Fit(rows=True),
    "one batch": Fit(batch=M),
    "single examples": Fit(fastnn.SGD(0.0005), 1),
    "batches of one size": Fit(batch=M // 2),
    "labels": Fit(loss="cross_entropy", labels=True),
    "weights": Fit(weighted=True),
    "penalties": Fit(options={"l1": 1e-3, "l2": 1e-2}),
    "dropout": Fit(options={"dropout": 0.3}),
    "dropout by layer": Fit(rows=True, options={"dropout": (0.5, 0.1)}),
    "clipping": Fit(options={"clip_norm": 0.05}),
    "schedule": Fit(options={"schedule": fastnn.WarmUp(1, fastnn.CosineDecay(2))}),
    "in order": Fit(options={"shuffle": False}),
    "everything": Fit(
        fastnn.Adam(0.001),
        loss="cross_entropy",
        labels=True,
        weighted=True,
        options={"dropout": 0.2, "clip_norm": 0.1, "l1": 1e-4, "l2": 1e-3},
    ),
}


def trained(told, dtype, kind=None, epochs=2, **network_options):
    """Return the parameters and costs after a fit: on the GPU, or by the formulas in a type."""
    of = np.float64 if kind == np.float64 else dtype
    net = network(told.loss, told.hidden, of, **network_options)
    start = network(told.loss, told.hidden, dtype).parameters
    net.parameters = start.astype(of)
    X, Y = examples(network(told.loss, told.hidden, dtype))
    given = weights(net).astype(dtype) if told.weighted else None
    if told.labels:
        Y = Y.argmax(axis=0)
    elif told.rows:
        Y = np.asfortranarray(Y)
    X = np.asfortranarray(X) if told.rows else X
    X, Y = X.astype(of, copy=False), Y if told.labels else Y.astype(of, copy=False)
    given = None if given is None else given.astype(of)
    more = {} if kind is None else {"trainer": partial(numpy_backend.trainer, dtype=kind)}
    history = fit(
        net, X, Y, epochs=epochs, batch_size=told.batch, optimizer=told.optimizer,
        sample_weight=given, **told.options, **more,
    )  # fmt: skip
    return net.parameters, np.asarray(history.cost), start


def assert_fits_alike(found, told, dtype, epochs=2):
    exact, costs, start = trained(told, dtype, np.float64, epochs)
    eps = np.finfo(dtype).eps
    if dtype == np.float32:
        plain = trained(told, dtype, np.float32, epochs)[0]
        own = float(np.linalg.norm(plain.astype(np.float64) - exact))
        limit = 3 * own + 16 * eps * float(np.linalg.norm(exact))
        within = 100 * eps
    else:
        limit = within = 2000 * eps * float(np.linalg.norm(exact))
    parameters, ours = found
    assert np.linalg.norm(parameters - start) > 100 * limit, "the fit went nowhere: it tests little"
    assert np.linalg.norm(parameters.astype(np.float64) - exact) <= limit
    np.testing.assert_allclose(ours, costs, rtol=max(within, 100 * eps))


@both_types
@pytest.mark.parametrize("told", FITS.values(), ids=FITS)
def test_fits_equal_those_of_the_reference(told, dtype):
    parameters, costs, _ = trained(told, dtype)
    assert_fits_alike((parameters, costs), told, dtype)


@pytest.mark.compiled
@pytest.mark.parametrize("name", ["Adam", "everything", "rows"])
def test_fits_equal_those_of_the_cpu(name):
    told = FITS[name]
    ours, costs, _ = trained(told, np.float32)
    theirs, expected, _ = trained(told, np.float32, device="cpu")
    # Both are within the limit of the fit in float64, so within twice that of each other.
    exact = trained(told, np.float32, np.float64)[0]
    plain = trained(told, np.float32, np.float32)[0].astype(np.float64)
    eps = np.finfo(np.float32).eps
    limit = 3 * np.linalg.norm(plain - exact) + 16 * eps * np.linalg.norm(exact)
    assert np.linalg.norm(ours.astype(np.float64) - theirs) <= 2 * limit
    np.testing.assert_allclose(costs, expected, rtol=200 * eps)


@pytest.mark.compiled
@both_types
def test_outputs_costs_and_gradients_equal_those_of_the_cpu(dtype):
    for sizes in sized(([32, 64, 64, 1], [784, 128, 10]), ([5, 7, 1], [9, 4, 3])):
        loss = "cross_entropy" if sizes[-1] > 1 else "binary_cross_entropy"
        nets = [network(loss, dtype=dtype, sizes=sizes, device=d) for d in ("cuda", "cpu")]
        X, Y = examples(nets[0])
        (ours, gradient), (theirs, expected) = (net.gradient(X, Y) for net in nets)
        eps = float(np.finfo(dtype).eps)
        # Sums of up to M products in another order, at the size of the largest entry.
        np.testing.assert_allclose(
            gradient, expected, rtol=0, atol=np.sqrt(M) * 4 * eps * np.abs(expected).max()
        )
        assert ours == pytest.approx(theirs, rel=100 * eps)
        first, second = (net.forward(X) for net in nets)
        np.testing.assert_allclose(first, second, rtol=0, atol=100 * eps)


def test_a_network_learns():
    X, y = fastnn.datasets.xor()
    net = fastnn.Network([2, 8, 1], ["tanh", "sigmoid"], seed=1)
    history = net.fit(X, y, epochs=sized(500, 60), optimizer=fastnn.Adam(0.05))
    assert (net.predict(X) == y).all()
    assert history.cost[-1] < history.cost[0]


# ------------------------------------------------------------------ arrays on the GPU


def test_examples_on_the_gpu_give_the_bits_of_those_of_the_host():
    net = network("cross_entropy")
    X, Y = examples(net)
    for layout in ("C", "F"):
        x, y = laid_out(X, layout), laid_out(Y, layout)
        there = Strided(x), Strided(y)
        found = net.forward(there[0])
        assert not isinstance(found, np.ndarray)
        assert to_host(found).tobytes() == net.forward(x).tobytes()
        assert net.cost(*there) == net.cost(x, y)
        (ours, gradient), (theirs, expected) = net.gradient(*there), net.gradient(x, y)
        assert ours == theirs
        assert to_host(gradient).tobytes() == expected.tobytes()
        assert np.array_equal(there[0].host(), X) and np.array_equal(there[1].host(), Y)


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("labels", [False, True])
def test_fits_on_the_gpu_give_the_bits_of_fits_of_the_host(labels, rows):
    found = []
    for move in (lambda array: array, Strided):
        net = network("cross_entropy")
        X, Y = examples(net)
        X, Y = (np.asfortranarray(X), np.asfortranarray(Y)) if rows else (X, Y)
        Y = Y.argmax(axis=0) if labels else Y
        net.fit(move(X), move(Y), 2, sized(128, 8), fastnn.Adam(0.01), dropout=0.2)
        found.append(net.parameters.tobytes())
    assert found[0] == found[1]


def test_two_fits_that_go_on_equal_one():
    optimizer, batch = fastnn.Adam(0.01), sized(128, 8)
    one, two = network(), network()
    X, Y = examples(one)
    one.fit(X, Y, 4, batch, optimizer)
    history = two.fit(X, Y, 2, batch, optimizer)
    two.fit(X, Y, 2, batch, optimizer, after=history)
    assert one.parameters.tobytes() == two.parameters.tobytes()


def test_validation_and_patience():
    net = network()
    X, Y = examples(net)
    history = net.fit(X, Y, sized(30, 6), sized(100, 8), validation=(X, -Y), patience=2)
    assert history.stopped == "patience"
    best = int(np.argmin(history.validation_cost))
    assert net.cost(X, -Y) == history.validation_cost[best]


def test_wrong_examples_are_refused_as_on_the_cpu():
    net = network("cross_entropy")
    X, Y = examples(net)
    with pytest.raises(ValueError, match="but the network has"):
        net.forward(X[1:])
    with pytest.raises(TypeError, match="float64"):
        net.forward(X.astype(np.float64))
    with pytest.raises(ValueError, match="NaN"):
        net.cost(X, Y * np.nan)
    with pytest.raises(ValueError, match="label"):
        net.fit(X, np.full(M, SIZES[-1]), 1)
