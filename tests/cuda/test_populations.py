"""Many networks at once on a simulated GPU: each has the bits that it has alone there."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs numba-cuda: tox -e cudasim")

import fastnn

pytestmark = pytest.mark.simulator

RANDOM = np.random.default_rng(5)
M = 23
X = RANDOM.standard_normal((3, M)).astype(np.float32)
Y = RANDOM.integers(0, 2, (1, M)).astype(np.float32)
W = RANDOM.uniform(0.5, 2, M)
ROWS = [np.arange(11), np.arange(22, 4, -1), RANDOM.integers(0, M, 30)]


def networks():
    """Return three networks of different sizes."""
    sizes = [3, 4, 1], [3, 1], [3, 2, 5, 1]
    found = []
    for i, size in enumerate(sizes):
        names = [*("tanh", "relu")[: len(size) - 2], "sigmoid"]
        found.append(fastnn.Network(size, names, seed=i))
        found[-1].parameters = found[-1].parameters + np.float32(0.1)
    return found


@pytest.fixture(autouse=True)
def on_cuda():
    """Compute on the simulated GPU."""
    with fastnn.use_device("cuda"):
        yield


OPTIONS = {
    "each its own": {
        "epochs": [3, 1, 2],
        "batch_size": [7, 5, 23],
        "optimizer": [fastnn.SGD(0.1), fastnn.Adam(0.01), fastnn.SGD(0.1, momentum=0.9)],
        "l2": [0.0, 0.1, 0.01],
        "seed": [7, 8, 9],
    },
    "the other optimizers": {
        "epochs": 2,
        "batch_size": 7,
        "optimizer": [fastnn.RMSprop(0.01), fastnn.AdamW(0.01), fastnn.SGD(0.1, 0.9, True)],
        "sample_weight": W,
        "validation": [np.arange(3), np.arange(9), np.arange(22, 15, -1)],
    },
    "rows": {"epochs": 3, "batch_size": 7, "rows": ROWS, "dropout": [0.0, 0.0, 0.3]},
    "weights": {"epochs": 2, "batch_size": 7, "sample_weight": W, "rows": ROWS},
    "clipped": {"epochs": 2, "batch_size": 7, "clip_norm": [0.01, None, 100.0], "l1": 0.01},
    "unshuffled": {"epochs": 3, "batch_size": 9, "shuffle": False},
    "whole batches": {"epochs": 4},
    "watched": {
        "epochs": 8,
        "batch_size": 7,
        "optimizer": fastnn.SGD(2.0),
        "rows": ROWS,
        "validation": [np.arange(12, 20), np.arange(5), np.arange(5)],
        "patience": [1, None, 2],
        "min_delta": 1e-3,
    },
}


def alone(net, options, i):
    """Return the history of a fit of one network, as many would have it."""
    told = {}
    for name, value in options.items():
        several = isinstance(value, list) and name != "sample_weight"
        told[name] = value[i] if several else value
    rows = told.pop("rows", np.arange(M))
    if "sample_weight" in told:
        told["sample_weight"] = told["sample_weight"][rows]
    if "validation" in told:
        beside = told["validation"]
        weights = (W[beside],) if "sample_weight" in told else ()
        told["validation"] = X[:, beside], Y[:, beside], *weights
    if "patience" in told and told["patience"] is None:
        told.pop("min_delta", None)
    return net.fit(X[:, rows], Y[:, rows], **told)


def same(ours, theirs, history, other):
    assert ours.parameters.tobytes() == theirs.parameters.tobytes()
    assert history.cost == other.cost
    assert history.validation_cost == other.validation_cost
    assert (history.best_epoch, history.stopped) == (other.best_epoch, other.stopped)
    assert history._momentum.steps == other._momentum.steps
    assert history._momentum.moments.tobytes() == other._momentum.moments.tobytes()
    assert np.array_equal(history._momentum.random, other._momentum.random)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_bits_of_networks_alone(options):
    many, single = networks(), networks()
    histories = fastnn.fit_many(many, X, Y, **options)
    for i, (ours, theirs) in enumerate(zip(many, single, strict=True)):
        same(ours, theirs, histories[i], alone(theirs, options, i))


def test_both_types_and_many_launches():
    # More networks than one launch takes in the simulator, and float64.
    def make():
        return fastnn.Network([3, 4, 2], loss="cross_entropy", dtype=np.float64).replicate(5)

    labels = (Y[0] > 0).astype(int)
    many, single = make(), make()
    rates = [0.1, 0.2, 0.3, 0.4, 0.5]
    optimizers = [fastnn.SGD(rate) for rate in rates]
    histories = fastnn.fit_many(many, X.astype(np.float64), labels, 4, 7, optimizers)
    for ours, theirs, rate, history in zip(many, single, rates, histories, strict=True):
        other = theirs.fit(X.astype(np.float64), labels, 4, 7, fastnn.SGD(rate))
        same(ours, theirs, history, other)


def test_held_out_examples_with_targets_and_weights_of_each_network():
    # One X for all, and what is held against it of each network's own.
    beside, targets, weights = X[:, :6], Y[:, :6], W[:6]
    watched = [
        (beside, targets),
        (beside, 1 - targets),
        (beside, targets, weights),
        (beside, targets, weights[::-1].copy()),
    ]
    many = fastnn.Network([3, 4, 1], ["tanh", "sigmoid"]).replicate(4, seeds=[1] * 4)
    single = fastnn.Network([3, 4, 1], ["tanh", "sigmoid"]).replicate(4, seeds=[1] * 4)
    histories = fastnn.fit_many(many, X, Y, 3, 7, validation=watched, patience=2)
    for ours, theirs, held_out, history in zip(many, single, watched, histories, strict=True):
        same(ours, theirs, history, theirs.fit(X, Y, 3, 7, validation=held_out, patience=2))
    assert len({tuple(history.validation_cost) for history in histories}) == 4


def test_fits_go_on():
    many, single = networks(), networks()
    first = fastnn.fit_many(many, X, Y, 2, 7, fastnn.Adam(0.01))
    second = fastnn.fit_many(many, X, Y, 2, 7, fastnn.Adam(0.01), after=first)
    for ours, theirs, history in zip(many, single, second, strict=True):
        theirs.fit(X, Y, 4, 7, fastnn.Adam(0.01))
        assert ours.parameters.tobytes() == theirs.parameters.tobytes()
        assert history.first_epoch == 2


def test_what_cannot_go_together_goes_alone():
    wide = fastnn.Network([3, 11, 1], ["tanh", "sigmoid"], seed=1)
    many, single = [*networks(), wide], [*networks(), wide.replicate(1, seeds=[1])[0]]
    single[-1].parameters = wide.parameters
    seen = []

    def progress(done, place, history):
        seen.append((done, place))

    schedule = [None, fastnn.schedules.ExponentialDecay(0.5), None, None]
    histories = fastnn.fit_many(many, X, Y, 2, 7, schedule=schedule, progress=progress)
    assert [done for done, _ in seen] == [1, 2, 3, 4]
    assert sorted(place for _, place in seen) == [0, 1, 2, 3]
    for ours, theirs, rates, history in zip(many, single, schedule, histories, strict=True):
        other = theirs.fit(X, Y, 2, 7, schedule=rates)
        same(ours, theirs, history, other)


def test_ctrl_c_leaves_whole_epochs(monkeypatch):
    populations = pytest.importorskip("fastnn.backends.cuda_populations")
    launch, calls = populations._Gang._launch, []

    def interrupted(self, *told):
        calls.append(told)
        if len(calls) == 3:
            raise KeyboardInterrupt
        launch(self, *told)

    monkeypatch.setattr(populations._Gang, "_launch", interrupted)
    many, single = networks(), networks()
    histories = fastnn.fit_many(many, X, Y, [50, 1, 60], 7)
    assert [history.stopped for history in histories] == ["interrupted", "epochs", "interrupted"]
    for ours, theirs, history in zip(many, single, histories, strict=True):
        theirs.fit(X, Y, len(history.cost), 7)
        assert ours.parameters.tobytes() == theirs.parameters.tobytes()


@pytest.mark.parametrize(
    ("place", "call", "watched"),
    [
        ("wait_for", 2, False),
        ("wait_for", 2, True),
        ("watch_many", 2, True),
        ("cumsum", 5, False),  # of the second network's costs
    ],
)
def test_ctrl_c_within_a_launch_and_while_it_is_noted(monkeypatch, place, call, watched):
    populations = pytest.importorskip("fastnn.backends.cuda_populations")
    owner = {"watch_many": populations.P, "wait_for": populations.driver, "cumsum": np}[place]
    do, calls = getattr(owner, place), []

    def interrupted(*told, **more):
        calls.append(told)
        if len(calls) == call:
            raise KeyboardInterrupt
        return do(*told, **more)

    told = {"validation": (X[:, :5], Y[:, :5])} if watched else {}
    many, single = networks(), networks()
    monkeypatch.setattr(owner, place, interrupted)
    histories = fastnn.fit_many(many, X, Y, [50, 60, 70], 7, fastnn.Adam(0.01), **told)
    monkeypatch.undo()
    assert {history.stopped for history in histories} == {"interrupted"}
    for ours, theirs, history in zip(many, single, histories, strict=True):
        other = theirs.fit(X, Y, len(history.cost), 7, fastnn.Adam(0.01), **told)
        other.stopped = "interrupted"
        same(ours, theirs, history, other)
