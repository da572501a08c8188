"""``python -m fastnn warmup``: compile every kernel into the cache folder.

Unless a device is asked for by name, those of each GPU that is there too.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import functional as F
from ..device import computing
from ..network import Network


def warmup(dtypes: Sequence[str]) -> int:
    """Compile all kernels for these types, saying what is done; return the exit code."""
    code = 0
    for device in computing():
        if device == "cpu":
            code = max(code, _cpu(dtypes))
        elif device.startswith("cuda"):
            _cuda(device, dtypes)
        else:
            print(f"the device {device!r} compiles nothing")
    return code


def _cpu(dtypes: Sequence[str]) -> int:
    begin = time.perf_counter()
    from ..kernels.cpu.compiler import writable_cache_folder

    folder = writable_cache_folder()
    _call(dtypes)
    print(f"ready after {time.perf_counter() - begin:.1f} s; kept in {folder}")
    if folder is None:
        print("no cache folder is writable: set NUMBA_CACHE_DIR to one that is", file=sys.stderr)
        return 1
    return 0


def _cuda(device: str, dtypes: Sequence[str]) -> None:
    begin = time.perf_counter()
    driver = import_module("fastnn.kernels.cuda.driver")
    import_module("fastnn.backends.cuda")  # which declares all kernels
    with driver.gpu(int(device.partition(":")[2])):
        for dtype in dtypes:
            for name, kernel in driver.KERNELS.items():
                start = time.perf_counter()
                print(f"{device} {dtype} {name} ... ", end="", flush=True)
                kernel.prepare(np.dtype(dtype).type)
                print(f"{time.perf_counter() - start:.1f} s", flush=True)
    print(f"{device} ready after {time.perf_counter() - begin:.1f} s")


def _call(dtypes: Sequence[str]) -> None:
    for dtype in dtypes:
        for name, call in calls(np.dtype(dtype)):
            start = time.perf_counter()
            print(f"{dtype} {name} ... ", end="", flush=True)
            call()
            print(f"{time.perf_counter() - start:.1f} s", flush=True)


def calls(dtype: np.dtype[Any]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the name of each kernel of the CPU, and a call that needs it."""
    X, W, b = np.ones((3, 4), dtype), np.ones((2, 3), dtype), np.zeros((2, 1), dtype)
    Z = np.full((2, 4), 0.5, dtype)
    net = Network([3, 2, 2], loss="cross_entropy", dtype=dtype, device="cpu")
    y = np.array([0, 1, 0, 1])
    yield "linear_forward", lambda: F.linear_forward(X, W, b, device="cpu")
    yield "activation_forward", lambda: F.relu(Z, device="cpu")
    yield "layer_forward", lambda: F.layer_forward(X, W, b, "relu", device="cpu")
    yield "activation_derivative", lambda: F.activation_derivative(Z, "relu", device="cpu")
    yield "activation_backward", lambda: F.activation_backward(Z, Z, "relu", device="cpu")
    yield "output_gradient", lambda: F.output_gradient(Z, Z, device="cpu")
    yield "hidden_gradient", lambda: F.hidden_gradient(W, Z, X, "relu", device="cpu")
    yield "weight_gradient", lambda: F.weight_gradient(Z, X, device="cpu")
    yield "bias_gradient", lambda: F.bias_gradient(Z, device="cpu")
    yield "linear_backward", lambda: F.linear_backward(Z, X, W, device="cpu")
    yield "cost", lambda: F.cost(Z, Z, "squared_error", device="cpu")
    yield "gradient_step", lambda: F.gradient_step(W.copy(), W, 0.1, device="cpu")
    yield "network_forward", lambda: net.forward(X)
    yield "forward_one", lambda: net.predict_one(X[:, 0].copy())
    yield from _inside(net, X)
    yield "train", lambda: net.fit(X, y, epochs=1, batch_size=2)
    yield "network_cost", lambda: net.gradient(X, y)  # the same kernel


def _inside(net: Network, X: NDArray[Any]) -> Iterator[tuple[str, Callable[[], Any]]]:
    from .. import inside

    told = inside.parameters(net), inside.layout(net)
    work, gradient, J = inside.work(net), inside.gradient(net), np.empty((2, 3), net.dtype)
    x, v, out, outs = X[:, 0].copy(), J[:, 0].copy(), J[:, 0].copy(), J[:, :1].copy()
    yield "inside.forward", lambda: inside.forward(*told, x, out, work)
    yield "inside.forward_block", lambda: inside.forward_block(*told, X[:, :1].copy(), outs, work)
    yield "inside.linearize", lambda: inside.linearize(*told, x, out, work)
    yield "inside.vjp", lambda: inside.vjp(*told, v, x, gradient, work)
    yield "inside.jvp", lambda: inside.jvp(*told, x, out, work)
    yield "inside.jacobian", lambda: inside.jacobian(*told, J, work)
    yield "Network.njit", lambda: net.njit()(x, out)
