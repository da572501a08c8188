"""JAX: one compiled call for a whole fit, its batches in ``scan``, its epochs in ``fori_loop``.

Its threads cannot be chosen once it has started; it uses all.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from entrant import Entrant, Entry, missing
from workloads import BETA1, BETA2, EPSILON, Data, Workload, flat


def _version() -> str:
    import jax

    return jax.__version__


def _flat(parameters: Any) -> np.ndarray:
    W, b = zip(*parameters, strict=True)
    return flat([np.asarray(w).T for w in W], [np.asarray(v) for v in b])


def _prepare(work: Workload, data: Data, threads: int) -> Entry | str:
    import jax

    # Float64 has to be asked for, when data is laid out and at each call.
    with jax.enable_x64(work.dtype == "float64"):
        entry = _entry(work, data)

    def run(n: int) -> Any:
        with jax.enable_x64(work.dtype == "float64"):
            return entry.run(n)

    return Entry(run, entry.flat)


def _entry(work: Workload, data: Data) -> Entry:
    import jax
    from jax import lax
    from jax import numpy as jnp

    hidden = {"relu": jax.nn.relu, "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid}[work.hidden]
    pairs = zip(data.W, data.b, strict=True)
    initial = [(jnp.asarray(W.T.copy()), jnp.asarray(b)) for W, b in pairs]
    X = jnp.asarray(data.X)
    if work.loss == "cross_entropy":
        # Not integers: their gather is slow to differentiate.
        Y = jax.nn.one_hot(data.y, work.sizes[-1], dtype=X.dtype)
    else:
        Y = jnp.asarray(data.y.reshape(work.m, -1), X.dtype)

    def logits(parameters: Any, x: Any) -> Any:
        for W, b in parameters[:-1]:
            x = hidden(x @ W + b)
        W, b = parameters[-1]
        return x @ W + b

    def cost(parameters: Any, x: Any, y: Any) -> Any:
        z = logits(parameters, x)
        if work.loss == "binary_cross_entropy":
            return jnp.mean(jax.nn.softplus(z) - y * z)
        if work.loss == "cross_entropy":
            return -jnp.mean(jnp.sum(y * jax.nn.log_softmax(z), axis=1))
        return jnp.sum((z - y) ** 2) / (2 * len(y))

    if work.kind == "query":
        # The parameters are constants of the compiled function, as in serving.
        answer = jax.jit(lambda x: jax.nn.sigmoid(logits(initial, x)))

        def query(n: int) -> Any:
            for _ in range(n):
                A = answer(X).block_until_ready()
            return A

        return Entry(query, np.ravel)
    if work.kind == "gradient":
        call = jax.jit(jax.value_and_grad(cost))

        def gradients(n: int) -> Any:
            for _ in range(n):
                found = jax.block_until_ready(call(initial, X, Y))
            return found

        return Entry(gradients, lambda found: np.array([found[0], *_flat(found[1])]))

    def sgd(state: Any, batch: Any) -> Any:
        parameters, first, second, t = state
        gradients = jax.grad(cost)(parameters, *batch)
        updated = jax.tree.map(lambda P, g: P - work.rate * g, parameters, gradients)
        return (updated, first, second, t), None

    def adam(state: Any, batch: Any) -> Any:
        parameters, first, second, t = state
        gradients = jax.grad(cost)(parameters, *batch)
        t = t + 1
        first = jax.tree.map(lambda v, g: BETA1 * v + (1 - BETA1) * g, first, gradients)
        second = jax.tree.map(lambda s, g: BETA2 * s + (1 - BETA2) * g * g, second, gradients)
        one, two = 1 - BETA1**t, 1 - BETA2**t
        parameters = jax.tree.map(
            lambda P, v, s: P - work.rate * (v / one) / (jnp.sqrt(s / two) + EPSILON),
            parameters,
            first,
            second,
        )
        return (parameters, first, second, t), None

    step = {"sgd": sgd, "adam": adam}[work.optimizer]
    steps = work.m // work.batch
    batches = X.reshape(steps, work.batch, -1), Y.reshape(steps, work.batch, -1)

    @jax.jit
    def train(parameters: Any, batches: Any, epochs: Any) -> Any:
        zeros = jax.tree.map(jnp.zeros_like, parameters) if work.optimizer == "adam" else ()
        state = parameters, zeros, zeros, jnp.zeros((), X.dtype)
        state = lax.fori_loop(0, epochs, lambda _, s: lax.scan(step, s, batches)[0], state)
        return state[0]

    last = initial

    def fit(epochs: int) -> Any:
        nonlocal last
        last = jax.block_until_ready(train(last, batches, epochs))
        return last

    return Entry(fit, _flat)


ENTRANTS = [Entrant("JAX", _version, lambda: missing("jax"), _prepare)]
