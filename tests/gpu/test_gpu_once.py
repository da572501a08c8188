"""Each kernel a few times, at the sizes where it does each thing it can do: for slow tools.

``tools/sanitize.py`` runs this under compute-sanitizer. What the results must be is tested at
length elsewhere; here they need only be near.
"""

from __future__ import annotations

import numpy as np
import pytest
from gpu_machine import Strided, sized, to_host
from layouts import laid_out

import fastnn
import fastnn.functional as F
from fastnn.kernels import reference
from fastnn.kernels.codes import ACTIVATIONS

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("on_gpu")]

both_types = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda d: d.__name__)

# Small tiles whole and cut; large tiles whole and cut; many slices.
SHAPES = sized(
    [(32, 16, 64), (37, 19, 50), (128, 8, 8192), (130, 9, 8190), (8, 16, 4000)],
    [(4, 8, 4), (9, 7, 17), (37, 5, 18)],
)


def near(found, exact):
    exact = np.asarray(exact, np.float64)
    error = np.linalg.norm(np.asarray(to_host(found), np.float64) - exact)
    assert error <= 1e-4 * np.linalg.norm(exact)


@pytest.mark.parametrize("order", ["C", "F", "every second column"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@both_types
def test_layers(dtype, shape, order):
    n, k, m = shape
    random = np.random.default_rng(0)
    shapes = (k, m), (n, k), (n, 1), (n, m)
    X, W, b, dZ = (random.standard_normal(size).astype(dtype) for size in shapes)
    x, w, bias, dz = (Strided(laid_out(array, order)) for array in (X, W, b, dZ))
    near(F.linear_forward(x, w, bias), reference.linear_forward(X, W, b))
    near(F.layer_forward(x, w, bias, "relu")[0], reference.layer_forward(X, W, b, "relu")[0])
    near(F.layer_forward(x, w, bias, "softmax")[0], reference.layer_forward(X, W, b, "softmax")[0])
    for activation in ("identity", "tanh", "softmax"):
        expected = reference.hidden_gradient(W, dZ, X, activation)
        near(F.hidden_gradient(w, dz, x, activation), expected)
    parts = zip(F.linear_backward(dz, x, w), reference.linear_backward(dZ, X, W), strict=True)
    for found, expected in parts:
        near(found, expected)


@pytest.mark.parametrize("order", ["C", "F", "slice"])
@both_types
def test_values(dtype, order):
    random = np.random.default_rng(1)
    shape = sized((37, 501), (5, 7))
    Z, Y = (laid_out(random.standard_normal(shape).astype(dtype), order) for _ in range(2))
    z, y = Strided(Z), Strided(Y)
    for activation in ACTIVATIONS:
        near(F.activation_forward(z, activation), reference.activation_forward(Z, activation))
        near(F.activation_derivative(z, activation), reference.activation_derivative(Z, activation))
        expected = reference.activation_backward(Y, Z, activation)
        near(F.activation_backward(y, z, activation), expected)
    near(F.output_gradient(z, y), Z - Y)
    assert F.cost(z, y, "squared_error") == pytest.approx(
        reference.cost(Z, Y, "squared_error"), rel=1e-4
    )
    F.gradient_step(z, y, 0.25)
    near(z, Z - dtype(0.25) * Y)


@pytest.mark.parametrize(
    ("sizes", "loss", "batch"),
    sized(
        [
            ([32, 1], "binary_cross_entropy", 1000),
            ([32, 64, 64, 1], "binary_cross_entropy", 64),
            ([33, 65, 3], "cross_entropy", 1000),
            ([200, 300, 10], "cross_entropy", 257),
            ([5, 7, 3], "squared_error", 7),
        ],
        [([5, 7, 1], "binary_cross_entropy", 8), ([4, 3], "cross_entropy", 19)],
    ),
    ids=str,
)
@both_types
def test_networks(dtype, sizes, loss, batch):
    random = np.random.default_rng(2)
    m = sized(1000, 19)
    X = random.standard_normal((m, sizes[0])).astype(dtype)
    if loss == "squared_error":
        Y = random.standard_normal((sizes[-1], m)).astype(dtype)
    else:
        Y = random.integers(0, max(2, sizes[-1]), m)
    dense = Y if Y.ndim == 2 else Y[None].astype(dtype)
    if loss == "cross_entropy":
        dense = fastnn.preprocessing.one_hot(Y, sizes[-1], dtype=dtype)
    for columns in (False, True):
        x = Strided(np.ascontiguousarray(X.T) if columns else X.T)
        net = fastnn.Network(sizes, loss=loss, dtype=dtype)
        told = net.parameters, net.sizes, net.activations
        near(net.forward(x), reference.network_forward(*told, X.T))
        expected = reference.network_gradient(*told, loss, X.T, dense)
        J, gradient = net.gradient(x, Y)
        assert J == pytest.approx(expected[0], rel=1e-4)
        near(gradient, expected[1])
        assert net.cost(x, Y) == pytest.approx(J, rel=1e-6)
        for optimizer in (fastnn.SGD(0.01, 0.9, True), fastnn.Adam(0.01), fastnn.RMSprop(0.01)):
            options = {"dropout": 0.2} if len(sizes) > 2 else {}
            net.fit(x, Y, 2, batch, optimizer, l1=1e-3, l2=1e-3, clip_norm=1.0, **options)
            net.fit(x, Y, 1, batch, optimizer, shuffle=False)
        assert np.isfinite(net.parameters).all()
