"""The functions of one value: their error in ULP against 60 digits, and their special values."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from fastnn.kernels.cpu import vector_math
from fastnn.kernels.cpu.compiler import OPTIONS, kernel
from fastnn.kernels.cpu.vectors import VECTOR_BYTES, widest_vectors

mp = pytest.importorskip("mpmath", reason="mpmath gives the exact values")
mp.mp.dps = 60

DTYPES = [np.float32, np.float64]

# name: exact function, largest error allowed in ULP, domain
FUNCTIONS = {
    "exp": (mp.exp, 1.0, "all"),
    "expm1_negative": (mp.expm1, 1.2, "negative"),
    "log": (mp.log, 1.0, "positive"),
    "log1p_unit": (mp.log1p, 2.0, "unit"),
    "sigmoid": (lambda x: 1 / (1 + mp.exp(-x)), 2.5, "all"),
    "sigmoid_derivative": (lambda x: mp.exp(-abs(x)) / (1 + mp.exp(-abs(x))) ** 2, 3.0, "all"),
    "tanh": (mp.tanh, 3.0, "all"),
    "tanh_derivative": (lambda x: mp.sech(x) ** 2, 3.0, "all"),
    "softplus": (lambda x: max(x, 0) + mp.log1p(mp.exp(-abs(x))), 3.0, "all"),
    "gelu": (lambda x: x * mp.erfc(-x / mp.sqrt(2)) / 2, 4.0, "all"),
    "gelu_derivative": (lambda x: mp.ncdf(x) + x * mp.npdf(x), 4.0, "all"),
}
# The largest of the terms that a function sums, where its own value may be far below them: one
# ULP is then one of theirs.
TERMS = {"gelu_derivative": lambda x: max(mp.ncdf(x), abs(x) * mp.npdf(x))}


@kernel
def run(out, x, which):
    if which == 0:
        for i in range(out.size):
            out[i] = vector_math.exp(x[i])
    elif which == 1:
        for i in range(out.size):
            out[i] = vector_math.expm1_negative(x[i])
    elif which == 2:
        for i in range(out.size):
            out[i] = vector_math.log(x[i])
    elif which == 3:
        for i in range(out.size):
            out[i] = vector_math.log1p_unit(x[i])
    elif which == 4:
        for i in range(out.size):
            out[i] = vector_math.sigmoid(x[i])
    elif which == 5:
        for i in range(out.size):
            out[i] = vector_math.sigmoid_derivative(x[i])
    elif which == 6:
        for i in range(out.size):
            out[i] = vector_math.tanh(x[i])
    elif which == 7:
        for i in range(out.size):
            out[i] = vector_math.tanh_derivative(x[i])
    elif which == 8:
        for i in range(out.size):
            out[i] = vector_math.softplus(x[i])
    elif which == 9:
        for i in range(out.size):
            out[i] = vector_math.gelu(x[i])
    elif which == 10:
        for i in range(out.size):
            out[i] = vector_math.gelu_derivative(x[i])


def values(name, x):
    out = np.empty_like(x)
    run(out, x, list(FUNCTIONS).index(name))
    return out


def points(domain, dtype, n=400):
    """Return values over the whole range, ordinary and tiny, in the function's domain."""
    random = np.random.default_rng(0)
    far, small = (110.0, -44) if dtype == np.float32 else (760.0, -320)
    x = np.concatenate(
        [
            random.uniform(-far, far, n),
            random.normal(size=n),
            10 * random.normal(size=n),
            10.0 ** random.uniform(small, 0, n) * random.choice([-1, 1], n),
        ]
    ).astype(dtype)
    if domain == "negative":
        return -np.abs(x)
    if domain == "unit":
        return np.abs(x[np.abs(x) <= 1])
    if domain == "positive":
        wide = 10.0 ** random.uniform(small, 38 if dtype == np.float32 else 308, n)
        near = 1 + 1e-3 * random.normal(size=n)
        x = np.concatenate([np.abs(x), wide, near]).astype(dtype)
        return x[x > 0]
    return x


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_error_in_ulp(name, dtype):
    exact, limit, domain = FUNCTIONS[name]
    x = points(domain, dtype)
    largest = mp.mpf(float(np.finfo(dtype).max))
    worst = 0.0
    for found, at in zip(values(name, x), x, strict=True):
        true = exact(mp.mpf(float(at)))
        if abs(true) > largest * (1 + mp.mpf(2) ** (-25 if dtype == np.float32 else -54)):
            assert np.isinf(found) and (found > 0) == (true > 0)
            continue
        size = max(abs(true), TERMS[name](mp.mpf(float(at)))) if name in TERMS else abs(true)
        with np.errstate(over="ignore"):
            nearest = min(dtype(float(size)), np.finfo(dtype).max)
        ulp = mp.mpf(float(np.spacing(nearest)))
        worst = max(worst, float(abs(mp.mpf(float(found)) - true) / ulp))
    assert worst <= limit


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # at 0, -0, inf, -inf
        ("exp", [1, 1, np.inf, 0]),
        ("log", [-np.inf, -np.inf, np.inf, np.nan]),
        ("sigmoid", [0.5, 0.5, 1, 0]),
        ("sigmoid_derivative", [0.25, 0.25, 0, 0]),
        ("tanh", [0.0, -0.0, 1, -1]),
        ("tanh_derivative", [1, 1, 0, 0]),
        ("softplus", [np.log(2), np.log(2), np.inf, 0]),
        ("gelu", [0.0, -0.0, np.inf, np.nan]),
        ("gelu_derivative", [0.5, 0.5, np.nan, np.nan]),
    ],
)
def test_special_values(name, expected, dtype):
    found = values(name, np.array([0.0, -0.0, np.inf, -np.inf, np.nan], dtype))
    expected = np.array([*expected, np.nan], dtype)
    np.testing.assert_allclose(found, expected, rtol=2 * np.finfo(dtype).eps)
    zeros = expected == 0
    np.testing.assert_array_equal(np.signbit(found[zeros]), np.signbit(expected[zeros]))


@pytest.mark.parametrize("name", ["exp", "log", "sigmoid", "tanh"])
def test_monotone_in_float32(name):
    # Neighbouring floats around many points: where the function rises, the result never falls.
    centres = np.random.default_rng(0).uniform(-20, 20, 300).astype(np.float32)
    for centre in centres:
        i = (abs(centre) if name == "log" else centre).view(np.int32)
        x = np.sort((i + np.arange(-40, 41, dtype=np.int32)).view(np.float32))
        y = values(name, x)
        assert (np.diff(y) >= 0).all(), (name, centre)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["gelu", "gelu_derivative"])
def test_normal_tail_down_to_the_last_denormal(name, dtype):
    exact, limit, _ = FUNCTIONS[name]
    end = 14.6 if dtype == np.float32 else 39
    x = -np.random.default_rng(0).uniform(0, end, 1000).astype(dtype)
    x[:300] = -np.linspace(0.97 * end, 1.02 * end, 300)
    for found, at in zip(values(name, x), x, strict=True):
        true = exact(mp.mpf(float(at)))
        size = max(abs(true), TERMS[name](mp.mpf(float(at)))) if name in TERMS else abs(true)
        ulp = mp.mpf(float(np.spacing(dtype(float(size)))))
        assert abs(mp.mpf(float(found)) - true) <= limit * ulp, at
    far = np.array([-2 * end, -1e10, np.finfo(dtype).min], dtype)
    np.testing.assert_array_equal(values(name, far), 0)
    np.testing.assert_array_equal(values(name, -far), -far if name == "gelu" else 1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_place_in_a_vector_computes_the_same(dtype):
    # The loop's vector body and its scalar end must give the same bits.
    x = np.full(67, 0.7, dtype)
    for name in FUNCTIONS:
        argument = -x if FUNCTIONS[name][2] == "negative" else x
        assert len(set(values(name, argument).tolist())) == 1, name


@pytest.mark.parametrize("dtype", DTYPES)
def test_tanh_is_odd_and_stays_within_one(dtype):
    # The last values below 1 are the ones that rounding could lift above it.
    end = 9 if dtype == np.float32 else 19
    x = np.concatenate([np.linspace(0, 30, 3001), np.linspace(end - 1, end + 1, 20001)])
    x = np.sort(x.astype(dtype))
    y = values("tanh", x)
    np.testing.assert_array_equal(values("tanh", -x), -y)
    assert y.max() == 1
    assert (y[x >= end + 0.3] == 1).all()
    assert (y[x <= end - 1] < 1).all()
    assert (np.diff(y[x > 1]) >= 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_tanh_of_a_denormal_is_the_denormal(dtype):
    limits = np.finfo(dtype)
    x = limits.smallest_subnormal * np.array([1, 2, 3, 1000, 123457], dtype)
    x = np.concatenate([x, limits.tiny * np.array([0.5, 1, 2, 1e3], dtype)])
    np.testing.assert_array_equal(values("tanh", x), x)
    np.testing.assert_array_equal(values("tanh", -x), -x)


@pytest.mark.compiled
@pytest.mark.skipif(VECTOR_BYTES != 64, reason="these registers are filled unasked")
@pytest.mark.parametrize("dtype", DTYPES)
def test_widest_vectors_fill_the_registers(dtype):
    @numba.njit(**OPTIONS)
    def loop(out, x):
        widest_vectors()
        for i in range(out.size):
            out[i] = vector_math.tanh(x[i])

    loop(np.empty(3, dtype), np.ones(3, dtype))
    (assembly,) = loop.inspect_asm().values()
    division = "vdivps" if dtype == np.float32 else "vdivpd"
    assert any(division in line and "zmm" in line for line in assembly.splitlines())
