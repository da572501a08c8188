"""Time one small fit, and 200 of them, beside scikit-learn and JAX.

    python bench/peers/populations.py              # print the table
    python bench/peers/populations.py --write      # also into docs/populations.md

30-16-1 (relu, sigmoid) on the 569 standardised examples of scikit-learn's breast cancer data, in
float32 (scikit-learn: float64, its own losses' checks): 100 epochs, 32 examples a step, SGD at
0.1, shuffled in each epoch; 1,800 steps. Everyone draws its own initial parameters and orders. All
are timed in turn, in one process, after a first run that compiles; calls that are shorter than
0.2 s as the mean of as many as take so long. JAX has the whole fit in one compiled call, and the
population as ``vmap`` of it; NumPy draws its orders, which is faster, and a last batch that is
short is filled up with examples of weight 0, since its shapes are fixed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[1:1] = [str(HERE.parent.parent), str(HERE.parent)]
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import fastnn  # noqa: E402
from entrant import THREADS, missing  # noqa: E402
from report import insert, seconds  # noqa: E402

PAGE = HERE.parent.parent / "docs" / "populations.md"
EPOCHS, BATCH, RATE, HIDDEN = 100, 32, 0.1, 16
SHORTEST = 0.2  # seconds of a measurement


class Way(NamedTuple):
    """A way to train: ``run(k)`` returns the outputs of k networks for all examples, (k, m)."""

    name: str
    run: Callable[[int], np.ndarray]
    most: int  # networks that are really trained; the time of more is in proportion


def data() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_breast_cancer

    X, y = load_breast_cancer(return_X_y=True)
    return ((X - X.mean(axis=0)) / X.std(axis=0)).astype(np.float32), y


def with_fastnn(X: np.ndarray, y: np.ndarray) -> list[Way]:
    rows = X.T  # (n_x, m), a view

    def networks(k: int) -> list[fastnn.Network]:
        return fastnn.Network([X.shape[1], HIDDEN, 1], ["relu", "sigmoid"]).replicate(k)

    def outputs(nets: list[fastnn.Network]) -> np.ndarray:
        return fastnn.forward_many(nets, rows)[:, 0]

    def at_once(k: int) -> np.ndarray:
        nets = networks(k)
        fastnn.fit_many(nets, rows, y, EPOCHS, BATCH, fastnn.SGD(RATE))
        return outputs(nets)

    def one_by_one(k: int) -> np.ndarray:
        nets = networks(k)
        for net in nets:
            net.fit(rows, y, EPOCHS, BATCH, fastnn.SGD(RATE))
        return outputs(nets)

    return [Way("fastnn, `fit_many`", at_once, 10**6), Way("fastnn, `fit`", one_by_one, 10**6)]


def with_sklearn(X: np.ndarray, y: np.ndarray) -> list[Way]:
    from sklearn.neural_network import MLPClassifier

    def one_by_one(k: int) -> np.ndarray:
        found = []
        for seed in range(k):
            net = MLPClassifier(
                (HIDDEN,), solver="sgd", learning_rate_init=RATE, momentum=0, alpha=0, tol=0,
                batch_size=BATCH, max_iter=EPOCHS, n_iter_no_change=EPOCHS, random_state=seed,
            )  # fmt: skip
            found.append(net.fit(X, y).predict_proba(X)[:, 1])
        return np.array(found)

    return [Way("scikit-learn, one by one", one_by_one, 2)]


def with_jax(X: np.ndarray, y: np.ndarray) -> list[Way]:
    import jax
    from jax import lax
    from jax import numpy as jnp

    m, n_x = X.shape
    steps = -(-m // BATCH)
    rows, targets = jnp.asarray(X), jnp.asarray(y, jnp.float32)

    def logits(parameters: Any, x: Any) -> Any:
        W1, b1, W2, b2 = parameters
        return jax.nn.relu(x @ W1 + b1) @ W2 + b2

    def cost(parameters: Any, x: Any, t: Any, weight: Any) -> Any:
        z = logits(parameters, x)
        return jnp.sum(weight * (jax.nn.softplus(z) - t * z)) / jnp.sum(weight)

    def step(parameters: Any, batch: Any) -> Any:
        which, weight = batch
        gradients = jax.grad(cost)(parameters, rows[which], targets[which], weight)
        return jax.tree.map(lambda P, g: P - RATE * g, parameters, gradients), None

    filled = steps * BATCH - m
    weights = jnp.concatenate([jnp.ones(m), jnp.zeros(filled)]).reshape(steps, BATCH)

    def epoch(parameters: Any, order: Any) -> Any:
        return lax.scan(step, parameters, (order, weights))[0], None

    def train(key: Any, orders: Any) -> Any:
        first, second = jax.random.split(key)
        parameters = (
            jax.random.normal(first, (n_x, HIDDEN)) * np.sqrt(2 / n_x),
            jnp.zeros(HIDDEN),
            jax.random.normal(second, (HIDDEN,)) * np.sqrt(1 / HIDDEN),
            jnp.zeros(()),
        )
        parameters = lax.scan(epoch, parameters, orders)[0]
        return jax.nn.sigmoid(logits(parameters, rows))

    one, many = jax.jit(train), jax.jit(jax.vmap(train))

    def drawn(k: int) -> tuple[Any, np.ndarray]:
        # NumPy shuffles faster than a compiled JAX function does.
        random = np.random.default_rng(0)
        orders = np.zeros((k, EPOCHS, steps * BATCH), np.int32)
        orders[..., :m] = random.permuted(np.tile(np.arange(m), (k, EPOCHS, 1)), axis=2)
        return jax.random.split(jax.random.key(0), k), orders.reshape(k, EPOCHS, steps, BATCH)

    def one_by_one(k: int) -> np.ndarray:
        return np.array([one(*told) for told in zip(*drawn(k), strict=True)])

    def at_once(k: int) -> np.ndarray:
        return np.asarray(many(*drawn(k)))

    return [
        Way("JAX, one by one", one_by_one, 10**6),
        Way("JAX, `vmap` of the whole fit", at_once, 10**6),
    ]


def ways(X: np.ndarray, y: np.ndarray) -> list[Way]:
    """Return all ways whose libraries are here."""
    found = with_fastnn(X, y) + with_sklearn(X, y)
    reason = missing("jax")
    if reason:
        print(f"JAX is absent: {reason}")
        return found
    return found + with_jax(X, y)


def measure(rounds: int, counts: tuple[int, ...]) -> dict[str, dict[int, float]]:
    """Return the median seconds of each way, for each number of networks."""
    X, y = data()
    found = ways(X, y)
    times: dict[tuple[str, int], list[float]] = {}
    for way in found:
        for k in counts:
            A = way.run(min(k, way.most))  # compiles
            right = ((A > 0.5) == y).mean()
            if right < 0.97:
                raise SystemExit(f"{way.name} is right in {right:.1%} only: is it the same task?")
    for _ in range(rounds):
        for k in counts:
            for way in found:
                trained = min(k, way.most)
                times.setdefault((way.name, k), []).append(_seconds(way, trained) * k / trained)
    return {way.name: {k: statistics.median(times[way.name, k]) for k in counts} for way in found}


def _seconds(way: Way, k: int) -> float:
    """Return the time of a call: short ones again and again, so that what ran before is over."""
    calls, begin = 0, time.perf_counter()
    while (taken := time.perf_counter() - begin) < SHORTEST:
        way.run(k)
        calls += 1
    return taken / calls


def table(found: dict[str, dict[int, float]], counts: tuple[int, ...]) -> str:
    """Return the times as Markdown."""
    head = [f"{k} fits" if k > 1 else "1 fit" for k in counts]
    lines = [
        "| | " + " | ".join(f"{name} | ratio" for name in head) + " |",
        "| --- |" + " ---: |" * (2 * len(counts)),
    ]
    ours = next(iter(found.values()))
    for name, times in found.items():
        cells = [f"{seconds(times[k])} | {times[k] / ours[k]:.2f}" for k in counts]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--write", action="store_true", help="write the table into the guide")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--networks", type=int, default=200)
    asked = parser.parse_args()
    try:
        import sklearn
    except ImportError:
        raise SystemExit('needs scikit-learn: pip install "numba-fastnn[peers]"') from None
    warnings.simplefilter("ignore")  # that scikit-learn's fits have not converged
    counts = (1, asked.networks)
    text = table(measure(asked.rounds, counts), counts)
    made = (
        f"{THREADS} threads; medians of {asked.rounds} rounds, in turn; scikit-learn"
        f" {sklearn.__version__} (the time of two fits, in proportion). A ratio is a way's time"
        " over `fit_many`'s."
    )
    if asked.write:
        insert(PAGE, "populations", f"{text}\n\n{made}")
    print(f"{text}\n\n{made}")


if __name__ == "__main__":
    main()
