"""Ensembles and grid searches: the networks of single fits, and scikit-learn's own scores."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs scikit-learn")
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import FitFailedWarning, NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, ParameterGrid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastnn
from fastnn import populations
from fastnn.sklearn import MLPEnsembleClassifier, MLPEnsembleRegressor, MLPGridSearchCV

pytestmark = pytest.mark.compiled

QUICK = dict(n_estimators=3, hidden_layer_sizes=20, max_iter=60, learning_rate_init=0.01)
DRAWN = {
    "check_sample_weight_equivalence_on_dense_data": "which examples are drawn is a matter of"
    " chance, whatever they weigh"
}


@parametrize_with_checks(
    [MLPEnsembleClassifier(**QUICK), MLPEnsembleRegressor(**QUICK)],
    expected_failed_checks=lambda estimator: DRAWN,
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.fixture(autouse=True)
def _threads_for_the_smallest(monkeypatch):
    monkeypatch.setattr(populations, "_WORTH_THREADS", 0)


def iris():
    X, y = load_iris(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return StandardScaler().fit_transform(X), (y - y.mean()) / y.std()


def classifier(**told):
    first = dict(hidden_layer_sizes=8, max_iter=15, random_state=0, n_estimators=3, batch_size=20)
    return MLPEnsembleClassifier(**first | told)


def regressor(**told):
    first = dict(hidden_layer_sizes=8, max_iter=15, random_state=0, n_estimators=3, batch_size=50)
    return MLPEnsembleRegressor(**first | told)


# ------------------------------------------------------------------ what is trained


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_ensemble_is_networks_on_bootstrap_rows(dtype):
    X, y = iris()
    X = X.astype(dtype)
    weight = np.random.default_rng(0).random(150)
    told = dict(alpha=0.1, dropout=0.2, clip_norm=1.0, learning_rate="cosine")
    ensemble = classifier(**told).fit(X, y, weight)
    random = np.random.RandomState(0)
    for net in ensemble.networks_:
        seed, rows = random.randint(2**31 - 1), random.randint(0, 150, 150)
        alone = fastnn.Network([4, 8, 3], ["relu", "softmax"], dtype=dtype, seed=seed)
        alone.fit(
            X.T[:, rows], y[rows], 15, 20, fastnn.Adam(0.001), l2=0.1 / 20, dropout=0.2,
            clip_norm=1.0, schedule=fastnn.CosineDecay(15), sample_weight=weight[rows],
        )  # fmt: skip
        assert net.dtype == dtype
        assert net.parameters.tobytes() == alone.parameters.tobytes()


@pytest.mark.parametrize(
    ("told", "size"), [({}, 442), (dict(max_samples=0.5), 221), (dict(max_samples=30), 30)]
)
def test_a_regressor_stops_by_the_rows_that_a_network_was_not_given(told, size):
    X, y = diabetes()
    watched = dict(early_stopping=True, n_iter_no_change=2, tol=0.01, max_iter=100)
    ensemble = regressor(solver="sgd", learning_rate_init=0.01, **watched, **told).fit(X, y)
    random = np.random.RandomState(0)
    for net, history in zip(ensemble.networks_, ensemble.histories_, strict=True):
        seed, rows = random.randint(2**31 - 1), random.randint(0, 442, size)
        rest = np.setdiff1d(np.arange(442), rows)
        batch = min(50, size)
        alone = fastnn.Network([10, 8, 1], loss="squared_error", dtype=np.float64, seed=seed)
        expected = alone.fit(
            X.T[:, rows], y[rows], 100, batch, fastnn.SGD(0.01, 0.9, True), l2=1e-4 / batch,
            validation=(X.T[:, rest], y[rest]), patience=2, min_delta=0.01,
        )  # fmt: skip
        assert net.parameters.tobytes() == alone.parameters.tobytes()
        assert history.validation_cost == expected.validation_cost
        assert history.stopped == expected.stopped == "patience"
    assert ensemble.n_iter_ == max(len(history.cost) for history in ensemble.histories_)


def test_without_bootstrap_all_are_taken_or_each_once():
    X, y = iris()
    one = classifier(bootstrap=False, n_estimators=1).fit(X, y).networks_[0]
    alone = fastnn.Network([4, 8, 3], loss="cross_entropy", dtype=np.float64, seed=one.seed)
    alone.fit(X.T, y, 15, 20, fastnn.Adam(), l2=1e-4 / 20)
    assert one.parameters.tobytes() == alone.parameters.tobytes()
    for told in (dict(max_samples=0.2), dict(early_stopping=True, validation_fraction=0.8)):
        ensemble = classifier(bootstrap=False, **told)
        seen = []
        drawn = ensemble._draw
        ensemble._draw = lambda m, random, drawn=drawn, seen=seen: (
            seen.append(drawn(m, random)) or seen[-1]
        )
        ensemble.fit(X, y)
        assert [len(mine) for mine, _ in seen] == [30] * 3
        assert all(sorted([*mine, *rest]) == list(range(150)) for mine, rest in seen)


@pytest.mark.parametrize("make", [classifier, regressor])
def test_the_same_bits_for_any_number_of_threads_and_another_seed_other_bits(make):
    X, y = iris()
    found = [make(n_jobs=n).fit(X, y) for n in (None, -1, 1, 3)] + [make(random_state=1).fit(X, y)]
    bits = [b"".join(net.parameters.tobytes() for net in e.networks_) for e in found]
    assert len(set(bits[:4])) == 1 and bits[4] != bits[0]


def test_class_weights_are_those_of_the_classes():
    X, y = iris()
    y = np.array(["a", "b", "c"])[y]
    weighted = classifier(class_weight={"a": 1, "b": 5, "c": 0.5}).fit(X, y)
    told = classifier().fit(X, y, np.array([1, 5, 0.5])[np.unique(y, return_inverse=True)[1]])
    np.testing.assert_array_equal(weighted.predict_proba(X), told.predict_proba(X))
    assert not np.array_equal(told.predict_proba(X), classifier().fit(X, y).predict_proba(X))
    assert list(weighted.classes_) == ["a", "b", "c"]


# ------------------------------------------------------------------ what is answered


def test_probabilities_are_the_mean_of_the_networks():
    X, y = iris()
    ensemble = classifier(learning_rate_init=0.02).fit(X, y)
    A = np.array([net.forward(X.T).T for net in ensemble.networks_])
    mean, spread = ensemble.predict_proba(X, return_std=True)
    np.testing.assert_allclose(mean, A.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(spread, A.std(axis=0), rtol=1e-9, atol=1e-15)
    np.testing.assert_array_equal(ensemble.predict(X), mean.argmax(axis=1))
    np.testing.assert_allclose(ensemble.predict_log_proba(X), np.log(mean))
    assert ensemble.score(X, y) > 0.8


def test_two_classes_and_one():
    X, y = iris()
    two = classifier(max_iter=80, learning_rate_init=0.01).fit(X[:100], y[:100])
    mean, spread = two.predict_proba(X[:100], return_std=True)
    np.testing.assert_allclose(mean.sum(axis=1), 1)
    np.testing.assert_array_equal(spread[:, 0], spread[:, 1])
    assert two.score(X[:100], y[:100]) > 0.95
    one = classifier().fit(X[:50], ["only"] * 50)
    mean, spread = one.predict_proba(X, return_std=True)
    assert (mean == 1).all() and (spread == 0).all() and set(one.predict(X)) == {"only"}


def test_several_targets_and_counts():
    X, y = diabetes()
    both = regressor(max_iter=100, learning_rate_init=0.01).fit(X, np.c_[y, -y])
    mean, spread = both.predict(X, return_std=True)
    assert mean.shape == spread.shape == (442, 2) and both.score(X, np.c_[y, -y]) > 0.3
    counts = regressor(loss="poisson", max_iter=50).fit(X, np.round(np.exp(y)))
    assert (counts.predict(X) > 0).all() and counts.networks_[0].activations[-1] == "exp"
    huber = regressor(loss="huber", delta=0.3).fit(X, y)
    assert huber.networks_[0].delta == 0.3


def test_copies_are_small_and_answer_alike():
    X, y = iris()
    ensemble = classifier().fit(np.tile(X, (20, 1)), np.tile(y, 20))
    stored = pickle.dumps(ensemble)
    assert len(stored) < 20_000  # 67 parameters of three networks, and fifteen costs
    np.testing.assert_array_equal(pickle.loads(stored).predict_proba(X), ensemble.predict_proba(X))
    assert clone(ensemble).get_params() == ensemble.get_params()


def test_wrong_calls():
    X, y = iris()
    with pytest.raises(NotFittedError):
        classifier().predict(X)
    with pytest.raises(ValueError, match="max_samples=151 is more than the 150 examples"):
        classifier(max_samples=151).fit(X, y)
    with pytest.raises(ValueError, match="early_stopping needs examples to train on and others"):
        classifier(early_stopping=True, bootstrap=False, validation_fraction=0.9).fit(X[:1], y[:1])
    with pytest.raises(ValueError, match="activation names 2 hidden layers, but"):
        classifier(activation=["relu", "tanh"]).fit(X, y)
    with pytest.raises(ValueError, match="The 'solver' parameter"):
        classifier(solver="lbfgs").fit(X, y)
    with pytest.raises(ValueError, match="The 'n_jobs' parameter"):
        classifier(n_jobs=0).fit(X, y)
    fitted = regressor().fit(X, y)
    before = fitted.predict(X)
    fitted.set_params(learning_rate_init=1e300, solver="sgd")
    with pytest.raises(ValueError, match="training diverged to non-finite weights"):
        fitted.fit(X, y)
    np.testing.assert_array_equal(fitted.predict(X), before)


def test_ctrl_c_keeps_whole_epochs_or_what_was_there():
    X, y = iris()

    def until(count):
        calls = []

        def schedule(time):
            calls.append(time)
            if len(calls) > count:
                raise KeyboardInterrupt
            return np.ones_like(time)

        return schedule

    told = dict(n_jobs=1, n_estimators=1, max_iter=10**6)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        ensemble = classifier(learning_rate=until(20), **told).fit(X, y)
    assert ensemble.histories_[0].stopped == "interrupted" and ensemble.n_iter_ > 0
    assert ensemble.predict(X).shape == (150,)
    before = ensemble.networks_
    with pytest.raises(KeyboardInterrupt):
        ensemble.set_params(learning_rate=until(0)).fit(X, y)
    assert ensemble.networks_ == before


# ------------------------------------------------------------------ grid search

GRID = {"hidden_layer_sizes": [4, (6, 3)], "alpha": [1e-4, 0.1]}
GRID_POINTS = list(ParameterGrid(GRID))


def assert_as_theirs(ours, theirs, X):
    for name, expected in theirs.cv_results_.items():
        found = ours.cv_results_[name]
        if name.startswith("param_"):
            assert found.tolist() == expected.tolist(), name  # None for what is masked
            assert found.dtype == expected.dtype, name
        elif "time" not in name:
            np.testing.assert_array_equal(found, expected)
    assert set(ours.cv_results_) == set(theirs.cv_results_)
    for name in ("best_params_", "best_score_", "best_index_", "n_splits_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


@pytest.mark.parametrize("cv", [None, 3, KFold(4, shuffle=True, random_state=0)])
def test_a_search_finds_what_scikit_learns_finds(cv):
    X, y = iris()
    ours = MLPGridSearchCV(classifier(), GRID, cv=cv).fit(X, y)
    theirs = GridSearchCV(classifier(), GRID, cv=cv).fit(X, y)
    assert_as_theirs(ours, theirs, X)
    assert ours.score(X, y) == theirs.score(X, y)
    np.testing.assert_array_equal(ours.predict_proba(X), theirs.predict_proba(X))
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)


@pytest.mark.parametrize("told", [{}, dict(early_stopping=True), dict(bootstrap=False)])
def test_a_search_over_regressors_with_a_score_of_one_s_own(told):
    X, y = diabetes()
    grids = [{"loss": ["huber"], "delta": [0.1, 1.0]}, {"solver": ["sgd"]}]
    scored = dict(scoring="neg_mean_absolute_error", cv=3)
    ours = MLPGridSearchCV(regressor(**told), grids, **scored).fit(X, y)
    theirs = GridSearchCV(regressor(**told), grids, **scored).fit(X, y)
    assert_as_theirs(ours, theirs, X)


def test_weights_count_in_training():
    X, y = diabetes()
    weight = np.random.default_rng(0).random(442)
    search = MLPGridSearchCV(regressor(), GRID, cv=KFold(3)).fit(X, y, sample_weight=weight)
    for point, score in zip(GRID_POINTS, search.cv_results_["split1_test_score"], strict=True):
        train, test = list(KFold(3).split(X))[1]
        alone = regressor(**point).fit(X[train], y[train], weight[train])
        assert alone.score(X[test], y[test]) == score
    best = regressor(**search.best_params_).fit(X, y, weight)
    np.testing.assert_array_equal(search.predict(X), best.predict(X))


def test_a_search_through_a_pipeline():
    X, y = load_iris(return_X_y=True)
    estimator = make_pipeline(StandardScaler(), classifier())
    grid = {f"mlpensembleclassifier__{name}": values for name, values in GRID.items()}
    ours, theirs = (kind(estimator, grid).fit(X, y) for kind in (MLPGridSearchCV, GridSearchCV))
    assert_as_theirs(ours, theirs, X)
    weights = np.ones(150)
    MLPGridSearchCV(estimator, grid, cv=2).fit(X, y, sample_weight=weights)


class Noisy(StandardScaler):
    """What it is fitted on it transforms in another way, as scikit-learn's TargetEncoder does."""

    def fit_transform(self, X, y=None, **told):
        return super().fit_transform(X, y, **told) + np.random.default_rng(0).normal(size=X.shape)


@pytest.mark.parametrize("steps", [[Noisy()], [StandardScaler(), Noisy()], []])
def test_a_pipeline_s_steps_are_fitted_as_the_pipeline_fits_them(steps):
    X, y = load_iris(return_X_y=True)
    estimator = make_pipeline(*steps, classifier())
    grid = {f"mlpensembleclassifier__{name}": values for name, values in GRID.items()}
    ours, theirs = (kind(estimator, grid).fit(X, y) for kind in (MLPGridSearchCV, GridSearchCV))
    assert_as_theirs(ours, theirs, X)


def test_weights_count_in_training_through_a_pipeline():
    X, y = load_iris(return_X_y=True)
    weight = np.random.default_rng(0).random(150)
    estimator = make_pipeline(StandardScaler(), classifier())
    grid = {f"mlpensembleclassifier__{name}": values for name, values in GRID.items()}
    told = {"mlpensembleclassifier__sample_weight": weight}
    ours = MLPGridSearchCV(estimator, grid, cv=3).fit(X, y, sample_weight=weight)
    assert_as_theirs(ours, GridSearchCV(estimator, grid, cv=3).fit(X, y, **told), X)


def test_a_cv_may_name_examples_as_numpy_does():
    X, y = iris()
    first = np.arange(150) % 3 > 0
    backwards = np.arange(-150, 0)[first]
    for train, test in (first, ~first), (backwards.tolist(), np.flatnonzero(~first).tolist()):
        ours = MLPGridSearchCV(classifier(), GRID, cv=[(train, test)]).fit(X, y)
        theirs = GridSearchCV(classifier(), GRID, cv=[(np.flatnonzero(first), test)]).fit(X, y)
        assert_as_theirs(ours, theirs, X)


def test_balanced_classes_are_balanced_in_each_fold():
    X, y = iris()
    X, y = X[:120], y[:120]
    told = classifier(class_weight="balanced")
    ours, theirs = (kind(told, GRID, cv=3).fit(X, y) for kind in (MLPGridSearchCV, GridSearchCV))
    assert_as_theirs(ours, theirs, X)


def test_groups_and_no_refit():
    X, y = iris()
    groups = np.arange(150) % 5
    search = MLPGridSearchCV(classifier(), GRID, cv=GroupKFold(5), refit=False)
    search.fit(X, y, groups=groups)
    assert search.best_score_ == search.cv_results_["mean_test_score"].max()
    assert not hasattr(search, "best_estimator_")


def test_data_frames_and_clones():
    pandas = pytest.importorskip("pandas", reason="makes data frames")
    X, y = iris()
    frame = pandas.DataFrame(X, columns=list("abcd"))
    search = clone(MLPGridSearchCV(classifier(), GRID, cv=2, n_jobs=1)).fit(frame, y)
    assert list(search.best_estimator_.feature_names_in_) == list("abcd")
    assert search.predict(frame).shape == (150,)


def test_points_that_diverge_have_no_score():
    X, y = diabetes()
    grid = {"learning_rate_init": [0.001, 1e300]}
    with pytest.warns(FitFailedWarning, match="its score is NaN: training diverged"):
        search = MLPGridSearchCV(regressor(solver="sgd"), grid, cv=2).fit(X, y)
    assert search.best_params_ == {"learning_rate_init": 0.001}
    assert search.cv_results_["rank_test_score"].tolist() == [1, 2]
    assert np.isnan(search.cv_results_["mean_test_score"][1])
    search.set_params(param_grid={"learning_rate_init": [1e300]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitFailedWarning)
        with pytest.raises(ValueError, match="diverged at every point"):
            search.fit(X, y)


def test_wrong_searches():
    X, y = iris()
    with pytest.raises(TypeError, match="that ends in one, got Ridge: use GridSearchCV"):
        MLPGridSearchCV(Ridge(), {"alpha": [1]}).fit(X, y)
    grid = {"standardscaler__with_mean": [True]}
    with pytest.raises(ValueError, match="'standardscaler__with_mean'; of a pipeline it may name"):
        MLPGridSearchCV(make_pipeline(StandardScaler(), classifier()), grid).fit(X, y)
    with pytest.raises(ValueError, match="Invalid parameter 'wrong'"):
        MLPGridSearchCV(classifier(), {"wrong": [1]}).fit(X, y)
    with pytest.raises(ValueError, match="The 'alpha' parameter"):
        MLPGridSearchCV(classifier(), {"alpha": [-1]}).fit(X, y)
    with pytest.raises(ValueError, match="training examples have the classes"):
        MLPGridSearchCV(classifier(), GRID, cv=KFold(3)).fit(X, y)
    with pytest.raises(ValueError, match="The 'refit' parameter"):
        MLPGridSearchCV(classifier(), GRID, refit="score").fit(X, y)
    with pytest.raises(ValueError, match="scoring must return a number, got dict"):
        MLPGridSearchCV(classifier(), GRID, scoring=lambda *_: {"a": 1}).fit(X, y)
    fitted = MLPGridSearchCV(classifier(), GRID).fit(X, y)
    with pytest.raises(ValueError):
        fitted.set_params(param_grid={"alpha": [-1]}).fit(X, y)
    assert fitted.predict(X).shape == (150,)


def test_ctrl_c_leaves_a_search_as_it_was():
    X, y = iris()

    def interrupted(time):
        raise KeyboardInterrupt

    search = MLPGridSearchCV(classifier(), GRID, cv=2, n_jobs=1).fit(X, y)
    before = search.best_params_
    with pytest.raises(KeyboardInterrupt):
        search.set_params(param_grid={"learning_rate": [interrupted]}).fit(X, y)
    assert search.best_params_ is before
