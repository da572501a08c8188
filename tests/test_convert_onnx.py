"""fastnn.convert and ONNX: what is written runs elsewhere, what is read is what was meant."""

from __future__ import annotations

import math
import os
import warnings

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
from fastnn.convert import ConversionError, from_onnx, to_onnx
from fastnn.kernels.codes import ACTIVATIONS

onnx = pytest.importorskip("onnx", reason="ONNX is what is converted")

from onnx import helper, numpy_helper, parser  # noqa: E402

OPSETS = [13, 17, 20, 21]

rng = np.random.default_rng(5)
W = rng.normal(size=(3, 4)).astype(np.float32)
V = rng.normal(size=(2, 3)).astype(np.float32)
B = rng.normal(size=3).astype(np.float32)


def graph(nodes, inputs="float[N,4] X", outputs="float[N,3] A", opset=17, **constants):
    """Return the model of these nodes, in ONNX's own notation, and of constants."""
    text = f'<ir_version: 8, opset_import: ["" : {opset}, "com.microsoft": 1]>\n'
    model = parser.parse_model(f"{text} g ({inputs}) => ({outputs}) {{ {nodes} }}")
    tensors = [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()]
    model.graph.initializer.extend(tensors)
    return model


def run(model, X):
    """Return what ONNX Runtime makes of rows of examples."""
    runtime = pytest.importorskip("onnxruntime", reason="ONNX Runtime runs what is written")
    session = runtime.InferenceSession(model.SerializeToString())
    return session.run(None, {session.get_inputs()[0].name: X})[0]


def evaluate(model, X):
    """Return what the onnx package's own evaluator, in NumPy, makes of rows of examples.

    Its Erf and Gelu are rounded to float32; these here are not.
    """
    from onnx.reference import ReferenceEvaluator
    from onnx.reference.op_run import OpRun

    erf = np.vectorize(math.erf, otypes="d")

    class Erf(OpRun):
        op_domain = ""

        def _run(self, x):
            return (erf(x),)

    class Gelu(OpRun):
        op_domain = ""

        def _run(self, x, approximate="none"):
            assert approximate == "none"
            return (x * (1 + erf(x / np.sqrt(2))) / 2,)

    return ReferenceEvaluator(model, new_ops=[Erf, Gelu]).run(None, {"X": X})[0]


# what is written


@pytest.mark.compiled
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_networks_run_in_onnx_runtime_and_come_back(activation, opset, dtype):
    net = random_network([5, 7, 4, 3], [activation, "tanh", activation], dtype)
    model = to_onnx(net, opset=opset)
    onnx.checker.check_model(model, full_check=True)
    assert_same_network(from_onnx(model), net)
    X = rows(9, 5, dtype)
    if activation == "gelu" and dtype == np.float64:
        # ONNX Runtime has neither Gelu nor Erf of this type; the evaluator has.
        assert_outputs(evaluate(model, X), net, X)
    else:
        assert_outputs(run(model, X), net, X)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_extreme_values_agree(activation, dtype):
    """Where a form that is put together could overflow, or lose what the operator keeps."""
    net = fastnn.Network([1, 1], [activation], dtype=dtype)
    net.W[0][...] = 1
    z = np.array([0.0, 1e-9, 1e-3, 1.0, 19.0, 21.0, 50.0, 80.0], dtype)
    X = np.concatenate([-z, z])[:, np.newaxis]
    model = to_onnx(net)
    found = evaluate(model, X) if (activation, dtype) == ("gelu", np.float64) else run(model, X)
    assert_outputs(found, net, X)


def test_names_shapes_and_versions():
    model = to_onnx(random_network([4, 3, 2], ["relu", "softmax"]))
    (x,), (a,) = model.graph.input, model.graph.output
    assert (x.name, a.name) == ("X", "A")
    for each, n in ((x, 4), (a, 2)):
        batch, features = each.type.tensor_type.shape.dim
        assert (batch.dim_param, features.dim_value) == ("N", n)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 17)]
    assert model.ir_version == 8  # the oldest that has opset 17
    assert model.producer_name == "fastnn"
    assert {each.key: each.value for each in model.metadata_props} == {
        "fastnn.loss": "cross_entropy"
    }


@pytest.mark.parametrize(
    ("activation", "opset", "dtype", "kinds"),
    [
        ("identity", 17, np.float32, ["Gemm"]),
        ("relu", 17, np.float64, ["Gemm", "Relu"]),
        ("leaky_relu", 17, np.float32, ["Gemm", "LeakyRelu"]),
        ("leaky_relu", 17, np.float64, ["Gemm", "Mul", "Max"]),
        ("elu", 17, np.float32, ["Gemm", "Elu"]),
        ("gelu", 20, np.float32, ["Gemm", "Gelu"]),
        ("gelu", 19, np.float32, ["Gemm", "Div", "Erf", "Add", "Mul", "Mul"]),
        ("silu", 20, np.float32, ["Gemm", "Sigmoid", "Mul"]),
        ("silu", 20, np.float64, ["Gemm", "Neg", "Exp", "Add", "Div"]),
        ("softplus", 17, np.float32, ["Gemm", "Softplus"]),
    ],
)
def test_which_operators_are_written(activation, opset, dtype, kinds):
    model = to_onnx(fastnn.Network([2, 3], [activation], dtype=dtype), opset=opset)
    assert [node.op_type for node in model.graph.node] == kinds


def test_files(tmp_path):
    net = random_network([4, 3, 2], ["silu", "identity"], np.float64)
    path = tmp_path / "model.onnx"
    model = to_onnx(net, path)
    assert onnx.load(path) == model
    assert_same_network(from_onnx(path), net)
    assert_same_network(from_onnx(os.fspath(path)), net)


def test_the_model_is_a_copy():
    net = random_network([4, 3], ["softmax"])
    model, before = to_onnx(net), net.parameters.copy()
    net.parameters[...] = 0
    assert_same_bits(from_onnx(model).parameters, before)


@pytest.mark.parametrize(
    ("activations", "loss", "delta"),
    [
        (["sigmoid"], "squared_error", 1.0),
        (["identity"], "huber", 0.25),
        (["relu"], "absolute_error", 1.0),
        (["exp"], "poisson", 1.0),
        (["sigmoid"], "binary_cross_entropy", 1.0),
    ],
)
def test_the_loss_is_noted_down(activations, loss, delta):
    net = fastnn.Network([4, 3], activations, loss, delta=delta)
    again = from_onnx(to_onnx(net))
    assert (again.loss, again.delta) == (loss, delta)
    other = from_onnx(to_onnx(net), loss="huber", delta=2.0)
    assert (other.loss, other.delta) == ("huber", 2.0)


@pytest.mark.parametrize(
    ("opset", "error", "message"),
    [
        (12, ValueError, r"opset must lie in \[13, [0-9]+\], got 12"),
        (10**6, ValueError, r"opset must lie in \[13, [0-9]+\], got 1000000"),
        ("17", TypeError, "opset must be a whole number, got str"),
    ],
)
def test_opsets_that_are_refused(opset, error, message):
    with pytest.raises(error, match=message):
        to_onnx(fastnn.Network([2, 1], ["sigmoid"]), opset=opset)


def test_networks_that_are_too_large(monkeypatch):
    net = fastnn.Network([100, 100], ["relu"])
    size = len(to_onnx(net).SerializeToString())
    monkeypatch.setattr(fastnn.convert.onnx_writer, "_LIMIT", size - 1)
    with pytest.raises(ConversionError, match=rf"holds at most {size - 1} \(2 GiB\) in one model"):
        to_onnx(net)
    monkeypatch.setattr(fastnn.convert.onnx_writer, "_LIMIT", 2 * size)
    assert to_onnx(net).graph.node


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_what_a_layer_takes_beside_its_parameters_is_less_than_is_allowed_for(activation, dtype):
    net = fastnn.Network([1] * 201, activation, loss="squared_error", dtype=dtype)
    size = len(to_onnx(net).SerializeToString())
    assert size < net.parameters.nbytes + fastnn.convert.onnx_writer._AROUND * 200


def test_an_activation_that_onnx_does_not_know(monkeypatch):
    monkeypatch.delitem(fastnn.convert.onnx_writer.FORMS, "tanh")
    with pytest.raises(ConversionError, match="layer 0: the activation 'tanh' has no operators"):
        to_onnx(fastnn.Network([2, 3, 1], ["tanh", "sigmoid"]))


# what others write

FLAT = "A = Gemm<transB=1>(X, W, B)"


@pytest.mark.compiled
@pytest.mark.parametrize(
    ("nodes", "constants", "activations"),
    [
        (FLAT, {"W": W, "B": B}, ["identity"]),
        ("A = Gemm(X, W)", {"W": W.T}, ["identity"]),
        (
            "A = Gemm<alpha=1.0, beta=1.0, transA=0>(X, W, B)",
            {"W": W.T, "B": B[None]},
            ["identity"],
        ),
        ("A = Gemm<transB=1>(X, W, B)", {"W": W, "B": B[0]}, ["identity"]),
        ("A = Gemm<transB=1>(X, W, B)", {"W": W, "B": B[:1, None]}, ["identity"]),
        ("A = MatMul(X, W)", {"W": W.T}, ["identity"]),
        ("P = MatMul(X, W) A = Add(P, B)", {"W": W.T, "B": B}, ["identity"]),
        ("P = MatMul(X, W) A = Add(B, P)", {"W": W.T, "B": B}, ["identity"]),
        ("T = Transpose<perm=[1,0]>(W) A = MatMul(X, T)", {"W": W}, ["identity"]),
        ("T = Transpose(W) A = Gemm(X, T, B)", {"W": W, "B": B}, ["identity"]),
        ("T = Identity(W) A = MatMul(X, T)", {"W": W.T}, ["identity"]),
        ("T = Transpose<perm=[0,1]>(W) A = MatMul(X, T)", {"W": W.T}, ["identity"]),
        ("T = Transpose<perm=[0,1]>(X) A = MatMul(T, W)", {"W": W.T}, ["identity"]),
        ("P = Gemm<transB=1>(X, W) A = Add(P, B)", {"W": W, "B": B}, ["identity"]),
        ("P = Gemm(X, W) Z = Add(B, P) A = Relu(Z)", {"W": W.T, "B": B}, ["relu"]),
        ("C = Constant<value_float=2.0>() A = MatMul(X, W)", {"W": W.T}, ["identity"]),
        (
            "S = Constant<value_ints=[-1,4]>() R = Reshape(X, S) A = Gemm(R, W)",
            {"W": W.T},
            ["identity"],
        ),
        ("Z = Gemm(X, W) I = Identity(Z) A = Relu(I)", {"W": W.T}, ["relu"]),
        ("D = Dropout(X) Z = Gemm(D, W) A = Tanh(Z)", {"W": W.T}, ["tanh"]),
        ("Y = Cast<to=1>(X) Z = Gemm(Y, W) A = Softmax(Z)", {"W": W.T}, ["softmax"]),
        ("Z = Gemm(X, W) A = Softmax<axis=1>(Z)", {"W": W.T}, ["softmax"]),
        ("F = Flatten(X) A = Gemm(F, W)", {"W": W.T}, ["identity"]),
        ("Z = Gemm(X, W) A = Flatten<axis=-1>(Z)", {"W": W.T}, ["identity"]),
        ("R = Reshape(X, S) A = Gemm(R, W)", {"W": W.T, "S": [-1, 4]}, ["identity"]),
        ("R = Reshape(X, S) A = Gemm(R, W)", {"W": W.T, "S": [0, -1]}, ["identity"]),
        ("R = Reshape(X, S) A = Gemm(R, W)", {"W": W.T, "S": [0, 4]}, ["identity"]),
        ("Z = Gemm(X, W) A = LeakyRelu(Z)", {"W": W.T}, ["leaky_relu"]),
        ("Z = Gemm(X, W) A = Elu(Z)", {"W": W.T}, ["elu"]),
        ("Z = Gemm(X, W) A = Exp(Z)", {"W": W.T}, ["exp"]),
        ("Z = Gemm(X, W) S = Sigmoid(Z) A = Mul(S, Z)", {"W": W.T}, ["silu"]),
        (
            "Z = Gemm(X, W) C = Constant<value_float=0.01>() M = Mul(C, Z) A = Max(M, Z)",
            {"W": W.T},
            ["leaky_relu"],
        ),
        (
            "Y = Gemm(X, W) A = Gemm<transB=1>(Y, V)",
            {"W": W.T, "V": rng.normal(size=(3, 3)).astype("f4")},
            ["identity", "identity"],
        ),
    ],
)
def test_chains_of_others(nodes, constants, activations):
    model = graph(nodes, **constants)
    net = from_onnx(model)
    assert net.activations == tuple(activations)
    X = rows(9, 4, np.float32)
    assert_outputs(run(model, X), net, X)
    assert_same_bits(net.W[0], W)
    assert net.b[0].any() == ("B" in constants)


@pytest.mark.compiled
@pytest.mark.parametrize("product", ["MatMul", "Gemm"])
def test_biases_that_are_listed(product):
    nodes = f"C = Constant<value_floats=[1.0,2.0,3.0]>() P = {product}(X, W) A = Add(P, C)"
    model, X = graph(nodes, W=W.T), rows(9, 4, np.float32)
    net = from_onnx(model)
    assert_same_bits(net.b[0][:, 0], np.array([1, 2, 3], np.float32))
    assert_outputs(run(model, X), net, X)


@pytest.mark.compiled
@pytest.mark.parametrize(
    "nodes",
    [
        "D = Div(Z, R) E = Erf(D) O = Add(E, I) P = Mul(Z, O) A = Mul(P, H)",
        "D = Div(Z, R) E = Erf(D) O = Add(I, E) P = Mul(H, O) A = Mul(Z, P)",
        "D = Mul(Q, Z) E = Erf(D) O = Add(E, I) P = Mul(H, Z) A = Mul(O, P)",
    ],
)
def test_gelu_in_other_orders(nodes):
    half = {"R": np.sqrt(2), "Q": np.sqrt(0.5), "H": 0.5, "I": 1.0}
    used = {
        name: np.float32(v)
        for name, v in half.items()
        if f"{name})" in nodes or f"({name}," in nodes
    }
    model = graph("Z = Gemm(X, W) " + nodes, W=W.T, **used)
    net, X = from_onnx(model), rows(9, 4, np.float32)
    assert net.activations == ("gelu",)
    assert_outputs(run(model, X), net, X)


@pytest.mark.compiled
@pytest.mark.parametrize("order", ["Mul(Z, S)", "Mul(S, Z)"])
def test_silu_of_others(order):
    model = graph(f"Z = Gemm(X, W) S = Sigmoid(Z) A = {order}", W=W.T)
    net, X = from_onnx(model), rows(9, 4, np.float32)
    assert net.activations == ("silu",)
    assert_outputs(run(model, X), net, X)


def test_swish_of_opset_24():
    if onnx.defs.onnx_opset_version() < 24:
        pytest.skip("this version of onnx does not know Swish")
    for attributes, known in (("", True), ("<alpha=1.0>", True), ("<alpha=1.7>", False)):
        model = graph(f"Z = Gemm(X, W) A = Swish{attributes}(Z)", opset=24, W=W.T)
        if known:
            assert from_onnx(model).activations == ("silu",)
            continue
        with pytest.raises(
            ConversionError, match=r"\(Swish\): it cannot be converted with alpha=1.7"
        ):
            from_onnx(model)


def test_images_are_flattened_first():
    for nodes, shape in (("F = Flatten(X)", []), ("F = Reshape(X, S)", [-1, 4])):
        constants = {"W": W.T} | ({"S": shape} if shape else {})
        net = from_onnx(graph(f"{nodes} A = Gemm(F, W)", "float[N,1,2,2] X", **constants))
        assert net.sizes == (4, 3)


def test_dropout_says_by_an_input_that_it_trains():
    nodes = "D = Dropout(X, R, T) A = Gemm(D, W)"
    model = graph(nodes, W=W.T, R=np.float32(0.5), T=np.array(False))
    assert from_onnx(model).sizes == (4, 3)
    model = graph(nodes, W=W.T, R=np.float32(0.5), T=np.array(True))
    with pytest.raises(ConversionError, match=r"\(Dropout\): its training_mode is not false"):
        from_onnx(model)


def test_logits():
    model = graph(FLAT, W=W, B=B)
    assert from_onnx(model, loss="cross_entropy").activations == ("softmax",)
    assert from_onnx(model, loss="binary_cross_entropy").activations == ("sigmoid",)
    assert from_onnx(model, loss="poisson").activations == ("exp",)
    assert from_onnx(model, loss="squared_error").activations == ("identity",)
    with pytest.raises(ConversionError, match="unknown loss 'hinge'"):
        from_onnx(model, loss="hinge")


@pytest.mark.parametrize(("dtype", "word"), [(np.float32, "float"), (np.float64, "double")])
def test_parameters_that_are_only_bytes(dtype, word):
    # Values that float arithmetic would change: a NaN with a payload, a denormal, minus zero.
    values = np.array([[np.nan, -0.0, np.finfo(dtype).smallest_subnormal, 1.0]], dtype)
    values.view(np.uint8)[0, 1] ^= 0x5A
    model = graph("A = Gemm<transB=1>(X, W)", f"{word}[N,4] X", f"{word}[N,1] A", W=values)
    assert_same_bits(from_onnx(model).W[0], values)


def test_values_in_another_file(tmp_path):
    net = random_network([4, 3, 2], ["relu", "softmax"])
    path = tmp_path / "model.onnx"
    onnx.save_model(
        to_onnx(net), path, save_as_external_data=True, location="values.bin", size_threshold=0
    )
    assert_same_network(from_onnx(path), net)
    with pytest.raises(ConversionError, match="values of 'W1' are in another file: give the path"):
        from_onnx(onnx.load(path, load_external_data=False))
    (tmp_path / "values.bin").unlink()
    with pytest.raises((ConversionError, OSError)):
        from_onnx(path)


# what is refused


@pytest.mark.parametrize(
    ("nodes", "constants", "message"),
    [
        ("Z = Gemm(X, W) A = HardSigmoid(Z)", {"W": W.T}, r"node 1 '' \(HardSigmoid\): it cannot"),
        ("Z = Gemm(X, W) A = LeakyRelu<alpha=0.2>(Z)", {"W": W.T}, "with alpha=0.2"),
        ("Z = Gemm(X, W) A = Elu<alpha=0.5>(Z)", {"W": W.T}, "with alpha=0.5; convertible is"),
        ("Z = Gemm(X, W) A = Softmax<axis=0>(Z)", {"W": W.T}, r"\(Softmax\): .* with axis=0"),
        ("Z = Gemm(X, W) A = LogSoftmax(Z)", {"W": W.T}, r"\(LogSoftmax\): .*not its logarithm"),
        ("Z = Gemm(X, W) R = Relu(Z) A = Tanh(R)", {"W": W.T}, r"\(Relu\): node 2 '' \(Tanh\) fol"),
        ("R = Relu(X) A = Gemm(R, W)", {"W": W.T}, r"\(Relu\): there is no dense layer before"),
        ("A = Gemm<alpha=2.0>(X, W)", {"W": W.T}, r"node 0 '' \(Gemm\): alpha is 2; expected 1"),
        ("A = Gemm<beta=0.5>(X, W, B)", {"W": W.T, "B": B}, "beta is 0.5; expected 1"),
        (
            "A = Gemm(X, W, B)",
            {"W": W.T, "B": np.ones((1, 1, 3), "f4")},
            "no valid ONNX|biases have",
        ),
        ("Y = Relu(W) A = MatMul(X, Y)", {"W": W.T}, "its weights 'Y' are not stored in the model"),
        ("Z = Gemm(X, W) A = Mul(Z, C)", {"W": W.T, "C": np.float32(2)}, r"\(Mul\): it cannot be"),
        (
            "Z = Gemm(X, W, B) A = Add(Z, B)",
            {"W": W.T, "B": B},
            r"\(Add\): it cannot be converted wh",
        ),
        ("Z = Gemm(X, W) R = Relu(Z) A = Add(Z, R)", {"W": W.T}, r"node 2 '' \(Add\)"),
        ("Z = Gemm(X, W) Y = Relu(Z) A = Tanh(Z)", {"W": W.T}, r"node 1 '' \(Relu\): not part of"),
        ("Z = Gemm(X, W) S = Sigmoid(X) A = Mul(Z, S)", {"W": W.T}, "no valid ONNX|cannot be conv"),
        ("A = Identity(W)", {"W": np.ones((1, 3), "f4")}, "'W' does not depend on the input 'X'"),
        ("F = Flatten<axis=0>(X) A = Gemm(F, W)", {"W": W.T}, r"no valid ONNX|\(Flatten\): it cha"),
        ("R = Reshape(X, S) A = Gemm(R, W)", {"W": W.T, "S": [2, 4]}, r"\(Reshape\): it changes"),
        (
            "Y = Cast<to=11>(X) A = Gemm(Y, W)",
            {"W": W.T.astype("f8")},
            "no valid ONNX|casts FLOAT to",
        ),
        ("A = com.microsoft.FusedGemm(X, W)", {"W": W.T}, "is of the domain 'com.microsoft'"),
        ("Z = Gemm(X, W) A = com.microsoft.Gelu(Z)", {"W": W.T}, "of the domain 'com.microsoft'"),
    ],
)
def test_what_is_no_chain_of_dense_layers(nodes, constants, message):
    with pytest.raises(ConversionError, match=message):
        from_onnx(graph(nodes, **constants))


@pytest.mark.parametrize(
    ("nodes", "output", "constants", "message"),
    [
        ("T = com.microsoft.Identity(W) A = MatMul(X, T)", "N,3", {"W": W.T}, "'T' are not stored"),
        ("A = MatMul(X, W)", "1,N,3", {"W": W.T[None]}, r"weights have shape \(1, 4, 3\)"),
        ("P = MatMul(X, W) A = Add(P, B)", "1,N,3", {"W": W.T, "B": B[None, None]}, "biases have"),
        (
            'C = Constant<value_string="1">() P = MatMul(X, W) A = Add(P, C)',
            *("N,3", {"W": W.T}, "no valid ONNX|expected a constant with value, value_float, "),
        ),
        (
            "Z = MatMul(X, W) M = Mul(Z, C) A = Max(M, Z)",
            *("1,N,3", {"W": W.T, "C": np.full((1, 1, 1), 0.01, "f4")}, r"\(Max\): it cannot be"),
        ),
        (
            "Z = MatMul(X, W) M = Mul(Z, C) A = Max(M, Z)",
            *("N,3", {"W": W.T, "C": np.float32(np.nan)}, r"\(Max\): it cannot be converted"),
        ),
    ],
)
def test_constants_that_are_refused(nodes, output, constants, message):
    with pytest.raises(ConversionError, match=message):
        from_onnx(graph(nodes, outputs=f"float[{output}] A", **constants))


@pytest.mark.parametrize(
    ("inputs", "outputs", "nodes", "message"),
    [
        ("float[N,4] X, float[N,4] Y", "float[N,3] A", "S = Add(X, Y) A = Gemm(S, W)", "has 2 inp"),
        ("float[N,4] X", "float[N,3] A, float[N,3] Z", "Z = Gemm(X, W) A = Relu(Z)", "2 outputs"),
        (
            "float16[N,4] X",
            "float16[N,4] A",
            "A = Relu(X)",
            "'X' is of type FLOAT16; expected FLOAT",
        ),
        (
            "double[N,4] X",
            "float[N,3] A",
            "Y = Cast<to=1>(X) A = Gemm(Y, W)",
            "casts DOUBLE to FLO",
        ),
        (
            "float[N,M] X",
            "float[N,3] A",
            "Y = Reshape(X, S) A = Gemm(Y, W)",
            r"\(Reshape\): it cha",
        ),
        ("float[4] X", "float[3] A", "A = MatMul(X, W)", r"declares 1 dimensions; expected \(N, n"),
        (
            "float[N,T,4] X",
            "float[N,T,3] A",
            "A = MatMul(X, W)",
            r"takes \(N, 4\), but .* \(\?, 4\)",
        ),
        (
            "float[N,2,2] X",
            "float[N,3] A",
            "F = Flatten<axis=2>(X) A = Gemm(F, W)",
            "no valid|chang",
        ),
    ],
)
def test_inputs_and_outputs_that_are_refused(inputs, outputs, nodes, message):
    with pytest.raises(ConversionError, match=message):
        from_onnx(
            graph(nodes, inputs, outputs, W=W.T, **({"S": [-1, 4]} if "Reshape" in nodes else {}))
        )


def test_a_mask_is_no_output():
    model = graph("D, M = Dropout(X) A = Identity(M)", outputs="bool[N,4] A")
    with pytest.raises(ConversionError, match=r"\(Dropout\): its mask is used"):
        from_onnx(model)


def test_axes_that_are_exchanged():
    for perm in ("", "<perm=[1,0]>"):
        model = graph(f"T = Transpose{perm}(X) A = MatMul(T, W)", "float[4,4] X", W=W.T)
        with pytest.raises(ConversionError, match=r"\(Transpose\): it changes the order of the"):
            from_onnx(model)


def test_what_is_convertible_names_no_pieces():
    with pytest.raises(ConversionError) as caught:
        from_onnx(graph("Z = Gemm(X, W) A = HardSigmoid(Z)", W=W.T))
    listed = str(caught.value).partition("convertible is")[2].replace(",", "").split()
    assert {"Relu", "Softmax", "Gelu", "Exp", "gelu", "silu", "leaky_relu"} <= set(listed)
    assert not {"Mul", "Max", "Where", "Div", "Erf"} & set(listed)


def test_an_opset_that_is_not_known_yet():
    newest = onnx.defs.onnx_opset_version()
    model = graph("A = Gemm(X, W)", opset=newest + 1, W=W.T)
    with pytest.raises(ConversionError, match=rf"uses opset {newest + 1}, but onnx .* {newest}:"):
        from_onnx(model)


def test_an_old_opset():
    model = graph("A = Gemm(X, W, B)", W=W.T, B=B)
    model.opset_import[0].version = 6
    with pytest.raises(ConversionError, match="no valid ONNX|uses opset 6; expected at least 7"):
        from_onnx(model)


def test_operators_that_a_model_defines():
    model = graph("Z = Gemm(X, W) A = Relu(Z)", W=W.T)
    twice = parser.parse_function(
        '<domain: "", opset_import: ["" : 17]> Relu (x) => (y) { y = Neg(x) }'
    )
    model.functions.append(twice)
    with pytest.raises(ConversionError, match="no valid ONNX|defines operators of its own, 'Relu'"):
        from_onnx(model)


@pytest.mark.parametrize("kind", [np.float16, np.int32])
def test_types_of_weights(kind):
    word = {np.float16: "float16", np.int32: "int32"}[kind]
    model = graph("Y = Gemm(X, W) A = Cast<to=1>(Y)", f"{word}[N,4] X", W=W.T.astype(kind))
    with pytest.raises(ConversionError, match="expected FLOAT or DOUBLE: cast the model first"):
        from_onnx(model)


def test_sizes_are_those_of_the_values():
    model = graph(FLAT, W=W, B=B)
    model.graph.initializer[0].dims[:] = [3, 10**9]
    with pytest.raises(ConversionError, match="no valid ONNX|cannot be read"):
        from_onnx(model)
    model = graph(FLAT, W=W, B=B)
    model.graph.initializer[0].raw_data += b"more"
    with pytest.raises(ConversionError, match="no valid ONNX|cannot be read"):
        from_onnx(model)
    model = graph(FLAT, "float[N,0] X", W=np.ones((3, 0), "f4"), B=B)
    with pytest.raises(ConversionError, match=r"its weights, \(3, 0\), hold no value"):
        from_onnx(model)


def test_a_long_chain_of_products_is_refused_at_once():
    # Were every product taken apart, there would be 2^60 factors.
    doubled = " ".join(f"M{i + 1} = Mul(M{i}, M{i})" for i in range(60))
    model = graph(f"M0 = Gemm(X, W) {doubled} A = Identity(M60)", W=W.T)
    with pytest.raises(ConversionError, match=r"node 60 '' \(Mul\): it cannot be converted"):
        from_onnx(model)


def test_a_note_of_the_loss_adds_nothing():
    model = graph(FLAT, W=W, B=B)
    for noted in ("cross_entropy", "poisson", "anything"):
        del model.metadata_props[:]
        helper.set_model_props(model, {"fastnn.loss": noted})
        net = from_onnx(model)
        assert (net.activations, net.loss) == (("identity",), "squared_error")
    helper.set_model_props(model, {"fastnn.loss": "huber", "fastnn.delta": "wide"})
    with pytest.raises(ConversionError, match="notes fastnn.delta='wide'; expected a number"):
        from_onnx(model)


def test_files_that_are_no_models(tmp_path):
    path = tmp_path / "model.onnx"
    model = to_onnx(random_network([40, 30], ["relu"])).SerializeToString()
    for content in (b"", b"no model", model[:-100], model[: len(model) // 2]):
        path.write_bytes(content)
        with pytest.raises(
            ConversionError, match="no ONNX model|no valid ONNX|cannot be read|inputs"
        ):
            from_onnx(path)
    with pytest.raises(FileNotFoundError):
        from_onnx(tmp_path / "none.onnx")
    with pytest.raises(TypeError, match=r"expected an onnx.ModelProto or a path, got list"):
        from_onnx([])


# PyTorch's exports


def torch_model(torch, dtype):
    nn = torch.nn
    return nn.Sequential(
        *(nn.Flatten(), nn.Linear(4, 5), nn.GELU(), nn.Linear(5, 3, bias=False), nn.SiLU()),
        *(nn.Dropout(), nn.Linear(3, 3), nn.Softplus(), nn.Linear(3, 3), nn.LeakyReLU()),
        *(nn.Linear(3, 3), nn.ELU(), nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 3), nn.Softmax(1)),
    ).to(dtype)


@pytest.mark.compiled
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("dynamo", [False, True])
def test_exports_of_pytorch(dynamo, dtype, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch writes the models that are read here")
    if dynamo:
        pytest.importorskip("onnxscript", reason="PyTorch's newer exporter is built on it")
    module = torch_model(torch, getattr(torch, dtype.__name__)).eval()
    X = rows(9, 4, dtype)
    path = tmp_path / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what PyTorch's exporters say of themselves
        torch.onnx.export(
            module, (torch.from_numpy(X),), path, dynamo=dynamo, opset_version=18, verbose=False
        )
    net = from_onnx(path)
    assert_same_network(net, fastnn.convert.from_torch(module))
    with torch.no_grad():
        assert_outputs(module(torch.from_numpy(X)).numpy(), net, X)
