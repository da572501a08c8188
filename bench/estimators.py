"""Compare fastnn's estimators with scikit-learn's: the same scores, in what time.

    python bench/estimators.py              # print the table
    python bench/estimators.py --write      # also into docs/coming_from_scikit_learn.md

Each row trains both on the same ten random splits, three quarters against one, with the same
seeds. The scores are accuracy, or R^2 for regression. "Difference" is the mean over the splits of
fastnn's score less scikit-learn's, with its standard error; times are medians of fits, taken in
turn, each library with all the threads that it takes.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from report import insert, seconds

PAGE = Path(__file__).resolve().parent.parent / "docs" / "coming_from_scikit_learn.md"
SEEDS = 10


class Case(NamedTuple):
    data: str
    estimator: str
    settings: dict[str, Any]


class Row(NamedTuple):
    case: Case
    scores: tuple[list[float], list[float]]  # fastnn's, scikit-learn's
    times: tuple[list[float], list[float]]


CLASSIFIED = ("digits", "breast cancer", "wine")
CASES = [
    *(
        Case(data, *told)
        for data in CLASSIFIED
        for told in (
            ("LogisticRegression", {"max_iter": 1000}),
            ("MLPClassifier", {"max_iter": 100}),
            ("MLPClassifier", {"max_iter": 100, "solver": "sgd", "learning_rate_init": 0.05}),
            ("MLPClassifier", {"solver": "lbfgs", "max_iter": 200}),
            ("MLPClassifier", {"max_iter": 200, "early_stopping": True}),
        )
    ),
    Case("diabetes", "MLPRegressor", {"max_iter": 200, "learning_rate_init": 0.01}),
    Case("diabetes", "MLPRegressor", {"solver": "lbfgs", "max_iter": 100, "alpha": 1.0}),
    Case("diabetes", "MLPRegressor", {"max_iter": 500, "early_stopping": True}),
]


def _data(name: str) -> tuple[np.ndarray, np.ndarray]:
    from sklearn import datasets
    from sklearn.preprocessing import StandardScaler

    X, y = getattr(datasets, "load_" + name.replace(" ", "_"))(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def _classes(name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    from sklearn import linear_model, neural_network

    import fastnn.sklearn as ours

    theirs = linear_model if name == "LogisticRegression" else neural_network
    return getattr(ours, name), getattr(theirs, name)


def run(case: Case, seeds: int = SEEDS) -> Row:
    """Return the scores and times of both on the same splits."""
    from sklearn.model_selection import train_test_split

    X, y = _data(case.data)
    pair = _classes(case.estimator)
    scores: tuple[list[float], list[float]] = ([], [])
    times: tuple[list[float], list[float]] = ([], [])
    stratify = y if case.data in CLASSIFIED else None
    for make in pair:  # what is compiled and imported by the first fit
        make(**case.settings, random_state=0).fit(X, y)
    for seed in range(seeds):
        parts = train_test_split(X, y, random_state=seed, stratify=stratify)
        for i, make in enumerate(pair):
            estimator = make(**case.settings, random_state=seed)
            start = time.perf_counter()
            estimator.fit(parts[0], parts[2])
            times[i].append(time.perf_counter() - start)
            scores[i].append(float(estimator.score(parts[1], parts[3])))
    return Row(case, scores, times)


def table(rows: list[Row]) -> str:
    """Return the rows as Markdown."""
    lines = [
        "| data | estimator | fastnn | scikit-learn | difference | fastnn's fit | scikit-learn's"
        " | ratio |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        ours, theirs = (np.asarray(s) for s in row.scores)
        difference = ours - theirs
        error = difference.std(ddof=1) / np.sqrt(len(ours))
        t, other = (statistics.median(times) for times in row.times)
        told = ", ".join(f"{k}={v!r}" for k, v in row.case.settings.items())
        ratio = f"{other / t:.1f}" if other >= t else f"**{other / t:.2f}**"
        lines.append(
            f"| {row.case.data} | `{row.case.estimator}({told})` | {ours.mean():.4f} |"
            f" {theirs.mean():.4f} | {difference.mean():+.4f} ± {error:.4f} | {seconds(t)} |"
            f" {seconds(other)} | {ratio} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--write", action="store_true", help="write the table into the guide")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    asked = parser.parse_args()
    try:
        import sklearn
    except ImportError:
        raise SystemExit('needs scikit-learn: pip install "numba-fastnn[sklearn]"') from None
    warnings.simplefilter("ignore")  # that a fit of so few epochs has not converged
    rows = []
    for case in CASES:
        rows.append(run(case, asked.seeds))
        print(table(rows[-1:]).split("\n")[-1], flush=True)
    text = table(rows)
    if asked.write:
        made = f"scikit-learn {sklearn.__version__}, {asked.seeds} splits, two processors."
        insert(PAGE, "estimators", f"{made}\n\n{text}")
    print(text)


if __name__ == "__main__":
    main()
