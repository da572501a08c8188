"""Activations and their derivatives, elementwise over flat arrays; softmax by columns.

A = g(Z)    D = g'(Z)    dZ = dA * g'(Z)
"""

from __future__ import annotations

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
from . import vector_math as vm
from .compiler import helper, kernel, unique
from .vectors import never_inline, select, widest_vectors

# ------------------------------------------------------------------ one value


@helper
def identity(z):
    return z


@helper
def one(z):
    return type(z)(1)


@helper
def relu(z):
    # select, not max: NaN goes through, and nothing branches
    return select(z < type(z)(0), type(z)(0), z)


@helper
def relu_derivative(z):
    return select(z >= type(z)(0), type(z)(1), type(z)(0))


@helper
def leaky_relu(z):
    return select(z < type(z)(0), type(z)(LEAK) * z, z)


@helper
def leaky_relu_derivative(z):
    return select(z >= type(z)(0), type(z)(1), type(z)(LEAK))


@helper
def elu(z):
    return select(z >= type(z)(0), z, vm.expm1_negative(select(z > type(z)(0), type(z)(0), z)))


@helper
def elu_derivative(z):
    return select(z >= type(z)(0), type(z)(1), vm.exp(select(z > type(z)(0), type(z)(0), z)))


@helper
def silu(z):
    return z * vm.sigmoid(z)


@helper
def silu_derivative(z):
    s = vm.sigmoid(z)
    return s + z * vm.sigmoid_derivative(z)


# ------------------------------------------------------------------ loops over values


def _values(f: Any) -> Any:
    """Return the loop out[i] = f(z[i])."""

    def loop(out, z):
        widest_vectors()
        for i in range(out.size):
            out[i] = f(z[i])

    return helper(unique(loop, f"_values_{f.__name__}"))


def _products(f: Any) -> Any:
    """Return the loop d[i] = d[i] f(z[i]).

    Reading and writing d by one name lets LLVM see that they are the same place.
    """

    def loop(d, z):
        widest_vectors()
        for i in range(d.size):
            d[i] = d[i] * f(z[i])

    return helper(unique(loop, f"_products_{f.__name__}"))


def _both(g: Any, derivative: Any) -> Any:
    """Return the loop that leaves A = g(Z) in A, and g'(Z) in D, which held Z."""

    def loop(A, D):
        widest_vectors()
        for i in range(A.size):
            z = D[i]
            A[i] = g(z)
            D[i] = derivative(z)

    return helper(unique(loop, f"_both_{g.__name__}"))


def _both_from_value(g: Any, derivative_of_a: Any) -> Any:
    """Return the same loop where the derivative is cheaper from a = g(z)."""

    def loop(A, D):
        widest_vectors()
        for i in range(A.size):
            a = g(D[i])
            A[i] = a
            D[i] = derivative_of_a(a)

    return helper(unique(loop, f"_both_from_value_{g.__name__}"))


@helper
def _sigmoid_derivative_of_a(a):
    return a * (type(a)(1) - a)


@helper
def _tanh_derivative_of_a(a):
    return type(a)(1) - a * a


@helper
def _elu_derivative_of_a(a):
    return select(a >= type(a)(0), type(a)(1), a + type(a)(1))


_identity, _sigmoid, _tanh = _values(identity), _values(vm.sigmoid), _values(vm.tanh)
_relu, _leaky_relu, _elu = _values(relu), _values(leaky_relu), _values(elu)
_gelu, _silu, _softplus = _values(vm.gelu), _values(silu), _values(vm.softplus)
_exp = _values(vm.exp)

_identity_d, _sigmoid_d, _tanh_d = (
    _values(one),
    _values(vm.sigmoid_derivative),
    _values(vm.tanh_derivative),
)
_relu_d, _leaky_relu_d, _elu_d = (
    _values(relu_derivative),
    _values(leaky_relu_derivative),
    _values(elu_derivative),
)
_gelu_d, _silu_d = _values(vm.gelu_derivative), _values(silu_derivative)

_identity_p, _sigmoid_p, _tanh_p = (
    _products(one),
    _products(vm.sigmoid_derivative),
    _products(vm.tanh_derivative),
)
_relu_p, _leaky_relu_p, _elu_p = (
    _products(relu_derivative),
    _products(leaky_relu_derivative),
    _products(elu_derivative),
)
_gelu_p, _silu_p = _products(vm.gelu_derivative), _products(silu_derivative)
_softplus_p, _exp_p = _products(vm.sigmoid), _products(vm.exp)

_identity_b = _both(identity, one)
_sigmoid_b = _both_from_value(vm.sigmoid, _sigmoid_derivative_of_a)
_tanh_b = _both_from_value(vm.tanh, _tanh_derivative_of_a)
_relu_b = _both(relu, relu_derivative)
_leaky_relu_b = _both(leaky_relu, leaky_relu_derivative)
_elu_b = _both_from_value(elu, _elu_derivative_of_a)
_gelu_b = _both(vm.gelu, vm.gelu_derivative)
_silu_b = _both(silu, silu_derivative)
_softplus_b = _both(vm.softplus, vm.sigmoid)
_exp_b = _both_from_value(vm.exp, identity)


@helper
def values(A, Z, activation):
    """A = g(Z), for all but softmax."""
    never_inline()
    if activation == IDENTITY:
        _identity(A, Z)
    elif activation == SIGMOID:
        _sigmoid(A, Z)
    elif activation == TANH:
        _tanh(A, Z)
    elif activation == RELU:
        _relu(A, Z)
    elif activation == LEAKY_RELU:
        _leaky_relu(A, Z)
    elif activation == ELU:
        _elu(A, Z)
    elif activation == GELU:
        _gelu(A, Z)
    elif activation == SILU:
        _silu(A, Z)
    elif activation == SOFTPLUS:
        _softplus(A, Z)
    elif activation == EXP:
        _exp(A, Z)


@helper
def values_and_derivatives(A, D, activation):
    """A = g(Z) and D = g'(Z), where D holds Z; for all but softmax."""
    never_inline()
    if activation == IDENTITY:
        _identity_b(A, D)
    elif activation == SIGMOID:
        _sigmoid_b(A, D)
    elif activation == TANH:
        _tanh_b(A, D)
    elif activation == RELU:
        _relu_b(A, D)
    elif activation == LEAKY_RELU:
        _leaky_relu_b(A, D)
    elif activation == ELU:
        _elu_b(A, D)
    elif activation == GELU:
        _gelu_b(A, D)
    elif activation == SILU:
        _silu_b(A, D)
    elif activation == SOFTPLUS:
        _softplus_b(A, D)
    elif activation == EXP:
        _exp_b(A, D)


@helper
def products(D, Z, activation):
    """D = D * g'(Z), for all but softmax."""
    never_inline()
    if activation == IDENTITY:
        _identity_p(D, Z)
    elif activation == SIGMOID:
        _sigmoid_p(D, Z)
    elif activation == TANH:
        _tanh_p(D, Z)
    elif activation == RELU:
        _relu_p(D, Z)
    elif activation == LEAKY_RELU:
        _leaky_relu_p(D, Z)
    elif activation == ELU:
        _elu_p(D, Z)
    elif activation == GELU:
        _gelu_p(D, Z)
    elif activation == SILU:
        _silu_p(D, Z)
    elif activation == SOFTPLUS:
        _softplus_p(D, Z)
    elif activation == EXP:
        _exp_p(D, Z)


# ------------------------------------------------------------------ softmax


@helper
def softmax_columns(A, Z, place, row, n, m, scratch):
    """A = softmax of the columns of Z; both (n, m), at ``place``, with stride ``row``.

    ``scratch`` takes 2 m values; it ends with each column's largest value, then the sum of its
    exponentials, from which the cross-entropy is made.
    """
    never_inline()
    widest_vectors()
    top, total = scratch[:m], scratch[m : 2 * m]
    z = Z[place : place + m]
    for j in range(m):
        top[j] = z[j]
        total[j] = 0
    for i in range(1, n):
        z = Z[place + i * row : place + i * row + m]
        for j in range(m):
            top[j] = select(z[j] > top[j], z[j], top[j])
    for i in range(n):
        z = Z[place + i * row : place + i * row + m]
        a = A[place + i * row : place + i * row + m]
        for j in range(m):
            a[j] = vm.exp(z[j] - top[j])
        for j in range(m):
            total[j] += a[j]
    for i in range(n):
        a = A[place + i * row : place + i * row + m]
        for j in range(m):
            a[j] = a[j] / total[j]


@helper
def softmax_backward_columns(dZ, dA, A, place, row, dA_place, dA_row, n, m, scratch):
    """dZ = A * (dA - sum_k dA_k A_k) in each of m columns of n values; dZ may be A.

    dZ and A stand at ``place``, with stride ``row``; dA has a place and a stride of its own.
    """
    never_inline()
    widest_vectors()
    total = scratch[:m]
    for j in range(m):
        total[j] = 0
    for i in range(n):
        a = A[place + i * row : place + i * row + m]
        d = dA[dA_place + i * dA_row : dA_place + i * dA_row + m]
        for j in range(m):
            total[j] += a[j] * d[j]
    for i in range(n):
        a = A[place + i * row : place + i * row + m]
        d = dA[dA_place + i * dA_row : dA_place + i * dA_row + m]
        out = dZ[place + i * row : place + i * row + m]
        for j in range(m):
            out[j] = a[j] * (d[j] - total[j])


# Columns that are worked on together: a block of 16 rows then stays in the L1 cache.
COLUMNS = 512


@helper
def _softmax_examples(A, Z):
    # (m, n), one example a row: three flat passes, since a row may be far shorter than a vector
    widest_vectors()
    m, n = Z.shape
    for j in range(m):
        top = Z[j, 0]
        for i in range(1, n):
            top = select(Z[j, i] > top, Z[j, i], top)
        for i in range(n):
            A[j, i] = Z[j, i] - top
    flat = A.reshape(-1)
    for i in range(flat.size):
        flat[i] = vm.exp(flat[i])
    for j in range(m):
        total = A[j, 0]
        for i in range(1, n):
            total += A[j, i]
        for i in range(n):
            A[j, i] = A[j, i] / total


@helper
def softmax(A, Z, rows, scratch):
    """A = softmax(Z): by columns of (n, m), or by rows of (m, n) where ``rows``."""
    if rows:
        _softmax_examples(A, Z)
    else:
        n, m = Z.shape
        for j in range(0, m, COLUMNS):
            columns = min(COLUMNS, m - j)
            softmax_columns(A.reshape(-1), Z.reshape(-1), j, m, n, columns, scratch)


# ------------------------------------------------------------------ kernels

# Values that are copied and then worked on: they are still in the L1 cache.
_VALUES = 2048


@kernel
def activation_forward(A, Z, activation, rows, scratch):
    """A = g(Z)   # (n, m) in C order, or (m, n) where ``rows``."""
    if activation == SOFTMAX:
        softmax(A, Z, rows, scratch)
    else:
        values(A.reshape(-1), Z.reshape(-1), activation)


@kernel
def activation_derivative(D, Z, activation, rows, scratch):
    """D = g'(Z); for softmax the diagonal a (1 - a) of the Jacobian."""
    d, z = D.reshape(-1), Z.reshape(-1)
    if activation == IDENTITY:
        _identity_d(d, z)
    elif activation == SIGMOID:
        _sigmoid_d(d, z)
    elif activation == TANH:
        _tanh_d(d, z)
    elif activation == RELU:
        _relu_d(d, z)
    elif activation == LEAKY_RELU:
        _leaky_relu_d(d, z)
    elif activation == SOFTMAX:
        softmax(D, Z, rows, scratch)
        for i in range(d.size):
            d[i] = d[i] * (type(d[i])(1) - d[i])
    elif activation == ELU:
        _elu_d(d, z)
    elif activation == GELU:
        _gelu_d(d, z)
    elif activation == SILU:
        _silu_d(d, z)
    elif activation == SOFTPLUS:
        _sigmoid(d, z)
    elif activation == EXP:
        _exp(d, z)


@kernel
def activation_backward(dZ, dA, Z, activation, rows, scratch):
    """dZ = dA * g'(Z); for softmax A * (dA - sum_k dA_k A_k)."""
    if activation == SOFTMAX:
        softmax(dZ, Z, rows, scratch)
        through_softmax(dZ, dA, rows, scratch)
    else:
        d, a, z = dZ.reshape(-1), dA.reshape(-1), Z.reshape(-1)
        for i in range(0, d.size, _VALUES):
            part, source = d[i : i + _VALUES], a[i : i + _VALUES]
            for j in range(part.size):
                part[j] = source[j]
            products(part, z[i : i + _VALUES], activation)


@helper
def through_softmax(dZ, dA, rows, scratch):
    """dZ = A * (dA - sum_k dA_k A_k), where dZ holds A = softmax(Z)."""
    if rows:
        m, n = dZ.shape
        for j in range(m):
            total = dZ[j, 0] * dA[j, 0]
            for i in range(1, n):
                total += dZ[j, i] * dA[j, i]
            for i in range(n):
                dZ[j, i] = dZ[j, i] * (dA[j, i] - total)
    else:
        n, m = dZ.shape
        out, d = dZ.reshape(-1), dA.reshape(-1)
        for j in range(0, m, COLUMNS):
            columns = min(COLUMNS, m - j)
            softmax_backward_columns(out, d, out, j, m, j, m, n, columns, scratch)
