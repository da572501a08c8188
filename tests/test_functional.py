"""fastnn.functional, computed twice: by a device, and by the formulas of the reference.

Every function meets every shape and memory layout that hurts, in both types. The rule by which a
result passes stands in ``tolerance.py``, and nowhere else.
"""

from __future__ import annotations

import inspect
import math
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from layouts import LAYOUTS, Target, assert_unchanged, laid_out, photograph
from tolerance import FLOOR, assert_as_reference, wider

import fastnn.functional as F
from fastnn.kernels import reference
from fastnn.kernels.codes import ACTIVATIONS, LOSSES

FLOATS = (np.float32, np.float64)
DEVICES = ("cpu", "numpy")
ELEMENTWISE = tuple(name for name in ACTIVATIONS if name != "softmax")
NAMED = ("sigmoid", "tanh", "relu", "leaky_relu", "softmax")

# (n, k, m): outputs, inputs, examples. 1, primes, a vector of 16 and its neighbours, a block of
# 256 or 512 and its neighbours, tall and thin.
SHAPES = (
    (1, 1, 1),
    (2, 3, 5),
    (7, 11, 13),
    (15, 16, 17),
    (17, 15, 16),
    (16, 17, 15),
    (63, 64, 65),
    (64, 65, 63),
    (65, 63, 64),
    (3, 5, 511),
    (2, 3, 512),
    (5, 2, 513),
    (700, 4, 3),
    (3, 700, 2),
    (1, 1025, 1),
    (1, 1, 1025),
    (6, 257, 33),
    (5, 300, 12),
    (12, 5, 300),
)
SMALL = ((7, 11, 13), (18, 20, 34))

finite_float32 = st.floats(-1e4, 1e4, width=32)


# ------------------------------------------------------------------ every function, as one table


def tiny(array):
    return np.finfo(np.float32 if array.dtype == np.float64 else np.float64).tiny


def forward_magnitude(Z, activation):
    """Return the size of what g(Z) is made of; Z in the wider type.

    The reference's gelu rounds its argument -z / sqrt 2, and erfc turns half an ULP of that into
    z^2 ULP: hence the unit grows by 1 + z^2 there.
    """
    A = np.abs(reference.activation_forward(Z, activation, dtype=Z.dtype.type))
    if activation in ("gelu", "silu"):
        # z times a factor that may be denormal, whose rounding z multiplies.
        A = np.maximum(A, np.abs(Z) * tiny(Z))
    return A * (1 + Z * Z) if activation == "gelu" else A


def derivative_magnitude(Z, activation):
    """Return the size of what g'(Z) is made of."""
    kind = Z.dtype.type
    if activation == "softmax":
        return reference.softmax(Z, dtype=kind)
    if activation == "silu":
        s = reference.sigmoid(Z, dtype=kind)
        rest = np.maximum(s * reference.sigmoid(-Z, dtype=kind), tiny(Z))
        return s + np.abs(Z) * rest
    if activation == "gelu":
        # P(z) + |z| p(z)
        density = np.maximum(np.exp(-Z * Z / 2) / np.sqrt(2 * np.pi), tiny(Z))
        slope = reference.activation_derivative(Z, activation, dtype=kind)
        return (slope + (np.abs(Z) - Z) * density) * (1 + Z * Z)
    return np.abs(reference.activation_derivative(Z, activation, dtype=kind))


def backward_magnitude(dA, Z, activation):
    """Return the size of what dA * g'(Z) is made of, for dA made of parts of the size ``dA``."""
    if activation == "softmax":
        A = np.maximum(reference.softmax(Z, dtype=Z.dtype.type), tiny(Z))
        return A * (dA + (dA * A).sum(axis=0))
    return dA * np.maximum(derivative_magnitude(Z, activation), tiny(Z))


def product_magnitude(left, right):
    """Return |left| |right|, and what denormal products may lose."""
    return np.abs(left) @ np.abs(right) + left.shape[1] * tiny(left)


@dataclass(frozen=True)
class Case:
    """A function of fastnn.functional, how to call it, and what it is compared with."""

    name: str
    activation: str | None
    arguments: Any  # (n, k, m) -> the shapes of its arrays
    magnitude: Any  # of its arrays in the wider type

    @property
    def id(self):
        return self.name if self.activation is None else f"{self.name}-{self.activation}"

    def draw(self, shape, dtype, seed=0):
        random = np.random.default_rng([seed, *shape])
        shapes = self.arguments(*shape)
        return {
            name: (random.standard_normal(size) * (3 if name == "Z" else 1)).astype(dtype)
            for name, size in shapes.items()
        }

    def compute(self, arrays, **options):
        others = {} if self.activation is None else {"activation": self.activation}
        return getattr(F, self.name)(**arrays, **others, **options)

    def formula(self, arrays):
        others = {} if self.activation is None else {"activation": self.activation}
        function = getattr(reference, self.name)
        return lambda kind: function(**arrays, **others, dtype=kind)

    def check(self, found, arrays):
        dtype = found.dtype
        wide = {name: array.astype(wider(dtype)) for name, array in arrays.items()}
        with np.errstate(all="ignore"):
            magnitude = self.magnitude(**wide)
        assert_as_reference(found, self.formula(arrays), magnitude)


def cases():
    yield Case(
        "linear_forward",
        None,
        lambda n, k, m: {"A_prev": (k, m), "W": (n, k), "b": (n, 1)},
        lambda A_prev, W, b: product_magnitude(W, A_prev) + np.abs(b),
    )
    yield Case(
        "output_gradient",
        None,
        lambda n, k, m: {"A": (n, m), "Y": (n, m)},
        lambda A, Y: np.abs(A) + np.abs(Y),
    )
    yield Case(
        "weight_gradient",
        None,
        lambda n, k, m: {"dZ": (n, m), "A_prev": (k, m)},
        lambda dZ, A_prev: product_magnitude(dZ, A_prev.T) / dZ.shape[1] + tiny(dZ),
    )
    yield Case(
        "bias_gradient",
        None,
        lambda n, k, m: {"dZ": (n, m)},
        lambda dZ: np.abs(dZ).mean(axis=1, keepdims=True),
    )
    for g in ACTIVATIONS:
        yield Case(
            "activation_forward",
            g,
            lambda n, k, m: {"Z": (n, m)},
            lambda Z, g=g: forward_magnitude(Z, g),
        )
        yield Case(
            "activation_derivative",
            g,
            lambda n, k, m: {"Z": (n, m)},
            lambda Z, g=g: derivative_magnitude(Z, g),
        )
        yield Case(
            "activation_backward",
            g,
            lambda n, k, m: {"dA": (n, m), "Z": (n, m)},
            lambda dA, Z, g=g: backward_magnitude(np.abs(dA), Z, g),
        )
        yield Case(
            "hidden_gradient",
            g,
            lambda n, k, m: {"W_next": (k, n), "dZ_next": (k, m), "Z": (n, m)},
            lambda W_next, dZ_next, Z, g=g: backward_magnitude(
                product_magnitude(W_next.T, dZ_next), Z, g
            ),
        )


CASES = tuple(cases())
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
both_types = pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.__name__)
both_devices = pytest.mark.parametrize("device", DEVICES)


def test_the_table_holds_every_function():
    table = {case.name for case in CASES} | set(NAMED)
    elsewhere = {"cost", "gradient_step", "layer_forward", "linear_backward"}
    assert table | elsewhere == set(F.__all__)
    assert not table & elsewhere
    for name in F.__all__:
        assert callable(getattr(F, name))


# ------------------------------------------------------------------ shapes and layouts


@pytest.mark.compiled  # as Python, the large shapes take minutes
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@both_types
@every_case
def test_every_shape(case, dtype, shape):
    for order in ("C", "F"):
        arrays = {name: laid_out(a, order) for name, a in case.draw(shape, dtype).items()}
        before = photograph(arrays)
        found = case.compute(arrays, device="cpu")
        assert found.dtype == dtype
        case.check(found, arrays)
        assert_unchanged(before, arrays)


@pytest.mark.parametrize("layout", LAYOUTS)
@both_types
@every_case
def test_every_layout(case, dtype, layout):
    for shape in SMALL:
        drawn = case.draw(shape, dtype, seed=1)
        same = {name: laid_out(a, layout) for name, a in drawn.items()}
        # The same layout for all arguments, and another one for each.
        at = LAYOUTS.index(layout)
        mixed = {
            name: laid_out(a, LAYOUTS[(at + 3 * i) % len(LAYOUTS)])
            for i, (name, a) in enumerate(drawn.items())
        }
        for arrays in (same, mixed):
            before = photograph(arrays)
            found = case.compute(arrays, device="cpu")
            case.check(found, arrays)
            assert_unchanged(before, arrays)


@pytest.mark.parametrize("layout", LAYOUTS)
@both_types
@every_case
def test_out_in_every_layout(case, dtype, layout):
    for shape, order in zip(SMALL, ("C", "F"), strict=True):
        arrays = {name: laid_out(a, order) for name, a in case.draw(shape, dtype, 2).items()}
        before = photograph(arrays)
        expected = case.compute(arrays, device="cpu")
        target = Target(expected.shape, dtype, layout)
        assert case.compute(arrays, out=target.out, device="cpu") is target.out
        case.check(target.out, arrays)
        np.testing.assert_array_equal(target.out, expected)
        target.check()
        assert_unchanged(before, arrays)


@both_devices
@both_types
@every_case
def test_out_may_be_an_input(case, dtype, device):
    # (9, 9, 9): every argument but the biases has the shape of the result.
    for layout in ("C", "F", "reversed", "slice"):
        drawn = case.draw((9, 9, 9), dtype, seed=3)
        expected = case.compute(drawn, device=device)
        for name in drawn:
            arrays = {other: laid_out(a, layout) for other, a in drawn.items()}
            out = arrays[name]
            if out.shape != expected.shape:
                assert name == "b" or case.name == "bias_gradient"
                continue
            others = {other: a for other, a in arrays.items() if other != name}
            before = photograph(others)
            assert case.compute(arrays, out=out, device=device) is out
            case.check(out.copy(), drawn)
            assert_unchanged(before, others)


@both_devices
@both_types
@every_case
def test_out_may_overlap_an_input(case, dtype, device):
    drawn = case.draw((9, 9, 9), dtype, seed=4)
    expected = case.compute(drawn, device=device)
    for name in drawn:
        if drawn[name].shape != expected.shape:
            continue
        for shift in ((0, 1), (1, 0), (1, 1)):
            # Two windows of one array, apart by less than their size, either one first.
            for forward in (True, False):
                base = np.full((9 + shift[0], 9 + shift[1]), np.nan, dtype)
                windows = [base[:9, :9], base[shift[0] :, shift[1] :]]
                source, out = windows if forward else windows[::-1]
                source[...] = drawn[name]
                arrays = {**drawn, name: source}
                assert case.compute(arrays, out=out, device=device) is out
                case.check(out.copy(), drawn)
        # The transpose of the input: the same memory in another order.
        source = drawn[name].copy()
        case.compute({**drawn, name: source}, out=source.T, device=device)
        case.check(source.T.copy(), drawn)


@pytest.mark.parametrize("layout", LAYOUTS)
@both_types
@every_case
def test_numpy_device(case, dtype, layout):
    for shape in ((1, 1, 1), *SMALL):
        arrays = {name: laid_out(a, layout) for name, a in case.draw(shape, dtype, 5).items()}
        before = photograph(arrays)
        found = case.compute(arrays, device="numpy")
        assert found.dtype == dtype
        case.check(found, arrays)
        target = Target(found.shape, dtype, layout)
        assert case.compute(arrays, out=target.out, device="numpy") is target.out
        np.testing.assert_array_equal(target.out, found)
        target.check()
        assert_unchanged(before, arrays)


@both_devices
@both_types
@every_case
def test_results_are_new_arrays_and_the_same_every_time(case, dtype, device):
    arrays = case.draw((18, 20, 34), dtype, seed=6)
    first = case.compute(arrays, device=device)
    assert first.flags.writeable
    for array in arrays.values():
        assert not np.shares_memory(first, array)
    second = case.compute(arrays, device=device)
    assert first.tobytes() == second.tobytes()
    assert not np.shares_memory(first, second)


@both_types
def test_elementwise_results_have_the_memory_order_of_z(dtype):
    Z = np.arange(12, dtype=dtype).reshape(3, 4)
    for g in ACTIVATIONS:
        for function in (F.activation_forward, F.activation_derivative):
            assert function(Z, g).flags.c_contiguous
            assert function(Z.T, g).flags.f_contiguous
            assert not function(Z.T, g).flags.c_contiguous


@both_devices
@both_types
def test_three_one_and_no_dimensions(dtype, device):
    cube = np.random.default_rng(7).standard_normal((3, 4, 5)).astype(dtype)
    forms = (
        cube,
        cube.T,
        cube[::2, ::-1, 1:],
        cube[0, 0],
        cube[:, 1, 2],
        np.asarray(cube[1, 2, 3]),
    )
    for g in ELEMENTWISE:
        for Z in forms:
            wide = Z.astype(wider(dtype))
            A = F.activation_forward(Z, g, device=device)
            assert isinstance(A, np.ndarray)
            assert A.dtype == dtype
            assert_as_reference(
                A,
                lambda kind, Z=Z, g=g: reference.activation_forward(Z, g, dtype=kind),
                forward_magnitude(wide, g),
            )
            D = F.activation_derivative(Z, g, out=np.full(Z.shape, np.nan, dtype), device=device)
            assert_as_reference(
                D,
                lambda kind, Z=Z, g=g: reference.activation_derivative(Z, g, dtype=kind),
                derivative_magnitude(wide, g),
            )
            out = np.full((*Z.shape, 2), np.nan, dtype)[..., 0]
            assert F.activation_backward(A, Z, g, out=out, device=device) is out
            np.testing.assert_array_equal(out, F.activation_backward(A, Z, g, device=device))
            assert np.isfinite(out).all()
        dZ = F.output_gradient(cube.T, cube.T[::-1], device=device)
        np.testing.assert_array_equal(dZ, cube.T - cube.T[::-1])


# ------------------------------------------------------------------ types


@both_devices
@every_case
def test_integers_and_booleans_become_floats(case, device):
    random = np.random.default_rng(8)
    shapes = case.arguments(4, 3, 5)
    for kind in (np.int8, np.int64, np.uint16, bool):
        whole = {name: random.integers(0, 2, size).astype(kind) for name, size in shapes.items()}
        before = photograph(whole)
        found = case.compute(whole, device=device)
        assert found.dtype == np.float64
        floats = {name: a.astype(np.float64) for name, a in whole.items()}
        assert found.tobytes() == case.compute(floats, device=device).tobytes()
        lists = {name: a.tolist() for name, a in whole.items()}
        assert found.tobytes() == case.compute(lists, device=device).tobytes()
        assert_unchanged(before, whole)
        # One float32 among them decides.
        if len(whole) > 1:
            one = next(iter(whole))
            found = case.compute({**whole, one: whole[one].astype(np.float32)}, device=device)
            assert found.dtype == np.float32


@both_devices
@both_types
def test_other_byte_order_is_read(dtype, device):
    Z = np.random.default_rng(9).standard_normal((5, 7)).astype(dtype)
    swapped = Z.astype(Z.dtype.newbyteorder())
    found = F.tanh(swapped, device=device)
    assert found.dtype == Z.dtype
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, F.tanh(Z, device=device))


@both_devices
def test_memory_that_is_not_aligned_is_read_and_written(device):
    def unaligned(array):
        memory = bytearray(array.nbytes + 1)
        view = np.frombuffer(memory, array.dtype, array.size, 1).reshape(array.shape)
        view[...] = array
        assert not view.flags.aligned
        return view

    Z = np.random.default_rng(10).standard_normal((5, 19))
    out = unaligned(np.zeros_like(Z))
    F.sigmoid(unaligned(Z), out=out, device=device)
    np.testing.assert_array_equal(out, F.sigmoid(Z, device=device))


def frozen(array):
    array.setflags(write=False)
    return array


@both_devices
def test_read_only_arrays_are_read(device):
    random = np.random.default_rng(11)
    A_prev, W, b = (random.standard_normal(size) for size in ((4, 9), (3, 4), (3, 1)))
    found = F.linear_forward(*(frozen(a.copy()) for a in (A_prev, W, b)), device=device)
    np.testing.assert_array_equal(found, F.linear_forward(A_prev, W, b, device=device))


@pytest.mark.compiled
def test_read_only_arrays_compile_nothing_new():
    from fastnn.kernels.cpu import activations

    Z = np.random.default_rng(12).standard_normal((4, 9))
    expected = F.sigmoid(Z, device="cpu")
    before = len(activations.activation_forward.signatures)
    np.testing.assert_array_equal(F.sigmoid(frozen(Z), device="cpu"), expected)
    assert len(activations.activation_forward.signatures) == before, (
        "a read-only array (any pandas column) waits for the compiler"
    )


# ------------------------------------------------------------------ functions of several results


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@both_types
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_layer_forward(activation, dtype, shape):
    linear = CASES[0]
    for device, layout in (("cpu", "C"), ("cpu", "F"), ("cpu", "slice"), ("numpy", "F")):
        if device == "numpy" and shape not in SHAPES[:4]:
            continue
        arrays = {name: laid_out(a, layout) for name, a in linear.draw(shape, dtype, 13).items()}
        before = photograph(arrays)
        A, Z = F.layer_forward(**arrays, activation=activation, device=device)
        assert A.dtype == Z.dtype == dtype
        assert not np.shares_memory(A, Z)
        linear.check(Z, arrays)
        if device == "cpu":
            # A = g(Z) of the very Z that is returned.
            assert_as_reference(
                A,
                lambda kind, Z=Z: reference.activation_forward(Z, activation, dtype=kind),
                forward_magnitude(Z.astype(wider(dtype)), activation),
            )
        else:
            # Z is rounded to its type after A was computed from it.
            exact, _ = reference.layer_forward(**arrays, activation=activation)
            np.testing.assert_array_equal(A, exact.astype(dtype))
        assert_unchanged(before, arrays)


@pytest.mark.parametrize("layout", LAYOUTS)
@both_types
@both_devices
def test_linear_backward(device, dtype, layout):
    shapes = SHAPES if layout in ("C", "F") and device == "cpu" else SMALL
    for n, k, m in shapes:
        random = np.random.default_rng([14, n, k, m])
        drawn = {"dZ": (n, m), "A_prev": (k, m), "W": (n, k)}
        arrays = {
            name: laid_out(random.standard_normal(size).astype(dtype), layout)
            for name, size in drawn.items()
        }
        before = photograph(arrays)
        dA_prev, dW, db = F.linear_backward(**arrays, device=device)
        assert dA_prev.dtype == dW.dtype == db.dtype == dtype
        wide = {name: a.astype(wider(dtype)) for name, a in arrays.items()}
        magnitudes = (
            product_magnitude(wide["W"].T, wide["dZ"]),
            product_magnitude(wide["dZ"], wide["A_prev"].T) / m,
            np.abs(wide["dZ"]).mean(axis=1, keepdims=True),
        )
        for i, found in enumerate((dA_prev, dW, db)):
            assert_as_reference(
                found,
                lambda kind, i=i, a=arrays: reference.linear_backward(**a, dtype=kind)[i],
                magnitudes[i],
            )
        assert_unchanged(before, arrays)


@both_devices
@both_types
def test_linear_backward_is_its_three_parts(dtype, device):
    random = np.random.default_rng(15)
    dZ, A_prev, W = (random.standard_normal(s).astype(dtype) for s in ((5, 33), (9, 33), (5, 9)))
    dA_prev, dW, db = F.linear_backward(dZ, A_prev, W, device=device)
    np.testing.assert_array_equal(dW, F.weight_gradient(dZ, A_prev, device=device))
    np.testing.assert_array_equal(db, F.bias_gradient(dZ, device=device))
    Z = np.zeros_like(A_prev)
    np.testing.assert_array_equal(dA_prev, F.hidden_gradient(W, dZ, Z, "identity", device=device))


# ------------------------------------------------------------------ cost


def outputs_and_targets(loss, n, m, dtype, seed=16):
    random = np.random.default_rng([seed, n, m])
    if loss == "cross_entropy":
        A = reference.softmax(random.standard_normal((n, m)))
        Y = np.eye(n)[:, random.integers(0, n, m)]
    elif loss == "binary_cross_entropy":
        A = reference.sigmoid(3 * random.standard_normal((n, m)))
        Y = random.integers(0, 2, (n, m))
    elif loss == "poisson":
        A = np.exp(random.standard_normal((n, m)))
        Y = random.poisson(A)
    else:
        A, Y = random.standard_normal((2, n, m))
    return A.astype(dtype), Y.astype(dtype)


def magnitude(loss, A, Y):
    """Return what a cost sums on its way, where terms cancel."""
    if loss != "poisson":
        return None
    terms = A + Y + np.abs(np.where(Y > 0, Y * np.log(np.maximum(Y, 1)), 0)) + np.abs(Y * np.log(A))
    return terms.sum(axis=0).mean()


@pytest.mark.parametrize("layout", LAYOUTS)
@both_types
@pytest.mark.parametrize("loss", LOSSES)
@both_devices
def test_cost(device, loss, dtype, layout):
    shapes = [(n, m) for n, _, m in (SHAPES if layout in ("C", "F") else SMALL)]
    for n, m in shapes:
        A, Y = outputs_and_targets(loss, n, m, dtype)
        at = LAYOUTS.index(layout)
        arrays = {"A": laid_out(A, layout), "Y": laid_out(Y, LAYOUTS[(at + n) % len(LAYOUTS)])}
        before = photograph(arrays)
        J = F.cost(**arrays, loss=loss, device=device)
        assert type(J) is float
        assert_as_reference(
            J,
            lambda kind, A=A, Y=Y: reference.cost(A, Y, loss, dtype=kind),
            magnitude(loss, A, Y),
            dtype,
        )
        assert_unchanged(before, arrays)


@both_types
@both_devices
def test_cost_of_labels(device, dtype):
    A, Y = outputs_and_targets("cross_entropy", 4, 33, dtype)
    labels = Y.argmax(axis=0)
    J = F.cost(A, Y, "cross_entropy", device=device)
    for kind in (np.int64, np.uint8, np.float32, np.float64):
        assert F.cost(A, labels.astype(kind), "cross_entropy", device=device) == J
    assert F.cost(A, labels.tolist(), "cross_entropy", device=device) == J
    assert F.cost(A, np.repeat(labels, 2)[::2], "cross_entropy", device=device) == J
    A, Y = outputs_and_targets("binary_cross_entropy", 1, 33, dtype)
    J = F.cost(A, Y, "binary_cross_entropy", device=device)
    assert F.cost(A, Y[0], "binary_cross_entropy", device=device) == J
    assert F.cost(A, Y[0].astype(bool).tolist(), "binary_cross_entropy", device=device) == J


@both_types
@both_devices
def test_cost_at_outputs_of_exactly_zero_and_one(device, dtype):
    def cost(A, Y, loss):
        # Kernels that run as Python warn of the logarithm of zero; compiled, they cannot.
        with np.errstate(all="ignore"):
            return F.cost(np.array(A, dtype, ndmin=2), Y, loss, device=device)

    # 0 log 0 = 0: a sure and right answer costs nothing, a sure and wrong one everything.
    assert cost([0, 1], [0, 1], "binary_cross_entropy") == 0
    assert cost([0.5, 1], [1, 0], "binary_cross_entropy") == math.inf
    assert cost([0.5, 0], [1, 1], "binary_cross_entropy") == math.inf
    assert math.isnan(cost([0.5, math.nan], [1, 0], "binary_cross_entropy"))
    assert math.isnan(cost([0.5, math.nan], [1, 0], "squared_error"))
    assert cost([0.5, math.inf], [1, 0], "squared_error") == math.inf
    three = np.array([[1, 0], [0, 0.5], [0, 0.5]], dtype)
    assert cost(three, [0, 1], "cross_entropy") == pytest.approx(math.log(2) / 2)
    assert cost(three, [1, 1], "cross_entropy") == math.inf


@both_types
@both_devices
def test_cost_is_a_mean_over_examples_of_a_sum_over_outputs(device, dtype):
    A = np.array([[1, 2, 3], [4, 5, 6]], dtype)
    # 1/2 ((1 + 4 + 9) + (16 + 25 + 36)) / 3, with the notes' 1/2
    found = F.cost(A, np.zeros((2, 3), dtype), "squared_error", device=device)
    assert found == pytest.approx(91 / 6, rel=1e-6)
    half = np.full((2, 3), 0.5, dtype)
    found = F.cost(half, np.ones((2, 3), dtype), "binary_cross_entropy", device=device)
    assert found == pytest.approx(2 * math.log(2), rel=1e-6)


# ------------------------------------------------------------------ the step


@both_types
@both_devices
def test_gradient_step(device, dtype):
    random = np.random.default_rng(17)
    for rate in (0.0, 0.1, 3, np.float32(0.5)):
        for n, m in ((1, 1), (7, 13), (64, 65), (1, 1025)):
            for at, layout in enumerate(LAYOUTS):
                old, gradient = random.standard_normal((2, n, m)).astype(dtype)
                target = Target((n, m), dtype, layout)
                target.out[...] = old
                step = laid_out(gradient, LAYOUTS[(at + m) % len(LAYOUTS)])
                before = photograph({"gradient": step})
                assert F.gradient_step(target.out, step, rate, device=device) is None
                assert_as_reference(
                    target.out,
                    lambda kind, o=old, g=gradient, r=rate: (
                        o.astype(kind) - kind(r) * g.astype(kind)
                    ),
                    np.abs(old) + float(rate) * np.abs(gradient),
                )
                target.check()
                assert_unchanged(before, {"gradient": step})


@both_types
@both_devices
def test_gradient_step_on_overlapping_memory_and_any_number_of_dimensions(device, dtype):
    base = np.arange(10, dtype=dtype)
    expected = base[1:] - dtype(0.5) * base[:-1]
    F.gradient_step(base[1:], base[:-1], 0.5, device=device)
    np.testing.assert_allclose(base[1:], expected, rtol=1e-6)
    w = np.ones(3, dtype)
    F.gradient_step(w, w, 1.0, device=device)
    np.testing.assert_array_equal(w, 0)
    for shape in ((), (5,), (2, 3, 4)):
        w = np.ones(shape, dtype)
        F.gradient_step(w, np.ones(shape, int), 0.25, device=device)
        np.testing.assert_array_equal(w, np.full(shape, 0.75))
    # A flat vector is updated through each view of it, as Network's W and b are.
    flat = np.ones(6, dtype)
    F.gradient_step(flat[2:].reshape(2, 2), np.eye(2, dtype=dtype), 1, device=device)
    np.testing.assert_array_equal(flat, [1, 1, 0, 1, 1, 0])


# ------------------------------------------------------------------ any shapes and values


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_values(data):
    case = data.draw(st.sampled_from(CASES), label="case")
    dtype = data.draw(st.sampled_from(FLOATS), label="dtype")
    shape = data.draw(st.tuples(*[st.integers(1, 40)] * 3), label="n, k, m")
    layouts = st.sampled_from(LAYOUTS)
    arrays = {
        name: laid_out(
            data.draw(hnp.arrays(np.float32, size, elements=finite_float32), label=name).astype(
                dtype
            ),
            data.draw(layouts, label=f"layout of {name}"),
        )
        for name, size in case.arguments(*shape).items()
    }
    if case.activation == "exp" and case.name.endswith(("backward", "gradient")):
        # Where exp overflows, 0 exp is NaN: in the wider specification it still is 0.
        limit = np.log(np.finfo(dtype).max) - 1
        np.clip(arrays["Z"], -limit, limit, out=arrays["Z"])
    before = photograph(arrays)
    case.check(case.compute(arrays, device="cpu"), arrays)
    assert_unchanged(before, arrays)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    Z=hnp.arrays(
        np.float64, st.tuples(st.integers(1, 20), st.integers(1, 40)), elements=st.integers(-50, 50)
    ),
    shift=st.integers(-(10**4), 10**4),
    dtype=st.sampled_from(FLOATS),
    device=st.sampled_from(DEVICES),
)
def test_softmax_does_not_see_a_shift(Z, shift, dtype, device):
    # Whole numbers: the shifted logits are exact, so the answers must be the same bits.
    Z = Z.astype(dtype)
    A = F.softmax(Z, device=device)
    np.testing.assert_array_equal(F.softmax(Z + dtype(shift), device=device), A)
    np.testing.assert_allclose(A.sum(axis=0), 1, rtol=4 * np.finfo(dtype).eps * Z.shape[0])
    assert ((A >= 0) & (A <= 1)).all()


# ------------------------------------------------------------------ special values


def specials(dtype):
    limits = np.finfo(dtype)
    positive = [
        0.0,
        limits.smallest_subnormal,
        3 * limits.smallest_subnormal,
        limits.tiny,
        limits.eps,
        1e-3,
        0.5,
        1.0,
        5.0,
        20.0,
        88.0,
        89.5,
        104.0,
        709.0,
        746.0,
        1e4,
        limits.max,
        math.inf,
    ]
    values = [sign * value for value in positive for sign in (1, -1)]
    return np.array([*values, math.nan], dtype)


@both_devices
@both_types
@pytest.mark.parametrize("activation", ELEMENTWISE)
def test_special_values(activation, dtype, device):
    found_signs = {}
    # Each value meets every lane of a vector, and the loop over what is left.
    for places in (1, 7, 37):
        Z = np.tile(specials(dtype), places)[None]
        wide = Z.astype(wider(dtype))
        with np.errstate(all="ignore"):
            A = F.activation_forward(Z, activation, device=device)
            D = F.activation_derivative(Z, activation, device=device)
            dZ = F.activation_backward(np.ones_like(Z), Z, activation, device=device)
            magnitudes = forward_magnitude(wide, activation), derivative_magnitude(wide, activation)
        assert_as_reference(
            A,
            lambda kind, Z=Z: reference.activation_forward(Z, activation, dtype=kind),
            magnitudes[0],
        )
        for derivative in (D, dZ):
            assert_as_reference(
                derivative,
                lambda kind, Z=Z: reference.activation_derivative(Z, activation, dtype=kind),
                magnitudes[1],
            )
        zeros = Z == 0
        found_signs[places] = set(np.signbit(A[zeros & np.signbit(Z)]).tolist())
        if activation in ("identity", "tanh", "leaky_relu", "elu", "gelu", "silu"):
            np.testing.assert_array_equal(np.signbit(A[zeros]), np.signbit(Z[zeros]))
    # Whatever relu makes of -0, it makes it in every place.
    assert len(set.union(*found_signs.values())) == 1


@both_types
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "elu", "gelu", "softplus"])
def test_vector_functions_keep_their_promise_in_ulp(activation, dtype):
    if wider(dtype) is np.longdouble and np.finfo(np.longdouble).eps >= np.finfo(np.float64).eps:
        pytest.skip("this machine has no float type wider than float64 to compare with")
    ends = {"gelu": 12 if dtype == np.float32 else 36}
    end = ends.get(activation, 80 if dtype == np.float32 else 700)
    random = np.random.default_rng(24)
    Z = np.concatenate(
        [
            random.uniform(-end, end, 4000),
            random.uniform(-4, 4, 4000),
            10.0 ** random.uniform(-30, 1, 1000) * random.choice([-1, 1], 1000),
        ]
    ).astype(dtype)[None]
    wide = Z.astype(wider(dtype))
    exact = reference.activation_forward(wide, activation, dtype=wide.dtype.type)
    found = F.activation_forward(Z, activation, device="cpu")
    error = np.abs(found - exact) / np.spacing(np.abs(exact).astype(dtype))
    worst = int(error.argmax())
    assert error.max() <= FLOOR, f"off by {error.max():.2f} ULP at {Z[0, worst]!r}"


@both_devices
@both_types
def test_softmax_of_special_values(dtype, device):
    inf, nan = math.inf, math.nan
    columns = [
        [0, 0, 0],
        [1e4, -1e4, 0],
        [-1e4, -1e4, -1e4],
        [1e4, 1e4, -1e4],
        [-inf, 0, 0],
        [-inf, -inf, 5],
        [inf, 0, 0],
        [-inf, -inf, -inf],
        [nan, 0, 0],
        [0, nan, 0],
        [0, 0, nan],
        [inf, nan, 0],
        [np.finfo(dtype).max, np.finfo(dtype).min, 0],
        [np.finfo(dtype).tiny, np.finfo(dtype).smallest_subnormal, 0],
    ]
    expected = {1: [1, 0, 0], 2: [1 / 3] * 3, 3: [0.5, 0.5, 0], 4: [0, 0.5, 0.5], 5: [0, 0, 1]}
    Z = np.array(columns, dtype).T
    for logits in (Z, np.asfortranarray(Z), np.tile(Z, 40)):
        with np.errstate(all="ignore"):
            A = F.softmax(logits, device=device)
            D = F.activation_derivative(logits, "softmax", device=device)
            dZ = F.activation_backward(np.ones_like(logits), logits, "softmax", device=device)
        assert_as_reference(A, lambda kind, Z=logits: reference.softmax(Z, dtype=kind))
        for j in range(logits.shape[1]):
            column = columns[j % len(columns)]
            broken = any(math.isnan(z) or z == inf for z in column) or column == [-inf] * 3
            assert np.isnan(A[:, j]).all() == broken
            assert np.isnan(D[:, j]).all() == broken
            assert np.isnan(dZ[:, j]).all() == broken
            if j in expected:
                np.testing.assert_allclose(A[:, j], expected[j], rtol=2 * np.finfo(dtype).eps)


@both_devices
@both_types
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_inf_go_through_products(value, dtype, device):
    # One bad value in each argument in turn: what it touches is what NumPy says it touches.
    linear = ("linear_forward", "weight_gradient", "bias_gradient", "hidden_gradient-identity")
    for case in CASES:
        if case.id not in linear:
            continue
        for shape in ((1, 1, 1), (7, 11, 13), (18, 20, 34), (3, 300, 33)):
            drawn = case.draw(shape, dtype, seed=18)
            for name, array in drawn.items():
                for order in ("C", "F"):
                    bad = array.copy()
                    place = tuple(size // 2 for size in bad.shape)
                    bad[place] = value
                    # A zero in the way of an infinity is a NaN, as in NumPy.
                    for other in drawn:
                        if other != name and not math.isnan(value):
                            drawn[other].flat[0] = 0
                    arrays = {**drawn, name: laid_out(bad, order)}
                    with np.errstate(all="ignore"):
                        found = case.compute(arrays, device=device)
                        expected = case.formula(arrays)(np.float64)
                    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
                    infinite = np.isinf(expected)
                    np.testing.assert_array_equal(found[infinite], expected[infinite])
                    assert np.isfinite(found[np.isfinite(expected)]).all()
                    if case.name != "hidden_gradient" or name != "Z":
                        assert not np.isfinite(expected).all(), "the bad value had no effect"


@both_types
def test_padding_is_not_read(dtype):
    # What lies beside a slice is NaN: were one lane of it added, the sum would be NaN.
    for case in CASES:
        for shape in ((1, 1, 1), (5, 3, 7), (17, 15, 33)):
            arrays = {n: laid_out(a, "slice") for n, a in case.draw(shape, dtype, 19).items()}
            found = case.compute(arrays, device="cpu")
            assert np.isfinite(found).all()
            packed = {n: np.ascontiguousarray(a) for n, a in arrays.items()}
            np.testing.assert_array_equal(found, case.compute(packed, device="cpu"))


# ------------------------------------------------------------------ what the formulas say


@both_devices
@both_types
def test_output_gradient_is_a_minus_y(dtype, device):
    random = np.random.default_rng(20)
    A = random.uniform(0.1, 0.9, (3, 41)).astype(dtype)
    Y = random.integers(0, 2, (3, 41)).astype(dtype)
    found = F.output_gradient(A, Y, device=device)
    np.testing.assert_array_equal(found, A - Y)
    # The notes' slip is another number everywhere.
    assert (np.abs(found - A * (1 - A)) > 1e-3).any(axis=0).all()


@both_devices
@both_types
def test_hidden_gradient_uses_the_weights_of_the_layer_above(dtype, device):
    # Square weights, where the notes' slip, W of this layer, would fit as well.
    random = np.random.default_rng(21)
    A0, W1, W2, dZ2 = random.standard_normal((4, 6, 6)).astype(dtype)
    Z1 = W1 @ A0
    found = F.hidden_gradient(W2, dZ2, Z1, "tanh", device=device)
    tolerance = 100 * np.finfo(dtype).eps
    right, slip = W2.T @ dZ2 * (1 - np.tanh(Z1) ** 2), W1.T @ dZ2 * (1 - np.tanh(Z1) ** 2)
    np.testing.assert_allclose(found, right, rtol=tolerance, atol=tolerance)
    assert not np.allclose(found, slip, rtol=0.1, atol=0.1)
    # The transpose of W2, not W2: (3, 2)^T (3, m) fits one way only.
    W, dZ, Z = np.ones((3, 2), dtype), np.ones((3, 4), dtype), np.zeros((2, 4), dtype)
    np.testing.assert_array_equal(F.hidden_gradient(W, dZ, Z, "identity", device=device), 3)


@both_devices
@both_types
def test_derivatives_at_zero(dtype, device):
    Z = np.array([[0.0, -0.0]], dtype)
    expected = {
        "identity": 1,
        "sigmoid": 0.25,
        "tanh": 1,
        "relu": 1,
        "leaky_relu": 1,
        "elu": 1,
        "gelu": 0.5,
        "silu": 0.5,
        "softplus": 0.5,
        "exp": 1,
    }
    assert set(expected) == set(ELEMENTWISE)
    for g, value in expected.items():
        np.testing.assert_array_equal(F.activation_derivative(Z, g, device=device), value)
        dA = np.array([[3.0, -3.0]], dtype)
        np.testing.assert_array_equal(F.activation_backward(dA, Z, g, device=device), dA * value)
        W = np.ones((1, 1), dtype)
        np.testing.assert_array_equal(F.hidden_gradient(W, dA, Z, g, device=device), dA * value)


@both_devices
def test_the_slope_of_leaky_relu_is_a_hundredth(device):
    Z = np.array([[-100.0, -1.0, 2.0]])
    np.testing.assert_array_equal(F.leaky_relu(Z, device=device), [[-1, -0.01, 2]])
    found = F.activation_derivative(Z, "leaky_relu", device=device)
    np.testing.assert_array_equal(found, [[0.01, 0.01, 1]])


@both_devices
@pytest.mark.parametrize("activation", ELEMENTWISE)
def test_derivative_against_central_differences(activation, device):
    Z = np.linspace(-6, 6, 241)[None]
    Z = Z[np.abs(Z) > 1e-2][None]  # away from the kinks
    h = 1e-5
    high = F.activation_forward(Z + h, activation, device=device)
    low = F.activation_forward(Z - h, activation, device=device)
    numerical = (high - low) / ((Z + h) - (Z - h))
    found = F.activation_derivative(Z, activation, device=device)
    np.testing.assert_allclose(found, numerical, atol=1e-9, rtol=1e-9)
    assert np.ptp(Z) > 11


@both_devices
def test_softmax_derivatives_against_central_differences(device):
    random = np.random.default_rng(22)
    Z, dA = random.standard_normal((2, 5, 4))
    h = 1e-5
    numerical, diagonal = np.empty_like(Z), np.empty_like(Z)
    for i in range(5):
        step = np.zeros_like(Z)
        step[i] = h
        slope = (F.softmax(Z + step, device=device) - F.softmax(Z - step, device=device)) / (2 * h)
        numerical[i] = (dA * slope).sum(axis=0)
        diagonal[i] = slope[i]
    found = F.activation_backward(dA, Z, "softmax", device=device)
    np.testing.assert_allclose(found, numerical, atol=1e-9)
    found = F.activation_derivative(Z, "softmax", device=device)
    np.testing.assert_allclose(found, diagonal, atol=1e-9)


@both_devices
def test_sigmoid_and_tanh_saturate_without_overflow(device):
    Z = np.array([[-1e4, 1e4]])
    for kind in FLOATS:
        with np.errstate(all="raise", under="ignore"):
            np.testing.assert_array_equal(F.sigmoid(Z.astype(kind), device=device), [[0, 1]])
            np.testing.assert_array_equal(F.tanh(Z.astype(kind), device=device), [[-1, 1]])
            np.testing.assert_array_equal(
                F.activation_forward(Z.astype(kind), "softplus", device=device), [[0, kind(1e4)]]
            )


@both_devices
@both_types
@pytest.mark.parametrize("name", NAMED)
def test_named_functions_are_activation_forward(name, dtype, device):
    Z = np.random.default_rng(23).standard_normal((6, 11)).astype(dtype)
    function = getattr(F, name)
    assert function.__name__ == name
    assert name in function.__doc__
    expected = F.activation_forward(Z, name, device=device)
    np.testing.assert_array_equal(function(Z, device=device), expected)
    out = np.empty_like(Z)
    assert function(Z, out, device=device) is out
    np.testing.assert_array_equal(out, expected)
    assert function(Z, out=Z, device=device) is Z
    np.testing.assert_array_equal(Z, expected)


def test_signatures_are_the_published_ones():
    published = {
        "linear_forward": "A_prev W b out",
        "activation_forward": "Z activation out",
        "layer_forward": "A_prev W b activation",
        "activation_derivative": "Z activation out",
        "activation_backward": "dA Z activation out",
        "output_gradient": "A Y out",
        "hidden_gradient": "W_next dZ_next Z activation out",
        "weight_gradient": "dZ A_prev out",
        "bias_gradient": "dZ out",
        "linear_backward": "dZ A_prev W",
        "cost": "A Y loss delta",
        "gradient_step": "parameters gradient learning_rate",
        **dict.fromkeys(NAMED, "Z out"),
    }
    assert set(published) == set(F.__all__)
    for name, parameters in published.items():
        found = inspect.signature(getattr(F, name)).parameters
        assert [p for p in found if p != "device"] == parameters.split(), name
        assert found["device"].kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.compiled
def test_threads_do_not_disturb_each_other():
    # Kernels release the GIL: four threads are in compiled code at once, each with its own panel.
    tasks = []
    for seed in range(4):
        for case in (*CASES[:4], CASES[-1]):
            arrays = {
                n: laid_out(a, "F") for n, a in case.draw((33, 300, 65), np.float32, seed).items()
            }
            tasks.append((case, arrays, case.compute(arrays, device="cpu")))
    found = [None] * 4
    start = threading.Barrier(4)

    def work(i):
        start.wait()
        mine = tasks[5 * i : 5 * i + 5]
        found[i] = all(
            case.compute(arrays, device="cpu").tobytes() == expected.tobytes()
            for _ in range(20)
            for case, arrays, expected in mine
        )

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4
