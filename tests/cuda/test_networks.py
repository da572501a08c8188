"""Whole networks on a simulated GPU: answers, cost, gradient and training.

Held against the reference in float64, and, where training shuffles or draws, against the CPU. The
shapes cross the borders of blocks, pieces and batches, which are small in the simulator.
"""

from __future__ import annotations

import gc
import importlib
import weakref

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs numba-cuda: tox -e cudasim")

import fastnn
from fastnn import schedules
from fastnn.kernels import reference
from fastnn.kernels.codes import ACTIVATIONS

pytestmark = pytest.mark.simulator

FLOATS = (np.float32, np.float64)
both_types = pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.__name__)

# One layer, a hidden one, several; widths that are not multiples of anything; and a network that
# is too wide for one block of threads, and goes layer by layer.
SMALL = ([1, 1], [3, 2], [5, 7, 1], [3, 5, 4, 2])
WIDE = [11, 3, 2]
SIZES = (*SMALL, WIDE)


def network(sizes, hidden="tanh", output=None, loss=None, dtype=np.float32, **options):
    """Return a network whose biases are not zero."""
    output = output or ("sigmoid" if sizes[-1] == 1 else "softmax")
    names = [hidden] * (len(sizes) - 2) + [output]
    net = fastnn.Network(sizes, names, loss, dtype, seed=3, **options)
    random = np.random.default_rng(sum(sizes))
    net.parameters = net.parameters + 0.2 * random.standard_normal(net.parameters.size).astype(
        dtype
    )
    return net


def examples(net, m, rows=False):
    """Return X, Y and weights."""
    random = np.random.default_rng(m)
    n_x, n_y = net.sizes[0], net.sizes[-1]
    X = random.standard_normal((m, n_x)).astype(net.dtype).T
    if not rows:
        X = np.ascontiguousarray(X)
    if net.activations[-1] == "softmax" and net.loss == "cross_entropy":
        Y = random.integers(0, n_y, m)
    else:
        Y = random.integers(0, 2, (n_y, m)).astype(net.dtype)
    return X, Y, random.uniform(0.5, 2, m)


def expected(net, X, Y, weights=None, l1=0.0, l2=0.0):
    """Return J and its gradient by the reference in float64, and the size of their terms."""
    if Y.ndim == 1:
        Y = np.eye(net.sizes[-1])[:, Y]
    if weights is not None:
        weights = weights / weights.mean()
    about = net.sizes, net.activations, net.loss, X, Y, weights, l1, l2
    return reference.network_gradient(net.parameters, *about, delta=net.delta)


def tolerance(net):
    """Return some roundings: every value here is a sum of at most some hundred of size 1."""
    return 60 * float(np.finfo(net.dtype).eps)


@pytest.fixture(autouse=True)
def on_cuda():
    """Compute on the simulated GPU."""
    with fastnn.use_device("cuda"):
        yield


@pytest.mark.parametrize("rows", [False, True], ids=["columns", "rows"])
@pytest.mark.parametrize("m", [1, 7, 8, 9, 35])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@both_types
def test_forward_cost_and_gradient(sizes, dtype, m, rows):
    net = network(sizes, dtype=dtype)
    X, Y, weights = examples(net, m, rows)
    A = net.forward(X)
    found = reference.network_forward(net.parameters, net.sizes, net.activations, X)
    np.testing.assert_allclose(A, found, rtol=0, atol=tolerance(net))
    J, gradient = net.gradient(X, Y, weights, l1=0.01, l2=0.1)
    wanted = expected(net, X, Y, weights, 0.01, 0.1)
    assert J == pytest.approx(wanted[0], abs=tolerance(net) * 10)
    np.testing.assert_allclose(gradient, wanted[1], rtol=0, atol=tolerance(net))
    assert net.cost(X, Y, weights, l1=0.01, l2=0.1) == J


@pytest.mark.parametrize("sizes", [[3, 5, 4, 2], WIDE], ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@both_types
def test_every_hidden_activation(activation, dtype, sizes):
    net = network(sizes, activation, dtype=dtype)
    X, Y, _ = examples(net, 11)
    J, gradient = net.gradient(X, Y)
    wanted = expected(net, X, Y)
    # exp of exp: values of some hundreds
    size = max(1, np.abs(wanted[1]).max())
    assert pytest.approx(wanted[0], rel=1e-5) == J
    np.testing.assert_allclose(gradient, wanted[1], rtol=0, atol=size * tolerance(net))


OUTPUTS = [
    ("sigmoid", "binary_cross_entropy"),
    ("softmax", "cross_entropy"),
    ("exp", "poisson"),
    *((output, "squared_error") for output in ACTIVATIONS),
    ("identity", "absolute_error"),
    ("softmax", "absolute_error"),
    ("identity", "huber"),
    ("tanh", "huber"),
]


@pytest.mark.parametrize("sizes", [[4, 3], [3, 4, 5], WIDE], ids=str)
@pytest.mark.parametrize(("output", "loss"), OUTPUTS)
@both_types
def test_every_output_and_loss(output, loss, dtype, sizes):
    net = network(sizes, output=output, loss=loss, dtype=dtype, delta=0.3)
    X, Y, weights = examples(net, 13)
    J, gradient = net.gradient(X, Y, weights)
    wanted = expected(net, X, Y, weights)
    size = max(1, np.abs(wanted[1]).max())
    assert pytest.approx(wanted[0], rel=1e-5) == J
    np.testing.assert_allclose(gradient, wanted[1], rtol=0, atol=size * tolerance(net))


def test_sure_and_wrong():
    net = fastnn.Network([1, 1], ["sigmoid"])
    net.parameters = [1e4, 0]
    assert net.cost(np.ones((1, 2), np.float32), [0, 0]) == 1e4
    net = fastnn.Network([1, 2], ["softmax"])
    net.parameters = [1e4, -1e4, 0, 0]
    assert net.cost(np.ones((1, 2), np.float32), [1, 1]) == 2e4


# ------------------------------------------------------------------ training

STEPS = [
    {"optimizer": fastnn.SGD(0.1)},
    {"optimizer": fastnn.SGD(0.1, momentum=0.9, nesterov=True), "l1": 0.01},
    {"optimizer": fastnn.SGD(0.1, momentum=0.9), "l2": 0.1, "clip_norm": 0.05},
    {"optimizer": fastnn.RMSprop(0.01), "schedule": schedules.ExponentialDecay(0.5)},
    {"optimizer": fastnn.Adam(0.02), "dropout": 0.3},
    {"optimizer": fastnn.AdamW(0.02, weight_decay=0.1), "clip_norm": 10.0, "dropout": 0.5},
    {"optimizer": fastnn.Adam(0.02), "shuffle": False},
    {"optimizer": fastnn.SGD(0.1), "shuffle": lambda epoch: np.arange(30)[::-1] // 2 + epoch},
]


def trained(device, sizes, dtype, m, batch_size, options, rows=False, epochs=3, weighted=True):
    net = network(sizes, dtype=dtype)
    X, Y, weights = examples(net, m, rows)
    with fastnn.use_device(device):
        history = net.fit(
            X, Y, epochs=epochs, batch_size=batch_size,
            sample_weight=weights if weighted else None, **options,
        )  # fmt: skip
    return net.parameters, history


def compare(ours, theirs, dtype):
    # Adam's quotient may turn the rounding of a small gradient into a full one.
    tolerance = 3e4 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=0, atol=tolerance)
    np.testing.assert_allclose(ours[1].cost, theirs[1].cost, rtol=tolerance)
    mine, other = ours[1]._momentum, theirs[1]._momentum
    assert mine.steps == other.steps
    assert np.array_equal(mine.order, other.order)
    assert np.array_equal(mine.random, other.random)
    np.testing.assert_allclose(mine.moments, other.moments, rtol=0, atol=tolerance)


@pytest.mark.parametrize("sizes", [[3, 2], [3, 5, 4, 2], WIDE], ids=str)
@pytest.mark.parametrize("options", STEPS, ids=lambda o: "-".join(map(str, o)))
def test_fit_as_on_the_cpu(options, sizes):
    # 30 examples in batches of 9: three whole ones and a rest.
    ours, theirs = (trained(d, sizes, np.float32, 30, 9, options) for d in ("cuda", "cpu"))
    compare(ours, theirs, np.float32)


@pytest.mark.parametrize("rows", [False, True], ids=["columns", "rows"])
@pytest.mark.parametrize(("m", "batch_size"), [(1, None), (30, None), (9, 4), (40, 20)])
@pytest.mark.parametrize("sizes", [[3, 5, 1], WIDE], ids=str)
def test_fit_of_every_batch(sizes, m, batch_size, rows):
    options = {"optimizer": fastnn.Adam(0.01)}
    about = sizes, np.float64, m, batch_size, options, rows, 2, False
    compare(trained("cuda", *about), trained("cpu", *about), np.float64)


@pytest.mark.parametrize("sizes", [[3, 5, 1], WIDE], ids=str)
def test_the_same_bits_every_time(sizes):
    first, second = (trained("cuda", sizes, np.float32, 30, 9, {}) for _ in range(2))
    assert first[0].tobytes() == second[0].tobytes()
    assert first[1].cost == second[1].cost


@pytest.mark.parametrize(("batch_size", "clip_norm"), [(7, None), (7, 0.05)])
def test_many_steps_in_one_launch_have_the_bits_of_single_ones(monkeypatch, batch_size, clip_norm):
    networks = importlib.import_module("fastnn.backends.cuda_networks")
    options = {"clip_norm": clip_norm, "l2": 0.1}
    # 7 examples are one piece, whose block of threads needs to wait for no other.
    together = trained("cuda", [3, 5, 1], np.float32, 30, batch_size, options)

    def one_by_one(self, steps, start):
        for _ in range(steps):
            self.once(networks.training.STEPS)

    monkeypatch.setattr(networks.BlockSteps, "take", one_by_one)
    apart = trained("cuda", [3, 5, 1], np.float32, 30, batch_size, options)
    assert together[0].tobytes() == apart[0].tobytes()
    assert together[1].cost == apart[1].cost


def test_a_batch_of_several_pieces_in_one_launch(monkeypatch):
    # One block of threads does the work of several, one piece after another.
    networks = importlib.import_module("fastnn.backends.cuda_networks")
    apart = trained("cuda", [3, 5, 1], np.float32, 30, 23, {})
    monkeypatch.setattr(networks.BlockSteps, "_apart", lambda self: False)
    together = trained("cuda", [3, 5, 1], np.float32, 30, 23, {})
    assert together[0].tobytes() == apart[0].tobytes()


def test_training_goes_on_where_it_stopped():
    options = {"optimizer": fastnn.Adam(0.01)}
    net = network([3, 5, 1])
    X, Y, _ = examples(net, 30)
    once = network([3, 5, 1])
    once.fit(X, Y, epochs=4, batch_size=9, **options)
    first = net.fit(X, Y, epochs=2, batch_size=9, **options)
    net.fit(X, Y, epochs=2, batch_size=9, after=first, **options)
    assert net.parameters.tobytes() == once.parameters.tobytes()


def test_validation_and_patience():
    net, other = network([3, 5, 1]), network([3, 5, 1])
    X, Y, _ = examples(net, 30)
    held_out = X[:, :9], Y[:, :9]
    options = {"epochs": 6, "batch_size": 9, "validation": held_out, "patience": 1}
    ours = net.fit(X, Y, optimizer=fastnn.SGD(3.0), **options)
    with fastnn.use_device("cpu"):
        theirs = other.fit(X, Y, optimizer=fastnn.SGD(3.0), **options)
    assert ours.stopped == theirs.stopped
    assert ours.best_epoch == theirs.best_epoch
    np.testing.assert_allclose(ours.validation_cost, theirs.validation_cost, rtol=1e-4)


def test_examples_on_the_gpu():
    cuda = importlib.import_module("fastnn.kernels.cuda.driver").cuda
    net, other = network([3, 5, 1]), network([3, 5, 1])
    X, Y, weights = examples(net, 20)
    here, there = [cuda.to_device(array) for array in (X, Y)], cuda.to_device(weights)
    # The data decides, not the device that is asked for.
    with fastnn.use_device("auto"):
        A = net.forward(here[0])
        assert getattr(A, "__cuda_ndarray__", False)
        J = net.cost(*here, there)
        assert J == pytest.approx(expected(other, X, Y, weights)[0], rel=1e-6)
        J, gradient = net.gradient(*here, there)
        labels = net.predict(here[0])
        history = net.fit(*here, epochs=2, batch_size=7, sample_weight=there, validation=(*here,))
    assert np.array_equal(A.copy_to_host(), other.forward(X))
    assert np.array_equal(labels, other.predict(X))
    wanted = other.gradient(X, Y, weights)
    assert J == wanted[0]
    assert np.array_equal(gradient, wanted[1])
    same = other.fit(X, Y, epochs=2, batch_size=7, sample_weight=weights, validation=(X, Y))
    assert np.array_equal(net.parameters, other.parameters)
    assert history.validation_cost == same.validation_cost


def test_examples_of_the_wrong_type_on_the_gpu():
    cuda = importlib.import_module("fastnn.kernels.cuda.driver").cuda
    net = network([3, 5, 1])
    X = cuda.to_device(np.zeros((3, 4)))
    with pytest.raises(TypeError, match="X has type float64, but the network's parameters are"):
        net.forward(X)
    with pytest.raises(fastnn.device.DeviceError, match="asks for 'cpu', but an argument is on"):
        fastnn.Network([3, 1], device="cpu", loss="squared_error").forward(
            cuda.to_device(np.zeros((3, 4), np.float32))
        )


def test_predict_one():
    net = network([3, 5, 1])
    X, _, _ = examples(net, 1)
    assert np.array_equal(net.predict_one(np.ascontiguousarray(X[:, 0])), net.forward(X)[:, 0])


@pytest.mark.parametrize("rows", [False, True], ids=["columns", "rows"])
@pytest.mark.parametrize("n_x", [1, 3, 4, 8])
@pytest.mark.parametrize("m", [24, 35])
@both_types
def test_one_unit_and_a_large_batch(dtype, m, n_x, rows):
    one_unit = importlib.import_module("fastnn.kernels.cuda.one_unit")
    assert one_unit.serves((n_x, 1), ACTIVATIONS.index("sigmoid"), m)
    net = network([n_x, 1], dtype=dtype)
    X, Y, weights = examples(net, m, rows)
    J, gradient = net.gradient(X, Y, weights, l2=0.1)
    wanted = expected(net, X, Y, weights, l2=0.1)
    assert J == pytest.approx(wanted[0], rel=1e-5)
    np.testing.assert_allclose(gradient, wanted[1], rtol=0, atol=tolerance(net))
    about = [n_x, 1], dtype, 2 * m, m, {"optimizer": fastnn.Adam(0.01)}, rows
    compare(trained("cuda", *about), trained("cpu", *about), dtype)


@pytest.mark.parametrize(
    ("output", "loss"),
    [("exp", "poisson"), ("identity", "huber"), ("tanh", "squared_error")],
)
def test_one_unit_and_other_losses(output, loss):
    net = network([3, 1], output=output, loss=loss, delta=0.3)
    X, Y, _ = examples(net, 30)
    J, gradient = net.gradient(X, Y)
    wanted = expected(net, X, Y)
    assert J == pytest.approx(wanted[0], rel=1e-5)
    np.testing.assert_allclose(gradient, wanted[1], rtol=0, atol=tolerance(net))


# ------------------------------------------------------------------ examples that do not fit


@pytest.fixture
def small_gpu(monkeypatch):
    """Let the simulated GPU have memory for some examples only."""
    streaming = importlib.import_module("fastnn.backends.cuda_streaming")
    monkeypatch.setattr(streaming.driver, "free_memory", lambda: 200.0)
    monkeypatch.setattr(streaming, "_CHUNK_BYTES", 250)


@pytest.mark.parametrize("rows", [False, True], ids=["columns", "rows"])
@pytest.mark.parametrize("sizes", [[3, 2], WIDE], ids=str)
@pytest.mark.usefixtures("small_gpu")
def test_answers_on_examples_that_do_not_fit(sizes, rows):
    net = network(sizes)
    X, Y, weights = examples(net, 35, rows)
    found = reference.network_forward(net.parameters, net.sizes, net.activations, X)
    np.testing.assert_allclose(net.forward(X), found, rtol=0, atol=tolerance(net))
    J, gradient = net.gradient(X, Y, weights, l1=0.01, l2=0.1)
    wanted = expected(net, X, Y, weights, 0.01, 0.1)
    assert J == pytest.approx(wanted[0], rel=1e-5)
    np.testing.assert_allclose(gradient, wanted[1], rtol=0, atol=tolerance(net))


CHUNKED = [
    {"optimizer": fastnn.Adam(0.02), "dropout": 0.3},
    {"shuffle": False},
    {"shuffle": lambda epoch: np.arange(40)[::-1] // 2 + epoch},
]


@pytest.mark.parametrize("rows", [False, True], ids=["columns", "rows"])
@pytest.mark.parametrize("options", CHUNKED, ids=["drawn", "as-it-stands", "ordered"])
@pytest.mark.parametrize("sizes", [[3, 2], [3, 4, 1], WIDE], ids=str)
def test_fit_of_examples_that_do_not_fit(sizes, options, rows, request):
    options = {} if len(sizes) == 2 and "dropout" in options else options
    whole = trained("cuda", sizes, np.float32, 40, 6, options, rows)
    request.getfixturevalue("small_gpu")
    found = trained("cuda", sizes, np.float32, 40, 6, options, rows)
    # The sums are those of examples that are all there, in the same order.
    assert found[0].tobytes() == whole[0].tobytes()
    assert found[1].cost == whole[1].cost


def test_a_gpu_without_memory_says_so(monkeypatch):
    driver = importlib.import_module("fastnn.kernels.cuda.driver")

    class FullError(Exception):
        code = 2

    def full(*arguments, **options):
        raise FullError

    monkeypatch.setattr(driver.cuda, "device_array", full)
    with pytest.raises(MemoryError, match=r"the GPU cuda:0 has no [0-9,]+ bytes left"):
        network([3, 2]).forward(np.zeros((3, 4), np.float32))
    monkeypatch.undo()
    with fastnn.use_device("cuda"):
        assert network([3, 2]).forward(np.zeros((3, 4), np.float32)).shape == (2, 4)


def test_what_is_brought_back_is_of_one_moment(monkeypatch):
    # Ctrl-C while results are brought back: the parameters are those of the last epoch noted.
    training = importlib.import_module("fastnn.backends.cuda_training")
    put, calls = training.Training._put, []

    def interrupted(self, steps):
        calls.append(steps)
        put(self, steps)
        if len(calls) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(training.Training, "_put", interrupted)
    net, other = network([3, 5, 1]), network([3, 5, 1])
    X, Y, _ = examples(net, 30)
    history = net.fit(X, Y, epochs=50, batch_size=15)
    assert history.stopped == "interrupted"
    monkeypatch.undo()
    other.fit(X, Y, epochs=len(history.cost), batch_size=15)
    assert net.parameters.tobytes() == other.parameters.tobytes()


@pytest.mark.parametrize("sizes", [[3, 5, 1], WIDE], ids=str)
def test_memory_of_a_fit_needs_no_collector(sizes):
    networks = importlib.import_module("fastnn.backends.cuda_networks")
    made = []
    create = networks.Steps.__init__
    gc.collect()
    gc.disable()
    try:
        with pytest.MonkeyPatch.context() as patch:

            def noted(self, *arguments):
                create(self, *arguments)
                made.append(weakref.ref(self))

            patch.setattr(networks.Steps, "__init__", noted)
            net = network(sizes)
            X, Y, _ = examples(net, 9)
            net.gradient(X, Y)
            assert [found() for found in made] == [None]
    finally:
        gc.enable()
