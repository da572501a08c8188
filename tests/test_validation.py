"""Wrong calls: the type of the error, a sentence that says what was wrong, nothing changed."""

from __future__ import annotations

import copy
import re

import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn.device import DeviceError
from fastnn.kernels.codes import ACTIVATIONS, LOSSES

DEVICES = ("cpu", "numpy")
both_devices = pytest.mark.parametrize("device", DEVICES)


class OnGpu:
    """What a CuPy, Numba or PyTorch array on a GPU looks like from outside."""

    def __init__(self, shape=(3, 5), typestr="<f8"):
        self.__cuda_array_interface__ = {
            "shape": shape,
            "typestr": typestr,
            "data": (0xDEAD00, False),
            "version": 3,
        }

    def __array__(self, *arguments, **options):
        raise AssertionError("copied to the host without being asked")


def ones(*shape):
    return np.ones(shape)


# One right call of each function: n = 3 outputs, k = 4 inputs, m = 5 examples, distinct sizes.
RIGHT = {
    "linear_forward": {"A_prev": ones(4, 5), "W": ones(3, 4), "b": ones(3, 1)},
    "layer_forward": {
        "A_prev": ones(4, 5),
        "W": ones(3, 4),
        "b": ones(3, 1),
        "activation": "tanh",
    },
    "activation_forward": {"Z": ones(3, 5), "activation": "tanh"},
    "activation_derivative": {"Z": ones(3, 5), "activation": "tanh"},
    "activation_backward": {"dA": ones(3, 5), "Z": ones(3, 5), "activation": "tanh"},
    "output_gradient": {"A": ones(3, 5), "Y": ones(3, 5)},
    "hidden_gradient": {
        "W_next": ones(2, 3),
        "dZ_next": ones(2, 5),
        "Z": ones(3, 5),
        "activation": "tanh",
    },
    "weight_gradient": {"dZ": ones(3, 5), "A_prev": ones(4, 5)},
    "bias_gradient": {"dZ": ones(3, 5)},
    "linear_backward": {"dZ": ones(3, 5), "A_prev": ones(4, 5), "W": ones(3, 4)},
    "cost": {"A": ones(3, 5) / 2, "Y": ones(3, 5), "loss": "squared_error"},
    "gradient_step": {"parameters": ones(6), "gradient": ones(6), "learning_rate": 0.1},
    "sigmoid": {"Z": ones(3, 5)},
    "tanh": {"Z": ones(3, 5)},
    "relu": {"Z": ones(3, 5)},
    "leaky_relu": {"Z": ones(3, 5)},
    "softmax": {"Z": ones(3, 5)},
}
WITH_OUT = {
    name: (3, 4) if name == "weight_gradient" else (3, 1) if name == "bias_gradient" else (3, 5)
    for name in RIGHT
    if name not in ("layer_forward", "linear_backward", "cost", "gradient_step")
}
MATRIX = [
    (name, argument)
    for name, arguments in RIGHT.items()
    for argument, value in arguments.items()
    if isinstance(value, np.ndarray)
]


def snapshot(values):
    """Return what a call was given, so that a change of one byte shows."""
    return {
        name: (value.tobytes(), value.shape, value.flags.writeable)
        if isinstance(value, np.ndarray)
        else repr(value)
        for name, value in values.items()
    }


def refused(call, error, *words):
    """Assert that the call raises, in one sentence that holds these words; return it."""
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    text = str(caught.value)
    for word in words:
        assert str(word) in text, f"{text!r} does not mention {word!r}"
    assert "\n" not in text and len(text) < 300, f"not one sentence: {text!r}"
    return text


def refused_by(name, changes, error, *words, device="cpu"):
    """Assert that a function refuses the right call with these changes, and changes nothing."""
    arguments = {**copy.deepcopy(RIGHT[name]), **changes}
    if name in WITH_OUT and "out" not in changes:
        arguments["out"] = np.full(WITH_OUT[name], 7.0)
    before = snapshot(arguments)
    text = refused(lambda: getattr(F, name)(**arguments, device=device), error, *words)
    assert snapshot(arguments) == before, "a failing call changed its arguments"
    return text


def test_the_right_calls_are_right():
    assert set(RIGHT) == set(F.__all__)
    for device in DEVICES:
        for name, arguments in RIGHT.items():
            getattr(F, name)(**copy.deepcopy(arguments), device=device)
            if name in WITH_OUT:
                out = np.full(WITH_OUT[name], np.nan)
                getattr(F, name)(**arguments, out=out, device=device)
                assert np.isfinite(out).all()


# ------------------------------------------------------------------ types, for every array

BAD_TYPES = {
    "complex": (lambda a: a.astype(complex), TypeError, "complex128"),
    "float16": (lambda a: a.astype(np.float16), TypeError, "float16"),
    "longdouble": (lambda a: a.astype(np.longdouble), TypeError, str(np.dtype(np.longdouble))),
    "object": (lambda a: a.astype(object), TypeError, "object"),
    "text": (lambda a: a.astype(str), TypeError, "<U"),
    "bytes": (lambda a: a.astype("S3"), TypeError, "|S3"),
    "dates": (lambda a: a.astype("M8[s]"), TypeError, "datetime64"),
    "spans": (lambda a: a.astype("m8[s]"), TypeError, "timedelta64"),
    "records": (lambda a: a.view([("x", "f8")]), TypeError, "[('x', '<f8')]"),
    "None": (lambda a: None, TypeError, "object"),
    "a dict": (lambda a: {"a": 1}, TypeError, "object"),
    "a set": (lambda a: {1.0, 2.0}, TypeError, "object"),
    "a name": (lambda a: "ones", TypeError, "<U4"),
    "huge integers": (lambda a: [[10**30]], TypeError, "object"),
    "masked": (lambda a: np.ma.masked_array(a, mask=a > 0), TypeError, "masked"),
    # Here no GPU can be used: tests/cuda has the machines where one can.
    "on a GPU": (lambda a: OnGpu(), DeviceError, "on a GPU"),
    "ragged": (lambda a: [[1.0, 2.0], [3.0]], ValueError, "rectangular"),
}


@pytest.mark.parametrize("kind", BAD_TYPES)
@pytest.mark.parametrize(("name", "argument"), MATRIX)
def test_bad_types(name, argument, kind):
    make, error, word = BAD_TYPES[kind]
    value = make(RIGHT[name][argument])
    if argument == "parameters" and not isinstance(value, np.ndarray | OnGpu):
        # It is changed in place: nothing but an array will do.
        error, word = TypeError, "float32 or float64"
    elif argument == "parameters" and isinstance(value, np.ndarray) and value.dtype.kind not in "f":
        word = "float32 or float64"
    refused_by(name, {argument: value}, error, argument, word)


@pytest.mark.parametrize(("name", "argument"), MATRIX)
def test_two_float_types(name, argument):
    # Each argument in turn is the odd one out.
    if len([1 for other, _ in MATRIX if other == name]) == 1:
        value = RIGHT[name][argument].astype(np.float32)
        if name in WITH_OUT:
            refused_by(name, {argument: value}, TypeError, "out", "float32", "float64")
        return
    value = RIGHT[name][argument].astype(np.float32)
    text = refused_by(name, {argument: value}, TypeError, argument, "float32", "float64")
    others = [other for found, other in MATRIX if found == name and other != argument]
    assert any(re.search(rf"\b{other}\b", text) for other in others), (
        f"{text!r} names one of the two arrays only"
    )


@pytest.mark.parametrize(("name", "argument"), MATRIX)
@pytest.mark.parametrize("shape", [(0,), (0, 5), (3, 0), (0, 0)])
def test_empty_arrays(name, argument, shape):
    refused_by(name, {argument: np.empty(shape)}, ValueError, argument, "empty", shape)


# ------------------------------------------------------------------ shapes

BAD_SHAPES = [
    ("linear_forward", {"W": ones(3, 6)}, "W has 6 columns but A_prev has 4 rows"),
    ("linear_forward", {"A_prev": ones(5, 4)}, "W has 4 columns but A_prev has 5 rows"),
    ("linear_forward", {"b": ones(3)}, "b has shape (3,), but W has 3 rows: expected (3, 1)"),
    ("linear_forward", {"b": ones(1, 3)}, "b has shape (1, 3), but W has 3 rows"),
    ("linear_forward", {"b": ones(4, 1)}, "b has shape (4, 1), but W has 3 rows"),
    ("linear_forward", {"b": ones(1, 1)}, "b has shape (1, 1), but W has 3 rows"),
    ("linear_forward", {"b": 1.0}, "b has shape ()"),
    ("linear_forward", {"A_prev": ones(4)}, "A_prev must have 2 dimensions"),
    ("linear_forward", {"W": ones(4)}, "W must have 2 dimensions"),
    ("linear_forward", {"W": ones(3, 4, 1)}, "W must have 2 dimensions"),
    ("layer_forward", {"W": ones(3, 6)}, "W has 6 columns but A_prev has 4 rows"),
    ("layer_forward", {"b": ones(2, 1)}, "b has shape (2, 1), but W has 3 rows"),
    ("layer_forward", {"A_prev": ones(2, 2, 2)}, "A_prev must have 2 dimensions"),
    ("activation_backward", {"dA": ones(5, 3)}, "dA has shape (5, 3), but Z has shape (3, 5)"),
    ("activation_backward", {"dA": ones(1, 5)}, "dA has shape (1, 5), but Z has shape (3, 5)"),
    ("activation_backward", {"dA": 1.0}, "dA has shape ()"),
    ("output_gradient", {"Y": ones(3, 4)}, "Y has shape (3, 4), but A has shape (3, 5)"),
    ("output_gradient", {"Y": ones(5)}, "Y has shape (5,), but A has shape (3, 5)"),
    ("hidden_gradient", {"W_next": ones(4, 3)}, "W_next has 4 rows but dZ_next has 2"),
    ("hidden_gradient", {"dZ_next": ones(1, 5)}, "W_next has 2 rows but dZ_next has 1"),
    ("hidden_gradient", {"Z": ones(4, 5)}, "Z has shape (4, 5)"),
    ("hidden_gradient", {"Z": ones(3, 6)}, "Z has shape (3, 6)"),
    ("hidden_gradient", {"Z": ones(3)}, "Z must have 2 dimensions"),
    ("hidden_gradient", {"W_next": ones(2)}, "W_next must have 2 dimensions"),
    ("hidden_gradient", {"dZ_next": ones(2)}, "dZ_next must have 2 dimensions"),
    ("weight_gradient", {"A_prev": ones(4, 6)}, "dZ has 5 examples but A_prev has 6"),
    ("weight_gradient", {"dZ": ones(5)}, "dZ must have 2 dimensions"),
    ("weight_gradient", {"A_prev": ones(5)}, "A_prev must have 2 dimensions"),
    ("bias_gradient", {"dZ": ones(5)}, "dZ must have 2 dimensions"),
    ("bias_gradient", {"dZ": ones(3, 5, 1)}, "dZ must have 2 dimensions"),
    ("bias_gradient", {"dZ": 1.0}, "dZ must have 2 dimensions"),
    ("linear_backward", {"A_prev": ones(4, 2)}, "dZ has 5 examples but A_prev has 2"),
    ("linear_backward", {"W": ones(4, 3)}, "W has shape (4, 3)"),
    ("linear_backward", {"W": ones(12)}, "W has shape (12,)"),
    ("cost", {"A": ones(5)}, "A must have 2 dimensions"),
    ("cost", {"Y": ones(5, 3)}, "Y has shape (5, 3)"),
    ("cost", {"Y": ones(5)}, "Y has shape (5,)"),
    ("cost", {"Y": 1.0}, "Y has shape ()"),
    ("gradient_step", {"gradient": ones(5)}, "gradient has shape (5,)"),
    ("gradient_step", {"gradient": ones(6, 1)}, "gradient has shape (6, 1)"),
    ("softmax", {"Z": ones(5)}, "Z must have 2 dimensions"),
    ("softmax", {"Z": ones(2, 2, 2)}, "Z must have 2 dimensions"),
    ("activation_forward", {"Z": ones(5), "activation": "softmax"}, "Z must have 2 dimensions"),
    ("activation_derivative", {"Z": 1.0, "activation": "softmax"}, "Z must have 2 dimensions"),
]


@pytest.mark.parametrize(
    ("name", "changes", "words"), BAD_SHAPES, ids=lambda value: str(value)[:40]
)
def test_bad_shapes(name, changes, words):
    text = refused_by(name, changes, ValueError, words)
    # The numbers that were expected are there too.
    assert len(re.findall(r"\d", text)) >= 1
    for device in DEVICES:
        assert refused_by(name, changes, ValueError, words, device=device) == text


# ------------------------------------------------------------------ names and numbers


@pytest.mark.parametrize("name", [n for n, a in RIGHT.items() if "activation" in a])
@pytest.mark.parametrize("wrong", ["swish", "", "ReLU", "relu ", "sigmoidal"])
def test_unknown_activation(name, wrong):
    refused_by(name, {"activation": wrong}, ValueError, "activation", repr(wrong), *ACTIVATIONS)


@pytest.mark.parametrize("name", [n for n, a in RIGHT.items() if "activation" in a])
@pytest.mark.parametrize("wrong", [None, 3, np.tanh, ["relu"], b"relu"])
def test_an_activation_is_a_name(name, wrong):
    refused_by(name, {"activation": wrong}, TypeError, "activation", type(wrong).__name__)


def test_unknown_loss():
    refused_by("cost", {"loss": "mse"}, ValueError, "loss", "'mse'", *LOSSES)
    refused_by("cost", {"loss": None}, TypeError, "loss", "NoneType")
    refused_by("cost", {"loss": ["squared_error"]}, TypeError, "loss", "list")


@pytest.mark.parametrize("value", [-1, -1e-9, np.nan, np.inf, -np.inf, np.float32(-2)])
def test_learning_rate_out_of_range(value):
    refused_by("gradient_step", {"learning_rate": value}, ValueError, "learning_rate", f"{value:g}")


def test_learning_rate_beyond_all_floats():
    refused_by("gradient_step", {"learning_rate": 10**400}, ValueError, "learning_rate")


@pytest.mark.parametrize("value", ["0.1", None, 1j, [0.1], ones(1), True, np.True_])
def test_learning_rate_is_a_number(value):
    refused_by(
        "gradient_step",
        {"learning_rate": value},
        TypeError,
        "learning_rate must be a number",
        type(value).__name__,
    )


# ------------------------------------------------------------------ out, and what is changed


@pytest.mark.parametrize("name", WITH_OUT)
def test_bad_out(name):
    shape = WITH_OUT[name]
    for wrong in ((shape[0] + 1, shape[1]), shape[:1], (*shape, 1), (), shape[::-1]):
        refused_by(name, {"out": np.zeros(wrong)}, ValueError, "out", wrong, shape)
    for dtype in (
        np.float32,
        np.int64,
        complex,
        np.float16,
        object,
        np.dtype(float).newbyteorder(),
    ):
        words = ("out", np.dtype(dtype), "float64")
        refused_by(name, {"out": np.zeros(shape, dtype)}, TypeError, *words)
    for wrong in ([[0.0]], "out", 0.0, memoryview(bytes(8)), (np.zeros(shape),), OnGpu(shape)):
        refused_by(name, {"out": wrong}, TypeError, "out", type(wrong).__name__)
    frozen = np.zeros(shape)
    frozen.setflags(write=False)
    refused_by(name, {"out": frozen}, ValueError, "out is read-only")
    refused_by(name, {"out": np.broadcast_to(0.0, shape)}, ValueError, "out is read-only")


@pytest.mark.parametrize("name", WITH_OUT)
def test_out_has_no_mask(name):
    out = np.ma.masked_array(np.zeros(WITH_OUT[name]), mask=True)
    for device in DEVICES:
        refused_by(name, {"out": out}, TypeError, "out is a masked array", device=device)


def test_parameters_must_be_an_array_that_can_be_written():
    for wrong in ([1.0] * 6, 1.0, None, "w", tuple([1.0] * 6)):
        refused_by("gradient_step", {"parameters": wrong}, TypeError, "parameters")
    for dtype in (np.int64, bool, np.float16, complex):
        refused_by("gradient_step", {"parameters": np.ones(6, dtype)}, TypeError, "parameters")
    frozen = ones(6)
    frozen.setflags(write=False)
    refused_by("gradient_step", {"parameters": frozen}, ValueError, "parameters is read-only")


@both_devices
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parameters_in_the_other_byte_order_are_refused(device, dtype):
    other = np.dtype(dtype).newbyteorder()
    refused_by(
        "gradient_step",
        {"parameters": np.ones(6, other), "gradient": np.ones(6, dtype)},
        TypeError,
        "parameters is changed in place",
        "native byte order",
        other,
        device=device,
    )


def test_arguments_that_do_not_exist():
    for name, arguments in RIGHT.items():
        with pytest.raises(TypeError, match="nonsense"):
            getattr(F, name)(**arguments, nonsense=1)
        with pytest.raises(TypeError, match="missing"):
            getattr(F, name)()


# ------------------------------------------------------------------ targets


def cost_refused(A, Y, loss, error, *words):
    for device in DEVICES:
        before = snapshot({"A": A, "Y": Y})
        text = refused(lambda device=device: F.cost(A, Y, loss, device=device), error, *words)
        assert snapshot({"A": A, "Y": Y}) == before
    return text


HALF = ones(3, 5) / 2
BAD_TARGETS = [
    # A vector of labels
    ([0, 1, 2, 3, 1], "cross_entropy", ValueError, ("Y", "label 3", "0 to 2")),
    ([0, 1, -1, 2, 1], "cross_entropy", ValueError, ("Y", "label -1", "0 to 2")),
    ([0, 1, 2**40, 2, 1], "cross_entropy", ValueError, ("Y", 2**40, "0 to 2")),
    (np.array([0, 1, 2**64 - 1, 2, 1], np.uint64), "cross_entropy", ValueError, ("Y",)),
    ([0.5, 1, 2, 0, 1], "cross_entropy", ValueError, ("Y", "integer labels")),
    ([0.0, 1, np.nan, 0, 1], "cross_entropy", ValueError, ("Y", "NaN", "1 of its 5")),
    ([0.0, 1, np.inf, 0, 1], "cross_entropy", ValueError, ("Y", "label")),
    ([0.0, 1, -np.inf, 0, 1], "cross_entropy", ValueError, ("Y", "label")),
    ([0.0, 1, 1e300, 0, 1], "cross_entropy", ValueError, ("Y", "label 1e+300", "0 to 2")),
    ([0, 1, 2], "cross_entropy", ValueError, ("Y has 3 labels", "5 examples")),
    ([0, 1, 2, 0, 1, 1], "cross_entropy", ValueError, ("Y has 6 labels", "5 examples")),
    (["0", "1", "2", "0", "1"], "cross_entropy", TypeError, ("Y", "<U1")),
    ([0, 1, None, 0, 1], "cross_entropy", TypeError, ("Y", "object")),
    ([], "cross_entropy", ValueError, ("Y", "empty")),
    # A matrix
    (ones(3, 4), "cross_entropy", ValueError, ("Y", (3, 4), (3, 5))),
    (ones(5, 3), "cross_entropy", ValueError, ("Y", (5, 3), (3, 5))),
    (2 * ones(3, 5), "cross_entropy", ValueError, ("Y", "[0, 1]", "2")),
    (-ones(3, 5), "binary_cross_entropy", ValueError, ("Y", "[0, 1]", "-1")),
    (np.inf * ones(3, 5), "binary_cross_entropy", ValueError, ("Y", "[0, 1]", "inf")),
    (np.nan * ones(3, 5), "binary_cross_entropy", ValueError, ("Y", "NaN", "15 of its 15")),
    (np.nan * ones(3, 5), "squared_error", ValueError, ("Y", "NaN")),
    ([1, 0, 1, 0, 1], "binary_cross_entropy", ValueError, ("Y", (5,), (3, 5))),
    (ones(3, 5, 1), "squared_error", ValueError, ("Y", (3, 5, 1), (3, 5))),
]


@pytest.mark.parametrize(("Y", "loss", "error", "words"), BAD_TARGETS, ids=lambda v: str(v)[:30])
def test_bad_targets(Y, loss, error, words):
    cost_refused(HALF, Y, loss, error, *words)
    # And the same of a network.
    output = {"cross_entropy": "softmax", "binary_cross_entropy": "sigmoid"}.get(loss, "identity")
    net = fastnn.Network([4, 3], [output], loss, np.float64)
    X = ones(4, 5)
    for call in (
        lambda: net.cost(X, Y),
        lambda: net.gradient(X, Y),
        lambda: net.fit(X, Y, epochs=1),
        lambda: net.fit(X, np.zeros((3, 5)), epochs=1, validation=(X, Y)),
        lambda: fastnn.check_gradient(net, X, Y),
    ):
        before = snapshot({"X": X, "Y": Y, "parameters": net.parameters})
        refused(call, error, *words)
        assert snapshot({"X": X, "Y": Y, "parameters": net.parameters}) == before


def test_zeros_and_ones_of_one_output():
    A = HALF[:1]
    cost_refused(A, [0, 1, 2, 0, 1], "binary_cross_entropy", ValueError, "Y", "[0, 1]", "2")
    cost_refused(A, [0, 1, 1], "binary_cross_entropy", ValueError, "Y", "3", "5")


def test_cost_speaks_of_its_own_arguments():
    # It has an A and a Y, no X, no parameters and no network.
    for Y, loss, error in (
        ([0, 1, 2], "cross_entropy", ValueError),
        (ones(3, 4), "squared_error", ValueError),
        (ones(3, 5).astype(np.float32), "squared_error", TypeError),
    ):
        text = cost_refused(HALF, Y, loss, error, "Y")
        assert not re.search(r"\bX\b|\bparameters\b|\bnetwork\b", text), text
        assert re.search(r"\bA has\b", text), text
    # And a network has an X, and no A.
    net = fastnn.Network([2, 3], ["softmax"], dtype=np.float64)
    for Y, error in (
        ([0, 1, 2], ValueError),
        (ones(3, 4), ValueError),
        (ones(3, 5).astype(np.float32), TypeError),
    ):
        text = refused(lambda Y=Y: net.cost(ones(2, 5), Y), error, "Y")
        assert re.search(r"\bX has 5 examples\b|\bthe network's output has\b", text), text
        assert not re.search(r"\bA\b", text), text


# ------------------------------------------------------------------ Network: making one

BAD_NETWORKS = [
    ({"sizes": 5}, TypeError, ("sizes", "n_x")),
    ({"sizes": None}, TypeError, ("sizes", "n_x")),
    ({"sizes": "23"}, TypeError, ("sizes[0]", "str")),
    ({"sizes": [2.0, 1]}, TypeError, ("sizes[0]", "float")),
    ({"sizes": [2, True]}, TypeError, ("sizes[1]", "bool")),
    ({"sizes": [2, None]}, TypeError, ("sizes[1]", "NoneType")),
    ({"sizes": [2, 0]}, ValueError, ("sizes[1]", "at least 1", "0")),
    ({"sizes": [-3, 1]}, ValueError, ("sizes[0]", "at least 1", "-3")),
    ({"sizes": []}, ValueError, ("sizes", "n_x and n_y", "[]")),
    ({"sizes": [4]}, ValueError, ("sizes", "n_x and n_y", "[4]")),
    ({"activations": ["relu"]}, ValueError, ("activations names 1", "[2, 3, 1]", "2")),
    ({"activations": ["relu"] * 3}, ValueError, ("activations names 3", "[2, 3, 1]", "2")),
    ({"activations": []}, ValueError, ("activations names 0", "[2, 3, 1]", "2")),
    ({"activations": ["relu", "swish"]}, ValueError, ("activation", "'swish'", *ACTIVATIONS)),
    ({"activations": ["relu", None]}, TypeError, ("activation", "NoneType")),
    ({"activations": ["relu", 3]}, TypeError, ("activation", "int")),
    ({"activations": 5}, TypeError, ("activations must be a name", "sequence of names", "int")),
    ({"activations": "swish", "loss": "squared_error"}, ValueError, ("'swish'", *ACTIVATIONS)),
    ({"activations": "relu"}, TypeError, ("loss", "activation")),
    ({"activations": None}, TypeError, ("loss", "activation")),
    ({"loss": "mse"}, ValueError, ("loss", "'mse'", *LOSSES)),
    ({"loss": 3}, TypeError, ("loss", "int")),
    (
        {"loss": "cross_entropy"},
        ValueError,
        ("'cross_entropy'", "needs the output activation 'softmax'", "'sigmoid'"),
    ),
    (
        {"loss": "binary_cross_entropy", "activations": ["relu", "identity"]},
        ValueError,
        ("'binary_cross_entropy'", "needs the output activation 'sigmoid'", "'identity'"),
    ),
    ({"dtype": np.float16}, TypeError, ("dtype must be float32 or float64", "float16")),
    ({"dtype": int}, TypeError, ("dtype must be float32 or float64", "int")),
    ({"dtype": complex}, TypeError, ("dtype must be float32 or float64", "complex")),
    ({"dtype": None}, TypeError, ("dtype must be float32 or float64", "None")),
    ({"dtype": "nonsense"}, TypeError, ("dtype must be float32 or float64", "nonsense")),
    ({"dtype": [1]}, TypeError, ("dtype must be float32 or float64", "[1]")),
    ({"dtype": {"names": 1}}, TypeError, ("dtype must be float32 or float64", "names")),
    ({"dtype": ">f4"}, TypeError, ("dtype must be float32 or float64", ">f4")),
    ({"seed": -1}, ValueError, ("seed must be at least 0", "-1")),
    ({"seed": 1.5}, TypeError, ("seed must be a whole number", "float")),
    ({"seed": None}, TypeError, ("seed must be a whole number", "NoneType")),
    ({"seed": "0"}, TypeError, ("seed must be a whole number", "str")),
    ({"initializer": "xavier"}, ValueError, ("'xavier'", "auto", "he", "glorot", "zeros")),
    ({"initializer": None}, TypeError, ("initializer", "NoneType")),
    ({"device": "gpu"}, ValueError, ("device", "'gpu'", "auto", "cpu", "cuda", "numpy")),
    ({"device": 0}, TypeError, ("device", "int")),
]


@pytest.mark.parametrize(("changes", "error", "words"), BAD_NETWORKS, ids=lambda v: str(v)[:40])
def test_bad_networks(changes, error, words):
    arguments = {"sizes": [2, 3, 1], "activations": ["relu", "sigmoid"], **changes}
    before = repr(arguments)
    refused(lambda: fastnn.Network(**arguments), error, *words)
    assert repr(arguments) == before


def test_networks_that_are_right():
    # What the tables above come close to.
    assert fastnn.Network(np.array([2, 3, 1]), ("relu", "sigmoid")).sizes == (2, 3, 1)
    assert fastnn.Network((2, 1), np.array(["tanh"])).activations == ("tanh",)
    assert fastnn.Network([2, 1], ["tanh"], dtype="float64").dtype == np.float64
    assert fastnn.Network([2, 1], ["tanh"], dtype=float).parameters.dtype == np.float64
    assert fastnn.Network([2, 3, 3], "elu", "cross_entropy").activations == ("elu", "softmax")
    assert fastnn.Network(iter([2, 1]), iter(["tanh"])).sizes == (2, 1)


def test_names_of_numpy_become_plain():
    names = np.array(["tanh", "softmax"])
    net = fastnn.Network([2, 3, 3], names, np.str_("cross_entropy"))
    assert {type(name) for name in (*net.activations, net.loss)} == {str}
    net = fastnn.Network([2, 3, 3], names[0], np.str_("cross_entropy"))
    assert [*map(type, net.activations)] == [str, str]
    assert "np.str_" not in repr(net)


# ------------------------------------------------------------------ Network: its methods


def network(dtype=np.float64):
    return fastnn.Network([2, 3, 1], ["tanh", "sigmoid"], dtype=dtype, seed=3)


X = np.random.default_rng(0).standard_normal((2, 4))
Y = np.array([[0.0, 1.0, 1.0, 0.0]])

CALLS = {
    "forward": lambda net, X, Y: net.forward(X),
    "predict": lambda net, X, Y: net.predict(X),
    "cost": lambda net, X, Y: net.cost(X, Y),
    "gradient": lambda net, X, Y: net.gradient(X, Y),
    "fit": lambda net, X, Y: net.fit(X, Y, epochs=1),
    "validation": lambda net, X, Y: net.fit([[1], [1]], [0], epochs=1, validation=(X, Y)),
}


def method_refused(call, error, *words, **arrays):
    net = network()
    before = snapshot({"parameters": net.parameters, **arrays})
    text = refused(lambda: call(net), error, *words)
    assert snapshot({"parameters": net.parameters, **arrays}) == before
    return text


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        (ones(3, 4), ValueError, ("X has 3 rows but the network has 2 inputs", "X.T")),
        (ones(4, 2), ValueError, ("X has 4 rows but the network has 2 inputs", "X.T")),
        (ones(2), ValueError, ("X must have 2 dimensions", (2,))),
        (ones(2, 4, 1), ValueError, ("X must have 2 dimensions", (2, 4, 1))),
        (1.0, ValueError, ("X must have 2 dimensions", ())),
        (np.empty((2, 0)), ValueError, ("X is empty", (2, 0))),
        (ones(2, 4).astype(np.float32), TypeError, ("X has type float32", "float64")),
        (ones(2, 4).astype(np.float16), TypeError, ("X", "float16")),
        (ones(2, 4).astype(complex), TypeError, ("X", "complex128")),
        (ones(2, 4).astype(object), TypeError, ("X", "object")),
        (ones(2, 4).astype(str), TypeError, ("X", "<U")),
        (np.ma.masked_array(ones(2, 4)), TypeError, ("X", "masked")),
        ([[1.0, 2.0], [3.0]], ValueError, ("X", "rectangular")),
        (None, TypeError, ("X", "object")),
        (OnGpu((2, 4)), DeviceError, ("X", "GPU")),
    ],
    ids=lambda v: str(v)[:30],
)
def test_bad_examples(name, bad, error, words):
    method_refused(lambda net: CALLS[name](net, bad, Y), error, *words, X=bad, Y=Y)


@pytest.mark.parametrize("name", ["cost", "gradient", "fit", "validation"])
@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        ([0, 1, 1], ValueError, ("Y", "(1, 3)", "(1, 4)")),
        (ones(2, 4), ValueError, ("Y", (2, 4), (1, 4))),
        (ones(4, 1), ValueError, ("Y", (4, 1), (1, 4))),
        ([0, 1, 2, 0], ValueError, ("Y must lie in [0, 1]", "0 to 2")),
        ([0, 1, np.nan, 0], ValueError, ("Y holds NaN", "1 of its 4")),
        (Y.astype(np.float32), TypeError, ("Y", "float32", "float64")),
        (Y.astype(complex), TypeError, ("Y", "complex128")),
        (np.ma.masked_array(Y), TypeError, ("Y", "masked")),
        (OnGpu((1, 4)), DeviceError, ("Y", "GPU")),
        (None, TypeError, ("Y", "object")),
        ([[0, 1], [1]], ValueError, ("Y", "rectangular")),
        (np.empty((1, 0)), ValueError, ("Y is empty", (1, 0))),
    ],
    ids=lambda v: str(v)[:30],
)
def test_bad_targets_of_a_network(name, bad, error, words):
    method_refused(lambda net: CALLS[name](net, X, bad), error, *words, X=X, Y=bad)


BAD_WEIGHTS = [
    ([1, 1, 1], ValueError, ("sample_weight", (3,), "4 examples")),
    (ones(1, 4), ValueError, ("sample_weight", (1, 4), "4 examples")),
    (ones(4, 1), ValueError, ("sample_weight", (4, 1), "4 examples")),
    (1.0, ValueError, ("sample_weight", (), "4 examples")),
    ([], ValueError, ("sample_weight", (0,), "4 examples")),
    ([1, 1, -1, 1], ValueError, ("sample_weight", "at least 0")),
    ([1, 1, np.nan, 1], ValueError, ("sample_weight", "finite")),
    ([1, 1, np.inf, 1], ValueError, ("sample_weight", "finite")),
    ([0, 0, 0, 0], ValueError, ("sample_weight", "zero")),
    ([1, 1j, 1, 1], TypeError, ("sample_weight", "complex128")),
    (["1"] * 4, TypeError, ("sample_weight", "<U1")),
    ([1, None, 1, 1], TypeError, ("sample_weight", "object")),
    (np.ma.masked_array(ones(4)), TypeError, ("sample_weight", "masked")),
    (OnGpu((4,)), DeviceError, ("sample_weight", "GPU")),
    ("balanced", TypeError, ("sample_weight", "<U8")),
]


@pytest.mark.parametrize(("bad", "error", "words"), BAD_WEIGHTS, ids=lambda v: str(v)[:30])
def test_bad_sample_weight(bad, error, words):
    for call in (
        lambda net: net.cost(X, Y, bad),
        lambda net: net.gradient(X, Y, sample_weight=bad),
        lambda net: net.fit(X, Y, epochs=1, sample_weight=bad),
        lambda net: net.fit(X, Y, epochs=1, validation=(X, Y, bad)),
        lambda net: fastnn.check_gradient(net, X, Y, bad),
    ):
        method_refused(call, error, *words, X=X, Y=Y, sample_weight=bad)


@both_devices
def test_sample_weights_of_any_size_count_by_their_ratios(device):
    net = fastnn.Network([2, 1], ["sigmoid"], dtype=np.float64, device=device, initializer="he")
    expected = net.cost(X, Y, [1, 2, 3, 4])
    for scale in (1e-300, 1e-3, 1e300, 4e307):
        found = net.cost(X, Y, scale * np.array([1.0, 2.0, 3.0, 4.0]))
        assert found == pytest.approx(expected, rel=1e-12)
    assert net.cost(X, Y, np.array([1, 2, 3, 4], np.uint8)) == expected
    narrow = net.cost(X, Y, np.array([1, 2, 3, 4], np.float32))
    assert narrow == expected
    assert net.cost(X, Y, [True, False, False, False]) == pytest.approx(
        net.cost(X[:, :1], Y[:, :1])
    )


BAD_FITS = [
    ({"epochs": 0}, ValueError, ("epochs must be at least 1", "0")),
    ({"epochs": -5}, ValueError, ("epochs must be at least 1", "-5")),
    ({"epochs": 1.5}, TypeError, ("epochs must be a whole number", "float")),
    ({"epochs": None}, TypeError, ("epochs must be a whole number", "NoneType")),
    ({"epochs": True}, TypeError, ("epochs must be a whole number", "bool")),
    ({"batch_size": 0}, ValueError, ("batch_size must be at least 1", "0")),
    ({"batch_size": 2.0}, TypeError, ("batch_size must be a whole number", "float")),
    ({"batch_size": "all"}, TypeError, ("batch_size must be a whole number", "str")),
    ({"l1": -0.1}, ValueError, ("l1 must lie in", "-0.1")),
    ({"l1": np.nan}, ValueError, ("l1 must lie in", "nan")),
    ({"l1": "0.1"}, TypeError, ("l1 must be a number", "str")),
    ({"l2": -1}, ValueError, ("l2 must lie in", "-1")),
    ({"l2": np.inf}, ValueError, ("l2 must lie in", "inf")),
    ({"l2": [0.1]}, TypeError, ("l2 must be a number", "list")),
    ({"optimizer": "adam"}, TypeError, ("optimizer must be SGD", "'adam'")),
    ({"optimizer": fastnn.Adam}, TypeError, ("optimizer must be SGD", "Adam")),
    ({"optimizer": 0.1}, TypeError, ("optimizer must be SGD", "0.1")),
    ({"threads": 0}, ValueError, ("threads must be at least 1", "0")),
    ({"threads": 1.0}, TypeError, ("threads must be a whole number", "float")),
    ({"patience": 3}, ValueError, ("patience", "validation")),
    ({"patience": 0, "validation": (X, Y)}, ValueError, ("patience must be at least 1", "0")),
    ({"patience": 1.5, "validation": (X, Y)}, TypeError, ("patience", "float")),
    ({"seed": -1}, ValueError, ("seed must be at least 0", "-1")),
    ({"seed": 1.5}, TypeError, ("seed must be a whole number", "float")),
    ({"seed": "1"}, TypeError, ("seed must be a whole number", "str")),
    ({"validation": X}, TypeError, ("validation must be (X, Y)",)),
    ({"validation": 0.2}, TypeError, ("validation must be (X, Y)",)),
    ({"validation": "XY"}, TypeError, ("validation must be (X, Y)",)),
    ({"validation": (X,)}, TypeError, ("validation must be (X, Y)",)),
    ({"validation": (X, Y, None, None)}, TypeError, ("validation must be (X, Y)",)),
    ({"validation": (X[:1], Y)}, ValueError, ("validation", "X has 1 rows", "2 inputs")),
    ({"validation": (X, Y[:, :2])}, ValueError, ("validation", "Y has shape (1, 2)", "(1, 4)")),
    ({"validation": (X, Y, [1])}, ValueError, ("validation", "sample_weight", "(1,)")),
    ({"shuffle": "no"}, TypeError, ("shuffle must be True, False or a callable", "str")),
    ({"shuffle": None}, TypeError, ("shuffle must be True, False or a callable", "NoneType")),
    ({"shuffle": 1}, TypeError, ("shuffle must be True, False or a callable", "int")),
    ({"progress": "yes"}, TypeError, ("progress must be True, False or a callable", "str")),
    ({"progress": None}, TypeError, ("progress must be True, False or a callable", "NoneType")),
    ({"progress": 1}, TypeError, ("progress must be True, False or a callable", "int")),
]


@pytest.mark.parametrize(("changes", "error", "words"), BAD_FITS, ids=lambda v: str(v)[:40])
def test_bad_fits(changes, error, words):
    arguments = {"epochs": 1, **changes}
    method_refused(lambda net: net.fit(X, Y, **arguments), error, *words, X=X, Y=Y)


@pytest.mark.parametrize("name", ["cost", "gradient"])
def test_bad_penalties(name):
    for argument in ("l1", "l2"):
        for value in (-1e-3, np.nan, np.inf):
            call = lambda net, a=argument, v=value: getattr(net, name)(X, Y, **{a: v})  # noqa: E731
            method_refused(call, ValueError, f"{argument} must lie in", f"{value:g}", X=X, Y=Y)
        for value in ("1", None, True, 1j):
            call = lambda net, a=argument, v=value: getattr(net, name)(X, Y, **{a: v})  # noqa: E731
            words = f"{argument} must be a number", type(value).__name__
            method_refused(call, TypeError, *words, X=X, Y=Y)


@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        (ones(12), ValueError, ("parameters", (12,), (13,))),
        (ones(13, 1), ValueError, ("parameters", (13, 1), (13,))),
        (1.0, ValueError, ("parameters", (), (13,))),
        ([], ValueError, ("parameters", "empty")),
        (ones(13).astype(np.float32), TypeError, ("parameters", "float32", "float64")),
        (ones(13).astype(complex), TypeError, ("parameters", "complex128")),
        (None, TypeError, ("parameters", "object")),
        (OnGpu((13,)), TypeError, ("parameters", "GPU")),
    ],
    ids=lambda v: str(v)[:30],
)
def test_bad_parameters(bad, error, words):
    method_refused(lambda net: setattr(net, "parameters", bad), error, *words, values=bad)


def test_parameters_are_copied_into_place():
    net = network()
    vector, view = net.parameters, net.W[1]
    values = np.arange(13)
    net.parameters = values
    assert net.parameters is vector and vector.dtype == np.float64
    np.testing.assert_array_equal(view, [[9, 10, 11]])
    vector[0] = -1
    assert values[0] == 0
    for name in ("sizes", "activations", "loss", "W", "b"):
        with pytest.raises(AttributeError):
            setattr(net, name, None)


def test_bad_out_of_forward():
    for bad, error, words in (
        (np.zeros((1, 3)), ValueError, ("out", (1, 3), (1, 4))),
        (np.zeros(4), ValueError, ("out", (4,), (1, 4))),
        (np.zeros((1, 4), np.float32), TypeError, ("out", "float32", "float64")),
        (np.zeros((1, 4), int), TypeError, ("out", "int64", "float64")),
        ([[0.0] * 4], TypeError, ("out", "list")),
        (np.broadcast_to(0.0, (1, 4)), ValueError, ("out is read-only",)),
    ):
        method_refused(lambda net, bad=bad: net.forward(X, bad), error, *words, X=X, out=bad)


@both_devices
def test_integers_and_booleans_become_the_type_of_the_parameters(device):
    whole = np.array([[0, 1, 2, 3], [1, 0, 1, 0]])
    for dtype in (np.float32, np.float64):
        net = fastnn.Network([2, 3, 1], ["tanh", "sigmoid"], dtype=dtype, seed=3, device=device)
        expected = net.forward(whole.astype(dtype))
        for kind in (np.int8, np.uint64, np.int64):
            found = net.forward(whole.astype(kind))
            assert found.dtype == dtype
            assert found.tobytes() == expected.tobytes()
        assert net.forward(whole.tolist()).tobytes() == expected.tobytes()
        truth = whole.astype(bool)
        assert net.forward(truth).tobytes() == net.forward(truth.astype(dtype)).tobytes()
        J, gradient = net.gradient(whole, [False, True, True, False])
        same, expected = net.gradient(whole.astype(dtype), np.array([[0, 1, 1, 0]], dtype))
        assert (J, gradient.tobytes()) == (same, expected.tobytes())


@both_devices
@pytest.mark.parametrize("kind", [list, tuple])
def test_python_floats_become_the_type_of_the_parameters(device, kind):
    weights = [0.5, 1.0, 1.5, 2.0]
    for dtype in (np.float32, np.float64):
        net = fastnn.Network([2, 3, 1], ["tanh", "sigmoid"], dtype=dtype, seed=3, device=device)
        arrays = [X.astype(dtype), Y.astype(dtype), np.array(weights, dtype)]
        plain = [kind(map(kind, X.tolist())), kind(map(kind, Y.tolist())), kind(weights)]
        assert net.forward(plain[0]).tobytes() == net.forward(arrays[0]).tobytes()
        (J, gradient), (same, expected) = net.gradient(*plain), net.gradient(*arrays)
        assert (J, gradient.tobytes()) == (same, expected.tobytes())
        # And in part: the rest are arrays.
        assert net.cost(plain[0], *arrays[1:]) == net.cost(arrays[0], *plain[1:]) == J
        assert fastnn.check_gradient(net, *plain)
        net.fit(plain[0], plain[1], epochs=1, sample_weight=plain[2], validation=tuple(plain))
        net.parameters = kind(np.arange(13.0).tolist())
        np.testing.assert_array_equal(net.parameters, np.arange(13, dtype=dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "argument"), [one for one in MATRIX if one[1] != "parameters"])
def test_python_floats_take_the_type_of_the_arrays_beside_them(name, argument, dtype):
    right = {
        other: value.astype(dtype) if isinstance(value, np.ndarray) else value
        for other, value in RIGHT[name].items()
    }
    plain = {**copy.deepcopy(right), argument: right[argument].tolist()}
    if len([1 for other, _ in MATRIX if other == name]) == 1:
        right[argument] = right[argument].astype(np.float64)  # alone, they are float64
    expected, found = (getattr(F, name)(**arguments) for arguments in (right, plain))
    if name == "gradient_step":
        expected, found = right["parameters"], plain["parameters"]
    if not isinstance(found, tuple):
        expected, found = (expected,), (found,)
    for one, same in zip(found, expected, strict=True):
        assert np.asarray(one).dtype == np.asarray(same).dtype
        np.testing.assert_array_equal(one, same)


def test_a_list_of_narrow_arrays_has_their_type():
    rows = [np.ones(3, np.float32)] * 2
    assert F.sigmoid(rows).dtype == np.float32
    with pytest.raises(TypeError, match="X has type float32, but the network's parameters are"):
        network().forward(rows)


def test_outputs_without_a_type_take_that_of_the_targets():
    Y = np.full((1, 2), 0.5, np.float32)
    for A in ([[1.0, 0.0]], [[1, 0]], np.array([[1, 0]])):
        assert F.cost(A, Y, "squared_error") == 0.125
    # Labels are of any type.
    A = np.full((3, 2), 0.5)
    for Y in (np.array([0, 2]), np.array([0, 2], np.float32), [0.0, 2.0]):
        assert F.cost(A, Y, "cross_entropy") == pytest.approx(np.log(2), rel=1e-15)
        assert F.cost(A.tolist(), Y, "cross_entropy") == pytest.approx(np.log(2), rel=1e-6)


@both_devices
def test_inputs_of_right_calls_are_unchanged(device):
    for dtype in (np.float32, np.float64):
        net = fastnn.Network([2, 3, 1], ["tanh", "sigmoid"], dtype=dtype, seed=3, device=device)
        arrays = {"X": X.astype(dtype), "Y": Y.astype(dtype), "sample_weight": np.arange(1, 5.0)}
        before = snapshot({**arrays, "parameters": net.parameters})
        net.forward(arrays["X"])
        net.predict(arrays["X"])
        net.cost(**arrays)
        net.gradient(**arrays)
        assert snapshot({**arrays, "parameters": net.parameters}) == before
        net.fit(**arrays, epochs=3, batch_size=3, validation=tuple(arrays.values()))
        after = snapshot({**arrays, "parameters": net.parameters})
        assert after.pop("parameters") != before.pop("parameters")
        assert after == before
