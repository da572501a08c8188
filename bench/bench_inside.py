"""Networks inside compiled code: 100 examples, one after another, in one ``@njit`` loop.

NumPy's side is a Python loop of what one would write for one example. A product with n_out n_in
weights makes 2 n_out n_in operations: one of them for the output, two for the output and
v^T dA/dx, and a third for v^T dA/dtheta, which is added to a gradient. The bytes are those of the
parameters, and of the gradient read and written: a network that is small enough stays in the L1
cache meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
import pytest

import fastnn
import numpy_lines as lines
from conftest import ENTRANTS
from fastnn import inside

COUNT = 100

NETWORKS = [
    ([2, 16, 16, 2], "tanh"),
    ([32, 64, 64, 1], "relu"),
    ([32, 64, 64, 1], "tanh"),
    ([128, 256, 256, 10], "relu"),
]


@numba.njit
def _forward(parameters, layout, rows, out, work):
    for i in range(rows.shape[0]):
        inside.forward(parameters, layout, rows[i], out[i], work)


@numba.njit
def _frozen(f, rows, out):
    for i in range(rows.shape[0]):
        f(rows[i], out[i])


@numba.njit
def _vjp(parameters, layout, rows, out, v, dx, gradient, work):
    gradient[:] = 0
    for i in range(rows.shape[0]):
        inside.linearize(parameters, layout, rows[i], out[i], work)
        inside.vjp(parameters, layout, v, dx[i], gradient, work)


@numba.njit
def _vjp_of_input(parameters, layout, rows, out, v, dx, work):
    for i in range(rows.shape[0]):
        inside.linearize(parameters, layout, rows[i], out[i], work)
        inside.vjp(parameters, layout, v, dx[i], None, work)


@numba.njit
def _jacobian(parameters, layout, rows, out, J, work):
    for i in range(rows.shape[0]):
        inside.linearize(parameters, layout, rows[i], out[i], work)
        inside.jacobian(parameters, layout, J[i], work)


class Setting(NamedTuple):
    net: fastnn.Network
    told: tuple[np.ndarray, np.ndarray]
    rows: np.ndarray
    out: np.ndarray
    v: np.ndarray
    work: np.ndarray
    W: list[np.ndarray]
    b: list[np.ndarray]
    operations: float
    bytes: float
    name: str


def _setting(network: tuple[list[int], str], dtype: Any) -> Setting:
    sizes, hidden = network
    net = fastnn.Network(sizes, hidden, "squared_error", dtype)
    random = np.random.default_rng(0)
    weights = sum(W.size for W in net.W)
    return Setting(
        net,
        (inside.parameters(net), inside.layout(net)),
        random.normal(size=(COUNT, sizes[0])).astype(dtype),
        np.empty((COUNT, sizes[-1]), dtype),
        random.normal(size=sizes[-1]).astype(dtype),
        inside.work(net),
        net.W,
        [b.ravel() for b in net.b],
        2.0 * weights * COUNT,
        float(net.parameters.nbytes * COUNT),
        f"{'-'.join(map(str, sizes))} {hidden}",
    )


def _lines(s: Setting, x: np.ndarray) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """Return the output, each layer's input and each hidden layer's Z."""
    inputs, Zs = [], []
    for l, (W, b) in enumerate(zip(s.W, s.b, strict=True)):
        inputs.append(x)
        x = W @ x + b
        if l < len(s.W) - 1:
            Zs.append(x)
            x = lines.FORWARD[s.net.activations[l]](x)
    return x, inputs, Zs


def _lines_forward(s: Setting) -> np.ndarray:
    return np.stack([_lines(s, x)[0] for x in s.rows])


def _lines_back(s: Setting, v: np.ndarray, Zs: list[np.ndarray]) -> tuple[np.ndarray, list]:
    """Return v^T dA/dx, and each layer's d."""
    D: list[np.ndarray] = [v]
    for l in range(len(s.W) - 1, 0, -1):
        D.insert(0, (D[0] @ s.W[l]) * lines.DERIVATIVE[s.net.activations[l - 1]](Zs[l - 1]))
    return D[0] @ s.W[0], D


def _lines_vjp(s: Setting, with_gradient: bool) -> tuple[np.ndarray, ...]:
    dx, gradients = (
        [],
        [(np.zeros_like(W), np.zeros_like(b)) for W, b in zip(s.W, s.b, strict=True)],
    )
    for x in s.rows:
        _, inputs, Zs = _lines(s, x)
        found, D = _lines_back(s, s.v, Zs)
        dx.append(found)
        if with_gradient:
            for (dW, db), d, a in zip(gradients, D, inputs, strict=True):
                dW += np.outer(d, a)
                db += d
    if not with_gradient:
        return (np.stack(dx),)
    return np.stack(dx), np.concatenate([part.ravel() for pair in gradients for part in pair])


def _lines_jacobian(s: Setting) -> np.ndarray:
    unit = np.eye(s.v.size, dtype=s.v.dtype)
    return np.stack([_lines_back(s, unit, _lines(s, x)[2])[0] for x in s.rows])


every_entrant = pytest.mark.parametrize("entrant", ENTRANTS)
every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda d: d.__name__)
every_network = pytest.mark.parametrize(
    "network", NETWORKS, ids=lambda n: "-".join(map(str, n[0])) + n[1]
)


@every_entrant
@every_dtype
@every_network
def bench_forward(race: Callable, network: Any, dtype: Any, entrant: str) -> None:
    s = _setting(network, dtype)
    race(
        "inside.forward, 100 calls",
        s.name,
        dtype,
        entrant,
        numpy=lambda: _lines_forward(s),
        fastnn=lambda: (_forward(*s.told, s.rows, s.out, s.work), s.out)[1],
        operations=s.operations,
        traffic=s.bytes,
    )


@every_entrant
@every_dtype
@every_network
def bench_frozen(race: Callable, network: Any, dtype: Any, entrant: str) -> None:
    s = _setting(network, dtype)
    f = s.net.njit()
    race(
        "Network.njit, 100 calls",
        s.name,
        dtype,
        entrant,
        numpy=lambda: _lines_forward(s),
        fastnn=lambda: (_frozen(f, s.rows, s.out), s.out)[1],
        operations=s.operations,
        traffic=s.bytes,
    )


@every_entrant
@every_dtype
@every_network
def bench_vjp(race: Callable, network: Any, dtype: Any, entrant: str) -> None:
    s = _setting(network, dtype)
    dx, gradient = np.empty_like(s.rows), inside.gradient(s.net)
    told = (*s.told, s.rows, s.out, s.v, dx, gradient, s.work)
    race(
        "inside.linearize and vjp, 100 calls",
        s.name,
        dtype,
        entrant,
        numpy=lambda: _lines_vjp(s, True),
        fastnn=lambda: (_vjp(*told), (dx, gradient))[1],
        operations=3 * s.operations,
        traffic=4 * s.bytes,
    )


@every_entrant
@every_dtype
@every_network
def bench_vjp_of_input(race: Callable, network: Any, dtype: Any, entrant: str) -> None:
    s = _setting(network, dtype)
    dx = np.empty_like(s.rows)
    told = (*s.told, s.rows, s.out, s.v, dx, s.work)
    race(
        "inside.linearize and vjp by x, 100 calls",
        s.name,
        dtype,
        entrant,
        numpy=lambda: _lines_vjp(s, False),
        fastnn=lambda: (_vjp_of_input(*told), (dx,))[1],
        operations=2 * s.operations,
        traffic=2 * s.bytes,
    )


@every_entrant
@every_dtype
@every_network
def bench_jacobian(race: Callable, network: Any, dtype: Any, entrant: str) -> None:
    s = _setting(network, dtype)
    J = np.empty((COUNT, s.v.size, s.rows.shape[1]), dtype)
    told = (*s.told, s.rows, s.out, J, s.work)
    race(
        "inside.linearize and jacobian, 100 calls",
        s.name,
        dtype,
        entrant,
        numpy=lambda: _lines_jacobian(s),
        fastnn=lambda: (_jacobian(*told), J)[1],
        operations=(1 + s.v.size) * s.operations,
    )
