"""Arrays of the libraries that are installed, used where they stand, on the streams they work on.

Each library is skipped where it is not installed or computes on no GPU. In the simulator Numba's
own arrays alone are tried.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from gpu_machine import SIMULATED, library, sized

import fastnn.functional as F
from fastnn import cuda_driver, residence

pytestmark = pytest.mark.gpu

# Beside others, none should take most of the GPU's memory for itself.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


class Numba:
    """How arrays of Numba are made and read."""

    name = "numba"

    def __init__(self) -> None:
        from fastnn.kernels.cuda import driver

        self.cuda, self._driver = driver.cuda, driver

    def send(self, array: np.ndarray, device: int = 0) -> Any:
        with self.cuda.gpus[device]:
            return self.cuda.to_device(array)

    def fetch(self, array: Any) -> np.ndarray:
        return array.copy_to_host()

    def pointer(self, array: Any) -> int:
        return self._driver.address(array)

    def owns(self, array: Any) -> bool:
        return bool(getattr(array, "__cuda_ndarray__", False))


class CuPy:
    """How arrays of CuPy are made and read."""

    name = "cupy"

    def __init__(self) -> None:
        self.module = library("cupy")

    def send(self, array: np.ndarray, device: int = 0) -> Any:
        with self.module.cuda.Device(device):
            return self.module.asarray(array, order="K")

    def fetch(self, array: Any) -> np.ndarray:
        return array.get()

    def pointer(self, array: Any) -> int:
        return array.data.ptr

    def owns(self, array: Any) -> bool:
        return isinstance(array, self.module.ndarray)


class PyTorch:
    """How tensors of PyTorch are made and read."""

    name = "torch"

    def __init__(self) -> None:
        self.module = library("torch")
        if not self.module.cuda.is_available():
            pytest.skip("PyTorch sees no GPU")

    def send(self, array: np.ndarray, device: int = 0) -> Any:
        there = self.module.empty_strided(
            array.shape,
            [s // array.itemsize for s in array.strides],
            dtype=getattr(self.module, array.dtype.name),
            device=f"cuda:{device}",
        )
        return there.copy_(self.module.from_numpy(array))

    def fetch(self, array: Any) -> np.ndarray:
        return array.cpu().numpy()

    def pointer(self, array: Any) -> int:
        return array.data_ptr()

    def owns(self, array: Any) -> bool:
        return isinstance(array, self.module.Tensor)


class JAX:
    """How arrays of JAX are made and read."""

    name = "jax"

    def __init__(self) -> None:
        self.module = library("jax")
        if self.module.default_backend() != "gpu":
            pytest.skip("JAX sees no GPU")

    def send(self, array: np.ndarray, device: int = 0) -> Any:
        return self.module.device_put(array, self.module.devices()[device])

    def fetch(self, array: Any) -> np.ndarray:
        return np.asarray(array)

    def pointer(self, array: Any) -> int:
        return array.unsafe_buffer_pointer()

    # Results beside arrays of JAX, which nobody may write to, are Numba's.
    def owns(self, array: Any) -> bool:
        return bool(getattr(array, "__cuda_ndarray__", False))


HARDWARE = pytest.mark.hardware
LIBRARIES = [Numba, *(pytest.param(each, marks=HARDWARE) for each in (CuPy, PyTorch, JAX))]
every_library = pytest.mark.parametrize("make", LIBRARIES, ids=["Numba", "CuPy", "PyTorch", "JAX"])


def matrices(dtype=np.float32):
    n, k, m = sized((70, 50, 3000), (3, 5, 9))
    random = np.random.default_rng(0)
    shapes = (k, m), (n, k), (n, 1), (n, m)
    return [random.standard_normal(shape).astype(dtype) for shape in shapes]


def fetched(result: Any, made: Any) -> np.ndarray:
    """Return a result on the host; one of a call that had an array of JAX is Numba's."""
    if getattr(result, "__cuda_ndarray__", False):
        return result.copy_to_host()
    return made.fetch(result)


# ------------------------------------------------------------------ no copy, and the right type


@every_library
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [False, True])
def test_every_function_stays_where_the_data_is(make, dtype, rows):
    made = make()
    if made.name == "jax" and dtype == np.float64:
        pytest.skip("JAX computes in float64 only where it was told to at its start")
    if made.name == "jax" and rows:
        pytest.skip("JAX knows one memory order")
    X, W, b, dZ = matrices(dtype)
    if rows:
        X, dZ = np.asfortranarray(X), np.asfortranarray(dZ)
    x, w, bias, dz = (made.send(array) for array in (X, W, b, dZ))

    def on_cuda(name, *arguments):
        return getattr(F, name)(*arguments, device="cuda")

    calls = {
        "linear_forward": ((x, w, bias), (X, W, b)),
        "layer_forward": ((x, w, bias, "relu"), (X, W, b, "relu")),
        "activation_forward": ((x, "gelu"), (X, "gelu")),
        "softmax": ((x,), (X,)),
        "activation_derivative": ((x, "silu"), (X, "silu")),
        "activation_backward": ((x, x, "tanh"), (X, X, "tanh")),
        "output_gradient": ((x, x), (X, X)),
        "hidden_gradient": ((w, dz, x, "elu"), (W, dZ, X, "elu")),
        "weight_gradient": ((dz, x), (dZ, X)),
        "bias_gradient": ((dz,), (dZ,)),
        "linear_backward": ((dz, x, w), (dZ, X, W)),
    }
    for name, (there, here) in calls.items():
        found, expected = getattr(F, name)(*there), on_cuda(name, *here)
        pairs = (
            [(found, expected)]
            if isinstance(expected, np.ndarray)
            else zip(found, expected, strict=True)
        )
        for one, other in pairs:
            assert made.owns(one), f"{name} returned a {type(one)}"
            assert np.array_equal(fetched(one, made), other), name
    assert F.cost(x, x, "squared_error") == 0
    for array, before in ((x, X), (w, W), (bias, b), (dz, dZ)):
        assert np.array_equal(made.fetch(array), before), "an argument was changed"


@every_library
def test_arrays_are_used_where_they_stand(make):
    made = make()
    X = matrices()[0]
    x = made.send(X)
    view = residence.view("X", x)
    assert (view.address, view.shape, view.dtype) == (made.pointer(x), X.shape, X.dtype)
    if made.name == "jax":
        return  # its arrays are read-only by agreement, whatever their interface says
    out = made.send(np.zeros_like(X))
    before = made.pointer(out)
    assert F.tanh(x, out=out) is out
    assert made.pointer(out) == before
    assert np.array_equal(made.fetch(out), F.tanh(X, device="cuda"))
    F.gradient_step(out, x, 0.5)
    expected = F.tanh(X, device="cuda")
    F.gradient_step(expected, X, 0.5, device="cuda")
    assert made.pointer(out) == before
    assert np.array_equal(made.fetch(out), expected)


@every_library
def test_host_arrays_in_the_same_call_are_sent(make):
    made = make()
    X, W, b, _ = matrices()
    expected = F.linear_forward(X, W, b, device="cuda")
    for place in range(3):
        arguments = [X, W, b]
        arguments[place] = made.send(arguments[place])
        found = F.linear_forward(*arguments)
        assert made.owns(found)
        assert np.array_equal(fetched(found, made), expected)


@HARDWARE
def test_the_first_array_decides_whose_the_result_is():
    cupy, torch, numba = CuPy(), PyTorch(), Numba()
    X, W, b, _ = matrices()
    for first, second in ((cupy, torch), (torch, cupy), (cupy, numba), (numba, torch)):
        found = F.linear_forward(first.send(X), second.send(W), b)
        assert first.owns(found)


@HARDWARE
def test_a_tensor_that_wants_a_gradient_says_what_to_do():
    torch = PyTorch()
    tensor = torch.send(matrices()[0]).requires_grad_()
    with pytest.raises(TypeError, match="Z cannot be read"):
        F.relu(tensor)
    assert torch.owns(F.relu(tensor.detach()))


@HARDWARE
def test_views_of_tensors_are_read_in_place():
    torch = PyTorch()
    X = matrices()[0]
    x = torch.send(X)
    for view, host in ((x.T, X.T), (x[::2, 1::3], X[::2, 1::3]), (x[3:, 5:], X[3:, 5:])):
        assert residence.view("X", view).address == view.data_ptr()
        found = F.sigmoid(view)
        assert np.array_equal(torch.fetch(found), F.sigmoid(host, device="cuda"))


# ------------------------------------------------------------------ streams

# Each producer below keeps its stream busy for a while and only then writes the values: what reads
# them too early finds the zeros, or poison, that stood there before.
BUSY = sized(400, 1)  # products of 2048 x 2048, some 0.3 ms each on a large GPU


def slow_with_cupy(cupy, stream):
    with stream:
        a = cupy.ones((2048, 2048), cupy.float32) / 2048
        x = cupy.full((64, 1024), -1, cupy.float32)
        for _ in range(BUSY):
            a = a @ a
        x += a[0, 0] * 0 + 3
    return x


@HARDWARE
def test_work_follows_the_stream_of_cupy():
    cupy = CuPy().module
    stream = cupy.cuda.Stream(non_blocking=True)
    for _ in range(5):
        x = slow_with_cupy(cupy, stream)
        with stream:
            assert residence.view("X", x).stream == stream.ptr
            found = F.relu(x)
            again = F.linear_forward(found, np.eye(64, dtype=np.float32), np.zeros((64, 1), "f4"))
            host = again.get()  # on the same stream
        assert (host == 2).all()


@HARDWARE
def test_work_follows_the_current_stream_of_pytorch():
    torch = PyTorch().module
    stream = torch.cuda.Stream()
    for _ in range(5):
        with torch.cuda.stream(stream):
            a = torch.full((2048, 2048), 1 / 2048, device="cuda")
            x = torch.full((64, 1024), -1.0, device="cuda")
            for _ in range(BUSY):
                a = a @ a
            x += a[0, 0] * 0 + 3
            found = F.relu(x)
            again = F.tanh(found * 0 + found)
            host = again.cpu().numpy()
        np.testing.assert_allclose(host, np.tanh(2), rtol=1e-6)


@HARDWARE
def test_a_result_of_another_stream_is_waited_for():
    cupy = CuPy().module
    streams = [cupy.cuda.Stream(non_blocking=True) for _ in range(2)]
    for _ in range(5):
        made = [slow_with_cupy(cupy, stream) for stream in streams]
        with streams[1]:
            made[1] *= 2
        # CuPy's arrays tell the stream that is current when they are asked: say whose each is.
        pair = [OnStream(x, stream.ptr) for x, stream in zip(made, streams, strict=True)]
        assert (F.output_gradient(*pair).copy_to_host() == -2).all()


class OnStream:
    """An array whose interface names a stream."""

    def __init__(self, array: Any, stream: int) -> None:
        self.array = array
        self.stream = stream

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {**self.array.__cuda_array_interface__, "version": 3, "stream": self.stream}


@HARDWARE
def test_arrays_of_jax_are_waited_for():
    jax = JAX().module
    import jax.numpy as jnp

    @jax.jit
    def slow(a, x):
        for _ in range(20):
            a = a @ a
        return x + a[0, 0] * 0

    a = jnp.full((4096, 4096), 1 / 4096, jnp.float32)
    xs = [jnp.full((64, 1024), 2.0 + i, jnp.float32) for i in range(5)]
    jax.block_until_ready((slow(a, a), slow(a, xs[0]), xs))  # compiled
    for i, x in enumerate(xs):
        busy = a
        for _ in range(10):
            busy = slow(busy, busy)
        assert (F.relu(slow(busy, x)).copy_to_host() == 2 + i).all()


def test_work_follows_the_stream_of_numba(cuda):
    from gpu_kernels import late

    stream = cuda.stream()
    poison, one = np.full(100, -1, np.float32), np.ones(1, np.float32)
    factor = cuda.to_device(one, stream=stream)
    for _ in range(sized(5, 1)):
        x = cuda.to_device(poison, stream=stream)
        late[1, 128, stream](x, factor, sized(20_000_000, 2))
        found = F.relu(x)
        host = found.copy_to_host(stream=stream)
        stream.synchronize()
        assert (host == 3).all()
    if not SIMULATED:
        assert residence.view("X", x).stream == int(stream)


# ------------------------------------------------------------------ two GPUs


def two_gpus():
    if SIMULATED or len(cuda_driver.gpus()) < 2:
        pytest.skip("needs two GPUs")


@HARDWARE
@pytest.mark.parametrize("make", [Numba, CuPy, PyTorch], ids=["Numba", "CuPy", "PyTorch"])
def test_the_second_gpu_computes_what_is_there(make):
    two_gpus()
    made = make()
    X, W, b, _ = matrices()
    expected = F.linear_forward(X, W, b, device="cuda:0")
    found = F.linear_forward(*(made.send(array, 1) for array in (X, W, b)))
    assert residence.view("Z", found).device == 1
    assert np.array_equal(fetched(found, made), expected)
    assert np.array_equal(F.linear_forward(X, W, b, device="cuda:1"), expected)
    with pytest.raises(ValueError, match=r"A_prev is on cuda:0, but W is on cuda:1"):
        F.linear_forward(made.send(X, 0), made.send(W, 1), b)
