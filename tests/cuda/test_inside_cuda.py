"""Networks inside a user's own kernels, in the simulator: against the reference and the CPU."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs numba-cuda: tox -e cudasim")

from test_inside import Case, assert_close, network, normal, sizes_of_terms

from fastnn import inside
from fastnn.kernels import reference
from fastnn.kernels.codes import ACTIVATIONS

pytestmark = pytest.mark.simulator

# One by one, primes, rows of four with their neighbours, wide in the midst, thin in the midst.
SIZES = [
    [1, 1],
    [1, 1, 1],
    [2, 3, 2],
    [4, 4, 4],
    [4, 8, 3],
    [8, 4, 5],
    [11, 6, 2],
    [7, 13, 5],
    [5, 9, 1, 6, 12],
]
M = 5
every_type = pytest.mark.parametrize("dtype", [np.float32, np.float64])
every_size = pytest.mark.parametrize("sizes", SIZES, ids=str)


@pytest.fixture(scope="module")
def cuda():
    return importlib.import_module("fastnn.kernels.cuda.driver").cuda


@pytest.fixture(scope="module")
def ours():
    return importlib.import_module("fastnn.inside.cuda")


@pytest.fixture(scope="module")
def kernels():
    return importlib.import_module("inside_kernels")


def numba_type(dtype):
    types = importlib.import_module("fastnn.kernels.cuda.driver").types
    return types.float32 if dtype == np.float32 else types.float64


def activations(sizes, hidden="tanh", output="identity"):
    return [hidden] * (len(sizes) - 2) + [output]


def largest_terms(case, X, V, T):
    """Return the largest terms of all examples, which are rows."""
    found = []
    for x, v, t in zip(X, V, T, strict=True):
        case.x = x
        found.append(sizes_of_terms(case, v, t))
    return np.max(found, axis=0)


def check_examples(cuda, kernels, ours, case):
    net, dtype = case.net, case.net.dtype
    X = normal(M, net.sizes[0], dtype=dtype)
    size = largest_terms(case, X, np.ones((M, net.sizes[-1])), np.ones(X.shape))[0]
    told = case.parameters, net.sizes, net.activations, X.T
    wanted = ours.work_size(net)
    out, beside = np.full((M, net.sizes[-1]), np.nan, dtype), np.full((net.sizes[-1], M), np.nan)
    cuda.jit(kernels.examples(numba_type(dtype), wanted))[2, 3](*case.told, X, out)
    assert_close(out.T, lambda T: reference.network_forward(*told, dtype=T), size)
    # The same bits from other memory: columns, and the work of all threads in one array.
    beside, work = beside.astype(dtype), np.full((wanted, M), np.nan, dtype)
    cuda.jit(kernels.examples_in_columns)[2, 3](*case.told, X.T, beside, work)
    np.testing.assert_array_equal(beside.T, out)


def check_derivatives(cuda, kernels, ours, case):
    net, dtype, n = case.net, case.net.dtype, case.parameters.size
    n_x, n_y = net.sizes[0], net.sizes[-1]
    X, V, T = normal(M, n_x, dtype=dtype), normal(M, n_y, seed=5), normal(M, n_x, seed=6)
    V, T = V.astype(dtype), T.astype(dtype)
    at_out, at_dx, at_gradient, at_tangent = largest_terms(case, X, V, T)
    wanted = ours.work_size(net, derivatives=True)
    out, tangent = np.full((2, M, n_y), np.nan, dtype)
    dx, gradients = np.full((M, n_x), np.nan, dtype), np.zeros((n, M), dtype)
    kernel = cuda.jit(kernels.derivatives(numba_type(dtype), wanted))
    kernel[2, 3](*case.told, X, out, V, dx, gradients, T, tangent)
    for i, x in enumerate(X):
        told = case.parameters, net.sizes, net.activations, x

        def of(formula, *given, part=None, told=told):
            def computed(kind):
                found = formula(*told, *given, dtype=kind)
                return found if part is None else found[part]

            return computed

        case.x = x
        x = x[:, None]
        told_x = (*told[:3], x)
        assert_close(
            out[i], lambda kind, t=told_x: reference.network_forward(*t, dtype=kind)[:, 0], at_out
        )
        assert_close(dx[i], of(reference.vjp, V[i], part=0), at_dx)
        assert_close(gradients[:, i], of(reference.vjp, V[i], part=1), at_gradient)
        assert_close(tangent[i], of(reference.jvp, T[i]), at_tangent)
    # Other memory, the same bits; and gradients are added to.
    work, again = np.full((wanted, M), np.nan, dtype), np.ascontiguousarray(gradients.T)
    others = np.full_like(out, np.nan), np.full_like(dx, np.nan), np.full_like(tangent, np.nan)
    cuda.jit(kernels.derivatives_in_columns)[1, M](
        *case.told, X, others[0], V, others[1], again, T, others[2], work
    )
    for found, expected in zip(others, (out, dx, tangent), strict=True):
        np.testing.assert_array_equal(found, expected)
    # Twice what was there, added part by part: a rounding for each unit at most.
    rounding = 4 * np.finfo(dtype).eps * at_gradient
    np.testing.assert_allclose(again.T, 2 * gradients, rtol=0, atol=rounding)


def check_jacobians(cuda, kernels, ours, case):
    net, dtype = case.net, case.net.dtype
    n_x, n_y = net.sizes[0], net.sizes[-1]
    X, out = normal(M, n_x, dtype=dtype), np.full((M, n_y), np.nan, dtype)
    found, rows = np.full((2, M * n_y, n_x), np.nan, dtype)
    kernel = cuda.jit(kernels.jacobians(numba_type(dtype), ours.work_size(net, derivatives=True)))
    kernel[2, 3](*case.told, X, out, found, rows, np.eye(n_y, dtype=dtype))
    np.testing.assert_array_equal(found, rows)
    for x, J in zip(X, found.reshape(M, n_y, n_x), strict=True):
        case.x, told = x, (case.parameters, net.sizes, net.activations, x)
        size = sizes_of_terms(case, np.ones(n_y), np.ones(n_x))[1]
        assert_close(J, lambda kind, t=told: reference.jacobian(*t, dtype=kind), size)


@every_type
@every_size
def test_every_shape(cuda, kernels, ours, sizes, dtype):
    case = Case(sizes, activations(sizes), dtype)
    check_examples(cuda, kernels, ours, case)
    check_derivatives(cuda, kernels, ours, case)
    check_jacobians(cuda, kernels, ours, case)


@every_type
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(cuda, kernels, ours, activation, dtype):
    for names in ([activation, "softmax"], ["tanh", activation]):
        case = Case([3, 6, 3], names, dtype)
        check_examples(cuda, kernels, ours, case)
        check_derivatives(cuda, kernels, ours, case)
        check_jacobians(cuda, kernels, ours, case)


@every_type
def test_parameters_that_begin_anywhere(cuda, kernels, ours, dtype):
    sizes = [4, 4, 8, 3]
    case = Case(sizes, activations(sizes, "elu"), dtype)
    for shift in range(4):
        # In the GPU's memory, whose arrays begin at multiples of 16 bytes and more.
        case.parameters = cuda.to_device(np.r_[np.zeros(shift, dtype), case.net.parameters])[shift:]
        X, out = normal(6, 4, dtype=dtype), np.full((6, 3), np.nan, dtype)
        kernel = kernels.examples(numba_type(dtype), ours.work_size(case.net))
        cuda.jit(kernel)[1, 6](*case.told, X, out)
        together = np.full((6, 3), np.nan, dtype)
        kernel = cuda.jit(kernels.blocks(numba_type(dtype)))
        kernel[1, 4, 0, ours.shared_bytes(case.net, 5)](*case.told, X.T, together.T, 6)
        told = case.net.parameters, sizes, case.net.activations, X.T
        for found in (out, together):
            assert_close(found.T, lambda T: reference.network_forward(*told, dtype=T), 2.0)
        check_derivatives(cuda, kernels, ours, case)


def test_every_number_of_rows_and_columns(cuda, kernels, ours):
    kernel = cuda.jit(kernels.blocks(numba_type(np.float64)))
    for n in range(1, 10):
        case = Case([n, 9 - n or 1, n], ["tanh", "softplus"])
        check_examples(cuda, kernels, ours, case)
        for m in range(1, 10):
            X, out = normal(n, m), np.full((n, m), np.nan)
            kernel[1, 3, 0, ours.shared_bytes(case.net, n)](*case.told, X, out, m)
            told = case.parameters, case.net.sizes, case.net.activations, X
            assert_close(out, lambda T, t=told: reference.network_forward(*t, dtype=T), 4.0)


def test_shared_memory_of_any_size(cuda, kernels, ours):
    kernel = cuda.jit(kernels.blocks(numba_type(np.float64)))
    case = Case([3, 7, 2], ["elu", "identity"])
    X, out = normal(3, 11), np.empty((2, 11))
    told = case.parameters, case.net.sizes, case.net.activations, X
    for more in range(0, 2 * 7 * 4, 9):
        out[...] = np.nan
        kernel[1, 3, 0, ours.shared_bytes(case.net, 4) + 8 * more](*case.told, X, out, 11)
        assert_close(out, lambda T: reference.network_forward(*told, dtype=T), 4.0)


@every_type
def test_special_values_go_through(cuda, kernels, ours, dtype):
    case = Case([3, 5, 2], ["relu", "softmax"], dtype)
    X = normal(4, 3, dtype=dtype)
    X[1, 1], X[2, 1], X[3, 0] = np.nan, np.inf, -np.inf
    out = np.zeros((4, 2), dtype)
    kernel = kernels.examples(numba_type(dtype), ours.work_size(case.net))
    cuda.jit(kernel)[1, 4](*case.told, X, out)
    together = np.zeros((4, 2), dtype)
    kernel = cuda.jit(kernels.blocks(numba_type(dtype)))
    kernel[1, 4, 0, ours.shared_bytes(case.net, 4)](*case.told, X.T, together.T, 4)
    with np.errstate(invalid="ignore"):
        expected = reference.network_forward(case.parameters, [3, 5, 2], case.net.activations, X.T)
    for found in (out, together):
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected.T))
        assert np.isfinite(found[0]).all()


@every_type
def test_parts_left_out_and_results_in_the_place_of_inputs(cuda, kernels, ours, dtype):
    case = Case([4, 7, 4], ["silu", "softmax"], dtype)
    n, work = case.parameters.size, np.full(ours.work_size(case.net, True), np.nan, dtype)
    dx, gradients, v = np.zeros((2, 4), dtype), np.zeros((2, n), dtype), np.zeros(4, dtype)
    cuda.jit(kernels.parts)[1, 1](*case.told, case.x, v, dx, gradients, work)
    np.testing.assert_array_equal(dx[0], dx[1])
    np.testing.assert_array_equal(gradients[0], gradients[1])
    at = case.parameters, case.net.sizes, case.net.activations
    first = reference.network_forward(*at, case.x[:, None])
    second = reference.network_forward(*at, first)[:, 0]
    rounding = 100 * np.finfo(dtype).eps
    np.testing.assert_allclose(dx[0], reference.vjp(*at, case.x, second)[0], rtol=0, atol=rounding)
    np.testing.assert_allclose(v, reference.jvp(*at, case.x, second), rtol=0, atol=rounding)


# ------------------------------------------------------------------ a block together


@every_type
@pytest.mark.parametrize(
    ("m", "share", "at_once", "threads"),
    [(1, 1, 1, 3), (4, 4, 4, 4), (9, 9, 4, 3), (13, 7, 8, 5), (10, 5, 6, 8), (12, 12, 32, 2)],
)
@pytest.mark.parametrize("sizes", [[1, 1], [3, 7, 2], [4, 8, 5, 3], [9, 4, 4]], ids=str)
def test_blocks(cuda, kernels, ours, sizes, m, share, at_once, threads, dtype):
    case = Case(sizes, activations(sizes, "gelu", "softmax" if m % 2 else "tanh"), dtype)
    X, out = normal(sizes[0], m, dtype=dtype), np.full((sizes[-1], m), np.nan, dtype)
    kernel = cuda.jit(kernels.blocks(numba_type(dtype)))
    launch = -(-m // share), threads, 0, ours.shared_bytes(case.net, at_once)
    kernel[launch](*case.told, X, out, share)
    size = largest_terms(case, X.T, np.ones((m, sizes[-1])), np.ones((m, sizes[0])))[0]
    told = case.parameters, sizes, case.net.activations, X
    assert_close(out, lambda T: reference.network_forward(*told, dtype=T), size)
    # The same bits, however the examples stand in memory.
    again = np.full((m, sizes[-1]), np.nan, dtype)
    kernel[launch](*case.told, np.asfortranarray(X), again.T, share)
    np.testing.assert_array_equal(again.T, out)


@every_type
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_blocks_of_every_activation(cuda, kernels, ours, activation, dtype):
    case = Case([4, 6, 5], [activation, activation], dtype)
    X, out = normal(4, 5, dtype=dtype), np.full((5, 5), np.nan, dtype)
    size = ours.shared_bytes(case.net, 5) // X.itemsize
    unaligned = kernels.blocks_of_unaligned_memory(numba_type(dtype), size + 1)
    cuda.jit(unaligned)[1, 3](*case.told, X, out)
    terms = largest_terms(case, X.T, np.ones((5, 5)), np.ones((5, 4)))[0]
    told = case.parameters, [4, 6, 5], case.net.activations, X
    assert_close(out, lambda T: reference.network_forward(*told, dtype=T), terms)


# ------------------------------------------------------------------ beside the CPU, and wrong calls


@every_type
def test_the_same_as_on_the_cpu(cuda, kernels, ours, dtype):
    net = network([6, 11, 3], ["relu", "softmax"], dtype)
    told = inside.parameters(net), inside.layout(net)
    X, v, t = normal(1, 6, dtype=dtype), normal(1, 3, dtype=dtype), normal(1, 6, dtype=dtype)
    work, n = inside.work(net), net.parameters.size
    expected = np.empty(3, dtype), np.empty(6, dtype), np.zeros(n, dtype), np.empty(3, dtype)
    inside.linearize(*told, X[0], expected[0], work)
    inside.vjp(*told, v[0], expected[1], expected[2], work)
    inside.jvp(*told, t[0], expected[3], work)
    found = [np.zeros((1, 3), dtype), np.zeros((1, 6), dtype), np.zeros((n, 1), dtype)]
    found.append(np.zeros((1, 3), dtype))
    out, dx, gradients, tangent = (cuda.to_device(array) for array in found)
    kernel = cuda.jit(kernels.derivatives(numba_type(dtype), ours.work_size(net, True)))
    on_gpu = [cuda.to_device(array) for array in (*told, X)]
    kernel[1, 1](*on_gpu, out, v, dx, gradients, t, tangent)
    for array, answer in zip((out, dx, gradients, tangent), expected, strict=True):
        values = array.copy_to_host().ravel()
        np.testing.assert_allclose(values, answer, rtol=0, atol=20 * np.finfo(dtype).eps)


def wrong_calls():
    """Yield the arguments of ``examples_in_columns``, one of them wrong, and what is said."""
    case = Case([3, 5, 2], ["tanh", "identity"], np.float32)
    X, out, work = (np.zeros((n, 2), np.float32) for n in (3, 2, 10))
    right = (*case.told, X, out, work)
    for place, wrong, error, text in (
        (0, case.parameters[1:], ValueError, "parameters have not the size"),
        (0, case.parameters.astype(np.float16), TypeError, "parameters must be an array of"),
        (1, case.layout[:4], ValueError, "layout is none of"),
        (1, case.layout.astype(np.int32), TypeError, "layout must be an array of int64"),
        (2, np.zeros((4, 2), np.float32), ValueError, "has not the size n_x"),
        (2, X.astype(np.float64), TypeError, "x must be an array of float32"),
        (3, np.zeros((3, 2), np.float32), ValueError, "has not the size n_y"),
        (3, np.zeros((2, 2, 2), np.float32), TypeError, "out must be an array of float32 with 1"),
        (4, work[1:], ValueError, "work is smaller"),
        (4, work.astype(np.float64), TypeError, "work must be an array of float32"),
    ):
        yield pytest.param((*right[:place], wrong, *right[place + 1 :]), error, text, id=text)


@pytest.mark.parametrize(("arguments", "error", "text"), list(wrong_calls()))
def test_wrong_calls_of_a_thread(cuda, kernels, arguments, error, text):
    with pytest.raises(error, match=text):
        cuda.jit(kernels.examples_in_columns)[1, 1](*arguments)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"X": np.zeros((4, 6), np.float32)}, ValueError, "n_x rows"),
        ({"out": np.zeros((3, 6), np.float32)}, ValueError, "n_y rows"),
        ({"out": np.zeros((2, 5), np.float32)}, ValueError, "n_y rows"),
        ({"out": np.zeros((2, 6))}, TypeError, "out must be an array of float32 with 2"),
        ({"bytes": 156}, ValueError, "smaller than shared_bytes"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_wrong_calls_of_a_block(cuda, kernels, change, error, text):
    case = Case([3, 5, 2], ["tanh", "identity"], np.float32)
    right = {"X": np.zeros((3, 6), np.float32), "out": np.zeros((2, 6), np.float32), "bytes": 160}
    right.update(change)
    kernel = cuda.jit(kernels.blocks(numba_type(np.float32)))
    with pytest.raises(error, match=text):
        kernel[1, 1, 0, right["bytes"]](*case.told, right["X"], right["out"], 6)


def test_a_jacobian_of_another_shape(cuda, kernels, ours):
    case = Case([3, 5, 2], ["tanh", "identity"], np.float32)
    kernel = cuda.jit(kernels.jacobians(numba_type(np.float32), ours.work_size(case.net, True)))
    X, out, unit = np.zeros((1, 3), np.float32), np.zeros((1, 2), np.float32), np.eye(2, 2)
    right = np.zeros((2, 3), np.float32)
    for wrong in (right[:1], np.zeros((2, 4), np.float32)):
        with pytest.raises(ValueError, match="out has not n_y rows and n_x columns"):
            kernel[1, 1](*case.told, X, out, wrong, right, unit.astype(np.float32))
    with pytest.raises(TypeError, match="out must be an array of float32 with 2"):
        kernel[1, 1](*case.told, X, out, np.zeros((2, 3)), right, unit.astype(np.float32))


def test_wrong_calls_for_derivatives(cuda, kernels, ours):
    case = Case([3, 5, 2], ["tanh", "identity"], np.float32)
    kernel = cuda.jit(kernels.derivatives_in_columns)

    enough, n = ours.work_size(case.net, derivatives=True), case.parameters.size

    def call(work=enough, gradient=n, dx=3):
        shapes = (1, 3), (1, 2), (1, 2), (1, dx), (1, gradient), (1, 3), (1, 2), (work, 1)
        kernel[1, 1](*case.told, *(np.zeros(shape, np.float32) for shape in shapes))

    call()
    for told, text in (
        ({"work": enough - 1}, "work is smaller"),
        ({"gradient": n - 1}, "gradient has not"),
        ({"dx": 2}, "has not the size n_x"),
    ):
        with pytest.raises(ValueError, match=text):
            call(**told)


def test_parameters_must_be_contiguous(cuda, kernels):
    case = Case([3, 5, 2], ["tanh", "identity"], np.float32)
    apart = cuda.to_device(np.repeat(case.parameters, 2))[::2]
    X, out, work = (np.zeros((n, 2), np.float32) for n in (3, 2, 10))
    with pytest.raises(TypeError, match="parameters must be contiguous"):
        cuda.jit(kernels.examples_in_columns)[1, 1](apart, case.layout, X, out, work)


def test_on_the_host(ours):
    net = network([3, 5, 2], ["tanh", "identity"], np.float64)
    assert ours.work_size(net) == 10 and ours.work_size(net, True) == 27
    assert ours.shared_bytes(net, 1) == ours.shared_bytes(net, 4) == 2 * 4 * 5 * 8
    for call in (lambda: ours.work_size(3), lambda: ours.work_size(net, 1)):
        with pytest.raises(TypeError):
            call()
    with pytest.raises(TypeError, match=r"fastnn\.Network"):
        ours.shared_bytes("net")
    with pytest.raises(ValueError, match="examples"):
        ours.shared_bytes(net, 0)


def test_the_snippets_of_the_page_run():
    page = Path(__file__).resolve().parents[2] / "docs" / "inside_cuda.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        there = {}
        exec(compile(block, str(page), "exec"), there)
    # The second takes the same example ten times.
    answers = there["out"].copy_to_host()
    expected = there["net"].forward(np.ones((16, 10), np.float32))
    np.testing.assert_allclose(answers, expected, rtol=1e-5, atol=1e-5)


def test_the_examples_in_docstrings_run(ours):
    assert doctest.testmod(ours, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0
