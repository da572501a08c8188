"""Network.fit: the loop around training, on both devices."""

from __future__ import annotations

import _thread
import platform
import signal
import threading
import time
import tracemalloc
from functools import partial

import numpy as np
import pytest

import fastnn
from fastnn.backends import cpu as cpu_backend
from fastnn.backends import numpy as numpy_backend
from fastnn.kernels import reference
from fastnn.kernels.cpu import training as training_kernel
from fastnn.training import fit

DTYPES = [np.float32, np.float64]
DEVICES = ["cpu", "numpy"]


def moons(m=130, dtype=np.float32):
    return fastnn.datasets.moons(m, noise=0.2, seed=1, dtype=dtype)


def network(device=None, dtype=np.float32, seed=2):
    return fastnn.Network(
        [2, 9, 5, 1], ["tanh", "relu", "sigmoid"], dtype=dtype, seed=seed, device=device
    )


# ------------------------------------------------------------------ the same on both devices


@pytest.mark.compiled
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("batch_size", [None, 1, 32, 129, 130, 1000])
@pytest.mark.parametrize(
    "optimizer",
    [fastnn.SGD(0.1), fastnn.SGD(0.01, 0.9, True), fastnn.RMSprop(0.01), fastnn.AdamW(0.01)],
    ids=lambda o: type(o).__name__,
)
def test_compiled_training_equals_the_reference(dtype, order, batch_size, optimizer):
    X, y = moons(dtype=dtype)
    X = np.asarray(X, order=order)
    weights = np.linspace(0.5, 2, 130)
    told = dict(epochs=3, batch_size=batch_size, optimizer=optimizer, l1=1e-3, l2=1e-2)
    ours, theirs = network("cpu", dtype), network("numpy", dtype)
    history = ours.fit(X, y, sample_weight=weights, validation=(X, y), **told)
    expected = theirs.fit(X, y, sample_weight=weights, validation=(X, y), **told)
    eps = np.finfo(dtype).eps
    # A few ULP per step, over up to 390 steps; the rates are small enough not to amplify them.
    tolerance = 2000 * eps
    np.testing.assert_allclose(ours.parameters, theirs.parameters, rtol=0, atol=tolerance)
    np.testing.assert_allclose(history.cost, expected.cost, rtol=tolerance)
    np.testing.assert_allclose(history.validation_cost, expected.validation_cost, rtol=tolerance)


def test_labels_equal_their_one_hot_columns():
    digits = fastnn.datasets.load_digits()
    X, y = digits.X[:, :300] / 16, digits.y[:300]
    Y = fastnn.preprocessing.one_hot(y, 10)
    results = []
    for targets in (y, Y, np.asfortranarray(Y), y.tolist(), y.astype(np.uint8)):
        net = fastnn.Network([64, 12, 10], loss="cross_entropy")
        net.fit(X, targets, epochs=2, batch_size=50)
        results.append(net.parameters.tobytes())
    assert len(set(results)) == 1


def test_weights_count_like_repetitions():
    X, y = moons(40, np.float64)
    counts = np.arange(40) % 3
    counts[0] = 1
    weighted, repeated = network(dtype=np.float64), network(dtype=np.float64)
    weighted.fit(X, y, epochs=5, sample_weight=counts)
    repeated.fit(np.repeat(X, counts, axis=1), np.repeat(y, counts), epochs=5)
    np.testing.assert_allclose(weighted.parameters, repeated.parameters, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("scale", [1e-3, 1, 7.5])
def test_only_ratios_of_weights_matter(scale):
    X, y = moons(50, np.float64)
    weights = np.random.default_rng(0).random(50) + 0.1
    nets = [network(dtype=np.float64), network(dtype=np.float64)]
    for net, factor in zip(nets, (1, scale), strict=True):
        net.fit(X, y, epochs=4, batch_size=16, sample_weight=factor * weights)
    np.testing.assert_allclose(nets[0].parameters, nets[1].parameters, rtol=1e-12, atol=1e-14)


# ------------------------------------------------------------------ epochs and batches


def test_cost_of_an_epoch_is_the_mean_over_its_examples():
    X, y = moons(100, np.float64)
    net = network(dtype=np.float64)
    expected, other = [], network(dtype=np.float64)
    for begin in (0, 64):
        part = slice(begin, begin + 64)
        size = X[:, part].shape[1]
        J, gradient = other.gradient(X[:, part], y[part], l2=0.01)
        expected.append(J * size)
        other.parameters -= 0.1 * gradient
    history = net.fit(
        X, y, epochs=1, batch_size=64, shuffle=False, l2=0.01, optimizer=fastnn.SGD(0.1)
    )
    assert history.cost[0] == pytest.approx(sum(expected) / 100, rel=1e-12)
    np.testing.assert_allclose(net.parameters, other.parameters, rtol=1e-12)


@pytest.mark.parametrize("device", DEVICES)
def test_each_epoch_visits_every_example_once(device):
    # With one weight, inputs of 1, and a rate so small that the parameters hardly move, the sum
    # of gradients over an epoch tells which targets were met.
    m = 37
    y = 2.0 ** np.arange(m)[None] / 2**m
    net = fastnn.Network([1, 1], ["identity"], dtype=np.float64, device=device)
    net.fit(np.ones((1, m)), y, epochs=1, batch_size=1, optimizer=fastnn.SGD(1e-12))
    assert net.b[0][0, 0] * 1e12 == pytest.approx(y.sum(), rel=1e-9)


def test_shuffle_follows_the_seed_and_differs_between_epochs():
    orders = []
    state = fastnn.training.random_state(5)
    for _ in range(3):
        order = np.arange(50)
        reference.shuffle(order, state)
        assert sorted(order) == list(range(50))
        orders.append(tuple(order))
    assert len(set(orders)) == 3
    again = np.arange(50)
    reference.shuffle(again, fastnn.training.random_state(5))
    assert tuple(again) == orders[0]


def test_shuffle_is_fair():
    # Each of the 4! orders about equally often: chi-squared with 23 degrees of freedom.
    state, counts, n = fastnn.training.random_state(0), {}, 12_000
    for _ in range(n):
        order = np.arange(4)
        reference.shuffle(order, state)
        counts[tuple(order)] = counts.get(tuple(order), 0) + 1
    assert len(counts) == 24
    chi_squared = sum((c - n / 24) ** 2 / (n / 24) for c in counts.values())
    assert chi_squared < 49.7  # exceeded with probability 0.001


# ------------------------------------------------------------------ the same bits


@pytest.mark.parametrize("device", DEVICES)
def test_equal_calls_give_equal_bits(device):
    X, y = moons()
    bits = set()
    for progress in (False, lambda epoch, history: None):
        for _ in range(2):
            net = network(device)
            history = net.fit(
                X, y, epochs=6, batch_size=20, optimizer=fastnn.Adam(), progress=progress
            )
            bits.add((net.parameters.tobytes(), tuple(history.cost)))
    assert len(bits) == 1


def test_bits_do_not_depend_on_how_the_steps_are_cut():
    X, y = moons()
    bits = set()
    for step in (1, 3, 7, 1000):
        net = network()

        def trainer(*told, step=step):
            advance = cpu_backend.trainer(*told)

            def in_pieces(steps):
                for begin in range(0, steps, step):
                    advance(min(step, steps - begin))

            return in_pieces

        fit(net, X, y, epochs=5, batch_size=32, optimizer=fastnn.Adam(), trainer=trainer)
        bits.add(net.parameters.tobytes())
    assert len(bits) == 1


def test_concurrent_fits_give_the_bits_of_fits_alone():
    X, y = moons(500)
    alone = network()
    alone.fit(X, y, epochs=30, batch_size=16)
    nets = [network() for _ in range(4)]
    threads = [threading.Thread(target=net.fit, args=(X, y, 30, 16)) for net in nets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {net.parameters.tobytes() for net in nets} == {alone.parameters.tobytes()}


# ------------------------------------------------------------------ validation and stopping


def test_patience_restores_the_best_parameters():
    X, y = moons(60)
    X_new, y_new = fastnn.datasets.moons(60, noise=0.4, seed=9)
    net = fastnn.Network([2, 64, 64, 1], "relu", "binary_cross_entropy", seed=1)
    seen = []

    def watch(epoch, history):
        seen.append(net.parameters.copy())

    history = net.fit(
        X, y, epochs=400, batch_size=10, optimizer=fastnn.Adam(0.02),
        validation=(X_new, y_new), patience=7, progress=watch,
    )  # fmt: skip
    assert history.stopped == "patience"
    assert len(history.cost) == len(history.validation_cost) == len(history.seconds)
    assert history.best_epoch == int(np.argmin(history.validation_cost))
    assert len(history.cost) == history.best_epoch + 8
    np.testing.assert_array_equal(net.parameters, seen[history.best_epoch])
    assert net.cost(X_new, y_new) == history.validation_cost[history.best_epoch]


def test_patience_restores_the_best_even_when_epochs_run_out():
    X, y = moons(60)
    net = network()
    history = net.fit(X, y, epochs=6, optimizer=fastnn.SGD(40.0), validation=(X, y), patience=50)
    assert history.stopped == "epochs"
    assert net.cost(X, y) == min(history.validation_cost)


def test_without_patience_the_last_parameters_stay():
    X, y = moons(60)
    watched, plain = network(), network()
    history = watched.fit(X, y, epochs=9, batch_size=7, validation=(X[:, :20], y[:20]))
    plain.fit(X, y, epochs=9, batch_size=7)
    np.testing.assert_array_equal(watched.parameters, plain.parameters)
    assert history.stopped == "epochs" and len(history.validation_cost) == 9


def test_validation_cost_has_no_penalty_and_takes_weights():
    X, y = moons(60)
    weights = np.arange(1.0, 61)
    net = network()
    history = net.fit(X, y, epochs=1, l2=10.0, validation=(X, y, weights))
    assert history.validation_cost == [net.cost(X, y, weights)]


@pytest.mark.compiled
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="not an x86 processor")
def test_denormal_numbers_are_zeros_in_training_alone():
    # A gradient of 1e-39 is a denormal float32: the weight that it would change stays.
    X, Y = np.full((1, 4), 1e-39, np.float32), np.ones((1, 4), np.float32)
    net = fastnn.Network([1, 1], ["identity"], dtype=np.float32, device="cpu")
    rule = fastnn.SGD(1.0)
    net.fit(X, Y, epochs=1, optimizer=rule)
    assert net.W[0] == 0 and net.b[0] == 1
    # The processor's state is as it was before.
    tiny = np.full(8, np.finfo(np.float32).tiny, np.float32)
    assert (tiny / 2 > 0).all() and (tiny / 2 * 2 == tiny).all()


# ------------------------------------------------------------------ Ctrl-C


@pytest.mark.parametrize("at", [1, 4, 11, 12, 13, 29])
@pytest.mark.parametrize("patience", [None, 100])
def test_an_interrupted_fit_keeps_the_last_whole_epoch(at, patience):
    X, y = moons(60)  # 6 steps an epoch
    validation = (X, y) if patience else None
    net, expected = network(), network()
    taken = 0

    def trainer(*told):
        advance = cpu_backend.trainer(*told)

        def interrupted(steps):
            nonlocal taken
            for _ in range(steps):
                if taken == at:
                    raise KeyboardInterrupt
                advance(1)
                taken += 1

        return interrupted

    history = fit(
        net,
        X,
        y,
        epochs=5,
        batch_size=10,
        trainer=trainer,
        validation=validation,
        patience=patience,
    )
    whole = at // 6
    assert history.stopped == "interrupted"
    assert len(history.cost) == len(history.seconds) == whole
    assert len(history.validation_cost) == (whole if patience else 0)
    if whole:
        told = fit(expected, X, y, epochs=whole, batch_size=10, validation=validation)
        assert history.cost == told.cost
    if not patience or whole == 0 or np.argmin(history.validation_cost) == whole - 1:
        np.testing.assert_array_equal(net.parameters, expected.parameters)
    # The network is still of use.
    assert fit(net, X, y, epochs=1).stopped == "epochs"


@pytest.fixture
def interrupts():
    """Python's own handler of Ctrl-C: a process that was started in the background has none."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts")
def test_a_real_interrupt_ends_a_long_fit_soon():
    X, y = moons(2000)
    net = network()
    net.fit(X, y, epochs=1, batch_size=10)
    timer = threading.Timer(0.4, _thread.interrupt_main)
    timer.start()
    begin = time.perf_counter()
    history = net.fit(X, y, epochs=10**7, batch_size=10)
    assert time.perf_counter() - begin < 5
    assert history.stopped == "interrupted"
    assert len(history.cost) == len(history.seconds) > 0
    assert np.isfinite(net.parameters).all()


# ------------------------------------------------------------------ progress and arguments


def test_a_callable_is_told_of_every_epoch():
    X, y = moons(60)
    told = []
    network().fit(X, y, epochs=7, batch_size=8, progress=lambda e, h: told.append((e, len(h.cost))))
    assert told == [(i, i) for i in range(1, 8)]


def test_progress_shows_a_bar(capsys):
    pytest.importorskip("tqdm")
    X, y = moons(60)
    network().fit(X, y, epochs=3, progress=True, validation=(X, y))
    shown = capsys.readouterr().err
    assert "3/3" in shown and "validation" in shown


def test_progress_without_tqdm_prints_lines(capsys, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    X, y = moons(60)
    network().fit(X, y, epochs=3, progress=True)
    assert "epoch 3 of 3: cost " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("told", "error", "sentence"),
    [
        (dict(epochs=0), ValueError, "epochs must be at least 1, got 0"),
        (dict(epochs=1.5), TypeError, "epochs must be a whole number, got float"),
        (dict(batch_size=0), ValueError, "batch_size must be at least 1, got 0"),
        (
            dict(optimizer="adam"),
            TypeError,
            "optimizer must be SGD, RMSprop, Adam or AdamW, got 'adam'",
        ),
        (dict(l1=-1), ValueError, r"l1 must lie in \[0, inf\), got -1"),
        (dict(l2=float("nan")), ValueError, r"l2 must lie in \[0, inf\), got nan"),
        (dict(patience=3), ValueError, r"patience needs validation=\(X, Y\)"),
        (dict(patience=0, validation=1), ValueError, "patience must be at least 1, got 0"),
        (dict(validation=1), TypeError, r"validation must be \(X, Y\)"),
        (
            dict(validation=(np.ones((3, 4), np.float32), [0] * 4)),
            ValueError,
            "validation: X has 3 rows",
        ),
        (dict(threads=0), ValueError, "threads must be at least 1, got 0"),
        (dict(seed=-1), ValueError, "seed must be at least 0, got -1"),
        (dict(sample_weight=np.zeros(60)), ValueError, "sample_weight is zero for every example"),
        (
            dict(sample_weight=np.ones(59)),
            ValueError,
            r"sample_weight has shape \(59,\), but X has 60",
        ),
        (dict(sample_weight=-np.ones(60)), ValueError, "finite values of at least 0"),
    ],
)
def test_wrong_arguments_change_nothing(told, error, sentence):
    X, y = moons(60)
    net = network()
    before = net.parameters.copy(), X.copy(), y.copy()
    with pytest.raises(error, match=sentence):
        net.fit(X, y, **{"epochs": 1, **told})
    for now, then in zip((net.parameters, X, y), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_the_data_stays_as_it_was():
    X, y = moons(60)
    weights = np.arange(1.0, 61)
    X.flags.writeable = y.flags.writeable = weights.flags.writeable = False
    network().fit(X, y, epochs=2, batch_size=7, sample_weight=weights, validation=(X, y))


def test_a_trainer_in_another_type_is_only_for_comparison():
    X, y = moons(60)
    net, exact = network(), network("numpy")
    fit(net, X, y, epochs=3, trainer=partial(numpy_backend.trainer, dtype=np.float32))
    exact.fit(X, y, epochs=3)
    np.testing.assert_allclose(net.parameters, exact.parameters, atol=1e-5)


# ------------------------------------------------------------------ memory and compilation


@pytest.mark.compiled
@pytest.mark.parametrize("optimizer", [fastnn.SGD(0.1), fastnn.Adam()])
@pytest.mark.parametrize(("m", "batch"), [(3000, 32), (3000, 3000), (3000, 500)])
def test_no_memory_is_asked_for_after_the_first_step(monkeypatch, optimizer, m, batch):
    # The kernels themselves cannot allocate (tests/test_compiler.py); NumPy reports what it does.
    X, y = moons(m)
    peaks = []

    def trainer(*told):
        advance = cpu_backend.trainer(*told)
        advance(1)

        def watched(steps):
            tracemalloc.start()
            advance(steps)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()

        return watched

    net = fastnn.Network([2, 64, 64, 1], ["relu", "tanh", "sigmoid"])
    fit(net, X, y, epochs=4, batch_size=batch, optimizer=optimizer, trainer=trainer)
    # Less than the examples of one batch, of 32 even: the call itself, and signals for helpers.
    assert len(peaks) >= 1 and max(peaks) < 6000


@pytest.mark.compiled
def test_one_compiled_kernel_serves_costs_gradients_and_all_fits():
    X, y = moons(60)
    for optimizer in (fastnn.SGD(0.1, 0.9, True), fastnn.RMSprop(), fastnn.Adam(), fastnn.AdamW()):
        net = network()
        net.fit(X, y, 2, 20, optimizer, l1=1, l2=0.5, sample_weight=np.ones(60))
        net.fit(X.T.copy().T, y.astype(np.float32)[None], 2, shuffle=False, validation=(X, y))
        net.gradient(X[:, :1], y[:1], l1=1)
        net.cost(X, y)
    kinds = [signature[0].dtype.name for signature in training_kernel.train.signatures]
    assert sorted(kinds) == sorted(set(kinds))
