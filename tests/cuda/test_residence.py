"""Computation follows data: arrays on a (simulated) GPU, of Numba and of other libraries."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from layouts import LAYOUTS, laid_out

pytest.importorskip("numba_cuda", reason="needs numba-cuda: tox -e cudasim")

import fastnn
import fastnn.functional as F
from fastnn import residence
from fastnn.device import DeviceError

pytestmark = pytest.mark.simulator


@pytest.fixture
def cuda():
    return importlib.import_module("fastnn.kernels.cuda.driver").cuda


@pytest.fixture
def driver():
    return importlib.import_module("fastnn.kernels.cuda.driver")


class Foreign:
    """An array of another library; the simulated GPU's memory is the host's."""

    def __init__(self, values, stream=None, readonly=False):
        self.values = values
        self.stream = stream
        self.readonly = readonly

    @property
    def __cuda_array_interface__(self):
        found = dict(self.values.__array_interface__)
        found["data"] = (found["data"][0], self.readonly)
        return {**found, "version": 3, "stream": self.stream}

    def __array__(self, *arguments, **options):
        raise AssertionError("copied to the host without being asked")


def matrices(dtype=np.float32):
    random = np.random.default_rng(7)
    return [random.standard_normal(s).astype(dtype) for s in ((5, 9), (3, 5), (3, 1), (3, 9))]


def is_numba(array):
    return bool(getattr(array, "__cuda_ndarray__", False))


def on_cuda(function, *arguments):
    with fastnn.use_device("cuda"):
        return function(*arguments)


# ------------------------------------------------------------------ where results are


def test_results_stay_where_the_data_is(cuda):
    X, W, b, dZ = matrices()
    x, w, bias, dz = (cuda.to_device(array) for array in (X, W, b, dZ))
    pairs = [
        (F.linear_forward(x, w, bias), on_cuda(F.linear_forward, X, W, b)),
        (F.activation_forward(x, "tanh"), on_cuda(F.tanh, X)),
        (F.softmax(x), on_cuda(F.softmax, X)),
        (F.activation_derivative(x, "silu"), on_cuda(F.activation_derivative, X, "silu")),
        (F.activation_backward(x, x, "gelu"), on_cuda(F.activation_backward, X, X, "gelu")),
        (F.output_gradient(x, x), X - X),
        (F.hidden_gradient(w, dz, x, "elu"), on_cuda(F.hidden_gradient, W, dZ, X, "elu")),
        (F.weight_gradient(dz, x), on_cuda(F.weight_gradient, dZ, X)),
        (F.bias_gradient(dz), on_cuda(F.bias_gradient, dZ)),
        *zip(F.linear_backward(dz, x, w), on_cuda(F.linear_backward, dZ, X, W), strict=True),
        *zip(
            F.layer_forward(x, w, bias, "relu"),
            on_cuda(F.layer_forward, X, W, b, "relu"),
            strict=True,
        ),
    ]
    for found, expected in pairs:
        assert is_numba(found)
        assert found.copy_to_host().tobytes() == expected.tobytes()
    for array, before in ((x, X), (w, W), (bias, b), (dz, dZ)):
        assert np.array_equal(array.copy_to_host(), before)


def test_host_arrays_beside_one_on_the_gpu_are_sent(cuda):
    X, W, b, _ = matrices()
    expected = on_cuda(F.linear_forward, X, W, b)
    for place in range(3):
        arguments = [X, W, b]
        arguments[place] = cuda.to_device(arguments[place])
        found = F.linear_forward(*arguments)
        assert is_numba(found)
        assert np.array_equal(found.copy_to_host(), expected)
    found = F.linear_forward(cuda.to_device(X), W.tolist(), b.tolist())
    assert np.array_equal(found.copy_to_host(), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_on_the_gpu(layout):
    X, W, b, dZ = matrices()
    x, w, bias, dz = (Foreign(laid_out(array, layout)) for array in (X, W, b, dZ))
    assert np.array_equal(
        F.linear_forward(x, w, bias).copy_to_host(), on_cuda(F.linear_forward, X, W, b)
    )
    assert np.array_equal(
        F.weight_gradient(dz, x).copy_to_host(), on_cuda(F.weight_gradient, dZ, X)
    )
    assert np.array_equal(F.sigmoid(x).copy_to_host(), on_cuda(F.sigmoid, X))
    assert np.array_equal(
        F.output_gradient(x, Foreign(X)).copy_to_host(), np.zeros_like(X), equal_nan=False
    )
    assert F.cost(x, Foreign(X + 1), "squared_error") == pytest.approx(2.5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_out_on_the_gpu_in_every_layout(layout):
    X, W, b, _ = matrices()
    out = laid_out(np.zeros((3, 9), np.float32), layout)
    given = Foreign(out)
    assert F.linear_forward(Foreign(X), Foreign(W), Foreign(b), out=given) is given
    assert np.array_equal(out, on_cuda(F.linear_forward, X, W, b))


def test_out_may_be_an_input_or_overlap_it():
    X = matrices()[0]
    expected = on_cuda(F.tanh, X)
    same = X.copy()
    F.tanh(Foreign(same), out=Foreign(same))
    assert np.array_equal(same, expected)
    memory = np.concatenate([X.reshape(-1), [0]]).astype(np.float32)
    F.tanh(Foreign(memory[:-1].reshape(X.shape)), out=Foreign(memory[1:].reshape(X.shape)))
    assert np.array_equal(memory[1:].reshape(X.shape), expected)
    square = matrices()[0][:, :5].copy()
    expected = on_cuda(F.linear_forward, square, square, square[:, :1])
    F.linear_forward(Foreign(square), Foreign(square), Foreign(square[:, :1]), out=Foreign(square))
    assert np.array_equal(square, expected)


def test_gradient_step_on_the_gpu():
    w, g = np.ones((3, 5), np.float32), np.full((3, 5), 2, np.float32)
    F.gradient_step(Foreign(w), Foreign(g), 0.25)
    assert (w == 0.5).all()
    F.gradient_step(w, Foreign(g), 0.25)
    assert (w == 0).all()
    F.gradient_step(Foreign(w.T), g.T, 0.5)
    assert (w == -1).all()


@pytest.mark.parametrize("shape", [(7,), (2, 3, 5)])
def test_other_numbers_of_dimensions(shape):
    Z = np.linspace(-2, 2, int(np.prod(shape))).reshape(shape)
    assert np.array_equal(F.relu(Foreign(Z)).copy_to_host(), np.maximum(Z, 0))


def test_arrays_of_three_dimensions_are_in_c_order():
    Z = np.zeros((2, 3, 5))
    with pytest.raises(ValueError, match="C order"):
        F.relu(Foreign(Z.transpose(2, 0, 1)))
    Z = np.arange(6.0)
    assert F.relu(Foreign(Z[::-2])).copy_to_host().tolist() == [5, 3, 1]


def test_labels_on_the_gpu(cuda):
    A = np.array([[0.25, 0.5], [0.75, 0.5]])
    expected = F.cost(A, [1, 0], "cross_entropy", device="cpu")
    labels = np.array([1, 0])
    for a in (A, Foreign(A)):
        assert F.cost(a, Foreign(labels), "cross_entropy") == pytest.approx(expected)
    assert F.cost(Foreign(A), labels, "cross_entropy") == pytest.approx(expected)
    assert F.cost(Foreign(A), cuda.to_device(labels), "cross_entropy") == pytest.approx(expected)
    with pytest.raises(ValueError, match="label 2"):
        F.cost(Foreign(A), Foreign(labels + 1), "cross_entropy")
    with pytest.raises(ValueError, match="NaN"):
        F.cost(Foreign(A), Foreign(A * np.nan), "squared_error")


# ------------------------------------------------------------------ other libraries


@pytest.fixture
def cupy(monkeypatch):
    """A module that stands for CuPy."""

    class ndarray(Foreign):  # noqa: N801
        pass

    ndarray.__module__ = "cupy"
    made = ModuleType("cupy")
    made.ndarray = ndarray
    made.empty = lambda shape, dtype, order: ndarray(np.empty(shape, dtype, order))

    class Device:
        def __init__(self, index):
            assert index == 0

        def __enter__(self):
            return self

        def __exit__(self, *others):
            return None

    made.cuda = SimpleNamespace(Device=Device)
    monkeypatch.setitem(sys.modules, "cupy", made)
    return made


def test_cupy_gets_its_own_arrays(cupy):
    X, W, b, _ = matrices()
    found = F.linear_forward(X, W, cupy.ndarray(b))
    assert type(found) is cupy.ndarray
    assert np.array_equal(found.values, on_cuda(F.linear_forward, X, W, b))
    found = F.relu(cupy.ndarray(np.asfortranarray(X)))
    assert found.values.flags.f_contiguous
    assert np.array_equal(found.values, np.maximum(X, 0))


@pytest.fixture
def torch(monkeypatch):
    """A module that stands for PyTorch."""

    class Tensor(Foreign):
        device = "cuda:0"
        requires_grad = False

        def __dlpack_device__(self):
            return (2, 0)

        @property
        def __cuda_array_interface__(self):
            if self.requires_grad:
                raise RuntimeError("use tensor.detach()")
            return {**super().__cuda_array_interface__, "version": 2}

        def permute(self, *order):
            return Tensor(self.values.transpose(order))

    Tensor.__module__ = "torch"
    made = ModuleType("torch")
    made.Tensor, made.float32, made.float64 = Tensor, np.float32, np.float64

    def empty(shape, dtype, device):
        assert device == "cuda:0"
        return Tensor(np.empty(shape, dtype))

    made.empty = empty
    made.asked = []

    def current_stream(device):
        made.asked.append(device)
        return SimpleNamespace(cuda_stream=77)

    made.cuda = SimpleNamespace(current_stream=current_stream)
    monkeypatch.setitem(sys.modules, "torch", made)
    return made


def test_pytorch_gets_its_own_tensors(torch):
    X, W, b, _ = matrices()
    found = F.linear_forward(*(torch.Tensor(array) for array in (X, W, b)))
    assert type(found) is torch.Tensor
    assert np.array_equal(found.values, on_cuda(F.linear_forward, X, W, b))
    found = F.relu(torch.Tensor(np.asfortranarray(X)))
    assert np.array_equal(found.values, np.maximum(X, 0))
    assert residence.view("A", torch.Tensor(X)).stream == 77
    assert torch.asked


def test_a_tensor_that_wants_a_gradient_says_what_to_do(torch):
    tensor = torch.Tensor(matrices()[0])
    tensor.requires_grad = True
    with pytest.raises(TypeError, match=r"Z cannot be read: use tensor.detach"):
        F.relu(tensor)


class ThroughDLPack:
    """An array that offers DLPack alone."""

    def __init__(self, values):
        self.values, self.streams = values, []

    def __dlpack_device__(self):
        return (2, 0)

    def __dlpack__(self, *, stream=None, **options):
        self.streams.append(stream)
        return self.values.__dlpack__(**options)


def test_dlpack_alone_will_do():
    Z = ThroughDLPack(np.asfortranarray(matrices()[0]))
    assert np.array_equal(F.relu(Z).copy_to_host(), np.maximum(Z.values, 0))
    assert Z.streams == [1]  # the default stream, on which the work is done


def test_dlpack_on_the_host_is_no_gpu():
    class Host(ThroughDLPack):
        def __dlpack_device__(self):
            return (1, 0)

    class Spread(ThroughDLPack):
        def __dlpack_device__(self):
            raise BufferError("spread over several devices")

    assert not residence.on_device(Host(np.ones(3)))
    assert not residence.on_device(Spread(np.ones(3)))


def test_work_waits_for_the_streams_of_its_arguments(driver, monkeypatch):
    seen = []
    monkeypatch.setattr(driver, "stream_of", lambda handle: handle or 0)
    monkeypatch.setattr(driver, "wait_for", lambda stream: seen.append(stream))
    X, W, b, _ = matrices()
    F.linear_forward(Foreign(X, stream=5), Foreign(W, stream=9), Foreign(b))
    assert seen == [5]  # the work itself is on stream 9, as its result is


# ------------------------------------------------------------------ wrong calls


def test_two_devices_in_one_call(driver, monkeypatch):
    X, W, b, _ = matrices()
    there = W.__array_interface__["data"][0]
    monkeypatch.setattr(driver, "device_of", lambda array, address: int(address == there))
    text = r"A_prev is on cuda:0, but W is on cuda:1"
    with pytest.raises(ValueError, match=text):
        F.linear_forward(Foreign(X), Foreign(W), Foreign(b))
    with pytest.raises(ValueError, match=r"out is on cuda:1, but the inputs are on cuda:0"):
        F.relu(Foreign(X), out=Foreign(W))


@pytest.mark.parametrize("device", ["cpu", "numpy", "cuda:1"])
def test_a_device_that_contradicts_the_data(device):
    with pytest.raises(DeviceError, match=rf"device asks for '{device}'.*on cuda:0"):
        F.relu(Foreign(matrices()[0]), device=device)


@pytest.mark.parametrize("device", [None, "auto", "cuda", "cuda:0"])
def test_a_device_that_agrees_with_the_data(device):
    X = matrices()[0]
    with fastnn.use_device("cpu"):  # computation follows data
        assert np.array_equal(F.relu(Foreign(X), device=device).copy_to_host(), np.maximum(X, 0))
    with pytest.raises(ValueError, match="unknown device"):
        F.relu(Foreign(X), device="gpu")


def test_out_must_be_where_the_inputs_are():
    X = matrices()[0]
    with pytest.raises(TypeError, match="out is a ndarray of the host"):
        F.relu(Foreign(X), out=np.empty_like(X))
    with pytest.raises(TypeError, match="out must be a NumPy array"):
        F.relu(X, out=Foreign(np.empty_like(X)))
    with pytest.raises(ValueError, match="read-only"):
        F.relu(Foreign(X), out=Foreign(np.empty_like(X), readonly=True))
    with pytest.raises(TypeError, match="float64"):
        F.relu(Foreign(X), out=Foreign(np.empty(X.shape)))
    with pytest.raises(ValueError, match="shape"):
        F.relu(Foreign(X), out=Foreign(np.empty((2, 2), np.float32)))


def test_types_and_shapes_are_checked_without_a_copy():
    X, W, b, _ = matrices()
    with pytest.raises(TypeError, match="A_prev has type float32, but W has type float64"):
        F.linear_forward(Foreign(X), Foreign(W.astype(float)), Foreign(b))
    with pytest.raises(TypeError, match="A_prev has type float32, but W has type float64"):
        F.linear_forward(Foreign(X), W.astype(float), Foreign(b))
    with pytest.raises(ValueError, match="W has 4 columns but A_prev has 5 rows"):
        F.linear_forward(Foreign(X), Foreign(W[:, :4]), Foreign(b))
    with pytest.raises(TypeError, match="Z has type int64 and is on cuda:0"):
        F.relu(Foreign(np.arange(6)))
    with pytest.raises(ValueError, match="empty"):
        F.relu(Foreign(np.empty((0, 3))))
    with pytest.raises(ValueError, match="not aligned"):
        F.relu(Foreign(np.zeros(4, [("a", "u1"), ("x", "f8")])["x"]))
    with pytest.raises(ValueError, match="parameters is read-only"):
        F.gradient_step(Foreign(X, readonly=True), Foreign(X), 0.1)


def test_networks_take_arrays_of_other_libraries():
    net = fastnn.Network([5, 3, 1], ["relu", "sigmoid"])
    X = matrices()[0]
    A = net.forward(Foreign(X))
    assert is_numba(A)
    with fastnn.use_device("cuda"):
        assert np.array_equal(A.copy_to_host(), net.forward(X))
