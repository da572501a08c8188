"""How parameters follow the gradient: by the compiled update, by the reference, and by hand."""

from __future__ import annotations

import dataclasses
import math
import pickle

import numpy as np
import pytest
from tolerance import assert_as_reference

import fastnn
from fastnn import SGD, Adam, AdamW, RMSprop
from fastnn.kernels import reference
from fastnn.kernels.codes import OPTIMIZERS

FLOATS = (np.float32, np.float64)
DEVICES = ("cpu", "numpy")
SIZES, ACTIVATIONS = [5, 17, 3], ["tanh", "softmax"]

RULES = {
    "SGD": SGD(0.3),
    "momentum": SGD(0.1, momentum=0.9),
    "Nesterov": SGD(0.1, momentum=0.9, nesterov=True),
    "RMSprop": RMSprop(0.01),
    "RMSprop, other numbers": RMSprop(0.02, decay=0.5, epsilon=1e-3),
    "Adam": Adam(0.02),
    "Adam, other numbers": Adam(0.01, beta1=0.5, beta2=0.9, epsilon=1e-2),
    "AdamW": AdamW(0.02, weight_decay=0.1),
    "AdamW, no decay": AdamW(0.02, weight_decay=0.0),
}
every_rule = pytest.mark.parametrize("optimizer", RULES.values(), ids=RULES)
both_types = pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.__name__)
both_devices = pytest.mark.parametrize("device", DEVICES)


def problem(dtype, m=40):
    random = np.random.default_rng(0)
    X = random.standard_normal((SIZES[0], m)).astype(dtype)
    return X, np.eye(SIZES[-1], dtype=dtype)[:, random.integers(0, SIZES[-1], m)]


def network(dtype, device="cpu", seed=2):
    return fastnn.Network(SIZES, ACTIVATIONS, "cross_entropy", dtype, seed, device=device)


def is_weight(net):
    mask = np.zeros(net.parameters.size)
    for W in reference.layers(mask, net.sizes)[0]:
        W[...] = 1
    return mask


def steps_of_reference(net, start, X, Y, optimizer, l1, l2, steps):
    """Return the function of a type: the parameters after so many steps of the reference."""
    rule = optimizer.rule(l1, l2)

    def compute(kind):
        parameters = start.astype(kind)
        state, mask = np.zeros((2, start.size), kind), is_weight(net)
        for step in range(1, steps + 1):
            _, gradient = reference.network_gradient(
                parameters, net.sizes, net.activations, net.loss, X, Y, None, l1, l2, dtype=kind
            )
            reference.optimizer_step(
                parameters, gradient, state, step, OPTIMIZERS[rule.kind], rule, mask
            )
        return parameters

    return compute


# ------------------------------------------------------------------ compiled and reference


@pytest.mark.parametrize("steps", [1, 2, 9])
@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.0), (0.01, 0.0), (0.0, 0.1), (0.02, 0.05)])
@both_types
@every_rule
def test_full_batches_follow_the_reference(optimizer, dtype, l1, l2, steps):
    X, Y = problem(dtype)
    net = network(dtype)
    start = net.parameters.copy()
    history = net.fit(X, Y, epochs=steps, optimizer=optimizer, l1=l1, l2=l2)
    assert len(history.cost) == steps
    expected = steps_of_reference(net, start, X, Y, optimizer, l1, l2, steps)
    assert_as_reference(net.parameters, expected, np.abs(start).max())
    assert np.abs(net.parameters - start).max() > 1e-3


@every_rule
def test_devices_agree(optimizer):
    X, Y = problem(np.float64)
    found = {}
    for device in DEVICES:
        net = network(np.float64, device)
        history = net.fit(X, Y, epochs=12, optimizer=optimizer, l1=0.01, l2=0.02)
        found[device] = np.append(net.parameters, history.cost)
    np.testing.assert_allclose(found["cpu"], found["numpy"], rtol=1e-11, atol=1e-12)


@both_devices
@every_rule
def test_the_cost_of_an_epoch_is_that_before_its_step(optimizer, device):
    X, Y = problem(np.float64)
    net = network(np.float64, device)
    for _ in range(3):
        before = net.cost(X, Y, l1=0.01, l2=0.02)
        history = net.fit(X, Y, epochs=1, optimizer=optimizer, l1=0.01, l2=0.02)
        assert history.cost == [pytest.approx(before, rel=1e-13)]


@both_devices
@every_rule
def test_every_fit_starts_its_moments_from_zero(optimizer, device):
    X, Y = problem(np.float64)
    one, other = network(np.float64, device), network(np.float64, device)
    one.fit(X, Y, epochs=3, optimizer=optimizer)
    # The same object, used before by another network and in another type.
    network(np.float32, device).fit(*problem(np.float32), epochs=5, optimizer=optimizer)
    other.fit(X, Y, epochs=3, optimizer=optimizer)
    assert one.parameters.tobytes() == other.parameters.tobytes()
    # Three fits of an epoch are not a fit of three, where there are moments.
    parts = network(np.float64, device)
    for _ in range(3):
        parts.fit(X, Y, epochs=1, optimizer=optimizer)
    memory = not isinstance(optimizer, SGD) or optimizer.momentum > 0
    assert (parts.parameters.tobytes() != one.parameters.tobytes()) == memory


@both_devices
def test_sgd_is_gradient_step(device):
    X, Y = problem(np.float64)
    net = network(np.float64, device)
    _, gradient = net.gradient(X, Y)
    expected = net.parameters.copy()
    fastnn.functional.gradient_step(expected, gradient, 0.3, device=device)
    net.fit(X, Y, epochs=1, optimizer=SGD(0.3))
    np.testing.assert_allclose(net.parameters, expected, rtol=1e-15, atol=1e-16)


@both_devices
def test_sgd_of_a_tenth_is_the_default(device):
    X, Y = problem(np.float64)
    one, other = network(np.float64, device), network(np.float64, device)
    one.fit(X, Y, epochs=2)
    other.fit(X, Y, epochs=2, optimizer=SGD(0.1))
    assert one.parameters.tobytes() == other.parameters.tobytes()


# ------------------------------------------------------------------ by hand


def line(device, dtype=np.float64, start=(0.0, 0.0)):
    """Return a network of one weight and one bias: a = w x + b."""
    net = fastnn.Network([1, 1], ["identity"], dtype=dtype, device=device)
    net.parameters = np.array(start, dtype)
    return net


# At w = b = 0: dZ = -1, -1; dW = -(1 + 2) / 2; db = -1
X2, Y2 = np.array([[1.0, 2.0]]), np.array([[1.0, 1.0]])
G_W, G_B = -1.5, -1.0


@both_devices
@pytest.mark.parametrize(
    ("optimizer", "w", "b"),
    [
        (SGD(0.1), 0.15, 0.1),
        (SGD(0.1, momentum=0.9), 0.15, 0.1),
        (SGD(0.1, momentum=0.5, nesterov=True), 0.1 * 1.5 * 1.5, 0.1 * 1.5),
        # s = 0.1 g^2: a move of g / (sqrt(0.1) |g|)
        (RMSprop(0.1, epsilon=0.0), 0.1 / math.sqrt(0.1), 0.1 / math.sqrt(0.1)),
        (
            RMSprop(0.1, epsilon=0.5),
            0.15 / (1.5 * math.sqrt(0.1) + 0.5),
            0.1 / (math.sqrt(0.1) + 0.5),
        ),
        (Adam(0.1, epsilon=0.0), 0.1, 0.1),
        (Adam(0.1, epsilon=0.5), 0.1 * 1.5 / 2, 0.1 / 1.5),
        (AdamW(0.1, epsilon=0.0, weight_decay=0.5), 0.1, 0.1),
    ],
    ids=str,
)
def test_first_step_by_hand(optimizer, w, b, device):
    net = line(device)
    np.testing.assert_array_equal(net.gradient(X2, Y2)[1], [G_W, G_B])
    net.fit(X2, Y2, epochs=1, optimizer=optimizer)
    np.testing.assert_allclose(net.parameters, [w, b], rtol=1e-14)


def gradient_of_line(w, b):
    d = [w + b - 1, 2 * w + b - 1]
    return (d[0] + 2 * d[1]) / 2, (d[0] + d[1]) / 2


@both_devices
@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_by_hand(nesterov, device):
    w, b, v_w, v_b = 0.0, 0.0, 0.0, 0.0
    for _ in range(5):
        g_w, g_b = gradient_of_line(w, b)
        v_w, v_b = 0.9 * v_w + g_w, 0.9 * v_b + g_b
        w -= 0.1 * (g_w + 0.9 * v_w if nesterov else v_w)
        b -= 0.1 * (g_b + 0.9 * v_b if nesterov else v_b)
    net = line(device)
    net.fit(X2, Y2, epochs=5, optimizer=SGD(0.1, momentum=0.9, nesterov=nesterov))
    np.testing.assert_allclose(net.parameters, [w, b], rtol=1e-13)


@both_devices
@pytest.mark.parametrize("kind", ["RMSprop", "Adam", "AdamW"])
def test_adaptive_steps_by_hand(kind, device):
    theta, v, s = [0.5, -0.25], [0.0, 0.0], [0.0, 0.0]
    for t in range(1, 7):
        g = gradient_of_line(*theta)
        for i in range(2):
            if kind == "AdamW" and i == 0:
                theta[i] *= 1 - 0.1 * 0.3
            if kind == "RMSprop":
                s[i] = 0.8 * s[i] + 0.2 * g[i] ** 2
                theta[i] -= 0.1 * g[i] / (math.sqrt(s[i]) + 1e-3)
            else:
                v[i] = 0.7 * v[i] + 0.3 * g[i]
                s[i] = 0.8 * s[i] + 0.2 * g[i] ** 2
                up, down = v[i] / (1 - 0.7**t), math.sqrt(s[i] / (1 - 0.8**t)) + 1e-3
                theta[i] -= 0.1 * up / down
    optimizer = {
        "RMSprop": RMSprop(0.1, decay=0.8, epsilon=1e-3),
        "Adam": Adam(0.1, beta1=0.7, beta2=0.8, epsilon=1e-3),
        "AdamW": AdamW(0.1, beta1=0.7, beta2=0.8, epsilon=1e-3, weight_decay=0.3),
    }[kind]
    net = line(device, start=(0.5, -0.25))
    net.fit(X2, Y2, epochs=6, optimizer=optimizer)
    np.testing.assert_allclose(net.parameters, theta, rtol=1e-12)


# ------------------------------------------------------------------ penalties and decay

# x = 0 and y = b: both derivatives are exactly zero, and only what is asked for on top moves.
X0 = np.zeros((1, 4))


def still(device, dtype=np.float64, w=2.0, b=3.0):
    net = line(device, dtype, (w, b))
    return net, X0.astype(dtype), np.full((1, 4), b, dtype)


@both_devices
@both_types
@every_rule
def test_without_a_gradient_nothing_moves_but_decaying_weights(optimizer, dtype, device):
    net, X, Y = still(device, dtype)
    net.fit(X, Y, epochs=3, optimizer=optimizer)
    decay = getattr(optimizer, "weight_decay", 0.0)
    keep = 1 - optimizer.learning_rate * decay
    np.testing.assert_allclose(net.parameters[0], 2 * keep**3, rtol=4 * np.finfo(dtype).eps)
    assert (net.parameters[0] == 2) == (decay == 0)
    assert net.parameters[1] == 3


@both_devices
@both_types
@every_rule
def test_penalties_move_weights_and_never_biases(optimizer, dtype, device):
    for l1, l2 in ((0.1, 0.0), (0.0, 0.1), (0.1, 0.1)):
        for w in (2.0, -2.0):
            net, X, Y = still(device, dtype, w)
            net.fit(X, Y, epochs=3, optimizer=optimizer, l1=l1, l2=l2)
            assert abs(net.parameters[0]) < 2
            assert np.sign(net.parameters[0]) == np.sign(w)
            assert net.parameters[1] == 3


@both_devices
def test_penalties_by_hand(device):
    net, X, Y = still(device, w=-2.0)
    assert net.cost(X, Y, l1=0.1, l2=0.3) == pytest.approx(0.1 * 2 + 0.3 / 2 * 4, rel=1e-15)
    _, gradient = net.gradient(X, Y, l1=0.1, l2=0.3)
    np.testing.assert_allclose(gradient, [-0.1 - 0.3 * 2, 0], rtol=1e-15)
    net.fit(X, Y, epochs=1, optimizer=SGD(0.5), l1=0.1, l2=0.3)
    np.testing.assert_allclose(net.parameters, [-2 + 0.5 * 0.7, 3], rtol=1e-15)
    # At a weight of zero, |w| has no slope.
    net, X, Y = still(device, w=0.0)
    net.fit(X, Y, epochs=1, optimizer=SGD(0.5), l1=0.1)
    np.testing.assert_array_equal(net.parameters, [0, 3])


@both_devices
def test_biases_of_all_layers_are_free_of_penalties_and_decay(device):
    X, Y = problem(np.float64)
    for others in ({"l1": 0.1}, {"l2": 0.1}, {}):
        with_both = network(np.float64, device)
        optimizer = SGD(0.1) if others else AdamW(0.1, weight_decay=0.5)
        plain = SGD(0.1) if others else AdamW(0.1, weight_decay=0.0)
        with_both.fit(X, Y, epochs=1, optimizer=optimizer, **others)
        without = network(np.float64, device)
        without.fit(X, Y, epochs=1, optimizer=plain)
        mask = is_weight(without).astype(bool)
        np.testing.assert_array_equal(with_both.parameters[~mask], without.parameters[~mask])
        # Weights drawn at random are nowhere zero: each one feels it.
        assert (with_both.parameters[mask] != without.parameters[mask]).all()


@both_devices
def test_decoupled_decay_is_not_an_l2_penalty(device):
    X, Y = problem(np.float64)
    one, other = network(np.float64, device), network(np.float64, device)
    one.fit(X, Y, epochs=5, optimizer=AdamW(0.05, weight_decay=0.1))
    other.fit(X, Y, epochs=5, optimizer=Adam(0.05), l2=0.1)
    assert np.abs(one.parameters - other.parameters).max() > 1e-3
    plain, none = network(np.float64, device), network(np.float64, device)
    plain.fit(X, Y, epochs=5, optimizer=Adam(0.05))
    none.fit(X, Y, epochs=5, optimizer=AdamW(0.05, weight_decay=0.0))
    assert plain.parameters.tobytes() == none.parameters.tobytes()


# ------------------------------------------------------------------ the numbers


def test_a_learning_rate_of_zero_moves_nothing():
    X, Y = problem(np.float32)
    for optimizer in (SGD(0), SGD(0, 0.9), RMSprop(0), Adam(0), AdamW(0)):
        net = network(np.float32)
        before = net.parameters.tobytes()
        net.fit(X, Y, epochs=2, optimizer=optimizer)
        assert net.parameters.tobytes() == before


def test_defaults_and_whole_numbers():
    assert dataclasses.asdict(SGD(1)) == {"learning_rate": 1, "momentum": 0.0, "nesterov": False}
    assert dataclasses.astuple(RMSprop()) == (0.001, 0.9, 1e-8)
    assert dataclasses.astuple(Adam()) == (0.001, 0.9, 0.999, 1e-8)
    assert dataclasses.astuple(AdamW()) == (0.001, 0.9, 0.999, 1e-8, 0.01)
    assert SGD(np.float32(0.5), np.int64(0)).rule(0, 0).learning_rate == 0.5
    with pytest.raises(TypeError):
        SGD()


@every_rule
def test_an_optimizer_is_a_value(optimizer):
    assert isinstance(optimizer, fastnn.Optimizer)
    assert eval(repr(optimizer)) == optimizer
    assert pickle.loads(pickle.dumps(optimizer)) == optimizer
    with pytest.raises(dataclasses.FrozenInstanceError):
        optimizer.learning_rate = 1.0


def test_the_base_class_is_not_an_optimizer():
    with pytest.raises(TypeError, match="abstract"):
        fastnn.Optimizer()


RANGES = {
    "learning_rate": (SGD, RMSprop, Adam, AdamW),
    "momentum": (SGD,),
    "decay": (RMSprop,),
    "beta1": (Adam, AdamW),
    "beta2": (Adam, AdamW),
    "epsilon": (RMSprop, Adam, AdamW),
    "weight_decay": (AdamW,),
}
BELOW_ONE = ("momentum", "decay", "beta1", "beta2")


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, -math.inf, 1.0, 1.5])
@pytest.mark.parametrize("name", RANGES)
def test_numbers_out_of_range(name, value):
    for kind in RANGES[name]:
        arguments = {"learning_rate": 0.1, name: value}
        if value >= 1 and math.isfinite(value) and name not in BELOW_ONE:
            assert getattr(kind(**arguments), name) == value
            continue
        with pytest.raises(ValueError, match=f"{name} must lie in") as caught:
            kind(**arguments)
        assert f"{value:g}" in str(caught.value)
        assert ("1)" if name in BELOW_ONE else "inf)") in str(caught.value)


@pytest.mark.parametrize("value", ["0.1", None, 1j, [0.1], np.ones(2), True, {}])
@pytest.mark.parametrize("name", RANGES)
def test_what_is_not_a_number(name, value):
    for kind in RANGES[name]:
        with pytest.raises(TypeError, match=f"{name} must be a number") as caught:
            kind(**{"learning_rate": 0.1, name: value})
        assert type(value).__name__ in str(caught.value)


def test_a_number_beyond_all_floats():
    with pytest.raises(ValueError, match="learning_rate"):
        SGD(10**400)


@pytest.mark.parametrize("value", ["no", None, 0.5, [True]])
def test_nesterov_is_yes_or_no(value):
    with pytest.raises(TypeError, match="nesterov"):
        SGD(0.1, momentum=0.9, nesterov=value)


def test_nesterov_needs_momentum():
    for momentum in (0, 0.0, -0.0, np.float32(0)):
        with pytest.raises(ValueError, match="nesterov needs momentum above 0"):
            SGD(0.1, momentum, nesterov=True)
    assert SGD(0.1, 1e-9, nesterov=np.True_).rule(0, 0).nesterov
    assert not SGD(0.1, nesterov=False).rule(0, 0).nesterov


@pytest.mark.parametrize("wrong", [Adam, "adam", 0.1, {"learning_rate": 0.1}, lambda: None])
def test_fit_takes_optimizers_only(wrong):
    X, Y = problem(np.float32)
    net = network(np.float32)
    before = net.parameters.tobytes()
    with pytest.raises(TypeError, match="optimizer must be SGD, RMSprop, Adam or AdamW"):
        net.fit(X, Y, epochs=1, optimizer=wrong)
    assert net.parameters.tobytes() == before
