"""What an estimator is given, checked as scikit-learn does; what it had, kept if a fit fails."""

from __future__ import annotations

import numbers
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array, compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

Array = NDArray[Any]

FLOATS = (np.float64, np.float32)


def training_data(
    estimator: Any, X: Any, y: Any, dtype: Any = FLOATS, **options: Any
) -> tuple[Any, Array]:
    """Return the examples as an array in any memory order, or as a CSR matrix, and the targets.

    Sets ``n_features_in_`` and, where X has column names, ``feature_names_in_``. X is copied only
    where it is not of one of the types; of several, the first is what others become.
    """
    dtypes = list(dtype) if isinstance(dtype, tuple) else dtype
    X, y = validate_data(estimator, X, y, accept_sparse="csr", dtype=dtypes, **options)
    return X, y


def query_data(estimator: Any, X: Any) -> Any:
    """Return the examples that a fitted estimator is asked about."""
    check_is_fitted(estimator)
    return validate_data(estimator, X, accept_sparse="csr", dtype=list(FLOATS), reset=False)


def class_labels(y: Array) -> tuple[Array, Array]:
    """Return the classes in order, and for each example which of them it is of."""
    check_classification_targets(y)
    classes, labels = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            # Scikit-learn's estimator checks look for the words "one class".
            f"y holds only one class, {classes[0]!r}: give examples of two classes or more"
        )
    return classes, labels


def weights_of(sample_weight: Any, m: int) -> Array | None:
    """Return the weights of m examples in float64, a new array; None if all count the same."""
    if sample_weight is None:
        return None
    if isinstance(sample_weight, numbers.Number):
        sample_weight = np.full(m, sample_weight)
    weights: Array = check_array(
        sample_weight, ensure_2d=False, dtype=np.float64, copy=True, input_name="sample_weight"
    )
    if weights.shape != (m,):
        raise ValueError(
            f"sample_weight has shape {weights.shape}; expected ({m},): one for each row of X"
        )
    if (weights < 0).any():
        raise ValueError(
            f"sample_weight holds negative values, the least {weights.min():g};"
            " expected values of at least 0"
        )
    if not weights.any():
        raise ValueError(
            # Scikit-learn's estimator checks look for "weight" and "zero".
            "sample_weight is zero for every example: give at least one of them a weight above 0"
        )
    return weights


def with_class_weight(
    weights: Array | None, class_weight: Mapping[Any, float] | str | None, classes: Array, y: Array
) -> Array | None:
    """Return the weights of the examples times those of their classes."""
    if class_weight is None:
        return weights
    labels = np.searchsorted(classes, y)
    if class_weight == "balanced":
        counts = np.bincount(labels, weights, len(classes))
        # A class of which no example counts is left at 0.
        of_class = np.zeros(len(classes))
        np.divide(counts.sum(), len(classes) * counts, out=of_class, where=counts > 0)
    else:
        of_class = compute_class_weight(class_weight, classes=classes, y=y)
    product = of_class[labels] if weights is None else weights * of_class[labels]
    return weights_of(product, len(y))


@contextmanager
def keeping_fitted(estimator: Any) -> Iterator[None]:
    """Give an estimator its fitted attributes back if the fit within fails or is interrupted.

    These are the public ones, and the private ones that its class names in ``_fitted``.
    """
    private = getattr(estimator, "_fitted", ())

    def fitted() -> dict[str, Any]:
        return {
            name: list(value) if isinstance(value, list) else value  # lists grow with each epoch
            for name, value in vars(estimator).items()
            if (name.endswith("_") and not name.startswith("_")) or name in private
        }

    before = fitted()
    try:
        yield
    except BaseException:
        for name in fitted():
            delattr(estimator, name)
        vars(estimator).update(before)
        raise


def query_labels(estimator: Any, X: Any, y: Any, dtype: Any, **options: Any) -> tuple[Any, Array]:
    """Return examples and targets that an estimator is not fitted to, but looks at."""
    return training_data(estimator, X, y, dtype, reset=False, **options)
