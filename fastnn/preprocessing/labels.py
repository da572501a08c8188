"""Integer labels turned into one-hot columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .. import validation as check


def one_hot(
    labels: ArrayLike, n_classes: int | None = None, dtype: DTypeLike = np.float32
) -> NDArray[Any]:
    """Turn m integer labels into m columns with a one at the label and zeros elsewhere.

    ``Y[c, e] = 1 if labels[e] == c else 0``

    Parameters
    ----------
    labels : array_like of shape (m,)
        Integers from 0 to n_classes - 1 (or booleans, for the classes 0 and 1).
    n_classes : int, optional
        The number of classes; left out, the largest label plus one. Give it wherever the
        labels at hand may lack the last class.
    dtype : dtype, default float32
        The dtype of Y, any boolean, integer or float type.

    Returns
    -------
    ndarray of shape (n_classes, m)
        Y, in C order.

    Raises
    ------
    ValueError
        If labels is not one-dimensional, is empty, or holds a label below 0 or above
        n_classes - 1; if n_classes is below 1.
    TypeError
        If labels are not integers, n_classes is not an integer, or dtype is no numeric type.

    Examples
    --------
    >>> one_hot([0, 2, 1])
    array([[1., 0., 0.],
           [0., 0., 1.],
           [0., 1., 0.]], dtype=float32)
    """
    array = check.any_array("labels", labels)
    if array.ndim != 1:
        raise ValueError(f"labels has shape {array.shape}: expected (m,), one label an example")
    check.filled("labels", array)
    check.of_kind("labels", array, check.INTEGERS, "integers")
    lowest, highest = int(array.min()), int(array.max())
    classes = highest + 1 if n_classes is None else check.integer("n_classes", n_classes)
    if lowest < 0 or highest >= classes:
        bad = lowest if lowest < 0 else highest
        where = int(np.flatnonzero(array == bad)[0])
        limit = "at least 0" if n_classes is None else f"0 to {classes - 1} (n_classes - 1)"
        raise ValueError(f"labels[{where}] is {bad}: expected {limit}")
    Y = np.zeros((classes, array.size), dtype=check.real_type(dtype))
    # As an index, an array of booleans would be a mask.
    Y[array.astype(np.intp), np.arange(array.size)] = 1
    return Y
