"""Networks inside compiled code, frozen: f(x, out)."""

from __future__ import annotations

import pickle
import warnings

import numba
import numpy as np
import pytest
from numba.core.errors import NumbaWarning, TypingError
from test_inside import network, normal

import fastnn
from fastnn import inside

pytestmark = pytest.mark.compiled

every_type = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@every_type
@pytest.mark.parametrize("sizes", [[1, 1], [7, 13, 5], [65, 63, 66], [3, 500, 2]], ids=str)
def test_a_frozen_network_answers_as_the_network_did(sizes, dtype):
    net = network(sizes, ["gelu"] * (len(sizes) - 2) + ["softmax"], dtype)
    f, x = net.njit(), normal(sizes[0], dtype=dtype)
    expected, work = np.empty(sizes[-1], dtype), inside.work(net)
    inside.forward(net.parameters, inside.layout(net), x, expected, work)
    kept = net.parameters.copy()
    net.parameters = 0 * kept
    np.testing.assert_array_equal(f(x), expected)
    np.testing.assert_array_equal(f.parameters, kept)
    out = np.empty((sizes[-1], 2), dtype)
    assert f(np.repeat(x, 2)[::2], out[:, 0]) is not None
    np.testing.assert_array_equal(out[:, 0], expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(f))(x), expected)


def test_what_a_frozen_network_shows():
    f = network([3, 4, 2], "tanh", np.float32).njit()
    assert repr(f) == "Frozen([3, 4, 2], dtype=float32)"
    assert not f.parameters.flags.writeable and not f.layout.flags.writeable
    for name in ("parameters", "layout"):
        # Another array could be shorter than what calls read.
        with pytest.raises(AttributeError, match=name):
            setattr(f, name, getattr(f, name)[:1])
    assert f.parameters.ctypes.data % 64 == 0
    assert pickle.loads(pickle.dumps(f)).parameters.ctypes.data % 64 == 0

    @numba.njit
    def slope(f, x, t, out, work):
        inside.linearize(f.parameters, f.layout, x, out, work)
        inside.jvp(f.parameters, f.layout, t, out, work)

    net = network([3, 4, 2], "tanh", np.float32)
    x, t, out, h = np.ones(3, np.float32), np.ones(3, np.float32), np.empty(2, np.float32), 0.01
    slope(f, x, t, out, inside.work(net))
    np.testing.assert_allclose(out, (f(x + h * t) - f(x - h * t)) / (2 * h), atol=1e-3)


def test_wrong_calls_of_a_frozen_network():
    f = network([3, 4, 2], "tanh").njit()

    @numba.njit
    def call(f, x, out):
        f(x, out)

    x, out = np.ones(3), np.ones(2)
    call(f, x, out)
    for wrong in ((x[:2], out), (x, x)):
        for way in (f, lambda *told: call(f, *told)):
            with pytest.raises(ValueError, match="x has|out has"):
                way(*wrong)
    with pytest.raises(TypeError, match="x has type float32, but expected is float64"):
        f(x.astype(np.float32))
    with pytest.raises(TypeError, match="x must be a NumPy array, got list"):
        f([1.0, 2.0, 3.0])
    with pytest.raises(TypingError, match="x must be an array of float64"):
        call(f, x.astype(np.float32), out)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out is read-only"):
        f(x, out)
    with pytest.raises(TypeError, match=r"net must be a fastnn\.Network, got list"):
        inside.Frozen([2, 1])


def test_a_network_too_wide_for_the_stack_is_refused():
    fastnn.Network([1, 8192, 1], "tanh", "squared_error").njit()(np.ones(1, np.float32))
    with pytest.raises(ValueError, match="9000 units.*no more than 8192 of float32.*workspace"):
        fastnn.Network([9000, 1], loss="squared_error").njit()
    with pytest.raises(ValueError, match="no more than 4096 of float64"):
        fastnn.Network([2, 5000, 1], loss="squared_error", dtype=np.float64).njit()


def test_many_calls_in_a_loop_keep_within_the_stack():
    f = fastnn.Network([1, 8000, 1], "relu", "squared_error").njit()

    @numba.njit
    def many(f, x, out, n):
        for _ in range(n):
            f(x, out)

    # 64 KB each: together 64 MB, were they not given back.
    many(f, np.ones(1, np.float32), np.empty(1, np.float32), 1000)


@every_type
@pytest.mark.parametrize("steps", [1, 2])
def test_preprocessing_becomes_a_part_of_the_first_layer(steps, dtype):
    net = network([6, 20, 3], ["tanh", "softmax"], dtype)
    X = (normal(6, 200) * np.arange(1, 7)[:, None] + 3).astype(dtype)
    X[4] = 2.5  # constant: its scale is 1
    kept, Z = [], X
    for _ in range(steps):
        kept.append(fastnn.preprocessing.Standardizer().fit(Z * 2 - 1 if kept else Z))
        Z = kept[-1].transform(Z)
    net.preprocessing = kept
    f, plain = net.njit(preprocessing=True), net.njit()
    found = np.stack([f(x) for x in np.ascontiguousarray(X.T)])
    expected = np.stack([plain(z) for z in np.ascontiguousarray(Z.T)])
    # Inputs of up to 20, weights of about 1/2, a few roundings; softmax's slope is below 1.
    np.testing.assert_allclose(found, expected, rtol=0, atol=50 * np.finfo(dtype).eps)
    assert np.abs(found - np.stack([plain(x) for x in X.T])).max() > 0.01


def test_universal_functions():
    net = network([3, 5, 2], "tanh")
    f, X = net.njit(), normal(7, 3)

    @numba.guvectorize("void(float64[:], float64[:], float64[:])", "(n),(m)->(m)", nopython=True)
    def outputs(x, like, out):
        f(x, out)

    np.testing.assert_allclose(outputs(X, np.empty(2)), net.forward(X.T).T, rtol=0, atol=1e-14)

    @numba.guvectorize(
        "void(float64[::1], int64[::1], float64[::1], float64[:], float64[:], float64[:])",
        "(p),(l),(w),(n),(m)->(m)",
        nopython=True,
    )
    def by_arrays(parameters, layout, work, x, like, out):
        inside.forward(parameters, layout, x, out, work)

    told = inside.parameters(net), inside.layout(net), inside.work(net)
    np.testing.assert_array_equal(by_arrays(*told, X, np.empty(2)), outputs(X, np.empty(2)))


def test_there_must_be_preprocessing_to_take_in():
    with pytest.raises(ValueError, match="net.preprocessing is empty"):
        network([2, 1], "tanh").njit(preprocessing=True)
    with pytest.raises(TypeError, match="preprocessing must be True or False, got str"):
        network([2, 1], "tanh").njit(preprocessing="yes")


@pytest.mark.parametrize("features", [1, 2])
def test_preprocessing_that_was_fitted_on_other_features_since(features):
    net, step = network([3, 1], "tanh"), fastnn.preprocessing.Standardizer()
    net.preprocessing = [step.fit(normal(3, 20))]
    step.fit(normal(features, 20))
    with pytest.raises(ValueError, match=rf"\[0\] was fitted on {features} features.*3 inputs"):
        net.njit(preprocessing=True)


def test_numba_warns_of_no_other_thing():
    f = network([2, 3, 1], "tanh").njit()

    @numba.njit
    def call(x, out):
        f(x, out)

    with warnings.catch_warnings():
        warnings.simplefilter("error", NumbaWarning)
        call(np.ones(2), np.ones(1))
