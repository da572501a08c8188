"""Many fits side by side: each thread takes one after another, and runs it alone.

A fit is a few calls of a compiled function that runs without the GIL, so that threads of Python
are enough; and since nothing is shared but what is only read, each has the bits that it would have
anywhere else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import partial
from typing import Any

from .history import History
from .threads import helped
from .training import Prepared

# What is told of a fit that has ended: how many have, its place, its history.
Report = Callable[[int, int, History], Any]


def run_all(fits: Sequence[Prepared], at_once: int, report: Report) -> list[History]:
    """Run all fits, ``at_once`` at most; return the history of each."""
    crew = _Crew(fits, report)
    # Which device is asked for belongs to the context.
    helpers = [partial(copy_context().run, crew.help) for _ in range(at_once - 1)]
    try:
        if helpers:
            helped(crew.lead, helpers)
        else:
            crew.lead()
    except KeyboardInterrupt:  # before this thread was one of the crew: others may be at work
        crew.end()
    return crew.histories()


class _Crew:
    """The threads of one call."""

    def __init__(self, fits: Sequence[Prepared], report: Report) -> None:
        self._fits, self._report = fits, report
        # The longest first, or it might be left for one thread when the others have nothing to do.
        longest_first = sorted(range(len(fits)), key=lambda i: fits[i].operations, reverse=True)
        self._left = iter(longest_first)  # next() on a list's iterator is atomic
        self._found: dict[int, History] = {}
        self._why = ""  # no further fit begins, if there is a reason
        self._error: BaseException | None = None
        self._helping = 0
        self._changed = threading.Condition()
        self._reporting = threading.Lock()

    def lead(self) -> None:
        """Run fits until there is none left, and wait for those that others run."""
        self._work()
        while True:
            try:
                with self._changed:
                    self._changed.wait_for(lambda: self._helping == 0)
                break
            except KeyboardInterrupt:
                self._stop("interrupted")
        if self._error is not None:
            raise self._error

    def end(self) -> None:
        """Interrupt all, and wait for them."""
        self._stop("interrupted")
        self.lead()

    def help(self) -> None:
        """Run fits until there is none left: one who comes late finds none."""
        with self._changed:
            self._helping += 1
        self._work()
        with self._changed:
            self._helping -= 1
            self._changed.notify_all()

    def histories(self) -> list[History]:
        """Return the history of each fit; a fit that never began has an empty one."""
        places = range(len(self._fits))
        return [self._found.get(i) or History(stopped=self._why) for i in places]

    def _work(self) -> None:
        try:
            for i in self._left:
                if self._why:
                    break
                self._run(i)
        except KeyboardInterrupt:
            self._stop("interrupted")
        except BaseException as error:
            self._error = error
            self._stop("interrupted")

    def _run(self, i: int) -> None:
        history = self._found[i] = self._fits[i].run(halted=lambda: self._why == "interrupted")
        if history.stopped == "interrupted":
            self._stop("interrupted")
            return
        with self._reporting:
            if self._report(len(self._found), i, history):
                self._stop("progress")

    def _stop(self, why: str) -> None:
        if self._why != "interrupted":
            self._why = why
