"""A search's table of results, as scikit-learn's `GridSearchCV` lays it out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.ma import MaskedArray
from numpy.typing import NDArray
from scipy.stats import rankdata

Array = NDArray[Any]


def search_results(
    points: list[dict[str, Any]], scores: Array, fit_times: Array, score_times: Array
) -> dict[str, Any]:
    """Return ``cv_results_`` from what each point has on each fold, (points, folds).

    Examples
    --------
    >>> one = np.ones((2, 3))
    >>> results = search_results([{"a": 1}, {"b": 2}], one * [[0.5], [0.75]], one, one)
    >>> results["mean_test_score"].tolist(), results["rank_test_score"].tolist()
    ([0.5, 0.75], [2, 1])
    >>> results["param_a"].tolist(), results["param_b"].tolist()
    ([1, None], [None, 2])
    """
    results: dict[str, Any] = {}
    for name, times in (("fit", fit_times), ("score", score_times)):
        results[f"mean_{name}_time"] = times.mean(axis=1)
        results[f"std_{name}_time"] = times.std(axis=1)
    for name in sorted({name for point in points for name in point}):
        given = [point[name] for point in points if name in point]
        # Masked where a point has none.
        results[f"param_{name}"] = values = MaskedArray(
            np.empty(len(points), _type_of(given)), mask=True
        )
        for i, point in enumerate(points):
            if name in point:
                values[i] = point[name]
    results["params"] = points
    for f in range(scores.shape[1]):
        results[f"split{f}_test_score"] = scores[:, f]
    results["mean_test_score"] = mean = scores.mean(axis=1)
    results["std_test_score"] = scores.std(axis=1)
    # Those without a score come last.
    worst = np.nanmin(mean) - 1 if np.isfinite(mean).any() else 0.0
    ranks = rankdata(-np.where(np.isnan(mean), worst, mean), method="min")
    results["rank_test_score"] = ranks.astype(np.int32)
    return results


def _type_of(values: list[Any]) -> Any:
    """Return the type of an array of these: numbers' own, else that of objects."""
    try:
        found = np.array(values)
    except ValueError:  # lists of several lengths
        return object
    return found.dtype if found.ndim == 1 and found.dtype.kind in "biuf" else object
