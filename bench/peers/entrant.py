"""What every peer's file offers, and which there are."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

from workloads import Array, Data, Workload

THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Entry(NamedTuple):
    """A workload, ready to be timed: compiled or not, with its data laid out.

    ``run(n)`` does n units of work: a fit of n epochs, which continues from the parameters of the
    last one, or n calls. ``flat`` turns what it returned into the vector that is compared: the
    parameters, J and its gradient, or the outputs, example by example.
    """

    run: Callable[[int], Any]
    flat: Callable[[Any], Array]


def _no_limit(threads: int) -> AbstractContextManager[Any]:
    return nullcontext()


@dataclass(frozen=True)
class Entrant:
    """A library, in one of its ways of use.

    ``prepare(work, data, threads)`` returns an ``Entry``, or why there cannot be one.
    ``available()`` returns None, or why the library is absent. An entrant is tried with each of
    ``choices`` threads, inside ``limit(threads)``, and timed with what was fastest: a second
    thread often costs a small network more than it brings.
    """

    name: str
    version: Callable[[], str]
    available: Callable[[], str | None]
    prepare: Callable[[Workload, Data, int], Entry | str]
    choices: tuple[int, ...] = (THREADS,)
    limit: Callable[[int], AbstractContextManager[Any]] = _no_limit


def one_or_all() -> tuple[int, ...]:
    return (1, THREADS) if THREADS > 1 else (1,)


def blas_limit(threads: int) -> AbstractContextManager[Any]:
    """Hold NumPy's BLAS to so many threads."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(threads, user_api="blas")


def missing(module: str) -> str | None:
    """Return None, or why the module cannot be imported."""
    try:
        __import__(module)
    except Exception as error:  # a broken installation is no reason to stop the others
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return None


def entrants() -> list[Entrant]:
    """Return all of them; fastnn first, then as the columns of the table stand."""
    import with_fastnn
    import with_jax
    import with_numpy
    import with_onnx
    import with_sklearn
    import with_torch

    files = (with_fastnn, with_numpy, with_sklearn, with_torch, with_jax, with_onnx)
    return [entrant for file in files for entrant in file.ENTRANTS]
