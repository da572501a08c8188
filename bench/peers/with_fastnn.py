"""fastnn, by its public calls: ``fit``, ``gradient``, ``forward``, ``predict_one``, and inside."""

from __future__ import annotations

import numpy as np

import fastnn
from entrant import Entrant, Entry
from workloads import BETA1, BETA2, EPSILON, Data, Workload, flat


def _prepare(work: Workload, data: Data, columns: bool) -> Entry | str:
    if columns and work.m == 1:
        return "one example is the same in both orders"
    net = fastnn.Network(work.sizes, work.hidden, work.loss, work.dtype)
    net.parameters = flat(data.W, data.b)
    # Rows are passed as their transpose, a view.
    X = np.ascontiguousarray(data.X.T) if columns else data.X.T
    Y = data.y.T if work.loss == "squared_error" else data.y
    if work.kind == "fit":
        rule = {
            "sgd": fastnn.SGD(work.rate),
            "adam": fastnn.Adam(work.rate, BETA1, BETA2, EPSILON),
        }[work.optimizer]

        def fit(epochs: int) -> fastnn.Network:
            net.fit(X, Y, epochs, work.batch, rule, shuffle=False)
            return net

        return Entry(fit, lambda net: net.parameters.copy())
    if work.kind == "gradient":
        gradient = net.gradient

        def gradients(n: int) -> tuple:
            for _ in range(n):
                found = gradient(X, Y)
            return found

        return Entry(gradients, lambda found: np.array([found[0], *found[1]]))
    call, x = (net.predict_one, data.X[0]) if work.m == 1 else (net.forward, X)

    def query(n: int) -> np.ndarray:
        for _ in range(n):
            A = call(x)
        return A

    return Entry(query, lambda A: A.T.ravel())


def _prepare_inside(work: Workload, data: Data, threads: int) -> Entry | str:
    """Return the network inside a user's ``@njit`` loop: nothing of Python from call to call."""
    if work.kind != "query" or work.m != 1:
        return "is for one example at a time"
    import numba

    from fastnn import inside

    net = fastnn.Network(work.sizes, work.hidden, work.loss, work.dtype)
    net.parameters = flat(data.W, data.b)
    parameters, layout, memory = inside.parameters(net), inside.layout(net), inside.work(net)
    out = np.empty(work.sizes[-1], work.dtype)

    @numba.njit
    def calls(n, parameters, layout, x, out, memory):  # type: ignore[no-untyped-def]
        for _ in range(n):
            inside.forward(parameters, layout, x, out, memory)

    def query(n: int) -> np.ndarray:
        calls(n, parameters, layout, data.X[0], out, memory)
        return out

    return Entry(query, lambda A: A.ravel())


ENTRANTS = [
    Entrant(
        name,
        lambda: fastnn.__version__,
        lambda: None,
        lambda work, data, threads, columns=columns: _prepare(work, data, columns),
    )
    for name, columns in (("fastnn", False), ("fastnn, columns", True))
]
ENTRANTS.append(
    Entrant("fastnn, in @njit", lambda: fastnn.__version__, lambda: None, _prepare_inside)
)
