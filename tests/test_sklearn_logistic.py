"""fastnn.sklearn.LogisticRegression: beside scikit-learn's, and against optimality in NumPy."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="fastnn.sklearn needs scikit-learn")

import sklearn
from scipy import sparse
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression as Original
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastnn
from fastnn.sklearn import LogisticRegression, _blocks, _objective, _solvers

pytestmark = pytest.mark.compiled

VERSION = tuple(int(part) for part in sklearn.__version__.split(".")[:2])
SOLVERS = ("lbfgs", "liblinear", "newton-cg", "newton-cholesky", "sag", "saga")
SMOOTH = ("lbfgs", "newton-cg", "newton-cholesky", "sag", "saga")
SETS = {
    "breast_cancer": load_breast_cancer,
    "wine": load_wine,
    "iris": load_iris,
    "digits": load_digits,
}


def data(name):
    X, y = SETS[name](return_X_y=True)
    return scale(X), y


def two_classes(m=120, n=5, seed=0, noise=1.0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((m, n))
    y = (X @ rng.standard_normal(n) + noise * rng.standard_normal(m) > 0).astype(int)
    return X, y


def three_classes(m=150, n=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((m, n))
    y = (X @ rng.standard_normal((n, 3)) + rng.standard_normal((m, 3))).argmax(axis=1)
    return X, y


def original(l1_ratio, **options):
    """Return scikit-learn's estimator, told of the penalty as its version wants it."""
    if VERSION >= (1, 8):
        return Original(l1_ratio=l1_ratio, **options)
    penalty = {0: "l2", 1: "l1"}.get(l1_ratio, "elasticnet")
    return Original(penalty=penalty, l1_ratio=l1_ratio if 0 < l1_ratio < 1 else None, **options)


def objective(model, X, y, C, l1_ratio, weights=None):
    """Return C sum w loss + penalty, and the least subgradients by W and b, in plain NumPy.

    Only liblinear penalises the intercept; see below.
    """
    X = np.asarray(X.todense() if sparse.issparse(X) else X, np.float64)
    weights = np.ones(len(X)) if weights is None else weights
    W, b = model.coef_.astype(np.float64), model.intercept_.astype(np.float64)
    Z = X @ W.T + b
    Y = (np.asarray(y)[:, None] == model.classes_).astype(float)
    if len(W) == 1:
        P = 1 / (1 + np.exp(-Z))
        Y = Y[:, 1:]
        losses = (np.logaddexp(0, Z) - Y * Z).sum(axis=1)
    else:
        Z = Z - Z.max(axis=1, keepdims=True)
        P = np.exp(Z) / np.exp(Z).sum(axis=1, keepdims=True)
        losses = -(Y * (Z - np.log(np.exp(Z).sum(axis=1, keepdims=True)))).sum(axis=1)
    dZ = C * weights[:, None] * (P - Y)
    J = C * weights @ losses + l1_ratio * abs(W).sum() + (1 - l1_ratio) / 2 * (W**2).sum()
    dW = dZ.T @ X + (1 - l1_ratio) * W
    dW = np.where(
        W == 0,
        np.sign(dW) * np.maximum(abs(dW) - l1_ratio, 0),
        dW + l1_ratio * np.sign(W),
    )
    return J, dW, dZ.sum(axis=0)


# The optimum


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", SETS)
def test_the_optimum_satisfies_its_conditions(name, l1_ratio):
    X, y = data(name)
    model = LogisticRegression(solver="saga", l1_ratio=l1_ratio, tol=1e-10, max_iter=2000)
    model.fit(X, y)
    _, dW, db = objective(model, X, y, 1.0, l1_ratio)
    # tol is for the mean of the losses, the conditions for their sum.
    assert max(abs(dW).max(), abs(db).max()) < 10 * 1e-10 * len(X)


@pytest.mark.parametrize("solver", SMOOTH)
@pytest.mark.parametrize("name", SETS)
def test_l2_gives_the_coefficients_of_scikit_learn(name, solver):
    X, y = data(name)
    expected = Original(solver="newton-cholesky", tol=1e-12, max_iter=1000).fit(X, y)
    found = LogisticRegression(solver=solver, tol=1e-10, max_iter=2000).fit(X, y)
    np.testing.assert_allclose(found.coef_, expected.coef_, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.intercept_, expected.intercept_, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.predict_proba(X), expected.predict_proba(X), atol=1e-6)
    assert found.score(X, y) == expected.score(X, y)


@pytest.mark.parametrize("l1_ratio", [0.5, 1.0])
@pytest.mark.parametrize(("name", "C"), [("breast_cancer", 0.1), ("wine", 1.0), ("iris", 1.0)])
def test_l1_gives_the_coefficients_of_scikit_learn(name, C, l1_ratio):
    X, y = data(name)
    options = {"solver": "saga", "l1_ratio": l1_ratio, "C": C}
    expected = original(tol=1e-12, max_iter=100_000, random_state=0, **options).fit(X, y)
    found = LogisticRegression(tol=1e-10, **options).fit(X, y)
    np.testing.assert_allclose(found.coef_, expected.coef_, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.intercept_, expected.intercept_, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(found.coef_ == 0, expected.coef_ == 0)


@pytest.mark.parametrize("offset", [300.0, 2000.0, 10_000.0])
def test_features_far_from_0(offset):
    X, y = two_classes(500, 4, noise=0.3)
    expected = Original(solver="newton-cholesky", tol=1e-12, max_iter=100).fit(X, y)
    found = LogisticRegression(solver="newton-cholesky", tol=1e-8).fit(X + offset, y)
    assert found.n_iter_[0] <= 10
    np.testing.assert_allclose(found.coef_, expected.coef_, rtol=0, atol=1e-8)
    loose = LogisticRegression(solver="newton-cholesky").fit(X + offset, y)
    np.testing.assert_allclose(loose.coef_, expected.coef_, rtol=0, atol=1e-3)


@pytest.mark.parametrize("factor", [1e-6, 1e-3, 1e3, 1e6, 1e7])
def test_a_feature_of_another_scale(factor):
    X, y = two_classes(500, 4)
    scales = np.array([factor, 1, 1, 1])
    expected = Original(solver="newton-cholesky", C=np.inf, tol=1e-12, max_iter=100).fit(X, y)
    model = LogisticRegression(solver="newton-cholesky", C=np.inf, tol=1e-8).fit(X * scales, y)
    assert model.n_iter_[0] <= 10
    np.testing.assert_allclose(model.coef_ * scales, expected.coef_, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("l1_ratio", [0.5, 1.0])
def test_l1_on_the_digits_gives_the_coefficients_of_scikit_learn(l1_ratio):
    # A strong penalty: scikit-learn takes minutes to get to 1e-6 with a weak one.
    X, y = data("digits")
    options = {"solver": "saga", "l1_ratio": l1_ratio, "C": 0.005}
    expected = original(tol=1e-9, max_iter=20_000, random_state=0, **options).fit(X, y)
    found = LogisticRegression(tol=1e-10, **options).fit(X, y)
    np.testing.assert_allclose(found.coef_, expected.coef_, rtol=0, atol=1e-6)


@pytest.mark.parametrize("intercept_scaling", [1, 10.0])
@pytest.mark.parametrize("l1_ratio", [0, 1])
def test_liblinear_penalises_the_intercept(l1_ratio, intercept_scaling):
    X, y = two_classes()
    options = {"solver": "liblinear", "l1_ratio": l1_ratio, "C": 0.3}
    options["intercept_scaling"] = intercept_scaling
    expected = original(tol=1e-12, max_iter=100_000, random_state=0, **options).fit(X + 1, y)
    found = LogisticRegression(tol=1e-12, **options).fit(X + 1, y)
    np.testing.assert_allclose(found.coef_, expected.coef_, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.intercept_, expected.intercept_, rtol=0, atol=1e-6)


def test_liblinear_dual_has_the_same_optimum():
    X, y = two_classes()
    primal, dual = (
        LogisticRegression(solver="liblinear", dual=dual, tol=1e-10).fit(X, y)
        for dual in (False, True)
    )
    np.testing.assert_array_equal(primal.coef_, dual.coef_)


@pytest.mark.parametrize("solver", SMOOTH)
def test_without_penalty(solver):
    X, y = three_classes()
    model = LogisticRegression(C=np.inf, solver=solver, tol=1e-10, max_iter=1000).fit(X, y)
    _, dW, db = objective(model, X, y, 1.0, 0.0)
    # At C=1 and without the penalty's own derivative.
    assert abs(dW - model.coef_).max() < 1e-6
    assert abs(db).max() < 1e-6
    # Of all that fit as well, the one whose coefficients sum to zero over the classes.
    assert abs(model.coef_.sum(axis=0)).max() < 1e-9
    assert abs(model.intercept_.sum()) < 1e-9


def test_a_feature_twice_and_one_that_is_constant():
    X, y = two_classes()
    X = np.column_stack([X, X[:, 0], np.zeros(len(X)), np.ones(len(X))])
    for l1_ratio in (0.0, 0.5, 1.0):
        model = LogisticRegression(solver="saga", l1_ratio=l1_ratio, tol=1e-10).fit(X, y)
        _, dW, db = objective(model, X, y, 1.0, l1_ratio)
        assert max(abs(dW).max(), abs(db).max()) < 1e-7


@pytest.mark.parametrize("seed", range(6))
def test_features_of_very_different_scale(seed):
    rng = np.random.default_rng(seed)
    X, y = three_classes(80, 12, seed)
    X = X * 10.0 ** rng.uniform(-2, 2, 12)
    weights = rng.integers(0, 4, 80).astype(float)
    for l1_ratio, C in ((1.0, 3.0), (0.1, 0.1), (0.7, 30.0)):
        model = LogisticRegression(solver="saga", l1_ratio=l1_ratio, C=C, tol=1e-10)
        model.fit(X, y, weights)
        _, dW, db = objective(model, X, y, C, l1_ratio, weights)
        assert max(abs(dW).max(), abs(db).max()) < 1e-9 * C * weights.sum() * 10


@pytest.mark.parametrize("limit", [0, 15, 38])
@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
def test_more_coefficients_than_newton_takes(l1_ratio, container, limit, monkeypatch):
    X, y = data("wine")
    expected = LogisticRegression(solver="saga", l1_ratio=l1_ratio, tol=1e-10).fit(X, y)
    for module in (_solvers, sys.modules["fastnn.sklearn._logistic"]):
        # 42 coefficients, of which some 20 are not 0.
        monkeypatch.setattr(module, "NEWTON_LIMIT", limit)
    monkeypatch.setattr(_solvers, "_ENTERING", 3)
    formed = []
    hessian = _objective.Objective.hessian

    def spy(self, theta, chosen):
        formed.append(chosen.size)
        return hessian(self, theta, chosen)

    monkeypatch.setattr(_objective.Objective, "hessian", spy)
    found = clone(expected).fit(container(X), y)
    assert max(formed, default=0) <= limit
    np.testing.assert_allclose(found.coef_, expected.coef_, rtol=0, atol=1e-7)


@pytest.mark.parametrize("l1_ratio", [0.5, 1.0])
@pytest.mark.parametrize(
    ("m", "n", "density", "C"), [(150, 2200, 1.0, 10), (150, 2200, 1.0, 0.3), (400, 3000, 0.01, 10)]
)
def test_l1_of_many_features_costs_no_more_than_scikit_learn(m, n, density, C, l1_ratio):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((m, n)) * (rng.random((m, n)) < density)
    y = X @ rng.standard_normal(n) > 0
    X = sparse.csr_array(X) if density < 1 else X
    options = {"l1_ratio": l1_ratio, "C": C}
    options["solver"] = "liblinear" if l1_ratio == 1 else "saga"
    scores = {}
    other = original(tol=1e-5, max_iter=200, random_state=0, **options)
    with warnings.catch_warnings():
        # Scikit-learn's saga would take minutes to converge.
        warnings.simplefilter("ignore", ConvergenceWarning)
        other.fit(X, y)
    for name, model in {
        "default": LogisticRegression(**options).fit(X, y),
        "tight": LogisticRegression(tol=1e-10, **options).fit(X, y),
        "original": other,
    }.items():
        J, dW, _ = objective(model, X, y, C, l1_ratio)
        of_intercept = abs(model.intercept_).sum() if l1_ratio == 1 else 0
        scores[name] = J + of_intercept
        if name == "tight":
            assert abs(dW).max() <= 1.01e-10 * C * m
    assert scores["tight"] <= scores["original"]
    assert scores["default"] <= scores["tight"] * (1 + 1e-3)


def test_a_penalty_that_leaves_nothing():
    X, y = three_classes()
    model = LogisticRegression(solver="saga", l1_ratio=1, C=1e-6).fit(X, y)
    assert not model.coef_.any()
    np.testing.assert_allclose(model.predict_proba(X[:1])[0], np.bincount(y) / len(y), atol=1e-4)


# Weights, classes, starts


@pytest.mark.parametrize("solver", SOLVERS)
def test_weights_are_repetitions(solver):
    X, y = two_classes()
    weights = np.random.default_rng(1).integers(0, 4, len(y))
    before = weights.copy()
    model = LogisticRegression(solver=solver, tol=1e-10, max_iter=1000)
    weighted = clone(model).fit(X, y, sample_weight=weights)
    repeated = model.fit(X.repeat(weights, axis=0), y.repeat(weights))
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-8)
    np.testing.assert_array_equal(weights, before)


@pytest.mark.parametrize("class_weight", ["balanced", {"a": 3.0, "c": 0.5}])
def test_class_weights_multiply_those_of_the_examples(class_weight):
    X, labels = three_classes()
    y = np.array(["a", "b", "c"])[labels]
    weights = np.random.default_rng(1).uniform(0, 2, len(y))
    options = {"class_weight": class_weight, "tol": 1e-10}
    found = LogisticRegression(**options, max_iter=500).fit(X, y, weights)
    if class_weight == "balanced":
        of_class = weights.sum() / (3 * np.bincount(labels, weights))
    else:
        of_class = np.array([3.0, 1.0, 0.5])
    expected = LogisticRegression(tol=1e-10, max_iter=500).fit(X, y, weights * of_class[labels])
    np.testing.assert_allclose(found.coef_, expected.coef_, atol=1e-9)
    assert found.classes_.tolist() == ["a", "b", "c"]
    assert set(found.predict(X)) <= {"a", "b", "c"}


def test_a_class_of_which_no_example_counts():
    X, y = three_classes()
    weights = (y != 2).astype(float)
    model = LogisticRegression(class_weight="balanced").fit(X, y, weights)
    assert np.isfinite(model.coef_).all()
    assert not (model.predict(X) == 2).any()


def test_a_warm_start_goes_on():
    X, y = data("wine")
    model = LogisticRegression(tol=1e-8, max_iter=1000, warm_start=True).fit(X, y)
    first = model.n_iter_[0]
    coef = model.coef_.copy()
    assert model.fit(X, y).n_iter_[0] < first
    np.testing.assert_allclose(model.coef_, coef, atol=1e-6)
    model.sparsify().fit(X, y)
    with pytest.raises(ValueError, match=r"coef_ has shape \(3, 13\).*shape \(3, 5\)"):
        model.fit(X[:, :5], y)
    assert model.predict(X).shape == y.shape  # as it was


# Data


@pytest.mark.parametrize("solver", SOLVERS)
def test_float32_stays_float32(solver):
    X, y = two_classes()
    model = LogisticRegression(solver=solver).fit(X.astype(np.float32), y)
    expected = np.float64 if solver == "liblinear" else np.float32
    assert model.coef_.dtype == model.intercept_.dtype == expected
    assert model.predict_proba(X.astype(np.float32)).dtype == expected
    assert model.predict_proba(X).dtype == np.float64
    tight = LogisticRegression(solver=solver, tol=1e-10).fit(X, y)
    np.testing.assert_allclose(model.coef_, tight.coef_, atol=0.01)


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", SETS)
def test_float32_goes_as_far_as_float32_can(name, l1_ratio):
    X, y = data(name)
    model = LogisticRegression(solver="saga", l1_ratio=l1_ratio, tol=1e-7)
    model.fit(X.astype(np.float32), y)  # without a warning
    J, *_ = objective(model, X.astype(np.float32), y, 1.0, l1_ratio)
    best = LogisticRegression(solver="saga", l1_ratio=l1_ratio, tol=1e-10).fit(X, y)
    assert J <= objective(best, X, y, 1.0, l1_ratio)[0] * (1 + 1e-5)


def test_memory_orders_give_the_same():
    X, y = three_classes()
    wide = np.zeros((2 * len(X), 2 * X.shape[1]))
    wide[::2, ::2] = X
    expected = LogisticRegression(tol=1e-10, max_iter=500).fit(X, y)
    for same in (np.asfortranarray(X), wide[::2, ::2], X[::-1][::-1], X.astype(">f8")):
        found = clone(expected).fit(same, y)
        np.testing.assert_allclose(found.coef_, expected.coef_, atol=1e-8)
        np.testing.assert_allclose(found.predict_proba(same), expected.predict_proba(X), atol=1e-8)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_network_reads_the_callers_memory(order, dtype, monkeypatch):
    X, y = two_classes()
    X = np.asarray(X, dtype, order=order)
    X.setflags(write=False)
    seen = []
    checked = fastnn.Network._checked

    def spy(self, given, *rest):
        seen.append(given)
        return checked(self, given, *rest)

    monkeypatch.setattr(fastnn.Network, "_checked", spy)
    LogisticRegression().fit(X, y)
    assert seen
    assert all(np.shares_memory(each, X) and each.shape == X.T.shape for each in seen)


@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
@pytest.mark.parametrize("container", ["array", "matrix"])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.5])
def test_sparse_is_dense_by_blocks(kind, container, l1_ratio, monkeypatch):
    X, y = three_classes(101, 7)
    X[np.abs(X) < 0.8] = 0
    weights = np.random.default_rng(0).integers(0, 2, len(y)).astype(float)
    weights[:12] = 0  # the first block of rows does not count
    model = LogisticRegression(solver="saga", l1_ratio=l1_ratio, tol=1e-10)
    expected = clone(model).fit(X, y, weights)
    monkeypatch.setattr(_blocks, "BLOCK_BYTES", 640)
    shapes = []
    blocks = _blocks.row_blocks

    def spy(*args, **options):
        for rows, block in blocks(*args, **options):
            if sparse.issparse(args[0]):
                shapes.append(block.shape)
            yield rows, block

    monkeypatch.setattr(_blocks, "row_blocks", spy)
    X_sparse = getattr(sparse, f"{kind}_{container}")(X)
    found = model.fit(X_sparse, y, weights)
    np.testing.assert_allclose(found.coef_, expected.coef_, atol=1e-9)
    np.testing.assert_allclose(found.predict_proba(X_sparse), expected.predict_proba(X), atol=1e-9)
    assert {rows for rows, _ in shapes} == {640 // 56, 101 % (640 // 56)}
    np.testing.assert_allclose(found.sparsify().predict_proba(X_sparse), found.predict_proba(X))


def test_blocks_are_sums_in_the_order_of_the_rows():
    X, y = two_classes(100, 3)
    net = fastnn.Network([3, 1], ["sigmoid"], dtype=np.float64)
    net.parameters = [0.3, -0.2, 0.1, 0.5]
    weights = np.random.default_rng(0).uniform(0, 3, 100)
    J, gradient = _blocks.Examples(net, sparse.csr_array(X), y, weights).gradient()
    expected = net.gradient(X.T, y, weights)
    np.testing.assert_allclose(J, expected[0], rtol=1e-13)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-12, atol=1e-15)
    again = _blocks.Examples(net, sparse.csr_array(X), y, weights).gradient()
    assert again[0] == J and (again[1] == gradient).all()


@pytest.mark.filterwarnings("ignore:X does not have valid feature names:UserWarning")
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames_keep_their_names(library):
    frames = pytest.importorskip(library, reason=f"makes data frames of {library}")
    if library == "polars" and VERSION < (1, 9):
        pytest.skip("older scikit-learn reads no names from new Polars")
    X, y = data("iris")
    names = ["a", "b", "c", "d"]
    frame = frames.DataFrame(dict(zip(names, X.T, strict=True)))
    model = LogisticRegression().fit(frame, frames.Series(y))
    assert model.feature_names_in_.tolist() == names
    np.testing.assert_allclose(model.predict_proba(frame), model.predict_proba(frame.to_numpy()))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[["b", "a", "c", "d"]])


# What an estimator does


def test_probabilities_of_extreme_scores():
    X = np.array([[-1e4], [-1.0], [1.0], [1e4]])
    model = LogisticRegression(C=100.0).fit(X[1:3], [0, 1])
    with np.errstate(all="raise", under="ignore"):
        P, logarithms = model.predict_proba(X), model.predict_log_proba(X)
    assert P[0].tolist() == [1, 0]
    assert np.isfinite(logarithms).all()
    z = model.decision_function(X)
    np.testing.assert_allclose(logarithms[0, 1], z[0])
    np.testing.assert_allclose(np.exp(logarithms), P)
    model = LogisticRegression(C=100.0).fit(X[:3], [0, 1, 2])
    assert np.isfinite(model.predict_log_proba(X)).all()
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), model.predict_proba(X))


def test_not_fitted():
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        with pytest.raises(NotFittedError):
            getattr(LogisticRegression(), method)([[0.0]])


def test_parameters_are_those_of_scikit_learn():
    if VERSION != (1, 9):
        pytest.skip("the names and defaults are those of scikit-learn 1.9")
    ours, theirs = LogisticRegression().get_params(), Original().get_params()
    assert ours.pop("device") is None
    assert ours == theirs


def test_pipelines_searches_and_copies():
    X, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    assert cross_val_score(pipeline, X, y).mean() > 0.94
    grid = {"logisticregression__C": [0.01, 1.0]}
    search = GridSearchCV(pipeline, grid, n_jobs=2).fit(X, y)
    assert search.best_params_ == {"logisticregression__C": 1.0}
    calibrated = CalibratedClassifierCV(LogisticRegression(max_iter=300), cv=3).fit(X, y)
    assert calibrated.score(X, y) > 0.9
    model = pipeline.fit(X, y)[-1]
    copy = pickle.loads(pickle.dumps(model))
    Z = scale(X)
    np.testing.assert_array_equal(copy.predict_proba(Z), model.predict_proba(Z))
    assert not hasattr(clone(model), "coef_")


def test_metadata_routing():
    X, y = two_classes()
    weights = np.random.default_rng(0).uniform(0, 2, len(y))
    with sklearn.config_context(enable_metadata_routing=True):
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        inner = LogisticRegression().set_fit_request(sample_weight=True)
        pipeline = make_pipeline(scaler, inner).fit(X, y, sample_weight=weights)
    expected = LogisticRegression().fit(StandardScaler().fit_transform(X), y, weights)
    np.testing.assert_array_equal(pipeline[-1].coef_, expected.coef_)


@pytest.mark.parametrize("solver", SOLVERS)
def test_fits_repeat_to_the_bit(solver):
    X, y = two_classes()
    first, second = (LogisticRegression(solver=solver).fit(X, y) for _ in range(2))
    np.testing.assert_array_equal(first.coef_, second.coef_)
    assert first.n_iter_.shape == (1,) and first.n_iter_.dtype == np.int32


def test_devices():
    X, y = two_classes()
    expected = LogisticRegression(tol=1e-10).fit(X, y)
    found = LogisticRegression(tol=1e-10, device="numpy").fit(X, y)
    np.testing.assert_allclose(found.coef_, expected.coef_, atol=1e-9)
    np.testing.assert_allclose(found.predict_proba(X), expected.predict_proba(X))
    with pytest.raises(ValueError, match="unknown device 'gpu'"):
        LogisticRegression(device="gpu").fit(X, y)


@pytest.mark.parametrize(
    ("solver", "begin"),
    [
        ("lbfgs", "lbfgs failed to converge after 2 iteration"),
        ("liblinear", "Liblinear failed to converge, increase the number of iterations"),
        ("newton-cg", "newton-cg failed to converge"),
        ("newton-cholesky", "Newton solver did not converge after 2 iterations"),
        ("sag", "The max_iter was reached"),
        ("saga", "The max_iter was reached"),
    ],
)
def test_too_few_iterations(solver, begin):
    X, y = data("breast_cancer")
    model = LogisticRegression(solver=solver, max_iter=2, tol=1e-12)
    with pytest.warns(ConvergenceWarning, match=begin):
        model.fit(X, y)
    assert model.n_iter_.tolist() == [2]


def test_verbose_tells_each_iteration(capsys):
    X, y = two_classes()
    model = LogisticRegression(verbose=1).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == model.n_iter_[0]
    assert lines[0].startswith("lbfgs, iteration 1: cost 0.")


def test_no_iterations_leave_the_start():
    X, y = two_classes()
    for solver in set(SOLVERS) - {"lbfgs"}:
        with pytest.warns(ConvergenceWarning):
            model = LogisticRegression(solver=solver, max_iter=0).fit(X, y)
        assert not model.coef_.any() and model.n_iter_[0] == 0


# Failures


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_fit_leaves_what_was_there(error, monkeypatch):
    X, y = data("wine")
    model = LogisticRegression().fit(X, y)
    before = {k: v.copy() for k, v in vars(model).items() if isinstance(v, np.ndarray)}
    gradient, calls = _blocks.Examples.gradient, []

    def interrupted(self):
        calls.append(self)
        if len(calls) == 3:
            raise error
        return gradient(self)

    monkeypatch.setattr(_blocks.Examples, "gradient", interrupted)
    with pytest.raises(error):
        model.fit(X[:, :6], np.where(y == 1, "x", "y"))
    monkeypatch.undo()
    for name, value in before.items():
        np.testing.assert_array_equal(getattr(model, name), value)
    assert model.n_features_in_ == 13 and model.score(X, y) > 0.9
    fresh = LogisticRegression()
    with pytest.raises(ValueError, match="only one class"):
        fresh.fit(X, np.zeros(len(X)))
    assert not [name for name in vars(fresh) if name.endswith("_")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(
            ({"solver": solver, "l1_ratio": 1}, f"Solver {solver} supports only 'l2' or None")
            for solver in SMOOTH[:-1]
        ),
        *(
            ({"solver": solver, "dual": True}, f"Solver {solver} supports only dual=False")
            for solver in SMOOTH
        ),
        ({"solver": "liblinear", "l1_ratio": 0.5}, "Only 'saga' solver supports elasticnet"),
        ({"solver": "liblinear", "C": np.inf}, "'liblinear' needs a penalty"),
        ({"solver": "liblinear", "l1_ratio": 1, "dual": True}, "dual=True needs an L2 penalty"),
        ({"solver": "adam"}, "'solver' parameter"),
        ({"C": 0.0}, "'C' parameter"),
        ({"l1_ratio": 2.0}, "'l1_ratio' parameter"),
        ({"device": 3}, "'device' parameter"),
    ],
)
def test_wrong_parameters(options, message):
    X, y = two_classes()
    with pytest.raises(ValueError, match=message):
        LogisticRegression(**options).fit(X, y)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(3), r"sample_weight has shape \(3,\); expected \(120,\)"),
        (np.ones((120, 2)), r"sample_weight has shape \(120, 2\)"),
        (-np.ones(120), "negative values, the least -1"),
        (np.zeros(120), "sample_weight is zero for every example"),
        (np.full(120, np.nan), "sample_weight contains NaN"),
    ],
)
def test_wrong_weights(weights, message):
    X, y = two_classes()
    with pytest.raises(ValueError, match=message):
        LogisticRegression().fit(X, y, weights)


def test_wrong_targets():
    X, y = three_classes()
    with pytest.raises(ValueError, match="Only binary classification is supported"):
        LogisticRegression(solver="liblinear").fit(X, y)
    with pytest.raises(ValueError, match="Unknown label type"):
        LogisticRegression().fit(X, y + 0.5)
    with pytest.raises(ValueError, match=r"X holds 1e\+100"):
        LogisticRegression(solver="liblinear").fit([[0.0], [1e100]], [0, 1])


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"penalty": "l2"}, FutureWarning, "'penalty' was deprecated"),
        ({"penalty": "l1", "solver": "saga"}, UserWarning, "Inconsistent values: penalty=l1"),
        ({"penalty": None, "C": 4}, UserWarning, "penalty=None leaves C=4"),
        ({"penalty": "l2", "l1_ratio": 0.5}, UserWarning, "takes no notice of l1_ratio"),
        ({"l1_ratio": None}, FutureWarning, "'l1_ratio=None' was deprecated"),
        ({"n_jobs": 1}, FutureWarning, "'n_jobs' has no effect"),
    ],
)
def test_deprecated_parameters(options, kind, message):
    X, y = two_classes()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        LogisticRegression(**options).fit(X, y)
    assert any(each.category is kind and message in str(each.message) for each in caught)
    assert {each.filename for each in caught} == {__file__}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"penalty": "l2"}, {}),
        ({"penalty": "l1", "l1_ratio": 1}, {"l1_ratio": 1}),
        ({"penalty": "elasticnet", "l1_ratio": 0.3}, {"l1_ratio": 0.3}),
        ({"penalty": None}, {"C": np.inf}),
    ],
)
def test_the_deprecated_penalty_means_the_same(old, new):
    X, y = two_classes(noise=2.0)
    with pytest.warns(FutureWarning):
        first = LogisticRegression(solver="saga", **old).fit(X, y)
    second = LogisticRegression(solver="saga", **new).fit(X, y)
    np.testing.assert_array_equal(first.coef_, second.coef_)


# Callbacks


class Recorder:
    """A callback of scikit-learn 1.9 that keeps what it is told, and may stop the fit."""

    def __init__(self, last=None):
        self.begun, self.ended, self.last = [], [], last

    def setup(self, estimator, context): ...

    def teardown(self, estimator, context): ...

    def on_fit_task_begin(self, estimator, context):
        self.begun.append(context.task_name)

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        self.ended.append((context.task_name, fitted_estimator))
        return len(self.ended) == self.last


@pytest.mark.parametrize("solver", SOLVERS)
def test_callbacks(solver):
    pytest.importorskip("sklearn.callback", reason="callbacks came with scikit-learn 1.9")
    X, y = two_classes()
    recorder = Recorder()
    model = LogisticRegression(solver=solver).set_callbacks(recorder).fit(X, y)
    n_iter = model.n_iter_[0]
    assert recorder.begun == ["fit"] + [f"{solver}-iter"] * (n_iter + 1)
    # The last iteration that begins is empty, as in scikit-learn.
    assert [name for name, _ in recorder.ended] == [*recorder.begun[1:], "fit"]
    last = recorder.ended[n_iter - 1][1]
    np.testing.assert_array_equal(last.coef_, model.coef_)
    np.testing.assert_array_equal(last.predict(X), model.predict(X))
    assert recorder.ended[n_iter][1] is None


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_callback_stops_the_fit(solver):
    pytest.importorskip("sklearn.callback", reason="callbacks came with scikit-learn 1.9")
    X, y = two_classes()
    recorder = Recorder(last=2)
    model = LogisticRegression(solver=solver, tol=1e-9).set_callbacks(recorder).fit(X, y)
    assert model.n_iter_[0] == 2
    np.testing.assert_array_equal(recorder.ended[1][1].coef_, model.coef_)


# The package


def test_import_fastnn_leaves_scikit_learn_alone():
    code = "import sys, fastnn; assert not {'sklearn', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_scikit_learn_the_error_says_what_to_install():
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "try: import fastnn.sklearn\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert 'pip install "numba-fastnn[sklearn]"' in done.stdout


def expected_failures(estimator):
    if VERSION < (1, 8) and estimator.solver == "liblinear":
        # There, labels for estimators of two classes are made after the rows are shuffled, so that
        # the two fits that are compared get different ones.
        why = "compares fits to different labels"
        kinds = ("dense", "sparse")
        return {f"check_sample_weight_equivalence_on_{kind}_data": why for kind in kinds}
    return {}


@pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning", "ignore::FutureWarning"
)
@parametrize_with_checks(
    [
        *(LogisticRegression(solver=solver) for solver in SOLVERS),
        LogisticRegression(solver="saga", l1_ratio=0.5),
        LogisticRegression(solver="saga", l1_ratio=1),
    ],
    expected_failed_checks=expected_failures,
)
def test_the_checks_of_scikit_learn(estimator, check):
    check(estimator)
