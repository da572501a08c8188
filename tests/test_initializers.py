"""Where the parameters start: the laws of He and Glorot, zeros, seeds, and both types."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import fastnn
from fastnn.description import Description
from fastnn.initializers import INITIALIZERS, initial_parameters
from fastnn.kernels.codes import ACTIVATIONS

HE = ("relu", "leaky_relu", "elu", "gelu", "silu", "softplus")
GLOROT = ("identity", "sigmoid", "tanh", "softmax", "exp")


def test_every_activation_has_its_law():
    assert sorted(HE + GLOROT) == sorted(ACTIVATIONS)


def assert_moments(W, variance, fourth):
    """Assert the first moments of W within five standard errors of the sample."""
    n = W.size
    assert abs(W.mean()) < 5 * np.sqrt(variance / n)
    # var of the sample variance is (fourth central moment - variance^2) / n
    assert abs(W.var() - variance) < 5 * np.sqrt((fourth - variance**2) / n)
    assert abs((W**3).mean()) < 5 * np.sqrt(15 * variance**3 / n)


def assert_he(W):
    variance = 2 / W.shape[1]
    assert_moments(W, variance, 3 * variance**2)
    # Normal, not uniform: 4.6 % lie beyond two standard deviations, and some beyond three.
    beyond = (np.abs(W) > 2 * np.sqrt(variance)).mean()
    assert abs(beyond - 0.0455) < 5 * np.sqrt(0.0455 / W.size)
    assert np.abs(W).max() > 3.3 * np.sqrt(variance)


def assert_glorot(W):
    n_out, n_in = W.shape
    r = np.sqrt(6 / (n_in + n_out))
    assert_moments(W, r**2 / 3, r**4 / 5)
    # Uniform: nothing beyond r, and nearly all of the range is met.
    assert np.abs(W).max() <= r * (1 + 1e-6)
    assert W.max() > 0.999 * r and W.min() < -0.999 * r


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_auto_takes_the_law_of_the_activation(activation, dtype):
    # Not square: n_in and n_out cannot be taken for each other.
    net = fastnn.Network([300, 120, 7], [activation, "identity"], dtype=dtype, seed=3)
    assert net.parameters.dtype == dtype
    (assert_he if activation in HE else assert_glorot)(net.W[0].astype(np.float64))
    for b in net.b:
        assert (b == 0).all()
    # The output layer follows its own activation.
    r = np.sqrt(6 / (120 + 7))
    assert 0.9 * r < np.abs(net.W[1]).max() <= r * (1 + 1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_named_law_holds_for_every_layer(activation):
    sizes = [200, 150, 180]
    for name, law in (("he", assert_he), ("glorot", assert_glorot)):
        net = fastnn.Network(
            sizes, [activation] * 2, loss=None, dtype=np.float64, initializer=name, seed=5
        )
        for W, b in zip(net.W, net.b, strict=True):
            law(W)
            assert (b == 0).all()
    zeros = fastnn.Network(sizes, [activation] * 2, initializer="zeros", seed=5)
    assert not zeros.parameters.any()


@pytest.mark.parametrize("output", ["identity", "sigmoid", "softmax", "relu"])
def test_a_network_without_hidden_layers_starts_at_zero(output):
    net = fastnn.Network([9, 4], [output], seed=1)
    assert not net.parameters.any()
    assert fastnn.Network([9, 4], [output], seed=1, initializer="he").W[0].all()
    assert fastnn.Network([9, 4], [output], seed=1, initializer="glorot").W[0].all()


def test_hidden_units_differ():
    # Units that start equal stay equal.
    for activation in ACTIVATIONS:
        net = fastnn.Network([3, 20, 5, 1], [activation, activation, "sigmoid"])
        for W in net.W:
            assert len(np.unique(W)) == W.size


def test_equal_units_stay_equal_from_zeros_and_part_from_random():
    X, y = fastnn.datasets.planar_flower(60)
    for initializer, equal in (("zeros", True), ("auto", False)):
        net = fastnn.Network([2, 6, 1], ["tanh", "sigmoid"], initializer=initializer)
        net.fit(X, y, epochs=20, optimizer=fastnn.SGD(0.5))
        rows = np.hstack([net.W[0], net.b[0], net.W[1].T])
        assert (np.ptp(rows, axis=0) == 0).all() == equal


def test_seeds():
    def start(seed, **others):
        return fastnn.Network([4, 6, 2], ["relu", "softmax"], seed=seed, **others).parameters

    assert start(7).tobytes() == start(7).tobytes()
    assert start(np.int64(7)).tobytes() == start(7).tobytes()
    drawn = [start(seed).tobytes() for seed in (0, 1, 7, 2**31, 2**63, 2**100)]
    assert len(set(drawn)) == len(drawn)
    assert start(0).tobytes() == fastnn.Network([4, 6, 2], ["relu", "softmax"]).parameters.tobytes()


def test_a_seed_does_not_touch_numpys_own_generator():
    before = np.random.get_state()[1].tobytes()
    fastnn.Network([4, 6, 2], ["relu", "softmax"], seed=5)
    assert np.random.get_state()[1].tobytes() == before


def test_both_types_start_from_the_same_values():
    for initializer in INITIALIZERS:
        narrow, wide = (
            fastnn.Network([30, 20, 5], "tanh", "squared_error", dtype, 11, initializer=initializer)
            for dtype in (np.float32, np.float64)
        )
        np.testing.assert_array_equal(narrow.parameters, wide.parameters.astype(np.float32))
        if initializer != "zeros":
            # And the wide ones are drawn as such, not widened.
            assert (wide.parameters != narrow.parameters).any()


def test_layers_are_drawn_apart():
    net = fastnn.Network([10, 10, 10, 10], ["tanh"] * 3, dtype=np.float64)
    for one, other in itertools.combinations(net.W, 2):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.5
        assert not np.isin(one, other).any()


def test_the_flat_vector_is_w_and_b_of_each_layer():
    network = Description((3, 4, 2), ("relu", "identity"), "squared_error")
    flat = initial_parameters(network, "auto", 2, np.float64)
    assert flat.shape == (4 * 3 + 4 + 2 * 4 + 2,)
    net = fastnn.Network([3, 4, 2], ["relu", "identity"], dtype=np.float64, seed=2)
    np.testing.assert_array_equal(net.parameters, flat)
    np.testing.assert_array_equal(net.W[0], flat[:12].reshape(4, 3))
    np.testing.assert_array_equal(net.W[1], flat[16:24].reshape(2, 4))
    assert not flat[12:16].any() and not flat[24:].any()
    for view in (*net.W, *net.b):
        assert np.shares_memory(view, net.parameters)


def test_an_unknown_law_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="initializer 'xavier'") as caught:
        fastnn.Network([2, 1], ["sigmoid"], initializer="xavier")
    for name in INITIALIZERS:
        assert name in str(caught.value)
