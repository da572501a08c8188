"""Shared by the tests of fastnn.convert: networks to convert, and when two models agree."""

from __future__ import annotations

import numpy as np
from tolerance import assert_as_reference

import fastnn
from fastnn.kernels import reference

FLOATS = [np.float32, np.float64]


def random_network(sizes, activations, dtype=np.float32, loss=None, seed=0):
    """Return a network whose biases are not zero either."""
    network = fastnn.Network(sizes, activations, loss, dtype)
    random = np.random.default_rng(seed)
    network.parameters = random.normal(0, 0.7, network.parameters.size).astype(dtype)
    return network


def rows(m, n, dtype, seed=1):
    """Return m examples as rows, as other libraries take them."""
    return np.random.default_rng(seed).normal(0, 2, (m, n)).astype(dtype)


def assert_same_bits(found, expected):
    """Assert that two arrays are equal to the last bit, and of one type."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tobytes() == expected.tobytes()


def assert_same_network(found, expected):
    assert (found.sizes, found.activations) == (expected.sizes, expected.activations)
    assert (found.loss, found.dtype) == (expected.loss, expected.dtype)
    assert_same_bits(found.parameters, expected.parameters)


def assert_outputs(found, network, X):
    """Assert that outputs for rows of examples are the network's, by the rule of tolerance.py.

    Both they and the network's own are held against the formulas in a wider type.
    """
    found = np.asarray(found)
    for A in (found.T, network.forward(X.T)):
        assert A.dtype == network.dtype
        assert_as_reference(
            A,
            lambda dtype: reference.network_forward(
                network.parameters, network.sizes, network.activations, X.T, dtype=dtype
            ),
            magnitude=_magnitude(network, X.T),
        )


def _magnitude(network, X):
    """Return what the formulas sum on the way to each output, in absolute values.

    Through the layers, M = |W| M + |b|: an error in an input is carried so, since no activation
    but exp has a slope above 1.13; that of exp is its value. At least 1: sigmoid, softplus and
    others add it to an exp.
    """
    A, M = X, np.abs(X).astype(np.float64)
    for W, b, activation in zip(network.W, network.b, network.activations, strict=True):
        A, _ = reference.layer_forward(A, W, b, activation)
        M = np.maximum(np.abs(W).astype(np.float64) @ M + np.abs(b), 1)
        if activation == "softmax":  # each output depends on all
            M = np.broadcast_to(M.max(axis=0), M.shape)
        if activation == "exp":
            M = M * A
    return M
