"""How every benchmark is run: agree first, then race.

Each comparison is a group of two, NumPy's line and the kernel. Both must give the same result
before either is timed; compilation happens in that first call. pytest-benchmark times one after
the other. Between the two a shared machine may change its speed, so the ratio comes from a second
timing, of both in turn: the median of the ratios of neighbours.

Under ``FASTNN_DEVICE=cuda`` fastnn's arrays are copied to the GPU once, before anything is timed;
the second timing is by CUDA events, NumPy's by the host's clock.
"""

from __future__ import annotations

import importlib
import os
import platform
import statistics
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import gpu_timing

ENTRANTS = ["numpy", "fastnn"]

if gpu_timing.on_gpu():
    # The functions of the GPU, by the names of the kernels of the CPU.
    sys.modules["compiled"] = importlib.import_module("gpu_calls")


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
    if gpu_timing.on_gpu():
        from fastnn import cuda_driver

        machine_info["gpu"] = cuda_driver.gpus()[0]


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
            _agree(gpu_timing.host(fastnn()), numpy(), np.finfo(dtype).eps)
        name = np.dtype(dtype).name
        benchmark.group = f"{kernel}, {shape}, {name}"
        benchmark.extra_info.update(kernel=kernel, shape=shape, dtype=name, entrant=entrant)
        # A kernel is one thread's work, so NumPy has one as well; whole calls have all.
        with nullcontext() if all_threads else threadpool_limits(1):
            benchmark({"numpy": numpy, "fastnn": _to_the_end(fastnn)}[entrant])
            if benchmark.stats is not None and entrant == "fastnn":
                benchmark.extra_info.update(_in_turn(numpy, fastnn))
        if benchmark.stats is not None:
            median = benchmark.extra_info.get("fastnn_seconds", benchmark.stats.stats.median)
            if operations:
                benchmark.extra_info["GFLOP/s"] = round(operations / median / 1e9, 2)
            if traffic:
                benchmark.extra_info["GB/s"] = round(traffic / median / 1e9, 2)

    return run


def _to_the_end(call: Callable[[], Any]) -> Callable[[], Any]:
    """Return the call; on a GPU, with a wait for what it asks for."""
    return (lambda: (call(), gpu_timing.synchronize())) if gpu_timing.on_gpu() else call


# Seconds of one entrant's turn, if a single call does not take longer, and the turns of each.
_TURN, _TURNS, _LONGEST_RACE = 2e-3, 25, 3.0


def _in_turn(numpy: Callable[[], Any], fastnn: Callable[[], Any]) -> dict[str, float]:
    """Return the median seconds of both, and the median ratio of turns that follow each other."""
    clocks = {numpy: gpu_timing.HostClock(), fastnn: gpu_timing.clock()}

    def turn(call: Callable[[], Any], calls: int) -> float:
        def all_of_them() -> None:
            for _ in range(calls):
                call()

        return clocks[call].seconds(all_of_them) / calls

    once = max(turn(numpy, 1), turn(fastnn, 1))
    calls = max(1, int(_TURN / once))
    turns = max(7, min(_TURNS, int(_LONGEST_RACE / (2 * once * calls))))
    pairs = [(turn(numpy, calls), turn(fastnn, calls)) for _ in range(turns)]
    return {
        "numpy_seconds": statistics.median(theirs for theirs, _ in pairs),
        "fastnn_seconds": statistics.median(ours for _, ours in pairs),
        "ratio": statistics.median(theirs / ours for theirs, ours in pairs),
    }


def _agree(ours: Any, theirs: Any, eps: float) -> None:
    if isinstance(ours, tuple):
        for a, b in zip(ours, theirs, strict=True):
            _agree(a, b, eps)
    elif ours is not None:
        # Sums of thousands of terms, in another order: the plain formula errs as much.
        largest = float(np.max(np.abs(theirs)))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=500 * eps * max(largest, 1e-30))
