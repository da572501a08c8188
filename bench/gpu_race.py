"""Agree first, then race: the entrants in turn, round after round, in one process."""

from __future__ import annotations

import gc
import statistics
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from fastnn import DeviceError
from gpu_entrants import Entrant, Entry
from gpu_workloads import DisagreementError, Workload, problem


class Effort(NamedTuple):
    """How long things are measured."""

    rounds: int
    shortest: float  # seconds of one measurement


FULL = {"values": Effort(15, 0.02), "product": Effort(11, 0.1), "fit": Effort(9, 0.3),
        "population": Effort(5, 0.3)}  # fmt: skip
QUICK = Effort(2, 0.0)


class _Runner(NamedTuple):
    name: str
    entry: Entry
    times: int  # that `run` is told in a measurement

    def seconds(self, work: Workload) -> float:
        """Return the time of a unit."""
        taken = self.entry.clock.seconds(lambda: self.entry.run(self.times))
        return taken / (self.times * work.steps)


def race(
    work: Workload,
    entrants: list[Entrant],
    device: str,
    *,
    quick: bool,
    tell: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Return the workload's row: every entrant's times, and why others have none.

    Everyone does the work once on the same data and is compared with float64; then each is warmed
    up until a measurement is long enough, and all are measured in turn.
    """
    effort = QUICK if quick else FULL[work.kind]
    given = problem(work)
    runners: list[_Runner] = []
    reasons: dict[str, str] = {}
    wrong: list[str] = []
    for entrant in entrants:
        tell(f"{work.name}: {entrant.name}")
        try:
            entry = entrant.prepare(work, given, device)
            if isinstance(entry, str):
                reasons[entrant.name] = entry
                continue
            entry.run(1)
            given.check(entry.result())
            runners.append(_calibrated(_Runner(entrant.name, entry, 1), work, effort))
        except Exception as error:  # the others are measured all the same
            reasons[entrant.name] = f"{type(error).__name__}: {error}".splitlines()[0]
            own_fault = entrant.name == "fastnn" and not isinstance(error, DeviceError)
            if own_fault or isinstance(error, DisagreementError):
                wrong.append(f"{work.name}, {entrant.name}: {reasons[entrant.name]}")
    times: dict[str, list[float]] = {runner.name: [] for runner in runners}
    for turn in range(effort.rounds):
        tell(f"{work.name}: round {turn + 1} of {effort.rounds}")
        for runner in runners:
            times[runner.name].append(runner.seconds(work))
    clocks = {runner.name: runner.entry.clock.name for runner in runners}
    runners.clear()
    _give_memory_back()
    return {
        "name": work.name,
        "unit": work.unit,
        "bytes": work.bytes,
        "operations": work.operations,
        "seconds": times,
        "clocks": clocks,
        "reasons": reasons,
        "wrong": wrong,
    }


def _calibrated(runner: _Runner, work: Workload, effort: Effort) -> _Runner:
    while True:
        taken = runner.seconds(work) * runner.times * work.steps
        if taken >= effort.shortest:
            return runner
        more = min(16.0, 1.3 * effort.shortest / max(taken, 1e-9))
        runner = runner._replace(times=max(runner.times + 1, int(runner.times * more)))


def _give_memory_back() -> None:
    """Let go of what this workload held, also where a library would keep it."""
    gc.collect()
    if torch := sys.modules.get("torch"):
        torch.cuda.empty_cache()
    if cupy := sys.modules.get("cupy"):
        cupy.get_default_memory_pool().free_all_blocks()


def median(row: dict[str, Any], name: str) -> float | None:
    """Return an entrant's median time of a unit, if it was measured."""
    times = row["seconds"].get(name)
    return statistics.median(times) if times else None
