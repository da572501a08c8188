"""JAX on a GPU: jitted functions, and an epoch's steps in one ``scan``; products in float32."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from gpu_entrants import Entrant, Entry, absent
from gpu_timing import HostClock
from gpu_workloads import RATE, Problem, Workload, layers_of
from workloads import flat

# Others need memory too; JAX would take three quarters of it at its start.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def _version() -> str:
    import jax

    return str(jax.__version__)


def _missing(device: str) -> str | None:
    reason = absent("jax")
    if reason is not None:
        return reason
    import jax

    here = jax.default_backend()
    return None if (here == "gpu") == (device == "cuda") else f"JAX computes on the {here} here"


def _prepare(work: Workload, problem: Problem, device: str) -> Entry:
    import jax

    # By default products of float32 go through TF32.
    with jax.default_matmul_precision("highest"):
        make = {"fit": _fit, "population": _population}.get(work.kind, _call)
        return make(work, problem)


class _Last:
    """The last result, by which the end of the work is known."""

    def __init__(self, call: Callable[[Any], Any], first: Any) -> None:
        self._call, self.value = call, first

    def run(self, n: int) -> None:
        import jax

        with jax.default_matmul_precision("highest"):
            for _ in range(n):
                self.value = self._call(self.value)

    def finish(self) -> None:
        import jax

        jax.block_until_ready(self.value)


def _call(work: Workload, problem: Problem) -> Entry:
    import jax
    from jax import numpy as jnp

    x, y = (jnp.asarray(array) for array in problem.inputs)
    functions = {
        "relu": lambda x, y: jax.nn.relu(x),
        "tanh": lambda x, y: jnp.tanh(x),
        "sigmoid": lambda x, y: jax.nn.sigmoid(x),
        "gelu": lambda x, y: jax.nn.gelu(x, approximate=False),
        "tanh derivative": lambda x, y: 1 - jnp.tanh(x) ** 2,
        "relu backward": lambda x, y: x * (y >= 0),
        "output gradient": lambda x, y: x - y,
        "gradient step": lambda x, y: x - RATE * y,
        "": lambda x, y: x @ y,
    }
    function = jax.jit(functions[work.what])
    last = _Last(lambda _: function(x, y), function(x, y))
    return Entry(last.run, lambda: np.asarray(last.value), HostClock(last.finish))


def _epoch(work: Workload, problem: Problem) -> tuple[Callable[[Any, Any], Any], Any]:
    """Return the function that trains a network for an epoch of some batches, and those."""
    import jax
    from jax import lax
    from jax import numpy as jnp

    told, data = work.network, problem.data
    assert told is not None
    assert data is not None
    if told.loss == "cross_entropy":
        targets = jax.nn.one_hot(data.y, told.sizes[-1], dtype=data.X.dtype)
    else:
        targets = jnp.asarray(data.y.reshape(told.m, -1), data.X.dtype)
    steps = told.m // told.batch
    batches = (
        jnp.asarray(data.X).reshape(steps, told.batch, -1),
        targets.reshape(steps, told.batch, -1),
    )

    def cost(parameters: Any, x: Any, y: Any) -> Any:
        for W, b in parameters[:-1]:
            x = jax.nn.relu(x @ W + b)
        W, b = parameters[-1]
        z = x @ W + b
        if told.loss == "cross_entropy":
            return -jnp.mean(jnp.sum(y * jax.nn.log_softmax(z), axis=1))
        return jnp.mean(jax.nn.softplus(z) - y * z)

    def step(parameters: Any, batch: Any) -> Any:
        gradients = jax.grad(cost)(parameters, *batch)
        return jax.tree.map(lambda P, g: P - told.rate * g, parameters, gradients), None

    return (lambda parameters, batches: lax.scan(step, parameters, batches)[0]), batches


def _fit(work: Workload, problem: Problem) -> Entry:
    import jax
    from jax import numpy as jnp

    data = problem.data
    assert data is not None
    pairs = zip(data.W, data.b, strict=True)
    initial = [(jnp.asarray(W.T.copy()), jnp.asarray(b)) for W, b in pairs]
    epoch, batches = _epoch(work, problem)
    compiled = jax.jit(epoch)
    last = _Last(lambda parameters: compiled(parameters, batches), initial)

    def result() -> np.ndarray:
        W, b = zip(*last.value, strict=True)
        return flat([np.asarray(w).T for w in W], [np.asarray(v) for v in b])

    return Entry(last.run, result, HostClock(last.finish))


def _population(work: Workload, problem: Problem) -> Entry:
    """All epochs of all networks in one compiled call: ``vmap`` of the whole fit."""
    import jax
    from jax import lax
    from jax import numpy as jnp

    told = work.network
    assert told is not None
    W, b = layers_of(problem.inputs[0], told.sizes)
    pairs = zip(W, b, strict=True)
    initial = [(jnp.asarray(w.transpose(0, 2, 1)), jnp.asarray(v)) for w, v in pairs]
    epoch, batches = _epoch(work, problem)

    def fit(parameters: Any, batches: Any) -> Any:
        return lax.fori_loop(0, told.epochs, lambda _, P: epoch(P, batches), parameters)

    compiled = jax.jit(jax.vmap(fit, in_axes=(0, None)))
    last = _Last(lambda parameters: compiled(parameters, batches), initial)

    def result() -> np.ndarray:
        arrays = [(np.asarray(W).transpose(0, 2, 1), np.asarray(b)) for W, b in last.value]
        return np.concatenate([A.reshape(work.n, -1) for pair in arrays for A in pair], axis=1)

    return Entry(last.run, result, HostClock(last.finish))


ENTRANTS = [Entrant("JAX", _version, _missing, _prepare)]
