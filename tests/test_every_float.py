"""The functions of one value at every float32 there is, or at each so many of them.

    pytest tests/test_every_float.py                              # each 4,099th, seconds
    FASTNN_FLOAT_STRIDE=1 pytest tests/test_every_float.py -s     # all 2**32 of them

What is compared with is the C library in float64, whose error is far below a float32's ULP.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest

from fastnn.kernels.cpu import vector_math
from fastnn.kernels.cpu.compiler import OPTIONS
from fastnn.kernels.cpu.vectors import from_bits

# A prime, so that all last bits of the mantissa occur.
STRIDE = int(os.environ.get("FASTNN_FLOAT_STRIDE", "4099"))

pytestmark = pytest.mark.compiled

exact = numba.njit(**OPTIONS)


@exact
def sigmoid(x):
    e = math.exp(-abs(x))
    return 1 / (1 + e) if x >= 0 else e / (1 + e)


@exact
def sigmoid_derivative(x):
    e = math.exp(-abs(x))
    return e / ((1 + e) * (1 + e))


@exact
def tanh_derivative(x):
    e = math.exp(-2 * abs(x))
    return 4 * e / ((1 + e) * (1 + e))


@exact
def softplus(x):
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


@exact
def gelu(x):
    return 0.5 * x * math.erfc(-x * math.sqrt(0.5))


@exact
def gelu_derivative(x):
    return 0.5 * math.erfc(-x * math.sqrt(0.5)) + x * normal(x)


@exact
def normal(x):
    return math.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


@exact
def gelu_terms(x):
    # Where the two terms cancel, one ULP is that of the larger.
    return max(0.5 * math.erfc(-x * math.sqrt(0.5)), abs(x) * normal(x))


LARGEST = float(np.finfo(np.float32).max)
# name: the function in float64, what its ULP is measured by, the domain, the largest error in ULP
FUNCTIONS = {
    "exp": (math.exp, math.exp, (-np.inf, np.inf), 1.0),
    "expm1_negative": (math.expm1, math.expm1, (-np.inf, 0.0), 1.2),
    "log": (math.log, math.log, (np.nextafter(0.0, 1.0), np.inf), 1.0),
    "log1p_unit": (math.log1p, math.log1p, (0.0, 1.0), 2.0),
    "sigmoid": (sigmoid, sigmoid, (-np.inf, np.inf), 2.5),
    "sigmoid_derivative": (sigmoid_derivative, sigmoid_derivative, (-np.inf, np.inf), 3.0),
    "tanh": (math.tanh, math.tanh, (-np.inf, np.inf), 3.0),
    "tanh_derivative": (tanh_derivative, tanh_derivative, (-np.inf, np.inf), 3.0),
    "softplus": (softplus, softplus, (-np.inf, np.inf), 3.0),
    "gelu": (gelu, gelu, (-LARGEST, np.inf), 4.0),
    "gelu_derivative": (gelu_derivative, gelu_terms, (-LARGEST, LARGEST), 4.0),
}


def worst_of(name):
    """Return the compiled search for the largest error."""
    function, (true, size, (low, high), _) = getattr(vector_math, name), FUNCTIONS[name]

    @numba.njit(**OPTIONS)
    def search(start, stop, step):
        worst, at, seen = 0.0, 0.0, 0
        for i in range(start, stop, step):
            x = from_bits(np.int32(i))
            wide = np.float64(x)
            if not (wide >= low and wide <= high):  # nor NaN
                continue
            seen += 1
            found, expected = np.float64(function(x)), true(wide)
            if abs(expected) > LARGEST:
                # Infinity, or the largest float where the value rounds to it.
                error = 0.0 if found == math.copysign(math.inf, expected) else 1e9
                if abs(expected) < LARGEST * (1 + 2.0**-24) and abs(found) == LARGEST:
                    error = 0.0
            else:
                _, exponent = math.frexp(size(wide))
                error = abs(found - expected) * 2.0 ** -max(exponent - 24, -149)
            if not error <= worst:
                worst, at = error, wide
        return worst, at, seen

    return search


@pytest.mark.parametrize("name", FUNCTIONS)
def test_error_at_every_float(name):
    search = worst_of(name)
    search(0, 1, 1)
    pieces = np.linspace(-(2**31), 2**31, 129).astype(np.int64)
    pieces = [(a + (-a) % STRIDE, b) for a, b in zip(pieces[:-1], pieces[1:], strict=True)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(lambda piece: search(*map(int, piece), STRIDE), pieces))
    worst, at, _ = max(found)
    seen = sum(count for *_, count in found)
    print(f" {name}: {worst:.3f} ULP at {at!r}, of {seen:,} values", end="")
    assert seen > 2**28 // STRIDE
    assert worst <= FUNCTIONS[name][3]
