"""Networks with parameters of any bits, to be saved, and compared bit for bit."""

from __future__ import annotations

import tracemalloc

import numpy as np

import fastnn
from fastnn.preprocessing import Standardizer


def random_bits(net, seed=0):
    """Set the parameters to any bits: among them NaN of many kinds, infinity and denormals."""
    kind = np.uint32 if net.dtype == np.float32 else np.uint64
    high = np.iinfo(kind).max
    bits = np.random.default_rng(seed).integers(0, high, net.parameters.size, kind, endpoint=True)
    net.parameters.view(kind)[...] = bits
    special = np.array([np.nan, np.inf, -np.inf, -0.0, np.finfo(net.dtype).smallest_subnormal])
    n = min(5, net.parameters.size)
    net.parameters[:n] = special[:n]
    return net


def network(sizes=(3, 4, 2), loss="cross_entropy", dtype=np.float32, seed=0, features=()):
    net = random_bits(fastnn.Network(sizes, loss=loss, dtype=dtype, seed=seed), seed)
    rng = np.random.default_rng(seed)
    net.preprocessing = [Standardizer().fit(rng.normal(size=(n, 9))) for n in features]
    return net


def traced(call):
    """Return how many bytes a call needs at most, beyond what was there."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def assert_same(one, other):
    assert type(one) is type(other) is fastnn.Network
    for name in ("sizes", "activations", "loss", "dtype", "seed"):
        assert getattr(one, name) == getattr(other, name), name
        assert type(getattr(one, name)) is type(getattr(other, name)), name
    assert one.parameters.tobytes() == other.parameters.tobytes()
    assert len(one.preprocessing) == len(other.preprocessing)
    for step, same in zip(one.preprocessing, other.preprocessing, strict=True):
        assert type(step) is type(same) is Standardizer
        assert step.dtype == same.dtype
        for name in ("mean_", "scale_"):
            values, expected = getattr(step, name), getattr(same, name)
            assert values.dtype == np.float64 and values.shape == expected.shape
            assert values.tobytes() == expected.tobytes()


def saved(net, path):
    net.save(path)
    return path.read_bytes()
