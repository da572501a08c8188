"""Workers for single large calls: the same bits, and no harm from forks, errors or neighbours."""

from __future__ import annotations

import itertools
import multiprocessing
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
from fastnn.backends import cpu


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


# ------------------------------------------------------------------ training


def labelled(sizes, m, dtype=np.float32, order="C"):
    random = np.random.default_rng(sum(sizes) + m)
    X = np.asarray(random.normal(size=(sizes[0], m)).astype(dtype), order=order)
    return X, random.integers(0, max(2, sizes[-1]), m)


# How the work is cut: whole batches of large networks, in blocks and then in parts of the weights,
# by rows or by columns; large batches of small networks in pieces; and batches not worth sharing.
CUTS = {
    "parts by columns": ([300, 70, 5], 300, 128, "relu"),
    "parts by rows": ([90, 200, 60, 3], 500, 250, "tanh"),
    "pieces": ([20, 30, 1], 3000, 3000, "sigmoid"),
    "pieces of batches": ([20, 30, 4], 4100, 2000, "relu"),
    "logistic regression": ([30, 1], 40_000, 40_000, "relu"),
    "not shared": ([5, 6, 1], 70, 20, "relu"),
}
RULES = [fastnn.SGD(0.1), fastnn.SGD(0.1, 0.9), fastnn.AdamW(0.01)]


def trained(cut, rule, dtype=np.float32, threads=None, **options):
    """Return the bits of a fit, and of a gradient and a cost after it."""
    sizes, m, batch, hidden = CUTS[cut]
    loss = "cross_entropy" if sizes[-1] > 1 else "binary_cross_entropy"
    net = fastnn.Network(sizes, hidden, loss, dtype)
    X, y = labelled(sizes, m, dtype, options.pop("order", "C"))
    history = net.fit(X, y, 3, batch, rule, threads=threads, **options)
    J, gradient = net.gradient(X, y)
    costs = np.array([*history.cost, J, net.cost(X, y)])
    assert np.isfinite(costs).all()
    return net.parameters.tobytes() + gradient.tobytes() + costs.tobytes()


@pytest.mark.compiled
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("rule", RULES, ids=["SGD", "momentum", "AdamW"])
def test_training_has_the_same_bits_for_every_number_of_threads(monkeypatch, cut, rule):
    random = np.random.default_rng(5)
    weights = random.random(CUTS[cut][1])
    for options in ({}, {"l1": 1e-4, "l2": 1e-3, "sample_weight": weights}, {"order": "F"}):
        for dtype in (np.float32, np.float64):
            bits = set()
            for count in ("1", "2", "3", "8"):
                monkeypatch.setenv(threads.VARIABLE, count)
                bits.add(trained(cut, rule, dtype, **options))
            assert len(bits) == 1


@pytest.mark.compiled
def test_training_is_cut_as_it_should_be():
    network = {cut: fastnn.Network(CUTS[cut][0], loss="squared_error")._description for cut in CUTS}
    cuts = {cut: cpu._cut(network[cut], 4, CUTS[cut][2]) for cut in CUTS}
    assert {cut for cut in CUTS if cuts[cut].slots > 1} == {"parts by columns", "parts by rows"}
    pieces = {cut for cut in CUTS if cuts[cut].slots == 0}
    assert pieces == {"pieces", "pieces of batches", "logistic regression"}
    columns = cuts["parts by columns"].parts
    assert len(columns[columns[:, 0] == 0]) > 1 and columns[:, 3].max() > 0
    rows = cuts["parts by rows"].parts
    assert len(rows[rows[:, 0] == 1]) > 1 and rows[:, 1].max() > 0
    for cut in ("parts by columns", "parts by rows"):
        # Each weight belongs to one part.
        sizes = CUTS[cut][0]
        seen = [np.zeros((n, k), int) for k, n in itertools.pairwise(sizes)]
        for l, top, bottom, left, right in cuts[cut].parts:
            seen[l][top:bottom, left:right] += 1
        assert all((layer == 1).all() for layer in seen)


@pytest.mark.compiled
def test_the_argument_is_a_bound_too(monkeypatch):
    monkeypatch.setenv(threads.VARIABLE, "3")
    asked, helped = [], cpu.helped

    def spy(task, helpers):
        asked.append(len(helpers))
        helped(task, helpers)

    monkeypatch.setattr(cpu, "helped", spy)
    bits = {trained("pieces", RULES[0], threads=n) for n in (1, 2, 7)}
    assert len(bits) == 1
    assert set(asked) == {1, 2}  # none for one thread; the gradient after each fit has two


@pytest.mark.compiled
def test_helpers_that_never_come_are_not_missed(monkeypatch):
    monkeypatch.setenv(threads.VARIABLE, "4")
    expected = trained("parts by rows", RULES[0])
    late = []

    def alone(task, helpers):
        task()
        late.extend(helpers)

    monkeypatch.setattr(cpu, "helped", alone)
    assert trained("parts by rows", RULES[0]) == expected
    for helper in late:  # dismissed: nothing is left to do, and nothing is done
        helper()
    assert late


@pytest.mark.compiled
def test_more_threads_than_processors_and_fits_side_by_side(monkeypatch):
    monkeypatch.setenv(threads.VARIABLE, "6")
    expected, found = trained("parts by rows", RULES[0]), []
    fits = [
        threading.Thread(target=lambda: found.append(trained("parts by rows", RULES[0])))
        for _ in range(4)
    ]
    for fit in fits:
        fit.start()
    for fit in fits:
        fit.join()
    assert found == [expected] * 4


TRAINED = """
    import hashlib, multiprocessing, os, sys, warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, on 3.12
    import numpy as np, fastnn

    def digest(_=None):
        random = np.random.default_rng(0)
        X, y = random.normal(size=(90, 500)).astype(np.float32), random.integers(0, 3, 500)
        net = fastnn.Network([90, 200, 3], loss="cross_entropy")
        net.fit(X, y, epochs=3, batch_size=250)
        return hashlib.sha256(net.parameters).hexdigest()
"""


@pytest.mark.compiled
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_fits_in_child_processes(method, tmp_path):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system cannot {method}")
    code = (
        TRAINED
        + """
    if __name__ == "__main__":
        expected = digest()  # the parent has helpers by now
        with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
            print(set(pool.map(digest, range(4))) == {expected})
    """
    )
    script = tmp_path / "children.py"
    script.write_text(textwrap.dedent(code))
    told = [sys.executable, str(script), method]
    environment = {**os.environ, threads.VARIABLE: "2"}
    done = subprocess.run(
        told, capture_output=True, text=True, timeout=120, check=True, env=environment
    )
    assert done.stdout == "True\n"


@pytest.mark.compiled
@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_stops_all_threads(tmp_path):
    code = (
        TRAINED
        + """
    import signal, threading, time

    random = np.random.default_rng(0)
    X, y = random.normal(size=(90, 500)).astype(np.float32), random.integers(0, 3, 500)
    net = fastnn.Network([90, 200, 3], loss="cross_entropy")
    net.fit(X, y, epochs=2, batch_size=250)
    for wait in (0.5, 0.2, 0.3):
        threading.Timer(wait, os.kill, (os.getpid(), signal.SIGINT)).start()
        history = net.fit(X, y, epochs=10**6, batch_size=250)
        print(history.stopped, np.isfinite(net.parameters).all())
    before = time.process_time()
    time.sleep(0.5)
    # Helpers that nobody has dismissed would spin.
    print(time.process_time() - before < 0.2)
    """
    )
    script = tmp_path / "interrupted.py"
    script.write_text(textwrap.dedent(code))
    environment = {**os.environ, threads.VARIABLE: "2"}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120, env=environment
    )
    assert done.stdout == 3 * "interrupted True\n" + "True\n", done.stderr
