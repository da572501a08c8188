"""Activations and their derivatives, value by value; softmax by columns.

A = g(Z)    D = g'(Z)    dZ = dA * g'(Z)
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from ..codes import (
    ELU,
    EXP,
    GELU,
    IDENTITY,
    LEAK,
    LEAKY_RELU,
    RELU,
    SIGMOID,
    SILU,
    SOFTMAX,
    SOFTPLUS,
    TANH,
)
from . import scalars
from .driver import THREADS, Place, blocks_for, cuda, device, is_wide, kernel, real_of
from .memory import copy16, store, value, vector_length
from .scalars import exp, expm1, normal_cdf, normal_density, sigmoid, sigmoid_derivative
from .softmax import softmax_backward, softmax_diagonal, softmax_forward

# ------------------------------------------------------------------ one value


@device
def one(z):
    return type(z)(1)


@device
def relu(z):
    # NaN goes through.
    return type(z)(0) if z < type(z)(0) else z


@device
def relu_derivative(z):
    return type(z)(1) if z >= type(z)(0) else type(z)(0)


@device
def leaky_relu(z):
    return type(z)(LEAK) * z if z < type(z)(0) else z


@device
def leaky_relu_derivative(z):
    return type(z)(1) if z >= type(z)(0) else type(z)(LEAK)


@device
def elu(z):
    return z if z >= type(z)(0) else expm1(z)


@device
def elu_derivative(z):
    return type(z)(1) if z >= type(z)(0) else exp(z)


@device
def gelu(z):
    return z * normal_cdf(z)


@device
def gelu_derivative(z):
    return normal_cdf(z) + z * normal_density(z)


@device
def silu(z):
    return z * sigmoid(z)


@device
def silu_derivative(z):
    return sigmoid(z) + z * sigmoid_derivative(z)


@device
def value_of(z, code):
    """Return g(z); not softmax."""
    if code == RELU:
        return relu(z)
    if code == LEAKY_RELU:
        return leaky_relu(z)
    if code == SIGMOID:
        return sigmoid(z)
    if code == TANH:
        return scalars.tanh(z)
    if code == ELU:
        return elu(z)
    if code == GELU:
        return gelu(z)
    if code == SILU:
        return silu(z)
    if code == SOFTPLUS:
        return scalars.softplus(z)
    if code == EXP:
        return exp(z)
    return z


@device
def slope_of(z, code):
    """Return g'(z); not softmax."""
    if code == RELU:
        return relu_derivative(z)
    if code == LEAKY_RELU:
        return leaky_relu_derivative(z)
    if code == SIGMOID:
        return sigmoid_derivative(z)
    if code == TANH:
        return scalars.tanh_derivative(z)
    if code == ELU:
        return elu_derivative(z)
    if code == GELU:
        return gelu_derivative(z)
    if code == SILU:
        return silu_derivative(z)
    if code == SOFTPLUS:
        return sigmoid(z)
    if code == EXP:
        return exp(z)
    return one(z)


# ------------------------------------------------------------------ 16 bytes of values


def pieces(real: Any) -> SimpleNamespace:
    """Return functions of the values in 16 bytes; all but softmax.

    ``values(v, code)`` leaves g(z) in v, which held z; ``slopes(v, code)`` leaves g'(z).
    ``get`` and ``put`` move the first ``left`` of them from and to memory.
    """
    V = vector_length(real)

    def each(f: Any) -> Any:
        @device
        def loop(v):
            for i in range(V):
                v[i] = f(v[i])

        return loop

    relus, leaky, elus, gelus = each(relu), each(leaky_relu), each(elu), each(gelu)
    sigmoids, tanhs, silus = each(sigmoid), each(scalars.tanh), each(silu)
    softpluses, exps, ones = each(scalars.softplus), each(exp), each(one)
    relu_slopes, leaky_slopes = each(relu_derivative), each(leaky_relu_derivative)
    elu_slopes, gelu_slopes = each(elu_derivative), each(gelu_derivative)
    sigmoid_slopes, tanh_slopes = each(sigmoid_derivative), each(scalars.tanh_derivative)
    silu_slopes = each(silu_derivative)

    @device
    def values(v, code):
        if code == RELU:
            relus(v)
        elif code == LEAKY_RELU:
            leaky(v)
        elif code == SIGMOID:
            sigmoids(v)
        elif code == TANH:
            tanhs(v)
        elif code == ELU:
            elus(v)
        elif code == GELU:
            gelus(v)
        elif code == SILU:
            silus(v)
        elif code == SOFTPLUS:
            softpluses(v)
        elif code == EXP:
            exps(v)

    @device
    def slopes(v, code):
        if code == IDENTITY:
            ones(v)
        elif code == RELU:
            relu_slopes(v)
        elif code == LEAKY_RELU:
            leaky_slopes(v)
        elif code == SIGMOID:
            sigmoid_slopes(v)
        elif code == TANH:
            tanh_slopes(v)
        elif code == ELU:
            elu_slopes(v)
        elif code == GELU:
            gelu_slopes(v)
        elif code == SILU:
            silu_slopes(v)
        elif code == SOFTPLUS:
            sigmoids(v)
        elif code == EXP:
            exps(v)

    @device
    def get(v, source, place, wide, left):
        if wide and left >= V:
            copy16(v, 0, source, place)
        else:
            for i in range(V):
                v[i] = value(source, place + i) if i < left else real(0)

    @device
    def put(target, place, v, wide, left):
        if wide and left >= V:
            copy16(target, place, v, 0)
        else:
            for i in range(V):
                if i < left:
                    store(target, place + i, v[i])

    return SimpleNamespace(V=V, values=values, slopes=slopes, get=get, put=put)


# ------------------------------------------------------------------ kernels

# What the kernel of the activations leaves in its output.
_VALUES, _SLOPES, _PRODUCTS = range(3)


@kernel("activation", "VIVIVIIIII")
def _activation(real):
    p = pieces(real)
    V, get, put, values, slopes = p.V, p.get, p.put, p.values, p.slopes

    def function(out, out_place, dA, dA_place, Z, Z_place, n, code, what, wide):
        v, d = cuda.local.array(V, real), cuda.local.array(V, real)
        for piece in range(cuda.grid(1), (n + V - 1) // V, cuda.gridsize(1)):
            at = piece * V
            get(v, Z, Z_place + at, wide, n - at)
            if what == _VALUES:
                values(v, code)
            else:
                slopes(v, code)
            if what == _PRODUCTS:
                get(d, dA, dA_place + at, wide, n - at)
                for i in range(V):
                    v[i] *= d[i]
            put(out, out_place + at, v, wide, n - at)

    return function


def _launch(stream: Any, out: Place, dA: Place, Z: Place, n: int, code: int, what: int) -> None:
    real = real_of(Z.values)
    grid = blocks_for(n, THREADS * vector_length(real))
    wide = int(is_wide(out) and is_wide(dA) and is_wide(Z))
    _activation.launch(grid, THREADS, stream, real, *out, *dA, *Z, n, code, what, wide)


def activation_forward(
    stream: Any, A: Place, Z: Place, activation: int, n: int, m: int, rows: bool
) -> None:
    """A = g(Z)   # (n, m) in C order, or (m, n) where ``rows``."""
    if activation == SOFTMAX:
        softmax_forward(stream, A, Z, n, m, rows)
    else:
        _launch(stream, A, A, Z, n * m, activation, _VALUES)


def activation_derivative(
    stream: Any, D: Place, Z: Place, activation: int, n: int, m: int, rows: bool
) -> None:
    """D = g'(Z); for softmax the diagonal a (1 - a) of the Jacobian."""
    if activation == SOFTMAX:
        softmax_diagonal(stream, D, Z, n, m, rows)
    else:
        _launch(stream, D, D, Z, n * m, activation, _SLOPES)


def activation_backward(
    stream: Any, dZ: Place, dA: Place, Z: Place, activation: int, n: int, m: int, rows: bool
) -> None:
    """dZ = dA * g'(Z); for softmax A * (dA - sum_k dA_k A_k)."""
    if activation == SOFTMAX:
        softmax_backward(stream, dZ, dA, Z, n, m, rows)
    else:
        _launch(stream, dZ, dA, Z, n * m, activation, _PRODUCTS)
