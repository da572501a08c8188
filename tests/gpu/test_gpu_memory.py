"""A GPU that runs out of memory: a clear error, after which the process computes on."""

from __future__ import annotations

import numpy as np
import pytest
from gpu_machine import library, run_script

import fastnn
import fastnn.functional as F

pytestmark = [pytest.mark.gpu, pytest.mark.hardware]


def side(cuda):
    """Return n such that (n, n) in float32 is half as much again as the GPU's memory."""
    total = cuda.current_context().get_memory_info()[1]
    return int((1.5 * total / 4) ** 0.5)


def still_computes():
    random = np.random.default_rng(0)
    Z = random.standard_normal((70, 900)).astype(np.float32)
    assert np.array_equal(F.relu(Z, device="cuda"), np.maximum(Z, 0))
    W, b = random.standard_normal((3, 70)).astype(np.float32), np.zeros((3, 1), np.float32)
    np.testing.assert_allclose(
        F.linear_forward(Z, W, b, device="cuda"), W @ Z, rtol=1e-4, atol=1e-4
    )


def test_a_result_that_does_not_fit(cuda):
    n = side(cuda)
    A_prev = cuda.to_device(np.ones((1, n), np.float32))
    W, b = np.ones((n, 1), np.float32), np.zeros((n, 1), np.float32)
    for _ in range(2):
        with pytest.raises(MemoryError, match="GPU") as caught:
            F.linear_forward(A_prev, W, b)
        # It says how much was asked for: 4 n^2 bytes, in a unit that can be read.
        assert any(letter.isdigit() for letter in str(caught.value)), str(caught.value)
        still_computes()


def test_memory_is_given_back_after_the_error(cuda):
    n = side(cuda)
    A_prev = cuda.to_device(np.ones((1, n), np.float32))
    W, b = np.ones((n, 1), np.float32), np.zeros((n, 1), np.float32)
    still_computes()
    before = cuda.current_context().get_memory_info()[0]
    for _ in range(20):
        with pytest.raises(MemoryError):
            F.linear_forward(A_prev, W, b)
    cuda.current_context().memory_manager.deallocations.clear()
    assert cuda.current_context().get_memory_info()[0] >= before - 2**26


def test_temporary_memory_that_does_not_fit():
    # The result and the inputs fit; their memory is taken first, all but a little, and then the
    # copy that a strided operand needs does not. In a process of its own: others share the GPU.
    done = run_script(
        """
import numpy as np
import fastnn.functional as F
from fastnn.kernels.cuda.driver import cuda

class Every2nd:  # a view that no kernel reads in place: columns apart, and rows
    def __init__(self, array):
        self.array = array
    @property
    def __cuda_array_interface__(self):
        told = self.array.__cuda_array_interface__
        n, m = self.array.shape
        return {**told, "shape": (n // 2, m // 2), "strides": (8 * m, 8)}

n = 8192
x = cuda.to_device(np.ones((n, n), np.float32))
w, b = cuda.to_device(np.ones((1, n // 2), np.float32)), np.zeros((1, 1), np.float32)
assert (F.linear_forward(Every2nd(x), w, b).copy_to_host() == n // 2).all()
cuda.current_context().memory_manager.deallocations.clear()
free = cuda.current_context().get_memory_info()[0]
held = []
piece = 2**30
while piece > 2**22:
    try:
        held.append(cuda.device_array(piece, np.uint8))
    except Exception:
        piece //= 2
try:
    F.linear_forward(Every2nd(x), w, b)
    print("no error")
except MemoryError as error:
    print("MemoryError:", error)
held.clear()
assert (F.linear_forward(Every2nd(x), w, b).copy_to_host() == n // 2).all()
print("computes on")
"""
    )
    assert done.returncode == 0, done.stderr
    assert "MemoryError:" in done.stdout and "GPU" in done.stdout, done.stdout
    assert "computes on" in done.stdout


def test_a_fit_that_does_not_fit(cuda):
    total = cuda.current_context().get_memory_info()[1]
    # The activations of one batch alone exceed the memory; X does not.
    m = 100_000
    width = int(1.5 * total / (4 * m))
    X, y = np.ones((2, m), np.float32), np.zeros(m, np.int64)
    net = fastnn.Network([2, width, 1], loss="binary_cross_entropy", device="cuda")
    before = net.parameters.copy()
    error = None
    try:
        net.fit(X, y, 1)
    except MemoryError as caught:
        error = caught
    if error is None:
        assert np.isfinite(net.parameters).all()  # in pieces, it does fit
    else:
        assert "GPU" in str(error) and np.array_equal(net.parameters, before)
    still_computes()


def test_torch_that_has_no_memory_for_the_result_says_so(cuda):
    torch = library("torch")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch sees no GPU")
    n = side(cuda)
    A_prev = torch.ones((1, n), device="cuda")
    W, b = torch.ones((n, 1), device="cuda"), torch.zeros((n, 1), device="cuda")
    with pytest.raises((MemoryError, torch.cuda.OutOfMemoryError), match="GPU"):
        F.linear_forward(A_prev, W, b)
    still_computes()
