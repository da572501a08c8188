"""Getting data ready: images to columns, scaling, labels to one-hot, train and test parts.

Everywhere an example is a column: ``X`` is ``(n, m)``, n features of m examples. A table whose
examples are rows is passed as its transpose ``table.T``, a view; results keep its memory order.
Nothing here changes the arrays that it is given.
"""

from __future__ import annotations

import math
import numbers
import operator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

__all__ = [
    "Standardizer",
    "flatten_images",
    "one_hot",
    "scale_pixels",
    "standardize",
    "train_test_split",
]

_FLOAT_TYPES = (np.dtype(np.float32), np.dtype(np.float64))
# The kinds of dtype that hold real numbers: booleans, signed and unsigned integers, floats.
_NUMBER_KINDS = "biuf"
# Error messages name this many places at most, so that they stay one readable sentence.
_NAMED_PLACES = 5


def _float_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """Return dtype as np.dtype, or raise a TypeError unless it is float32 or float64."""
    # np.dtype(None) is float64: a None passed by mistake would go unnoticed.
    if dtype is not None:
        try:
            found = np.dtype(dtype)
        except TypeError:
            found = np.dtype(object)
        if found in _FLOAT_TYPES:
            return found
    raise TypeError(f"dtype is {dtype!r}: expected float32 or float64")


def _generator(seed: int | np.random.Generator) -> np.random.Generator:
    """Return the generator that seed stands for."""
    if isinstance(seed, np.random.Generator):
        return seed
    return np.random.default_rng(_integer(seed, "seed", 0))


def _integer(value: Any, name: str, least: int) -> int:
    """Return value as int, or raise an error unless it is a whole number >= least."""
    try:
        # A bool counts as an integer in Python; here it is always a mistake.
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}: expected an integer >= {least}") from None
    if number < least:
        raise ValueError(f"{name} is {number}: expected an integer >= {least}")
    return number


def _as_array(value: Any, name: str) -> NDArray[Any]:
    """Return value as an array (the same one where it is one), naming the argument in errors."""
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} cannot be made into an array: {error}") from None


def _as_numbers(value: Any, name: str) -> NDArray[Any]:
    """Return value as an array of real numbers."""
    array = _as_array(value, name)
    if array.dtype.kind not in _NUMBER_KINDS:
        raise TypeError(f"{name} has dtype {array.dtype}: expected real numbers")
    return array


def _as_matrix(value: Any, name: str) -> NDArray[Any]:
    """Return value as a matrix of real numbers with at least one feature and one example."""
    array = _as_numbers(value, name)
    if array.ndim != 2:
        raise ValueError(f"{name} has shape {array.shape}: expected (n, m), one example a column")
    if array.size == 0:
        raise ValueError(
            f"{name} is empty, its shape is {array.shape}: "
            f"expected at least one feature and one example"
        )
    return array


def _places(indices: NDArray[Any]) -> str:
    """Return indices as text, the first few of them and how many more there are."""
    text = ", ".join(str(index) for index in indices[:_NAMED_PLACES].tolist())
    more = len(indices) - _NAMED_PLACES
    return f"{text} and {more} more" if more > 0 else text


def flatten_images(images: ArrayLike) -> NDArray[Any]:
    """Turn images into columns, one flattened image a column.

    ``X = images.reshape(m, -1).T``: pixel (i, j) of channel k of image e stands in
    ``X[(i * w + j) * c + k, e]``.

    Parameters
    ----------
    images : array_like
        m images of shape (m, h, w, c), or (m, h, w) where there is one channel. Any numbers.

    Returns
    -------
    ndarray
        X of shape (h * w * c, m) and the dtype of images. It is a view of images wherever NumPy
        can reshape without copying, as where each image lies in one piece in memory (any
        C-ordered array, any choice of its images by a slice); otherwise a copy.

    Raises
    ------
    ValueError
        If images has neither three nor four dimensions, or is empty.
    TypeError
        If images does not hold real numbers.

    Notes
    -----
    Source: the flattening trick of the first exercise in A. Ng's course "Neural Networks and
    Deep Learning".

    Examples
    --------
    >>> import numpy as np
    >>> images = np.arange(2 * 2 * 2 * 3).reshape(2, 2, 2, 3)
    >>> X = flatten_images(images)
    >>> X.shape
    (12, 2)
    >>> bool((X[:, 1] == images[1].ravel()).all()), np.shares_memory(X, images)
    (True, True)
    """
    array = _as_numbers(images, "images")
    if array.ndim not in (3, 4):
        raise ValueError(
            f"images has shape {array.shape}: expected (m, h, w, c) or (m, h, w); "
            f"a single image is images[np.newaxis]"
        )
    if array.size == 0:
        raise ValueError(
            f"images is empty, its shape is {array.shape}: expected at least one image of one pixel"
        )
    return array.reshape(array.shape[0], -1).T


def scale_pixels(images: ArrayLike, dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Divide pixels by 255, the largest value of a pixel channel.

    ``scaled = images / 255``: bytes end up between 0 and 1.

    Parameters
    ----------
    images : array_like
        Pixels of dtype uint8 or any float type, in any shape: images, or columns of
        `flatten_images`. Floats are divided by 255 whatever their range is.
    dtype : dtype, default float32
        The dtype of the result, float32 or float64.

    Returns
    -------
    ndarray
        A new array of the shape and memory order of images. The division is done in the wider
        of the two types and rounded once to dtype.

    Raises
    ------
    TypeError
        If images is neither uint8 nor float (whole numbers of other types need not end at 255),
        or dtype is neither float32 nor float64.
    ValueError
        If images is empty.

    Notes
    -----
    Source: the first exercise in A. Ng's course "Neural Networks and Deep Learning", which
    divides every row of a picture data set by the largest value of a pixel channel.

    Examples
    --------
    >>> import numpy as np
    >>> scale_pixels(np.array([[0, 51, 255]], dtype=np.uint8))
    array([[0. , 0.2, 1. ]], dtype=float32)
    """
    result_dtype = _float_dtype(dtype)
    array = _as_array(images, "images")
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        raise TypeError(
            f"images has dtype {array.dtype}: expected uint8 or a float type, "
            f"with pixels from 0 to 255"
        )
    if array.size == 0:
        raise ValueError(f"images is empty, its shape is {array.shape}: expected pixels")
    scaled = np.empty_like(array, dtype=result_dtype, subok=False)
    wider = np.result_type(array.dtype, result_dtype)
    np.divide(array, 255, out=scaled, dtype=wider, casting="same_kind")
    return scaled


class Standardizer:
    """Shift and scale every feature to mean 0 and standard deviation 1.

    With the statistics over the m examples that `fit` was given::

        mean  = X.sum(axis=1, keepdims=True) / m                            # (n, m) -> (n, 1)
        scale = sqrt(((X - mean) ** 2).sum(axis=1, keepdims=True) / m)      # (n, m) -> (n, 1)
        transform(X) = (X - mean) / scale                                   # (n, m) -> (n, m)

    A feature that is the same in all examples has no scale: it gets 1, and becomes exactly 0.

    Parameters
    ----------
    dtype : dtype, optional
        The dtype of what `transform` and `inverse_transform` return, float32 or float64. Left
        out, it is that of their argument where that is float32 or float64, otherwise float64.

    Attributes
    ----------
    mean_ : ndarray of shape (n, 1), float64
        The mean of each feature; there is none before `fit`.
    scale_ : ndarray of shape (n, 1), float64
        The standard deviation of each feature, 1 where the feature is constant; there is none
        before `fit`.

    Raises
    ------
    TypeError
        If dtype is neither float32 nor float64 nor left out.

    See Also
    --------
    standardize : The same in one call, for a training set and any others.

    Notes
    -----
    Statistics and results are computed in float64 whatever the dtype of X, and results are
    rounded once. The division is by m, not m - 1, as in ``numpy.std``.

    Source: the z-score of statistics, feature by feature.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 3.0, 5.0], [7.0, 7.0, 7.0]])
    >>> standardizer = Standardizer().fit(X)
    >>> standardizer.mean_.ravel().tolist()
    [3.0, 7.0]
    >>> standardizer.transform(X).round(4)
    array([[-1.2247,  0.    ,  1.2247],
           [ 0.    ,  0.    ,  0.    ]])
    >>> bool(np.allclose(standardizer.inverse_transform(standardizer.transform(X)), X))
    True
    """

    mean_: NDArray[np.float64]
    scale_: NDArray[np.float64]

    def __init__(self, dtype: DTypeLike | None = None) -> None:
        self.dtype: np.dtype[Any] | None = None if dtype is None else _float_dtype(dtype)

    def __repr__(self) -> str:
        """Return the call that makes such a Standardizer."""
        return "Standardizer()" if self.dtype is None else f"Standardizer(dtype={self.dtype.name})"

    def fit(self, X: ArrayLike) -> Standardizer:
        """Compute the mean and the standard deviation of every feature.

        Parameters
        ----------
        X : array_like of shape (n, m)
            The training examples, one a column. Any real numbers.

        Returns
        -------
        Standardizer
            This object. A call that fails leaves it as it was.

        Raises
        ------
        ValueError
            If X is not a matrix, is empty, holds NaN or infinite values (one of them would make
            the statistics of its feature NaN), or the statistics overflow float64.
        TypeError
            If X does not hold real numbers.

        Examples
        --------
        >>> Standardizer().fit([[0.0, 4.0]]).scale_
        array([[2.]])
        """
        self.mean_, self.scale_ = _statistics(_as_matrix(X, "X"), "X")
        return self

    def transform(self, X: ArrayLike) -> NDArray[Any]:
        """Return (X - mean) / scale with the statistics of `fit`.

        Parameters
        ----------
        X : array_like of shape (n, m)
            Examples, one a column, with as many features as in `fit`. NaN and infinite values
            go through.

        Returns
        -------
        ndarray of shape (n, m)
            A new array in the memory order of X.

        Raises
        ------
        ValueError
            If `fit` was not called, or X is not a matrix, is empty or has another number of
            features.
        TypeError
            If X does not hold real numbers.

        Examples
        --------
        >>> Standardizer().fit([[0.0, 4.0]]).transform([[2.0, 8.0]])
        array([[0., 3.]])
        """
        return self._transform(X, "X")

    def _transform(self, X: ArrayLike, name: str) -> NDArray[Any]:
        matrix = self._check(X, name)
        centred = np.empty_like(matrix, dtype=np.float64, subok=False)
        np.subtract(matrix, self.mean_, out=centred, dtype=np.float64, casting="same_kind")
        np.divide(centred, self.scale_, out=centred)
        return centred.astype(self._result_dtype(matrix), copy=False)

    def fit_transform(self, X: ArrayLike) -> NDArray[Any]:
        """Compute the statistics of X and return X standardized: `fit`, then `transform`.

        Parameters
        ----------
        X : array_like of shape (n, m)
            The training examples, one a column.

        Returns
        -------
        ndarray of shape (n, m)
            A new array in the memory order of X.

        Raises
        ------
        ValueError, TypeError
            As `fit` does.

        Examples
        --------
        >>> Standardizer().fit_transform([[1.0, 5.0]])
        array([[-1.,  1.]])
        """
        return self.fit(X).transform(X)

    def inverse_transform(self, X: ArrayLike) -> NDArray[Any]:
        """Return X * scale + mean, which undoes `transform` but for rounding.

        Parameters
        ----------
        X : array_like of shape (n, m)
            Standardized examples, one a column, with as many features as in `fit`.

        Returns
        -------
        ndarray of shape (n, m)
            A new array in the memory order of X.

        Raises
        ------
        ValueError, TypeError
            As `transform` does.

        Examples
        --------
        >>> Standardizer().fit([[0.0, 4.0]]).inverse_transform([[0.0, 3.0]])
        array([[2., 8.]])
        """
        matrix = self._check(X, "X")
        restored = np.empty_like(matrix, dtype=np.float64, subok=False)
        np.multiply(matrix, self.scale_, out=restored, dtype=np.float64, casting="same_kind")
        np.add(restored, self.mean_, out=restored)
        return restored.astype(self._result_dtype(matrix), copy=False)

    def _check(self, X: ArrayLike, name: str) -> NDArray[Any]:
        if not hasattr(self, "mean_"):
            raise ValueError("this Standardizer has no statistics yet: call fit first")
        matrix = _as_matrix(X, name)
        if matrix.shape[0] != self.mean_.shape[0]:
            raise ValueError(
                f"{name} has {matrix.shape[0]} features (rows) "
                f"but the Standardizer was fitted on {self.mean_.shape[0]}"
            )
        return matrix

    def _result_dtype(self, X: NDArray[Any]) -> np.dtype[Any]:
        if self.dtype is not None:
            return self.dtype
        native = X.dtype.newbyteorder("=")
        return native if native in _FLOAT_TYPES else np.dtype(np.float64)


def _statistics(X: NDArray[Any], name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean and the scale of every feature of X, each (n, 1)."""
    finite = np.isfinite(X)
    if not finite.all():
        features = np.flatnonzero(~finite.all(axis=1))
        count = X.size - np.count_nonzero(finite)
        raise ValueError(
            f"{name} has {count} NaN or infinite value{'s' if count > 1 else ''}, in "
            f"feature{'s' if len(features) > 1 else ''} {_places(features)}: "
            f"expected finite numbers"
        )
    lowest = X.min(axis=1, keepdims=True)
    constant = lowest == X.max(axis=1, keepdims=True)
    # What overflows is reported below, by name, in place of NumPy's warning.
    with np.errstate(over="ignore", invalid="ignore"):
        # The mean of m equal numbers, as a rounded sum over m, can miss that number.
        mean = np.where(constant, lowest, X.mean(axis=1, dtype=np.float64, keepdims=True))
        mean = mean.astype(np.float64, copy=False)
        centred = np.subtract(X, mean, dtype=np.float64, casting="same_kind")
        # Squares of the values over the largest of them neither overflow nor underflow.
        peak = np.abs(centred).max(axis=1, keepdims=True)
        peak[peak == 0] = 1.0
        np.divide(centred, peak, out=centred)
        scale: NDArray[np.float64] = peak * np.sqrt(
            np.einsum("ij,ij->i", centred, centred)[:, np.newaxis] / X.shape[1]
        )
    overflowing = np.flatnonzero(~(np.isfinite(mean) & np.isfinite(scale)))
    if len(overflowing) > 0:
        raise ValueError(
            f"{name} has values so large that the statistics overflow float64, in "
            f"feature{'s' if len(overflowing) > 1 else ''} {_places(overflowing)}: "
            f"expected smaller numbers"
        )
    # Zero without being constant: a spread below the smallest float64.
    scale[constant | (scale == 0)] = 1.0
    return mean, scale


def standardize(
    X_train: ArrayLike, *others: ArrayLike, dtype: DTypeLike | None = None
) -> tuple[NDArray[Any], ...]:
    """Standardize a training set, and any other sets by the statistics of the training set.

    ``(X - mean) / scale`` with the mean and the scale of X_train, feature by feature. Whatever
    is to go through a network later has to be transformed by these same numbers: keep a
    `Standardizer` where that matters.

    Parameters
    ----------
    X_train : array_like of shape (n, m)
        The training examples, one a column.
    *others : array_like of shape (n, any number)
        Validation sets, test sets, with the same features.
    dtype : dtype, optional
        The dtype of the results, float32 or float64. Left out, it is that of each argument
        where that is float32 or float64, otherwise float64.

    Returns
    -------
    tuple of ndarray
        New arrays, as many as were given, in the same order.

    Raises
    ------
    ValueError
        If an argument is not a matrix, is empty or has another number of features, or X_train
        holds NaN or infinite values.
    TypeError
        If an argument does not hold real numbers, or dtype is neither float32 nor float64.

    See Also
    --------
    Standardizer : Formula and details.

    Examples
    --------
    >>> X_train, X_test = standardize([[0.0, 4.0]], [[2.0, 8.0]])
    >>> X_train
    array([[-1.,  1.]])
    >>> X_test
    array([[0., 3.]])
    """
    standardizer = Standardizer(dtype)
    matrix = _as_matrix(X_train, "X_train")
    standardizer.mean_, standardizer.scale_ = _statistics(matrix, "X_train")
    return (
        standardizer._transform(matrix, "X_train"),
        *(standardizer._transform(X, f"others[{i}]") for i, X in enumerate(others)),
    )


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
    array = _as_array(labels, "labels")
    if array.ndim != 1:
        raise ValueError(f"labels has shape {array.shape}: expected (m,), one label an example")
    if array.size == 0:
        raise ValueError("labels is empty: expected at least one label")
    if array.dtype.kind not in "biu":
        raise TypeError(f"labels has dtype {array.dtype}: expected integers")
    lowest, highest = int(array.min()), int(array.max())
    classes = highest + 1 if n_classes is None else _integer(n_classes, "n_classes", 1)
    if lowest < 0 or highest >= classes:
        bad = lowest if lowest < 0 else highest
        where = int(np.flatnonzero(array == bad)[0])
        limit = "at least 0" if n_classes is None else f"0 to {classes - 1} (n_classes - 1)"
        raise ValueError(f"labels[{where}] is {bad}: expected {limit}")
    try:
        result_dtype = np.dtype(dtype) if dtype is not None else np.dtype(object)
    except TypeError:
        result_dtype = np.dtype(object)
    if result_dtype.kind not in _NUMBER_KINDS:
        raise TypeError(f"dtype is {dtype!r}: expected a boolean, integer or float type")
    Y = np.zeros((classes, array.size), dtype=result_dtype)
    # As an index, an array of booleans would be a mask.
    Y[array.astype(np.intp), np.arange(array.size)] = 1
    return Y


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
    inputs = _as_matrix(X, "X")
    targets = _as_array(y, "y")
    m = inputs.shape[1]
    if targets.ndim not in (1, 2):
        raise ValueError(f"y has shape {targets.shape}: expected (m,) or (n_y, m)")
    if targets.shape[-1] != m:
        raise ValueError(f"y has {targets.shape[-1]} examples but X has {m} (columns)")
    if targets.size == 0:
        raise ValueError(f"y is empty, its shape is {targets.shape}: expected (m,) or (n_y, m)")
    if m < 2:
        raise ValueError("X has 1 example (column): expected at least 2, one for each part")
    if isinstance(test_fraction, (bool, np.bool_)) or not isinstance(test_fraction, numbers.Real):
        raise TypeError(f"test_fraction is {test_fraction!r}: expected a number between 0 and 1")
    if not 0.0 < test_fraction < 1.0:
        raise ValueError(f"test_fraction is {test_fraction}: expected a number between 0 and 1")
    if not isinstance(stratify, (bool, np.bool_)):
        raise TypeError(
            f"stratify is of type {type(stratify).__name__}: expected True or False; "
            f"the classes are those of y"
        )
    m_test = min(max(math.floor(float(test_fraction) * m + 0.5), 1), m - 1)
    shuffled = _generator(seed).permutation(m)
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
    if y.dtype.kind not in _NUMBER_KINDS + "US":
        raise TypeError(f"y has dtype {y.dtype}: expected numbers or strings to stratify by")
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
