"""Agree first, then race: the entrants in turn, round after round, in one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

import limits
import with_numpy
from entrant import Entrant, Entry
from workloads import Array, Data, Workload, data, flat

# Threads of a BLAS or of OpenMP spin for a while after their work; the next one should not have
# to share the processors with them.
_PAUSE = 0.05


class _Runner(NamedTuple):
    entrant: Entrant
    entry: Entry
    threads: int
    units: int  # done in one measurement

    def seconds(self) -> float:
        """Return the time of a unit."""
        begin = time.perf_counter()
        self.entry.run(self.units)
        return (time.perf_counter() - begin) / self.units


def race(
    work: Workload,
    entrants: list[Entrant],
    *,
    rounds: int,
    shortest: float,
    choose: bool = True,
    tell: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Return the workload's row: the times of each entrant, and why others have none.

    Calls are repeated until a measurement takes ``shortest`` seconds; a fit has the workload's
    number of epochs for everyone. Of an entrant that can have one thread or all, the faster way
    is measured; unless ``choose``, the one with one, which no other program can hold up.
    """
    given = data(work)
    units = 3 if work.kind == "fit" and work.batch == work.m else 1
    expected = _reference(work, given, units)
    runners, reasons = [], {}
    for entrant in entrants:
        tell(f"  {entrant.name}: preparing")
        try:
            found = _ready(entrant, work, given, units, expected, shortest, choose)
        except DisagreementError:
            raise
        except Exception as error:
            if entrant.name.startswith("fastnn"):
                raise
            found = f"{type(error).__name__}: {error}".splitlines()[0]
        if isinstance(found, str):
            reasons[entrant.name] = found
        else:
            runners.append(found)
    times: dict[str, list[float]] = {runner.entrant.name: [] for runner in runners}
    machine = []
    for turn in range(rounds):
        tell(f"  round {turn + 1} of {rounds}")
        machine.append(limits.now(work.dtype))
        for runner in runners:
            with runner.entrant.limit(runner.threads):
                time.sleep(_PAUSE)
                runner.entry.run(1)  # wakes its threads, and brings its data back to the caches
                times[runner.entrant.name].append(runner.seconds())
    return {
        **asdict(work),
        "name": work.name,
        "unit": work.unit,
        "operations": work.operations,
        "traffic": work.traffic,
        "seconds": times,
        "limits": machine,
        "threads": {runner.entrant.name: runner.threads for runner in runners},
        "reasons": reasons,
    }


class DisagreementError(Exception):
    """An entrant computes something else."""


def _reference(work: Workload, given: Data, units: int) -> Array:
    """Return what NumPy gives in float64."""
    X, y, W, b = given
    wide = Data(
        X.astype(np.float64),
        y.astype(np.float64) if work.loss == "squared_error" else y,
        [w.astype(np.float64) for w in W],
        [v.astype(np.float64) for v in b],
    )
    entry = with_numpy.prepare(work, wide)
    return entry.flat(entry.run(units))


def _ready(
    entrant: Entrant,
    work: Workload,
    given: Data,
    units: int,
    expected: Array,
    shortest: float,
    choose: bool,
) -> _Runner | str:
    """Return the entrant, compiled, checked and warm, with its better number of threads."""
    best, least = None, np.inf
    choices = entrant.choices if choose else entrant.choices[:1]
    for threads in choices:
        with entrant.limit(threads):
            entry = entrant.prepare(work, given, threads)
            if isinstance(entry, str):
                return entry
            answer = entry.flat(entry.run(units))
            _agree(entrant.name, work, answer, expected, flat(given.W, given.b))
            runner = _calibrated(_Runner(entrant, entry, threads, work.epochs), work, shortest)
            trial = min(runner.seconds() for _ in range(3)) if len(choices) > 1 else 0.0
        if trial < least:
            best, least = runner, trial
    assert best is not None
    return best


def _calibrated(runner: _Runner, work: Workload, shortest: float) -> _Runner:
    """Return the runner with enough calls in a measurement."""
    while work.kind != "fit" and runner.seconds() * runner.units < shortest:
        runner = runner._replace(units=2 * runner.units)
    return runner


def _agree(name: str, work: Workload, answer: Array, expected: Array, initial: Array) -> None:
    """Raise if the answer is not what NumPy gives in float64, but for rounding.

    Of a fit, what is compared is how far the parameters have moved: the parameters themselves
    would agree even if the gradients were wrong.
    """
    single = work.dtype == "float32"
    if work.kind == "fit":
        answer, expected = answer - initial, expected - initial
        # Adam divides a gradient by its own size, so that the smallest ones' rounding counts; and
        # scikit-learn adds epsilon before it corrects the moments, which shows in the first steps.
        tolerance = (2e-2 if work.optimizer == "adam" else 2e-3) if single else 1e-9
    else:
        tolerance = 1e-5 if single else 1e-10
    if answer.shape != expected.shape:
        raise DisagreementError(f"{work.name}: {name} gives {answer.shape}, not {expected.shape}")
    error = float(np.linalg.norm(answer - expected) / np.linalg.norm(expected))
    if not error <= tolerance:
        raise DisagreementError(f"{work.name}: {name} differs from NumPy's float64 by {error:.1e}")
