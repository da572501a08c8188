"""Workers for single large calls: the same bits, and no harm from forks, errors or neighbours."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn import threads


def large(dtype=np.float32):
    random = np.random.default_rng(0)
    W, A = random.normal(size=(70, 90)).astype(dtype), random.normal(size=(90, 5000)).astype(dtype)
    return (
        A,
        W,
        random.normal(size=(70, 1)).astype(dtype),
        random.normal(size=(70, 5000)).astype(dtype),
    )


def everything():
    A, W, b, dZ = large()
    results = [F.linear_forward(A, W, b), F.weight_gradient(dZ, A), F.weight_gradient(A, dZ)]
    results += [*F.layer_forward(A, W, b, "tanh"), *F.layer_forward(A, W, b, "softmax")]
    results += [F.hidden_gradient(W, dZ, A, "relu"), F.hidden_gradient(W, dZ, A, "softmax")]
    results += F.linear_backward(dZ, A, W)
    # Shapes whose pieces are of another kind than the whole: few units, one example.
    random = np.random.default_rng(1)
    tall, flat = (random.normal(size=(n, 60_000)).astype(np.float32) for n in (30, 24))
    results += [F.weight_gradient(tall, flat), F.weight_gradient(flat, tall)]
    results += [F.weight_gradient(tall[:5], np.repeat(tall, 9, axis=0))]
    net = fastnn.Network([90, 70, 3], loss="cross_entropy")
    more = random.normal(size=(90, 5121)).astype(np.float32)
    results += [net.forward(more), net.forward(np.asfortranarray(more))]
    return b"".join(result.tobytes() for result in results)


@pytest.mark.compiled
def test_the_same_bits_for_every_number_of_threads(monkeypatch):
    bits = set()
    for count in ("1", "2", "3", "8"):
        monkeypatch.setenv(threads.VARIABLE, count)
        bits.add(everything())
    assert len(bits) == 1


@pytest.mark.compiled
def test_calls_from_several_threads_at_once(monkeypatch):
    monkeypatch.setenv(threads.VARIABLE, "2")
    expected, found = everything(), []
    callers = [threading.Thread(target=lambda: found.append(everything())) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert found == [expected] * 4


@pytest.mark.compiled
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_works(tmp_path):
    # A process of its own: pytest's may hold locks of other libraries when it forks.
    code = """
        import os, sys, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, on 3.12
        os.environ["FASTNN_NUM_THREADS"] = "2"
        import numpy as np, fastnn.functional as F, fastnn
        A, W, b = np.ones((90, 5000)), np.ones((70, 90)), np.zeros((70, 1))
        expected = F.linear_forward(A, W, b)
        X, y = fastnn.datasets.moons(100)
        fastnn.Network([2, 3, 1], loss="binary_cross_entropy").fit(X, y, epochs=2)
        children = []
        for _ in range(3):
            child = os.fork()
            if child == 0:
                right = (F.linear_forward(A, W, b) == expected).all()
                fastnn.Network([2, 3, 1], loss="binary_cross_entropy").fit(X, y, epochs=2)
                os._exit(0 if right else 1)
            children.append(child)
        print([os.waitpid(child, 0)[1] for child in children])
    """
    told = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(told, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "[0, 0, 0]\n"


def test_every_task_runs_once(monkeypatch):
    monkeypatch.setenv(threads.VARIABLE, "3")
    for n in (1, 2, 5, 40):
        ran = []
        threads.share([lambda i=i: (time.sleep(0.001), ran.append(i)) for i in range(n)])
        assert sorted(ran) == list(range(n))


def test_an_error_in_a_task_is_raised_and_the_workers_live_on(monkeypatch):
    monkeypatch.setenv(threads.VARIABLE, "3")

    def fail():
        raise MemoryError("no room")

    for _ in range(3):
        with pytest.raises(MemoryError, match="no room"):
            threads.share([fail, time.time, fail, time.time])
    ran = []
    threads.share([lambda: ran.append(1)] * 4)
    assert ran == [1] * 4


@pytest.mark.parametrize("size", [1, 63, 64, 65, 1000, 100_000])
@pytest.mark.parametrize("count", ["1", "2", "7"])
def test_ranges_cover_everything_once(monkeypatch, size, count):
    monkeypatch.setenv(threads.VARIABLE, count)
    for operations in (1.0, 1e7, 1e12):
        pieces = threads.ranges(size, operations, 64)
        assert pieces[0][0] == 0 and pieces[-1][1] == size
        assert all(a[1] == b[0] for a, b in zip(pieces[:-1], pieces[1:], strict=True))
        assert all(begin < end and begin % 64 == 0 for begin, end in pieces)
        assert len(pieces) == 1 or (count != "1" and operations > 1e6)


@pytest.mark.parametrize("asked", ["0", "-1", "two", "1.5"])
def test_a_wrong_number_of_threads(monkeypatch, asked):
    monkeypatch.setenv(threads.VARIABLE, asked)
    with pytest.raises(ValueError, match="FASTNN_NUM_THREADS must be"):
        threads.count()
