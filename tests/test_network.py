"""Network: description, parameters, forward, predict, cost, gradient."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest

import fastnn
from fastnn.kernels import reference
from fastnn.kernels.codes import ACTIVATIONS

DTYPES = [np.float32, np.float64]


def data(n, m, dtype, seed=0):
    return np.random.default_rng(seed).normal(size=(n, m)).astype(dtype)


# ------------------------------------------------------------------ description


@pytest.mark.parametrize(
    ("told", "activations", "loss"),
    [
        (dict(loss="cross_entropy"), ("relu", "softmax"), "cross_entropy"),
        (dict(loss="binary_cross_entropy"), ("relu", "sigmoid"), "binary_cross_entropy"),
        (dict(loss="squared_error"), ("relu", "identity"), "squared_error"),
        (dict(activations="tanh", loss="squared_error"), ("tanh", "identity"), "squared_error"),
        (dict(activations=["elu", "softmax"]), ("elu", "softmax"), "cross_entropy"),
        (dict(activations=["elu", "sigmoid"]), ("elu", "sigmoid"), "binary_cross_entropy"),
        (dict(activations=["elu", "tanh"]), ("elu", "tanh"), "squared_error"),
        (
            dict(activations=["elu", "sigmoid"], loss="squared_error"),
            ("elu", "sigmoid"),
            "squared_error",
        ),
    ],
)
def test_what_is_not_said_follows_from_what_is(told, activations, loss):
    net = fastnn.Network([3, 4, 2], **told)
    assert (net.activations, net.loss, net.sizes) == (activations, loss, (3, 4, 2))


def test_parameters_are_one_vector_and_the_layers_its_views():
    net = fastnn.Network([3, 4, 2], loss="cross_entropy")
    assert net.parameters.shape == (4 * 3 + 4 + 2 * 4 + 2,)
    assert [W.shape for W in net.W] == [(4, 3), (2, 4)]
    assert [b.shape for b in net.b] == [(4, 1), (2, 1)]
    net.parameters[...] = np.arange(26)
    np.testing.assert_array_equal(net.W[0], np.arange(12).reshape(4, 3))
    np.testing.assert_array_equal(net.b[0], [[12], [13], [14], [15]])
    np.testing.assert_array_equal(net.W[1], np.arange(16, 24).reshape(2, 4))
    np.testing.assert_array_equal(net.b[1], [[24], [25]])
    net.W[1][0, 0] = -7
    assert net.parameters[16] == -7
    held = net.parameters
    net.parameters = np.zeros(26, np.float32)
    assert held is net.parameters and not held.any()
    with pytest.raises(ValueError, match=r"parameters has shape \(25,\), but the network's has"):
        net.parameters = np.zeros(25, np.float32)
    with pytest.raises(TypeError, match="float64, but the network's parameters are float32"):
        net.parameters = np.zeros(26)
    # A list has no type of its own.
    net.parameters = [0.5] * 26
    assert held is net.parameters and (held == 0.5).all()


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_is_equal_and_apart(clone):
    X = data(3, 20, np.float32)
    net = fastnn.Network([3, 4, 2], loss="cross_entropy", seed=3)
    other = clone(net)
    np.testing.assert_array_equal(other.forward(X), net.forward(X))
    other.W[0][...] = 0
    assert net.W[0].any() and not other.parameters[:12].any()
    assert repr(other) == repr(net)


# ------------------------------------------------------------------ forward


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", [1, 15, 64, 65, 511, 513, 1500])
@pytest.mark.parametrize("sizes", [[1, 1], [3, 1], [5, 7, 3], [64, 33, 17, 10], [300, 65, 4]])
def test_forward_equals_the_reference(sizes, m, dtype):
    net = fastnn.Network(
        sizes, "tanh", "cross_entropy" if sizes[-1] > 1 else "squared_error", dtype
    )
    net.parameters[...] = data(1, net.parameters.size, dtype, 1)[0] / np.sqrt(max(sizes))
    X = data(sizes[0], m, dtype)
    exact = reference.network_forward(net.parameters, net.sizes, net.activations, X)
    plain = reference.network_forward(net.parameters, net.sizes, net.activations, X, dtype=dtype)
    limit = 3 * np.abs(plain - exact).max() + 8 * np.finfo(dtype).eps * np.abs(exact).max()
    rows = np.ascontiguousarray(X.T).T
    strided = np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3]
    for stored in (X, rows, strided, X[:, ::-1][:, ::-1]):
        A = net.forward(stored)
        assert A.dtype == dtype and A.shape == exact.shape and A.flags.c_contiguous
        assert np.abs(A - exact).max() <= limit


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", [[1, 1], [3, 17, 5], [40, 7, 64, 1], [784, 33, 10]], ids=str)
@pytest.mark.parametrize("hidden", ACTIVATIONS)
def test_one_example_is_answered_as_many_are(hidden, sizes, dtype):
    for output, loss in (("softmax", "cross_entropy"), (hidden, "squared_error")):
        # The exponential of an exponential leaves the range of numbers.
        below = "tanh" if hidden == "exp" else hidden
        activations = [below] * (len(sizes) - 2) + [output]
        net = fastnn.Network(sizes, activations, loss, dtype, seed=3)
        X = data(sizes[0], 3, dtype)
        told = net.parameters, net.sizes, net.activations, X
        exact = reference.network_forward(*told)
        plain = reference.network_forward(*told, dtype=dtype)
        limit = 3 * np.abs(plain - exact).max() + 8 * np.finfo(dtype).eps * np.abs(exact).max()
        out = np.empty(sizes[-1], dtype)
        for j in range(3):
            x = X[:, j].copy()
            answer = net.predict_one(x)
            assert answer.dtype == dtype and answer.shape == (sizes[-1],)
            assert np.abs(answer - exact[:, j]).max() <= limit
            assert net.predict_one(x, out) is out
            assert out.tobytes() == answer.tobytes() == net.predict_one(x).tobytes()
            np.testing.assert_array_equal(x, X[:, j])


@pytest.mark.parametrize("device", ["cpu", "numpy"])
def test_one_example_after_the_parameters_changed(device):
    net = fastnn.Network([2, 1], ["identity"], device=device)
    x = np.array([1, 2], np.float32)
    assert net.predict_one(x) == 0
    net.parameters = [1, 10, 100]
    assert net.predict_one(x) == 121
    clone = copy.deepcopy(net)
    clone.W[0][...] = 0
    assert clone.predict_one(x) == 100
    assert net.predict_one(x) == 121


@pytest.mark.compiled
def test_one_example_from_several_threads():
    net = fastnn.Network([64, 100, 100, 10], "tanh", "cross_entropy")
    X = data(64, 4, np.float32).T.copy()
    expected = [net.predict_one(x).tobytes() for x in X]
    wrong = []

    def ask(x, answer):
        wrong.extend(i for i in range(5000) if net.predict_one(x).tobytes() != answer)

    callers = [threading.Thread(target=ask, args=told) for told in zip(X, expected, strict=True)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


@pytest.mark.parametrize("device", ["cpu", "numpy"])
def test_forward_into_any_array(device):
    net = fastnn.Network([3, 4, 3], loss="cross_entropy", device=device)
    X = data(3, 21, np.float32)
    expected = net.forward(X)
    for out in (
        np.empty((3, 21), np.float32),
        np.empty((21, 3), np.float32).T,
        np.empty((6, 42), np.float32)[::2, ::2],
        X.copy(),
    ):
        assert net.forward(X, out=out) is out
        np.testing.assert_array_equal(out, expected)
    assert net.forward(X, X) is X
    np.testing.assert_array_equal(X, expected)


def test_predict_says_labels_or_values():
    X = data(4, 50, np.float32)
    net = fastnn.Network([4, 6, 3], loss="cross_entropy")
    np.testing.assert_array_equal(net.predict(X), net.forward(X).argmax(axis=0))
    net = fastnn.Network([4, 6, 1], loss="binary_cross_entropy")
    np.testing.assert_array_equal(net.predict(X), net.forward(X)[0] >= 0.5)
    assert net.predict(X).dtype == np.int64 and net.predict(X).shape == (50,)
    net = fastnn.Network([4, 6, 2], loss="binary_cross_entropy")
    np.testing.assert_array_equal(net.predict(X), net.forward(X) >= 0.5)
    net = fastnn.Network([4, 6, 2], loss="squared_error")
    np.testing.assert_array_equal(net.predict(X), net.forward(X))


# ------------------------------------------------------------------ cost and gradient


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", [1, 63, 64, 130, 700])
@pytest.mark.parametrize("hidden", ACTIVATIONS)
def test_gradient_equals_the_reference(hidden, m, dtype):
    for output, loss in (
        ("softmax", "cross_entropy"),
        ("sigmoid", "binary_cross_entropy"),
        ("tanh", "squared_error"),
        ("softmax", "squared_error"),
    ):
        net = fastnn.Network([5, 9, 3, 4], [hidden, "tanh", output], loss, dtype, seed=m)
        X = data(5, m, dtype)
        Y = fastnn.preprocessing.one_hot(np.arange(m) % 4, 4, dtype=dtype)
        weights = np.linspace(0.5, 1.5, m)
        told = (net.parameters, net.sizes, net.activations, net.loss, X, Y)
        scaled = (weights / weights.mean()).astype(dtype)
        exact_J, exact = reference.network_gradient(*told, scaled, 1e-3, 1e-2)
        plain_J, plain = reference.network_gradient(*told, scaled, 1e-3, 1e-2, dtype=dtype)
        eps = np.finfo(dtype).eps
        limit = 3 * np.abs(plain - exact).max() + 16 * eps * np.abs(exact).max()
        for stored in (X, np.asfortranarray(X)):
            J, gradient = net.gradient(stored, Y, weights, l1=1e-3, l2=1e-2)
            assert np.abs(gradient - exact).max() <= limit
            assert abs(J - exact_J) <= 3 * abs(plain_J - exact_J) + 8 * eps * abs(exact_J)
            assert net.cost(stored, Y, weights, l1=1e-3, l2=1e-2) == J


@pytest.mark.parametrize("device", ["cpu", "numpy"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("logit", [0.0, 1.0, 100.0, 1e4, -1e4])
def test_costs_stay_finite_however_sure_a_network_is(logit, dtype, device):
    X = np.ones((1, 3), dtype)
    net = fastnn.Network([1, 1], ["sigmoid"], dtype=dtype, device=device)
    net.W[0][...] = logit
    for label in (0, 1):
        J, gradient = net.gradient(X, [label] * 3)
        expected = np.logaddexp(0, logit if label == 0 else -logit)
        assert J == pytest.approx(expected, rel=4 * float(np.finfo(dtype).eps))
        assert np.isfinite(gradient).all()
    net = fastnn.Network([1, 3], ["softmax"], dtype=dtype, device=device)
    net.W[0][...] = [[logit], [0], [-logit]]
    for label in range(3):
        J, gradient = net.gradient(X, [label] * 3)
        z = np.array([logit, 0, -logit])
        expected = np.logaddexp.reduce(z) - z[label]
        assert J == pytest.approx(expected, rel=4 * float(np.finfo(dtype).eps), abs=1e-30)
        assert np.isfinite(gradient).all()


def test_the_gradient_of_the_mean_is_the_mean_of_the_gradients():
    net = fastnn.Network([3, 5, 2], loss="cross_entropy", dtype=np.float64)
    X, y = data(3, 700, np.float64), np.arange(700) % 2
    each = [net.gradient(X[:, i : i + 100], y[i : i + 100])[1] for i in range(0, 700, 100)]
    np.testing.assert_allclose(net.gradient(X, y)[1], np.mean(each, axis=0), rtol=1e-12, atol=1e-16)


def test_penalties_are_for_weights_not_biases():
    net = fastnn.Network([2, 3, 1], loss="squared_error", dtype=np.float64, seed=4)
    net.b[0][...] = 5.0
    X, Y = data(2, 10, np.float64), data(1, 10, np.float64)
    J, plain = net.gradient(X, Y)
    J_penal, penal = net.gradient(X, Y, l1=0.25, l2=0.5)
    added, zero = reference.layers(penal - plain, net.sizes)
    for difference, W in zip(added, net.W, strict=True):
        np.testing.assert_allclose(difference, 0.25 * np.sign(W) + 0.5 * W, rtol=1e-12)
    for difference in zero:
        assert not difference.any()
    size = sum(0.25 * np.abs(W).sum() + 0.25 * (W**2).sum() for W in net.W)
    assert J_penal - J == pytest.approx(size, rel=1e-12)


def test_nan_in_the_inputs_goes_through():
    net = fastnn.Network([2, 4, 1], loss="squared_error")
    X = data(2, 5, np.float32)
    X[0, 3] = np.nan
    A = net.forward(X)
    np.testing.assert_array_equal(np.isnan(A[0]), [False, False, False, True, False])
    J, gradient = net.gradient(X, np.zeros((1, 5), np.float32))
    assert np.isnan(J) and np.isnan(gradient).any()


def test_one_hidden_layer_learns_the_flower_where_logistic_regression_cannot():
    X, y = fastnn.datasets.planar_flower(seed=1)
    logistic = fastnn.Network([2, 1], ["sigmoid"])
    logistic.fit(X, y, epochs=2000, optimizer=fastnn.SGD(0.5))
    net = fastnn.Network([2, 8, 1], ["tanh", "sigmoid"], seed=3)
    net.fit(X, y, epochs=3000, optimizer=fastnn.Adam(0.02))
    assert np.mean(logistic.predict(X) == y) < 0.62
    assert np.mean(net.predict(X) == y) >= 0.9
