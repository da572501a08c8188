"""What docs/coming_from_pytorch.md says of PyTorch, held against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from conversions import random_network

import fastnn
import fastnn.functional as F
from fastnn.convert import to_torch

torch = pytest.importorskip("torch", reason="the page compares with PyTorch")

pytestmark = pytest.mark.compiled

M = 24
random = np.random.default_rng(7)
X = random.normal(size=(5, M))
TARGETS = {
    "cross_entropy": random.integers(0, 3, M),
    "binary_cross_entropy": random.integers(0, 2, (3, M)),
    "squared_error": random.normal(size=(3, M)),
    "absolute_error": random.normal(size=(3, M)),
    "huber": random.normal(size=(3, M)) * 3,
    "poisson": random.integers(0, 5, (3, M)).astype(float),
}
OUTPUTS = {"cross_entropy": "softmax", "binary_cross_entropy": "sigmoid", "poisson": "exp"}
# Each loss of PyTorch's, and how many times it our J is, with three outputs.
LOSSES = {
    "cross_entropy": (torch.nn.CrossEntropyLoss(), 1.0),
    "binary_cross_entropy": (torch.nn.BCEWithLogitsLoss(), 3.0),
    "squared_error": (torch.nn.MSELoss(), 1.5),
    "absolute_error": (torch.nn.L1Loss(), 3.0),
    "huber": (torch.nn.HuberLoss(delta=1.0), 3.0),
    "poisson": (torch.nn.PoissonNLLLoss(), 3.0),
}


def network(loss="cross_entropy"):
    return random_network([5, 4, 3], ["tanh", OUTPUTS.get(loss, "identity")], np.float64, loss)


def module_of(net):
    return to_torch(net, logits=net.loss in OUTPUTS)


def their_loss(module, loss):
    """Return PyTorch's loss of the examples, times what makes it our J."""
    Y = TARGETS[loss]
    targets = torch.from_numpy(Y if Y.ndim == 1 else Y.T.astype(float))
    criterion, times = LOSSES[loss]
    return criterion(module(torch.from_numpy(X.T)), targets) * times


def gradient_of(module):
    return np.concatenate([each.grad.numpy().ravel() for each in module.parameters()])


def parameters_of(module):
    return np.concatenate([each.detach().numpy().ravel() for each in module.parameters()])


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_and_gradients(loss):
    net = network(loss)
    module = module_of(net)
    theirs = their_loss(module, loss)
    theirs.backward()
    J, gradient = net.gradient(X, TARGETS[loss])
    np.testing.assert_allclose(gradient, gradient_of(module), rtol=1e-10, atol=1e-14)
    Y = TARGETS[loss]
    # y log y - y, summed over the outputs, is what our Poisson loss has more.
    more = (Y * np.log(np.maximum(Y, 1)) - Y).sum(axis=0).mean() if loss == "poisson" else 0.0
    assert theirs.item() + more == pytest.approx(J, rel=1e-12)


def test_one_hot_columns_are_labels_too():
    Y = np.eye(3)[TARGETS["cross_entropy"]].T
    net = network()
    module = module_of(net)
    theirs = torch.nn.CrossEntropyLoss()(
        module(torch.from_numpy(X.T)), torch.from_numpy(Y.T.copy())
    )
    assert theirs.item() == pytest.approx(net.cost(X, Y), rel=1e-12)


OPTIMIZERS = {
    "sgd": (fastnn.SGD(0.1), lambda p: torch.optim.SGD(p, lr=0.1)),
    "momentum": (fastnn.SGD(0.1, 0.9), lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)),
    "nesterov": (
        fastnn.SGD(0.1, 0.9, nesterov=True),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    ),
    "adam": (fastnn.Adam(), torch.optim.Adam),
    "rmsprop": (fastnn.RMSprop(), lambda p: torch.optim.RMSprop(p, lr=0.001, alpha=0.9)),
}


def train(module, optimizer, steps=15):
    for _ in range(steps):
        optimizer.zero_grad()
        their_loss(module, "cross_entropy").backward()
        optimizer.step()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimisers_make_the_same_steps(name):
    ours, theirs = OPTIMIZERS[name]
    net = network()
    module = module_of(net)
    train(module, theirs(module.parameters()))
    start = net.parameters.copy()
    net.fit(X, TARGETS["cross_entropy"], epochs=15, optimizer=ours)
    np.testing.assert_allclose(net.parameters, parameters_of(module), rtol=1e-8, atol=1e-10)
    assert np.abs(net.parameters - start).max() > 1e-3


def groups(module, decay):
    """Return the parameters as PyTorch's optimisers take them, so that biases do not decay."""
    named = list(module.named_parameters())
    return [
        {"params": [p for name, p in named if "weight" in name], "weight_decay": decay},
        {"params": [p for name, p in named if "bias" in name], "weight_decay": 0.0},
    ]


@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("name", ["adamw", "l2"])
def test_weight_decay_leaves_the_biases(name, biases):
    net = network()
    module = module_of(net)
    parameters = module.parameters() if biases else groups(module, 0.3)
    if name == "adamw":
        train(module, torch.optim.AdamW(parameters, weight_decay=0.3))
        options = {"optimizer": fastnn.AdamW(weight_decay=0.3)}
    else:
        train(module, torch.optim.SGD(parameters, lr=0.1, weight_decay=0.3))
        options = {"optimizer": fastnn.SGD(0.1), "l2": 0.3}
    net.fit(X, TARGETS["cross_entropy"], epochs=15, **options)
    close = np.allclose(net.parameters, parameters_of(module), rtol=1e-8, atol=1e-10)
    assert close is not biases


def test_clipping():
    net = network()
    module = module_of(net)
    their_loss(module, "cross_entropy").backward()
    torch.nn.utils.clip_grad_norm_(module.parameters(), 0.01)
    torch.optim.SGD(module.parameters(), lr=0.1).step()
    net.fit(X, TARGETS["cross_entropy"], epochs=1, optimizer=fastnn.SGD(0.1), clip_norm=0.01)
    # PyTorch adds 1e-6 to the norm that it divides by.
    np.testing.assert_allclose(net.parameters, parameters_of(module), rtol=0, atol=1e-3 * 1e-4)


@pytest.mark.parametrize(("name", "slope"), [("relu", 0.0), ("leaky_relu", 0.01)])
def test_slopes_at_zero(name, slope):
    z = torch.zeros(1, requires_grad=True)
    getattr(torch.nn.functional, name)(z).sum().backward()
    assert z.grad.item() == pytest.approx(slope)
    assert F.activation_derivative(np.zeros((1, 1)), name).item() == 1


def test_defaults():
    linear = torch.nn.Linear(100, 50)
    assert linear.weight.dtype == torch.float32 and linear.weight.shape == (50, 100)
    for each in (linear.weight, linear.bias):
        assert 0.08 < each.abs().max().item() <= 0.1  # 1 / sqrt(100)
    net = fastnn.Network([100, 50, 1], loss="squared_error")
    assert net.dtype == np.float32 and not net.b[0].any()
    assert torch.optim.RMSprop([linear.weight]).defaults["alpha"] == 0.99
    assert fastnn.RMSprop().decay == 0.9
    adam, adamw = fastnn.Adam(), fastnn.AdamW()
    theirs = torch.optim.AdamW([linear.weight]).defaults
    assert (adamw.learning_rate, adamw.weight_decay) == (theirs["lr"], theirs["weight_decay"])
    assert (adam.beta1, adam.beta2, adam.epsilon) == (*theirs["betas"], theirs["eps"])


def test_dropout_counts_more_in_training_and_nothing_in_inference():
    ones = torch.ones(1000)
    kept = torch.nn.functional.dropout(ones, 0.2).unique()
    np.testing.assert_allclose(kept.numpy(), [0, 1.25])
    net = network()
    net.fit(X, TARGETS["cross_entropy"], epochs=1, dropout=0.2)
    assert (net.forward(X) == net.forward(X)).all()


def test_a_schedule_by_epochs_is_that_of_pytorch():
    net = network()
    module = module_of(net)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.5)
    for _ in range(10):
        train(module, optimizer, steps=1)
        schedule.step()
    options = {"optimizer": fastnn.SGD(0.1), "schedule": fastnn.StepDecay(3, 0.5)}
    net.fit(X, TARGETS["cross_entropy"], epochs=10, **options)
    np.testing.assert_allclose(net.parameters, parameters_of(module), rtol=1e-9)
