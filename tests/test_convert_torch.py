"""fastnn.convert and PyTorch; dictionaries of arrays are read without it."""

from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict

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
from fastnn.convert import ConversionError, from_torch, to_state_dict, to_torch
from fastnn.kernels.codes import ACTIVATIONS

# Activations that PyTorch has a module for.
MODULES = tuple(name for name in ACTIVATIONS if name != "exp")


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="PyTorch is what is converted")


def arrays(dtype=np.float32):
    """Return the parameters of 4-3-2 as PyTorch's state_dict() names them."""
    random = np.random.default_rng(3)
    shapes = {"0.weight": (3, 4), "0.bias": (3,), "2.weight": (2, 3), "2.bias": (2,)}
    return {name: random.normal(size=shape).astype(dtype) for name, shape in shapes.items()}


# dictionaries of arrays


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_dictionary_of_arrays(dtype):
    state = arrays(dtype)
    net = from_torch(state, activations=["tanh", "softmax"])
    assert (net.sizes, net.activations) == ((4, 3, 2), ("tanh", "softmax"))
    assert (net.loss, net.dtype) == ("cross_entropy", dtype)
    for l in (0, 1):
        assert_same_bits(net.W[l], state[f"{2 * l}.weight"])
        assert_same_bits(net.b[l][:, 0], state[f"{2 * l}.bias"])
    again = to_state_dict(net)
    assert list(again) == list(state)
    for name, array in state.items():
        assert_same_bits(again[name], array)
        assert not np.shares_memory(again[name], net.parameters)
    state["0.weight"][...] = 0
    assert net.W[0].any()


def weights(*shapes, bias=()):
    """Return ``name.weight``, of random values, for each pair of a name and a shape."""
    random = np.random.default_rng(1)
    state = {f"{name}.weight": random.normal(size=shape).astype("f4") for name, shape in shapes}
    return state | {f"{name}.bias": np.ones(len(state[f"{name}.weight"]), "f4") for name in bias}


def square(*names, n=4):
    return weights(*((name, (n, n)) for name in names))


def assert_order(state, names, **options):
    """Check in which order the layers of the dictionary became those of the network."""
    net = from_torch(state, "relu", loss="squared_error", **options)
    assert len(net.W) == len(names)
    for W, name in zip(net.W, names, strict=True):
        assert_same_bits(W, state[f"{name}.weight"])


@pytest.mark.parametrize("template", ["{}", "fc{}", "body.{}.linear", "{}.layer.{}"])
def test_names_that_differ_in_their_numbers_come_by_number(template):
    names = [template.format(i, 7) for i in (0, 1, 2, 9, 10, 11, 100)]
    for shuffled in (names, names[::-1], sorted(names)):
        assert_order(square(*shuffled), names)


def test_numbers_of_any_length():
    names = ["7", "1" + 4999 * "0", "2" + 4999 * "0"]
    assert_order(square(*reversed(names)), names)


def test_a_file_sorts_its_layers(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy", reason="it sorts what it writes")
    net = random_network([5] * 13, ["tanh"] * 11 + ["identity"])
    numpy.save_file(to_state_dict(net), tmp_path / "state")
    state = numpy.load_file(tmp_path / "state")
    assert list(state)[:4] == ["0.bias", "0.weight", "10.bias", "10.weight"]
    assert_same_network(from_torch(state, net.activations), net)


def test_other_names_come_in_the_order_of_the_dictionary():
    state = {"zebra.fc.bias": np.ones(3, "f4"), "zebra.fc.weight": np.ones((3, 4), "f4")}
    state |= {"ape.weight": np.ones((2, 3), "f4")}
    net = from_torch(state, "relu", loss="cross_entropy")
    assert (net.sizes, net.activations) == ((4, 3, 2), ("relu", "softmax"))
    assert net.b[0].all() and not net.b[1].any()
    with pytest.raises(ConversionError, match="layer 'zebra.fc': it takes 4 inputs, but layer"):
        from_torch(dict(reversed(state.items())), "relu", loss="cross_entropy")
    # As Linear has them, each bias after its weight.
    state = {}
    for name in ("fc1", "fc2", "out"):
        state |= square(name) | {f"{name}.bias": np.ones(4, "f4")}
    assert_order(state, ["fc1", "fc2", "out"])
    assert_order(square("in", "body.2", "body.10", "head"), ["in", "body.2", "body.10", "head"])


@pytest.mark.parametrize(
    "state",
    [
        square("fc1", "fc2", "out"),
        square("decoder", "encoder"),
        square("body.0", "body.10", "body.2", "head"),
        square("in", "body.10", "body.2", "head"),
        square("1", "01"),
        weights(("decoder", (8, 3)), ("encoder", (3, 8))),  # a ring: it may begin anywhere
        weights(("a", (3, 4)), ("b", (4, 3)), ("c", (2, 4))),  # 4 inputs twice
        weights(("a", (3, 4)), ("b", (2, 5))),
        weights(("a", (3, 4)), ("b", (5, 6)), ("c", (6, 5))),
        weights(("a", (3, 4)), ("b", (3,))),
    ],
    ids=lambda state: " ".join(name.removesuffix(".weight") for name in state),
)
def test_an_order_that_nothing_tells_is_asked_for(state):
    names = [name.removesuffix(".weight") for name in state]
    with pytest.raises(ConversionError, match="differ in more than their numbers: say which"):
        from_torch(state, "relu", loss="squared_error")
    if len({W.shape for W in state.values()}) == 1:
        assert_order(state, names[::-1], order=names[::-1])


@pytest.mark.parametrize(
    "sizes", [(4, 3, 2), (4, 4, 3), (2, 3, 2), (4, 3, 5, 3), (64, 32, 16, 8, 10)]
)
def test_shapes_that_fit_in_one_order_alone_tell_it(sizes):
    shapes = zip("wzvxy"[: len(sizes) - 1], zip(sizes[1:], sizes, strict=False), strict=False)
    state = weights(*shapes)
    names = [name.removesuffix(".weight") for name in state]
    in_files = dict(sorted(state.items()))
    if sizes in ((4, 4, 3), (2, 3, 2)):
        with pytest.raises(ConversionError, match="say which comes first by order="):
            from_torch(in_files, "relu", loss="squared_error")
    else:
        assert_order(in_files, names)
    assert_order(in_files, names, order=names)


def test_an_order_that_is_given():
    state = square("0", "2", "4")
    assert_order(state, ["4", "0", "2"], order=["4", "0", "2"])
    assert_order(state, ["4", "0", "2"], order=[4, 0, 2])
    for order in (["0", "2"], ["0", "2", "5"], ["0", "0", "2"], [0, "a", None]):
        with pytest.raises(ConversionError, match="order names '0', .* layers are '0', '2', '4'"):
            from_torch(state, "relu", loss="squared_error", order=order)
    for order in ("024", 3):
        with pytest.raises(TypeError, match="order must be a sequence of the names of the layers"):
            from_torch(state, "relu", loss="squared_error", order=order)


def test_none_is_no_bias():
    W = np.ones((2, 3), np.float32)
    assert not from_torch({"weight": W, "bias": None}, ["identity"]).b[0].any()
    with pytest.raises(ConversionError, match="'weight' has type object"):
        from_torch({"weight": None}, ["identity"])
    with pytest.raises(ConversionError, match="has a bias but no weight"):
        from_torch({"bias": None}, ["identity"])


def test_a_single_layer_needs_no_prefix():
    net = from_torch({"weight": np.ones((1, 2))}, ["sigmoid"])
    assert net.sizes == (2, 1) and net.dtype == np.float64


def test_other_byte_orders_become_this_machines():
    state = {"weight": np.arange(6.0, dtype=">f4").reshape(2, 3)}
    net = from_torch(state, ["identity"])
    assert_same_bits(net.W[0], np.arange(6, dtype=np.float32).reshape(2, 3))


def test_nan_and_signs_of_zero_are_kept():
    W = np.array([[np.nan, -0.0, np.inf]], np.float32)
    W.view(np.uint32)[0, 0] |= 0xABC  # a NaN with a payload
    assert_same_bits(from_torch({"weight": W}, ["identity"]).W[0], W)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_names_are_places_in_the_sequential(activation):
    net = random_network([4, 3, 3, 2], [activation, "identity", "tanh"])
    state = to_state_dict(net)
    places = [0, 1, 2] if activation == "identity" else [0, 2, 3]
    assert [name for name in state if "weight" in name] == [f"{i}.weight" for i in places]
    assert_same_network(from_torch(state, net.activations, net.loss), net)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"1.running_mean": np.ones(3, "f4")}, "'1.running_mean' is no parameter of a dense layer"),
        ({"1.weight": np.ones(3, "f4")}, r"layer '1': its weights have shape \(3,\); expected a m"),
        ({"1.weight": np.ones((3, 1, 2, 2), "f4")}, r"layer '1': .* shape \(3, 1, 2, 2\)"),
        ({"1.bias": np.ones(3, "f4")}, "layer '1': it has a bias but no weight"),
        ({"2.bias": np.ones(3, "f4")}, r"layer '2': its biases have shape \(3,\); expected \(2,\)"),
        ({"2.bias": np.ones((2, 1), "f4")}, r"its biases have shape \(2, 1\)"),
        ({"2.weight": np.ones((2, 5), "f4")}, "it takes 5 inputs, but layer '0' before it has 3"),
        ({"2.weight": np.ones((0, 3), "f4")}, r"layer '2': its weights, \(0, 3\), hold no value"),
        (
            {"2.bias": np.ones(2)},
            "its biases are float64, but the weights of layer '0' are float32",
        ),
        ({"2.weight": np.ones((2, 3), "f2")}, "'2.weight' has type float16: cast to float32 first"),
        ({"2.weight": np.ones((2, 3), int)}, "type int64: expected float32 or float64"),
        ({"2.weight": "words"}, "'2.weight' has type str.*: expected float32"),
    ],
)
def test_dictionaries_that_are_no_dense_network(change, message):
    with pytest.raises(ConversionError, match=message):
        from_torch(arrays() | change, ["relu", "softmax"])


def test_bfloat16_is_told_to_be_cast():
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="NumPy has no bfloat16 of its own")
    state = arrays() | {"2.bias": np.ones(2, ml_dtypes.bfloat16)}
    with pytest.raises(ConversionError, match="'2.bias' has type bfloat16: cast to float32 first"):
        from_torch(state, ["relu", "softmax"])


@pytest.mark.parametrize(
    ("activations", "loss", "message"),
    [
        (["relu"], None, r"activations names 1 layers but sizes \[4, 3, 2\] make 2"),
        (["relu", "swish"], None, "unknown activation 'swish'; known are identity"),
        (["relu", "relu"], "cross_entropy", "loss 'cross_entropy' needs the output activation"),
        (["relu", "relu"], "hinge", "unknown loss 'hinge'"),
    ],
)
def test_activations_and_losses_that_do_not_fit(activations, loss, message):
    with pytest.raises(ValueError, match=message):
        from_torch(arrays(), activations, loss)


def test_a_dictionary_does_not_know_its_activations():
    with pytest.raises(TypeError, match="does not know its activations: give activations="):
        from_torch(arrays())
    with pytest.raises(ConversionError, match="the model has no dense layer"):
        from_torch({}, ["relu"])


NOTHING_IMPORTED = """
import sys
import numpy as np
import fastnn

state = {"weight": np.ones((2, 3), np.float32)}
net = fastnn.convert.from_torch(state, activations=["softmax"])
fastnn.convert.to_state_dict(net)
fastnn.convert.from_flax(fastnn.convert.to_flax(net), ["softmax"])
print([name for name in ("torch", "jax", "flax", "sklearn", "onnx") if name in sys.modules])
"""


def test_arrays_are_converted_without_any_of_the_libraries():
    told = [sys.executable, "-c", NOTHING_IMPORTED]
    assert subprocess.run(told, capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("module", "extra", "call"),
    [
        ("torch", "torch", lambda net: to_torch(net)),
        ("torch", "torch", lambda net: from_torch(object())),
        ("onnx", "onnx", lambda net: fastnn.convert.to_onnx(net)),
        ("onnx", "onnx", lambda net: fastnn.convert.from_onnx("model.onnx")),
        ("sklearn.neural_network", "sklearn", lambda net: fastnn.convert.to_sklearn(net)),
        ("sklearn.neural_network", "sklearn", lambda net: fastnn.convert.from_sklearn(None)),
    ],
)
def test_a_library_that_is_missing(module, extra, call, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    library = module.partition(".")[0]
    expected = rf'needs {library}: pip install "numba-fastnn\[{extra}\]"'
    with pytest.raises(ImportError, match=expected):
        call(fastnn.Network([2, 1], ["sigmoid"]))


# modules


@pytest.mark.compiled
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("output", ["identity", "sigmoid", "softmax"])
@pytest.mark.parametrize("activation", MODULES)
def test_networks_there_and_back(torch, activation, output, dtype):
    net = random_network([5, 7, 3, 4], [activation, activation, output], dtype)
    module = to_torch(net)
    X = rows(9, 5, dtype)
    with torch.no_grad():
        assert_outputs(module(torch.from_numpy(X)).numpy(), net, X)
    assert_same_network(from_torch(module), net)
    assert list(module.state_dict()) == list(to_state_dict(net))
    assert_same_network(from_torch(module.state_dict(), net.activations, net.loss), net)


def layer(torch, n_in, n_out, bias=True):
    return torch.nn.Linear(n_in, n_out, bias=bias)


@pytest.mark.compiled
def test_nested_modules_and_modules_that_do_nothing(torch):
    nn = torch.nn
    relu = nn.ReLU(inplace=True)
    module = nn.Sequential(
        OrderedDict(
            [
                ("flat", nn.Flatten()),
                ("drop", nn.Dropout(0.3)),
                ("body", nn.Sequential(layer(torch, 6, 5), relu, nn.Dropout(), nn.Identity())),
                ("more", nn.Sequential(nn.Sequential(layer(torch, 5, 5, bias=False), relu))),
                ("none", nn.Sequential()),
                ("head", layer(torch, 5, 3)),
                ("out", nn.Softmax(dim=-1)),
            ]
        )
    ).eval()
    net = from_torch(module)
    assert (net.sizes, net.activations) == ((6, 5, 5, 3), ("relu", "relu", "softmax"))
    assert not net.b[1].any()
    X = rows(8, 6, np.float32)
    images = torch.from_numpy(X).reshape(8, 1, 2, 3)
    assert_outputs(module(images).detach().numpy(), net, X)


@pytest.mark.compiled
@pytest.mark.parametrize(
    ("loss", "n_y", "output"),
    [
        ("cross_entropy", 3, "softmax"),
        ("binary_cross_entropy", 1, "sigmoid"),
        ("poisson", 1, "exp"),
        ("squared_error", 2, "identity"),
        (None, 2, "identity"),
    ],
)
def test_a_last_linear_gives_logits_if_the_loss_takes_them(torch, loss, n_y, output):
    module = torch.nn.Sequential(layer(torch, 4, 3), torch.nn.Tanh(), layer(torch, 3, n_y))
    net = from_torch(module, loss=loss)
    assert net.activations == ("tanh", output)
    if output == "identity":
        assert_same_network(from_torch(to_torch(net)), net)
        return
    # The loss of PyTorch's on the module's logits is the network's cost of the same examples.
    X, random = rows(20, 4, np.float32), np.random.default_rng(4)
    y = random.integers(0, max(n_y, 2), 20)
    logits = module(torch.from_numpy(X))
    column = torch.from_numpy(y[:, np.newaxis].astype(np.float32))
    J = {
        "cross_entropy": lambda: torch.nn.CrossEntropyLoss()(logits, torch.from_numpy(y)),
        "binary_cross_entropy": lambda: torch.nn.BCEWithLogitsLoss()(logits, column),
        # Ours is zero where every prediction is right: y log y - y more, here -1 for each 1.
        "poisson": lambda: torch.nn.PoissonNLLLoss()(logits, column) - column.mean(),
    }[loss]()
    assert net.cost(X.T, y) == pytest.approx(J.item(), rel=1e-5)
    bare = to_torch(net, logits=True)
    assert_same_bits(bare(torch.from_numpy(X)).detach().numpy(), logits.detach().numpy())
    assert_same_network(from_torch(bare, loss=loss), net)


def test_an_output_of_its_own_is_kept(torch):
    module = torch.nn.Sequential(layer(torch, 4, 1), torch.nn.Sigmoid())
    assert from_torch(module, loss="squared_error").loss == "squared_error"
    assert from_torch(module, loss="binary_cross_entropy").activations == ("sigmoid",)
    net = from_torch(module, loss="huber", delta=2.0)
    assert (net.loss, net.delta) == ("huber", 2.0)
    with pytest.raises(ConversionError, match="'cross_entropy' needs the output activation"):
        from_torch(module, loss="cross_entropy")


def test_a_linear_alone(torch):
    linear = layer(torch, 4, 2)
    net = from_torch(linear)
    assert_same_bits(net.W[0], linear.weight.detach().numpy())
    assert net.activations == ("identity",)
    assert_same_network(from_torch(linear.state_dict(), ["identity"]), net)


def test_logits_of_an_output_without(torch):
    with pytest.raises(ConversionError, match=r"the last layer \(relu\) has no logits"):
        to_torch(fastnn.Network([2, 1], ["relu"]), logits=True)


def test_an_activation_without_a_module(torch):
    with pytest.raises(ConversionError, match="layer 0: PyTorch has no module for .*'exp'"):
        to_torch(fastnn.Network([2, 3, 1], ["exp", "identity"]))
    with pytest.raises(ConversionError, match="layer 0: .*as output those that logits=True leaves"):
        to_torch(fastnn.Network([2, 1], ["exp"]))


def test_the_module_is_a_copy_that_trains_and_leaves_the_random_state(torch):
    net = random_network([4, 3, 2], ["relu", "identity"])
    before = torch.get_rng_state()
    module = to_torch(net)
    assert torch.equal(torch.get_rng_state(), before)
    assert module.training and all(each.requires_grad for each in module.parameters())
    expected = net.parameters.copy()
    with torch.no_grad():
        for each in module.parameters():
            each.zero_()
    assert_same_bits(net.parameters, expected)


def test_softplus_is_right_beyond_pytorchs_own_threshold(torch):
    net = fastnn.Network([1, 1], ["softplus"], dtype=np.float64)
    net.W[0][...] = 1
    z = torch.tensor([[25.0]], dtype=torch.float64)
    assert to_torch(net)(z).item() == np.logaddexp(0, 25.0) > 25
    module = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Softplus())
    assert from_torch(module).activations == ("softplus",)
    gap = np.logaddexp(0, np.nextafter(20.0, 21.0)) - 20.0
    assert 2.0e-9 < gap < 2.1e-9  # what the documentation states


def refused(torch):
    """Yield modules that have no counterpart, and what the error says."""
    nn = torch.nn
    first = layer(torch, 4, 4)

    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    class Own(nn.Module):
        def forward(self, x):
            return x

    hooked = layer(torch, 4, 4)
    hooked.register_forward_hook(lambda module, inputs, output: output * 2)
    normed = nn.utils.parametrizations.weight_norm(layer(torch, 4, 4))
    after = "module '1' "
    yield nn.Sequential(first, nn.LogSoftmax(1)), after + r"\(LogSoftmax\): .*not its logarithm"
    yield nn.Sequential(first, nn.LeakyReLU(0.2)), r"negative_slope is 0.2; .*leaky_relu needs 0.01"
    yield nn.Sequential(first, nn.ELU(0.5)), after + r"\(ELU\): alpha is 0.5"
    yield nn.Sequential(first, nn.GELU("tanh")), "approximate is 'tanh'; .*gelu needs 'none'"
    yield nn.Sequential(first, nn.Softplus(2)), "beta is 2"
    yield nn.Sequential(first, nn.Softplus(1, 5)), "threshold is 5; .* needs 40.0 or 20.0"
    yield nn.Sequential(first, nn.Softmax(0)), r"module '1' \(Softmax\): dim is 0; .* 1 or -1"
    yield nn.Sequential(first, nn.Softmax()), "dim is None"
    yield nn.Sequential(first, nn.BatchNorm1d(4)), after + r"\(BatchNorm1d\): what it computes"
    yield nn.Sequential(nn.Conv2d(1, 1, 3)), r"module '0' \(Conv2d\)"
    yield nn.Sequential(first, nn.Hardtanh()), r"\(Hardtanh\).*Convertible are Sequential of Linear"
    yield nn.Sequential(first, nn.ReLU(), nn.Tanh()), r"module '2' \(Tanh\): there is relu before"
    yield nn.Sequential(nn.ReLU(), first), r"module '0' \(ReLU\): there is no Linear before it"
    yield nn.Sequential(first, nn.Flatten()), r"Flatten\(1, -1\) before .* after 1 Linear"
    yield nn.Sequential(nn.Flatten(2), first), r"got Flatten\(2, -1\) after 0 Linear"
    yield nn.Sequential(nn.Sequential(first), Doubled(4, 4)), r"module '1' \(Doubled\)"
    yield nn.Sequential(nn.Sequential(Own())), r"module '0.0' \(Own\): .*pass its state_dict\(\)"
    yield Own(), r"the module \(Own\): what it computes cannot be read"
    yield nn.Sequential(hooked), r"module '0' \(Linear\): it has hooks"
    yield nn.Sequential(normed), r"module '0' \(ParametrizedLinear\)"
    yield nn.Sequential(nn.Linear(4, 3), nn.Linear(2, 1)), "module '1'.* 2 inputs, but module '0'"
    for place in ("0", "1", "2"):
        replaced = nn.Sequential(layer(torch, 4, 4), nn.ReLU(), nn.Sequential(layer(torch, 4, 4)))
        replaced.get_submodule(place).forward = torch.tanh
        yield replaced, rf"module '{place}' \(\w+\): its forward was replaced"
    replaced = nn.Sequential(layer(torch, 4, 4))
    replaced.forward = torch.tanh
    yield replaced, r"the module \(Sequential\): its forward was replaced"
    deep = nn.Sequential(first)
    for _ in range(3000):
        deep = nn.Sequential(deep)
    yield deep, "nested too deeply"
    yield nn.Sequential(), "the model has no dense layer"
    yield nn.Sequential(first.half()), "module '0'.weight has type float16: cast to float32"
    yield nn.Sequential(nn.Linear(2, 2).bfloat16()), "type bfloat16: cast to float32 first"
    yield nn.Sequential(nn.Linear(2, 2, dtype=torch.complex64)), "type complex64: expected float32"
    yield nn.Sequential(nn.Linear(2, 2, device="meta")), "on the device 'meta' and has no values"
    yield nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).double()), "are float64, but the weights"


def test_modules_that_have_no_counterpart(torch):
    for module, message in refused(torch):
        with pytest.raises(ConversionError, match=message):
            from_torch(module)


@pytest.mark.parametrize("kind", ["forward", "forward_pre"])
def test_hooks_of_all_modules(kind, torch):
    linear = layer(torch, 2, 2)
    register = getattr(torch.nn.modules.module, f"register_module_{kind}_hook")
    hook = register(lambda *told: None)
    try:
        with pytest.raises(ConversionError, match="there are hooks of all modules"):
            from_torch(linear)
    finally:
        hook.remove()
    assert from_torch(linear).sizes == (2, 2)


def test_the_dictionary_of_a_module_without_biases(torch):
    """Its names are sorted, but it says by itself that it is a module's."""

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.fc2, self.out = (layer(torch, 4, 4, bias=False) for _ in range(3))

    state = Net().state_dict()
    net = from_torch(state, "relu", loss="squared_error")
    for W, tensor in zip(net.W, state.values(), strict=True):
        assert_same_bits(W, tensor.numpy())
    with pytest.raises(ConversionError, match="say which comes first by order="):
        from_torch(dict(state), "relu", loss="squared_error")


def test_tensors_in_a_dictionary(torch):
    state = {"weight": torch.ones(2, 3, requires_grad=True), "bias": np.ones(2, np.float32)}
    assert from_torch(state, ["identity"]).parameters.all()
    state["bias"] = torch.ones(2).to_sparse()
    with pytest.raises(ConversionError, match="'bias' is sparse or quantized"):
        from_torch(state, ["identity"])


def test_arguments_of_the_wrong_kind(torch):
    with pytest.raises(TypeError, match="read from the module: leave activations= out"):
        from_torch(layer(torch, 2, 2), activations=["relu"])
    with pytest.raises(TypeError, match="read from the module: leave order= out"):
        from_torch(layer(torch, 2, 2), order=["0"])
    with pytest.raises(TypeError, match=r"expected a torch.nn.Module or a dictionary .* got list"):
        from_torch([np.ones((2, 2))])
