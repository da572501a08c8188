"""The error of the GPU's exp, tanh and the others, in ULP, over the whole range of float32.

Numbers drawn from all bit patterns, and more where functions are neither 0 nor 1, against NumPy in
float64 (longdouble for float64). Formulas are this file's own, and cancel nowhere.

What is allowed: 4 ULP where the project promises that, else what follows from the errors that
NVIDIA's programming guide states for its library, against the correctly rounded value: 2 ULP for
exp and tanh, 1 for expm1 and log1p, 5 for the normal distribution; hence half an ULP more here.
Sums, products and quotients add half an ULP each, and an error of one ULP of a number is at most
two of its product with another, whose ULP may be half as large beside it. These are bounds, not
what is expected: the largest errors found are shown at the end of the run.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from gpu_machine import WORST, sized, to_host

import fastnn.functional as F

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("on_gpu")]

DRAWN = sized(1 << 20, 400)


def _e(x):
    return np.exp(-np.abs(x))


def _cdf(x):
    root = math.sqrt(2)
    return np.array([math.erfc(-v / root) / 2 for v in x.tolist()])


def _density(x):
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _sigmoid(x):
    return np.where(x >= 0, 1, _e(x)) / (1 + _e(x))


def _sigmoid_slope(x):
    return _e(x) / (1 + _e(x)) ** 2


# (function, activation): the formula, and the largest error allowed. With e <= 1 off by 2.5 ULP,
# 1 + e is off by 1.75.
FUNCTIONS = {
    ("forward", "exp"): (np.exp, 2.5),
    ("forward", "tanh"): (np.tanh, 2.5),
    ("forward", "sigmoid"): (_sigmoid, 4.0),
    ("forward", "elu"): (lambda x: np.where(x >= 0, x, np.expm1(np.minimum(x, 0))), 1.5),
    # log1p passes e's relative error on: 2 * 2.5, its own 1.5, and a sum
    ("forward", "softplus"): (lambda x: np.maximum(x, 0) + np.log1p(_e(x)), 7.0),
    ("forward", "silu"): (lambda x: x * _sigmoid(x), 2 * 4 + 0.5),
    ("forward", "gelu"): (lambda x: x * _cdf(x), 2 * 5.5 + 0.5),
    ("derivative", "exp"): (np.exp, 2.5),
    ("derivative", "elu"): (lambda x: np.where(x >= 0, 1, np.exp(np.minimum(x, 0))), 2.5),
    ("derivative", "softplus"): (_sigmoid, 4.0),
    # e / ((1 + e) (1 + e)): 2 (2.5 + 1.75 + 1.75 + 1/2 + 1/2)
    ("derivative", "sigmoid"): (_sigmoid_slope, 14.0),
    ("derivative", "tanh"): (lambda x: 4 * _sigmoid_slope(2 * x), 14.0),
}
# What a derivative sums may cancel: one ULP is then one of the larger term's.
TERMS = {
    # 5.5 for the distribution. z p(z): the exponent -z^2 / 2 is rounded at up to 12.5, by 4 ULP of
    # exp's; 2 (4 + 2.5 + 2) with exp's own and the products.
    "gelu": (
        lambda x: _cdf(x) + x * _density(x),
        lambda x: np.maximum(_cdf(x), np.abs(x) * _density(x)),
        5.5 + 17 + 0.5,
    ),
    "silu": (
        lambda x: _sigmoid(x) + x * _sigmoid_slope(x),
        lambda x: np.maximum(
            _sigmoid(x), np.abs(x) * np.maximum(_sigmoid_slope(x), np.finfo(np.float32).tiny)
        ),
        4 + 2 * 7.5 + 0.5,
    ),
}


def drawn(dtype, ends=None):
    """Return finite numbers: of any bit pattern, of where exp is finite, ordinary, and tiny."""
    random = np.random.default_rng(0)
    whole = np.uint32 if dtype == np.float32 else np.uint64
    patterns = random.integers(0, np.iinfo(whole).max, DRAWN, whole, endpoint=True).view(dtype)
    far = 105.0 if dtype == np.float32 else 750.0
    small = -45 if dtype == np.float32 else -323
    x = np.concatenate(
        [
            patterns[np.isfinite(patterns)],
            random.uniform(-far, far, DRAWN),
            random.standard_normal(DRAWN),
            10.0 ** random.uniform(small, 0, DRAWN // 4) * random.choice([-1, 1], DRAWN // 4),
        ]
    ).astype(dtype)
    return x if ends is None else x[(x >= ends[0]) & (x <= ends[1])]


def compute(kind, activation, x):
    Z = x.reshape(1, -1)
    return to_host(getattr(F, f"activation_{kind}")(Z, activation)).ravel()


def worst(found, exact, size, dtype):
    """Return the largest error in ULP, and where it is; what overflows must be infinite."""
    limits = np.finfo(dtype)
    with np.errstate(over="ignore"):
        rounded = exact.astype(dtype)
    infinite = np.isinf(rounded)
    # Next to the largest number an error of one ULP is infinity.
    near = np.abs(exact) > limits.max * (1 - 16 * limits.eps)
    assert ((found == rounded) | near)[infinite].all()
    assert np.isfinite(found[~infinite & ~near]).all()
    kept = ~infinite & ~near
    unit = np.spacing(np.minimum(size[kept], limits.max).astype(dtype)).astype(exact.dtype)
    error = np.abs(found[kept].astype(exact.dtype) - exact[kept]) / unit
    at = int(error.argmax())
    return float(error[at]), np.flatnonzero(kept)[at]


def size_of(activation, x, exact):
    """Return what one ULP is counted at: z times a denormal factor errs by z times as much."""
    if activation in ("gelu", "silu"):
        tiny = np.finfo(np.float32 if exact.dtype == np.float64 else np.float64).tiny
        return np.maximum(np.abs(exact), np.abs(x) * tiny)
    return np.abs(exact)


def assert_within(name, dtype, found, exact, size, x, allowed):
    error, at = worst(found, exact, size, dtype)
    WORST[name, np.dtype(dtype).name] = error, allowed
    assert error <= allowed, f"off by {error:.3g} ULP at {x[at]!r}: {found[at]!r}"


@pytest.mark.parametrize("told", FUNCTIONS, ids=" ".join)
def test_error_in_float32(told):
    kind, activation = told
    formula, allowed = FUNCTIONS[told]
    x = drawn(np.float32)
    if activation == "gelu":
        x = x[: DRAWN // 8]  # erfc is Python's, value by value
    with np.errstate(over="ignore", under="ignore"):
        exact = formula(x.astype(np.float64))
    found = compute(kind, activation, x)
    size = size_of(activation, x, exact)
    assert_within(f"{activation} {kind}", np.float32, found, exact, size, x, allowed)


@pytest.mark.parametrize("told", [t for t in FUNCTIONS if t[1] != "gelu"], ids=" ".join)
def test_error_in_float64(told):
    if np.finfo(np.longdouble).eps == np.finfo(np.float64).eps:
        pytest.skip("this machine has no float longer than float64")
    kind, activation = told
    formula, allowed = FUNCTIONS[told]
    x = drawn(np.float64)[:: sized(16, 1)]
    with np.errstate(over="ignore", under="ignore"):
        exact = np.asarray(formula(x.astype(np.longdouble)))
    found = compute(kind, activation, x)
    size = size_of(activation, x, exact)
    assert_within(f"{activation} {kind}", np.float64, found, exact, size, x, allowed)


@pytest.mark.parametrize("activation", TERMS)
def test_derivatives_whose_terms_cancel(activation):
    formula, terms, allowed = TERMS[activation]
    x = drawn(np.float32, (-105, 105))[:: sized(16, 1)]
    if activation == "gelu":
        x = x[np.abs(x) < 5]  # beyond, the exponent's own rounding grows: the next test
    wide = x.astype(np.float64)
    found, exact = compute("derivative", activation, x), formula(wide)
    assert_within(f"{activation} derivative", np.float32, found, exact, terms(wide), x, allowed)


def test_normal_tails():
    x = np.linspace(-15, -5, sized(100_001, 201)).astype(np.float32)
    wide = x.astype(np.float64)
    terms = np.maximum(_cdf(wide), -wide * _density(wide))
    found, exact = compute("derivative", "gelu", x), _cdf(wide) + wide * _density(wide)
    # The rounding of the exponent -z^2 / 2 is an error of exp's of z^2 / 4 ULP, or twice that.
    with np.errstate(under="ignore"):
        size = np.maximum(terms * (1 + wide * wide / 2), np.finfo(np.float32).tiny)
    assert_within("gelu derivative, tails", np.float32, found, exact, size, x, 15.0)


@pytest.mark.parametrize("activation", ["exp", "sigmoid", "tanh"])
def test_rising_functions_fall_by_no_more_than_a_rounding_error(activation):
    random = np.random.default_rng(1)
    centres = random.uniform(-20, 20, sized(3000, 20)).astype(np.float32).view(np.int32)
    x = (centres[:, None] + np.arange(-40, 41, dtype=np.int32)).view(np.float32)
    x = np.sort(x, axis=1)
    y = compute("forward", activation, x.ravel()).reshape(x.shape)
    assert (np.diff(y, axis=1) >= -np.spacing(np.abs(y[:, 1:]))).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_denormals_are_kept(dtype):
    tiny = np.finfo(dtype).smallest_subnormal
    x = tiny * np.array([1, 2, 3, 1000, 123_457], dtype)
    for activation in ("tanh", "elu", "relu", "identity"):
        np.testing.assert_array_equal(compute("forward", activation, x), x)
        below = np.zeros_like(x) if activation == "relu" else -x
        np.testing.assert_array_equal(compute("forward", activation, -x), below)
    low = np.array([-100 if dtype == np.float32 else -740], dtype)
    assert 0 < compute("forward", "exp", low)[0] < np.finfo(dtype).tiny
