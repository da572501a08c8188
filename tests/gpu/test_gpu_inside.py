"""Networks inside a user's own kernels, on the GPU: against the reference.

The rule is that of ``test_gpu_networks.py``: an error may be three times that of the plain formulas
in the same type, and 8 roundings of the largest value, for derivatives those given among them.
"""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from gpu_machine import sized
from test_examples import test_the_same_neutrons_go_through_on_a_gpu  # noqa: F401, run here too

import fastnn
from fastnn import inside
from fastnn.kernels import reference
from fastnn.kernels.codes import ACTIVATIONS

pytestmark = pytest.mark.gpu

FLOATS = (np.float32, np.float64)
both_types = pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.__name__)

M = sized(5000, 9)
# Widths that are and are not multiples of four, one that is thin, one that is larger than a block.
NETWORKS = sized(
    ([16, 64, 64, 9], [33, 70, 41, 3], [1, 32, 32, 1], [5, 1, 300, 7]),
    ([4, 8, 3], [5, 7, 4, 3], [1, 1]),
)
THREADS = sized(128, 3)


@pytest.fixture
def ours():
    return importlib.import_module("fastnn.inside.cuda")


@pytest.fixture
def kernels():
    return importlib.import_module("inside_kernels")


@pytest.fixture
def scalar(driver):
    """Return Numba's types by NumPy's."""
    return {np.float32: driver.types.float32, np.float64: driver.types.float64}.__getitem__


def network(sizes, hidden="tanh", output="identity", dtype=np.float32):
    loss = {"softmax": "cross_entropy", "sigmoid": "binary_cross_entropy", "exp": "poisson"}
    names = [hidden] * (len(sizes) - 2) + [output]
    net = fastnn.Network(sizes, names, loss.get(output, "squared_error"), dtype, seed=3)
    for b in net.b:
        b[...] = np.random.default_rng(4).normal(size=b.shape) / 4
    return net


def normal(*shape, dtype, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def assert_near(found, formula, scale=0.0):
    dtype = found.dtype.type
    exact = np.asarray(formula(np.float64 if dtype == np.float32 else np.longdouble))
    plain = np.asarray(formula(dtype))
    size = max(np.abs(exact).max(), scale)
    limit = 3 * np.abs(plain - exact).max() + 8 * np.finfo(dtype).eps * size
    assert np.abs(found - exact).max() <= limit


def on_device(cuda, *arrays):
    return [cuda.to_device(array) for array in arrays]


def blocks_for(count):
    return -(-count // THREADS)


def check_outputs(cuda, ours, kernels, kind, net, at_once=32):
    """Hold a thread's answers, with both kinds of work, and a block's against the reference."""
    dtype = net.dtype.type
    X = normal(M, net.sizes[0], dtype=dtype)
    told = on_device(cuda, inside.parameters(net), inside.layout(net), X)
    out = [cuda.to_device(np.full((M, net.sizes[-1]), np.nan, dtype)) for _ in range(3)]
    size, share = ours.work_size(net), sized(40, 5)
    work = cuda.device_array((size, M), dtype)
    grid = blocks_for(M), THREADS
    cuda.jit(kernels.examples(kind, size))[grid](*told, out[0])
    cuda.jit(kernels.examples_in_columns)[grid](*told[:2], told[2].T, out[1].T, work)
    launch = -(-M // share), THREADS, 0, ours.shared_bytes(net, at_once)
    cuda.jit(kernels.blocks(kind))[launch](*told[:2], told[2].T, out[2].T, share)
    for found in out:
        assert_near(
            found.copy_to_host().T,
            lambda kind: reference.network_forward(
                net.parameters, net.sizes, net.activations, X.T, dtype=kind
            ),
        )


@both_types
@pytest.mark.parametrize("sizes", NETWORKS, ids=str)
def test_outputs(cuda, ours, kernels, scalar, sizes, dtype):
    at_once = 8 if max(sizes) > 100 else 32
    check_outputs(cuda, ours, kernels, scalar(dtype), network(sizes, dtype=dtype), at_once)


@both_types
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(cuda, ours, kernels, scalar, activation, dtype):
    net = network(NETWORKS[1], activation, activation, dtype)
    check_outputs(cuda, ours, kernels, scalar(dtype), net)


@both_types
@pytest.mark.parametrize("sizes", NETWORKS, ids=str)
def test_derivatives(cuda, ours, kernels, scalar, sizes, dtype):
    net, m = network(sizes, "silu", "softmax", dtype), sized(200, 4)
    n_x, n_y, n = net.sizes[0], net.sizes[-1], net.parameters.size
    X, V, T = (normal(m, k, dtype=dtype, seed=k) for k in (n_x, n_y, n_x))
    told = on_device(cuda, inside.parameters(net), inside.layout(net), X)
    shapes = (m, n_y), (m, n_x), (m, n_y)
    size = ours.work_size(net, derivatives=True)
    kernel = cuda.jit(kernels.derivatives(scalar(dtype), size))
    grid = blocks_for(m), THREADS
    answers = []
    for local in (True, False):
        out, dx, tangent = (cuda.to_device(np.full(s, np.nan, dtype)) for s in shapes)
        gradients = cuda.to_device(np.zeros((n, m) if local else (m, n), dtype))
        arguments = [*told, out, V, dx, gradients, T, tangent]
        if local:
            kernel[grid](*arguments)
        else:
            work = cuda.device_array((size, m), dtype)
            cuda.jit(kernels.derivatives_in_columns)[grid](*arguments, work)
        found = [array.copy_to_host() for array in (out, dx, gradients, tangent)]
        answers.append([*found[:2], found[2].T if local else found[2], found[3]])
    for first, second in zip(*answers, strict=True):
        np.testing.assert_allclose(first, second, rtol=0, atol=20 * np.finfo(dtype).eps)
    _, dx, gradients, tangent = answers[0]
    for i in range(0, m, sized(20, 1)):
        at = net.parameters, net.sizes, net.activations, X[i]
        scale = max(np.abs(V[i]).max(), np.abs(T[i]).max(), np.abs(X[i]).max())
        assert_near(dx[i], lambda kind, i=i, at=at: reference.vjp(*at, V[i], dtype=kind)[0], scale)
        assert_near(
            gradients[i], lambda kind, i=i, at=at: reference.vjp(*at, V[i], dtype=kind)[1], scale
        )
        assert_near(
            tangent[i], lambda kind, i=i, at=at: reference.jvp(*at, T[i], dtype=kind), scale
        )


@both_types
def test_jacobians(cuda, ours, kernels, scalar, dtype):
    net, m = network(NETWORKS[0], "silu", "softmax", dtype), sized(100, 4)
    n_x, n_y = net.sizes[0], net.sizes[-1]
    X = normal(m, n_x, dtype=dtype)
    told = on_device(cuda, inside.parameters(net), inside.layout(net), X)
    out = cuda.to_device(np.full((m, n_y), np.nan, dtype))
    J, rows = (cuda.to_device(np.full((m * n_y, n_x), np.nan, dtype)) for _ in range(2))
    kernel = cuda.jit(kernels.jacobians(scalar(dtype), ours.work_size(net, derivatives=True)))
    kernel[blocks_for(m), THREADS](*told, out, J, rows, np.eye(n_y, dtype=dtype))
    found = J.copy_to_host()
    np.testing.assert_array_equal(found, rows.copy_to_host())
    for i in range(0, m, sized(20, 1)):
        at, mine = (net.parameters, net.sizes, net.activations, X[i]), slice(i * n_y, (i + 1) * n_y)
        scale = max(1.0, np.abs(X[i]).max())
        assert_near(found[mine], lambda kind, at=at: reference.jacobian(*at, dtype=kind), scale)


@both_types
def test_parameters_and_shared_memory_that_begin_anywhere(cuda, ours, kernels, scalar, dtype):
    net = network(NETWORKS[0], dtype=dtype)
    X = normal(net.sizes[0], sized(50, 6), dtype=dtype)
    layout = cuda.to_device(inside.layout(net))
    size = ours.shared_bytes(net, 16) // X.itemsize + 1
    kernel = cuda.jit(kernels.blocks_of_unaligned_memory(scalar(dtype), size))
    for shift in range(4):
        parameters = cuda.to_device(np.r_[np.zeros(shift, dtype), net.parameters])[shift:]
        out = cuda.to_device(np.full((net.sizes[-1], X.shape[1]), np.nan, dtype))
        kernel[1, THREADS](parameters, layout, cuda.to_device(X), out)
        assert_near(
            out.copy_to_host(),
            lambda kind: reference.network_forward(
                net.parameters, net.sizes, net.activations, X, dtype=kind
            ),
        )


@both_types
def test_the_same_bits_every_time(cuda, ours, kernels, scalar, dtype):
    net = network(NETWORKS[1], "gelu", "softmax", dtype)
    X = cuda.to_device(normal(net.sizes[0], M, dtype=dtype))
    told = on_device(cuda, inside.parameters(net), inside.layout(net))
    kernel, share = cuda.jit(kernels.blocks(scalar(dtype))), sized(64, 4)
    launch = -(-M // share), THREADS, 0, ours.shared_bytes(net, 32)
    found = set()
    for _ in range(sized(50, 2)):
        out = cuda.to_device(np.full((net.sizes[-1], M), np.nan, dtype))
        kernel[launch](*told, X, out, share)
        found.add(out.copy_to_host().tobytes())
    assert len(found) == 1


def test_a_wrong_size_ends_the_thread(cuda, ours, kernels, scalar):
    net = network(NETWORKS[1])
    told = on_device(cuda, inside.parameters(net)[1:], inside.layout(net))
    X, out = cuda.to_device(normal(M, net.sizes[0], dtype=np.float32)), np.full((M, 3), 7.0)
    out = cuda.to_device(out.astype(np.float32))
    kernel = kernels.examples(scalar(np.float32), ours.work_size(net))
    with pytest.raises((ValueError, SystemError)):
        cuda.jit(kernel, debug=True, opt=False)[blocks_for(M), THREADS](*told, X, out)
    assert (out.copy_to_host() == 7).all()


@pytest.mark.hardware
def test_the_quiet_end_of_a_thread(cuda, ours, kernels, scalar):
    net = network(NETWORKS[1])
    told = on_device(cuda, inside.parameters(net)[1:], inside.layout(net))
    X = cuda.to_device(normal(M, net.sizes[0], dtype=np.float32))
    out = cuda.to_device(np.full((M, 3), 7, np.float32))
    kernel = kernels.examples(scalar(np.float32), ours.work_size(net))
    cuda.jit(kernel)[blocks_for(M), THREADS](*told, X, out)
    cuda.synchronize()
    assert (out.copy_to_host() == 7).all()
