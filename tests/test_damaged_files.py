"""Files that are no networks of ours: cut short, foreign, hostile, of a newer fastnn."""

from __future__ import annotations

import itertools
import json
import pickle
import signal
import tracemalloc

import mutated_files
import numpy as np
import pytest
from saved_networks import network, saved, traced

import fastnn

pytest.importorskip("safetensors", reason="files are written by safetensors")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


def changed_about(*keys, value):
    """Return a change of one place in the metadata."""

    def change(file):
        about = mutated_files.about_of(mutated_files.unpack(file)[0])
        place = about
        for key in keys[:-1]:
            place = place[key]
        if value is KeyError:
            del place[keys[-1]]
        else:
            place[keys[-1]] = value
        return mutated_files.with_about(file, about)

    return change


def changed_text(old, new):
    """Return a change in the text of the metadata."""

    def change(file):
        text = json.dumps(mutated_files.about_of(mutated_files.unpack(file)[0]))
        assert old in text
        return mutated_files.with_about(file, text.replace(old, new, 1))

    return change


def changed_header(*keys, value):
    def change(file):
        header, values = mutated_files.unpack(file)
        place = header
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        return mutated_files.pack(header, values)

    return change


def changed_tensors(**changes):
    """Return a change of arrays: another one by name, or None to drop it."""

    def change(file):
        from safetensors.numpy import load, save

        tensors = load(file) | changes
        metadata = mutated_files.unpack(file)[0]["__metadata__"]
        return save({n: t for n, t in tensors.items() if t is not None}, metadata)

    return change


def pack(*told, **named):
    return lambda file: mutated_files.pack(*told, **named)


NOT_SAFETENSORS = "it is not a safetensors file"
W2 = {"dtype": "F32", "shape": [2, 4], "data_offsets": [0, 32]}
BAD_FILES = {
    # of no program, or cut
    "empty": (lambda file: b"", NOT_SAFETENSORS + ", or cut short: it has 0 bytes"),
    "seven bytes": (lambda file: file[:7], NOT_SAFETENSORS + ", or cut short: it has 7 bytes"),
    "half the header": (lambda file: file[:100], "cut short: it has 100 bytes, and its first 8"),
    "half the values": (
        lambda file: file[:-40],
        r"cut short: its tensors take 152 bytes, it holds",
    ),
    "more than values": (lambda file: file + b"1234", "holds 156 bytes of values, but .* take 152"),
    "pickle": (lambda file: pickle.dumps(network()), NOT_SAFETENSORS),
    "zip": (lambda file: b"PK\x03\x04" + bytes(100), NOT_SAFETENSORS),
    "zeros": (lambda file: bytes(100), NOT_SAFETENSORS + ": no JSON header"),
    "length 2**64 - 1": (pack("{}", length=2**64 - 1), "announce a header of 18446744073709551615"),
    "large header": (
        pack("{}" + " " * 2**20),
        "its header, with the metadata, is too large: 1048578 bytes; expected at most 1048576",
    ),
    # no JSON, or an odd one
    "not UTF-8": (pack(b'{"\xff": 1}'), ": no JSON header: 'utf-8' codec can't decode"),
    "UTF-16": (pack("{}".encode("utf-16")), "no JSON header"),
    "mark of UTF-8": (pack(b"\xef\xbb\xbf{}"), "no JSON header: "),
    "list": (pack("[]"), "its JSON header is no object"),
    "two texts": (pack("{}{}"), "no JSON header: Extra data"),
    "nested": (pack("[" * 500_000), "no JSON header: it is nested too deeply"),
    "nested objects": (pack('{"a":' * 150_000), "no JSON header: it is nested too deeply"),
    "huge number": (
        pack('{"a": ' + "9" * 1001 + "}"),
        "a number has 1001 digits; expected at most",
    ),
    "vast number": (pack('{"a": ' + "9" * 10**6 + "}"), "a number has 1000000 digits"),
    "NaN": (pack('{"a": NaN}'), "no JSON header: NaN is not a finite number"),
    "infinite": (pack('{"a": -Infinity}'), "-Infinity is not a finite number"),
    "overflow": (pack('{"a": 1e999}'), "1e999 is not a finite number"),
    "a name twice": (pack('{"a": 1, "a": 1}'), "the name 'a' stands twice"),
    "metadata twice": (pack('{"__metadata__": {}, "__metadata__": {}}'), "stands twice"),
    "a place twice": (
        pack('{"a": {"dtype": "F32", "dtype": "F64"}}'),
        "the name 'dtype' stands twice",
    ),
    # of another program
    "no metadata": (pack("{}"), "of another program: its metadata has no 'fastnn'"),
    "other metadata": (pack({"__metadata__": {"format": "pt"}}), "of another program"),
    "metadata null": (pack({"__metadata__": None}), "its metadata is no map from text to text"),
    "metadata of numbers": (pack({"__metadata__": {"fastnn": 1}}), "no map from text to text"),
    # tensors that are none
    "tensor is a list": (pack({"W1": []}), "'W1' is not told by dtype, shape and data_offsets"),
    "tensor says more": (
        changed_header("W1", "order", value="F"),
        "is not told by dtype, shape and",
    ),
    "unknown type": (
        changed_header("W1", "dtype", value="BF16"),
        "'W1' has type 'BF16'; known are",
    ),
    "type is a list": (changed_header("W1", "dtype", value=["F32"]), "'W1' has type "),
    "shape is text": (changed_header("W1", "shape", value="43"), "'W1' has shape '43'; expected"),
    "negative size": (changed_header("W1", "shape", value=[-4, -3]), r"has shape \[-4, -3\]"),
    "boolean size": (changed_header("W1", "shape", value=[12, True]), r"has shape \[12, True\]"),
    "real size": (changed_header("W1", "shape", value=[4.0, 3]), r"has shape \[4.0, 3\]"),
    "65 dimensions": (changed_header("W1", "shape", value=[12] + [1] * 64), "'W1' has shape"),
    "vast shape": (changed_header("W1", "shape", value=[2**40, 2**40]), "which is too large"),
    "vast and empty": (
        changed_header("W1", "shape", value=[0, 2**40, 2**40]),
        "which is too large",
    ),
    "large shape": (
        changed_header("W1", "shape", value=[10**9]),
        "'W1' of 4000000000 bytes is told",
    ),
    "three places": (changed_header("W1", "data_offsets", value=[0, 4, 8]), "has data_offsets"),
    "overlap": (
        changed_header("W2", "data_offsets", value=[0, 32]),
        "is told to stand from 0 to 32; expected",
    ),
    "backwards": (
        changed_header("W2", "data_offsets", value=[48, 0]),
        "is told to stand from 48 to",
    ),
    "beyond": (changed_header("W2", "data_offsets", value=[2**63, 2**63 + 32]), "is told to stand"),
    "odd name": (changed_header("W\n", value=W2), r"a tensor is called 'W\\n'; expected printable"),
    "half a letter": (changed_header("\ud800", value=W2), r"a tensor is called '\\ud800'"),
    # metadata that is no description
    "about is no JSON": (
        lambda file: mutated_files.with_about(file, "x"),
        "'fastnn' is no JSON text",
    ),
    "about is a list": (
        lambda file: mutated_files.with_about(file, "[]"),
        "is JSON, but no object",
    ),
    "about nested": (
        lambda file: mutated_files.with_about(file, "[" * 100_000),
        "'fastnn' is no JSON text: it is nested too deeply",
    ),
    "about NaN": (changed_text('"seed": 0', '"seed": NaN'), "NaN is not a finite number"),
    "about twice": (
        changed_text('"seed": 0', '"seed": 0, "seed": 0'),
        "the name 'seed' stands twice",
    ),
    "about huge": (changed_text('"seed": 0', '"seed": ' + "1" * 5000), "has 5000 digits"),
    "of something else": (
        changed_about("holds", value="cat"),
        "it holds 'cat'; expected 'network'",
    ),
    "holds nothing": (changed_about("holds", value=KeyError), "it holds None; expected 'network'"),
    "no format": (changed_about("format", value=KeyError), "its format is None"),
    "format true": (changed_about("format", value=True), "its format is True"),
    "format 0": (changed_about("format", value=0), "its format is 0; expected a number from 1"),
    "format of tomorrow": (
        changed_about("format", value=2),
        r"written in format 2, by fastnn '[\d.]+'; fastnn [\d.]+ reads up to format 1: use a newer",
    ),
    "more metadata": (changed_about("x", value=1), "the metadata have unexpected 'x'"),
    "less metadata": (changed_about("seed", value=KeyError), "the metadata lack 'seed'"),
    "version is a number": (changed_about("version", value=1), "its version is of type int"),
    "seed is true": (changed_about("seed", value=True), "its seed is of type bool; expected int"),
    "seed is real": (changed_about("seed", value=0.0), "its seed is of type float; expected int"),
    "seed is negative": (changed_about("seed", value=-1), "its seed is -1; expected at least 0"),
    "dtype": (
        changed_about("dtype", value="float16"),
        "its dtype is 'float16'; expected 'float32'",
    ),
    "no description": (changed_about("description", value=[]), "description is of type list"),
    "no sizes": (changed_about("description", "sizes", value=KeyError), "description lack 'sizes'"),
    "more": (changed_about("description", "x", value=1), "description have unexpected 'x'"),
    "much more": (
        changed_about("description", value=dict.fromkeys("abcdefgh")),
        "description lack 'activations', 'loss', 'sizes'",
    ),
    "sizes null": (changed_about("description", "sizes", value=None), "of no network"),
    "sizes text": (changed_about("description", "sizes", value="342"), "of no network: sizes must"),
    "sizes deep": (changed_about("description", "sizes", value=[[3]]), "of no network: sizes must"),
    "sizes boolean": (changed_about("description", "sizes", value=[3, True, 2]), "of no network"),
    "size 0": (
        changed_about("description", "sizes", value=[3, 0, 2]),
        r"sizes\[1\] must be at least",
    ),
    "one size": (
        changed_about("description", "sizes", value=[3]),
        "sizes must name at least n_x and",
    ),
    "unknown activation": (
        changed_about("description", "activations", 0, value="swish"),
        "of no network: unknown activation 'swish'; known are identity, sigmoid,",
    ),
    "long activation": (
        changed_about("description", "activations", 0, value="x" * 9999),
        r"\.\.\.$",
    ),
    "one activation for all": (
        changed_about("description", "activations", value="relu"),
        r"activations 'relu'; expected \['relu', 'softmax'\]",
    ),
    "activations null": (changed_about("description", "activations", value=None), "None; expected"),
    "activations object": (
        changed_about("description", "activations", value={"relu": 1}),
        "network",
    ),
    "few activations": (
        changed_about("description", "activations", value=["softmax"]),
        "names 1 lay",
    ),
    "unknown loss": (changed_about("description", "loss", value="hinge"), "unknown loss 'hinge'"),
    "loss null": (
        changed_about("description", "loss", value=None),
        "has loss None; expected 'cross",
    ),
    "loss of another": (
        changed_about("description", "loss", value="binary_cross_entropy"),
        "loss 'binary_cross_entropy' needs the output activation 'sigmoid'",
    ),
    "unknown step": (
        changed_about("preprocessing", 0, value={"name": "Whitening", "dtype": None}),
        r"preprocessing\[0\] is 'Whitening'; known is 'Standardizer'",
    ),
    "step is text": (
        changed_about("preprocessing", 0, value="x"),
        r"preprocessing\[0\] is not told",
    ),
    "step type": (
        changed_about("preprocessing", 0, "dtype", value="float16"),
        r"preprocessing\[0\].dtype is 'float16'",
    ),
    "step type list": (changed_about("preprocessing", 0, "dtype", value=[]), r"dtype is \[\]"),
    "fewer steps": (
        changed_about("preprocessing", value=[]),
        "the tensors have unexpected 'preprocessing1.mean', 'preprocessing1.scale'",
    ),
    "more steps": (
        changed_about("preprocessing", value=[{"name": "Standardizer", "dtype": None}] * 2),
        "the tensors lack 'preprocessing2.mean', 'preprocessing2.scale'",
    ),
    # tensors that are not those of the description
    "other sizes": (
        changed_about("description", "sizes", value=[3, 5, 2]),
        r"tensor W1 has shape \(4, 3\), expected \(5, 3\)",
    ),
    "vast sizes": (
        changed_about("description", "sizes", value=[10**9, 10**9, 10**9]),
        r"tensor W1 has shape \(4, 3\), expected \(1000000000, 1000000000\)",
    ),
    "a layer more": (
        changed_about(
            "description",
            value={
                "sizes": [3, 4, 2, 2],
                "activations": ["relu", "relu", "softmax"],
                "loss": "cross_entropy",
            },
        ),
        "the tensors lack 'W3', 'b3'",
    ),
    "other dtype": (
        changed_about("dtype", value="float64"),
        "tensor W1 has type float32, expected float64",
    ),
    "W2 missing": (changed_tensors(W2=None), "the tensors lack 'W2'"),
    "all missing": (pack({"__metadata__": {"fastnn": "{}"}}), "it holds None"),
    "more tensors": (
        changed_tensors(**{f"x{i}": np.zeros(1) for i in range(8)}),
        "the tensors have unexpected 'x0', 'x1', 'x2', 'x3', 'x4' and 3 more",
    ),
    "W2 turned": (
        changed_tensors(W2=np.zeros((4, 2), np.float32)),
        r"tensor W2 has shape \(4, 2\), expected \(2, 4\)",
    ),
    "b flat": (
        changed_tensors(b1=np.zeros(4, np.float32)),
        r"b1 has shape \(4,\), expected \(4, 1\)",
    ),
    "W2 wide": (changed_tensors(W2=np.zeros((2, 4))), "W2 has type float64, expected float32"),
    "W2 integers": (changed_tensors(W2=np.zeros((2, 4), np.int32)), "W2 has type int32, expected"),
    "mean of nothing": (
        changed_tensors(**{"preprocessing1.mean": np.zeros((0, 1))}),
        r"preprocessing1.mean has shape \(0, 1\), expected \(3, 1\)",
    ),
    "mean is a number": (
        changed_tensors(**{"preprocessing1.mean": np.array(3.0)}),
        r"preprocessing1.mean has shape \(\), expected \(3, 1\)",
    ),
    "scale of others": (
        changed_tensors(**{"preprocessing1.scale": np.zeros((4, 1))}),
        r"preprocessing1.scale has shape \(4, 1\), expected \(3, 1\)",
    ),
    "features of another network": (
        changed_tensors(
            **dict.fromkeys(("preprocessing1.mean", "preprocessing1.scale"), np.ones((4, 1)))
        ),
        r"preprocessing1.mean has shape \(4, 1\), expected \(3, 1\)",
    ),
    "mean in float32": (
        changed_tensors(**{"preprocessing1.mean": np.zeros((3, 1), np.float32)}),
        "preprocessing1.mean has type float32, expected float64",
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_what_is_no_network_of_ours_is_refused(name, path):
    change, message = BAD_FILES[name]
    path.write_bytes(change(saved(network(features=[3]), path)))
    with pytest.raises(fastnn.FileFormatError, match=message) as caught:
        fastnn.load(path)
    assert isinstance(caught.value, ValueError)
    text = str(caught.value)
    assert text.startswith(f"cannot read {str(path)!r}: ") and len(text) < 400 + len(str(path))
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


def test_a_size_is_not_believed_before_memory_is_asked_for(path):
    file = saved(network(features=[3]), path)
    for name in ("vast sizes", "vast shape", "large shape", "vast and empty", "nested"):
        path.write_bytes(BAD_FILES[name][0](file))

        def refused():
            with pytest.raises(fastnn.FileFormatError):
                fastnn.load(path)

        assert traced(refused) <= 1_000_000 + 10 * path.stat().st_size, name


# ------------------------------------------------------------------ anything at all


@pytest.fixture
def limited():
    """End a test that hangs, where signals can."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def too_long(number, frame):
        raise AssertionError("a file keeps its reader busy")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(300)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_ten_thousand_damaged_files(path, limited):
    """Each is a network of the right size, which the library reads alike, or a FileFormatError."""
    from safetensors.numpy import load

    nets = [
        network([1, 1], "squared_error"),
        network([3, 4, 2], features=[3]),
        network([3, 4, 2], "binary_cross_entropy", np.float64, 2**70, features=[3, 3]),
        network([2, 5, 5, 3], "cross_entropy", np.float64),
        network([8, 16, 1], "squared_error", features=[8]),
    ]
    files = [saved(net, path) for net in nets]
    kinds = {mutation.__name__: [0, 0] for mutation in mutated_files.MUTATIONS}
    longest = 0
    tracemalloc.start()
    try:
        for name, file in mutated_files.mutated(files, 10_000, seed=1):
            path.write_bytes(file)
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            try:
                net = fastnn.load(path)
            except fastnn.FileFormatError as error:
                longest = max(longest, len(str(error)))
                kinds[name][0] += 1
            else:
                kinds[name][1] += 1
                layers = list(itertools.pairwise(net.sizes))
                assert net.parameters.shape == (sum((n + 1) * m for n, m in layers),)
                tensors = load(file)
                for l, (W, b) in enumerate(zip(net.W, net.b, strict=True), 1):
                    assert W.tobytes() == tensors.pop(f"W{l}").tobytes()
                    assert b.tobytes() == tensors.pop(f"b{l}").tobytes()
                assert len(tensors) == 2 * len(net.preprocessing)
            peak = tracemalloc.get_traced_memory()[1] - before
            assert peak <= 1_000_000 + 20 * len(file), name
    finally:
        tracemalloc.stop()
    assert longest < 400 + len(str(path))
    refused, loaded = map(sum, zip(*kinds.values(), strict=True))
    assert refused + loaded == 10_000 and refused > 5000 and loaded > 500, kinds
    assert all(each[0] for each in kinds.values()), kinds
