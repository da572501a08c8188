"""Every function on the GPU against the reference, at the sizes of its real tiles and beyond.

The rule by which a result passes stands in ``tests/tolerance.py``.
"""

from __future__ import annotations

import numpy as np
import pytest
from gpu_machine import Strided, sized, to_host
from layouts import LAYOUTS, laid_out
from tolerance import assert_as_reference, wider

pytest.importorskip("hypothesis", reason="the table of functions draws with it")

from test_functional import (
    CASES,
    FLOATS,
    derivative_magnitude,
    forward_magnitude,
    product_magnitude,
)

import fastnn.functional as F
from fastnn.kernels import reference
from fastnn.kernels.codes import ACTIVATIONS, LOSSES

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("on_gpu")]

FEW = ("relu", "gelu", "softmax")
both_types = pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.__name__)

# (n, k, m): outputs, inputs, examples. The tiles of a product are 32 and 128 wide in float32, 16
# and 64 in float64; large ones are taken from 64 of them on, and a small result with long sums is
# cut into slices. Sums of rows are cut every 256 x 64 values.
SHAPES = sized(
    (
        (1, 1, 1),
        (2, 3, 5),
        (31, 33, 32),
        (129, 127, 130),
        (257, 1, 30),
    ),
    ((1, 1, 1), (9, 7, 17), (16, 5, 3), (3, 2, 35)),
)
LARGE = sized(
    (
        (128, 64, 8192),  # 64 whole tiles
        (130, 37, 8190),  # large tiles, cut at every border
        (64, 32, 40_000),
        (3, 5, 100_003),
        (20_011, 3, 2),
        (1000, 777, 513),
        (1100, 301, 1021),
    ),
    ((21, 11, 18),),
)
MIDDLE = sized((67, 45, 130), (5, 6, 7))
MILLIONS = sized(5_000_011, 61)


def few(case):
    return case.activation is None or case.activation in FEW


FEW_CASES = [case for case in CASES if few(case)]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
few_cases = pytest.mark.parametrize("case", FEW_CASES, ids=lambda case: case.id)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@both_types
@every_case
def test_every_shape(case, dtype, shape):
    arrays = case.draw(shape, dtype)
    case.check(case.compute(arrays), arrays)


@pytest.mark.parametrize("shape", LARGE, ids=str)
@both_types
@pytest.mark.parametrize("order", ["C", "F"])
@few_cases
def test_large(case, order, dtype, shape):
    arrays = {name: laid_out(array, order) for name, array in case.draw(shape, dtype).items()}
    case.check(case.compute(arrays), arrays)


@pytest.mark.parametrize("seed", range(sized(20, 2)))
def test_random_shapes(seed):
    random = np.random.default_rng(seed)
    largest = sized((700, 700, 3000), (20, 20, 30))
    shape = tuple(int(np.exp(random.uniform(0, np.log(n + 1)))) for n in largest)
    for case in FEW_CASES:
        dtype = FLOATS[random.integers(2)]
        arrays = {
            name: laid_out(array, LAYOUTS[random.integers(len(LAYOUTS))])
            for name, array in case.draw(shape, dtype, seed).items()
        }
        case.check(case.compute(arrays), arrays)


@pytest.mark.parametrize("layout", LAYOUTS)
@both_types
@every_case
def test_every_layout_in_the_memory_of_the_gpu(case, dtype, layout):
    arrays = {name: laid_out(array, layout) for name, array in case.draw(MIDDLE, dtype, 1).items()}
    there = {name: Strided(array) for name, array in arrays.items()}
    case.check(to_host(case.compute(there)), arrays)
    for name, array in there.items():
        base, view = array.surroundings()
        assert np.array_equal(view, arrays[name]), f"{name} was changed"
        assert np.isnan(base).sum() == base.size - view.size, f"wrote around {name}"


@pytest.mark.parametrize("layout", LAYOUTS)
@both_types
@few_cases
def test_out_in_every_layout_in_the_memory_of_the_gpu(case, dtype, layout):
    arrays = case.draw(MIDDLE, dtype, 2)
    there = {name: Strided(array) for name, array in arrays.items()}
    shape = case.formula(arrays)(np.float32).shape
    out = Strided(laid_out(np.zeros(shape, dtype), layout))
    assert case.compute(there, out=out) is out
    base, view = out.surroundings()
    case.check(view.copy(), arrays)
    assert np.isnan(base).sum() == base.size - view.size, "wrote outside of out"


@few_cases
def test_out_may_be_an_input(case):
    shape = sized((90, 90, 90), (9, 9, 9))
    drawn = case.draw(shape, np.float32, 3)
    expected = case.compute(drawn)
    for name, array in drawn.items():
        if array.shape == expected.shape:
            there = {other: Strided(a) for other, a in drawn.items()}
            case.compute(there, out=there[name])
            case.check(there[name].host(), drawn)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_millions_of_values(activation):
    shape = (10, MILLIONS // 10) if activation == "softmax" else (1, MILLIONS)
    names = "activation_forward", "activation_derivative", "activation_backward"
    for case in CASES:
        if case.activation == activation and case.name in names:
            arrays = case.draw((shape[0], 1, shape[1]), np.float32, 4)
            case.check(case.compute(arrays), arrays)


@pytest.mark.parametrize("n", sized((1, 2, 31, 33, 1000, 5003), (1, 2, 7)))
@pytest.mark.parametrize("order", ["C", "F"])
@both_types
def test_columns_of_softmax(dtype, order, n):
    for case in CASES:
        if case.activation == "softmax":
            arrays = case.draw((n, 3, sized(257, 5)), dtype, 5)
            arrays = {name: laid_out(array, order) for name, array in arrays.items()}
            case.check(case.compute(arrays), arrays)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@both_types
def test_layer_forward(activation, dtype):
    random = np.random.default_rng(6)
    n_out, n_in, m = sized((150, 70, 7000), (17, 5, 9))
    W, X, b = (
        random.standard_normal(size).astype(dtype)
        for size in ((n_out, n_in), (m, n_in), (n_out, 1))
    )
    A, Z = F.layer_forward(X.T, W, b, activation)
    wide = [array.astype(wider(dtype)) for array in (W, X.T, b)]
    size = product_magnitude(wide[0], wide[1]) + np.abs(wide[2])
    assert_as_reference(Z, lambda kind: reference.linear_forward(X.T, W, b, dtype=kind), size)
    # From this Z, A is as good as the activation alone.
    assert np.array_equal(A, F.activation_forward(Z, activation))


@pytest.mark.parametrize("rows", [False, True])
@both_types
def test_linear_backward_is_its_parts(dtype, rows):
    random = np.random.default_rng(7)
    n_out, n_in, m = sized((130, 70, 9001), (3, 9, 21))
    shapes = (n_out, m), (n_in, m), (n_out, n_in)
    dZ, A, W = (random.standard_normal(size).astype(dtype) for size in shapes)
    if rows:
        dZ, A = np.asfortranarray(dZ), np.asfortranarray(A)
    dA, dW, db = F.linear_backward(dZ, A, W)
    wide = [array.astype(wider(dtype)) for array in (dZ, W)]
    assert_as_reference(
        dA,
        lambda kind: reference.input_gradient(W, dZ, dtype=kind),
        product_magnitude(wide[1].T, wide[0]),
    )
    assert np.array_equal(dW, F.weight_gradient(dZ, A))
    assert np.array_equal(db, F.bias_gradient(dZ))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("loss", LOSSES)
@both_types
def test_cost(loss, dtype, order):
    random = np.random.default_rng(8)
    for shape in sized(((1, 1), (3, 5), (10, 4001), (1, 1_000_003)), ((1, 1), (3, 5), (5, 23))):
        A = np.asarray(random.uniform(0.05, 0.95, shape).astype(dtype), order=order)
        Y = np.round(random.uniform(0, 1, shape)).astype(dtype)
        J = F.cost(A, Y, loss, delta=0.4)
        losses = reference.losses(A, Y, loss, 0.4, dtype=wider(dtype))
        size = np.abs(losses).mean() + 1  # the parts of a Poisson loss cancel
        assert_as_reference(
            J, lambda kind: reference.cost(A, Y, loss, 0.4, dtype=kind), size, dtype
        )


@both_types
def test_gradient_step(dtype):
    random = np.random.default_rng(9)
    for shape in ((), (1,), (37,), (3, 5), (2, 3, 4), (MILLIONS,)):
        w, g = (np.asarray(random.standard_normal(shape), dtype) for _ in range(2))
        found = w.copy()
        F.gradient_step(found, g, 0.25)
        # One product, exact here, and one difference: the same bits with and without an FMA.
        assert np.array_equal(found, w - dtype(0.25) * g)


@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name != "softmax"])
@both_types
def test_special_values(activation, dtype):
    tiny = np.finfo(dtype).smallest_subnormal
    Z = np.array([[0.0, -0.0, np.nan, np.inf, -np.inf, 90.0, -90.0, 800.0, -800.0, tiny]], dtype)
    wide = Z.astype(wider(dtype))
    with np.errstate(all="ignore"):
        sizes = forward_magnitude(wide, activation), derivative_magnitude(wide, activation)
    for name, size in zip(("activation_forward", "activation_derivative"), sizes, strict=True):
        formula = getattr(reference, name)
        found = getattr(F, name)(Z, activation)
        assert_as_reference(found, lambda kind, f=formula: f(Z, activation, dtype=kind), size)


@pytest.mark.hardware
def test_more_values_than_32_bits_count(cuda):
    n = 2**31 + 13
    free = cuda.current_context().get_memory_info()[0]
    if free < 2 * 4 * n + 2**30:
        pytest.skip(f"needs 17 GiB of the GPU's memory, {free / 2**30:.1f} are free")
    Z = cuda.device_array((1, n), np.float32)
    ends = np.array([-2, 3, -5, 7, -11, 13, -17, 19], np.float32)
    flat = Z.reshape(n)
    flat[:8].copy_to_device(ends)
    flat[n - 8 :].copy_to_device(-ends)
    F.relu(Z, out=Z)
    assert np.array_equal(flat[:8].copy_to_host(), np.maximum(ends, 0))
    assert np.array_equal(flat[n - 8 :].copy_to_host(), np.maximum(-ends, 0))
    double, one = np.full((1, 1), 2, np.float32), np.ones((1, 1), np.float32)
    found = F.linear_forward(Z, double, one).reshape(n)
    assert np.array_equal(found[n - 8 :].copy_to_host(), 2 * np.maximum(-ends, 0) + 1)
