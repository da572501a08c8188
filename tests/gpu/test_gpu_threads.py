"""Python's threads, forked and spawned processes beside a GPU."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest
from gpu_machine import SIMULATED, run_script, sized

import fastnn
import fastnn.functional as F

pytestmark = pytest.mark.gpu

THREADS = 4


def together(work):
    """Run ``work(i)`` on several threads that start as one, and return what they found."""
    gate, found, errors = threading.Barrier(THREADS), [None] * THREADS, []

    def run(i):
        try:
            gate.wait()
            found[i] = work(i)
        except BaseException as error:  # shown by the test, not lost with the thread
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return found


# The simulator has one launch at a time for the whole process.
@pytest.mark.hardware
def test_threads_that_call_functions_at_once():
    random = np.random.default_rng(0)
    W, b = random.standard_normal((70, 50)).astype(np.float32), np.zeros((70, 1), np.float32)
    Xs = [random.standard_normal((50, 3000 + i)).astype(np.float32) for i in range(THREADS)]
    alone = [F.layer_forward(X, W, b, "gelu", device="cuda")[0] for X in Xs]

    def work(i):
        return [F.layer_forward(Xs[i], W, b, "gelu", device="cuda")[0] for _ in range(50)]

    for expected, runs in zip(alone, together(work), strict=True):
        for found in runs:
            assert found.tobytes() == expected.tobytes()


def trained(seed):
    random = np.random.default_rng(seed)
    X = random.standard_normal((20, sized(2000, 19))).astype(np.float32)
    y = random.integers(0, 2, X.shape[1])
    net = fastnn.Network([20, 33, 1], loss="binary_cross_entropy", seed=seed, device="cuda")
    net.fit(X, y, sized(20, 1), sized(64, 8), fastnn.Adam(0.01), dropout=0.1)
    return net.parameters.tobytes()


@pytest.mark.hardware
def test_threads_that_fit_at_once_give_the_bits_of_fits_alone():
    alone = [trained(i) for i in range(THREADS)]
    assert together(trained) == alone


@pytest.mark.hardware
def test_a_first_use_by_several_threads_at_once():
    done = run_script(
        """
import threading
import numpy as np
import fastnn.functional as F
gate, found = threading.Barrier(4), []
Z = np.linspace(-1, 1, 5000, dtype=np.float32).reshape(50, 100)
def run():
    gate.wait()
    found.append(F.relu(Z, device="cuda").tobytes())
threads = [threading.Thread(target=run) for _ in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
assert found == [np.maximum(Z, 0).tobytes()] * 4, len(found)
"""
    )
    assert done.returncode == 0, done.stderr


FORKING = """
import os, sys
import numpy as np
import fastnn, fastnn.functional as F
Z = np.linspace(-1, 1, 60, dtype=np.float32).reshape(6, 10)
{before}
child = os.fork()
if child == 0:
    code = 1
    try:
        {inside}
        code = 0
    finally:
        sys.stdout.flush()
        os._exit(code)
status = os.waitpid(child, 0)[1]
assert status == 0, status
assert np.array_equal(F.relu(Z, device="cuda"), np.maximum(Z, 0))
print("the parent computes on")
"""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


@pytest.mark.hardware
@needs_fork
@pytest.mark.parametrize(
    "before",
    ['F.relu(Z, device="cuda")', "fastnn.devices()"],
    ids=["after a call", "after a look at the devices"],
)
@pytest.mark.parametrize(
    "inside",
    ['F.relu(Z, device="cuda")', 'fastnn.Network([6, 1], loss="squared_error", device="cuda")'],
    ids=["function", "network"],
)
def test_a_forked_child_is_told_that_it_cannot(inside, before):
    attempt = f"""
        try:
            {inside}
            print("no error")
        except fastnn.DeviceError as error:
            print("DeviceError:", error)
        assert np.array_equal(F.relu(Z, device="cpu"), np.maximum(Z, 0))
"""
    done = run_script(FORKING.format(before=before, inside=attempt.strip()))
    assert done.returncode == 0, done.stderr
    assert "DeviceError:" in done.stdout and "fork" in done.stdout, done.stdout
    assert "the parent computes on" in done.stdout


@pytest.mark.hardware
@needs_fork
def test_a_fork_before_the_first_use_is_harmless():
    inside = 'assert np.array_equal(F.relu(Z, device="cuda"), np.maximum(Z, 0))'
    done = run_script(FORKING.format(before="pass", inside=inside))
    assert done.returncode == 0, done.stderr
    assert "the parent computes on" in done.stdout


def test_a_spawned_process_computes():
    done = run_script(
        """
import numpy as np
import fastnn, fastnn.functional as F
Z = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
assert np.array_equal(F.relu(Z), np.maximum(Z, 0))
""",
        FASTNN_DEVICE="cuda",
    )
    assert done.returncode == 0, done.stderr


def test_importing_and_looking_take_no_memory_of_the_gpu():
    done = run_script(
        """
import sys
import fastnn
found = [d for d in fastnn.devices() if d.name.startswith("cuda")]
assert found and found[0].available, found
loaded = [name for name in sys.modules if name.startswith("numba.cuda.cudadrv")]
assert not loaded, loaded
print(found[0].detail)
"""
    )
    assert done.returncode == 0, done.stderr
    assert ("simulator" in done.stdout) == SIMULATED
