"""MLPClassifier and MLPRegressor with scikit-learn's interface, beside scikit-learn's own."""

from __future__ import annotations

import inspect
import io
import pickle
import signal
import threading
import time
import tracemalloc
import warnings
from contextlib import redirect_stdout

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs scikit-learn")
import sklearn
from scipy import sparse
from sklearn import neural_network as theirs
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    make_multilabel_classification,
)
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastnn
from fastnn.sklearn import MLPClassifier, MLPRegressor

sklearn_version = tuple(map(int, sklearn.__version__.split(".")[:2]))

pytestmark = [
    pytest.mark.compiled,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    # What scikit-learn of before 1.8 tells SciPy's newest L-BFGS.
    pytest.mark.filterwarnings("ignore:scipy.optimize:DeprecationWarning"),
]


@parametrize_with_checks([MLPClassifier(max_iter=100), MLPRegressor(max_iter=100)])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def iris():
    X, y = load_iris(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return StandardScaler().fit_transform(X), y / 100


def farthest(ours, own):
    """Return the largest difference between two networks' parameters."""
    pairs = zip(ours.coefs_ + ours.intercepts_, own.coefs_ + own.intercepts_, strict=True)
    return max(np.abs(a - b).max() for a, b in pairs)


# ------------------------------------------------------------------ the same as scikit-learn

SETTINGS = {
    "adam": dict(max_iter=15),
    "sgd": dict(solver="sgd", learning_rate_init=0.05, max_iter=15),
    "plain": dict(solver="sgd", momentum=0, learning_rate_init=0.05, max_iter=15),
    "heavy ball": dict(solver="sgd", nesterovs_momentum=False, max_iter=15),
    "invscaling": dict(
        solver="sgd", learning_rate="invscaling", learning_rate_init=0.1, max_iter=15
    ),
    "adaptive": dict(
        solver="sgd", learning_rate="adaptive", learning_rate_init=0.1, tol=5e-2,
        n_iter_no_change=2, max_iter=60,
    ),
    "lbfgs": dict(solver="lbfgs", max_iter=10),
    "stops by training loss": dict(tol=1e-2, n_iter_no_change=3),
    # a tenth held out leaves whole batches
    "early stopping": dict(early_stopping=True, n_iter_no_change=3, max_iter=60, batch_size=45),
    "two layers": dict(hidden_layer_sizes=(11, 7), activation="tanh", max_iter=15),
    "logistic": dict(activation="logistic", max_iter=15),
    "identity": dict(activation="identity", max_iter=15),
    "no hidden layer": dict(hidden_layer_sizes=(), max_iter=15),
    "in order": dict(shuffle=False, max_iter=15),
    "strong penalty": dict(alpha=10.0, max_iter=15),
}  # fmt: skip


@pytest.mark.parametrize("data", [iris, cancer], ids=lambda f: f.__name__)
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_the_same_seed_trains_the_same_classifier(settings, data):
    X, y = data()
    m = len(y) // 50 * 50  # whole batches of 50: alpha counts alike in all
    settings = {"batch_size": 50, **settings}
    ours = MLPClassifier(random_state=3, **settings).fit(X[:m], y[:m])
    own = theirs.MLPClassifier(random_state=3, **settings).fit(X[:m], y[:m])
    assert ours.n_iter_ == own.n_iter_
    assert ours.loss_ == pytest.approx(own.loss_, rel=1e-6)
    # Rounding grows from step to step, most in Adam's division by small roots.
    assert farthest(ours, own) < 1e-4
    np.testing.assert_allclose(ours.predict_proba(X), own.predict_proba(X), rtol=0, atol=1e-5)
    np.testing.assert_array_equal(ours.predict(X), own.predict(X))
    logarithms = ours.predict_log_proba(X)
    np.testing.assert_allclose(np.exp(logarithms), own.predict_proba(X), rtol=0, atol=1e-5)
    for name in ("n_layers_", "n_outputs_", "out_activation_", "t_", "n_features_in_"):
        assert getattr(ours, name) == getattr(own, name), name
    if hasattr(own, "loss_curve_"):
        np.testing.assert_allclose(ours.loss_curve_, own.loss_curve_, rtol=1e-5)
    if own.__dict__.get("validation_scores_"):
        np.testing.assert_allclose(ours.validation_scores_, own.validation_scores_)
        assert ours.best_validation_score_ == pytest.approx(own.best_validation_score_)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_the_same_seed_trains_the_same_regressor(settings):
    X, y = diabetes()
    settings = {"batch_size": 44, **settings}
    X, y = X[:440], y[:440]
    ours = MLPRegressor(random_state=3, **settings).fit(X, y)
    own = theirs.MLPRegressor(random_state=3, **settings).fit(X, y)
    assert ours.n_iter_ == own.n_iter_
    assert ours.loss_ == pytest.approx(own.loss_, rel=1e-5)
    assert farthest(ours, own) < 1e-3
    np.testing.assert_allclose(ours.predict(X), own.predict(X), rtol=0, atol=1e-3)


def test_poisson_trains_as_in_scikit_learn():
    X, y = diabetes()
    X, y = X[:440], y[:440]
    settings = dict(loss="poisson", batch_size=44, solver="sgd", max_iter=15, random_state=0)
    if "loss" not in theirs.MLPRegressor().get_params():
        pytest.skip("scikit-learn has no loss='poisson' before 1.7")
    ours, own = (C(**settings).fit(X, y) for C in (MLPRegressor, theirs.MLPRegressor))
    assert ours.loss_ == pytest.approx(own.loss_, rel=1e-5)
    np.testing.assert_allclose(ours.predict(X), own.predict(X), rtol=1e-4)
    with pytest.raises(ValueError, match="at least 0 for poisson"):
        MLPRegressor(loss="poisson").fit(X, -y)


def test_sample_weights_count_as_in_scikit_learn():
    if "sample_weight" not in inspect.signature(theirs.MLPClassifier.fit).parameters:
        pytest.skip("scikit-learn's networks take no weights before 1.7")
    X, y = iris()
    weights = np.random.default_rng(0).integers(1, 4, 150).astype(float)
    for settings in (dict(solver="lbfgs", max_iter=10), dict(solver="sgd", batch_size=150)):
        ours, own = (
            C(random_state=0, **settings).fit(X, y, weights)
            for C in (MLPClassifier, theirs.MLPClassifier)
        )
        assert farthest(ours, own) < 1e-6
        assert ours.loss_ == pytest.approx(own.loss_, rel=1e-6)


def test_multilabel_and_several_targets_train_as_in_scikit_learn():
    X, Y = make_multilabel_classification(100, random_state=0)
    settings = dict(solver="lbfgs", max_iter=20, random_state=0)
    ours, own = (C(**settings).fit(X, Y) for C in (MLPClassifier, theirs.MLPClassifier))
    np.testing.assert_array_equal(ours.predict(X), own.predict(X))
    np.testing.assert_allclose(ours.predict_proba(X), own.predict_proba(X), atol=1e-6)
    Y = np.column_stack([X[:, 0], X[:, 1] - X[:, 2]])
    settings = dict(solver="sgd", batch_size=50, max_iter=20, random_state=0)
    ours, own = (C(**settings).fit(X, Y) for C in (MLPRegressor, theirs.MLPRegressor))
    np.testing.assert_allclose(ours.predict(X), own.predict(X), rtol=0, atol=1e-6)
    assert ours.predict(X).shape == (100, 2)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_partial_fits_train_as_in_scikit_learn(solver):
    X, y = iris()
    order = np.random.default_rng(0).permutation(150)
    ours, own = (C(solver=solver, random_state=0) for C in (MLPClassifier, theirs.MLPClassifier))
    for _ in range(3):
        for first in range(0, 150, 50):
            part = order[first : first + 50]
            ours.partial_fit(X[part], y[part], classes=[0, 1, 2])
            own.partial_fit(X[part], y[part], classes=[0, 1, 2])
    assert farthest(ours, own) < 1e-6
    np.testing.assert_allclose(ours.loss_curve_, own.loss_curve_, rtol=1e-6)
    assert ours.t_ == own.t_


def test_warm_starts_train_as_in_scikit_learn():
    X, y = iris()
    settings = dict(warm_start=True, max_iter=5, random_state=0, solver="sgd", batch_size=50)
    ours, own = MLPClassifier(**settings), theirs.MLPClassifier(**settings)
    for _ in range(3):
        ours.fit(X, y)
        own.fit(X, y)
    assert farthest(ours, own) < 1e-7
    assert len(ours.loss_curve_) == len(own.loss_curve_) == 15
    with pytest.raises(ValueError, match="same classes"):
        ours.fit(X, y > 0)
    with pytest.raises(ValueError, match="no start for one of"):
        ours.set_params(hidden_layer_sizes=7).fit(X, y)


# ------------------------------------------------------------------ more than scikit-learn


def test_the_network_within_is_fastnns():
    X, y = iris()
    classifier = MLPClassifier((7, 5), ["gelu", "silu"], random_state=0, max_iter=5).fit(X, y)
    net = fastnn.Network([4, 7, 5, 3], ["gelu", "silu", "softmax"], dtype=np.float64)
    for l in range(3):
        net.W[l][...] = classifier.coefs_[l].T
        net.b[l][:, 0] = classifier.intercepts_[l]
    np.testing.assert_allclose(classifier.predict_proba(X), net.forward(X.T).T, rtol=1e-12)


@pytest.mark.parametrize("activation", ["leaky_relu", "elu", "gelu", "silu", "softplus", "sigmoid"])
def test_more_activations(activation):
    X, y = iris()
    classifier = MLPClassifier(20, activation, solver="lbfgs", random_state=0).fit(X, y)
    assert classifier.score(X, y) > 0.97


def test_class_weights_are_sample_weights():
    X, y = cancer()
    by_class = MLPClassifier(class_weight={0: 3.0}, random_state=0, max_iter=5).fit(X, y)
    by_sample = MLPClassifier(random_state=0, max_iter=5).fit(X, y, np.where(y == 0, 3.0, 1.0))
    assert farthest(by_class, by_sample) == 0
    balanced = MLPClassifier(class_weight="balanced", random_state=0, max_iter=5).fit(X, y)
    counts = np.bincount(y)
    same = MLPClassifier(random_state=0, max_iter=5).fit(X, y, len(y) / (2 * counts[y]))
    assert farthest(balanced, same) < 1e-12
    with pytest.raises(ValueError, match="not for labels"):
        MLPClassifier(class_weight="balanced").fit(X, np.column_stack([y, 1 - y]))


def test_a_rare_class_is_found_by_its_weight():
    random = np.random.default_rng(0)
    y = (random.random(2000) < 0.03).astype(int)
    X = random.normal(size=(2000, 2)) + 1.5 * y[:, None]
    plain = MLPClassifier(8, random_state=0, max_iter=60).fit(X, y)
    weighted = MLPClassifier(8, random_state=0, max_iter=60, class_weight="balanced").fit(X, y)
    found = [(c.predict(X)[y == 1] == 1).mean() for c in (plain, weighted)]
    assert found[0] < 0.4 and found[1] > 0.7


def test_a_validation_set_of_ones_own():
    X, y = iris()
    held = np.arange(150) % 5 == 0
    told = dict(X_val=X[held], y_val=y[held])
    classifier = MLPClassifier(random_state=0, max_iter=30).fit(X[~held], y[~held], **told)
    assert len(classifier.loss_curve_) == len(classifier.validation_loss_curve_) == 30
    assert classifier.validation_scores_[-1] == classifier.score(X[held], y[held])
    net = classifier._network()
    assert classifier.validation_loss_curve_[-1] == pytest.approx(net.cost(X[held].T, y[held]))
    # Looked at alone, it changes nothing.
    plain = MLPClassifier(random_state=0, max_iter=30).fit(X[~held], y[~held])
    assert farthest(classifier, plain) == 0


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("targets", ["one", "two", "constant"])
def test_validation_scores_are_scikit_learns(targets, weighted):
    X, y = diabetes()
    if targets != "one":
        y = np.column_stack([y, np.ones_like(y) if targets == "constant" else y**2])
    told = dict(X_val=X[:100], y_val=y[:100])
    weights = np.random.default_rng(0).random(100) if weighted else None
    if weighted:
        told["sample_weight_val"] = weights
    regressor = MLPRegressor(hidden_layer_sizes=5, max_iter=3, random_state=0).fit(X, y, **told)
    expected = regressor.score(X[:100], y[:100], weights)
    assert regressor.validation_scores_[-1] == pytest.approx(expected, rel=1e-12)
    X, Y = make_multilabel_classification(100, random_state=0)
    told.update(X_val=X, y_val=Y)
    classifier = MLPClassifier(5, max_iter=3, random_state=0).fit(X, Y, **told)
    assert classifier.validation_scores_[-1] == pytest.approx(classifier.score(X, Y, weights))


@pytest.mark.parametrize("early_stopping", [True, "loss"])
def test_early_stopping_restores_the_best(early_stopping):
    X, y = cancer()
    held = np.arange(len(y)) % 3 == 0
    # Hot enough to overshoot, and labels that cannot be learned by heart for good.
    y = np.where(np.random.default_rng(0).random(len(y)) < 0.2, 1 - y, y)
    classifier = MLPClassifier(
        50, early_stopping=early_stopping, random_state=0, learning_rate_init=0.02, tol=0,
        n_iter_no_change=5,
    ).fit(X[~held], y[~held], X_val=X[held], y_val=y[held])  # fmt: skip
    assert classifier.n_iter_ < 200
    losses, scores = classifier.validation_loss_curve_, classifier.validation_scores_
    if early_stopping == "loss":
        best = min(losses)
        assert classifier.best_validation_loss_ == best
        assert classifier._network().cost(X[held].T, y[held]) == pytest.approx(best)
        assert losses.index(best) == len(losses) - 1 - 6  # stops after more than n_iter_no_change
    else:
        assert (
            classifier.score(X[held], y[held]) == max(scores) == classifier.best_validation_score_
        )


def test_partial_fit_with_early_stopping():
    X, y = cancer()
    held = np.arange(len(y)) % 3 == 0
    y = np.where(np.random.default_rng(0).random(len(y)) < 0.2, 1 - y, y)
    classifier = MLPClassifier(
        50, early_stopping="loss", random_state=0, learning_rate_init=0.02, n_iter_no_change=5
    )
    told = dict(X_val=X[held], y_val=y[held])
    calls = 0
    while calls < 200:
        classifier.partial_fit(X[~held], y[~held], classes=[0, 1], **told)
        calls += 1
        if classifier.should_stop_:
            break
    assert 6 < calls < 200
    losses = classifier.validation_loss_curve_
    assert len(losses) == calls
    # The best network of all calls is back, and stays.
    assert classifier._network().cost(X[held].T, y[held]) == pytest.approx(min(losses))
    before = classifier._network().parameters.copy()
    classifier.partial_fit(X[~held], y[~held], **told)
    np.testing.assert_array_equal(classifier._network().parameters, before)
    assert len(classifier.validation_loss_curve_) == calls
    with pytest.raises(ValueError, match="given X_val and y_val"):
        MLPClassifier(early_stopping=True).partial_fit(X, y, classes=[0, 1])


def test_dropout_clipping_and_schedules_reach_the_network():
    X, y = iris()
    plain = MLPClassifier(random_state=0, max_iter=3).fit(X, y)
    for more in (
        dict(dropout=0.5),
        dict(clip_norm=1e-3),
        dict(learning_rate="cosine"),
        dict(learning_rate=fastnn.StepDecay(1, 0.5)),
        dict(learning_rate=lambda t: 1 / (1 + t)),
        dict(warmup=2),
    ):
        assert farthest(plain, MLPClassifier(random_state=0, max_iter=3, **more).fit(X, y)) > 1e-5
    two = dict(hidden_layer_sizes=(9, 8), dropout=[0.1, 0.2], random_state=0, max_iter=3)
    assert farthest(*(MLPClassifier(**two).fit(X, y) for _ in range(2))) == 0
    # At max_iter the cosine has come to 0, and the last steps with it.
    long = MLPClassifier(random_state=0, max_iter=40, learning_rate="cosine", tol=0).fit(X, y)
    assert abs(long.loss_curve_[-1] - long.loss_curve_[-2]) < 1e-4
    still = dict(random_state=0, max_iter=3, solver="sgd")
    moved = MLPClassifier(learning_rate=lambda t: 0 * t, **still).fit(X, y)
    assert np.ptp(moved.loss_curve_) < 1e-6
    with pytest.raises(ValueError, match="dropout needs solver"):
        MLPClassifier(solver="lbfgs", dropout=0.1).fit(X, y)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber"])
def test_losses_answer_outliers_as_they_should(loss):
    random = np.random.default_rng(0)
    X = random.uniform(-1, 1, (300, 1))
    y = 2 * X[:, 0]
    y[::10] += 50
    regressor = MLPRegressor(
        loss, (), solver="lbfgs", alpha=0, random_state=0, max_iter=500, tol=1e-9
    ).fit(X, y)
    off = np.abs(regressor.predict(X) - 2 * X[:, 0]).mean()
    assert (off > 3) if loss == "squared_error" else (off < 0.3)


def test_callbacks_are_called_after_each_epoch():
    callback = pytest.importorskip("sklearn.callback", reason="callbacks came with 1.9")
    X, y = iris()
    monitor = callback.ScoringMonitor(scoring="accuracy")
    classifier = MLPClassifier(random_state=0, max_iter=4)
    classifier.set_callbacks(monitor).fit(X, y)
    plain = MLPClassifier(random_state=0, max_iter=4).fit(X, y)
    assert farthest(classifier, plain) == 0
    scores = monitor.get_logs().data_as_pandas["accuracy"]
    assert scores.max() == pytest.approx(classifier.score(X, y))
    assert len(scores) >= 4


def test_a_device_may_be_chosen():
    X, y = iris()
    on_cpu, on_numpy = (
        MLPClassifier(5, random_state=0, max_iter=3, device=device).fit(X, y)
        for device in ("cpu", "numpy")
    )
    assert farthest(on_cpu, on_numpy) < 1e-9
    with pytest.raises(ValueError, match="abacus"):
        MLPClassifier(device="abacus").fit(X, y)


# ------------------------------------------------------------------ data


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_types_are_kept(dtype):
    X, y = iris()
    classifier = MLPClassifier(5, random_state=0, max_iter=3).fit(X.astype(dtype), y)
    assert all(a.dtype == dtype for a in classifier.coefs_ + classifier.intercepts_)
    assert classifier.predict_proba(X.astype(dtype)).dtype == dtype
    regressor = MLPRegressor(hidden_layer_sizes=5, random_state=0, max_iter=3)
    assert regressor.fit(X.astype(dtype), y).predict(X.astype(dtype)).dtype == dtype


@pytest.mark.parametrize(
    "laid_out", [np.ascontiguousarray, np.asfortranarray, lambda X: np.repeat(X, 2, 0)[::2]]
)
def test_memory_orders_and_the_callers_data(laid_out):
    X, y = iris()
    given = laid_out(X)
    before = given.copy()
    classifier = MLPClassifier(5, random_state=0, max_iter=3).fit(given, y)
    plain = MLPClassifier(5, random_state=0, max_iter=3).fit(X, y)
    assert farthest(classifier, plain) < 1e-12
    np.testing.assert_array_equal(given, before)


@pytest.mark.parametrize("form", ["csr_array", "csc_array", "coo_array", "csr_matrix"])
@pytest.mark.parametrize(
    "settings",
    [
        dict(max_iter=4, batch_size=64),
        dict(max_iter=4, shuffle=False),
        dict(solver="lbfgs", max_iter=10),
        dict(max_iter=4, early_stopping=True),
        dict(max_iter=4, solver="sgd", learning_rate=fastnn.StepDecay(1), clip_norm=0.1),
    ],
    ids=["adam", "in order", "lbfgs", "early stopping", "scheduled"],
)
def test_sparse_examples_train_as_dense_ones(form, settings, monkeypatch):
    # Blocks of a few rows, so that an epoch is many of them.
    monkeypatch.setattr("fastnn.sklearn._sparse_training.BLOCK_BYTES", 1 << 12)
    X, y = load_digits(return_X_y=True)
    X, y = X[:600] / 16, y[:600]
    given = getattr(sparse, form)(X)
    ours = MLPClassifier(20, random_state=0, **settings).fit(given, y)
    dense = MLPClassifier(20, random_state=0, **settings).fit(X, y)
    limit = 1e-9 if settings.get("solver") == "lbfgs" else 1e-12
    assert farthest(ours, dense) < limit
    np.testing.assert_allclose(ours.predict_proba(given), dense.predict_proba(X), atol=1e-9)
    assert ours.loss_ == pytest.approx(dense.loss_, rel=1e-9)


def test_sparse_examples_are_never_dense_as_a_whole():
    random = np.random.default_rng(0)
    X = sparse.random_array((4000, 2000), density=0.002, format="csr", rng=random)
    y = random.integers(0, 2, 4000)
    MLPClassifier(2, max_iter=1).fit(X[:300], y[:300])  # what is compiled and imported
    tracemalloc.start()
    classifier = MLPClassifier(2, max_iter=2, random_state=0).fit(X, y)
    classifier.predict_proba(X)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 32e6  # of 64 MB that they would take


def test_dropout_on_sparse_examples_trains():
    X, y = load_digits(return_X_y=True)
    classifier = MLPClassifier(50, random_state=0, dropout=0.2, max_iter=40)
    assert classifier.fit(sparse.csr_array(X / 16), y).score(X / 16, y) > 0.95


def test_data_frames_and_feature_names():
    X, y = iris()
    plain = MLPClassifier(5, random_state=0, max_iter=3).fit(X, y)
    for name in ("pandas", "polars"):
        frames = pytest.importorskip(name, reason=f"needs {name}")
        if name == "polars" and sklearn_version < (1, 9):
            pytest.skip("the names of Polars' columns are read from scikit-learn 1.9 on")
        frame = frames.DataFrame({f"f{i}": X[:, i] for i in range(4)})
        labels = np.array(["setosa", "versicolor", "virginica"])[y]
        classifier = MLPClassifier(5, random_state=0, max_iter=3).fit(frame, labels)
        assert classifier.feature_names_in_.tolist() == ["f0", "f1", "f2", "f3"]
        assert set(classifier.predict(frame)) <= set(labels)
        assert farthest(classifier, plain) < 1e-12
        with pytest.raises(ValueError, match="feature names"):
            classifier.predict(frame.rename(columns={"f0": "g"}) if name == "pandas" else
                               frame.rename({"f0": "g"}))  # fmt: skip


def test_one_class_alone():
    X, _ = iris()
    classifier = MLPClassifier(3, max_iter=2).fit(X, np.full(150, 7))
    assert set(classifier.predict(X)) == {7}
    np.testing.assert_array_equal(classifier.predict_proba(X), np.ones((150, 1)))


# ------------------------------------------------------------------ in company


def test_pipelines_grids_and_calibration():
    X, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(
        StandardScaler(), MLPClassifier(8, random_state=0, learning_rate_init=0.05, max_iter=60)
    )
    assert cross_val_score(pipeline, X, y, cv=3).mean() > 0.85
    grid = GridSearchCV(
        pipeline,
        {"mlpclassifier__activation": ["relu", "gelu"], "mlpclassifier__dropout": [0.0, 0.1]},
        n_jobs=2,
        cv=2,
    ).fit(X, y)
    assert grid.best_score_ > 0.8
    calibrated = CalibratedClassifierCV(pipeline, cv=2).fit(X, y)
    assert calibrated.score(X, y) > 0.85


def test_clones_and_pickles():
    X, y = iris()
    classifier = MLPClassifier(5, random_state=0, max_iter=3, dropout=[0.1]).fit(X, y)
    fresh = clone(classifier)
    assert not hasattr(fresh, "coefs_")
    assert farthest(fresh.fit(X, y), classifier) == 0
    text = pickle.dumps(classifier)
    again = pickle.loads(text)
    np.testing.assert_array_equal(again.predict_proba(X), classifier.predict_proba(X))
    again.partial_fit(X, y)
    classifier.partial_fit(X, y)
    assert farthest(again, classifier) == 0


def test_attributes_are_the_network_whoever_changes_them():
    X, y = iris()
    classifier = MLPClassifier(5, random_state=0, max_iter=3).fit(X, y)
    classifier.coefs_[0][...] = 0
    assert np.ptp(classifier.predict_proba(X), axis=0).max() < 1e-14
    classifier.coefs_ = [np.ones_like(W) for W in classifier.coefs_]
    net = classifier._network()
    assert (net.W[0] == 1).all()
    assert all(W.base is net.parameters for W in classifier.coefs_)
    np.testing.assert_allclose(classifier.predict_proba(X), net.forward(X.T).T)


def test_several_threads_at_once():
    X, y = iris()
    alone = MLPClassifier(5, random_state=0, max_iter=20).fit(X, y)
    found = []
    threads = [
        threading.Thread(
            target=lambda: found.append(MLPClassifier(5, random_state=0, max_iter=20).fit(X, y))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(farthest(one, alone) == 0 for one in found)


def test_ctrl_c_ends_training_and_leaves_a_network():
    X, y = load_digits(return_X_y=True)
    timer = threading.Timer(0.5, lambda: signal.raise_signal(signal.SIGINT))
    classifier = MLPClassifier(200, max_iter=10**6, tol=0, n_iter_no_change=10**6, random_state=0)
    begin = time.monotonic()
    timer.start()
    with pytest.warns(UserWarning, match="interrupted by user"):
        classifier.fit(X, y)
    assert time.monotonic() - begin < 30
    assert classifier.n_iter_ == len(classifier.loss_curve_) > 0
    assert classifier.score(X, y) > 0.5


def test_a_fit_that_fails_leaves_what_was_there():
    X, y = iris()
    classifier = MLPClassifier(5, random_state=0, max_iter=3).fit(X, y)
    before = classifier.predict_proba(X)
    for wrong in (dict(X=X * np.nan), dict(activation="sine"), dict(device="abacus")):
        data = wrong.pop("X", X)
        broken = classifier.set_params(**wrong)
        with pytest.raises(ValueError):
            broken.fit(data, y)
        classifier.set_params(activation="relu", device=None)
        np.testing.assert_array_equal(classifier.predict_proba(X), before)


def test_verbose_says_what_happens():
    X, y = iris()
    told = io.StringIO()
    with redirect_stdout(told):
        MLPClassifier(5, max_iter=2, verbose=True, early_stopping=True).fit(X, y)
        MLPClassifier(5, max_iter=2, verbose=True, solver="lbfgs").fit(X, y)
    text = told.getvalue()
    for words in ("Iteration 1, loss =", "Validation score:", "lbfgs: loss ="):
        assert words in text


# ------------------------------------------------------------------ wrong arguments


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(hidden_layer_sizes=(5, 0)), "hidden_layer_sizes must be > 0"),
        (dict(hidden_layer_sizes=(5, 4), activation=["relu"]), "names 1 hidden layers"),
        (dict(activation=["softmax"]), "unknown activation 'softmax'"),
        (dict(activation="softmax"), "activation"),
        (dict(dropout=1.0), "dropout"),
        (dict(dropout=[0.1, 0.1]), "dropout has 2 values"),
        (dict(clip_norm=0), "clip_norm"),
        (dict(warmup=-1), "warmup"),
        (dict(momentum=1.0), "momentum"),
        (dict(learning_rate="sometimes"), "learning_rate"),
        (dict(early_stopping="score"), "early_stopping"),
        (dict(class_weight="even"), "class_weight"),
    ],
)
def test_wrong_settings_are_refused(settings, words):
    X, y = iris()
    with pytest.raises(ValueError, match=words):
        MLPClassifier(**{"hidden_layer_sizes": 5, "max_iter": 2, **settings}).fit(X, y)


def test_wrong_data_is_refused():
    X, y = iris()
    with pytest.raises(ValueError, match="give both X_val and y_val"):
        MLPClassifier().fit(X, y, X_val=X)
    with pytest.raises(ValueError, match="sample_weight_val needs"):
        MLPClassifier().fit(X, y, sample_weight_val=np.ones(150))
    with pytest.raises(ValueError, match="features"):
        MLPClassifier().fit(X, y, X_val=X[:, :3], y_val=y)
    with pytest.raises(ValueError, match="but only"):
        MLPClassifier().fit(X, y, X_val=X, y_val=y + 1)
    with pytest.raises(ValueError, match="multilabel"):
        MLPClassifier().fit(X, y, X_val=X, y_val=np.ones((150, 2), int))
    with pytest.raises(ValueError, match="sample_weight"):
        MLPClassifier().fit(X, y, -np.ones(150))
    with pytest.raises(ValueError, match="targets"):
        MLPRegressor().fit(X, y, X_val=X, y_val=np.ones((150, 2)))
    with pytest.raises(NotFittedError):
        MLPClassifier().predict(X)
    with pytest.raises(AttributeError, match="partial_fit"):
        MLPClassifier(solver="lbfgs").partial_fit(X, y)
    with pytest.raises(ValueError, match="non-finite"), np.errstate(all="ignore"):
        MLPRegressor(solver="sgd", learning_rate_init=1e3, max_iter=50).fit(X * 1e6, y)


def test_a_fit_that_has_not_converged_warns():
    X, y = iris()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConvergenceWarning, match="Maximum iterations"):
            MLPClassifier(5, max_iter=2).fit(X, y)
        with pytest.raises(ConvergenceWarning, match="lbfgs failed to converge"):
            MLPClassifier(5, max_iter=2, solver="lbfgs").fit(X, y)
        with pytest.raises(UserWarning, match="larger than the number of examples"):
            MLPClassifier(5, batch_size=500).fit(X, y)


# ------------------------------------------------------------------ one call after another


def photograph(estimator):
    """Return what an estimator says and knows, to be compared later."""
    X, _ = iris()
    told = {
        name: pickle.dumps(value)
        for name, value in vars(estimator).items()
        if name not in ("_net", "_description", "coefs_", "intercepts_")
    }
    return told, estimator._network().parameters.tobytes(), estimator.predict(X).tobytes()


@pytest.mark.parametrize("going_on", ["fit", "warm_start", "partial_fit"])
@pytest.mark.parametrize("wrong", ["diverges", "weights", "kind of targets"])
def test_a_call_that_fails_changes_nothing(going_on, wrong):
    X, y = iris()
    Y = np.eye(3, dtype=int)[y]
    classifier = MLPClassifier(
        5, solver="sgd", learning_rate_init=100, random_state=0, max_iter=3,
        warm_start=going_on == "warm_start",
    )  # fmt: skip
    classifier.partial_fit(X, y, classes=[0, 1, 2])
    call = classifier.partial_fit if going_on == "partial_fit" else classifier.fit
    before = photograph(classifier)
    data = {
        "diverges": (X * 3e307, y),  # a step of 100 such gradients is infinite
        "weights": (X, y, -np.ones(150)),
        "kind of targets": (X, Y, -np.ones(150)),
    }[wrong]
    with pytest.raises(ValueError), np.errstate(all="ignore"):
        call(*data)
    assert photograph(classifier) == before
    call(X, y)  # and it goes on with good data


def test_a_first_call_that_fails_leaves_nothing():
    X, y = iris()
    classifier = MLPClassifier(5)
    with pytest.raises(ValueError):
        classifier.partial_fit(X, y, -np.ones(150), classes=[0, 1, 2])
    with pytest.raises(NotFittedError):
        classifier.predict(X)
    classifier.partial_fit(X, y > 0, classes=[False, True])


def test_the_fitted_network_is_what_predicts_whatever_was_set_since():
    X, y = iris()
    classifier = MLPClassifier((5, 4), random_state=0, max_iter=3).fit(X, y)
    expected = classifier.predict_proba(X)
    classifier.set_params(activation="tanh", hidden_layer_sizes=7, dropout=0.5)
    for same in (classifier, pickle.loads(pickle.dumps(classifier))):
        np.testing.assert_array_equal(same.predict_proba(X), expected)
    regressor = MLPRegressor(hidden_layer_sizes=5, random_state=0, max_iter=3).fit(X, y)
    expected = regressor.predict(X)
    regressor.set_params(loss="poisson")
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(regressor)).predict(X), expected)


def test_another_solver_starts_with_moments_of_its_own():
    X, y = iris()
    classifier = MLPClassifier(5, random_state=0, max_iter=20).fit(X, y)
    before = classifier._network().parameters.copy()
    classifier.set_params(solver="sgd", learning_rate_init=1e-9).partial_fit(X, y)
    assert np.abs(classifier._network().parameters - before).max() < 1e-6


def test_types_may_change_from_call_to_call():
    X, y = iris()
    classifier = MLPClassifier(5, random_state=0).partial_fit(X, y, classes=[0, 1, 2])
    classifier.partial_fit(X.astype(np.float32), y)
    assert classifier.coefs_[0].dtype == np.float64
    told = dict(X_val=X.astype(np.float32), y_val=y)
    classifier.fit(X, y, **told)
    single = MLPClassifier(5, max_iter=2).fit(X.astype(np.float32), y, X_val=X, y_val=y)
    assert single.coefs_[0].dtype == np.float32


def test_adaptive_and_inverse_rates_go_on_as_in_scikit_learn():
    X, y = cancer()
    for settings in (
        dict(learning_rate="adaptive", n_iter_no_change=1, tol=1.0, learning_rate_init=0.5),
        dict(learning_rate="invscaling", learning_rate_init=0.5),
    ):
        told = dict(solver="sgd", random_state=0, batch_size=20, **settings)
        ours, own = MLPClassifier(5, **told), theirs.MLPClassifier(5, **told)
        for m in (120, 20, 40, 40, 40):
            for each in (ours, own):
                each.partial_fit(X[:m], y[:m], classes=[0, 1])
        np.testing.assert_allclose(ours.loss_curve_, own.loss_curve_, rtol=1e-6)
        ours, own = (
            C(5, warm_start=True, max_iter=3, **told) for C in (MLPClassifier, theirs.MLPClassifier)
        )
        for _ in range(2):
            for each in (ours, own):
                each.fit(X[:120], y[:120])
        np.testing.assert_allclose(ours.loss_curve_, own.loss_curve_, rtol=1e-6)


def test_several_targets_stop_where_scikit_learn_does():
    random = np.random.default_rng(0)
    X = random.normal(size=(400, 5))
    Y = np.column_stack([X @ random.normal(size=5) for _ in range(3)])
    told = dict(random_state=0, hidden_layer_sizes=10, learning_rate_init=0.01, max_iter=400)
    ours, own = (C(**told).fit(X, Y) for C in (MLPRegressor, theirs.MLPRegressor))
    assert abs(ours.n_iter_ - own.n_iter_) <= 2
    # The penalty in the loss is the epoch's last one.
    np.testing.assert_allclose(ours.loss_curve_[:20], own.loss_curve_[:20], rtol=1e-5)


def test_multilabel_targets_bit_by_bit():
    X, Y = make_multilabel_classification(100, n_classes=3, random_state=0)
    classifier = MLPClassifier(5, random_state=0)
    for _ in range(2):
        classifier.partial_fit(X, Y, classes=[0, 1, 2])
    assert classifier.predict(X).shape == Y.shape
    with pytest.raises(ValueError, match="classes of multilabel targets are"):
        MLPClassifier(5).partial_fit(X, Y, classes=[0, 1])


def test_early_stopping_may_be_switched_on_and_off():
    X, y = iris()
    told = dict(X_val=X, y_val=y)
    classifier = MLPClassifier(5, max_iter=3, random_state=0, warm_start=True).fit(X, y)
    classifier.set_params(early_stopping=True).fit(X, y, **told)
    classifier.set_params(early_stopping=False).fit(X, y)
    classifier.set_params(early_stopping="loss").partial_fit(X, y, **told)
    assert len(classifier.loss_curve_) == 10


def test_sparse_examples_are_computed_where_they_are_to_be(monkeypatch):
    from fastnn.backends import cpu

    X, y = iris()
    monkeypatch.setattr(cpu, "trainer", None)
    MLPClassifier(5, max_iter=2, device="numpy").fit(sparse.csr_array(X), y)


def test_sparse_regression_targets():
    X, y = iris()
    Y = np.column_stack([y, y > 0]).astype(float)
    told = dict(hidden_layer_sizes=5, max_iter=3, random_state=0)
    ours, dense = MLPRegressor(**told).fit(X, sparse.csr_array(Y)), MLPRegressor(**told).fit(X, Y)
    np.testing.assert_array_equal(ours.predict(X), dense.predict(X))


def test_plateaus_and_odd_arguments():
    X, y = iris()
    classifier = MLPClassifier(
        np.array(5), np.array(["relu"]).tolist(), dropout=np.array(0.5), max_iter=4,
        learning_rate=fastnn.ReduceOnPlateau(0.5, patience=0, min_delta=1e9),
    )  # fmt: skip
    assert classifier.fit(X, y).n_iter_ == 4
    MLPClassifier(np.array([5, 4]), dropout=np.array([0.5, 0.1]), max_iter=2).fit(X, y)
    with pytest.raises(TypeError, match="hidden_layer_sizes must be a whole number"):
        MLPClassifier(["a"]).fit(X, y)


def test_a_pickle_does_not_grow_with_the_examples():
    random = np.random.default_rng(0)
    lengths = []
    for m in (200, 20_000):
        classifier = MLPClassifier(5, max_iter=2, random_state=0)
        classifier.fit(random.normal(size=(m, 3)), random.integers(0, 2, m))
        lengths.append(len(pickle.dumps(classifier)))
    assert abs(lengths[1] - lengths[0]) < 200


def test_ctrl_c_in_lbfgs_keeps_the_last_iteration(monkeypatch):
    X, y = iris()
    calls = 0
    plain = fastnn.Network._cost_of

    def counted(*told):
        nonlocal calls
        calls += 1
        if calls == 8:
            raise KeyboardInterrupt
        return plain(*told)

    monkeypatch.setattr(fastnn.Network, "_cost_of", counted)
    classifier = MLPClassifier(5, solver="lbfgs", random_state=0)
    with pytest.warns(UserWarning, match="interrupted by user"):
        classifier.fit(X, y)
    assert classifier.predict(X).shape == (150,)
    assert 0 < classifier.n_iter_ < 8


def test_curves_have_one_length_after_ctrl_c(monkeypatch):
    X, y = iris()
    classifier = MLPClassifier(5, random_state=0, max_iter=10)
    plain, calls = MLPClassifier._score_of, 0

    def counted(*told):
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return plain(*told)

    monkeypatch.setattr(MLPClassifier, "_score_of", counted)
    with pytest.warns(UserWarning, match="interrupted by user"):
        classifier.fit(X, y, X_val=X, y_val=y)
    lengths = [len(classifier.loss_curve_), len(classifier.validation_scores_)]
    assert [*lengths, len(classifier.validation_loss_curve_), classifier.n_iter_] == [3] * 4
    monkeypatch.undo()
    classifier.partial_fit(X, y)  # with moments of its own, or those of the last epoch
