"""Examples shuffled and split into a training and a test part."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import validation as check


def train_test_split(
    X: ArrayLike,
    y: ArrayLike,
    test_fraction: float = 0.2,
    seed: int | np.random.Generator = 0,
    stratify: bool = False,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Shuffle the examples and split them into a training and a test part.

    The test part gets ``floor(test_fraction * m + 0.5)`` of the m examples, but at least one,
    and leaves at least one.

    Parameters
    ----------
    X : array_like of shape (n, m)
        Inputs, one example a column.
    y : array_like of shape (m,) or (n_y, m)
        Labels, or targets with one example a column.
    test_fraction : float, default 0.2
        The test part's share, between 0 and 1, both excluded.
    seed : int or numpy.random.Generator, default 0
        The same seed gives the same split.
    stratify : bool, default False
        Give every class the same share of both parts, up to whole examples, and at least one
        example in each. The classes are the distinct labels, or the distinct columns of a
        two-dimensional y (one-hot columns, a row of zeros and ones).

    Returns
    -------
    X_train, X_test, y_train, y_test : ndarray
        Copies in the dtype and memory order of X and y. In both parts the examples stand in
        shuffled order.

    Raises
    ------
    ValueError
        If X is not a matrix or has fewer than two examples; if y has another number of them;
        if test_fraction is not between 0 and 1; if seed is negative; if, with stratify, y holds
        NaN, a class has a single example, or a part has fewer examples than there are classes.
    TypeError
        If X does not hold real numbers, or an argument is of the wrong type.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.arange(20.0).reshape(2, 10)
    >>> y = np.array([0, 1] * 5)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, 0.4, stratify=True)
    >>> X_train.shape, X_test.shape, np.bincount(y_train).tolist(), np.bincount(y_test).tolist()
    ((2, 6), (2, 4), [3, 3], [2, 2])
    """
    inputs = check.real_matrix("X", X)
    targets = check.any_array("y", y)
    m = inputs.shape[1]
    if targets.ndim not in (1, 2):
        raise ValueError(f"y has shape {targets.shape}: expected (m,) or (n_y, m)")
    if targets.shape[-1] != m:
        raise ValueError(f"y has {targets.shape[-1]} examples but X has {m} (columns)")
    check.filled("y", targets)
    if m < 2:
        raise ValueError("X has 1 example (column): expected at least 2, one for each part")
    share = check.number("test_fraction", test_fraction, high=1.0, low_open=True)
    # Elsewhere ``stratify`` is the labels themselves.
    check.boolean("stratify", stratify, "True or False (the classes are those of y)")
    m_test = min(max(math.floor(share * m + 0.5), 1), m - 1)
    shuffled = check.generator("seed", seed).permutation(m)
    in_test = np.arange(m) < m_test
    if stratify:
        classes = _classes(targets)[shuffled]
        counts = np.bincount(classes)
        # The first examples of each class, in shuffled order, go to the test part.
        order = np.argsort(classes, kind="stable")
        firsts = np.cumsum(counts) - counts
        rank = np.empty(m, dtype=np.intp)
        rank[order] = np.arange(m) - firsts[classes[order]]
        in_test = rank < _shares(counts, m_test)[classes]
    train, test = shuffled[~in_test], shuffled[in_test]
    return (
        _take_examples(inputs, train),
        _take_examples(inputs, test),
        _take_examples(targets, train),
        _take_examples(targets, test),
    )


def _classes(y: NDArray[Any]) -> NDArray[np.intp]:
    """Return the class of every example of y, numbered from 0."""
    check.of_kind("y", y, check.REALS + "US", "numbers or strings to stratify by")
    if y.dtype.kind == "f" and np.isnan(y).any():
        raise ValueError(f"y holds {np.count_nonzero(np.isnan(y))} NaN: expected class labels")
    axis = None if y.ndim == 1 else 1
    classes: NDArray[np.intp] = np.unique(y, axis=axis, return_inverse=True)[1].reshape(-1)
    return classes


def _shares(counts: NDArray[np.intp], m_test: int) -> NDArray[np.intp]:
    """Return how many examples of each class go to the test part, m_test in all.

    The whole parts of the exact shares, and what is missing by the largest remainders; but at
    least one of each class, and at most all but one.
    """
    m, n_classes = int(counts.sum()), len(counts)
    single = np.count_nonzero(counts < 2)
    if single > 0:
        raise ValueError(
            f"y has {single} class{'es' if single > 1 else ''} with a single example: "
            f"expected at least 2 of every class to stratify"
        )
    for part, size in (("test", m_test), ("training", m - m_test)):
        if size < n_classes:
            raise ValueError(
                f"the {part} part gets {size} of {m} examples but y has {n_classes} classes: "
                f"expected a test_fraction that leaves one of each class in both parts"
            )
    exact = counts * (m_test / m)
    shares: NDArray[np.intp] = np.clip(np.floor(exact).astype(np.intp), 1, counts - 1)
    # Neither loop takes more turns than there are classes.
    while shares.sum() < m_test:
        shares[np.argmax(np.where(shares < counts - 1, exact - shares, -np.inf))] += 1
    while shares.sum() > m_test:
        shares[np.argmax(np.where(shares > 1, shares - exact, -np.inf))] -= 1
    return shares


def _take_examples(array: NDArray[Any], examples: NDArray[np.intp]) -> NDArray[Any]:
    """Return a copy of these examples (positions on the last axis) in the array's order."""
    if array.ndim == 2 and abs(array.strides[0]) < abs(array.strides[1]):
        # Examples are rows in memory: they are copied, and stay, as rows.
        return np.take(array.T, examples, axis=0).T
    return np.take(array, examples, axis=-1)
