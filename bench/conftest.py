"""How every benchmark is run: agree first, then race.

Each comparison is a group of two, NumPy's line and the kernel, timed one right after the other.
Both must give the same result before either is timed. Compilation happens in that first call.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

ENTRANTS = ["numpy", "fastnn"]


def pytest_configure(config: pytest.Config) -> None:
    """Short rounds, unless the command line asks for others: there are many comparisons."""
    if getattr(config.option, "benchmark_max_time", None) == "1.0":
        config.option.benchmark_max_time = 0.25
    config.option.benchmark_min_rounds = max(7, config.option.benchmark_min_rounds)


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict) -> None:
    """Say what the figures depend on."""
    machine_info["numpy"] = np.__version__
    machine_info["threads"] = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    )
    machine_info["system"] = platform.platform()


@pytest.fixture
def race(benchmark: Any) -> Callable[..., None]:
    """Return the function that checks both entrants and times the one that is asked for."""

    def run(
        kernel: str,
        shape: str,
        dtype: Any,
        entrant: str,
        *,
        numpy: Callable[[], Any],
        fastnn: Callable[[], Any],
        operations: float = 0.0,
        traffic: float = 0.0,
        exact: bool = True,
        all_threads: bool = False,
    ) -> None:
        """Time one entrant; ``operations`` in FLOP and ``traffic`` in bytes, as counted by hand."""
        if exact:
            _agree(fastnn(), numpy(), np.finfo(dtype).eps)
        name = np.dtype(dtype).name
        benchmark.group = f"{kernel}, {shape}, {name}"
        benchmark.extra_info.update(kernel=kernel, shape=shape, dtype=name, entrant=entrant)
        # A kernel is one thread's work, so NumPy has one as well; whole calls have all.
        with nullcontext() if all_threads else threadpool_limits(1):
            benchmark({"numpy": numpy, "fastnn": fastnn}[entrant])
        if benchmark.stats is not None:
            median = benchmark.stats.stats.median
            if operations:
                benchmark.extra_info["GFLOP/s"] = round(operations / median / 1e9, 2)
            if traffic:
                benchmark.extra_info["GB/s"] = round(traffic / median / 1e9, 2)

    return run


def _agree(ours: Any, theirs: Any, eps: float) -> None:
    if isinstance(ours, tuple):
        for a, b in zip(ours, theirs, strict=True):
            _agree(a, b, eps)
    elif ours is not None:
        # Sums of thousands of terms, in another order: the plain formula errs as much.
        largest = float(np.max(np.abs(theirs)))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=500 * eps * max(largest, 1e-30))
