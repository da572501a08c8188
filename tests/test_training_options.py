"""Dropout, clipping, schedules, orders, going on: what a fit may be told beyond the notes."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import fastnn
from fastnn.backends import cpu
from fastnn.kernels import reference
from fastnn.kernels.codes import LOSSES
from fastnn.training import fit, kept_draws

DTYPES = [np.float32, np.float64]
SIZES = [5, 17, 9, 3]


def examples(loss="squared_error", m=130, dtype=np.float32, n_y=3):
    random = np.random.default_rng(0)
    X = random.normal(size=(5, m)).astype(dtype)
    Y = random.random((n_y, m)).astype(dtype)
    return X, Y / Y.sum(axis=0) if loss == "cross_entropy" else Y


def network(loss="squared_error", dtype=np.float32, device=None, sizes=SIZES, hidden="relu"):
    return fastnn.Network(sizes, hidden, loss, dtype, seed=3, delta=0.3, device=device)


# ------------------------------------------------------------------ the same on both devices

OPTIONS = {
    "dropout": dict(dropout=0.3),
    "clip_norm": dict(clip_norm=0.05),
    "schedule": dict(schedule=fastnn.WarmUp(1, fastnn.CosineDecay(2))),
    "all": dict(dropout=(0.1, 0.5), clip_norm=0.02, l2=0.01, schedule=fastnn.CosineDecay(3)),
}


@pytest.mark.compiled
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("batch_size", [1, 32, 130])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_compiled_training_equals_the_reference(options, batch_size, loss, dtype):
    X, Y = examples(loss, dtype=dtype)
    found = []
    for device in ("cpu", "numpy"):
        net = network(loss, dtype, device)
        history = net.fit(X, Y, 3, batch_size, fastnn.SGD(0.01, 0.5), **options)
        found.append((net.parameters, history.cost))
    # A few ULP per step, over up to 390 steps; the rates are small enough not to amplify them.
    tolerance = 2000 * np.finfo(dtype).eps
    (ours, cost), (theirs, expected) = found
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)
    np.testing.assert_allclose(cost, expected, rtol=tolerance)


@pytest.mark.compiled
@pytest.mark.parametrize("batch_size", [64, 1500, 6000])
def test_the_same_bits_for_any_number_of_threads(batch_size):
    X, Y = examples(m=6000)
    found = []
    for threads in (1, 2, 3):
        net = network(sizes=[5, 120, 90, 3])
        net.fit(X, Y, 2, batch_size, fastnn.Adam(0.01), dropout=0.4, clip_norm=0.1, threads=threads)
        found.append(net.parameters.tobytes())
    assert len(set(found)) == 1


# ------------------------------------------------------------------ dropout


def test_dropout_keeps_its_share_and_the_mean():
    keep = kept_draws((0.25, 0.9), ("relu", "relu", "identity"))
    masks = reference.dropout_masks([400, 300], keep, 0, 500, 7, 12345)
    for mask, kept in zip(masks, (0.75, 0.1), strict=True):
        assert set(np.unique(mask)) == {0.0, 2.0**32 / round(kept * 2**32)}
        # five standard deviations of a mean of that many draws
        assert abs(mask.mean() - 1) < 5 * np.sqrt((1 / kept - 1) / mask.size)


@pytest.mark.parametrize("axis", [0, 1])
def test_draws_of_units_examples_steps_and_seeds_are_independent(axis):
    keep = kept_draws(0.5, ("relu", "identity"))
    (mask,) = reference.dropout_masks([300], keep, 0, 300, 1, 1)
    others = [
        reference.dropout_masks([300], keep, 0, 300, 2, 1)[0],
        reference.dropout_masks([300], keep, 0, 300, 1, 2)[0],
        *(np.roll(mask, shift, axis) for shift in (1, 2, 7, 16, 64, 150)),
    ]
    for other in others:
        correlation = np.mean((mask - 1) * (other - 1))
        assert abs(correlation) < 5 / np.sqrt(mask.size)
    # No unit, and no example, is left out much more often than chance would.
    share = mask.mean(axis)
    assert abs(share - 1).max() < 6 / np.sqrt(300)


def test_draws_depend_on_the_place_in_the_epoch_not_on_the_batch():
    keep = kept_draws(0.5, ("relu", "identity"))
    (whole,) = reference.dropout_masks([20], keep, 0, 100, 1, 1)
    (part,) = reference.dropout_masks([20], keep, 40, 60, 1, 1)
    np.testing.assert_array_equal(part, whole[:, 40:60])


@pytest.mark.compiled
def test_dropout_leaves_costs_gradients_and_outputs_alone():
    X, Y = examples()
    net, plain = network(), network()
    net.fit(X, Y, 1, 32, fastnn.SGD(0.0), dropout=0.5)
    assert net.parameters.tobytes() == plain.parameters.tobytes()
    assert net.cost(X, Y) == plain.cost(X, Y)
    np.testing.assert_array_equal(net.forward(X), plain.forward(X))


@pytest.mark.compiled
def test_a_seed_draws_the_same_and_another_differently():
    X, Y = examples()
    found = []
    for seed in (0, 0, 1):
        net = network()
        net.fit(X, Y, 2, dropout=0.5, seed=seed)
        found.append(net.parameters.tobytes())
    assert found[0] == found[1] != found[2]


@pytest.mark.compiled
def test_an_infinite_output_that_is_dropped_is_zero():
    costs = []
    for seed in range(40):
        net = fastnn.Network([1, 50, 1], ["relu", "identity"], dtype=np.float64, seed=seed)
        net.parameters[:] = 0
        net.W[0][0] = np.inf
        net.W[1][...] = 1e-3
        costs += net.fit(np.ones((1, 1)), [[0.0]], 1, dropout=0.9).cost
    # That unit is kept in one draw of ten.
    assert 0 < np.isinf(costs).sum() < 20
    assert np.isfinite(costs).sum() + np.isinf(costs).sum() == 40


@pytest.mark.parametrize(
    ("dropout", "error", "words"),
    [
        (1.0, ValueError, ("dropout", "[0, 1)", "1")),
        (-0.1, ValueError, ("dropout", "[0, 1)")),
        ((0.1,), ValueError, ("dropout has 1", "2 hidden")),
        ((0.1, 1.5), ValueError, ("dropout[1]", "1.5")),
        ("0.1", TypeError, ("dropout", "number")),
    ],
)
def test_wrong_dropout_is_refused(dropout, error, words):
    X, Y = examples()
    net = network()
    before = net.parameters.copy()
    with pytest.raises(error) as caught:
        net.fit(X, Y, 1, dropout=dropout)
    assert all(word in str(caught.value) for word in words)
    np.testing.assert_array_equal(net.parameters, before)


def test_dropout_after_a_hidden_softmax_is_refused():
    X, Y = examples()
    net = fastnn.Network(SIZES, ["relu", "softmax", "identity"])
    with pytest.raises(ValueError, match="hidden layer 2 is softmax"):
        net.fit(X, Y, 1, dropout=0.1)
    net.fit(X, Y, 1, dropout=(0.1, 0.0))


def test_tiny_rates_still_drop_and_nearly_one_still_keeps():
    assert kept_draws(1e-12, ("relu", "relu")) == (2**32 - 1,)
    assert kept_draws(1 - 1e-12, ("relu", "relu")) == (1,)
    assert kept_draws(0.0, ("relu", "relu")) == ()
    assert kept_draws([0.5, 0.0], ("relu", "relu", "identity")) == (2**31, 0)


# ------------------------------------------------------------------ clipping


@pytest.mark.compiled
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", [SIZES, [5, 120, 90, 3]])
def test_a_step_has_the_length_that_the_gradient_is_clipped_to(sizes, dtype):
    X, Y = examples(dtype=dtype)
    net = network(dtype=dtype, sizes=sizes)
    _, gradient = net.gradient(X, Y, l2=0.1)
    before = net.parameters.astype(np.float64)
    net.fit(X, Y, 1, optimizer=fastnn.SGD(1.0), clip_norm=1e-3, l2=0.1)
    step = before - net.parameters
    # rounded to the parameters' own type, some 1e-7 of numbers up to 1
    assert np.linalg.norm(step) == pytest.approx(1e-3, rel=2e-3 if dtype == np.float32 else 1e-9)
    cosine = step @ gradient / np.linalg.norm(step) / np.linalg.norm(gradient)
    assert cosine == pytest.approx(1, abs=1e-5)


@pytest.mark.compiled
@pytest.mark.parametrize("batch_size", [32, None])
def test_a_gradient_that_is_short_enough_is_not_clipped(batch_size):
    X, Y = examples()
    found = []
    for clip_norm in (None, 1e6):
        net = network(dtype=np.float32)
        net.fit(X, Y, 2, batch_size, fastnn.Adam(0.01), clip_norm=clip_norm)
        found.append(net.parameters)
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=1e-6)


@pytest.mark.compiled
def test_a_gradient_of_nan_is_not_hidden_by_clipping():
    X, Y = examples()
    X[0, 0] = np.nan
    net = network()
    history = net.fit(X, Y, 1, clip_norm=0.1)
    assert np.isnan(history.cost[0])
    assert np.isnan(net.parameters).any()


@pytest.mark.parametrize("clip_norm", [0.0, -1.0, np.inf, np.nan])
def test_wrong_norms_are_refused(clip_norm):
    X, Y = examples()
    with pytest.raises(ValueError, match="clip_norm"):
        network().fit(X, Y, 1, clip_norm=clip_norm)


# ------------------------------------------------------------------ schedules


@pytest.mark.compiled
@pytest.mark.parametrize("device", ["cpu", "numpy"])
def test_a_schedule_is_asked_for_the_time_of_each_step(device):
    X, Y = examples()
    times = []

    def schedule(epoch):
        times.extend(epoch)
        return np.ones_like(epoch)

    network(device=device).fit(X, Y, 3, 50, schedule=schedule)
    expected = [epoch + start / 130 for epoch in range(3) for start in (0, 50, 100)]
    # Rates are worked out for more steps than are left.
    np.testing.assert_allclose(times[:9], expected)


@pytest.mark.compiled
def test_steps_follow_the_schedule():
    X, Y = examples(dtype=np.float64)
    scheduled, by_hand = network(dtype=np.float64), network(dtype=np.float64)
    scheduled.fit(X, Y, 3, optimizer=fastnn.SGD(0.5), schedule=lambda t: 1 / (1 + t))
    for epoch in range(3):
        _, gradient = by_hand.gradient(X, Y)
        by_hand.parameters -= 0.5 / (1 + epoch) * gradient
    np.testing.assert_allclose(scheduled.parameters, by_hand.parameters, rtol=0, atol=1e-14)


@pytest.mark.compiled
def test_more_steps_than_rates_are_worked_out_at_once():
    # 9,000 steps, where 4,096 rates are kept: the last ones move the parameters by themselves.
    X, Y = examples(m=9000)
    net, plain = network(), network()
    net.fit(
        X, Y, 1, 1, fastnn.SGD(0.01), shuffle=False, schedule=lambda t: np.where(t < 0.999, 0.0, 1)
    )
    plain.fit(X[:, 8991:], Y[:, 8991:], 1, 1, fastnn.SGD(0.01), shuffle=False)
    assert net.parameters.tobytes() == plain.parameters.tobytes()


def test_the_usual_schedules():
    t = np.array([0.0, 0.5, 1.0, 3.0])
    np.testing.assert_allclose(fastnn.StepDecay(1, 0.5)(t), [1, 1, 0.5, 0.125])
    np.testing.assert_allclose(fastnn.ExponentialDecay(0.25)(t), [1, 0.5, 0.25, 1 / 64])
    np.testing.assert_allclose(fastnn.InverseDecay(2.0)(t), [1, 1 / 2.25, 0.25, 1 / 16])
    np.testing.assert_allclose(
        fastnn.CosineDecay(2, final=0.2)(t), [1, 0.6 + 0.4 * np.sqrt(0.5), 0.6, 0.2]
    )
    np.testing.assert_allclose(fastnn.WarmUp(1, start=0.5)(t), [0.5, 0.75, 1, 1])
    then = fastnn.WarmUp(1, fastnn.StepDecay(2, 0.1), start=0.0)
    np.testing.assert_allclose(then(t), [0, 0.5, 1, 0.1])


def test_a_plateau_lowers_the_rate():
    plateau = fastnn.ReduceOnPlateau(0.5, patience=1, min_delta=0.1)
    costs = [1.0, 0.95, 0.93, 0.5, 0.5, 0.5, 0.5, np.nan]
    # 0.95 and 0.93 are no fall of more than 0.1.
    assert plateau.factors(costs) == [1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]


@pytest.mark.compiled
@pytest.mark.parametrize("watched", [False, True])
def test_a_plateau_is_of_the_validation_cost_where_there_is_one(watched):
    X, Y = examples()
    validation = (X, np.full_like(Y, 0.5)) if watched else None
    plateau = fastnn.ReduceOnPlateau(0.1, patience=0, min_delta=1e9)
    net, once = network(), network()
    # The first cost is a fall from infinity; after the second the rate is a tenth.
    net.fit(X, Y, 3, optimizer=fastnn.SGD(0.5), schedule=plateau, validation=validation)
    once.fit(X, Y, 3, optimizer=fastnn.SGD(0.5), schedule=lambda t: np.where(t >= 2, 0.1, 1))
    np.testing.assert_allclose(net.parameters, once.parameters, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("schedule", "error", "words"),
    [
        (0.1, TypeError, "schedule must be a function"),
        (lambda t: -np.ones_like(t), ValueError, "at least 0"),
        (lambda t: np.full_like(t, np.nan), ValueError, "finite"),
        (lambda t: np.ones(3), ValueError, "shape"),
    ],
)
def test_wrong_schedules_are_refused(schedule, error, words):
    X, Y = examples()
    net = network()
    before = net.parameters.copy()
    with pytest.raises(error, match=words):
        net.fit(X, Y, 2, 50, schedule=schedule)
    np.testing.assert_array_equal(net.parameters, before)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: fastnn.StepDecay(0), ValueError),
        (lambda: fastnn.StepDecay(1, 0.0), ValueError),
        (lambda: fastnn.StepDecay(1, 1.1), ValueError),
        (lambda: fastnn.ExponentialDecay(0), ValueError),
        (lambda: fastnn.InverseDecay(-1), ValueError),
        (lambda: fastnn.CosineDecay(0), ValueError),
        (lambda: fastnn.CosineDecay(1, 2), ValueError),
        (lambda: fastnn.WarmUp(0), ValueError),
        (lambda: fastnn.WarmUp(1, start=-1), ValueError),
        (lambda: fastnn.WarmUp(1, then=0.5), TypeError),
        (lambda: fastnn.WarmUp(1, then=fastnn.ReduceOnPlateau()), TypeError),
        (lambda: fastnn.ReduceOnPlateau(1.0), ValueError),
        (lambda: fastnn.ReduceOnPlateau(patience=-1), ValueError),
        (lambda: fastnn.ReduceOnPlateau(min_delta=-1), ValueError),
    ],
)
def test_wrong_numbers_of_schedules_are_refused(make, error):
    with pytest.raises(error):
        make()


# ------------------------------------------------------------------ orders


@pytest.mark.compiled
@pytest.mark.parametrize("device", ["cpu", "numpy"])
def test_the_caller_may_order_the_examples(device):
    X, Y = examples()
    orders = np.random.default_rng(1).permuted(np.tile(np.arange(130), (2, 1)), axis=1)
    net, by_hand = network(device=device), network(device=device)
    net.fit(X, Y, 2, 50, fastnn.SGD(0.1), shuffle=lambda epoch: orders[epoch])
    for order in orders:
        by_hand.fit(X[:, order], Y[:, order], 1, 50, fastnn.SGD(0.1), shuffle=False)
    np.testing.assert_allclose(net.parameters, by_hand.parameters, rtol=0, atol=1e-6)


@pytest.mark.compiled
def test_an_order_may_draw_an_example_twice():
    X, Y = examples()
    order = np.random.default_rng(1).integers(0, 130, 130)
    net, by_hand = network(dtype=np.float32), network(dtype=np.float32)
    net.fit(X, Y, 1, shuffle=lambda epoch: order)
    by_hand.fit(X[:, order], Y[:, order], 1)
    np.testing.assert_allclose(net.parameters, by_hand.parameters, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "order", [np.arange(129), np.arange(130.0), np.arange(1, 131), np.arange(-1, 129), None]
)
def test_wrong_orders_are_refused(order):
    X, Y = examples()
    with pytest.raises(ValueError, match="shuffle must return"):
        network().fit(X, Y, 1, shuffle=lambda epoch: order)


# ------------------------------------------------------------------ going on, and stopping


@pytest.mark.compiled
@pytest.mark.parametrize(
    "optimizer", [fastnn.SGD(0.1, 0.9), fastnn.Adam(0.01), fastnn.RMSprop(0.01)], ids=repr
)
def test_two_fits_that_go_on_equal_one(optimizer):
    X, Y = examples()
    told = dict(batch_size=50, optimizer=optimizer, dropout=0.2, schedule=fastnn.InverseDecay())
    once, twice = network(), network()
    whole = once.fit(X, Y, 5, **told)
    first = twice.fit(X, Y, 2, **told)
    second = twice.fit(X, Y, 3, after=first, **told)
    assert once.parameters.tobytes() == twice.parameters.tobytes()
    assert first.cost + second.cost == whole.cost
    assert (first.first_epoch, second.first_epoch) == (0, 2)


@pytest.mark.compiled
def test_the_history_that_is_gone_on_from_stays_as_it_was():
    X, Y = examples()
    net = network()
    first = net.fit(X, Y, 2, 50, fastnn.Adam(0.01))
    kept = copy.deepcopy(first._momentum)
    start = net.parameters.copy()
    net.fit(X, Y, 2, 50, fastnn.Adam(0.01), after=first)
    again = network()
    again.parameters = start
    again.fit(X, Y, 2, 50, fastnn.Adam(0.01), after=pickle.loads(pickle.dumps(first)))
    assert again.parameters.tobytes() == net.parameters.tobytes()
    for before, now in zip(kept, first._momentum, strict=True):
        np.testing.assert_array_equal(before, now)


def test_going_on_from_something_else_is_refused():
    X, Y = examples()
    with pytest.raises(TypeError, match="after must be the History"):
        network().fit(X, Y, 1, after=3)
    with pytest.raises(ValueError, match="nothing to go on from"):
        network().fit(X, Y, 1, after=fastnn.History())
    other = network(sizes=[5, 4, 3]).fit(X, Y, 1)
    with pytest.raises(ValueError, match="39 parameters of float32; this one has 294"):
        network().fit(X, Y, 1, after=other)


@pytest.mark.compiled
def test_progress_may_end_training():
    X, Y = examples()
    history = network().fit(X, Y, 9, 50, progress=lambda epoch, history: epoch == 3)
    assert len(history.cost) == 3
    assert history.stopped == "progress"
    # Only True itself does: a callable may return what it likes.
    assert len(network().fit(X, Y, 4, progress=lambda epoch, history: epoch).cost) == 4


@pytest.mark.compiled
def test_patience_waits_for_a_fall_of_min_delta():
    X, Y = examples()
    told = dict(optimizer=fastnn.SGD(1e-3), validation=(X, Y), patience=3)
    history = network().fit(X, Y, 50, **told)
    assert history.stopped == "epochs"  # it falls a little in each epoch
    history = network().fit(X, Y, 50, min_delta=1.0, **told)
    assert history.stopped == "patience"
    assert len(history.cost) == 4
    assert history.best_epoch == 3  # the best is the best, however little it fell


# ------------------------------------------------------------------ losses


@pytest.mark.compiled
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("output", ["identity", "tanh", "softmax", "softplus", "exp"])
@pytest.mark.parametrize("loss", ["absolute_error", "huber"])
def test_errors_behind_any_output(loss, output, dtype):
    X, Y = examples(dtype=dtype)
    net = fastnn.Network(SIZES, ["tanh", "relu", output], loss, dtype, seed=3, delta=0.2)
    told = (net.parameters, net.sizes, net.activations, loss, X, Y)
    J, gradient = net.gradient(X, Y)
    exact_J, exact = reference.network_gradient(*told, delta=0.2)
    scale = np.abs(exact).max()
    np.testing.assert_allclose(J, exact_J, rtol=20 * np.finfo(dtype).eps)
    np.testing.assert_allclose(gradient, exact, rtol=0, atol=50 * np.finfo(dtype).eps * scale)
    assert net.cost(X, Y) == pytest.approx(exact_J, rel=20 * float(np.finfo(dtype).eps))


def test_a_huber_network_says_its_delta():
    net = fastnn.Network([2, 1], loss="huber", delta=0.5)
    assert "loss='huber', delta=0.5" in repr(net)
    assert net.delta == 0.5
    assert "delta" not in repr(fastnn.Network([2, 1], loss="squared_error"))


def test_huber_with_a_wide_delta_is_the_squared_error_and_a_narrow_one_the_absolute():
    X, Y = examples(dtype=np.float64)
    costs = {
        (loss, delta): fastnn.Network(SIZES, "relu", loss, float, seed=3, delta=delta).cost(X, Y)
        for loss in ("squared_error", "absolute_error", "huber")
        for delta in (1e-6, 1e6)
    }
    assert costs["huber", 1e6] == pytest.approx(costs["squared_error", 1e6], rel=1e-12)
    assert costs["huber", 1e-6] == pytest.approx(1e-6 * costs["absolute_error", 1e-6], rel=1e-5)


def test_poisson_needs_exp_and_counts():
    assert fastnn.Network([2, 1], loss="poisson").activations == ("exp",)
    assert fastnn.Network([2, 1], ["exp"]).loss == "poisson"
    with pytest.raises(ValueError, match="'poisson' needs the output activation 'exp'"):
        fastnn.Network([2, 1], ["relu"], "poisson")
    net = fastnn.Network([2, 1], loss="poisson")
    for wrong in (-1.0, np.inf):
        with pytest.raises(ValueError, match="at least 0 for poisson"):
            net.cost(np.ones((2, 2), np.float32), [1.0, wrong])
    # The mean count minimises it; there the cost is 0 if all counts are alike.
    net.parameters[:] = 0
    assert net.cost(np.ones((2, 2), np.float32), [1, 1]) == 0
    assert net.cost(np.ones((2, 2), np.float32), [0, 0]) == 1


@pytest.mark.parametrize("delta", [0, -1, np.inf])
def test_wrong_deltas_are_refused(delta):
    with pytest.raises(ValueError, match="delta"):
        fastnn.Network([2, 1], loss="huber", delta=delta)


# ------------------------------------------------------------------ found in review


@pytest.mark.compiled
@pytest.mark.parametrize("size", [1e10, 1e15])
def test_gradients_whose_squares_leave_float32_are_clipped(size):
    found = []
    for device in ("cpu", "numpy"):
        net = fastnn.Network([1, 1], ["identity"], seed=1, device=device)
        X = np.full((1, 8), size, np.float32)
        net.fit(X, X, 1, optimizer=fastnn.SGD(1.0), clip_norm=1.0)
        found.append(net.parameters)
    np.testing.assert_allclose(*found, rtol=1e-5)
    assert abs(found[0]).max() <= 1.001


@pytest.mark.compiled
def test_moments_of_another_optimizer_are_refused():
    X, Y = examples()
    net = network()
    history = net.fit(X, Y, 2, optimizer=fastnn.Adam())
    assert history.leads_to(fastnn.Adam(0.1)) and not history.leads_to(fastnn.SGD(0.1))
    with pytest.raises(ValueError, match="by adam, whose moments are not those of sgd"):
        net.fit(X, Y, 1, optimizer=fastnn.SGD(0.1), after=history)


@pytest.mark.compiled
def test_orders_of_the_caller_end_with_the_fit():
    X, Y = examples()
    net = network()
    first = net.fit(X, Y, 1, 10, shuffle=lambda epoch: np.zeros(130, int))
    second = net.fit(X, Y, 2, 10, after=first)
    assert sorted(second._momentum.order) == list(range(130))


@pytest.mark.compiled
@pytest.mark.parametrize("steps_taken", [6, 7])
def test_ctrl_c_within_an_epoch_leaves_no_moments(steps_taken):
    X, Y = examples()
    net = network()

    def trainer(*told):
        advance, taken = cpu.trainer(*told), 0

        def one_step(_):
            nonlocal taken
            if taken == steps_taken:
                raise KeyboardInterrupt
            advance(1)
            taken += 1

        return one_step

    rule = fastnn.Adam()
    history = fit(net, X, Y, epochs=5, batch_size=50, optimizer=rule, trainer=trainer)
    assert (history.stopped, len(history.cost)) == ("interrupted", 2)
    # After six steps two epochs are whole, and the moments belong to their parameters.
    assert history.leads_to(rule) == (steps_taken == 6)
    if steps_taken == 6:
        net.fit(X, Y, 1, 50, rule, after=history)
    else:
        with pytest.raises(ValueError, match="interrupted within an epoch"):
            net.fit(X, Y, 1, 50, rule, after=history)


@pytest.mark.compiled
def test_numpys_true_ends_training_too():
    X, Y = examples()
    assert len(network().fit(X, Y, 9, progress=lambda *_: np.True_).cost) == 1


@pytest.mark.compiled
def test_dropout_may_be_an_array():
    X, Y = examples()
    found = []
    for dropout in ([0.1, 0.2], np.array([0.1, 0.2])):
        net = network()
        net.fit(X, Y, 1, dropout=dropout)
        found.append(net.parameters.tobytes())
    assert found[0] == found[1]
