"""fastnn on a GPU, by its public functions, on arrays that are there."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

import fastnn
import fastnn.functional as F
import gpu_timing
from fastnn import cuda_driver
from gpu_entrants import Entrant, Entry
from gpu_workloads import RATE, Problem, Workload
from workloads import flat


def _missing(device: str) -> str | None:
    return cuda_driver.missing() if device == "cuda" else "fastnn's GPU kernels run on no CPU"


def _prepare(work: Workload, problem: Problem, device: str) -> Entry:
    os.environ["FASTNN_DEVICE"] = device  # which `gpu_timing` goes by
    return _MAKERS[work.kind](work, problem)


def _repeated(call: Callable[[], Any]) -> Callable[[int], None]:
    def run(n: int) -> None:
        for _ in range(n):
            call()

    return run


def _values(work: Workload, problem: Problem) -> Entry:
    # As a matrix, which is what the functions take; a poisoned one to write to.
    x, y = gpu_timing.there(*(array.reshape(1, -1) for array in problem.inputs))
    out = gpu_timing.there(np.full((1, work.n), np.nan, np.float32))
    name, _, kind = work.what.partition(" ")
    calls: dict[str, Callable[[], Any]] = {
        "": lambda: F.activation_forward(x, name, out=out),
        "derivative": lambda: F.activation_derivative(x, name, out=out),
        "backward": lambda: F.activation_backward(x, y, name, out=out),
        "gradient": lambda: F.output_gradient(x, y, out=out),
        "step": lambda: F.gradient_step(x, y, RATE),
    }
    written = x if kind == "step" else out
    return Entry(
        _repeated(calls[kind]), lambda: gpu_timing.host(written).ravel(), gpu_timing.clock()
    )


def _product(work: Workload, problem: Problem) -> Entry:
    A, B = gpu_timing.there(*problem.inputs)
    b, out = gpu_timing.there(
        np.zeros((work.n, 1), np.float32), np.full((work.n, work.n), np.nan, np.float32)
    )
    return Entry(
        _repeated(lambda: F.linear_forward(B, A, b, out=out)),
        lambda: gpu_timing.host(out),
        gpu_timing.clock(),
    )


def _fit(work: Workload, problem: Problem) -> Entry:
    told, data = work.network, problem.data
    assert told is not None
    assert data is not None
    net = fastnn.Network(told.sizes, told.hidden, told.loss, told.dtype, device="cuda")
    net.parameters = flat(data.W, data.b)
    labels = told.loss == "cross_entropy"
    Y = data.y if labels else data.y.astype(told.dtype).reshape(1, -1)
    # Examples stand as rows, and are passed as their transpose.
    x, y = gpu_timing.there(data.X.T, Y)
    rule = fastnn.SGD(told.rate)

    def run(epochs: int) -> None:
        net.fit(x, y, epochs, told.batch, rule, shuffle=False)

    # A fit works on streams of its own choice, and ends when the parameters are on the host.
    clock = gpu_timing.HostClock(gpu_timing.synchronize)
    return Entry(run, lambda: net.parameters.copy(), clock)


def _population(work: Workload, problem: Problem) -> Entry:
    told, data = work.network, problem.data
    assert told is not None
    assert data is not None
    net = fastnn.Network(told.sizes, told.hidden, told.loss, told.dtype, device="cuda")
    networks = net.replicate(work.n)
    for network, parameters in zip(networks, problem.inputs[0], strict=True):
        network.parameters = parameters.copy()
    rule, targets = fastnn.SGD(told.rate), data.y.astype(told.dtype).reshape(1, -1)

    def run(fits: int) -> None:
        for _ in range(fits):
            fastnn.fit_many(
                networks, data.X.T, targets, told.epochs, told.batch, rule, shuffle=False
            )

    clock = gpu_timing.HostClock(gpu_timing.synchronize)
    return Entry(run, lambda: np.array([network.parameters for network in networks]), clock)


_MAKERS = {"values": _values, "product": _product, "fit": _fit, "population": _population}
ENTRANTS = [Entrant("fastnn", lambda: fastnn.__version__, _missing, _prepare)]
