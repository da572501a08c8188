"""fastnn.convert and scikit-learn: parameters bit for bit, predictions as scikit-learn's own."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from conversions import (
    FLOATS,
    assert_outputs,
    assert_same_bits,
    assert_same_network,
    random_network,
    rows,
)

import fastnn
from fastnn.convert import ConversionError, from_sklearn, to_sklearn
from fastnn.kernels.codes import ACTIVATIONS

sklearn = pytest.importorskip("sklearn", reason="scikit-learn is what is converted")

from sklearn.base import clone  # noqa: E402
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, Ridge  # noqa: E402
from sklearn.neural_network import MLPClassifier, MLPRegressor  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402

pytestmark = pytest.mark.compiled

M, N = 40, 5
HIDDEN = {"identity": "identity", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}
WORDS = np.array(["ant", "bee", "cat"])


def targets(kind):
    """Return targets of one kind for the M rows, and the classes for partial_fit."""
    random = np.random.default_rng(2)
    if kind == "binary":
        return np.array(["no", "yes"])[np.arange(M) % 2]
    if kind == "classes":
        return WORDS[np.arange(M) % 3]
    if kind == "labels":
        return (random.random((M, 4)) < 0.5).astype(int)
    return random.normal(size=M) if kind == "value" else random.normal(size=(M, 2))


def perceptron(kind, activation="relu", dtype=np.float32, hidden=(6, 3), **settings):
    """Return an estimator after two steps; a whole fit would warn that it has not converged."""
    X, y = rows(M, N, dtype), targets(kind)
    common = {"hidden_layer_sizes": hidden, "activation": activation, "random_state": 0, **settings}
    if kind in ("value", "values"):
        estimator = MLPRegressor(**common)
        return estimator.partial_fit(X, y).partial_fit(X, y), X, y
    estimator = MLPClassifier(**common)
    classes = np.arange(4) if kind == "labels" else np.unique(y)
    return estimator.partial_fit(X, y, classes=classes).partial_fit(X, y), X, y


OUTPUTS = {
    "binary": ("sigmoid", "binary_cross_entropy"),
    "classes": ("softmax", "cross_entropy"),
    "labels": ("sigmoid", "binary_cross_entropy"),
    "value": ("identity", "squared_error"),
    "values": ("identity", "squared_error"),
}


def probabilities(estimator, X):
    """Return what the network's outputs stand for, (m, n_y)."""
    if not hasattr(estimator, "predict_proba"):
        return estimator.predict(X).reshape(len(X), -1)
    P = estimator.predict_proba(X)
    biases = estimator.intercept_ if hasattr(estimator, "coef_") else estimator.intercepts_[-1]
    return P[:, 1:] if len(biases) == 1 else P


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("activation", HIDDEN)
@pytest.mark.parametrize("kind", OUTPUTS)
def test_perceptrons_there_and_back(kind, activation, dtype):
    estimator, X, y = perceptron(kind, activation, dtype)
    net = from_sklearn(estimator)
    assert net.activations == (HIDDEN[activation], HIDDEN[activation], OUTPUTS[kind][0])
    assert (net.loss, net.dtype) == (OUTPUTS[kind][1], dtype)
    for W, coef in zip(net.W, estimator.coefs_, strict=True):
        assert_same_bits(W.T, coef)
    for b, intercept in zip(net.b, estimator.intercepts_, strict=True):
        assert_same_bits(b[:, 0], intercept)
    assert_outputs(probabilities(estimator, X), net, X)

    labelled = kind in ("binary", "classes")
    again = to_sklearn(net, classes=estimator.classes_ if labelled else None)
    assert type(again) is type(estimator)
    for name in ("coefs_", "intercepts_"):
        for one, other in zip(getattr(again, name), getattr(estimator, name), strict=True):
            assert_same_bits(one, other)
    assert_same_bits(again.predict(X), estimator.predict(X))
    assert_same_bits(probabilities(again, X), probabilities(estimator, X))
    assert again.score(X, y) == estimator.score(X, y)
    assert_same_network(from_sklearn(again), net)


def test_a_label_of_the_estimator_is_that_of_the_output():
    estimator, X, _ = perceptron("classes")
    labels = estimator.classes_[from_sklearn(estimator).predict(X.T)]
    np.testing.assert_array_equal(labels, estimator.predict(X))
    estimator, X, _ = perceptron("labels")
    np.testing.assert_array_equal(from_sklearn(estimator).predict(X.T).T, estimator.predict(X))


@pytest.mark.parametrize("kind", OUTPUTS)
def test_what_a_fit_leaves_is_there(kind):
    estimator, X, _ = perceptron(kind)
    classes = estimator.classes_ if kind in ("binary", "classes") else None
    again = to_sklearn(from_sklearn(estimator), classes)
    # The optimiser and the random state are made by the next step.
    expected = set(vars(estimator)) - {"_optimizer", "_random_state"}
    assert set(vars(again)) >= expected
    for name in ("n_layers_", "n_outputs_", "n_features_in_", "out_activation_"):
        assert getattr(again, name) == getattr(estimator, name)
    assert again.get_params()["hidden_layer_sizes"] == (6, 3)
    assert not hasattr(clone(again), "coefs_")
    assert_same_bits(pickle.loads(pickle.dumps(again)).predict(X), estimator.predict(X))


@pytest.mark.parametrize("kind", OUTPUTS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_training_goes_on_as_if_never_converted(kind, dtype):
    # Without momentum the optimiser remembers nothing, so one that is new does the same.
    settings = {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.01}
    estimator, X, y = perceptron(kind, "tanh", dtype, **settings)
    classes = estimator.classes_ if kind in ("binary", "classes") else None
    again = to_sklearn(from_sklearn(estimator), classes)
    again.set_params(random_state=0, **settings)
    before = again.coefs_[0].copy()
    again.partial_fit(X, y)
    estimator.partial_fit(X, y)
    assert (again.coefs_[0] != before).any()
    for one, other in zip(again.coefs_, estimator.coefs_, strict=True):
        assert_same_bits(one, other)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("kind", OUTPUTS)
def test_a_warm_start_begins_with_the_parameters(kind, solver):
    estimator, X, y = perceptron(kind, dtype=np.float64)
    classes = estimator.classes_ if kind in ("binary", "classes") else None
    again = to_sklearn(from_sklearn(estimator), classes)
    again.set_params(warm_start=True, max_iter=1, solver=solver, learning_rate_init=1e-9)
    again.fit(X, y)
    if solver != "lbfgs":  # a step of so small a rate moves them little
        np.testing.assert_allclose(again.coefs_[0], estimator.coefs_[0], atol=1e-6)
    assert np.isfinite(again.loss_)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_fit_starts_anew():
    estimator, X, y = perceptron("values", dtype=np.float64)
    again = to_sklearn(from_sklearn(estimator))
    again.set_params(random_state=0, max_iter=2, early_stopping=True)
    fresh = clone(again).fit(X, y)
    assert_same_bits(again.fit(X, y).coefs_[0], fresh.coefs_[0])


def test_the_network_and_the_estimator_share_no_memory():
    estimator, X, _ = perceptron("binary")
    net = from_sklearn(estimator)
    again = to_sklearn(net)
    before = again.predict_proba(X), estimator.predict_proba(X)
    net.parameters[...] = 0
    assert_same_bits(again.predict_proba(X), before[0])
    assert_same_bits(estimator.predict_proba(X), before[1])


# logistic regression


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("kind", ["binary", "classes"])
def test_logistic_regression_there_and_back(kind, intercept, dtype):
    X, y = rows(M, N, dtype), targets(kind)
    estimator = LogisticRegression(fit_intercept=intercept, max_iter=1000).fit(X, y)
    net = from_sklearn(estimator)
    assert net.activations == OUTPUTS[kind][:1] and net.loss == OUTPUTS[kind][1]
    # Before 1.8 the coefficients were float64 whatever the examples.
    assert net.dtype == estimator.coef_.dtype
    X = X.astype(net.dtype)
    assert_same_bits(net.W[0], estimator.coef_)
    assert_same_bits(net.b[0][:, 0], estimator.intercept_)
    assert_outputs(probabilities(estimator, X), net, X)
    np.testing.assert_array_equal(estimator.classes_[net.predict(X.T)], estimator.predict(X))

    again = to_sklearn(net, classes=estimator.classes_)
    assert type(again) is LogisticRegression
    assert set(vars(again)) == set(vars(estimator))
    assert_same_bits(again.predict_proba(X), estimator.predict_proba(X))
    assert_same_bits(again.predict(X), estimator.predict(X))
    assert again.score(X, y) == estimator.score(X, y)
    assert_same_network(from_sklearn(again), net)


@pytest.mark.parametrize("kind", ["binary", "classes"])
def test_logistic_regression_starts_warm(kind):
    X, y = rows(M, N, np.float64), targets(kind)
    estimator = LogisticRegression(C=10.0).fit(X, y)
    again = to_sklearn(from_sklearn(estimator), estimator.classes_)
    again.set_params(C=10.0, warm_start=True).fit(X, y)
    assert again.n_iter_.max() < estimator.n_iter_.max()
    np.testing.assert_allclose(again.coef_, estimator.coef_, atol=1e-3)


@pytest.mark.parametrize("solver", ["liblinear", "newton-cg", "newton-cholesky"])
def test_other_solvers(solver):
    X, y = rows(M, N, np.float64), targets("binary")
    estimator = LogisticRegression(solver=solver).fit(X, y)
    assert_outputs(probabilities(estimator, X), from_sklearn(estimator), X)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of arguments that are going to change
@pytest.mark.parametrize("kind", ["binary", "classes"])
def test_cross_validated_logistic_regression(kind):
    X, y = rows(M, N, np.float64), targets(kind)
    estimator = LogisticRegressionCV(Cs=2, cv=2).fit(X, y)
    assert_outputs(probabilities(estimator, X), from_sklearn(estimator), X)


def test_perceptrons_without_hidden_layers():
    estimator, X, _ = perceptron("labels", hidden=())
    net = from_sklearn(estimator)
    assert net.sizes == (N, 4)
    again = to_sklearn(net)
    assert type(again) is MLPClassifier
    assert_same_bits(again.predict(X), estimator.predict(X))
    assert_same_network(from_sklearn(again), net)


# networks of fastnn's


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("sizes", "activations", "kind"),
    [
        ([4, 1], ["sigmoid"], LogisticRegression),
        ([4, 3], ["softmax"], LogisticRegression),
        ([4, 2], ["sigmoid"], MLPClassifier),
        ([4, 3, 1], ["tanh", "sigmoid"], MLPClassifier),
        ([4, 3, 3], ["relu", "softmax"], MLPClassifier),
        ([4, 3, 2, 5], ["sigmoid", "sigmoid", "sigmoid"], MLPClassifier),
        ([4, 1], ["identity"], MLPRegressor),
        ([4, 3, 2], ["identity", "identity"], MLPRegressor),
    ],
)
def test_networks_there_and_back(sizes, activations, kind, dtype):
    net = random_network(sizes, activations, dtype)
    estimator = to_sklearn(net)
    assert type(estimator) is kind
    X = rows(9, 4, dtype)
    assert_outputs(probabilities(estimator, X), net, X)
    expected = net.predict(X.T).T
    found = estimator.predict(X)
    if kind is MLPRegressor:
        found = found.reshape(expected.shape)
        np.testing.assert_allclose(found, expected, rtol=0, atol=64 * np.finfo(dtype).eps)
    else:
        np.testing.assert_array_equal(found, expected)
    assert_same_network(from_sklearn(estimator), net)


def test_labels_of_any_type():
    net = random_network([4, 3], ["softmax"])
    for classes in (["a", "b", "c"], [3, 5, 9], [0.5, 1.5, 2.5], (False, 1, 2)):
        estimator = to_sklearn(net, classes)
        np.testing.assert_array_equal(estimator.classes_, np.asarray(classes))
        assert set(estimator.predict(rows(30, 4, np.float32))) <= set(estimator.classes_)
    assert to_sklearn(random_network([4, 2, 1], ["relu", "sigmoid"])).classes_.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("sizes", "activations", "classes", "message"),
    [
        ([4, 3], ["softmax"], ["a", "b"], r"classes has shape \(2,\); expected 3 labels"),
        ([4, 1], ["sigmoid"], ["a"], r"classes has shape \(1,\); expected 2 labels"),
        ([4, 3], ["softmax"], ["b", "a", "c"], r"in increasing order.*got \['b', 'a', 'c'\]"),
        ([4, 3], ["softmax"], [0, 1, 1], "must be different"),
        ([4, 2], ["sigmoid"], ["a", "b"], "for classes that exclude each other"),
        ([4, 2], ["identity"], ["a", "b"], "for classifiers, but the loss is squared_error"),
    ],
)
def test_classes_that_do_not_fit(sizes, activations, classes, message):
    with pytest.raises(ValueError, match=message):
        to_sklearn(fastnn.Network(sizes, activations), classes)


@pytest.mark.parametrize(
    ("activations", "loss", "message"),
    [
        (["gelu", "sigmoid"], None, r"layer 0 \(gelu\): scikit-learn knows identity, sigmoid"),
        (["softmax", "sigmoid"], None, r"layer 0 \(softmax\)"),
        (["tanh", "relu", "sigmoid"], None, r"layer 1 \(relu\): .* but layer 0 has tanh"),
        (["tanh", "softmax"], None, r"layer 1 \(softmax of 2 outputs\)"),
        (["tanh", "relu"], None, r"layer 1 \(relu\) with the loss squared_error: .* no such model"),
        (["tanh", "sigmoid"], "squared_error", r"layer 1 \(sigmoid\) with the loss squared_error"),
        (["tanh", "identity"], "huber", r"layer 1 \(identity\) with the loss huber"),
        (["tanh", "identity"], "absolute_error", r"\(identity\) with the loss absolute_error"),
        (["tanh", "exp"], "squared_error", r"layer 1 \(exp\) with the loss squared_error"),
    ],
)
def test_networks_that_scikit_learn_does_not_know(activations, loss, message):
    net = fastnn.Network([4, *[3] * (len(activations) - 1), 2], activations, loss)
    with pytest.raises(ConversionError, match=message):
        to_sklearn(net)


@pytest.mark.parametrize("activation", sorted(set(ACTIVATIONS) - set(HIDDEN.values())))
def test_every_other_activation_is_named(activation):
    with pytest.raises(ConversionError, match=rf"layer 0 \({activation}\)"):
        to_sklearn(fastnn.Network([4, 3, 1], [activation, "sigmoid"]))


def test_the_difference_of_two_rows_is_the_sigmoid_of_two_classes():
    # What the error for a softmax of two outputs advises.
    two = random_network([4, 3, 2], ["tanh", "softmax"], np.float64)
    one = fastnn.Network([4, 3, 1], ["tanh", "sigmoid"], dtype=np.float64)
    one.W[0][...], one.b[0][...] = two.W[0], two.b[0]
    one.W[1][...], one.b[1][...] = np.diff(two.W[1], axis=0), np.diff(two.b[1], axis=0)
    X = rows(9, 4, np.float64)
    P = to_sklearn(one).predict_proba(X)
    np.testing.assert_allclose(P, two.forward(X.T).T, rtol=1e-13)


def test_a_softmax_of_one_output():
    with pytest.raises(ConversionError, match=r"layer 0 \(softmax of 1 output\): its output is 1"):
        to_sklearn(fastnn.Network([4, 1], ["softmax"]))


def test_labels_without_an_order():
    net = fastnn.Network([4, 3], ["softmax"])
    with pytest.raises(TypeError, match=r"can be put in order, .* got \[1, 'a', None\]"):
        to_sklearn(net, [1, "a", None])
    with pytest.raises(ValueError, match="classes is not a rectangular array"):
        to_sklearn(net, [[1], [1, 2], []])


def test_logistic_regression_whose_intercept_is_a_number():
    X, y = rows(M, N, np.float64), targets("binary")
    estimator = LogisticRegression(solver="liblinear", fit_intercept=False).fit(X, y)
    net = from_sklearn(estimator)
    assert net.b[0].shape == (1, 1) and not net.b[0].any()
    assert_outputs(estimator.predict_proba(X)[:, 1:], net, X)


class Louder(MLPClassifier):
    pass


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (MLPClassifier(), "this MLPClassifier is not fitted: call its fit first"),
        (MLPRegressor(), "this MLPRegressor is not fitted"),
        (LogisticRegression(), "this LogisticRegression is not fitted"),
        (Ridge(), "Ridge cannot be converted; convertible are fitted MLPClassifier"),
        (Louder(), "Louder cannot be converted"),
        (make_pipeline(MLPClassifier()), "Pipeline cannot be converted.*pass the estimator inside"),
        (None, "NoneType cannot be converted"),
    ],
    ids=str,
)
def test_what_is_no_fitted_estimator(estimator, message):
    with pytest.raises(ConversionError, match=message):
        from_sklearn(estimator)


def test_sparse_coefficients():
    X, y = rows(M, N, np.float64), targets("classes")
    estimator = LogisticRegression().fit(X, y).sparsify()
    with pytest.raises(ConversionError, match=r"coef_ is no NumPy array; call densify\(\) first"):
        from_sklearn(estimator)
    assert_outputs(estimator.predict_proba(X), from_sklearn(estimator.densify()), X)


@pytest.mark.parametrize(
    ("kind", "attribute", "value"),
    [
        ("classes", "multi_class", "ovr"),
        ("binary", "multi_class", "multinomial"),
        ("classes", "solver", "liblinear"),
    ],
)
def test_several_models_in_one(kind, attribute, value):
    """What scikit-learn before 1.8 could fit, told by the attributes that it left."""
    estimator = LogisticRegression().fit(rows(M, N, np.float64), targets(kind))
    setattr(estimator, attribute, value)
    with pytest.raises(ConversionError, match="no plain sigmoid or softmax"):
        from_sklearn(estimator)


def test_an_unknown_activation_of_a_later_version():
    estimator, _, _ = perceptron("binary")
    estimator.activation = "swish"
    with pytest.raises(ConversionError, match="the activations 'swish' and 'logistic'"):
        from_sklearn(estimator)


def test_poisson_regression():
    X = rows(M, N, np.float64)
    y = np.abs(targets("value"))
    if "loss" not in MLPRegressor().get_params():
        pytest.skip("scikit-learn has the Poisson loss from 1.7 on")
    estimator = MLPRegressor(loss="poisson", random_state=0).partial_fit(X, y)
    net = from_sklearn(estimator)
    assert (net.activations, net.loss) == (("relu", "exp"), "poisson")
    assert_outputs(probabilities(estimator, X), net, X)
    again = to_sklearn(net)
    assert again.loss == "poisson"
    assert_same_bits(again.predict(X), estimator.predict(X))


@pytest.mark.compiled
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_estimators_of_fastnn_are_networks_already():
    from fastnn import sklearn as own

    random = np.random.default_rng(0)
    X, y = random.normal(size=(60, 4)), random.integers(0, 3, 60)
    for estimator in (
        own.MLPClassifier((5, 4), ["gelu", "tanh"], solver="lbfgs", random_state=0),
        own.LogisticRegression(),
    ):
        with pytest.raises(fastnn.convert.ConversionError, match="not fitted"):
            fastnn.convert.from_sklearn(estimator)
        net = fastnn.convert.from_sklearn(estimator.fit(X, y))
        np.testing.assert_allclose(net.forward(X.T).T, estimator.predict_proba(X), rtol=1e-12)
        net.parameters[:] = 0  # a copy
        assert np.ptp(estimator.predict_proba(X), axis=0).max() > 0.01
