"""``python -m fastnn check``: every kernel of the device against the reference.

Unless a device is asked for by name, the CPU and each GPU that is there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import cuda_driver
from .. import functional as F
from ..device import computing, selected, use_device
from ..kernels import reference as R
from ..kernels.codes import ACTIVATIONS, LOSSES, OPTIMIZERS
from ..network import Network
from ..optimizers import SGD, Adam, AdamW, Optimizer, RMSprop
from ..preprocessing import one_hot
from ..training import new_progress

Array = NDArray[Any]

# Layers, (n_in, n_out, m): one by one, primes, around the vector and the tile, beyond a block.
_SHAPES = [
    (1, 1, 1),
    (3, 2, 5),
    (7, 13, 17),
    (16, 6, 64),
    (17, 7, 65),
    (64, 64, 32),
    (101, 37, 53),
    (300, 5, 33),
    (5, 300, 129),
    (257, 19, 513),
    (2, 3, 1100),
]
# What the GPU's simulator, which is Python, can do: across its tiles, which are small as well.
_FEW_SHAPES = [(1, 1, 1), (3, 2, 5), (7, 13, 17)]
# Values a side of the arrays for activations.
_SIDES, _FEW_SIDES = (61, 67), (5, 7)

# A kernel passes when its worst error is at most twice that of the plain formula, computed by
# NumPy in the same type, plus a few ULP for the functions that NumPy computes in another way.
_FACTOR, _MARGIN = 2.0, 4.0


@dataclass
class Row:
    """The worst errors of one kernel, in ULP, over its cases."""

    cases: int = 0
    ours: float = 0.0
    plain: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether the kernel errs no more than the plain formula, and a margin."""
        return self.ours <= _FACTOR * self.plain + _MARGIN

    def note(self, ours: Array, plain: Array, exact: Array, size: Array, dtype: Any) -> None:
        """Take one case in; ``size`` is the magnitude of what was summed, at least abs(exact)."""
        with np.errstate(invalid="ignore", over="ignore"):
            ulp = np.spacing(np.maximum(np.abs(exact), size).astype(dtype)).astype(np.float64)
            self.cases += 1
            self.ours = max(self.ours, _worst(ours, exact, ulp))
            self.plain = max(self.plain, _worst(plain, exact, ulp))


def _worst(found: Array, exact: Array, ulp: Array) -> float:
    if np.shape(found) != np.shape(exact):
        return float("inf")
    error = np.abs(np.asarray(found) - exact) / ulp
    return float(np.max(np.where(np.isnan(error), np.inf, error)))


def check(dtypes: Sequence[str]) -> int:
    """Print the table of errors of each device; return the exit code."""
    failed = 0
    for name in computing():
        with use_device(name):
            failed += _check_one(name, dtypes)
    print(f"\n{'all kernels pass' if not failed else f'{failed} kernels FAILED'}")
    return 1 if failed else 0


def _check_one(device: str, dtypes: Sequence[str]) -> int:
    """Print the table of a device, the one in use; return how many kernels failed."""
    print(f"device {device}: worst error over all cases, in units in the last place (ULP)")
    limit = f"{_FACTOR:g} x NumPy + {_MARGIN:g}"
    print(f"of the result or, for sums, of what was summed. Limit: {limit}.\n")
    print(f"{'kernel':34s} {'type':8s} {'cases':>6s} {'fastnn':>8s} {'NumPy':>8s}")
    few = device.startswith("cuda") and cuda_driver.simulated()
    failed = 0
    for dtype in dtypes:
        for name, row in rows(np.dtype(dtype), few=few).items():
            failed += not row.passed
            print(
                f"{name:34s} {dtype:8s} {row.cases:6d} {row.ours:8.2f} {row.plain:8.2f}"
                f"{'' if row.passed else '   FAILED'}"
            )
    print()
    return failed


def rows(dtype: np.dtype[Any], *, few: bool = False) -> dict[str, Row]:
    """Return the row of each kernel, over fewer and smaller cases where it is to be ``few``."""
    table: dict[str, Row] = {}
    real = dtype.type
    for name, ours, plain, exact, size in _cases(dtype, few):
        table.setdefault(name, Row()).note(ours, plain, exact, size, real)
    return table


Case = tuple[str, Array, Array, Array, Array]


def _compare(
    name: str,
    ours: Array,
    formula: Callable[..., Any],
    arguments: tuple[Any, ...],
    size: Any = 0.0,
) -> Case:
    """Return a case: what we found, the formula in the same type, and in the next wider one.

    Where the machine has nothing wider than float64, float64 is held against itself.
    """
    wider = np.float64 if ours.dtype == np.float32 else np.longdouble
    plain = formula(*arguments, dtype=ours.dtype.type)
    return name, ours, plain, np.asarray(formula(*arguments, dtype=wider)), np.asarray(size)


def _cases(dtype: np.dtype[Any], few: bool) -> Iterator[Case]:
    random = np.random.default_rng(0)

    def normal(*shape: int, scale: float = 1.0, order: str = "C") -> Array:
        values = (scale * random.normal(size=shape)).astype(dtype)
        return np.asfortranarray(values) if order == "F" else values

    yield from _elementwise(dtype, normal, _FEW_SIDES if few else _SIDES)
    for n_in, n_out, m in _FEW_SHAPES if few else _SHAPES:
        for order in "CF":
            A_prev, W = normal(n_in, m, order=order), normal(n_out, n_in)
            b, dZ = normal(n_out, 1), normal(n_out, m, order=order)
            size = np.abs(W) @ np.abs(A_prev) + np.abs(b)
            Z = F.linear_forward(A_prev, W, b)
            yield _compare("linear_forward", Z, R.linear_forward, (A_prev, W, b), size)
            _, Z = F.layer_forward(A_prev, W, b, "relu")
            yield _compare("layer_forward", Z, R.linear_forward, (A_prev, W, b), size)
            ours = F.weight_gradient(dZ, A_prev)
            size = np.abs(dZ) @ np.abs(A_prev).T / m
            yield _compare("weight_gradient", ours, R.weight_gradient, (dZ, A_prev), size)
            size = np.abs(dZ).mean(axis=1, keepdims=True)
            yield _compare("bias_gradient", F.bias_gradient(dZ), R.bias_gradient, (dZ,), size)
            hidden = normal(n_in, m, order=order)
            size = np.abs(W).T @ np.abs(dZ)
            ours = F.hidden_gradient(W, dZ, hidden, "relu")
            yield _compare(
                "hidden_gradient", ours, R.hidden_gradient, (W, dZ, hidden, "relu"), size
            )
            ours = F.linear_backward(dZ, A_prev, W)[0]
            formula = _first(R.linear_backward)
            yield _compare("linear_backward", ours, formula, (dZ, A_prev, W), size)
            Y = normal(n_out, m, order=order)
            yield _compare("output_gradient", F.output_gradient(dZ, Y), R.output_gradient, (dZ, Y))
            yield from _costs(dZ, random)
    yield from _steps(normal)
    yield from _networks(dtype, random, 20 if few else 130)


def _first(formula: Callable[..., Any]) -> Callable[..., Any]:
    def run(*arguments: Any, **options: Any) -> Any:
        return formula(*arguments, **options)[0]

    return run


def _elementwise(
    dtype: np.dtype[Any], normal: Callable[..., Array], sides: tuple[int, int]
) -> Iterator[Case]:
    deep = 80.0 if dtype == np.float32 else 600.0
    inputs = [
        normal(*sides),
        normal(*sides, scale=10.0),
        np.linspace(-deep, deep, sides[0] * sides[1]).astype(dtype).reshape(sides),
        normal(*sides, scale=1e-4),
    ]
    for activation in ACTIVATIONS:
        for Z in (stored for values in inputs for stored in (values, np.asfortranarray(values))):
            told = (Z, activation)
            # The standard library's erfc is denormal, and so inexact, where z P(z) is not yet.
            size = 256.0 * np.finfo(dtype).tiny if activation == "gelu" else 0.0
            ours = F.activation_forward(*told)
            yield _compare(
                f"activation_forward {activation}", ours, R.activation_forward, told, size
            )
            size = _terms(activation, Z.astype(np.float64))
            ours = F.activation_derivative(*told)
            name = f"activation_derivative {activation}"
            yield _compare(name, ours, R.activation_derivative, told, size)
            dA = normal(*sides)
            wide = np.abs(dA) * (np.abs(R.activation_derivative(*told)) + size)
            if activation == "softmax":
                A = R.softmax(Z)
                wide = A * (np.abs(dA) + (np.abs(dA) * A).sum(axis=0))
            ours = F.activation_backward(dA, *told)
            name = f"activation_backward {activation}"
            yield _compare(name, ours, R.activation_backward, (dA, *told), wide)


def _terms(activation: str, Z: Array) -> Any:
    """Return the size of a derivative's terms, where they may cancel."""
    match activation:
        case "gelu":
            return np.abs(Z) * np.exp(-Z * Z / 2)
        case "silu":
            return np.abs(Z) * R.activation_derivative(Z, "sigmoid")
        case "softmax":
            return R.softmax(Z)
    return 0.0


def _costs(Z: Array, random: np.random.Generator) -> Iterator[Case]:
    A = R.sigmoid(Z).astype(Z.dtype)
    Y = (random.random(Z.shape) < 0.5).astype(Z.dtype)
    for loss in LOSSES:
        ours = np.asarray(F.cost(A, Y, loss), Z.dtype)
        yield _compare(f"cost {loss}", ours, R.cost, (A, Y, loss))


def _steps(normal: Callable[..., Array]) -> Iterator[Case]:
    w, g = normal(1001), normal(1001)

    def formula(w: Array, g: Array, *, dtype: Any = np.float64) -> Array:
        changed = w.astype(dtype)
        R.gradient_step(changed, g.astype(dtype), 0.25)
        return changed

    ours = w.copy()
    F.gradient_step(ours, g, 0.25)
    yield _compare("gradient_step", ours, formula, (w, g), np.abs(w))


def _networks(dtype: np.dtype[Any], random: np.random.Generator, m: int) -> Iterator[Case]:
    """Yield whole networks: output, gradient, and the parameters after two epochs.

    ``m`` examples; where they are few, one network in seven, which still has every activation.
    """
    rules: list[Optimizer] = [SGD(0.1), SGD(0.1, 0.9), SGD(0.1, 0.9, True)]
    rules += [RMSprop(0.01), Adam(0.01), AdamW(0.01)]
    # What exp makes of an error has no bound, except where Poisson's loss holds it.
    tame = [name for name in ACTIVATIONS if name != "exp"]
    outputs = [("sigmoid", "binary_cross_entropy"), ("softmax", "cross_entropy")]
    outputs += [("exp", "poisson"), ("identity", "absolute_error"), ("tanh", "huber")]
    outputs += [(name, "squared_error") for name in tame]
    for i, hidden in enumerate(tame):
        for j, (output, loss) in enumerate(outputs):
            if m < 100 and (i + j) % 7:
                continue
            net = Network([5, 7, 4, 3], [hidden, "tanh", output], loss, dtype, seed=i + j)
            X = random.normal(size=(5, m)).astype(dtype)
            labels = random.integers(0, 3, m)
            Y = one_hot(labels, 3, dtype=dtype)
            weights = random.random(m) + 0.5
            weights = (weights / weights.mean()).astype(dtype)
            told = (net.sizes, net.activations, X)
            start = net.parameters.copy()
            top = float(np.abs(R.network_forward(start, *told)).max())
            yield _compare(
                "network_forward", net.forward(X), R.network_forward, (start, *told), top
            )
            yield from _inside(net, X[:, 0].copy(), Y[:, 1].copy(), top)
            J, gradient = net.gradient(X, Y, weights, l1=1e-3, l2=1e-2)
            about = (start, net.sizes, net.activations, loss, X, Y, weights, 1e-3, 1e-2)
            top = float(np.abs(R.network_gradient(*about)[1]).max())
            formula = _second(R.network_gradient)
            yield _compare("network_gradient", gradient, formula, about, top)
            ours = np.asarray(J, dtype)
            yield _compare("network_gradient, J", ours, _first(R.network_gradient), about)
            ours = np.asarray(net.cost(X, Y, weights, l1=1e-3, l2=1e-2), dtype)
            yield _compare("network_cost", ours, R.network_cost, about)
            rule = rules[(i + j) % len(rules)]
            yield _training(net, X, Y, rule, start)


def _inside(net: Network, x: Array, v: Array, top: float) -> Iterator[Case]:
    """Yield what compiled code would call, for one example."""
    if selected() != "cpu":
        return
    from .. import inside

    told = net.parameters, net.sizes, net.activations, x
    layout, work = inside.layout(net), inside.work(net)
    dx, gradient, J = np.empty_like(x), inside.gradient(net), np.empty((v.size, x.size), x.dtype)
    out = np.empty_like(v)
    inside.linearize(net.parameters, layout, x, out, work)

    def output(parameters: Array, sizes: Any, names: Any, x: Array, *, dtype: Any) -> Array:
        return R.network_forward(parameters, sizes, names, x[:, None], dtype=dtype)[:, 0]

    yield _compare("inside.linearize", out, output, told, top)
    inside.forward(net.parameters, layout, x, out, work)
    yield _compare("inside.forward", out, output, told, top)
    inside.vjp(net.parameters, layout, v, dx, gradient, work)
    # The sums' terms may cancel: without signs, and with slopes of 1, they make this.
    size = functools.reduce(lambda product, W: np.abs(W) @ product, net.W, np.eye(x.size)).max()
    yield _compare("inside.vjp, x", dx, _first(R.vjp), (*told, v), size)
    largest = np.abs(R.vjp(*told, v)[1]).max() + size
    yield _compare("inside.vjp, parameters", gradient, _second(R.vjp), (*told, v), largest)
    inside.jvp(net.parameters, layout, x, out, work)
    yield _compare("inside.jvp", out, R.jvp, (*told, x), size)
    inside.jacobian(net.parameters, layout, J, work)
    yield _compare("inside.jacobian", J, R.jacobian, told, size)


def _second(formula: Callable[..., Any]) -> Callable[..., Any]:
    def run(*arguments: Any, **options: Any) -> Any:
        return formula(*arguments, **options)[1]

    return run


def _training(net: Network, X: Array, Y: Array, optimizer: Optimizer, start: Array) -> Case:
    epochs, batch, seed, l1, l2 = 2, 32, 3, 1e-3, 1e-2
    rule = optimizer.rule(l1, l2)

    def run(start: Array, *, dtype: Any) -> Array:
        parameters = start.astype(dtype)
        progress = new_progress(parameters, X.shape[1], epochs, shuffled=True, seed=seed)
        R.train(
            parameters,
            net.sizes,
            net.activations,
            net.loss,
            X,
            Y,
            None,
            batch,
            OPTIMIZERS[rule.kind],
            rule,
            progress,
            10**6,
            dtype=dtype,
        )
        return parameters

    net.fit(X, Y, epochs, batch, optimizer, l1=l1, l2=l2, seed=seed)
    size = float(np.abs(start).max())
    return _compare(f"train {type(optimizer).__name__}", net.parameters, run, (start,), size)
