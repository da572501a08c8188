"""scikit-learn's MLPClassifier: its own fit and batches, without momentum, penalty or shuffle."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from entrant import Entrant, Entry, blas_limit, missing, one_or_all
from workloads import BETA1, BETA2, EPSILON, Data, Workload, flat


def _version() -> str:
    import sklearn

    return sklearn.__version__


def _model(work: Workload, data: Data) -> Any:
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier(
        hidden_layer_sizes=work.sizes[1:-1],
        activation={"sigmoid": "logistic"}.get(work.hidden, work.hidden),
        solver=work.optimizer,
        alpha=0.0,
        batch_size=work.batch,
        learning_rate_init=work.rate,
        shuffle=False,
        momentum=0.0,
        nesterovs_momentum=False,
        tol=0.0,
        n_iter_no_change=10**9,
        warm_start=True,
        beta_1=BETA1,
        beta_2=BETA2,
        epsilon=EPSILON,
    )
    # It draws its parameters in its first fit, on a few examples; here they are replaced.
    classes = np.arange(max(work.sizes[-1], 2))
    few = np.zeros((len(classes), work.sizes[0]), data.X.dtype)
    model.batch_size = len(classes)
    model.partial_fit(few, classes, classes=classes)
    model.batch_size = work.batch
    model.coefs_ = [w.T.copy() for w in data.W]
    model.intercepts_ = [v.copy() for v in data.b]
    return model


def _prepare(work: Workload, data: Data, threads: int) -> Entry | str:
    if work.kind == "gradient":
        return "no public call gives cost and gradient"
    if work.sizes[-1] == 2:
        return "two classes have one output there"
    model, X, y = _model(work, data), data.X, data.y
    if work.kind == "query":

        def query(n: int) -> np.ndarray:
            for _ in range(n):
                A = model.predict_proba(X)
            return A

        # For one output it returns both classes' probabilities.
        return Entry(query, lambda A: A[:, 1] if work.sizes[-1] == 1 else A.ravel())

    def fit(epochs: int) -> Any:
        model.max_iter = epochs
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged
            return model.fit(X, y)

    return Entry(fit, lambda model: flat([w.T for w in model.coefs_], model.intercepts_))


ENTRANTS = [
    Entrant(
        "scikit-learn",
        _version,
        lambda: missing("sklearn.neural_network"),
        _prepare,
        one_or_all(),
        blas_limit,
    )
]
