"""Tiny cases that pass through every branch of the kernels, cheap enough to run as Python.

The compiled kernels are tested at length elsewhere; this is what coverage is measured with.
"""

from __future__ import annotations

import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn import inside
from fastnn.backends import cpu
from fastnn.kernels import reference
from fastnn.kernels.codes import ACTIVATIONS, LOSSES

RULES = [
    fastnn.SGD(0.1),
    fastnn.SGD(0.1, 0.9),
    fastnn.SGD(0.1, 0.9, True),
    fastnn.RMSprop(0.01),
    fastnn.Adam(0.01),
    fastnn.AdamW(0.01),
]


def normal(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_elementwise(activation, dtype):
    for order in "CF":
        Z = np.asarray(normal(3, 7, dtype=dtype), order=order)
        dA = normal(3, 7, seed=1, dtype=dtype)
        tolerance = dict(rtol=0, atol=20 * np.finfo(dtype).eps)
        np.testing.assert_allclose(
            F.activation_forward(Z, activation),
            reference.activation_forward(Z, activation),
            **tolerance,
        )
        np.testing.assert_allclose(
            F.activation_derivative(Z, activation),
            reference.activation_derivative(Z, activation),
            **tolerance,
        )
        np.testing.assert_allclose(
            F.activation_backward(dA, Z, activation),
            reference.activation_backward(dA, Z, activation),
            **tolerance,
        )


@pytest.mark.parametrize("activation", ["relu", "softmax"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_layers(order, activation):
    A_prev, dZ = (np.asarray(normal(n, 5, seed=n), order=order) for n in (3, 2))
    W, b, Z = normal(2, 3), normal(2, 1), normal(3, 5)
    close = dict(rtol=0, atol=1e-5)
    for ours, expected in zip(
        F.layer_forward(A_prev, W, b, activation),
        reference.layer_forward(A_prev, W, b, activation),
        strict=True,
    ):
        np.testing.assert_allclose(ours, expected, **close)
    np.testing.assert_allclose(
        F.hidden_gradient(W, dZ, Z, activation),
        reference.hidden_gradient(W, dZ, Z, activation),
        **close,
    )
    for ours, expected in zip(
        F.linear_backward(dZ, A_prev, W), reference.linear_backward(dZ, A_prev, W), strict=True
    ):
        np.testing.assert_allclose(ours, expected, **close)
    # Long rows of a few units are multiplied value by value, and a transposed W of many copied.
    dZ, A_prev, W = normal(2, 130), normal(130, 130), normal(2, 130)
    for ours, expected in zip(
        F.linear_backward(dZ, A_prev, W), reference.linear_backward(dZ, A_prev, W), strict=True
    ):
        np.testing.assert_allclose(ours, expected, **close)


@pytest.mark.parametrize("loss", LOSSES)
def test_costs(loss):
    A = reference.sigmoid(normal(2, 5)).astype(np.float32)
    Y = (normal(2, 5, seed=1) > 0).astype(np.float32)
    assert F.cost(A, Y, loss) == pytest.approx(reference.cost(A, Y, loss), rel=1e-5)


@pytest.mark.parametrize("hidden", ACTIVATIONS)
def test_networks(hidden):
    hidden = "tanh" if hidden == "exp" else hidden  # exp of exp leaves the range of numbers
    X, labels = normal(2, 17), np.arange(17) % 2
    for i, (output, loss) in enumerate(
        [
            ("softmax", "cross_entropy"),
            ("sigmoid", "binary_cross_entropy"),
            ("identity", "squared_error"),
            ("tanh", "squared_error"),
            ("softmax", "squared_error"),
            ("exp", "poisson"),
            ("identity", "absolute_error"),
            ("tanh", "huber"),
        ]
    ):
        Y = labels if loss == "cross_entropy" else fastnn.preprocessing.one_hot(labels, 2)
        nets = [
            fastnn.Network([2, 3, 2], [hidden, output], loss, seed=i, device=device)
            for device in ("cpu", "numpy")
        ]
        for net in nets:
            rule = RULES[(i + len(hidden)) % len(RULES)]
            weights = np.arange(1.0, 18) if i % 2 else None
            net.fit(X, Y, 2, 7, rule, l1=1e-3 * i, l2=1e-2 * i, sample_weight=weights)
        np.testing.assert_allclose(nets[0].parameters, nets[1].parameters, rtol=0, atol=1e-4)
        np.testing.assert_allclose(nets[0].forward(X), nets[1].forward(X), rtol=0, atol=1e-4)
        np.testing.assert_allclose(
            nets[0].predict_one(X[:, 0].copy()), nets[1].predict_one(X[:, 0]), rtol=0, atol=1e-4
        )
        assert nets[0].cost(X, Y) == pytest.approx(nets[1].cost(X, Y), rel=1e-3, abs=1e-4)
        for order in "CF":
            at = np.asarray(X, order=order)
            np.testing.assert_allclose(
                nets[0].gradient(at, Y)[1], nets[1].gradient(at, Y)[1], rtol=0, atol=1e-3
            )


@pytest.mark.parametrize("hidden", ["tanh", "softmax", "relu", "identity"])
@pytest.mark.parametrize("order", ["C", "F", "strided"])
def test_inside(hidden, order):
    net = fastnn.Network([3, 70, 2], [hidden, "softmax"])
    told, work = (inside.parameters(net), inside.layout(net)), inside.work(net)
    X = np.asarray(normal(3, 66), order="F" if order == "F" else "C")[
        :, :: -1 if "s" in order else 1
    ]
    out, dx, gradient = np.empty((2, 66), np.float32), np.empty(3, np.float32), inside.gradient(net)
    J, moved, close = np.empty((2, 3), np.float32), np.empty(2, np.float32), dict(atol=1e-5)
    about = net.parameters, net.sizes, net.activations
    inside.forward_block(*told, X, out, work)
    np.testing.assert_allclose(out, reference.network_forward(*about, X), **close)
    for call in (inside.forward, inside.linearize):
        call(*told, X[:, 5], out[:, 5], work)
        np.testing.assert_allclose(out, reference.network_forward(*about, X), **close)
    np.testing.assert_allclose(net.njit()(X[:, 5]), out[:, 5], **close)
    v, x = normal(2), X[:, 5]
    inside.vjp(*told, v, dx, gradient, work)
    for ours, expected in zip((dx, gradient), reference.vjp(*about, x, v), strict=True):
        np.testing.assert_allclose(ours, expected, **close)
    inside.vjp(*told, v, None, gradient, work)
    inside.jvp(*told, x, moved, work)
    np.testing.assert_allclose(moved, reference.jvp(*about, x, x), **close)
    inside.jacobian(*told, J, work)
    np.testing.assert_allclose(J, reference.jacobian(*about, x), **close)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{type(rule).__name__}")
def test_rules(rule):
    X, Y = normal(2, 5, dtype=np.float64), normal(1, 5, dtype=np.float64)
    nets = [
        fastnn.Network([2, 1], ["identity"], dtype=np.float64, device=device)
        for device in ("cpu", "numpy")
    ]
    for net in nets:
        net.fit(X, Y, 3, optimizer=rule, l1=1e-3, l2=1e-2)
    np.testing.assert_allclose(nets[0].parameters, nets[1].parameters, rtol=1e-12)


@pytest.mark.parametrize(
    "options", [dict(dropout=0.4), dict(clip_norm=0.01), dict(schedule=fastnn.InverseDecay())]
)
@pytest.mark.parametrize("m", [5, 150])
def test_options(options, m):
    X, Y = normal(2, m), normal(1, m)
    nets = [
        fastnn.Network([2, 5, 1], ["relu", "identity"], device=device)
        for device in ("cpu", "numpy")
    ]
    for net in nets:
        net.fit(X, Y, 2, optimizer=fastnn.Adam(0.01), **options)
    np.testing.assert_allclose(nets[0].parameters, nets[1].parameters, rtol=0, atol=1e-5)


@pytest.mark.parametrize("threads", ["1", "3"])
@pytest.mark.parametrize(
    ("sizes", "batch"), [([3, 60, 2], 70), ([30, 7, 2], 70), ([2, 3, 1], 200)], ids=str
)
@pytest.mark.parametrize("rule", [RULES[0], RULES[5]])
def test_shared_training(monkeypatch, sizes, batch, threads, rule):
    # Tiny networks, taken for work that is worth sharing: in parts and in pieces.
    monkeypatch.setattr(cpu, "_TICKET", 100.0)
    monkeypatch.setenv("FASTNN_NUM_THREADS", threads)
    cpu._cut.cache_clear()
    try:
        loss = "cross_entropy" if sizes[-1] > 1 else "binary_cross_entropy"
        X, y = normal(sizes[0], batch), np.arange(batch) % 2
        nets = [fastnn.Network(sizes, "relu", loss, device=device) for device in ("cpu", "numpy")]
        for net in nets:
            net.fit(X, y, 2, None, rule, l2=0.01 if rule is RULES[5] else 0.0)
        np.testing.assert_allclose(*(net.parameters for net in nets), rtol=0, atol=1e-5)
        (J, gradient), expected = (net.gradient(X, y) for net in nets)
        np.testing.assert_allclose(J, expected[0], rtol=1e-5)
        np.testing.assert_allclose(gradient, expected[1], rtol=0, atol=1e-5)
    finally:
        cpu._cut.cache_clear()
