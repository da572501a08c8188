"""Gradients, computed twice: by backpropagation, and by central differences."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastnn
from fastnn import check_gradient, numerical_gradient
from fastnn.kernels.codes import ACTIVATIONS, LOSSES

FLOATS = (np.float32, np.float64)
DEVICES = ("cpu", "numpy")
OUTPUTS = {
    "binary_cross_entropy": ("sigmoid",),
    "cross_entropy": ("softmax",),
    "poisson": ("exp",),
}
# What a gradient may be off by; the check's own tolerance is wider.
ROUNDING = {np.float32: 2e-6, np.float64: 1e-9}


# ------------------------------------------------------------------ central differences


def test_the_notes_computation_graph():
    # J = 3 (a + b c): dJ/da = 3, dJ/db = 3 c = 6, dJ/dc = 3 b = 9
    found = numerical_gradient(lambda v: 3 * (v[0] + v[1] * v[2]), [5, 3, 2])
    np.testing.assert_allclose(found, [3, 6, 9], rtol=1e-10)
    assert found.dtype == np.float64


def test_known_functions():
    x = np.random.default_rng(0).standard_normal(7)
    for f, exact in (
        (lambda v: (v**2).sum(), 2 * x),
        (lambda v: np.exp(v).sum(), np.exp(x)),
        (lambda v: np.sin(v).prod(), np.sin(x).prod() / np.tan(x)),
        (lambda v: v[0] * v[6], np.eye(7)[0] * x[6] + np.eye(7)[6] * x[0]),
        (lambda v: 4.0, np.zeros(7)),
    ):
        np.testing.assert_allclose(numerical_gradient(f, x), exact, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_step_follows_the_size_of_the_coordinate(scale):
    x = scale * np.array([1.0, -2.0, 3.0])
    found = numerical_gradient(lambda v: float((v**2).sum()), x)
    np.testing.assert_allclose(found, 2 * x, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("step", [1e-3, 1e-5])
def test_the_step_may_be_given(step):
    seen = []

    def f(v):
        seen.append(v.copy())
        return float(v[0] ** 3)

    found = numerical_gradient(f, [2.0], step=step)
    # ((x + h)^3 - (x - h)^3) / 2h = 3 x^2 + h^2
    np.testing.assert_allclose(found, 12 + step**2, rtol=1e-9)
    np.testing.assert_allclose(seen, [[2 + step], [2 - step]])


FORMS = {
    "C": lambda A: A.copy(),
    "Fortran": lambda A: np.asfortranarray(A),
    "transposed": lambda A: A.T.copy().T,
    "rows": lambda A: np.repeat(A, 2, axis=0)[::2],
    "reversed": lambda A: A[::-1, ::-1].copy()[::-1, ::-1],
    "read-only": lambda A: np.broadcast_to(A, A.shape),
    "float32": lambda A: A.astype(np.float32),
    "list": lambda A: A.tolist(),
}


@pytest.mark.parametrize("form", FORMS)
def test_any_memory_order_is_differentiated_and_left_alone(form):
    # Values that float32 holds exactly.
    A = np.arange(12.0).reshape(3, 4) - 5
    x = FORMS[form](A)
    found = numerical_gradient(lambda v: float((np.arange(12).reshape(3, 4) * v**2).sum()), x)
    np.testing.assert_allclose(found, 2 * np.arange(12).reshape(3, 4) * A, rtol=1e-8, atol=1e-8)
    np.testing.assert_array_equal(x, A)


def test_scalars_and_integers():
    found = numerical_gradient(lambda v: float(v**2), 3)
    assert found.shape == ()
    np.testing.assert_allclose(found, 6, rtol=1e-9)
    np.testing.assert_allclose(numerical_gradient(lambda v: v.sum(), [True, False]), [1, 1])


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (([],), ValueError, "x is empty"),
        (([1j],), TypeError, "x has type complex128"),
        ((["a"],), TypeError, "x has type <U1"),
        ((np.ones(2, np.float16),), TypeError, "x has type float16"),
        (([1.0], 0), ValueError, "step must lie in"),
        (([1.0], -1e-3), ValueError, "step must lie in"),
        (([1.0], np.nan), ValueError, "step must lie in"),
        (([1.0], np.inf), ValueError, "step must lie in"),
        (([1.0], "1e-3"), TypeError, "step must be a number, got str"),
    ],
)
def test_bad_calls_of_numerical_gradient(arguments, error, words):
    called = []
    with pytest.raises(error, match=words):
        numerical_gradient(called.append, *arguments)
    assert not called


# ------------------------------------------------------------------ all networks


def problem(sizes, loss, m=9, dtype=np.float64, seed=0):
    random = np.random.default_rng([seed, m, *sizes])
    X = random.standard_normal((sizes[0], m)).astype(dtype)
    n = sizes[-1]
    if loss == "cross_entropy":
        Y = np.eye(n, dtype=dtype)[:, random.integers(0, n, m)]
    elif loss == "binary_cross_entropy":
        Y = random.integers(0, 2, (n, m)).astype(dtype)
    elif loss == "poisson":
        Y = random.poisson(1.0, (n, m)).astype(dtype)
    else:
        Y = random.standard_normal((n, m)).astype(dtype)
    return X, Y, random.uniform(0.1, 3, m)


def network(sizes, activations, loss, dtype, device=None, seed=1):
    net = fastnn.Network(sizes, activations, loss, dtype, seed, device=device, initializer="glorot")
    # Biases away from zero, as after some training.
    random = np.random.default_rng(seed)
    for b in net.b:
        b[...] = random.uniform(-0.5, 0.5, b.shape)
    return net


def assert_passes(net, X, Y, *penalties):
    before = net.parameters.tobytes(), X.tobytes(), Y.tobytes()
    outcome = check_gradient(net, X, Y, *penalties)
    assert outcome, f"relative error {outcome.relative_error:.2e}"
    assert outcome.relative_error <= ROUNDING[net.dtype.type]
    assert np.linalg.norm(outcome.numerical) > 1e-3, "nothing to compare"
    assert outcome.gradient.shape == outcome.numerical.shape == net.parameters.shape
    assert (net.parameters.tobytes(), X.tobytes(), Y.tobytes()) == before


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("hidden", ACTIVATIONS)
def test_every_activation_and_loss(hidden, loss, device, dtype):
    for output in OUTPUTS.get(loss, ACTIVATIONS):
        sizes = [4, 5, 3, 3]
        # The exponential of an exponential leaves the range of numbers.
        second = "tanh" if hidden == "exp" else hidden
        net = network(sizes, [hidden, second, output], loss, dtype, device)
        X, Y, weights = problem(sizes, loss, dtype=dtype)
        assert_passes(net, X, Y)
        if output == "identity" or loss != "squared_error":
            assert_passes(net, X, Y, weights)
            assert_passes(net, X, Y, weights, 0.03, 0.2)
            assert_passes(net, X, Y, None, 0.03)
            assert_passes(net, X, Y, None, 0.0, 0.2)


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize(
    ("sizes", "m"),
    [
        ([1, 1], 1),
        ([1, 1, 1], 1),
        ([3, 2], 17),
        ([2, 17, 3], 33),
        ([5, 1, 4], 2),
        ([2, 3, 2, 3, 2], 70),
    ],
)
@pytest.mark.parametrize("loss", LOSSES)
def test_sizes_that_hurt(loss, sizes, m, dtype):
    if loss == "cross_entropy" and sizes[-1] == 1:
        sizes = [*sizes[:-1], 2]  # the softmax of one value is 1, and its gradient 0
    output = OUTPUTS.get(loss, ("identity",))[0]
    net = network(sizes, [*["tanh"] * (len(sizes) - 2), output], loss, dtype)
    X, Y, weights = problem(sizes, loss, m, dtype)
    assert_passes(net, X, Y, weights, 0.01, 0.1)


def test_labels_and_rows_of_examples():
    net = network([4, 6, 3], ["tanh", "softmax"], "cross_entropy", np.float64)
    X, Y, weights = problem([4, 6, 3], "cross_entropy")
    labels = Y.argmax(axis=0)
    dense, from_labels = check_gradient(net, X, Y), check_gradient(net, X.T.copy().T, labels)
    assert dense and from_labels
    np.testing.assert_allclose(from_labels.gradient, dense.gradient, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(from_labels.numerical, dense.numerical)
    binary = network([4, 6, 1], ["tanh", "sigmoid"], "binary_cross_entropy", np.float32)
    assert check_gradient(binary, X.astype(np.float32), (labels > 0).tolist(), weights)


def test_l1_at_weights_of_exactly_zero():
    # sign(0) = 0: what central differences say too.
    net = fastnn.Network([3, 1], ["sigmoid"], dtype=np.float64)
    X, Y, _ = problem([3, 1], "binary_cross_entropy")
    assert not net.parameters.any()
    assert check_gradient(net, X, Y, l1=0.5)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_smooth_network(data):
    smooth = [name for name in ACTIVATIONS if name not in ("relu", "leaky_relu")]
    hidden = data.draw(st.lists(st.tuples(st.integers(1, 6), st.sampled_from(smooth)), max_size=3))
    loss = data.draw(st.sampled_from(LOSSES))
    output = data.draw(st.sampled_from(OUTPUTS.get(loss, tuple(smooth))))
    n_x, n_y, m = (data.draw(st.integers(1, 5)) for _ in range(3))
    sizes = [n_x, *(n for n, _ in hidden), n_y]
    seed = data.draw(st.integers(0, 100))
    net = network(sizes, [*(g for _, g in hidden), output], loss, np.float64, seed=seed)
    X, Y, weights = problem(sizes, loss, m, seed=seed)
    l1, l2 = data.draw(st.sampled_from([(0.0, 0.0), (0.01, 0.0), (0.02, 0.3)]))
    outcome = check_gradient(net, X, Y, data.draw(st.sampled_from([None, weights])), l1, l2)
    # A gradient of nearly zero leaves only the rounding of the differences.
    difference = np.abs(outcome.gradient - outcome.numerical).max()
    assert outcome.relative_error <= ROUNDING[np.float64] or difference < 1e-9


# ------------------------------------------------------------------ what is wrong is caught


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("device", DEVICES)
def test_a_wrong_gradient_is_caught(device, dtype, monkeypatch):
    sizes = [4, 6, 3]
    net = network(sizes, ["tanh", "softmax"], "cross_entropy", dtype, device)
    X, Y, _ = problem(sizes, "cross_entropy", dtype=dtype)
    assert check_gradient(net, X, Y)
    module = importlib.import_module(f"fastnn.backends.{device}")
    right = module.network_cost

    def one_off(gradient):
        gradient[np.abs(gradient).argmax()] *= 1.01

    def sign(gradient):
        gradient *= -1

    def one_over_m(gradient):
        gradient *= X.shape[1]

    def no_biases(gradient):
        gradient[6 * 4 : 6 * 4 + 6] = 0

    def transposed(gradient):
        gradient[:24] = gradient[:24].reshape(6, 4).T.ravel()

    def nothing(gradient):
        gradient[...] = 0

    def not_a_number(gradient):
        gradient[0] = np.nan

    for spoil in (one_off, sign, one_over_m, no_biases, transposed, nothing, not_a_number):

        def wrong(*others, spoil=spoil):
            J = right(*others)
            spoil(others[-1])
            return J

        monkeypatch.setattr(module, "network_cost", wrong)
        outcome = check_gradient(net, X, Y)
        assert not outcome, spoil.__name__
        assert bool(outcome) is False
    monkeypatch.undo()
    assert check_gradient(net, X, Y)


@pytest.mark.parametrize("device", DEVICES)
def test_a_gradient_of_nan_fails(device):
    net = network([2, 1], ["identity"], "squared_error", np.float64, device)
    outcome = check_gradient(net, np.array([[1.0, np.nan], [0.0, 1.0]]), [0, 1])
    assert np.isnan(outcome.relative_error)
    assert not outcome


def test_a_gradient_of_zero_passes():
    net = network([2, 1], ["softmax"], "cross_entropy", np.float64)
    outcome = check_gradient(net, np.ones((2, 3)), [0, 0, 0])
    assert (outcome.relative_error, bool(outcome)) == (0.0, True)
    assert check_gradient(net, np.ones((2, 3)), [0, 0, 0], tolerance=0)


def test_a_wrong_gradient_beyond_the_root_of_float32_fails(monkeypatch):
    # The squares of these values are not float32 numbers.
    net = network([2, 1], ["identity"], "squared_error", np.float32, "numpy")
    module = importlib.import_module("fastnn.backends.numpy")
    monkeypatch.setattr(module, "network_cost", lambda *told: told[-1].fill(1e30))
    assert not check_gradient(net, np.ones((2, 3), np.float32), np.ones((1, 3), np.float32))


def test_the_tolerance_may_be_given():
    net = network([3, 4, 1], ["tanh", "sigmoid"], "binary_cross_entropy", np.float32)
    X, Y, _ = problem([3, 4, 1], "binary_cross_entropy", dtype=np.float32)
    outcome = check_gradient(net, X, Y)
    assert outcome.tolerance == 1e-4
    assert 0 < outcome.relative_error < 1e-5
    strict = check_gradient(net, X, Y, tolerance=outcome.relative_error / 2)
    assert not strict
    assert check_gradient(net, X, Y, tolerance=outcome.relative_error)
    wide = network([3, 4, 1], ["tanh", "sigmoid"], "binary_cross_entropy", np.float64)
    assert check_gradient(wide, X.astype(float), Y.astype(float)).tolerance == 1e-7
    expected = np.linalg.norm(outcome.gradient - outcome.numerical) / (
        np.linalg.norm(outcome.gradient) + np.linalg.norm(outcome.numerical)
    )
    assert outcome.relative_error == pytest.approx(expected)


@pytest.mark.parametrize("tolerance", ["small", -1.0, np.nan, None.__class__])
def test_a_bad_tolerance_is_refused(tolerance):
    net = network([3, 1], ["sigmoid"], "binary_cross_entropy", np.float64)
    X, Y, _ = problem([3, 1], "binary_cross_entropy")
    with pytest.raises((TypeError, ValueError), match="tolerance"):
        bool(check_gradient(net, X, Y, tolerance=tolerance))


@pytest.mark.parametrize(
    ("X", "Y", "error", "words"),
    [
        (np.ones((4, 2)), np.ones((1, 2)), ValueError, "X has 4 rows but the network has 3 inputs"),
        (np.ones((3, 2)), np.ones((1, 3)), ValueError, r"Y has shape \(1, 3\)"),
        (np.ones((3, 2), np.float32), np.ones((1, 2)), TypeError, "X has type float32"),
        (np.ones((3, 2)), [0, 2], ValueError, "Y must lie in"),
    ],
)
def test_bad_calls_of_check_gradient(X, Y, error, words):
    net = network([3, 1], ["sigmoid"], "binary_cross_entropy", np.float64)
    before = net.parameters.tobytes()
    with pytest.raises(error, match=words):
        check_gradient(net, X, Y)
    assert net.parameters.tobytes() == before
