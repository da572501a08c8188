"""Examples dealt into folds, for cross-validation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import validation as check

Rows = NDArray[np.int64]


def k_fold(
    m: int,
    folds: int = 5,
    seed: int | np.random.Generator = 0,
    labels: ArrayLike | None = None,
) -> list[tuple[Rows, Rows]]:
    """Deal the numbers of m examples into folds, by chance; each fold is held out once.

    The sizes of two folds differ by one example at most.

    Parameters
    ----------
    m : int
        How many examples there are.
    folds : int, default 5
        At least 2, at most m.
    seed : int or numpy.random.Generator, default 0
        The same seed deals alike.
    labels : array_like of shape (m,), optional
        The examples' classes: each is dealt evenly too, within one example.

    Returns
    -------
    list of (array, array)
        For each fold the numbers of the examples to train on, and of those that are held out,
        both in ascending order: ``rows`` and ``validation`` of :func:`fastnn.fit_many`.

    Raises
    ------
    ValueError
        If there are fewer than two folds, more folds than examples, or not m labels.
    TypeError
        If an argument is of the wrong type.

    Examples
    --------
    >>> from fastnn.preprocessing import k_fold
    >>> for train, held_out in k_fold(7, 3):
    ...     print(train, held_out)
    [0 3 4 5] [1 2 6]
    [0 1 2 3 6] [4 5]
    [1 2 4 5 6] [0 3]
    """
    m = check.integer("m", m)
    folds = check.integer("folds", folds, low=2)
    if folds > m:
        raise ValueError(f"folds must be at most the {m} examples, got {folds}")
    dealt = check.generator("seed", seed).permutation(m)
    if labels is not None:
        dealt = dealt[np.argsort(_classes(labels, m)[dealt], kind="stable")]
    fold = np.empty(m, np.int64)
    # One after another, as cards are dealt: class by class where there are any.
    fold[dealt] = np.arange(m) % folds
    return [(np.flatnonzero(fold != i), np.flatnonzero(fold == i)) for i in range(folds)]


def _classes(labels: ArrayLike, m: int) -> NDArray[Any]:
    found = check.of_kind(
        "labels", check.any_array("labels", labels), check.REALS + "US", "numbers or strings"
    )
    if found.shape != (m,):
        raise ValueError(f"labels has shape {found.shape}; expected ({m},)")
    classes: NDArray[Any] = np.unique(found, return_inverse=True)[1]
    return classes
