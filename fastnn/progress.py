"""Showing how far a fit has come."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .history import History

# Seconds between two lines, where there is no bar.
_LINE_EVERY = 2.0


def _describe(history: History) -> str:
    text = f"cost {history.cost[-1]:.4f}"
    if history.validation_cost:
        text += f", validation {history.validation_cost[-1]:.4f}"
    return text


@contextmanager
def reporter(
    progress: bool | Callable[[int, History], Any], epochs: int
) -> Iterator[Callable[[History], Any]]:
    """Yield the function to call after each epoch."""
    if callable(progress):
        # A progress callback of the caller's own.
        yield lambda history: progress(len(history.cost), history)
    elif not progress:
        yield lambda history: None
    else:
        try:
            from tqdm.auto import tqdm
        except ImportError:
            yield _lines(epochs)
        else:
            with tqdm(total=epochs, unit="epoch") as bar:
                yield _bar(bar)


def _bar(bar: Any) -> Callable[[History], None]:
    def report(history: History) -> None:
        bar.set_postfix_str(_describe(history), refresh=False)
        bar.update(len(history.cost) - bar.n)

    return report


def _lines(epochs: int) -> Callable[[History], None]:
    last = time.monotonic()

    def report(history: History) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _LINE_EVERY or len(history.cost) == epochs:
            last = now
            line = f"epoch {len(history.cost)} of {epochs}: {_describe(history)}"
            print(line, file=sys.stderr, flush=True)

    return report
