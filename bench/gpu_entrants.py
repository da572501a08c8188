"""What each entrant's file offers, and which there are."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import NamedTuple

from gpu_timing import Clock
from gpu_workloads import Array, Problem, Workload


class Entry(NamedTuple):
    """A workload, compiled and with its data on the device.

    ``run(n)`` asks for n calls, or epochs that go on from the parameters of the last. ``result()``
    returns what has been computed, on the host: an array, or all parameters as one vector.
    """

    run: Callable[[int], None]
    result: Callable[[], Array]
    clock: Clock


@dataclass(frozen=True)
class Entrant:
    """A library in one of its ways of use.

    ``prepare(work, problem, device)`` returns an `Entry`, or why there is none; ``device`` is
    "cuda", or "cpu" to try the code where no GPU is. ``missing(device)`` returns why the library
    cannot be used at all, or None.
    """

    name: str
    version: Callable[[], str]
    missing: Callable[[str], str | None]
    prepare: Callable[[Workload, Problem, str], Entry | str]


def absent(module: str) -> str | None:
    """Return why a module cannot be imported, or None."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import_module(module)
        except Exception as error:  # a broken installation is no reason to stop the others
            return f"{type(error).__name__}: {error}".splitlines()[0]
    return None


def entrants() -> list[Entrant]:
    """Return all of them, fastnn first."""
    names = ("gpu_fastnn", "gpu_torch", "gpu_jax", "gpu_cupy")
    return [entrant for name in names for entrant in import_module(name).ENTRANTS]
