"""Every feature scaled to mean 0 and standard deviation 1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .. import validation as check

# Error messages name this many places at most, so that they stay one readable sentence.
_NAMED_PLACES = 5


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
        self.dtype: np.dtype[Any] | None = None if dtype is None else check.float_type(dtype)

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
        self.mean_, self.scale_ = _statistics(check.real_matrix("X", X), "X")
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
        matrix = check.real_matrix(name, X)
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
        return native if native in check.FLOATS else np.dtype(np.float64)


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
    matrix = check.real_matrix("X_train", X_train)
    standardizer.mean_, standardizer.scale_ = _statistics(matrix, "X_train")
    return (
        standardizer._transform(matrix, "X_train"),
        *(standardizer._transform(X, f"others[{i}]") for i, X in enumerate(others)),
    )


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


def _places(indices: NDArray[Any]) -> str:
    """Return indices as text, the first few of them and how many more there are."""
    text = ", ".join(str(index) for index in indices[:_NAMED_PLACES].tolist())
    more = len(indices) - _NAMED_PLACES
    return f"{text} and {more} more" if more > 0 else text
