"""NumPy by hand, as one would write it who has no library: examples as rows.

It is also the reference: the same lines on float64 arrays.
"""

from __future__ import annotations

import numpy as np

from entrant import Entrant, Entry, blas_limit, missing, one_or_all
from workloads import BETA1, BETA2, EPSILON, Array, Data, Workload, flat


def _activate(Z: Array, name: str) -> Array:
    if name == "relu":
        return np.maximum(Z, 0, out=Z)
    if name == "tanh":
        return np.tanh(Z, out=Z)
    return 1 / (1 + np.exp(-Z))


def _derivative(A: Array, name: str) -> Array:
    if name == "relu":
        return A > 0
    if name == "tanh":
        return 1 - A * A
    return A * (1 - A)


def _forward(W: list[Array], b: list[Array], X: Array, work: Workload) -> list[Array]:
    """Return the outputs of all layers, X first; W are (n_in, n_out)."""
    A = [X]
    for w, v in zip(W[:-1], b[:-1], strict=True):
        Z = A[-1] @ w
        Z += v
        A.append(_activate(Z, work.hidden))
    Z = A[-1] @ W[-1]
    Z += b[-1]
    if work.loss == "binary_cross_entropy":
        Z = _activate(Z, "sigmoid")
    elif work.loss == "cross_entropy":
        Z -= Z.max(axis=1, keepdims=True)
        np.exp(Z, out=Z)
        Z /= Z.sum(axis=1, keepdims=True)
    return [*A, Z]


def _backward(A: list[Array], W: list[Array], Y: Array, work: Workload) -> list[Array]:
    """Return dW1, db1, dW2, ..."""
    dZ = A[-1] - Y
    dZ /= len(Y)
    gradients: list[Array] = []
    for l in reversed(range(len(W))):
        gradients[:0] = [A[l].T @ dZ, dZ.sum(axis=0)]
        if l:
            dZ = dZ @ W[l].T
            dZ *= _derivative(A[l], work.hidden)
    return gradients


def _targets(work: Workload, data: Data) -> Array:
    if work.loss == "cross_entropy":
        return np.eye(work.sizes[-1], dtype=data.X.dtype)[data.y]
    return data.y.reshape(work.m, -1).astype(data.X.dtype)


def prepare(work: Workload, data: Data, threads: int = 0) -> Entry:
    X, Y = data.X, _targets(work, data)
    W = [w.T.copy() for w in data.W]
    b = [v.copy() for v in data.b]
    if work.kind == "fit":
        parameters = [P for pair in zip(W, b, strict=True) for P in pair]
        batches = [
            (X[i : i + work.batch], Y[i : i + work.batch]) for i in range(0, work.m, work.batch)
        ]

        def fit(epochs: int) -> list[Array]:
            first = [np.zeros_like(P) for P in parameters]
            second = [np.zeros_like(P) for P in parameters]
            t = 0
            for _ in range(epochs):
                for x, y in batches:
                    gradients = _backward(_forward(W, b, x, work), W, y, work)
                    if work.optimizer == "sgd":
                        for P, g in zip(parameters, gradients, strict=True):
                            P -= work.rate * g
                        continue
                    t += 1
                    for P, g, v, s in zip(parameters, gradients, first, second, strict=True):
                        v *= BETA1
                        v += (1 - BETA1) * g
                        s *= BETA2
                        s += (1 - BETA2) * g * g
                        root = np.sqrt(s / (1 - BETA2**t))
                        P -= work.rate / (1 - BETA1**t) * v / (root + EPSILON)
            return parameters

        return Entry(fit, lambda P: flat([w.T for w in P[::2]], P[1::2]))
    if work.kind == "gradient":

        def gradients(n: int) -> tuple:
            for _ in range(n):
                A = _forward(W, b, X, work)
                J = ((A[-1] - Y) ** 2).sum() / (2 * work.m)
                found = _backward(A, W, Y, work)
            return J, found

        return Entry(
            gradients,
            lambda found: np.array([found[0], *flat([g.T for g in found[1][::2]], found[1][1::2])]),
        )

    def query(n: int) -> Array:
        for _ in range(n):
            A = _forward(W, b, X, work)[-1]
        return A

    return Entry(query, np.ravel)


def _choices() -> tuple[int, ...]:
    # Without threadpoolctl, BLAS keeps the threads that it has.
    return one_or_all() if missing("threadpoolctl") is None else one_or_all()[-1:]


ENTRANTS = [
    Entrant(
        "NumPy",
        lambda: np.__version__,
        lambda: None,
        prepare,
        _choices(),
        blas_limit if len(_choices()) > 1 else Entrant.limit,
    )
]
