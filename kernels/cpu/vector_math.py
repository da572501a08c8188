"""Functions of one value, written so that LLVM turns a loop over them into vector code.

No branches, only selections; no tables; no calls of the C library. Each function reduces its
argument to a short interval, where a polynomial (fitted by ``tools/fit_polynomials.py``) is as
exact as the type. Errors are within 4 ULP over the whole range, 9 for gelu; zeros, infinities,
NaN and denormals go through as NumPy's formulas send them. ``python -m fastnn check`` prints the
errors of the activations.

``exp(x)`` and the others take float32 or float64 and compute in that type alone: one float64
constant would drag a whole float32 loop into double arithmetic.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from .compiler import HELPER_OPTIONS, helper, unique
from .vectors import bits, fma, from_bits, paired_polynomial, polynomial, select

# Highest power first. The comments give the error of the function that each serves, before any
# rounding of the arithmetic.

# EXP_32: 0.00892 x 2^-24, 4.79e+6 x 2^-53
_EXP_32 = (
    0.00019890990824673653848,
    0.001393364999630925043,
    0.0083333109254809008349,
    0.041666464925285905408,
    0.16666666681623231402,
    0.50000000134658092001,
)
# EXP_64: 9.13e-12 x 2^-24, 0.0049 x 2^-53
_EXP_64 = (
    2.0914686968086877233e-9,
    2.5105217004720745164e-8,
    2.7557273643110295328e-7,
    2.755725540020642443e-6,
    0.000024801587325547741216,
    0.00019841269874820625271,
    0.0013888888888883748305,
    0.0083333333333261351258,
    0.041666666666666669755,
    0.16666666666666670991,
    0.5,
)
# TANH_32: 0.41 x 2^-24, 2.2e+8 x 2^-53
_TANH_32 = (
    -0.044563787480683182534,
    0.13381086484356123793,
    -0.33333243693763659362,
    0.66666307958795102731,
    -1.0,
)
# TANH_64: 9.13e-12 x 2^-24, 0.0049 x 2^-53
_TANH_64 = (
    -4.2833278910641924572e-6,
    0.000025707742212834043048,
    -0.00014109324105272471208,
    0.0007054657382452844654,
    -0.0031746031776701108757,
    0.012698412719885200174,
    -0.044444444444427994575,
    0.13333333333321816201,
    -0.33333333333333335804,
    0.66666666666666683963,
    -1.0,
)
# LOG_32: 0.046 x 2^-24, 2.47e+7 x 2^-53
_LOG_32 = (
    0.29580053043188442144,
    0.39988778282162807727,
    0.66666685045156029067,
)
# LOG_64: 7.58e-11 x 2^-24, 0.0407 x 2^-53
_LOG_64 = (
    0.14616585424888621989,
    0.15331710618210771568,
    0.18182889455674946039,
    0.22222211130259877029,
    0.28571428626003268742,
    0.39999999999899443233,
    0.66666666666666696883,
)
# LOG1P_32: 0.261 x 2^-24, 1.4e+8 x 2^-53
_LOG1P_32 = (
    0.26852027293999695864,
    0.28236546657557728281,
    0.40007563065259334253,
    0.66666640325628692853,
)
# LOG1P_64: 8.1e-11 x 2^-24, 0.0435 x 2^-53
_LOG1P_64 = (
    0.16164938169471338621,
    0.088003176508687734689,
    0.12001155182857778692,
    0.13314135550881162863,
    0.15385570592912243603,
    0.18181789417326447891,
    0.22222222717801781691,
    0.28571428567105060928,
    0.40000000000014596614,
    0.66666666666666658552,
)
# TAIL_32: 0.0737 x 2^-24, 3.96e+7 x 2^-53
_TAIL_32 = (
    -0.000040985682345803171571,
    0.000078012108352119583796,
    0.00028055421991254328152,
    -0.00057073112286453255138,
    -0.0024231913909629294796,
    0.0018162916067999288374,
    0.027760256898242042939,
    0.08654968816081962377,
    0.16457948987932116198,
    0.22197061339917906774,
)
# TAIL_64: 2.0e-10 x 2^-24, 0.107 x 2^-53
_TAIL_64 = (
    -3.1754937654946730757e-11,
    -3.506096802816463961e-10,
    1.5326143601520082092e-9,
    1.8627121988652118287e-9,
    -1.3188443324954446086e-8,
    -8.4549987480130696767e-9,
    8.6628207137251699071e-8,
    6.7323073620249423443e-8,
    -5.5385341919948604909e-7,
    -7.9618043157360822387e-7,
    3.3362427484084122905e-6,
    9.952562854117161034e-6,
    -0.000011875145601983172736,
    -0.00010897981295462597877,
    -0.00015957387969321402109,
    0.00059867535410170848774,
    0.0041590133599766359278,
    0.013823727741262032715,
    0.033004073234076943583,
    0.062706631334260908939,
    0.099061123193995282654,
    0.13307650057801134008,
    0.15383860995001259171,
)


def _functions(real: Any, integer: Any, precision: int, coefficients: dict[str, Any]) -> Any:
    """Return the functions for one type; ``precision`` is the number of stored mantissa bits."""
    EXP, TANH, LOG, LOG1P, TAIL, *limits = coefficients.values()
    TAIL_WIDTH, TANH_RANGE, EXP_RANGE, TAIL_RANGE, FAR_LEFT = limits
    single = real is np.float32
    exponent_bias = 127 if single else 1023

    def constants(values: Any) -> Any:
        return tuple(real(value) for value in values)

    EXP, TANH = constants(EXP), constants(TANH)
    LOG, LOG1P, TAIL = constants(LOG), constants(LOG1P), constants(TAIL)
    w = real(TAIL_WIDTH)
    lowest, highest = constants(EXP_RANGE)
    flat, farthest, far_left = real(TANH_RANGE), real(TAIL_RANGE), real(FAR_LEFT)
    zero, half, one, two, four = constants((0, 0.5, 1, 2, 4))
    infinity, not_a_number = constants((np.inf, np.nan))
    tiny = np.finfo(real).tiny
    scale_up = real(2.0 ** (precision + 2))
    log2_e = real(1.4426950408889634)
    # Adding it rounds to an integer, and leaves that integer in the low bits.
    magic = real(1.5 * 2.0**precision)
    magic_bits = integer(magic.view(integer))
    # The same, with the exponent's bias in those bits: moved up by the mantissa, they are 2^n.
    magic_power = real(magic + exponent_bias)
    # ln 2 in two parts; the first has trailing zeros, so that k times it is exact.
    ln2_high = real(0.693145751953125) if single else real(0.6931471803691238)
    ln2_low = real(1.4286068203094172e-6) if single else real(1.9082149292705877e-10)
    minus_2_log2_e, half_ln2 = real(-2.8853900817779268), real(0.34657359027997264)
    bias = integer(exponent_bias)
    shift = integer(precision)
    log_bias = integer(real(np.sqrt(0.5)).view(integer))
    log_shift = integer(precision + 2)
    sign_bit = integer(np.iinfo(integer).min)
    inverse_sqrt_2pi = real(0.3989422804014327)

    def typed(function: Any) -> Any:
        return helper(unique(function, f"{function.__name__}_{real.__name__}"))

    @typed
    def power_of_two(n):
        return from_bits(integer(integer(n + bias) << shift))

    @typed
    def reduce(x):
        # x = n ln 2 + r with |r| <= ln 2 / 2
        shifted = fma(x, log2_e, magic)
        k = shifted - magic
        n = integer(bits(shifted) - magic_bits)
        return n, fma(k, -ln2_low, fma(k, -ln2_high, x))

    @typed
    def absolute(x):
        return from_bits(integer(bits(x) & ~sign_bit))

    @typed
    def exp_parts(x):
        # exp(x) = y p q, where y is about 1 and p q = 2^n. In two factors, since 2^n alone may
        # overflow where the result does not, and a denormal result must be rounded once only.
        x = select(x > highest, highest, x)
        x = select(x < lowest, lowest, x)
        n, r = reduce(x)
        y = fma(r * r, polynomial(r, EXP), r) + one
        first = integer(n >> integer(1))
        return y, power_of_two(first), power_of_two(integer(n - first))

    @typed
    def exp(x):
        y, p, q = exp_parts(x)
        return y * p * q

    @typed
    def expm1_negative(x):
        # exp(x) - 1 for x <= 0 = 2^n (e^r - 1) + (2^n - 1): the last is exact, or tiny beside -1
        x = select(x < lowest * half, lowest * half, x)
        n, r = reduce(x)
        power = power_of_two(n)
        return fma(power, fma(r * r, polynomial(r, EXP), r), power - one)

    @typed
    def log(x):
        denormal = x < tiny
        scaled = select(denormal, x * scale_up, x)
        i = bits(scaled)
        n = integer(integer(i - log_bias) >> shift)
        f = from_bits(integer(i - integer(n << shift))) - one
        k = real(n - select(denormal, log_shift, integer(0)))
        s = f / (two + f)
        z = s * s
        square = half * f * f
        y = fma(k, ln2_high, f - (square - fma(s, fma(z, polynomial(z, LOG), square), k * ln2_low)))
        y = select(x == infinity, infinity, y)
        y = select(x == zero, -infinity, y)
        return select(x >= zero, y, not_a_number)

    @typed
    def log1p_unit(t):
        # log(1 + t) for t in [0, 1] = 2 atanh(t / (2 + t))
        s = t / (two + t)
        z = s * s
        return fma(s * z, polynomial(z, LOG1P), two * s)

    @typed
    def sigmoid(x):
        # 1 / (1 + exp(-x)), each step of it monotone; far left, where exp(-x) would overflow, the
        # 1 is lost beside it and exp(x) remains.
        left = x < -far_left
        e = exp(select(left, x, -x))
        return select(left, e, one / (one + e))

    @typed
    def sigmoid_derivative(x):
        e = exp(-absolute(x))
        return e / ((one + e) * (one + e))

    @typed
    def tanh(x):
        # exp(-2 u) = 2^n (1 - 2 q), with n <= 0; v = (1 - exp(-2 u)) / 2 = 2^n q + (1 - 2^n) / 2,
        # where nothing cancels; tanh(u) = v / (1 - v). Each step rises with u, and v is at most
        # 1/2, so that the result stays within 1. One part of ln 2 will do: what it lacks counts
        # n 2^n times.
        u = absolute(x)
        u = select(u > flat, flat, u)
        shifted = fma(u, minus_2_log2_e, magic_power)
        power = from_bits(integer(bits(shifted) << shift))
        r = fma(shifted - magic_power, half_ln2, u)
        square = r * r
        q = fma(square, paired_polynomial(r, square, TANH), r)
        v = fma(power, q, fma(power, -half, half))
        return from_bits(integer(bits(v / (one - v)) | (bits(x) & sign_bit)))

    @typed
    def tanh_derivative(x):
        # 1 - tanh(x)^2 without its cancellation
        e = exp(-two * absolute(x))
        return four * e / ((one + e) * (one + e))

    @typed
    def softplus(x):
        y = log1p_unit(exp(-absolute(x)))
        return select(x > zero, x, zero) + select(x == x, y, x)

    @typed
    def normal_parts(u):
        # For u >= 0, c and y, p, q with exp(-u^2 / 2) = y p q and Q(u) = erfc(u / sqrt 2) / 2 =
        # c y p q. The square is carried in two parts: its rounding error, times u^2, would be the
        # error of the exponential. The powers of two p and q come last in every product, so that
        # nothing underflows before the result does.
        square = u * u
        rest = fma(u, u, -square)
        y, p, q = exp_parts(-half * square)
        t = one / fma(w, u, one)
        c = t * polynomial(fma(two, t, -one), TAIL)
        return c, fma(y, -half * rest, y), p, q

    @typed
    def gelu(x):
        u = absolute(x)
        c, y, p, q = normal_parts(select(u > farthest, farthest, u))
        # Beyond the tail the result is x times 0, which is NaN at -infinity, as NumPy's is.
        low = select(u > farthest, x * zero, x * (c * y) * p * q)
        return select(x < zero, low, x * (one - c * y * p * q))

    @typed
    def gelu_derivative(x):
        u = absolute(x)
        c, y, p, q = normal_parts(select(u > farthest, farthest, u))
        tail = c * y * p * q
        slope = select(u > farthest, x * zero, x * inverse_sqrt_2pi * y * p * q)
        return slope + select(x < zero, tail, one - tail)

    return SimpleNamespace(
        exp=exp,
        expm1_negative=expm1_negative,
        log=log,
        log1p_unit=log1p_unit,
        sigmoid=sigmoid,
        sigmoid_derivative=sigmoid_derivative,
        tanh=tanh,
        tanh_derivative=tanh_derivative,
        softplus=softplus,
        gelu=gelu,
        gelu_derivative=gelu_derivative,
    )


_SINGLE = _functions(
    np.float32,
    np.int32,
    23,
    {
        "EXP": _EXP_32,
        "TANH": _TANH_32,
        "LOG": _LOG_32,
        "LOG1P": _LOG1P_32,
        "TAIL": _TAIL_32,
        "TAIL_WIDTH": 0.3,
        # Beyond this, tanh is 1.
        "TANH_RANGE": 9.1,
        # Beyond these, exp is 0 or infinity; beyond the last, the normal tail is 0.
        "EXP_RANGE": (-105.0, 89.0),
        "TAIL_RANGE": 15.0,
        # Left of minus this, 1 + exp(-x) = exp(-x), which is still finite here.
        "FAR_LEFT": 80.0,
    },
)
_DOUBLE = _functions(
    np.float64,
    np.int64,
    52,
    {
        "EXP": _EXP_64,
        "TANH": _TANH_64,
        "LOG": _LOG_64,
        "LOG1P": _LOG1P_64,
        "TAIL": _TAIL_64,
        "TAIL_WIDTH": 0.2,
        "TANH_RANGE": 19.5,
        "EXP_RANGE": (-746.0, 710.0),
        "TAIL_RANGE": 39.0,
        "FAR_LEFT": 700.0,
    },
)


def _by_type(name: str) -> Any:
    """Return the function of that name that picks its type: compiled, by overload; else by hand."""
    single, double = getattr(_SINGLE, name), getattr(_DOUBLE, name)

    def function(x):
        return single(x) if isinstance(x, np.float32) else double(x)

    def function_float32(x):
        return single(x)

    def function_float64(x):
        return double(x)

    unique(function_float32, f"choose_{name}_float32")
    unique(function_float64, f"choose_{name}_float64")
    unique(function, name).__name__ = name

    @overload(function, jit_options=HELPER_OPTIONS)
    def choose(x):
        return {types.float32: function_float32, types.float64: function_float64}.get(x)

    return function


exp = _by_type("exp")
expm1_negative = _by_type("expm1_negative")
log = _by_type("log")
log1p_unit = _by_type("log1p_unit")
sigmoid = _by_type("sigmoid")
sigmoid_derivative = _by_type("sigmoid_derivative")
tanh = _by_type("tanh")
tanh_derivative = _by_type("tanh_derivative")
softplus = _by_type("softplus")
gelu = _by_type("gelu")
gelu_derivative = _by_type("gelu_derivative")
