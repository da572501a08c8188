"""Large products by CuPy, for which a stand-in computes here: what it gets, and what follows."""

from __future__ import annotations

import contextlib
import importlib
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs numba-cuda: tox -e cudasim")

import fastnn
import fastnn.functional as F
from fastnn.kernels import reference

pytestmark = pytest.mark.simulator


class StandIn:
    """The part of CuPy that is used, on the simulated GPU's memory, which is the host's."""

    def __init__(self):
        self.products, self.streams = [], []
        self.cuda = SimpleNamespace(
            UnownedMemory=lambda place, size, owner: (place, size, owner),
            MemoryPointer=lambda memory, offset: (memory, offset),
            ExternalStream=self.stream,
        )

    @contextlib.contextmanager
    def stream(self, handle):
        self.streams.append(handle)
        yield

    def ndarray(self, shape, dtype, pointer, strides):
        (_, size, owner), offset = pointer
        values = np.asarray(getattr(owner, "_ary", owner))
        assert size == values.nbytes
        return np.ndarray(shape, dtype, values.data, offset, strides)

    def matmul(self, a, b, out):
        self.products.append((*a.shape, b.shape[1]))
        out[...] = a @ b

    def multiply(self, a, scale, out):
        out[...] = a * scale


@pytest.fixture
def cupy(monkeypatch):
    """Let products of at least 3 x 3 x 3 go to the stand-in."""
    blas = importlib.import_module("fastnn.kernels.cuda.blas")
    found = StandIn()
    monkeypatch.setattr(blas, "_cupy", lambda: found)
    monkeypatch.setattr(blas, "LEAST", 3)
    with fastnn.use_device("cuda"):
        yield found


@pytest.mark.parametrize("rows", [False, True], ids=["columns", "rows"])
def test_functions(cupy, rows):
    random = np.random.default_rng(1)
    W, X, b, dZ = (random.standard_normal(s) for s in ((4, 5), (5, 9), (4, 1), (4, 9)))
    if rows:
        X, dZ = np.asfortranarray(X), np.asfortranarray(dZ)
    close = {"rtol": 0, "atol": 1e-13}
    np.testing.assert_allclose(F.linear_forward(X, W, b), W @ X + b, **close)
    A, Z = F.layer_forward(X, W, b, "gelu")
    np.testing.assert_allclose(Z, W @ X + b, **close)
    np.testing.assert_allclose(A, reference.activation_forward(Z, "gelu"), **close)
    np.testing.assert_allclose(F.weight_gradient(dZ, X), dZ @ X.T / 9, **close)
    for activation in ("tanh", "identity", "softmax"):
        found = F.hidden_gradient(W, dZ, X, activation)
        np.testing.assert_allclose(
            found, reference.hidden_gradient(W, dZ, X, activation), rtol=0, atol=1e-13
        )
    for found, wanted in zip(
        F.linear_backward(dZ, X, W), reference.linear_backward(dZ, X, W), strict=True
    ):
        np.testing.assert_allclose(found, wanted, **close)
    assert len(cupy.products) == 8
    assert set(cupy.streams) == {0}


def test_small_products_stay(cupy):
    random = np.random.default_rng(1)
    W, X, b = (random.standard_normal(s) for s in ((2, 5), (5, 9), (2, 1)))
    np.testing.assert_allclose(F.linear_forward(X, W, b), W @ X + b, rtol=0, atol=1e-13)
    assert cupy.products == []


def test_networks(cupy):
    net = fastnn.Network([11, 4, 3], ["tanh", "softmax"], dtype=np.float64, seed=1)
    other = fastnn.Network([11, 4, 3], ["tanh", "softmax"], dtype=np.float64, seed=1)
    random = np.random.default_rng(2)
    X, Y = random.standard_normal((11, 20)), random.integers(0, 3, 20)
    history = net.fit(X, Y, epochs=3, batch_size=6, dropout=0.2)
    assert cupy.products
    with fastnn.use_device("cpu"):
        same = other.fit(X, Y, epochs=3, batch_size=6, dropout=0.2)
    np.testing.assert_allclose(net.parameters, other.parameters, rtol=0, atol=1e-12)
    np.testing.assert_allclose(history.cost, same.cost, rtol=1e-12)
