"""Files: written and read again, by fastnn and by the safetensors library."""

from __future__ import annotations

import copy
import json
import math
import pickle
import subprocess
import sys
from pathlib import Path

import mutated_files
import numpy as np
import pytest
from saved_networks import assert_same, network, saved, traced

import fastnn
from fastnn import persistence
from fastnn.kernels.codes import ACTIVATIONS
from fastnn.persistence import header as header_module
from fastnn.preprocessing import Standardizer

safetensors = pytest.importorskip("safetensors", reason="files are written by safetensors")

DTYPES = [np.float32, np.float64]
LOSSES = ["binary_cross_entropy", "cross_entropy", "squared_error"]
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


# ------------------------------------------------------------------ there and back


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("sizes", [[1, 1], [1, 5], [7, 1], [3, 4, 2], [2, 3, 4, 3, 2], [2] * 13])
def test_a_network_comes_back_bit_for_bit(sizes, loss, dtype, path):
    net = network(sizes, loss, dtype, seed=5)
    before = net.parameters.tobytes()
    assert net.save(path) is None
    loaded = fastnn.load(path)
    assert_same(loaded, net)
    assert net.parameters.tobytes() == before
    assert loaded.device is None
    # All in one vector again, and the layers its views.
    loaded.W[0][...] = 1
    assert (loaded.parameters[: loaded.W[0].size] == 1).all()
    assert loaded.parameters.flags.c_contiguous and loaded.parameters.flags.writeable
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_is_kept(activation, path):
    net = fastnn.Network([2, 3, 2], [activation, activation], seed=2**200)
    net.save(path)
    assert_same(fastnn.load(path), net)


@pytest.mark.compiled
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_trained_network_answers_and_trains_on_as_before(dtype, path):
    X, y = fastnn.datasets.moons(200, seed=1)
    X = X.astype(dtype)
    net = fastnn.Network([2, 9, 1], ["tanh", "sigmoid"], dtype=dtype, seed=4)
    net.fit(X, y, epochs=5, batch_size=32, optimizer=fastnn.Adam(0.01))
    net.save(path)
    loaded = fastnn.load(path)
    assert loaded.forward(X).tobytes() == net.forward(X).tobytes()
    np.testing.assert_array_equal(loaded.predict(X), net.predict(X))
    assert loaded.predict_one(X[:, 0].copy()).tobytes() == net.predict_one(X[:, 0].copy()).tobytes()
    for each in (net, loaded):
        each.fit(X, y, epochs=3, batch_size=32, optimizer=fastnn.Adam(0.01))
    assert_same(loaded, net)


def test_any_kind_of_path_is_taken(tmp_path, monkeypatch):
    net = network()
    monkeypatch.chdir(tmp_path)
    for path in (
        "a",
        b"b",
        Path("c"),
        tmp_path / "d",
        str(tmp_path / "ü é"),
        tmp_path / ("x" * 255),
    ):
        net.save(path)
        assert_same(fastnn.load(path), net)
    for wrong in (3, None, object()):
        with pytest.raises(TypeError, match="expected str, bytes or os.PathLike object, not"):
            net.save(wrong)
        with pytest.raises(TypeError, match="expected str, bytes or os.PathLike object, not"):
            fastnn.load(wrong)
    assert len(list(tmp_path.iterdir())) == 6


def test_the_library_reads_what_we_write(path):
    from safetensors.numpy import load_file

    net = network(features=[3, 3])
    net.save(path)
    tensors = load_file(path)
    assert set(tensors) == {"W1", "b1", "W2", "b2"} | {
        f"preprocessing{i}.{name}" for i in (1, 2) for name in ("mean", "scale")
    }
    for l in (1, 2):
        for name, values in ((f"W{l}", net.W[l - 1]), (f"b{l}", net.b[l - 1])):
            assert tensors[name].shape == values.shape and tensors[name].dtype == values.dtype
            assert tensors[name].tobytes() == values.tobytes()
    for i, step in enumerate(net.preprocessing, 1):
        np.testing.assert_array_equal(tensors[f"preprocessing{i}.mean"], step.mean_)
        np.testing.assert_array_equal(tensors[f"preprocessing{i}.scale"], step.scale_)
    with safetensors.safe_open(path, "np") as file:
        metadata = file.metadata()
    assert list(metadata) == ["fastnn"]
    assert json.loads(metadata["fastnn"]) == {
        "holds": "network",
        "format": 1,
        "version": fastnn.__version__,
        "description": {
            "sizes": [3, 4, 2],
            "activations": ["relu", "softmax"],
            "loss": "cross_entropy",
            "delta": 1.0,
        },
        "dtype": "float32",
        "seed": 0,
        "preprocessing": [{"name": "Standardizer", "dtype": None}] * 2,
    }


def test_we_read_what_the_library_writes_in_any_order(path, tmp_path):
    from safetensors.numpy import load_file, save_file

    net = network(features=[3])
    header, values = mutated_files.unpack(saved(net, path))
    other = tmp_path / "other"
    save_file(load_file(path), other, header["__metadata__"])
    assert_same(fastnn.load(other), net)
    # Tensors may stand in any order, and the header have other white space.
    names = sorted(set(header) - {"__metadata__"}, reverse=True)
    moved, parts, place = {"__metadata__": header["__metadata__"]}, [], 0
    for name in names:
        begin, end = header[name]["data_offsets"]
        parts.append(values[begin:end])
        moved[name] = header[name] | {"data_offsets": [place, place + end - begin]}
        place += end - begin
    other.write_bytes(mutated_files.pack(json.dumps(moved, indent=3) + "  \n", b"".join(parts)))
    assert_same(fastnn.load(other), net)


def test_equal_networks_give_equal_files(tmp_path):
    files = {saved(network(features=[3]), tmp_path / str(i)) for i in range(10)}
    assert len(files) == 1


def test_values_of_the_other_byte_order_are_turned(path, monkeypatch):
    net = network()
    header, values = mutated_files.unpack(saved(net, path))
    path.write_bytes(
        mutated_files.pack(header, np.frombuffer(values, ">f4").astype("<f4").tobytes())
    )
    # As on a machine where little-endian is the other order.
    monkeypatch.setitem(header_module.DTYPES, "F32", np.dtype(">f4"))
    assert_same(fastnn.load(path), net)


# ------------------------------------------------------------------ named arrays


def test_arrays_of_every_type_and_shape_come_back(path):
    rng = np.random.default_rng(3)
    tensors = {}
    for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"):
        for shape in ((), (1,), (0,), (3, 0, 2), (2, 3, 4)):
            tensors[f"{kind} {shape}"] = (rng.normal(size=shape) * 50).astype("i8").astype(kind)
    for array in tensors.values():
        array.setflags(write=False)
    about = {"text": "Zürich 東京", "list": [1, -2.5, None, True, {"deep": [[]]}], "": {}}
    persistence.write(path, tensors, about)
    found, told = persistence.read(path)
    assert told == about and found.keys() == tensors.keys()
    for name, array in tensors.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes() and found[name].flags.writeable


@pytest.mark.parametrize("about", [{}, {"step": 3}])
def test_a_file_may_hold_no_arrays(about, path):
    persistence.write(path, {}, about)
    assert persistence.read(path) == ({}, about)


def test_arrays_in_any_memory_layout_are_written(path):
    base = np.arange(24.0).reshape(4, 6)
    tensors = {
        "F": np.asfortranarray(base),
        "strided": base[::2, ::-3],
        "transposed": base.T,
        "big": base.astype(">f8"),
        "list": [[1, 2], [3, 4]],
        "number": 2.5,
    }
    persistence.write(path, tensors, {})
    found, about = persistence.read(path)
    assert about == {}
    for name, values in tensors.items():
        np.testing.assert_array_equal(found[name], values)
        assert found[name].dtype.isnative and found[name].shape == np.shape(values)


@pytest.mark.parametrize(
    ("tensors", "about", "error", "message"),
    [
        ({"x": "text"}, {}, TypeError, "tensor x has type <U4; expected one of float64, float32"),
        ({"x": np.zeros(2, bool)}, {}, TypeError, "tensor x has type bool"),
        ({"x": np.zeros(2, complex)}, {}, TypeError, "tensor x has type complex128"),
        ({"x": np.array([None])}, {}, TypeError, "tensor x has type object"),
        ({"x": np.ma.zeros(2)}, {}, TypeError, "tensor x is a masked array"),
        ({"x": [[1], [1, 2]]}, {}, ValueError, "tensor x is not a rectangular array"),
        ({3: [1]}, {}, TypeError, "tensors must be named by text, got int"),
        ({"": [1]}, {}, ValueError, "'' cannot name a tensor; expected printable text"),
        ({"a\n": [1]}, {}, ValueError, r"'a\\n' cannot name a tensor"),
        ({"\ud800": [1]}, {}, ValueError, r"'\\ud800' cannot name a tensor"),
        ({"__metadata__": [1]}, {}, ValueError, "'__metadata__' cannot name a tensor"),
        ({}, [1], TypeError, "about must be a mapping, got list"),
        ({}, {"x": object()}, TypeError, "about must hold values of JSON: Object of type object"),
        ({}, {(1,): 2}, TypeError, "about must hold values of JSON: keys must be"),
        ({}, {"x": math.nan}, ValueError, "about must hold values of JSON: .*not JSON compliant"),
        ({}, {"x": -math.inf}, ValueError, "about must hold values of JSON"),
        ({}, {"x": 10**1001}, ValueError, "could not be read again: .*a number has 1002 digits"),
        ({}, {"x": "y" * 2**20}, ValueError, "could not be read again: its header, .*too large"),
    ],
    ids=[
        *("text", "booleans", "complex", "objects", "masked", "ragged", "number for a name"),
        *(
            "no name",
            "line feed",
            "half a letter",
            "metadata",
            "list",
            "object",
            "tuple for a name",
        ),
        *("NaN", "infinity", "long number", "long text"),
    ],
)
def test_what_cannot_be_written_is_refused_and_the_old_file_kept(
    tensors, about, error, message, path
):
    before = saved(network(), path)
    with pytest.raises(error, match=message):
        persistence.write(path, tensors, about)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_what_is_nested_too_deeply_is_not_written(path):
    deep = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(ValueError, match="about must hold values of JSON"):
        persistence.write(path, {}, deep)
    assert not path.exists()
    while deep:  # deleted in one go it would fill the stack
        deep = deep.pop("a")


def test_a_seed_that_could_not_be_read_is_refused(path):
    with pytest.raises(ValueError, match="could not be read again"):
        fastnn.Network([1, 1], ["identity"], seed=10**2000).save(path)


# ------------------------------------------------------------------ preprocessing


@pytest.mark.parametrize("dtypes", [[None], [np.float32], [np.float64, None, np.float32]], ids=str)
def test_what_the_inputs_went_through_comes_back(dtypes, path):
    rng = np.random.default_rng(8)
    net = network([4, 1], "squared_error")
    net.preprocessing = [
        Standardizer(dtype).fit(rng.normal(size=(4, 12)) * 10.0 ** rng.integers(-30, 30, (4, 1)))
        for dtype in dtypes
    ]
    net.save(path)
    loaded = fastnn.load(path)
    assert_same(loaded, net)
    for step, same in zip(net.preprocessing, loaded.preprocessing, strict=True):
        X = rng.normal(size=(step.mean_.shape[0], 5))
        assert step.transform(X).tobytes() == same.transform(X).tobytes()
        assert step.transform(X).dtype == same.transform(X).dtype


def test_preprocessing_is_carried_and_never_applied():
    X = np.random.default_rng(0).normal(3, 5, size=(2, 20)).astype(np.float32)
    net = fastnn.Network([2, 1], ["sigmoid"], initializer="he")
    assert net.preprocessing == ()
    A, J = net.forward(X), net.cost(X, [1] * 20)
    step = Standardizer().fit(X)
    net.preprocessing = [step]
    assert net.preprocessing == (step,) and type(net.preprocessing) is tuple
    assert net.forward(X).tobytes() == A.tobytes() and net.cost(X, [1] * 20) == J


@pytest.mark.parametrize(
    ("steps", "error", "message"),
    [
        (3, TypeError, "preprocessing must be a sequence of Standardizers, got int"),
        (Standardizer(), TypeError, "must be a sequence of Standardizers, got Standardizer"),
        (["scale"], TypeError, r"preprocessing\[0\] must be a Standardizer, got str"),
        ([Standardizer()], ValueError, r"preprocessing\[0\] has no statistics yet: call its fit"),
        ([Standardizer().fit(np.eye(2))], ValueError, r"\[0\] was fitted on 2 fe.* has 3 inputs"),
        ([type("Mine", (Standardizer,), {})()], TypeError, "must be a Standardizer, got Mine"),
    ],
)
def test_only_fitted_standardizers_are_carried(steps, error, message):
    net = network(features=[3])
    before = net.preprocessing
    with pytest.raises(error, match=message):
        net.preprocessing = steps
    assert net.preprocessing is before


def test_statistics_that_were_spoilt_are_not_written(path):
    net = network(features=[3])
    net.preprocessing[0].mean_ = np.zeros(3)
    with pytest.raises(
        ValueError, match=r"preprocessing\[0\].mean_ has type float64 and shape \(3,\)"
    ):
        net.save(path)
    net.preprocessing[0].mean_ = np.zeros((3, 1), np.float32)
    with pytest.raises(ValueError, match=r"float32 and shape \(3, 1\); expected float64, \(3, 1\)"):
        net.save(path)
    net.preprocessing[0].fit(np.eye(4))
    with pytest.raises(ValueError, match=r"mean_ .* shape \(4, 1\); expected float64, \(3, 1\)"):
        net.save(path)
    assert not path.exists()


@pytest.mark.parametrize(
    "clone", [copy.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))]
)
def test_copies_and_pickles_carry_it_too(clone, path):
    net = network(features=[3, 3])
    net.predict_one(np.zeros(3, np.float32))
    assert_same(clone(net), net)
    net.save(path)
    loaded = fastnn.load(path)
    assert_same(clone(loaded), net)


def test_pickles_from_before_there_was_preprocessing_still_load():
    net = network()
    state = net.__getstate__()
    del state["_preprocessing"]
    older = fastnn.Network.__new__(fastnn.Network)
    older.__dict__.update(state)
    assert older.preprocessing == ()
    assert_same(older, net)


# ------------------------------------------------------------------ versions


def test_what_is_left_out_takes_its_default(path):
    """So are files read that were written before a network was told by one more number."""
    network().save(path)
    arrays, about = fastnn.persistence.read(path)
    assert about["description"].pop("delta") == 1
    fastnn.persistence.write(path, arrays, about)
    assert fastnn.load(path).delta == 1


def test_delta_is_kept(path):
    fastnn.Network([3, 2], loss="huber", delta=0.25).save(path)
    assert fastnn.load(path).delta == 0.25


def test_a_network_is_also_a_file_of_arrays(path):
    """`read` gives back what the library gives back."""
    from safetensors.numpy import load_file

    net = network(features=[3])
    net.save(path)
    tensors, about = persistence.read(path)
    assert about["holds"] == "network"
    for name, values in load_file(path).items():
        assert tensors[name].tobytes() == values.tobytes()


# ------------------------------------------------------------------ nothing that is not asked for


def test_safetensors_is_imported_by_writing_alone(path):
    network().save(path)
    script = f"""
import sys
sys.modules["safetensors"] = None  # as if it were not installed
import fastnn
net = fastnn.load({str(path)!r})
assert net.sizes == (3, 4, 2)
try:
    net.save({str(path)!r})
except ImportError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout == (
        "files are written by safetensors, which is not installed:"
        ' pip install "numba-fastnn[files]"\n'
    ), done.stderr
    assert_same(fastnn.load(path), network())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", [[1000, 500, 300, 1], [500_000, 1], [1, 500_000]], ids=str)
def test_loading_takes_the_memory_of_the_file(sizes, dtype, path):
    fastnn.Network(sizes, "relu", "squared_error", dtype, initializer="zeros").save(path)
    size = path.stat().st_size
    for call in (fastnn.load, persistence.read):
        call(path)  # what is imported or compiled once is no memory of a file
        assert traced(lambda: call(path)) <= size + 100_000


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the peak of a process")
def test_the_process_grows_by_the_size_of_the_file(path):
    net = fastnn.Network([4000, 4000, 10], "relu", "squared_error", initializer="zeros")
    net.parameters[...] = 1
    net.save(path)
    script = """
import sys, fastnn
def kilobytes(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name))
fastnn.load(sys.argv[1])
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # forget the peak
before = kilobytes("VmRSS")
net = fastnn.load(sys.argv[1])
print(kilobytes("VmHWM") - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, cwd=ROOT
    )
    grown = 1024 * int(done.stdout)
    size = path.stat().st_size
    assert size > 64_000_000
    assert grown <= size + 4_000_000, done.stderr
