"""Functions of one value, written so that LLVM turns a loop over them into vector code.

No branches, only selections; no tables; no calls of the C library. Each function reduces its
argument to a short interval, where a polynomial (fitted by ``tools/fit_polynomials.py``) is as
exact as the type. Errors are within 4 ULP over the whole range (those of gelu_derivative, which
has a zero at -0.75, within 4 ULP of the larger of the two terms that cancel there); zeros,
infinities, NaN and denormals go through as NumPy's formulas send them. ``python -m fastnn check``
prints the errors of the activations.

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
# TAIL_32: 0.122 x 2^-24, 6.52e+7 x 2^-53
_TAIL_32 = (
    -0.000040752901185985298141,
    0.000090454688031994185681,
    0.0002568787464421713584,
    -0.00065300125564765373414,
    -0.0023367355493292767594,
    0.0024614150641966834081,
    0.028933137718761395775,
    0.087369269541945884085,
    0.16396567381047445775,
    0.21995365871881523134,
)
# TAIL_64: 1.89e-10 x 2^-24, 0.101 x 2^-53
_TAIL_64 = (
    -4.7025511936266434195e-10,
    1.124002146911594357e-9,
    3.5570920284947526082e-9,
    -1.0848686429471556893e-8,
    -2.0404537347657271918e-8,
    7.2479192564118663858e-8,
    1.3592875151137759459e-7,
    -4.3943573095498252354e-7,
    -1.1421113158537045336e-6,
    2.2817387204731855134e-6,
    0.000010925415665334612947,
    -2.999313828094000829e-6,
    -0.000097784812597418556547,
    -0.00019844565277489160443,
    0.00038102311829111702223,
    0.003595211173200992003,
    0.012850561477282964489,
    0.031840465262721965356,
    0.06188948022978796548,
    0.099204655290463027018,
    0.13444924271708473928,
    0.1560767835374692765,
)
# SLOPE_32: 7.27e+5 x 2^-24, 3.91e+14 x 2^-53
_SLOPE_32 = (
    0.95809318158368533799,
    1.7679798308158962997,
)
# SLOPE_64: 3.12e+5 x 2^-24, 1.68e+14 x 2^-53
_SLOPE_64 = (
    0.66500608891555369019,
    1.4333965666869114757,
    1.857479613014044842,
)


def _functions(real: Any, integer: Any, precision: int, coefficients: dict[str, Any]) -> Any:
    """Return the functions for one type; ``precision`` is the number of stored mantissa bits."""
    EXP, TANH, LOG, LOG1P, TAIL, SLOPE, *limits = coefficients.values()
    TAIL_WIDTH, TANH_RANGE, EXP_RANGE, TAIL_RANGE, FAR_LEFT = limits
    single = real is np.float32
    exponent_bias = 127 if single else 1023

    def constants(values: Any) -> Any:
        return tuple(real(value) for value in values)

    EXP, TANH = constants(EXP), constants(TANH)
    LOG, LOG1P, TAIL, SLOPE = (constants(values) for values in (LOG, LOG1P, TAIL, SLOPE))
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
    # The result of gelu may be denormal where 2^n times it is not: this much of 2^n comes last.
    down = real(2.0**-64 if single else 2.0**-512)
    magic_bell = real(magic_power + (64 if single else 512))
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
        # (1 + e)^2 as 1 + e (2 + e): the rounding of 1 + e would count twice.
        e = exp(-absolute(x))
        return e / fma(e, two + e, one)

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
        return four * e / fma(e, two + e, one)

    @typed
    def softplus(x):
        y = log1p_unit(exp(-absolute(x)))
        return select(x > zero, x, zero) + select(x == x, y, x)

    @typed
    def mills(u):
        # erfc(u / sqrt 2) / 2 = (c + rest) (1 + g) exp(-u^2 / 2) for u >= 0, with c a function of
        # t = 1 / (1 + w u), which magnifies the roundings of t up to fourfold. g undoes that to
        # first order: it is what they left out times the slope of log c over log t. ``rest`` is
        # the rounding of the last product.
        d = fma(w, u, one)
        t = one / d
        left_out = fma(-t, fma(w, u, one - d), fma(-t, d, one))
        x = fma(two, t, -one)
        h = paired_polynomial(x, x * x, TAIL)
        c = t * h
        return c, fma(t, h, -c), left_out * polynomial(x, SLOPE)

    @typed
    def bell(u, g):
        # s and power, with exp(-u^2 / 2 + g) = (1 + s) power down; the 1 is added where an FMA does
        # so without a rounding of its own. The square is carried in two parts: its rounding error
        # would be a relative error of the result.
        v = half * u
        square = v * u
        rest = fma(v, u, -square)
        shifted = fma(square, -log2_e, magic_bell)
        power = from_bits(integer(bits(shifted) << shift))
        k = shifted - magic_bell
        r = fma(k, -ln2_high, -square) + fma(k, -ln2_low, g - rest)
        z = r * r
        return fma(z, paired_polynomial(r, z, EXP), r), power

    @typed
    def gelu(x):
        # max(x, 0) - |x| Q(|x|), where Q is the normal tail. Left of 0 the 0 is made of x, so that
        # it keeps the sign of zero, and is NaN at -infinity, as NumPy's is.
        u = absolute(x)
        u = select(u > farthest, farthest, u)
        c, rest, g = mills(u)
        s, power = bell(u, g)
        cu = c * u
        rest = fma(rest, u, fma(c, u, -cu))
        scaled = (cu + fma(cu, s, rest)) * power
        return fma(scaled, -down, select(x < zero, x * zero, x))

    @typed
    def gelu_derivative(x):
        # Q(u) + u Q'(u) left of 0, and 1 less that right of it; NaN at infinity, as NumPy's is. The
        # correction g is Q's alone: beside gelu, the bell with it is there, so Q' undoes it.
        u = absolute(x)
        u = select(u > farthest, farthest, u)
        c, rest, g = mills(u)
        s, power = bell(u, g)
        low = fma(-inverse_sqrt_2pi, u, c) + fma(inverse_sqrt_2pi * u, g, rest)
        scaled = fma(low, s, low) * power
        left = x < zero
        return fma(scaled, select(left, down, -down), fma(x, zero, select(left, zero, one)))

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
        "SLOPE": _SLOPE_32,
        "TAIL_WIDTH": 0.296875,
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
        "SLOPE": _SLOPE_64,
        "TAIL_WIDTH": 0.203125,
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
