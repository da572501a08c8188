"""The same bits in every run: a hundred runs of each function, and of a short fit."""

from __future__ import annotations

import numpy as np
import pytest
from gpu_machine import Strided, sized, to_host

pytest.importorskip("hypothesis", reason="the table of functions draws with it")

from test_functional import CASES

import fastnn
import fastnn.functional as F
from fastnn.kernels.codes import LOSSES

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("on_gpu")]

RUNS = sized(100, 3)
FEW = [case for case in CASES if case.activation in (None, "gelu", "softmax")]


def assert_one(found):
    assert len(found) == RUNS
    assert len(set(found)) == 1, f"{len(set(found))} different results in {RUNS} runs"


@pytest.mark.parametrize(
    "shape", sized([(64, 32, 20_000), (300, 200, 1500)], [(9, 7, 33)]), ids=str
)
@pytest.mark.parametrize("case", FEW, ids=lambda case: case.id)
def test_functions(case, shape):
    there = {name: Strided(array) for name, array in case.draw(shape, np.float32).items()}
    assert_one([to_host(case.compute(there)).tobytes() for _ in range(RUNS)])


@pytest.mark.parametrize("loss", LOSSES)
def test_costs(loss):
    random = np.random.default_rng(0)
    shape = sized((10, 100_003), (3, 23))
    A, Y = (random.uniform(0.05, 0.95, shape).astype(np.float32) for _ in range(2))
    there = Strided(A), Strided(Y)
    assert_one([F.cost(*there, loss) for _ in range(RUNS)])


@pytest.mark.parametrize("sizes", sized([[32, 64, 64, 1], [784, 256, 1]], [[5, 7, 1]]), ids=str)
@pytest.mark.parametrize("batch", sized([32, 1000, 4000], [8]))
def test_fits(batch, sizes):
    random = np.random.default_rng(0)
    m = sized(4000, 19)
    X = random.standard_normal((sizes[0], m)).astype(np.float32)
    y = random.integers(0, 2, m)
    found = []
    for _ in range(RUNS):
        net = fastnn.Network(sizes, loss="binary_cross_entropy")
        history = net.fit(X, y, 2, batch, fastnn.Adam(0.01), dropout=0.2)
        found.append(net.parameters.tobytes() + np.array(history.cost).tobytes())
    assert_one(found)
