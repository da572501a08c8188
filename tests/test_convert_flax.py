"""fastnn.convert and trees of parameters, as Flax and plain JAX keep them."""

from __future__ import annotations

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

from fastnn.convert import ConversionError, from_flax, to_flax
from fastnn.kernels.codes import ACTIVATIONS


def dense(n_in, n_out, dtype=np.float32, bias=True):
    """Return the leaves of one Dense."""
    random = np.random.default_rng(n_in + 10 * n_out)
    layer = {"kernel": random.normal(size=(n_in, n_out)).astype(dtype)}
    return layer | ({"bias": random.normal(size=n_out).astype(dtype)} if bias else {})


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("outer", [True, False])
def test_a_tree_of_dense_layers(outer, dtype):
    inner = {"Dense_1": dense(3, 2, dtype, bias=False), "Dense_0": dense(4, 3, dtype)}
    net = from_flax({"params": inner} if outer else inner, ["tanh", "softmax"])
    assert (net.sizes, net.activations) == ((4, 3, 2), ("tanh", "softmax"))
    assert (net.loss, net.dtype) == ("cross_entropy", dtype)
    for l in (0, 1):
        assert_same_bits(net.W[l].T, inner[f"Dense_{l}"]["kernel"])
    assert_same_bits(net.b[0][:, 0], inner["Dense_0"]["bias"])
    assert not net.b[1].any()
    net.parameters[...] = 0
    assert inner["Dense_0"]["kernel"].all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_networks_there_and_back(activation, dtype):
    net = random_network([4, 3, 5], [activation, "identity"], dtype)
    params = to_flax(net)
    assert list(params["params"]) == ["Dense_0", "Dense_1"]
    for l, layer in enumerate(params["params"].values()):
        assert_same_bits(layer["kernel"], net.W[l].T)
        assert layer["kernel"].flags.c_contiguous
        assert_same_bits(layer["bias"], net.b[l][:, 0])
        assert not np.shares_memory(layer["kernel"], net.parameters)
    assert_same_network(from_flax(params, net.activations, net.loss), net)


def test_numbers_are_sorted_as_numbers():
    sizes = list(range(2, 15))
    params = {f"Dense_{l}": dense(n, n + 1) for l, n in enumerate(sizes)}
    assert sorted(params)[1:4] == ["Dense_1", "Dense_10", "Dense_11"]  # as JAX sorts them
    net = from_flax(dict(sorted(params.items())), "relu", loss="squared_error")
    assert net.sizes == (*sizes, 15)


def test_nested_trees():
    tree = {
        "params": {
            "MLP_0": {"Dense_0": dense(4, 3), "Dense_1": dense(3, 5)},
            "MLP_1": {"Dense_0": dense(5, 2)},
        }
    }
    assert from_flax(tree, "relu", loss="squared_error").sizes == (4, 3, 5, 2)
    layers = {"layers": {0: dense(4, 3), 2: dense(3, 5)}}  # nnx.Sequential, with an activation
    assert from_flax(layers, ["relu", "identity"]).sizes == (4, 3, 5)
    assert from_flax({"linear": dense(4, 3)}, ["identity"]).sizes == (4, 3)
    assert from_flax({"params": dense(4, 3)}, ["identity"]).sizes == (4, 3)


def test_other_names_need_an_order():
    params = {"encoder": {"out": dense(4, 3)}, "decoder": {"out": dense(3, 4)}}
    message = "the layers 'encoder/out', 'decoder/out' differ in more than their numbers: .*order="
    with pytest.raises(ConversionError, match=message):
        from_flax(params, ["relu", "identity"])
    net = from_flax(params, ["relu", "identity"], order=["encoder/out", "decoder/out"])
    assert_same_bits(net.W[0].T, params["encoder"]["out"]["kernel"])
    backwards = from_flax(params, ["relu", "identity"], order=["decoder/out", "encoder/out"])
    assert backwards.sizes == (3, 4, 3)
    with pytest.raises(ConversionError, match="order names 'encoder', but the layers are 'enc"):
        from_flax(params, ["relu", "identity"], order=["encoder"])
    with pytest.raises(ConversionError, match="differ in more than their numbers"):
        from_flax({"a1": dense(4, 3), "a01": dense(3, 4)}, ["relu", "identity"])


def test_orders():
    params = {0: dense(4, 3), 1: dense(3, 4)}
    for order in ([1, 0], ["1", "0"], (1, "0")):
        net = from_flax(params, ["relu", "identity"], order=order)
        assert_same_bits(net.W[0].T, params[1]["kernel"])
    with pytest.raises(ConversionError, match="order names '1', 'a', but the layers are '0', '1'"):
        from_flax(params, ["relu", "identity"], order=[1, "a"])
    with pytest.raises(TypeError, match="order must be a sequence of the names .* got str"):
        from_flax({"hidden": dense(4, 3)}, ["identity"], order="hidden")
    with pytest.raises(TypeError, match="got int"):
        from_flax(params, ["relu", "identity"], order=10)


def test_names_that_are_no_ordinary_ones():
    long = "9" * 5000
    net = from_flax({long: dense(3, 2), "8": dense(4, 3)}, "relu", loss="squared_error")
    assert net.sizes == (4, 3, 2)
    with pytest.raises(ConversionError, match="two layers that are called 'a/b'"):
        from_flax({"a/b": dense(4, 3), "a": {"b": dense(4, 3)}}, ["relu", "identity"])
    with pytest.raises(ConversionError, match="two layers that are called '1'"):
        from_flax({1: dense(4, 3), "1": dense(4, 3)}, ["relu", "identity"])


def test_trees_that_are_nested_too_deeply():
    tree = {"Dense_0": dense(4, 3)}
    for _ in range(3000):
        tree = {"inner": tree}
    ring = {}
    ring["ring"] = ring
    for each in (tree, ring):
        with pytest.raises(ConversionError, match="the tree is nested too deeply"):
            from_flax(each, ["identity"])


@pytest.mark.parametrize("dtype", FLOATS)
def test_lists_of_layers(dtype):
    first, second = dense(4, 3, dtype), dense(3, 2, dtype)
    expected = from_flax({"Dense_0": first, "Dense_1": second}, ["relu", "softmax"])
    for layers in (
        [(first["kernel"], first["bias"]), (second["kernel"], second["bias"])],
        [[each["kernel"], each["bias"]] for each in (first, second)],
        tuple({"w": each["kernel"], "b": each["bias"]} for each in (first, second)),
        [{"W": each["kernel"], "b": each["bias"]} for each in (first, second)],
        [first, second],
    ):
        assert_same_network(from_flax(layers, ["relu", "softmax"]), expected)
    for layers in (
        [(first["kernel"], None)],
        [{"w": first["kernel"]}],
        [{"w": first["kernel"], "b": None}],
    ):
        net = from_flax(layers, ["identity"])
        assert_same_bits(net.W[0].T, first["kernel"])
        assert not net.b[0].any()


def test_losses():
    params = {"Dense_0": dense(4, 3)}
    net = from_flax(params, ["identity"], loss="huber", delta=0.5)
    assert (net.loss, net.delta) == ("huber", 0.5)
    with pytest.raises(ConversionError, match="'cross_entropy' needs the output activation"):
        from_flax(params, ["identity"], loss="cross_entropy")
    assert from_flax(params, "relu", loss="cross_entropy").activations == ("softmax",)


KERNEL = np.ones((4, 3), np.float32)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "the model has no dense layer"),
        ([], "the model has no dense layer"),
        ({"params": {}}, "the model has no dense layer"),
        ({"params": KERNEL}, "'params' must hold a mapping of layers, got ndarray"),
        (
            {"params": {"Dense_0": {"kernel": KERNEL}}, "batch_stats": {}},
            "holds 'batch_stats' beside 'params'",
        ),
        ({"BatchNorm_0": {"scale": KERNEL}}, "layer 'BatchNorm_0': it holds 'scale'; expected a d"),
        ({"Dense_0": {"bias": KERNEL}}, "layer 'Dense_0': it holds 'bias'; expected a dense"),
        ({"Dense_0": {"kernel": KERNEL, "w": KERNEL}}, "it holds 'kernel', 'w'"),
        ({"D_0": {"kernel": KERNEL, "b": 1, "bias": 1}}, "it holds 'b', 'bias', 'kernel'"),
        ({"A_0": {"kernel": KERNEL, "inner": {}}}, "layer 'A_0': it holds 'inner', 'kernel'"),
        ({"Conv_0": {"kernel": np.ones((3, 3, 1, 8))}}, r"layer 'Conv_0': .* \(3, 3, 1, 8\)"),
        (
            {"Dense_0": {"kernel": KERNEL.astype("f2")}},
            "the kernel of layer 'Dense_0' has type flo",
        ),
        ({"Dense_0": {"kernel": KERNEL.astype(int)}}, "type int64: expected float32 or float64"),
        ({"D_0": {"kernel": KERNEL, "bias": np.ones(4, "f4")}}, r"biases have shape \(4,\); ex.*3"),
        ({"D_0": {"kernel": KERNEL, "bias": np.ones(3)}}, "its biases are float64"),
        (
            {"D_0": dense(4, 3), "D_1": dense(4, 3)},
            "layer 'D_1': it takes 4 inputs, but layer 'D_0",
        ),
        ([KERNEL], r"layer 0: expected \(w, b\) or .* got ndarray"),
        ([(KERNEL,)], r"layer 0: expected \(w, b\) or .* got tuple of 1"),
        ([()], "layer 0: .* got tuple of 0"),
        ([(np.ones(4), np.ones(4))], r"layer '0': its kernel has shape \(4,\)"),
    ],
)
def test_what_is_no_dense_network(params, message):
    with pytest.raises(ConversionError, match=message):
        from_flax(params, ["identity"])


def test_arguments_of_the_wrong_kind():
    with pytest.raises(TypeError, match="a mapping or a sequence of layers, got ndarray"):
        from_flax(KERNEL, ["identity"])
    with pytest.raises(TypeError, match="got str"):
        from_flax("params", ["identity"])
    with pytest.raises(TypeError, match="a sequence of layers has its own"):
        from_flax([(KERNEL, None)], ["identity"], order=["0"])


def test_bfloat16_is_told_to_be_cast():
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="NumPy has no bfloat16 of its own")
    with pytest.raises(ConversionError, match="type bfloat16: cast to float32 first"):
        from_flax([(KERNEL.astype(ml_dtypes.bfloat16), None)], ["identity"])


# with Flax and JAX


@pytest.mark.compiled
def test_a_linen_module():
    nn = pytest.importorskip("flax.linen", reason="Flax is what is converted")
    import jax

    class Mlp(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.gelu(nn.Dense(7)(x), approximate=False)
            x = nn.leaky_relu(nn.Dense(6, use_bias=False)(x))
            return nn.softmax(nn.Dense(3)(x))

    X = rows(9, 5, np.float32)
    params = Mlp().init(jax.random.key(0), X)
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)  # so that biases are not zero
    net = from_flax(params, ["gelu", "leaky_relu", "softmax"])
    assert_outputs(Mlp().apply(params, X), net, X)

    other = random_network(net.sizes, net.activations)
    other.b[1][...] = 0
    tree = to_flax(other)
    del tree["params"]["Dense_1"]["bias"]
    assert_outputs(Mlp().apply(tree, X), other, X)
    assert jax.tree.structure(tree) == jax.tree.structure(params)


@pytest.mark.compiled
def test_an_nnx_module():
    nnx = pytest.importorskip("flax.nnx", reason="Flax is what is converted")
    module = nnx.Sequential(
        nnx.Linear(5, 7, rngs=nnx.Rngs(0)), nnx.tanh, nnx.Linear(7, 2, rngs=nnx.Rngs(1))
    )
    net = from_flax(nnx.state(module), ["tanh", "identity"])
    assert_same_network(from_flax(nnx.to_pure_dict(nnx.state(module)), ["tanh", "identity"]), net)
    X = rows(9, 5, np.float32)
    assert_outputs(module(X), net, X)


@pytest.mark.compiled
def test_plain_jax():
    jax = pytest.importorskip("jax", reason="JAX is what is converted")
    jnp = jax.numpy
    params = [
        {"w": jnp.asarray(layer["kernel"]), "b": jnp.asarray(layer["bias"])}
        for layer in (dense(4, 6), dense(6, 1))
    ]
    X = rows(9, 4, np.float32)
    hidden = jnp.tanh(X @ params[0]["w"] + params[0]["b"])
    A = jax.nn.sigmoid(hidden @ params[1]["w"] + params[1]["b"])
    assert_outputs(A, from_flax(params, ["tanh", "sigmoid"]), X)
    half = [(jnp.ones((2, 2), jnp.bfloat16), None)]
    with pytest.raises(ConversionError, match="type bfloat16: cast to float32 first"):
        from_flax(half, ["identity"])
