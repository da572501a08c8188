"""Every function on a simulated GPU, against the reference.

The simulator runs each thread of the GPU as one of Python's: it finds wrong indices, missing
barriers and wrong formulas, in arrays small enough. Tiles are shrunk there (``kernels/cuda``), so
that these shapes cross the borders of tiles, slices and blocks. The rule by which a result passes
stands in ``tests/tolerance.py``.
"""

from __future__ import annotations

import numpy as np
import pytest
from layouts import LAYOUTS, Target, laid_out
from tolerance import assert_as_reference, wider

pytest.importorskip("numba_cuda", reason="needs numba-cuda: tox -e cudasim")
pytest.importorskip("hypothesis", reason="the table of functions draws with it")

from test_functional import (
    CASES,
    FLOATS,
    derivative_magnitude,
    forward_magnitude,
    product_magnitude,
)

import fastnn
import fastnn.functional as F
from fastnn.device import DeviceError
from fastnn.kernels import reference
from fastnn.kernels.codes import ACTIVATIONS, LOSSES

pytestmark = pytest.mark.simulator

# (n, k, m): one value, primes, tiles of 4, 8 and 16 with their neighbours, tall, thin, slices.
SHAPES = (
    (1, 1, 1),
    (2, 3, 5),
    (4, 8, 4),
    (9, 7, 17),
    (16, 5, 3),
    (1, 33, 2),
    (3, 2, 35),
    (37, 19, 18),
)
FEW = ("relu", "gelu", "softmax")

both_types = pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.__name__)


@pytest.fixture(autouse=True)
def on_cuda():
    """Compute on the simulated GPU."""
    with fastnn.use_device("cuda") as name:
        assert name == "cuda:0"
        yield


def few(case):
    return case.activation is None or case.activation in FEW


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@both_types
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_every_shape(case, dtype, shape):
    arrays = case.draw(shape, dtype)
    case.check(case.compute(arrays), arrays)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", [case for case in CASES if few(case)], ids=lambda case: case.id)
def test_every_layout(case, layout):
    arrays = case.draw((5, 6, 7), np.float32)
    arrays = {name: laid_out(array, layout) for name, array in arrays.items()}
    case.check(case.compute(arrays), arrays)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_out_in_every_layout(layout):
    for case in CASES:
        if few(case):
            arrays = case.draw((5, 6, 7), np.float32)
            target = Target(case.formula(arrays)(np.float32).shape, np.float32, layout)
            assert case.compute(arrays, out=target.out) is target.out
            target.check()
            case.check(target.out, arrays)


@pytest.mark.parametrize("case", [case for case in CASES if few(case)], ids=lambda case: case.id)
def test_the_same_bits_every_time(case):
    arrays = case.draw((9, 7, 33), np.float32)
    assert case.compute(arrays).tobytes() == case.compute(arrays).tobytes()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@both_types
def test_layer_forward(activation, dtype):
    random = np.random.default_rng(3)
    W, X, b = (random.standard_normal(s).astype(dtype) for s in ((17, 5), (9, 5), (17, 1)))
    A, Z = F.layer_forward(X.T, W, b, activation)
    wide = [array.astype(wider(dtype)) for array in (W, X.T, b)]
    size = product_magnitude(wide[0], wide[1]) + np.abs(wide[2])
    assert_as_reference(Z, lambda kind: reference.linear_forward(X.T, W, b, dtype=kind), size)
    # From this Z, A is as good as the activation alone.
    assert np.array_equal(A, F.activation_forward(Z, activation))


@pytest.mark.parametrize("rows", [False, True])
def test_more_slices_than_are_added_in_one_go(rows):
    dZ = np.random.default_rng(6).standard_normal((2, 450)).astype(np.float32)
    dZ = np.asfortranarray(dZ) if rows else dZ
    found = F.bias_gradient(dZ)
    size = np.abs(dZ).mean(axis=1, keepdims=True)
    assert_as_reference(found, lambda kind: reference.bias_gradient(dZ, dtype=kind), size)


@pytest.mark.parametrize("rows", [False, True])
@both_types
def test_linear_backward_is_its_parts(dtype, rows):
    random = np.random.default_rng(4)
    dZ, A, W = (random.standard_normal(s).astype(dtype) for s in ((3, 21), (9, 21), (3, 9)))
    if rows:
        dZ, A = np.asfortranarray(dZ), np.asfortranarray(A)
    dA, dW, db = F.linear_backward(dZ, A, W)
    wide = [array.astype(wider(dtype)) for array in (dZ, A, W)]
    assert_as_reference(
        dA,
        lambda kind: reference.input_gradient(W, dZ, dtype=kind),
        product_magnitude(wide[2].T, wide[0]),
    )
    assert np.array_equal(dW, F.weight_gradient(dZ, A))
    assert np.array_equal(db, F.bias_gradient(dZ))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("loss", LOSSES)
@both_types
def test_cost(loss, dtype, order):
    random = np.random.default_rng(5)
    for shape in ((1, 1), (3, 5), (5, 23)):
        A = np.asarray(random.uniform(0.05, 0.95, shape).astype(dtype), order=order)
        Y = np.round(random.uniform(0, 1, shape)).astype(dtype)
        J = F.cost(A, Y, loss, delta=0.4)
        losses = reference.losses(A, Y, loss, 0.4, dtype=wider(dtype))
        size = np.abs(losses).mean() + 1  # the parts of a Poisson loss cancel
        assert_as_reference(
            J, lambda kind: reference.cost(A, Y, loss, 0.4, dtype=kind), size, dtype
        )


def test_cost_of_labels():
    A = np.array([[0.25, 0.5], [0.75, 0.5]])
    assert F.cost(A, [1, 0], "cross_entropy") == pytest.approx(-np.log([0.75, 0.5]).mean())


@both_types
def test_gradient_step(dtype):
    for shape in ((), (1,), (37,), (3, 5), (2, 3, 4)):
        w, g = np.full(shape, 2, dtype), np.full(shape, 0.5, dtype)
        F.gradient_step(w, g, 0.25)
        assert np.array_equal(w, np.full(shape, 1.875, dtype))


@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name != "softmax"])
@both_types
def test_special_values(activation, dtype):
    Z = np.array([[0.0, -0.0, np.nan, np.inf, -np.inf, 90.0, -90.0, 800.0, -800.0]], dtype)
    wide = Z.astype(wider(dtype))
    with np.errstate(all="ignore"):
        sizes = forward_magnitude(wide, activation), derivative_magnitude(wide, activation)
    for name, size in zip(("activation_forward", "activation_derivative"), sizes, strict=True):
        formula = getattr(reference, name)
        found = getattr(F, name)(Z, activation)
        assert_as_reference(found, lambda kind, f=formula: f(Z, activation, dtype=kind), size)


def test_derivatives_at_zero():
    for name, slope in (("relu", 1.0), ("leaky_relu", 1.0), ("elu", 1.0), ("gelu", 0.5)):
        assert F.activation_derivative([[0.0, -0.0]], name).tolist() == [[slope, slope]]


def test_softmax_does_not_overflow():
    A = F.softmax(np.array([[1e4, -1e4], [0, 0]], np.float32))
    assert A.tolist() == [[1, 0], [0, 1]]


def test_another_gpu_than_there_is():
    with pytest.raises(DeviceError, match="there are 1 GPUs"):
        F.relu([[1.0]], device="cuda:3")
    with pytest.raises(DeviceError, match="there are 1 GPUs"), fastnn.use_device("cuda:3"):
        pass
    with pytest.raises(DeviceError, match="there are 1 GPUs"):
        fastnn.Network([1, 1], ["tanh"], device="cuda:3")


def test_the_simulator_is_listed():
    found = [d for d in fastnn.devices() if d.name == "cuda:0"]
    assert found[0].available
    assert "simulator" in found[0].detail
