"""CuPy on a GPU: its functions into arrays made ahead, and cuBLAS through it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpu_entrants import Entrant, Entry, absent
from gpu_timing import EventClock
from gpu_workloads import RATE, Problem, Workload


def _version() -> str:
    import cupy

    return str(cupy.__version__)


def _missing(device: str) -> str | None:
    if device != "cuda":
        return "CuPy computes on GPUs alone"
    reason = absent("cupy")
    if reason is None:
        import cupy

        return None if cupy.cuda.is_available() else "CuPy sees no GPU"
    return reason


def _entry(call: Callable[[], Any], out: Any) -> Entry:
    import cupy

    def run(n: int) -> None:
        for _ in range(n):
            call()

    return Entry(run, out.get, EventClock(cupy.cuda.Event, cupy.cuda.get_elapsed_time))


def _values(work: Workload, problem: Problem, device: str) -> Entry | str:
    if work.kind != "values":
        return "for functions of values alone"
    import cupy

    x, y = (cupy.array(array) for array in problem.inputs)
    out = cupy.full_like(x, cupy.nan)
    if work.what == "gradient step":
        step = cupy.ElementwiseKernel("T g, T rate", "T w", "w -= rate * g", "step")
        rate = x.dtype.type(RATE)
        return _entry(lambda: step(y, rate, x), x)
    calls: dict[str, Callable[[], Any]] = {
        "relu": lambda: cupy.maximum(x, 0, out=out),
        "tanh": lambda: cupy.tanh(x, out=out),
        "output gradient": lambda: cupy.subtract(x, y, out=out),
    }
    if work.what not in calls:
        return "no function of CuPy's is it"
    return _entry(calls[work.what], out)


def _product(work: Workload, problem: Problem, device: str) -> Entry | str:
    if work.kind != "product":
        return "for products alone"
    import cupy

    A, B = (cupy.array(array) for array in problem.inputs)
    out = cupy.full_like(A, cupy.nan)
    return _entry(lambda: cupy.matmul(A, B, out=out), out)


ENTRANTS = [
    Entrant("CuPy", _version, _missing, _values),
    Entrant("cuBLAS through CuPy", _version, _missing, _product),
]
