"""Networks inside compiled code: called from there, by threads, by C."""

from __future__ import annotations

import ctypes
import sys

import numba
import numpy as np
import pytest
from numba.core.errors import TypingError
from numba.core.runtime import _nrt_python, rtsys
from test_inside import Case, network, normal

from fastnn import inside

pytestmark = pytest.mark.compiled

every_type = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@numba.njit
def everything(f, parameters, layout, x, X, v, t, out, outs, dx, gradient, moved, J, work, n):
    """Call each function n times."""
    for _ in range(n):
        f(x, out)
        inside.forward(parameters, layout, x, out, work)
        inside.forward_block(parameters, layout, X, outs, work)
        inside.linearize(parameters, layout, x, out, work)
        inside.vjp(parameters, layout, v, dx, None, work)
        inside.vjp(parameters, layout, v, dx, gradient, work)
        inside.jvp(parameters, layout, t, moved, work)
        inside.jacobian(parameters, layout, J, work)


def arguments(case):
    n_x, n_y = case.net.sizes[0], case.net.sizes[-1]
    dtype = case.net.dtype
    return (
        case.net.njit(), *case.told, case.x, normal(n_x, 70, dtype=dtype), normal(n_y, dtype=dtype),
        normal(n_x, dtype=dtype), np.empty(n_y, dtype), np.empty((n_y, 70), dtype),
        np.empty(n_x, dtype), np.zeros_like(case.parameters), np.empty(n_y, dtype),
        np.empty((n_y, n_x), dtype), case.work, 1,
    )  # fmt: skip


@pytest.fixture
def allocations():
    """Have Numba count its allocations."""
    _nrt_python.memsys_enable_stats()
    yield
    _nrt_python.memsys_disable_stats()


@every_type
def test_compiled_code_gets_the_same_bits_as_python(dtype):
    case = Case([5, 17, 3], ["gelu", "softmax"], dtype)
    ours, theirs = arguments(case), arguments(case)
    everything(*ours)
    everything.py_func(*theirs)
    for a, b in zip(ours[3:-2], theirs[3:-2], strict=True):
        np.testing.assert_array_equal(a, b)
    assert case.intact() and ours[10].any()


@every_type
def test_nothing_is_allocated(dtype, allocations):
    told = arguments(Case([5, 17, 3], ["gelu", "softmax"], dtype))
    everything(*told)

    def allocated(n):
        before = rtsys.get_allocation_stats()
        everything(*told[:-1], n)
        after = rtsys.get_allocation_stats()
        return after.alloc - before.alloc, after.mi_alloc - before.mi_alloc

    # What there is, is for the arguments of the call from Python.
    assert allocated(1000) == allocated(0)


def test_wrong_sizes_are_errors_in_compiled_code():
    case = Case([5, 4, 3], "tanh")
    right = list(arguments(case))
    everything(*right)
    names = ["f", "parameters", "layout", "x", "X", "v", "t"]
    names += ["out", "outs", "dx", "gradient", "moved", "J", "work", "n"]
    for i, name in enumerate(names):
        if name in ("f", "n"):
            continue
        wrong = right.copy()
        wrong[i] = right[i][:-1]
        if name == "J":
            name = "out"
        expected = {"outs": "out", "moved": "out"}.get(name, name)
        with pytest.raises(ValueError, match=rf"fastnn\.inside(\.Frozen)?: {expected} "):
            everything(*wrong)
    for i in (names.index("outs"), names.index("J")):
        wrong = right.copy()
        wrong[i] = right[i][:, :-1].copy()
        with pytest.raises(ValueError, match=r"fastnn\.inside: out "):
            everything(*wrong)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (3, 40, "parameters have not the size"),
        (4, 300, "parameters have not the size"),
        (4, -3, "layout is none of"),
        (5, 0, "layout is none of"),
    ],
)
def test_a_changed_layout_is_an_error_in_compiled_code(place, value, message):
    case = Case([5, 4, 3], "tanh")

    @numba.njit
    def call(parameters, layout, x, out, work):
        inside.forward(parameters, layout, x, out, work)

    layout = case.layout.copy()
    layout[place] = value
    with pytest.raises(ValueError, match=message):
        call(case.parameters, layout, np.zeros(layout[3]), np.zeros(layout[5]), case.work)
    # Nor does the number that it holds stand for the workspace that its sizes need.
    layout = inside.layout(network([5, 300, 3], "tanh"))
    layout[2] = case.work.size
    parameters = np.zeros(layout[1])
    with pytest.raises(ValueError, match="work is smaller"):
        call(parameters, layout, case.x, np.zeros(3), case.work)


def test_wrong_types_do_not_compile_and_the_error_names_the_argument():
    case = Case([5, 4, 3], "tanh")

    @numba.njit
    def call(parameters, layout, x, out, work):
        inside.forward(parameters, layout, x, out, work)

    right = [*case.told, case.x, np.empty(3), case.work]
    call(*right)
    frozen = np.empty(3)
    frozen.flags.writeable = False
    for i, wrong, message in (
        (0, case.parameters.astype(np.int64), "parameters must be an array of float64"),
        (0, np.repeat(case.parameters, 2)[::2], "parameters must be contiguous"),
        (1, case.layout.astype(np.int32), "layout must be an array of int64"),
        (2, case.x.astype(np.float32), "x must be an array of float64 with 1 dimension"),
        (2, case.x[None], "x must be an array of float64 with 1 dimension"),
        (3, frozen, "out is read-only"),
        (4, 3.0, "work must be an array"),
    ):
        told = right.copy()
        told[i] = wrong
        with pytest.raises(TypingError, match=message):
            call(*told)


# ------------------------------------------------------------------ threads


def test_threads_with_a_workspace_each():
    net = network([5, 17, 3], ["gelu", "softmax"])
    X = normal(500, 5)

    @numba.njit(parallel=True)
    def each(parameters, layout, X, out, work):
        for i in numba.prange(X.shape[0]):
            inside.forward(parameters, layout, X[i], out[i], work[numba.get_thread_id()])

    out, alone = np.empty((500, 3)), np.empty((500, 3))
    work = inside.work(net, threads=numba.get_num_threads())
    parameters, layout = inside.parameters(net), inside.layout(net)
    each(parameters, layout, X, out, work)
    for i in range(500):
        inside.forward(parameters, layout, X[i], alone[i], work[0])
    np.testing.assert_array_equal(out, alone)


def test_threads_share_a_frozen_network():
    net = network([5, 17, 3], ["gelu", "softmax"])
    f, X = net.njit(), normal(500, 5)

    @numba.njit(parallel=True)
    def by_argument(f, X, out):
        for i in numba.prange(X.shape[0]):
            f(X[i], out[i])

    @numba.njit(parallel=True)
    def by_closure(X, out):
        for i in numba.prange(X.shape[0]):
            f(X[i], out[i])

    found = [np.empty((500, 3)) for _ in range(3)]
    by_argument(f, X, found[0])
    by_closure(X, found[1])
    for i in range(500):
        f(X[i], found[2][i])
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_array_equal(found[1], found[2])


def test_a_wrong_size_in_a_parallel_loop_is_told_by_the_cause():
    f = network([5, 4, 3], "tanh").njit()

    @numba.njit(parallel=True)
    def each(f, X, out):
        for i in numba.prange(X.shape[0]):
            f(X[i], out[i])

    with pytest.raises(SystemError) as told:
        each(f, normal(10, 5), np.empty((10, 4)))
    assert isinstance(told.value.__cause__, ValueError)
    assert "out has not the size n_y" in str(told.value.__cause__)


# ------------------------------------------------------------------ C functions


def test_a_wrong_size_in_a_c_function_is_printed_and_zero_is_returned(monkeypatch):
    f = network([1, 4, 3], "tanh").njit()

    @numba.cfunc("float64(float64)")
    def wrong(x):
        out = np.ones(2)
        f(np.array([x]), out)
        return out[0]

    printed = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: printed.append(str(told.exc_value)))
    assert wrong.ctypes(1.0) == 0
    assert len(printed) == 1 and "out has not the size n_y" in printed[0]


def test_scipy_integrates_a_network_as_a_c_function():
    scipy = pytest.importorskip("scipy", reason="SciPy calls the C function")
    from scipy.integrate import quad

    net = network([1, 20, 1], ["tanh", "identity"])
    f = net.njit()

    @numba.cfunc("float64(float64)")
    def density(x):
        out = np.empty(1)
        f(np.array([x]), out)
        return out[0]

    found, _ = quad(scipy.LowLevelCallable(density.ctypes), -1, 2)
    expected, error = quad(lambda x: net.forward([[x]])[0, 0], -1, 2)
    assert found == pytest.approx(expected, abs=10 * error)


def test_a_c_function_gets_all_it_needs_from_its_caller(allocations):
    scipy = pytest.importorskip("scipy", reason="SciPy calls the C function")
    from numba import types
    from scipy.integrate import quad

    net = network([1, 20, 1], ["tanh", "identity"])
    layout, n = inside.layout(net), net.parameters.size
    # One piece of memory: the workspace, the parameters, x and out.
    size = inside.work(net).size
    memory = np.concatenate([inside.work(net), net.parameters, np.empty(2)])
    total = memory.size

    @numba.cfunc(types.double(types.double, types.voidptr))
    def density(value, data):
        memory = numba.carray(data, total, np.float64)
        work, parameters = memory[:size], memory[size : size + n]
        x, out = memory[size + n : total - 1], memory[total - 1 :]
        x[0] = value
        inside.forward(parameters, layout, x, out, work)
        return out[0]

    told = scipy.LowLevelCallable(density.ctypes, memory.ctypes.data_as(ctypes.c_void_p))
    before = rtsys.get_allocation_stats()
    found, error = quad(told, -1, 2)
    assert rtsys.get_allocation_stats() == before
    f = net.njit()
    assert found == pytest.approx(quad(lambda x: f(np.array([x]))[0], -1, 2)[0], abs=10 * error)
    memory[size + 40 : size + n] *= -1  # W2 and b2; the same machine code
    assert quad(told, -1, 2)[0] == pytest.approx(-found, abs=10 * error)
