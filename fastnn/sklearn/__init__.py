"""Estimators with scikit-learn's interface, computed by fastnn's kernels.

Needs scikit-learn: ``pip install "numba-fastnn[sklearn]"``. ``import fastnn`` does not import this.
"""

try:
    import sklearn  # noqa: F401
except ImportError as error:
    raise ImportError(
        'fastnn.sklearn needs scikit-learn: pip install "numba-fastnn[sklearn]"'
    ) from error

from ._ensemble_classifier import MLPEnsembleClassifier
from ._ensemble_regressor import MLPEnsembleRegressor
from ._grid_search import MLPGridSearchCV
from ._logistic import LogisticRegression
from ._mlp_classifier import MLPClassifier
from ._mlp_regressor import MLPRegressor

__all__ = [
    "LogisticRegression",
    "MLPClassifier",
    "MLPEnsembleClassifier",
    "MLPEnsembleRegressor",
    "MLPGridSearchCV",
    "MLPRegressor",
]
