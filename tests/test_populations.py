"""Many networks at once: each ends with the bits that it would have alone."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import textwrap
import threading
import time
from functools import partial

import numpy as np
import pytest

import fastnn
from fastnn import populations, side_by_side

M = 150
ROWS = [
    np.arange(0, M, 2),
    np.random.default_rng(1).integers(0, M, 170),  # with repetitions, more than there are
    np.random.default_rng(2).permutation(M)[:40],
]
HELD = [np.arange(1, M, 2), np.arange(50), np.arange(100, M)]
ENDS = ("cost", "validation_cost", "best_epoch", "stopped", "first_epoch")


@pytest.fixture(autouse=True)
def _threads_for_the_smallest(monkeypatch):
    monkeypatch.setattr(populations, "_WORTH_THREADS", 0)


def data(dtype=np.float32, n_y=1, order="C"):
    random = np.random.default_rng(0)
    X = np.asarray(random.normal(size=(6, M)), dtype, order=order)
    labels = random.integers(0, max(n_y, 2), M)
    return X, labels


def three(sizes=(6, 17, 1), dtype=np.float32, device=None):
    names = ["relu"] * (len(sizes) - 2) + ["sigmoid" if sizes[-1] == 1 else "softmax"]
    return fastnn.Network(sizes, names, dtype=dtype, seed=3, device=device).replicate(3)


def alone(networks, X, Y, rows=None, validation=None, sample_weight=None, **told):
    """Train one after another by Network.fit; each argument is a list with one for each."""
    histories = []
    for i, net in enumerate(networks):
        here = {name: values[i] for name, values in told.items()}
        weights = None if sample_weight is None else sample_weight[i]
        beside = None if validation is None else validation[i]
        if isinstance(beside, np.ndarray):
            beside = (X[:, beside], Y[..., beside], None if weights is None else weights[beside])
        x, y = X, Y
        if rows is not None and rows[i] is not None:
            x, y = X[:, rows[i]], Y[..., rows[i]]
            weights = None if weights is None else weights[rows[i]]
        histories.append(net.fit(x, y, sample_weight=weights, validation=beside, **here))
    return histories


def assert_same(networks, histories, others, expected):
    for net, history, other, found in zip(networks, histories, others, expected, strict=True):
        assert net.parameters.tobytes() == other.parameters.tobytes()
        for name in ENDS:
            assert getattr(history, name) == getattr(found, name), name
        assert len(history.seconds) == len(history.cost)


WEIGHTS = np.random.default_rng(3).random((3, M))
OPTIONS = {
    "plain": {},
    "epochs": dict(epochs=[1, 7, 3]),
    "batch_size": dict(batch_size=[1, 32, None]),
    "optimizer": dict(optimizer=[fastnn.SGD(0.2, 0.9), fastnn.Adam(0.01), fastnn.AdamW(0.02)]),
    "shuffle": dict(
        shuffle=[False, True, lambda epoch: np.random.default_rng(epoch).permutation(M)]
    ),
    "l1": dict(l1=[0.0, 0.01, 0.1]),
    "l2": dict(l2=[0.0, 0.01, 0.1]),
    "sample_weight": dict(sample_weight=[WEIGHTS[0], None, WEIGHTS[2]]),
    "validation": dict(validation=HELD),
    "patience": dict(
        validation=HELD, patience=[None, 1, 2], min_delta=[0, 1e9, 1e-3], epochs=[9] * 3
    ),
    "seed": dict(seed=[5, None, 7], dropout=[0.2] * 3),
    "dropout": dict(dropout=[0.0, 0.3, (0.5,)]),
    "clip_norm": dict(clip_norm=[None, 0.1, 0.001]),
    "schedule": dict(schedule=[None, fastnn.CosineDecay(3), fastnn.ReduceOnPlateau(0.5, 1)]),
    "rows": dict(rows=[None, *ROWS[1:]]),
    "rows, no shuffle": dict(rows=ROWS, shuffle=[False] * 3),
    "rows, all at once": dict(rows=ROWS, batch_size=[None] * 3),
    "rows, own order": dict(rows=[ROWS[0]] * 3, shuffle=[lambda epoch: np.arange(75)[::-1]] * 3),
    "rows, weights": dict(rows=ROWS, sample_weight=[*WEIGHTS]),
    "rows, weights, validation": dict(
        rows=ROWS, sample_weight=[*WEIGHTS], validation=HELD, patience=[1, 2, 3], epochs=[9] * 3
    ),
}


@pytest.mark.compiled
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_same_bits_as_alone(options, threads):
    X, Y = data()
    told = dict(epochs=[4] * 3, batch_size=[16] * 3) | options
    networks, others = three(), three()
    histories = fastnn.fit_many(networks, X, Y, threads=threads, **told)
    assert_same(networks, histories, others, alone(others, X, Y, **told))


@pytest.mark.compiled
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("batch_size", [16, M])
def test_both_types_and_memory_orders_and_labels(batch_size, dtype, order):
    X, Y = data(dtype, 4, order)
    told = dict(epochs=[3] * 3, batch_size=[batch_size] * 3, rows=[None, *ROWS[1:]])
    networks, others = three((6, 9, 8, 4), dtype), three((6, 9, 8, 4), dtype)
    histories = fastnn.fit_many(networks, X, Y, **told)
    assert_same(networks, histories, others, alone(others, X, Y, **told))


@pytest.mark.parametrize("options", [{}, dict(rows=ROWS, validation=HELD)], ids=["plain", "rows"])
def test_the_reference_alike(options):
    X, Y = data()
    told = dict(epochs=[2] * 3, batch_size=[16] * 3) | options
    networks, others = three(device="numpy"), three(device="numpy")
    histories = fastnn.fit_many(networks, X, Y, **told)
    assert_same(networks, histories, others, alone(others, X, Y, **told))


@pytest.mark.compiled
def test_networks_of_all_kinds_together():
    X, Y = data()

    def mixed():
        return [
            fastnn.Network([6, 1], loss="binary_cross_entropy"),
            fastnn.Network([6, 40, 30, 1], ["tanh", "gelu", "sigmoid"], seed=4),
            fastnn.Network([6, 3, 2], ["relu", "softmax"], seed=5),
            fastnn.Network([6, 5, 1], "silu", "huber", seed=6, delta=0.5),
        ]

    told = dict(epochs=[5] * 4, batch_size=[20, None, 7, 150])
    networks, others = mixed(), mixed()
    histories = fastnn.fit_many(networks, X, Y, **told)
    assert_same(networks, histories, others, alone(others, X, Y, **told))


@pytest.mark.compiled
def test_one_value_for_all_and_numbers_as_arrays():
    X, Y = data()
    networks, others = three(), three()
    fastnn.fit_many(
        networks, X, Y, 3, 16, fastnn.Adam(), l2=np.array([0, 0.1, 0.2]), seed=(1, 2, 3),
        rows=ROWS[0], sample_weight=WEIGHTS[0], validation=(X, Y), dropout=(0.25,),
    )  # fmt: skip
    alone(
        others, X, Y, epochs=[3] * 3, batch_size=[16] * 3, optimizer=[fastnn.Adam()] * 3,
        l2=[0.0, 0.1, 0.2], seed=[1, 2, 3], rows=[ROWS[0]] * 3, sample_weight=[WEIGHTS[0]] * 3,
        dropout=[0.25] * 3,
    )  # fmt: skip
    assert [n.parameters.tobytes() for n in networks] == [n.parameters.tobytes() for n in others]


@pytest.mark.compiled
def test_a_mask_names_rows_as_their_numbers_do():
    X, Y = data()
    networks, others = three(), three()
    fastnn.fit_many(networks, X, Y, 3, 16, rows=X[0] > 0)
    fastnn.fit_many(others, X, Y, 3, 16, rows=np.flatnonzero(X[0] > 0))
    assert [n.parameters.tobytes() for n in networks] == [n.parameters.tobytes() for n in others]


@pytest.mark.compiled
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_row_of_one_feature(dtype):
    # Alone it is a matrix of one value, which is in both memory orders.
    X, Y = data(dtype)
    told = dict(epochs=[5] * 3, shuffle=[lambda epoch: np.zeros(1, int)] * 3)
    told |= dict(optimizer=[fastnn.SGD(0.01, 0.9)] * 3, rows=[np.array([i]) for i in range(3)])
    networks, others = three((1, 17, 33, 1), dtype), three((1, 17, 33, 1), dtype)
    histories = fastnn.fit_many(networks, X[:1], Y, **told)
    assert_same(networks, histories, others, alone(others, X[:1], Y, **told))


@pytest.mark.compiled
def test_numbers_as_a_range():
    X, Y = data()
    networks, others = three(), three()
    fastnn.fit_many(networks, X, Y, range(1, 4), 16, seed=range(3))
    fastnn.fit_many(others, X, Y, [1, 2, 3], 16, seed=[0, 1, 2])
    assert [n.parameters.tobytes() for n in networks] == [n.parameters.tobytes() for n in others]


@pytest.mark.compiled
@pytest.mark.parametrize("rows", [None, ROWS], ids=["all", "rows"])
def test_going_on_after_a_population_and_after_single_fits(rows):
    X, Y = data()
    told = dict(batch_size=[16] * 3, optimizer=[fastnn.Adam(0.01)] * 3, rows=rows)
    networks, others, whole = three(), three(), three()
    first = fastnn.fit_many(networks, X, Y, 2, **told)
    second = fastnn.fit_many(networks, X, Y, 3, after=first, **told)
    expected = alone(others, X, Y, epochs=[2] * 3, **told)
    expected = alone(others, X, Y, epochs=[3] * 3, after=expected, **told)
    assert_same(networks, second, others, expected)
    # From one to the other, and all in one.
    mixed = three()
    begun = fastnn.fit_many(mixed, X, Y, 2, **told)
    assert_same(mixed, alone(mixed, X, Y, epochs=[3] * 3, after=begun, **told), others, expected)
    fastnn.fit_many(whole, X, Y, 5, **told)
    assert [n.parameters.tobytes() for n in networks] == [n.parameters.tobytes() for n in whole]


@pytest.mark.compiled
def test_threads_are_for_fits_that_are_worth_them(monkeypatch):
    X, Y = data()
    asked, run_all = [], populations.run_all

    def spy(fits, at_once, report):
        asked.append(at_once)
        return run_all(fits, at_once, report)

    monkeypatch.setattr(populations, "run_all", spy)
    for worth in (0, 6.0 * three()[0].parameters.size * M * 2, 1e9):
        monkeypatch.setattr(populations, "_WORTH_THREADS", worth)
        for threads in (1, 2, 8):
            fastnn.fit_many(three(), X, Y, 2, 16, threads=threads)
    assert asked == [1, 2, 3, 1, 2, 3, 1, 1, 1]


@pytest.mark.compiled
def test_large_networks_share_no_bits_either(monkeypatch):
    X, Y = data()
    found = set()
    for threads in ("1", "2", "4"):
        monkeypatch.setenv("FASTNN_NUM_THREADS", threads)
        networks = fastnn.Network([6, 300, 200, 1], loss="binary_cross_entropy").replicate(2)
        fastnn.fit_many(networks, X, Y, 2, 75)
        found.add(b"".join(net.parameters.tobytes() for net in networks))
    assert len(found) == 1


@pytest.mark.compiled
def test_from_several_threads_at_once():
    X, Y = data()
    populations_ = [three() for _ in range(4)]
    callers = [
        threading.Thread(target=fastnn.fit_many, args=(nets, X, Y, 20, 16), kwargs={"rows": ROWS})
        for nets in populations_
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    expected = three()
    alone(expected, X, Y, epochs=[20] * 3, batch_size=[16] * 3, rows=ROWS)
    for nets in populations_:
        assert [a.parameters.tobytes() for a in nets] == [a.parameters.tobytes() for a in expected]


@pytest.mark.compiled
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_trains_populations():
    # A process of its own: pytest's may hold locks of other libraries when it forks.
    code = """
        import os, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, on 3.12
        os.environ["FASTNN_NUM_THREADS"] = "3"
        import fastnn
        fastnn.populations._WORTH_THREADS = 0
        X, y = fastnn.datasets.moons(100)
        def bits():
            nets = fastnn.Network([2, 3, 1], loss="binary_cross_entropy").replicate(8)
            fastnn.fit_many(nets, X, y, 5, 10)
            return [net.parameters.tobytes() for net in nets]
        expected, children = bits(), []
        for _ in range(3):
            child = os.fork()
            if child == 0:
                os._exit(0 if bits() == expected else 1)
            children.append(child)
        print([os.waitpid(child, 0)[1] for child in children])
    """
    told = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(told, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "[0, 0, 0]\n"


# ------------------------------------------------------------------ devices


def test_the_context_s_device_is_that_of_all_threads(monkeypatch):
    X, Y = data()
    monkeypatch.setenv("FASTNN_NUM_THREADS", "3")
    networks, others = three(), three(device="numpy")
    with fastnn.use_device("numpy"):
        fastnn.fit_many(networks, X, Y, 2, 16, validation=(X, Y))
    fastnn.fit_many(others, X, Y, 2, 16, validation=(X, Y))
    assert [n.parameters.tobytes() for n in networks] == [n.parameters.tobytes() for n in others]


# ------------------------------------------------------------------ the end


def test_ctrl_c_ends_all_with_whole_epochs():
    X, Y = data()
    networks = three() + three()
    asked = []

    def interrupted(epoch):
        # On the main thread alone does Python raise it.
        asked.append(threading.current_thread() is threading.main_thread())
        if asked[-1] and sum(asked) == 3:
            raise KeyboardInterrupt
        time.sleep(0.002)
        return np.arange(M)

    histories = fastnn.fit_many(networks, X, Y, 200, 16, shuffle=interrupted, threads=2)
    assert {history.stopped for history in histories} == {"interrupted"}
    begun = [len(history.cost) for history in histories]
    assert 0 in begun and 0 < max(begun) < 200
    for net, other, history in zip(networks, three() + three(), histories, strict=True):
        if history.cost:
            other.fit(X, Y, len(history.cost), 16, shuffle=lambda epoch: np.arange(M))
        assert net.parameters.tobytes() == other.parameters.tobytes()


@pytest.mark.compiled
@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_is_heard_while_all_threads_compute_and_while_one_waits():
    code = """
        import os, signal, threading, time
        import numpy as np, fastnn
        X, y = fastnn.datasets.moons(200)
        fastnn.populations._WORTH_THREADS = 0
        for epochs in ([10**7] * 4, [10**7, 1]):
            nets = fastnn.Network([2, 9, 1], loss="binary_cross_entropy").replicate(len(epochs))
            fastnn.fit_many(nets, X, y, 1, 10)
            threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
            begin = time.perf_counter()
            histories = fastnn.fit_many(nets, X, y, epochs, 10)
            print(*(history.stopped for history in histories), time.perf_counter() - begin < 5)
            print(all(np.isfinite(net.parameters).all() for net in nets))
        before = time.process_time()
        time.sleep(0.5)
        print(time.process_time() - before < 0.2)  # nobody computes any longer
    """
    environment = {**os.environ, "FASTNN_NUM_THREADS": "2"}
    told = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(told, capture_output=True, text=True, timeout=120, env=environment)
    lines = done.stdout.splitlines()
    assert lines[0] == "interrupted interrupted interrupted interrupted True", done.stderr
    assert lines[1:] == ["True", "interrupted epochs True", "True", "True"]


@pytest.mark.compiled
def test_ctrl_c_while_helpers_begin_ends_them_too(monkeypatch):
    X, Y = data()
    helped = side_by_side.helped

    def interrupted(task, helpers):
        begun = threading.Event()

        def lead():
            assert begun.wait(60)
            raise KeyboardInterrupt

        def help(helper):
            begun.set()
            helper()

        helped(lead, [partial(help, helper) for helper in helpers])

    monkeypatch.setattr(side_by_side, "helped", interrupted)
    networks = three()
    histories = fastnn.fit_many(networks, X, Y, 10**7, 16, threads=2)
    assert {history.stopped for history in histories} == {"interrupted"}
    before = [net.parameters.tobytes() for net in networks]
    time.sleep(0.1)
    assert [net.parameters.tobytes() for net in networks] == before


def test_an_error_in_a_callable_ends_the_others_and_is_raised():
    X, Y = data()

    def wrong(epoch):
        raise MemoryError("no room")

    for threads in (1, 2):
        networks = three()
        with pytest.raises(MemoryError, match="no room"):
            fastnn.fit_many(networks, X, Y, 50, 16, shuffle=[True, wrong, True], threads=threads)
        fastnn.fit_many(networks, X, Y, 1, 16, threads=threads)  # all is well again


@pytest.mark.compiled
def test_a_network_that_diverges_changes_none_of_the_others():
    X, Y = data()
    networks, others = three((6, 17, 1)), three((6, 17, 1))
    networks[1].parameters = np.full_like(networks[1].parameters, np.nan)
    told = dict(validation=[np.arange(20)] * 3, patience=[2] * 3, epochs=[6] * 3)
    histories = fastnn.fit_many(networks, X, Y, batch_size=16, threads=2, **told)
    assert np.isnan(networks[1].parameters).all() and np.isnan(histories[1].cost).all()
    assert (histories[1].stopped, histories[1].best_epoch) == ("patience", 0)
    expected = alone(others, X, Y, batch_size=[16] * 3, **told)
    sound = [0, 2]
    ours, theirs = ([some[i] for i in sound] for some in (histories, expected))
    assert_same([networks[i] for i in sound], ours, [others[i] for i in sound], theirs)


@pytest.mark.parametrize("threads", [1, 2])
def test_progress_is_told_of_each_network_and_may_end_it(threads):
    X, Y = data()
    networks, seen = three() + three(), []
    histories = fastnn.fit_many(
        networks, X, Y, 2, threads=threads, progress=lambda *told: seen.append(told)
    )
    assert [done for done, _, _ in seen] == [1, 2, 3, 4, 5, 6]
    assert sorted(place for _, place, _ in seen) == list(range(6))
    assert all(history is histories[place] for _, place, history in seen)

    networks = three() + three()
    histories = fastnn.fit_many(
        networks, X, Y, 2, threads=threads, progress=lambda done, place, history: done == 2
    )
    ended = [history for history in histories if history.stopped == "epochs"]
    assert 2 <= len(ended) <= 1 + threads
    assert {history.stopped for history in histories} == {"epochs", "progress"}
    assert [h.cost for h in histories if h.stopped == "progress"] == [[]] * (6 - len(ended))


@pytest.mark.parametrize("said", [1, np.ones(2), "go on", np.False_, False])
def test_progress_ends_nothing_unless_it_says_true(said):
    X, Y = data()
    histories = fastnn.fit_many(three(), X, Y, 2, threads=1, progress=lambda *told: said)
    assert {history.stopped for history in histories} == {"epochs"}


def test_progress_shows_a_bar_of_networks(capsys):
    pytest.importorskip("tqdm", reason="the bar is tqdm's")
    X, Y = data()
    fastnn.fit_many(three(), X, Y, 2, validation=(X, Y), progress=True)
    shown = capsys.readouterr().err
    assert "3/3" in shown and "network" in shown and "validation" in shown


def test_progress_without_tqdm_prints_a_line(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    X, Y = data()
    fastnn.fit_many(three(), X, Y, 2, progress=True)
    assert "network 3 of 3: cost" in capsys.readouterr().err


# ------------------------------------------------------------------ wrong calls

WRONG = {
    "no networks": (dict(networks=[]), ValueError, "networks is empty: give at least one"),
    "not a sequence": (dict(networks=3), TypeError, "must be a sequence of Network, got int"),
    "not a network": (dict(networks=[3]), TypeError, r"networks\[0\] must be a Network, got int"),
    "too few": (dict(l2=[0.1, 0.2]), ValueError, "l2 has 2 values for 3 networks; expected one"),
    "a list of layers": (dict(dropout=[0.1]), ValueError, "dropout has 1 values for 3 networks"),
    "a list of arrays": (
        dict(validation=[np.ones((6, 4)), np.ones(4)]),
        ValueError,
        "of several parts is a tuple",
    ),
    "one history": (
        dict(after=fastnn.History()),
        TypeError,
        "after is one History; expected a list",
    ),
    "one wrong": (dict(l2=[0, 0, -1]), ValueError, r"networks\[2\]: l2 must lie in \[0, inf\)"),
    "type": (dict(epochs=["a", 1, 1]), TypeError, r"networks\[0\]: epochs must be a whole number"),
    "an array of several": (dict(dropout=np.ones(3)), ValueError, "dropout has 3 values, but"),
    "patience": (dict(patience=3), ValueError, "patience needs validation"),
    "progress": (dict(progress=1), TypeError, "progress must be True, False or a callable"),
    "threads": (dict(threads=0), ValueError, "threads must be at least 1, got 0"),
    "rows beyond": (dict(rows=[[0], [1], [M]]), ValueError, f"names the example {M}; there are 0"),
    "rows below": (dict(rows=np.array([-1])), ValueError, "rows names the example -1"),
    "rows of floats": (dict(rows=np.ones(3)), TypeError, "expected numbers of examples"),
    "no rows": (dict(rows=np.arange(0)), ValueError, "rows is empty"),
    "a short mask": (dict(rows=np.ones(3, bool)), ValueError, r"rows has shape \(3,\)"),
    "an empty mask": (dict(rows=np.zeros(M, bool)), ValueError, "rows of True is empty"),
    "rows of rows": (dict(rows=np.ones((2, 2), int)), ValueError, "rows must have 1 dimension"),
    "validation": (dict(validation=np.array([M])), ValueError, "validation names the example 150"),
    "validation's X": (
        dict(validation=(np.ones((2, 2), np.float32), [0, 1])),
        ValueError,
        "validation: X has 2 rows but the network has 6 inputs",
    ),
    "weights": (dict(sample_weight=np.ones(3)), ValueError, r"sample_weight has shape \(3,\)"),
    "no weight": (
        dict(sample_weight=np.r_[np.ones(75), np.zeros(75)], rows=np.arange(75, M)),
        ValueError,
        "sample_weight is zero for every example",
    ),
    "X": (dict(X=np.ones((2, M), np.float32)), ValueError, r"networks\[0\]: X has 2 rows"),
    "two types": (dict(X=np.ones((6, M))), TypeError, "X has type float64"),
    "after": (dict(after=[None, None, 1]), TypeError, r"networks\[2\]: after must be the History"),
    "optimizer": (dict(optimizer=fastnn.SGD), TypeError, "optimizer must be SGD, RMSprop"),
}


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG)
def test_a_wrong_call_says_so_and_changes_nothing(case):
    changed, error, said = case
    X, Y = data()
    networks = three()
    before = [net.parameters.tobytes() for net in networks]
    told = dict(networks=networks, X=X, Y=Y, epochs=2) | changed
    with pytest.raises(error, match=said):
        fastnn.fit_many(**told)
    assert [net.parameters.tobytes() for net in networks] == before


def test_read_only_parameters_are_an_error():
    X, Y = data()
    net = three()[0]
    net.parameters.flags.writeable = False
    with pytest.raises(ValueError, match="parameters are read-only"):
        net.fit(X, Y, 2)
    assert net.forward(X).shape == Y.reshape(1, -1).shape


def test_one_network_twice_is_an_error():
    X, Y = data()
    a, b, _ = three()
    with pytest.raises(ValueError, match=r"networks\[2\] is networks\[0\] again"):
        fastnn.fit_many([a, b, a], X, Y, 2)
    before = a.parameters.tobytes()
    with pytest.raises(ValueError, match=r"networks\[2\] has the parameters of networks\[0\]"):
        fastnn.fit_many([a, b, copy.copy(a)], X, Y, 2)
    assert a.parameters.tobytes() == before
    fastnn.fit_many([a, b, copy.deepcopy(a)], X, Y, 2)


# ------------------------------------------------------------------ replicas


def test_replicas_are_like_new_networks():
    net = fastnn.Network([3, 4, 2], "elu", "huber", np.float64, 7, initializer="he", delta=0.3)
    for k, replica in enumerate(net.replicate(3)):
        new = fastnn.Network(
            [3, 4, 2], "elu", "huber", np.float64, 7 + k, initializer="he", delta=0.3
        )
        assert replica.parameters.tobytes() == new.parameters.tobytes()
        assert (repr(replica), replica.seed, replica.device) == (repr(new), 7 + k, None)
    first, second = fastnn.Network([3, 4, 2], loss="huber", device="numpy").replicate(2, [9, 9])
    assert first.device == "numpy" and first.seed == 9
    assert first.parameters.tobytes() == second.parameters.tobytes()
    assert first.parameters is not second.parameters


def test_replicas_carry_the_preprocessing():
    net = fastnn.Network([6, 1], loss="squared_error")
    net.preprocessing = [fastnn.preprocessing.Standardizer().fit(data()[0])]
    assert net.replicate(1)[0].preprocessing == net.preprocessing


def test_wrong_replicas():
    net = three()[0]
    with pytest.raises(ValueError, match="K must be at least 1"):
        net.replicate(0)
    with pytest.raises(ValueError, match="seeds has 2 values; expected 3"):
        net.replicate(3, [1, 2])
    with pytest.raises(TypeError, match="seed must be a whole number"):
        net.replicate(1, ["a"])
    with pytest.raises(TypeError, match="seeds must be a sequence of int, got int"):
        net.replicate(1, 3)
    assert [other.seed for other in net.replicate(2, (seed for seed in (7, 9)))] == [7, 9]


# ------------------------------------------------------------------ answers


@pytest.mark.compiled
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_outputs_of_many_are_those_of_each(order, dtype):
    X, _ = data(dtype, order=order)
    networks = three((6, 17, 3), dtype)
    A = fastnn.forward_many(networks, X)
    assert A.shape == (3, 3, M) and A.dtype == dtype
    for net, found in zip(networks, A, strict=True):
        assert net.forward(X).tobytes() == found.tobytes()
    out = np.empty_like(A)
    assert fastnn.forward_many(networks, X, out=out) is out
    assert out.tobytes() == A.tobytes()


@pytest.mark.compiled
@pytest.mark.parametrize("block", [1 << 22, 500])
def test_mean_and_spread_of_an_ensemble(block, monkeypatch):
    monkeypatch.setattr(populations, "_BLOCK", block)
    X, _ = data()
    networks = three((6, 17, 3))
    mean, spread = fastnn.ensemble_forward(networks, X)
    A = np.array([net.forward(X) for net in networks], np.float64)
    # Sums of three numbers below 1, rounded a few times.
    tolerance = 8 * np.finfo(np.float32).eps
    np.testing.assert_allclose(mean, A.mean(axis=0), rtol=0, atol=tolerance)
    np.testing.assert_allclose(spread, A.std(axis=0), rtol=0, atol=tolerance)
    assert mean.dtype == spread.dtype == np.float32


def test_networks_that_are_not_alike_have_no_common_outputs():
    X, _ = data()
    a = three()[0]
    for other, error, said in (
        (fastnn.Network([5, 1], loss="huber"), ValueError, r"networks\[1\] has 5 inputs, but"),
        (fastnn.Network([6, 2], loss="huber"), ValueError, r"networks\[1\] has 2 outputs, but"),
        (fastnn.Network([6, 1], loss="huber", dtype="f8"), TypeError, r"networks\[1\] is float64"),
        (None, TypeError, r"networks\[1\] must be a Network"),
    ):
        with pytest.raises(error, match=said):
            fastnn.forward_many([a, other], X)
    with pytest.raises(ValueError, match="networks is empty"):
        fastnn.ensemble_forward([], X)
    with pytest.raises(TypeError, match="networks must be a sequence"):
        fastnn.forward_many(a, X)
    with pytest.raises(ValueError, match="out has shape"):
        fastnn.forward_many([a], X, out=np.empty((2, 1, M), np.float32))


# ------------------------------------------------------------------ grids


def test_a_grid_has_every_combination_once():
    points = fastnn.grid(a=[1, 2], b=iter("xyz"), c=[None])
    assert len(points) == 6 and points[1] == {"a": 1, "b": "y", "c": None}
    assert len({tuple(point.items()) for point in points}) == 6
    assert fastnn.grid() == [{}]


def test_wrong_grids():
    with pytest.raises(ValueError, match="a has no values"):
        fastnn.grid(a=[])
    with pytest.raises(TypeError, match="a must be a sequence of values, got float"):
        fastnn.grid(a=0.1)
    with pytest.raises(TypeError, match="a must be a sequence of values, got str"):
        fastnn.grid(a="relu")
    with pytest.raises(TypeError, match="a must be a sequence of values, got bytes"):
        fastnn.grid(a=b"ab")
    with pytest.raises(TypeError, match="a must be a sequence of values, got ndarray"):
        fastnn.grid(a=np.array(3))
