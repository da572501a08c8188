"""Threads for large calls: a few workers that wait for a piece of work.

A worker is a Python thread that calls a compiled kernel, which runs without the GIL. Numba's own
threading layers are not used: the one that is always there ends the process when two Python
threads enter it together, and OpenMP's does not survive a fork.

The pieces are cut without regard to who computes them, and no sum crosses a border between two,
so the bits of a result do not depend on the number of threads. Training, whose steps are far
shorter than it takes to wake a worker, cuts its work itself: see ``kernels/cpu/team.py``.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from functools import cache
from queue import SimpleQueue

from . import validation as check

VARIABLE = "FASTNN_NUM_THREADS"

# Operations worth a piece of their own, some 100 microseconds: waking a worker takes about 30.
_PIECE = 2e7

Task = Callable[[], object]


def count() -> int:
    """Return how many threads one call may use.

    ``FASTNN_NUM_THREADS``, or the number of processors that this process may run on.
    """
    asked = os.environ.get(VARIABLE)
    if asked:
        return _parse(asked)
    return _processors()


@cache
def _parse(asked: str) -> int:
    if not asked.strip().isdigit():
        raise ValueError(f"{VARIABLE} must be a whole number, got {asked!r}")
    return check.integer(VARIABLE, int(asked))


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def ranges(size: int, operations: float, step: int) -> list[tuple[int, int]]:
    """Return borders that cut ``size`` into pieces, multiples of ``step``, for the threads.

    Twice as many pieces as threads, so that one that starts late, or is interrupted, costs
    little; but none smaller than is worth waking a thread for.
    """
    if operations < 2 * _PIECE or count() == 1:
        return [(0, size)]
    pieces = max(1, min(2 * count(), int(operations / _PIECE), -(-size // step)))
    if pieces > count():
        pieces -= pieces % count()  # or the last one would have all threads but one wait
    width = -(-size // (pieces * step)) * step
    return [(begin, min(begin + width, size)) for begin in range(0, size, width)]


def share(tasks: Sequence[Task]) -> None:
    """Run all tasks, on this thread and the workers; return when all have ended."""
    if len(tasks) == 1:
        tasks[0]()
        return
    job = _Job(tasks)
    _team.help_with(job, min(count(), len(tasks)) - 1)
    job.work()
    job.wait()


def helped(task: Task, helpers: Sequence[Task]) -> None:
    """Run the task on this thread while workers, if they come in time, run the helpers.

    The helpers must find nothing to do once the task has ended: nobody waits for them.
    """
    _team.help_with(_Job(helpers), len(helpers))
    task()


class _Job:
    """Tasks, which any number of threads take one after the other."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._size = len(tasks)
        self._tasks = iter(tasks)  # next() on a list's iterator is atomic
        self._ended: SimpleQueue[BaseException | None] = SimpleQueue()

    def work(self) -> None:
        for task in self._tasks:
            try:
                task()
            except BaseException as error:
                self._ended.put(error)
            else:
                self._ended.put(None)

    def wait(self) -> None:
        """Wait for tasks that others still run; raise what a task raised."""
        errors = [self._ended.get() for _ in range(self._size)]
        for error in errors:
            if error is not None:
                raise error


class _Team:
    """The workers; none before there is work for it."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._workers = 0
        self._lock = threading.Lock()

    def help_with(self, job: _Job, helpers: int) -> None:
        with self._lock:
            while self._workers < helpers:
                self._workers += 1
                name = f"fastnn-{self._workers}"
                threading.Thread(target=self._serve, name=name, daemon=True).start()
        for _ in range(helpers):
            # A worker that comes late finds no task left, and waits for the next job.
            self._jobs.put(job)

    def _serve(self) -> None:
        while True:
            self._jobs.get().work()


_team = _Team()


def _forget_workers() -> None:
    # A forked child has this module's state, but none of its threads.
    global _team
    _team = _Team()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_workers)
