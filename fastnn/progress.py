"""Showing how far a fit, or many, have come."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .history import History

# Seconds between two lines, where there is no bar.
_LINE_EVERY = 2.0


def _describe(history: History) -> str:
    if not history.cost:
        return ""
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
        with _shown(epochs, "epoch") as show:
            yield lambda history: show(len(history.cost), history)


def ends(said: Any) -> bool:
    """Return whether a callable's answer ends training: True does; a count or an array does not."""
    return isinstance(said, bool | np.bool_) and bool(said)


@contextmanager
def counter(
    progress: bool | Callable[[int, int, History], Any], networks: int
) -> Iterator[Callable[[int, int, History], Any]]:
    """Yield the function to call after each network; it returns whether training is to end."""
    if callable(progress):

        def told(done: int, place: int, history: History) -> bool:
            return ends(progress(done, place, history))

        yield told
    elif not progress:
        yield lambda done, place, history: None
    else:
        with _shown(networks, "network") as show:
            yield lambda done, place, history: show(done, history)


@contextmanager
def _shown(total: int, unit: str) -> Iterator[Callable[[int, History], None]]:
    """Yield the function that shows how many are done, and the last one's costs."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        yield _lines(total, unit)
    else:
        with tqdm(total=total, unit=unit) as bar:
            yield _bar(bar)


def _bar(bar: Any) -> Callable[[int, History], None]:
    def show(done: int, history: History) -> None:
        bar.set_postfix_str(_describe(history), refresh=False)
        bar.update(done - bar.n)

    return show


def _lines(total: int, unit: str) -> Callable[[int, History], None]:
    last = time.monotonic()

    def show(done: int, history: History) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _LINE_EVERY or done == total:
            last = now
            line = f"{unit} {done} of {total}: {_describe(history)}"
            print(line, file=sys.stderr, flush=True)

    return show
