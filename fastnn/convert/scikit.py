"""scikit-learn's MLPClassifier, MLPRegressor and LogisticRegression, fitted."""

from __future__ import annotations

import copy
import sys
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import validation as check
from ..network import Network
from .chain import Layer, float_array, network_of, optional
from .errors import ConversionError

Array = NDArray[Any]

# scikit-learn's names on the left. One name holds for all its hidden layers.
_HIDDEN = {"identity": "identity", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}
_OUTPUT = {"identity": "identity", "logistic": "sigmoid", "softmax": "softmax", "exp": "exp"}
# Which loss of ours a regressor's is, and the output activation that it comes with.
_REGRESSION = {"squared_error": "identity", "poisson": "exp"}
_CLASSIFICATION = {"sigmoid": "binary_cross_entropy", "softmax": "cross_entropy"}

_ACCEPTED = "fitted MLPClassifier, MLPRegressor, LogisticRegression and LogisticRegressionCV"


def from_sklearn(estimator: Any) -> Network:
    """Return the network that a fitted estimator of scikit-learn's stands for.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor, LogisticRegression or LogisticRegressionCV
        Fitted; of scikit-learn or of `fastnn.sklearn`. Logistic regression becomes a network
        without hidden layers.

    Returns
    -------
    Network
        With a copy of the parameters, bit for bit, in their type. ``forward(X.T)`` is the
        transpose of ``predict_proba(X)``, or of ``predict(X)`` for regression; with two classes
        there is one output, the probability of the second. The class of output i is
        ``estimator.classes_[i]``: a network keeps no labels.

    Raises
    ------
    ConversionError
        If the estimator is of another class or is not fitted, or fastnn lacks its activation or
        loss.
    ImportError
        If scikit-learn is not installed.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.linear_model import LogisticRegression
    >>> estimator = LogisticRegression().fit([[0.0], [1.0], [3.0], [4.0]], ["a", "a", "b", "b"])
    >>> net = fastnn.convert.from_sklearn(estimator)
    >>> net
    Network([1, 1], activations=['sigmoid'], loss='binary_cross_entropy', dtype=float64)
    >>> estimator.classes_[net.predict([[0.5, 3.5]])]
    array(['a', 'b'], dtype='<U1')
    """
    neural, linear = _libraries()
    kind = type(estimator)
    own = sys.modules.get("fastnn.sklearn")
    if own is not None and kind in (own.MLPClassifier, own.MLPRegressor):
        return _from_own(estimator)
    if own is not None and kind is own.LogisticRegression:
        return _from_logistic(estimator)
    # Exactly these classes: a subclass may predict in a way of its own.
    if kind in (neural.MLPClassifier, neural.MLPRegressor):
        return _from_perceptron(estimator)
    if kind in (linear.LogisticRegression, linear.LogisticRegressionCV):
        return _from_logistic(estimator)
    raise ConversionError(
        f"{kind.__name__} cannot be converted; convertible are {_ACCEPTED}"
        " (of a pipeline or a search, pass the estimator inside)"
    )


def to_sklearn(network: Network, classes: ArrayLike | None = None) -> Any:
    """Return the network as a fitted estimator of scikit-learn's own class.

    A network without hidden layers and with one sigmoid output, or three or more softmax
    outputs, becomes a LogisticRegression; other sigmoid and softmax outputs make an
    MLPClassifier (several sigmoid outputs a multilabel one), identity with squared error an
    MLPRegressor.

    Parameters
    ----------
    network : Network
        Its parameters are copied. scikit-learn knows one activation for all hidden layers:
        identity, sigmoid, tanh or relu.
    classes : array_like, optional
        The label of each class, in increasing order as scikit-learn keeps them: two for one
        sigmoid output, else one for each softmax output. 0, 1, ... unless given. Multilabel
        outputs have no labels but their numbers.

    Returns
    -------
    MLPClassifier, MLPRegressor or LogisticRegression
        It predicts, scores, and trains on by ``partial_fit`` (MLP) or with ``warm_start=True``.
        Its examples are rows. Its ``loss_`` is NaN and its ``n_iter_`` 0, since it was not
        fitted there; its other settings are scikit-learn's defaults.

    Raises
    ------
    ConversionError
        If scikit-learn has no such model.
    ValueError
        If classes do not fit the network.
    TypeError
        If classes cannot be put in order.
    ImportError
        If scikit-learn is not installed.

    Notes
    -----
    An output of exactly 1/2 is class 1 to ``Network.predict`` and class 0 to scikit-learn.

    Examples
    --------
    >>> import numpy as np, fastnn
    >>> net = fastnn.Network([2, 3, 1], ["tanh", "sigmoid"])
    >>> estimator = fastnn.convert.to_sklearn(net, classes=["no", "yes"])
    >>> estimator
    MLPClassifier(activation='tanh', hidden_layer_sizes=(3,))
    >>> estimator.classes_
    array(['no', 'yes'], dtype='<U3')
    """
    output, n_y = network.activations[-1], network.sizes[-1]
    if network.loss != _CLASSIFICATION.get(output):
        if classes is not None:
            raise ValueError(f"classes= is for classifiers, but the loss is {network.loss}")
        return _to_regressor(network)
    if output == "softmax" and n_y == 1:
        raise ConversionError(
            f"layer {len(network.W) - 1} (softmax of 1 output): its output is 1 whatever the input,"
            " and scikit-learn's classifiers have two classes at least"
        )
    if output == "softmax" and n_y == 2:
        raise ConversionError(
            f"layer {len(network.W) - 1} (softmax of {n_y} outputs): scikit-learn's classifiers"
            " have one sigmoid output for two classes; take the difference of the two rows of"
            " its W and b as those of one sigmoid output"
        )
    binary = output == "sigmoid" and n_y == 1
    if len(network.W) == 1 and (binary or output == "softmax"):
        return _to_logistic(network, _labels(classes, 2 if binary else n_y))
    return _to_classifier(network, classes)


def _libraries() -> tuple[Any, Any]:
    return optional("sklearn.neural_network", "sklearn"), optional(
        "sklearn.linear_model", "sklearn"
    )


def _from_own(estimator: Any) -> Network:
    if not hasattr(estimator, "coefs_"):
        raise ConversionError(f"this {type(estimator).__name__} is not fitted: call its fit first")
    net: Network = copy.deepcopy(estimator._network())
    return net


def _from_perceptron(estimator: Any) -> Network:
    name = type(estimator).__name__
    if not hasattr(estimator, "coefs_"):
        raise ConversionError(f"this {name} is not fitted: call its fit first")
    if estimator.activation not in _HIDDEN or estimator.out_activation_ not in _OUTPUT:
        raise ConversionError(
            f"{name}: the activations {estimator.activation!r} and {estimator.out_activation_!r}"
            f" cannot be converted; expected one of {', '.join(_HIDDEN)} for hidden layers and of"
            f" {', '.join(_OUTPUT)} for the output"
        )
    output = _OUTPUT[estimator.out_activation_]
    last = len(estimator.coefs_) - 1
    layers = [
        Layer(
            f"layer {l} of {name}",
            float_array(f"coefs_[{l}]", coef).T,
            float_array(f"intercepts_[{l}]", intercept),
            _HIDDEN[estimator.activation] if l < last else output,
        )
        for l, (coef, intercept) in enumerate(
            zip(estimator.coefs_, estimator.intercepts_, strict=True)
        )
    ]
    # A classifier's loss is called log_loss, whichever cross-entropy it is.
    return network_of(layers, loss=_CLASSIFICATION.get(output, estimator.loss))


def _from_logistic(estimator: Any) -> Network:
    name = type(estimator).__name__
    if not hasattr(estimator, "coef_"):
        raise ConversionError(f"this {name} is not fitted: call its fit first")
    if not isinstance(estimator.coef_, np.ndarray):
        raise ConversionError(f"{name}: coef_ is no NumPy array; call densify() first")
    n_classes = len(estimator.classes_)
    _check_one_model(estimator, name, n_classes)
    coef, intercept = float_array("coef_", estimator.coef_), estimator.intercept_
    if np.ndim(intercept) == 0:  # liblinear's without one
        intercept = np.full(len(coef), intercept, coef.dtype)
    layer = Layer(
        name,
        coef,
        float_array("intercept_", intercept),
        "sigmoid" if n_classes == 2 else "softmax",
    )
    return network_of([layer])


def _check_one_model(estimator: Any, name: str, n_classes: int) -> None:
    # Before scikit-learn 1.8 there was a choice of how several classes are told apart.
    usual = "ovr" if n_classes == 2 else "multinomial"
    choice = getattr(estimator, "multi_class", "auto")
    one_vs_rest = n_classes > 2 and estimator.solver == "liblinear"
    if one_vs_rest or choice not in ("auto", "deprecated", usual):
        raise ConversionError(
            f"{name}(solver={estimator.solver!r}, multi_class={choice!r}) of {n_classes} classes:"
            " its probabilities are no plain sigmoid or softmax; fit it with the default"
            " multi_class and another solver than liblinear"
        )


def _labels(classes: ArrayLike | None, count: int) -> Array:
    if classes is None:
        return np.arange(count)
    found = check.any_array("classes", classes)
    if found.shape != (count,):
        raise ValueError(f"classes has shape {found.shape}; expected {count} labels")
    try:
        sorted_labels = np.unique(found)
    except TypeError:
        raise TypeError(
            f"classes must be labels that can be put in order, such as numbers or text;"
            f" got {found.tolist()}"
        ) from None
    if not np.array_equal(sorted_labels, found):
        raise ValueError(
            f"classes must be different and in increasing order, as scikit-learn keeps them;"
            f" got {found.tolist()}"
        )
    return found.copy()


def _to_logistic(network: Network, classes: Array) -> Any:
    _, linear = _libraries()
    estimator = linear.LogisticRegression()
    estimator.classes_ = classes
    estimator.coef_ = network.W[0].copy()
    estimator.intercept_ = network.b[0][:, 0].copy()
    estimator.n_features_in_ = network.sizes[0]
    estimator.n_iter_ = np.zeros(1, np.int32)
    return estimator


def _to_classifier(network: Network, classes: ArrayLike | None) -> Any:
    neural, _ = _libraries()
    output, n_y = network.activations[-1], network.sizes[-1]
    multilabel = output == "sigmoid" and n_y > 1
    if multilabel and classes is not None:
        raise ValueError("classes= is for classes that exclude each other, but these are labels")
    estimator = neural.MLPClassifier(**_settings(network))
    binarizer = optional("sklearn.preprocessing", "sklearn").LabelBinarizer()
    # Each row of the identity has one of the labels: that there are so many is all it learns.
    binarizer.fit(np.eye(n_y, dtype=int) if multilabel else _labels(classes, max(n_y, 2)))
    estimator._label_binarizer = binarizer
    estimator.classes_ = binarizer.classes_
    return _fitted(estimator, network, "logistic" if output == "sigmoid" else output)


def _to_regressor(network: Network) -> Any:
    neural, _ = _libraries()
    output = network.activations[-1]
    if _REGRESSION.get(network.loss) != output:
        raise ConversionError(
            f"layer {len(network.W) - 1} ({output}) with the loss {network.loss}: scikit-learn has"
            " no such model; expected sigmoid with binary_cross_entropy, softmax with"
            " cross_entropy, identity with squared_error or exp with poisson"
        )
    # The loss became an argument in scikit-learn 1.7.
    loss = {} if network.loss == "squared_error" else {"loss": network.loss}
    return _fitted(neural.MLPRegressor(**_settings(network), **loss), network, output)


def _settings(network: Network) -> dict[str, Any]:
    """Return the arguments that describe the hidden layers."""
    sklearns = {ours: theirs for theirs, ours in _HIDDEN.items()}
    hidden = network.activations[:-1]
    for l, activation in enumerate(hidden):
        if activation not in sklearns:
            raise ConversionError(
                f"layer {l} ({activation}): scikit-learn knows {', '.join(sklearns)} in hidden"
                " layers"
            )
        if activation != hidden[0]:
            raise ConversionError(
                f"layer {l} ({activation}): scikit-learn has one activation for all hidden layers,"
                f" but layer 0 has {hidden[0]}"
            )
    settings: dict[str, Any] = {"hidden_layer_sizes": network.sizes[1:-1]}
    return settings | ({"activation": sklearns[hidden[0]]} if hidden else {})


def _fitted(estimator: Any, network: Network, output: str) -> Any:
    """Give the estimator what its fit would leave there."""
    estimator.coefs_ = [W.T.copy(order="C") for W in network.W]
    estimator.intercepts_ = [b[:, 0].copy() for b in network.b]
    estimator.n_features_in_ = network.sizes[0]
    estimator.n_layers_ = len(network.sizes)
    estimator.n_outputs_ = network.sizes[-1]
    estimator.out_activation_ = output
    # What partial_fit and warm starts go on from.
    estimator.n_iter_ = estimator.t_ = 0
    estimator.loss_ = np.nan
    estimator.best_loss_ = np.inf
    estimator.loss_curve_ = []
    estimator.validation_scores_ = estimator.best_validation_score_ = None
    estimator._no_improvement_count = 0
    estimator._best_coefs = [coef.copy() for coef in estimator.coefs_]
    estimator._best_intercepts = [intercept.copy() for intercept in estimator.intercepts_]
    return estimator
