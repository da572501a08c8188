"""Networks inside compiled code: the functions, against the reference and one another."""

from __future__ import annotations

import numpy as np
import pytest
from tolerance import assert_as_reference

import fastnn
from fastnn import inside
from fastnn.kernels import reference
from fastnn.kernels.codes import ACTIVATIONS

# One by one, primes, around a vector, a step of the workspace, a tile and a block.
SIZES = [
    [1, 1],
    [1, 1, 1],
    [2, 3, 2],
    [7, 13, 5],
    [15, 16, 17],
    [31, 33, 1],
    [1, 64, 64],
    [65, 63, 66],
    [130, 5, 70],
    [3, 200, 129],
]
every_type = pytest.mark.parametrize("dtype", [np.float32, np.float64])
every_size = pytest.mark.parametrize("sizes", SIZES, ids=str)


def network(sizes, activations, dtype=np.float64, seed=0):
    """Return a network with biases, whose values stay small."""
    loss = {"softmax": "cross_entropy", "sigmoid": "binary_cross_entropy", "exp": "poisson"}
    names = [activations] * (len(sizes) - 1) if isinstance(activations, str) else activations
    net = fastnn.Network(sizes, names, loss.get(names[-1], "squared_error"), dtype)
    random = np.random.default_rng(seed)
    for W, b in zip(net.W, net.b, strict=True):
        W[...] = random.normal(size=W.shape) / np.sqrt(W.shape[1])
        b[...] = random.normal(size=b.shape) / 4
    return net


def normal(*shape, dtype=np.float64, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


class Case:
    """A network in the midst of other memory, which must stay as it is."""

    def __init__(self, sizes, activations, dtype=np.float64, seed=0):
        self.net = net = network(sizes, activations, dtype, seed)
        self.layout = inside.layout(net)
        self.parameters = net.parameters
        self.x = normal(sizes[0], dtype=dtype, seed=seed + 1)
        self._frames = []
        # NaN: a value that is read before it is written shows.
        self.work = self.framed(int(self.layout[2]), fill=np.nan)

    @property
    def told(self):
        return self.parameters, self.layout

    def framed(self, *shape, fill=0.0):
        frame = np.full((*shape[:-1], shape[-1] + 64), 7.0, self.net.dtype)
        inner = frame[..., 32:-32]
        inner[...] = fill
        self._frames.append(frame)
        return inner if len(shape) > 1 else inner.reshape(-1)

    def out(self, fill=np.nan):
        return self.framed(self.net.sizes[-1], fill=fill)

    def intact(self):
        return all(
            (frame[..., :32] == 7).all() and (frame[..., -32:] == 7).all() for frame in self._frames
        )

    def linearize(self):
        out = self.out()
        inside.linearize(*self.told, self.x, out, self.work)
        return out


# ------------------------------------------------------------------ by the reference's formulas


def layers(case, dtype):
    """Return W, A and Z of each layer, and the activations' names."""
    Ws, bs = reference.layers(case.parameters, case.net.sizes)
    A, Z = [case.x.astype(dtype)[:, None]], []
    for W, b, name in zip(Ws, bs, case.net.activations, strict=True):
        a, z = reference.layer_forward(A[-1], W, b, name, dtype=dtype)
        A.append(a)
        Z.append(z)
    return Ws, A, Z, case.net.activations


def forward(case, dtype):
    return layers(case, dtype)[1][-1][:, 0]


def sizes_of_terms(case, v, t):
    """Return how large the terms are that sum to out, dx, the gradient and dA/dx t.

    All formulas with absolute values in place of values: nothing cancels.
    """
    Ws, A, Z, names = layers(case, np.float64)
    gains = []
    for z, a, name in zip(Z, A[1:], names, strict=True):
        if name == "softmax":
            gains.append(np.diag(a[:, 0]) + a @ a.T)
        else:
            gains.append(np.diag(np.abs(reference.activation_derivative(z, name)[:, 0])))
    bs = reference.layers(case.parameters, case.net.sizes)[1]
    S, T, reached = np.abs(A[0]), np.abs(t)[:, None], []
    for W, b, gain in zip(Ws, bs, gains, strict=True):
        reached.append(S)
        S, T = gain @ (np.abs(W) @ S + np.abs(b)), gain @ np.abs(W) @ T
    D, gradient = np.abs(v)[:, None], []
    for W, gain, before in zip(Ws[::-1], gains[::-1], reached[::-1], strict=True):
        D = gain @ D
        gradient += [np.max(D @ np.maximum(before, 1).T)]
        D = np.abs(W).T @ D
    out = max(float(S.max()), float(np.abs(A[-1]).max()))
    return out, float(D.max()), max(gradient), float(T.max())


def assert_close(found, formula, size):
    assert_as_reference(found, formula, np.full(found.shape, size))


def check_all(case):
    """Hold all functions against the reference, for one example."""
    n_x, n_y = case.net.sizes[0], case.net.sizes[-1]
    dtype = case.net.dtype
    before = case.parameters.copy(), case.layout.copy(), case.x.copy()
    v, t = normal(n_y, dtype=dtype, seed=5), normal(n_x, dtype=dtype, seed=6)
    at_out, at_dx, at_gradient, at_tangent = sizes_of_terms(case, v, t)
    out = case.out()
    inside.forward(*case.told, case.x, out, case.work)
    assert_close(out, lambda T: forward(case, T), at_out)

    out = case.linearize()
    assert_close(out, lambda T: forward(case, T), at_out)

    told = case.parameters, case.net.sizes, case.net.activations, case.x
    dx, gradient = case.framed(n_x, fill=np.nan), case.framed(case.parameters.size)
    inside.vjp(*case.told, v, dx, gradient, case.work)
    assert_close(dx, lambda T: reference.vjp(*told, v, dtype=T)[0], at_dx)
    assert_close(gradient, lambda T: reference.vjp(*told, v, dtype=T)[1], at_gradient)

    inside.jvp(*case.told, t, out, case.work)
    assert_close(out, lambda T: reference.jvp(*told, t, dtype=T), at_tangent)

    J = case.framed(n_y, n_x, fill=np.nan)
    inside.jacobian(*case.told, J, case.work)
    largest = max(sizes_of_terms(case, e, t)[1] for e in np.eye(n_y))
    assert_close(J, lambda T: reference.jacobian(*told, dtype=T), largest)
    assert case.intact()
    for array, kept in zip((case.parameters, case.layout, case.x), before, strict=True):
        np.testing.assert_array_equal(array, kept)


@every_type
@every_size
def test_every_shape(sizes, dtype):
    names = ["tanh"] * (len(sizes) - 2) + ["identity"]
    check_all(Case(sizes, names, dtype))


@every_type
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(activation, dtype):
    check_all(Case([5, 17, 3], [activation, "softmax"], dtype))
    check_all(Case([5, 17, 3], ["tanh", activation], dtype))


@every_type
@pytest.mark.parametrize("m", [1, 17, 64, 130])
@every_size
def test_blocks(sizes, m, dtype):
    output = "softmax" if m % 2 else "gelu"
    case = Case(sizes, ["silu"] * (len(sizes) - 2) + [output], dtype)
    X = normal(sizes[0], m, dtype=dtype)
    out = case.framed(sizes[-1], m, fill=np.nan)
    inside.forward_block(*case.told, X, out, case.work)
    told = case.parameters, sizes, case.net.activations, X
    largest = 0.0
    for j in range(0, m, 13):
        case.x = X[:, j]
        terms = sizes_of_terms(case, np.ones(sizes[-1]), np.ones(sizes[0]))
        largest = max(largest, terms[0])
    assert_close(out, lambda T: reference.network_forward(*told, dtype=T), largest)
    assert case.intact()
    # The same bits, however X stands in memory.
    again = np.empty((m, sizes[-1]), dtype).T
    wide = np.zeros((sizes[0], 3 * m), dtype)
    wide[:, ::3] = X
    for other in (np.asfortranarray(X), wide[:, ::3], X[::-1, ::-1].copy()[::-1, ::-1]):
        again[...] = 0
        inside.forward_block(*case.told, other, again, case.work)
        np.testing.assert_array_equal(again, out)


# ------------------------------------------------------------------ by central differences


@pytest.mark.parametrize("hidden", [name for name in ACTIVATIONS if "relu" not in name])
def test_central_differences(hidden):
    case = Case([4, 6, 3], [hidden, "softmax"])
    case.linearize()
    v, t = normal(3, seed=5), normal(4, seed=6)
    dx, gradient, out = np.empty(4), np.zeros(case.parameters.size), np.empty(3)
    J = np.empty((3, 4))
    inside.vjp(*case.told, v, dx, gradient, case.work)
    inside.jvp(*case.told, t, out, case.work)
    inside.jacobian(*case.told, J, case.work)

    def output(x, parameters):
        told = parameters, case.net.sizes, case.net.activations, x[:, None]
        return reference.network_forward(*told)[:, 0]

    def differences(f, at, h=1e-5):
        return np.stack([(f(at + e) - f(at - e)) / (2 * h) for e in h * np.eye(at.size)], axis=-1)

    by_x = differences(lambda x: output(x, case.parameters), case.x)
    by_theta = differences(lambda theta: output(case.x, theta), case.parameters)
    # The error of the differences: h^2 and rounding over h, both about 1e-10.
    for found, expected in ((J, by_x), (dx, v @ by_x), (out, by_x @ t), (gradient, v @ by_theta)):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


# ------------------------------------------------------------------ among themselves


@every_type
@every_size
def test_both_directions_agree(sizes, dtype):
    case = Case(sizes, ["gelu"] * (len(sizes) - 2) + ["softmax"], dtype)
    case.linearize()
    v, t = normal(sizes[-1], dtype=dtype, seed=5), normal(sizes[0], dtype=dtype, seed=6)
    dx, out, J = np.empty_like(t), np.empty_like(v), np.empty((v.size, t.size), dtype)
    inside.vjp(*case.told, v, dx, None, case.work)
    inside.jvp(*case.told, t, out, case.work)
    inside.jacobian(*case.told, J, case.work)
    size = np.abs(v) @ np.abs(J) @ np.abs(t) + np.linalg.norm(v) * np.linalg.norm(t) * 1e-3
    # Three layers' sums at most, each with a few roundings.
    tolerance = 100 * np.finfo(dtype).eps * size
    assert abs(v @ out - dx @ t) <= tolerance
    assert abs(v @ J @ t - dx @ t) <= tolerance


def test_the_gradient_of_a_batch_is_the_network_s():
    net = network([6, 20, 3], ["relu", "softmax"])
    X, labels = normal(6, 50), np.arange(50) % 3
    layout, work, gradient = inside.layout(net), inside.work(net), inside.gradient(net)
    out = np.empty(3)
    for j in range(50):
        inside.linearize(net.parameters, layout, X[:, j], out, work)
        v = np.zeros(3)
        v[labels[j]] = -1 / (50 * out[labels[j]])  # of -log(out[label]) / m
        inside.vjp(net.parameters, layout, v, None, gradient, work)
    np.testing.assert_allclose(gradient, net.gradient(X, labels)[1], rtol=0, atol=1e-14)


def test_a_gradient_is_added_to_and_parts_are_left_out():
    case = Case([5, 9, 4], ["tanh", "softmax"])
    case.linearize()
    v, dx, gradient = normal(4, seed=5), np.empty(5), np.ones(case.parameters.size)
    inside.vjp(*case.told, v, dx, None, case.work)
    inside.vjp(*case.told, v, None, gradient, case.work)
    inside.vjp(*case.told, v, None, None, case.work)
    both, added = np.empty(5), np.zeros(case.parameters.size)
    inside.vjp(*case.told, v, both, added, case.work)
    np.testing.assert_array_equal(dx, both)
    np.testing.assert_allclose(gradient, 1 + added, rtol=0, atol=1e-15)
    inside.vjp(*case.told, v, None, added, case.work)
    np.testing.assert_allclose(added, 2 * (gradient - 1), rtol=0, atol=1e-14)


def test_outputs_leave_a_linearization_as_it_is():
    case = Case([5, 70, 4], ["tanh", "softmax"])
    case.linearize()
    before, after, out = np.empty((4, 5)), np.empty((4, 5)), np.empty((4, 100))
    inside.jacobian(*case.told, before, case.work)
    inside.forward(*case.told, normal(5, seed=9), out[:, 0], case.work)
    inside.forward_block(*case.told, normal(5, 100, seed=9), out, case.work)
    inside.jvp(*case.told, normal(5), out[:, 0], case.work)
    inside.vjp(*case.told, normal(4), None, None, case.work)
    inside.jacobian(*case.told, after, case.work)
    np.testing.assert_array_equal(before, after)


@every_type
def test_strides_and_results_in_the_place_of_inputs(dtype):
    case = Case([6, 11, 6], ["elu", "softmax"], dtype)
    grid = np.zeros((6, 4), dtype)

    def column(values, j):
        grid[:, j] = values
        return grid[:, j]

    plain = case.linearize()
    for j, call in enumerate((inside.forward, inside.linearize)):
        x = column(case.x, j)
        call(*case.told, x, x, case.work)
        np.testing.assert_array_equal(x, plain)
    case.linearize()
    given = normal(6, dtype=dtype, seed=5)
    dx, out, J = np.empty(6, dtype), np.empty(6, dtype), np.empty((6, 6), dtype)
    inside.vjp(*case.told, given, dx, None, case.work)
    inside.jvp(*case.told, given, out, case.work)
    inside.jacobian(*case.told, J, case.work)
    v, t = column(given, 2), column(given, 3)
    inside.vjp(*case.told, v, v, None, case.work)
    inside.jvp(*case.told, t, t, case.work)
    np.testing.assert_array_equal(v, dx)
    np.testing.assert_array_equal(t, out)
    turned = np.empty((6, 12), dtype)[:, ::2].T
    inside.jacobian(*case.told, turned, case.work)
    np.testing.assert_array_equal(turned, J)


@every_type
def test_special_values_go_through(dtype):
    case = Case([3, 5, 2], ["relu", "identity"], dtype)
    out = case.out()
    for value in (np.nan, np.inf):
        x = case.x.copy()
        x[1] = value
        inside.forward(*case.told, x, out, case.work)
        expected = case.net.forward(x[:, None])[:, 0]
        np.testing.assert_array_equal(np.isfinite(out), np.isfinite(expected))
        np.testing.assert_array_equal(np.isnan(out), np.isnan(expected))


# ------------------------------------------------------------------ arrays


def test_arrays_fit_and_begin_at_a_line_of_the_cache():
    net = network([33, 17, 3], "tanh", np.float32)
    work, rows = inside.work(net), inside.work(net, threads=3)
    size = 2 * (48 + 32 + 16) + 128 * 48 + 128  # the formula of the docstring
    assert work.shape == (size,) and rows.shape == (3, size)
    arrays = [work, *rows, inside.parameters(net), inside.gradient(net)]
    for array in arrays:
        assert array.ctypes.data % 64 == 0 and array.dtype == np.float32
    np.testing.assert_array_equal(arrays[-2], net.parameters)
    assert not np.shares_memory(arrays[-2], net.parameters) and not arrays[-1].any()
    layout = inside.layout(net)
    assert layout.tolist() == [2, net.parameters.size, size, 33, 17, 3, 2, 2]


def test_wrong_arguments_of_the_arrays():
    net = network([2, 1], "tanh")
    for make in (inside.layout, inside.parameters, inside.gradient, inside.work):
        with pytest.raises(TypeError, match="net must be a fastnn.Network, got list"):
            make([2, 1])
    with pytest.raises(ValueError, match="threads"):
        inside.work(net, threads=0)
    with pytest.raises(TypeError, match="threads"):
        inside.work(net, threads=1.5)


# ------------------------------------------------------------------ wrong calls


def calls(case):
    """Return each function's arguments by name, and how to call it with them."""
    n_x, n_y = case.net.sizes[0], case.net.sizes[-1]
    dtype = case.net.dtype
    shared = {"parameters": case.parameters, "layout": case.layout, "work": case.work}
    x, y = np.zeros(n_x, dtype), np.zeros(n_y, dtype)
    return {
        inside.forward: shared | {"x": x, "out": y},
        inside.linearize: shared | {"x": x, "out": y},
        inside.forward_block: shared
        | {"X": np.zeros((n_x, 2), dtype), "out": np.zeros((n_y, 2), dtype)},
        inside.vjp: shared | {"v": y, "dx": x, "gradient": np.zeros_like(case.parameters)},
        inside.jvp: shared | {"t": x, "out": y},
        inside.jacobian: shared | {"out": np.zeros((n_y, n_x), dtype)},
    }


def test_wrong_sizes_types_and_shapes_name_the_argument():
    case = Case([4, 3, 2], "tanh", np.float32)
    for function, right in calls(case).items():
        function(**right)
        for name, array in right.items():
            other = np.float64 if name != "layout" else np.int32
            with pytest.raises(TypeError, match=rf"{name} has type|parameters|has type float32"):
                function(**right | {name: array.astype(other)})
            with pytest.raises(TypeError, match=f"{name} must be a"):
                function(**right | {name: array.tolist()})
            with pytest.raises(ValueError, match=f"{name} has (shape|.* values)|layout says"):
                function(**right | {name: array[:-1]})
            with pytest.raises(ValueError, match=f"{name} has shape"):
                function(**right | {name: array[None]})
            with pytest.raises(TypeError, match=f"{name} is a masked array"):
                function(**right | {name: np.ma.array(array)})


def test_what_must_be_contiguous_or_writable_and_is_not():
    case = Case([4, 3, 2], "tanh")
    written = {"out", "dx", "gradient", "work"}
    for function, right in calls(case).items():
        for name in {"parameters", "layout", "work", "gradient"} & right.keys():
            wide = np.repeat(right[name], 2)
            with pytest.raises(ValueError, match=f"{name} is not contiguous"):
                function(**right | {name: wide[::2]})
        for name, array in right.items():
            odd = np.empty(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
            with pytest.raises(ValueError, match=f"{name} is not aligned"):
                function(**right | {name: odd})
        for name in written & right.keys():
            frozen = right[name].copy()
            frozen.flags.writeable = False
            with pytest.raises(ValueError, match=f"{name} is read-only"):
                function(**right | {name: frozen})


def test_what_is_no_layout_or_another_network_s():
    case, other = Case([4, 3, 2], "tanh"), inside.layout(network([4, 2, 2], "tanh"))
    out = np.empty(2)
    for layout in (np.zeros(0, np.int64), np.arange(9), case.layout[:-1]):
        with pytest.raises(ValueError, match="that is none of"):
            inside.forward(case.parameters, layout, case.x, out, case.work)
    with pytest.raises(ValueError, match="parameters has 23 values, but the layout says 16"):
        inside.forward(case.parameters, other, case.x, out, case.work)
    for place, value, message in (
        (3, 40, "parameters has 23 values, but the layout says 131"),
        (4, 300, "parameters has 23 values, but the layout says 2102"),
        (5, 0, r"layout has sizes \[4, 3, 0\]"),
    ):
        changed = case.layout.copy()
        changed[place] = value
        x, to = np.zeros(changed[3]), np.empty(changed[5])
        with pytest.raises(ValueError, match=message):
            inside.forward(case.parameters, changed, x, to, case.work)
    with pytest.raises(TypeError, match="float32 or float64, got int64"):
        inside.forward(np.arange(23), case.layout, case.x, out, case.work)
