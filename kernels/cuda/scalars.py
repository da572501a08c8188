"""Functions of one value, in its own type: one float64 literal would drag float32 into double.

On a GPU these are NVIDIA's (libdevice), whose errors its programming guide lists: within 2 ULP
for exp, expm1, log, log1p and tanh, 5 for the normal distribution. The simulator takes NumPy's.
"""

from __future__ import annotations

import math

import numpy as np

from .driver import SIMULATED, device, overload, types

if SIMULATED:
    exp, expm1, log, log1p, tanh = np.exp, np.expm1, np.log, np.log1p, np.tanh

    def normal_cdf(x):
        """Return the distribution of the standard normal."""
        return type(x)(math.erfc(-x / math.sqrt(2)) / 2)

else:
    from numba.cuda import libdevice

    exp, expm1, log, log1p, tanh = math.exp, math.expm1, math.log, math.log1p, math.tanh

    def normal_cdf(x):
        """Return the distribution of the standard normal."""

    @overload(normal_cdf)
    def _normal_cdf(x):
        if x == types.float32:
            return lambda x: libdevice.normcdff(x)
        return lambda x: libdevice.normcdf(x)


_INVERSE_SQRT_2PI = 0.3989422804014327


@device
def sigmoid(z):
    # exp of what is not positive: no overflow, and the far left keeps its digits
    e = exp(-abs(z))
    return (type(z)(1) if z >= type(z)(0) else e) / (type(z)(1) + e)


@device
def sigmoid_derivative(z):
    e = exp(-abs(z))
    return e / ((type(z)(1) + e) * (type(z)(1) + e))


@device
def tanh_derivative(z):
    # 1 - tanh(z)^2, without its cancellation
    e = exp(type(z)(-2) * abs(z))
    return type(z)(4) * e / ((type(z)(1) + e) * (type(z)(1) + e))


@device
def softplus(z):
    return (z if z > type(z)(0) else type(z)(0)) + log1p(exp(-abs(z)))


@device
def normal_density(z):
    return type(z)(_INVERSE_SQRT_2PI) * exp(type(z)(-0.5) * z * z)


@device
def x_log_y(x, y):
    # 0 log 0 = 0: a target of zero asks nothing of the logarithm.
    return type(x)(0) if x == type(x)(0) else x * log(y)
