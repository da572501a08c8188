"""Many small networks at once: `fit_many`, beside NumPy's fits one after another.

The single fit is the population's unit: 30-16-1 on 569 examples, 32 a step.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
import pytest

import fastnn
from conftest import ENTRANTS
from fastnn.backends import numpy as numpy_backend
from fastnn.training import fit

SIZES, M, BATCH, EPOCHS = [30, 16, 1], 569, 32, 10


def _data() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    X = random.normal(size=(M, SIZES[0])).astype(np.float32).T
    return X, (X.sum(axis=0) + random.normal(size=M) > 0).astype(np.int64)


def _networks(k: int) -> list[fastnn.Network]:
    return fastnn.Network(SIZES, ["relu", "sigmoid"]).replicate(k)


every_entrant = pytest.mark.parametrize("entrant", ENTRANTS)


@every_entrant
@pytest.mark.parametrize("k", [1, 8])
def bench_fit_many(race: Callable, k: int, entrant: str) -> None:
    X, y = _data()
    trainer = partial(numpy_backend.trainer, dtype=np.float32)

    def ours() -> list[float]:
        networks = _networks(k)
        if k == 1:
            return [networks[0].fit(X, y, EPOCHS, BATCH).cost[-1]]
        histories = fastnn.fit_many(networks, X, y, EPOCHS, BATCH)
        return [history.cost[-1] for history in histories]

    def theirs() -> list[float]:
        told = {"epochs": EPOCHS, "batch_size": BATCH, "trainer": trainer}
        return [fit(net, X, y, **told).cost[-1] for net in _networks(k)]

    np.testing.assert_allclose(ours(), theirs(), rtol=1e-3)
    products = sum(a * b for a, b in pairwise(SIZES))
    race(
        f"training, {EPOCHS} epochs of {k} small",
        f"30-16-1 relu, batch {BATCH} of {M}",
        np.float32,
        entrant,
        numpy=theirs,
        fastnn=ours,
        operations=2.0 * k * EPOCHS * M * (3 * products - SIZES[0] * SIZES[1]),
        exact=False,
        all_threads=True,
    )
