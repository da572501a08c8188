"""Which backend runs: the choice as a pure function, its sources, and what an import may load."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn import device as module
from fastnn.device import DeviceError, backend, choose, selected

NO_GPU = {"cuda": "no driver was found; install numba-cuda"}
ALL_NAMES = ("auto", "cpu", "cuda", "cuda:N", "numpy")


@pytest.fixture(autouse=True)
def no_variable(monkeypatch):
    """Let no FASTNN_DEVICE of the surroundings decide a test."""
    monkeypatch.delenv("FASTNN_DEVICE", raising=False)


def run(code, **environment):
    """Run Python code in a process of its own; return it, finished."""
    inherited = {k: v for k, v in os.environ.items() if k != "FASTNN_DEVICE"}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


# ------------------------------------------------------------------ the pure function


@pytest.mark.parametrize(
    ("argument", "context", "variable", "missing", "expected"),
    [
        (None, None, None, {}, "cpu"),
        (None, None, None, NO_GPU, "cpu"),
        (None, None, "", {}, "cpu"),
        ("auto", None, None, {}, "cpu"),
        (None, "auto", None, {}, "cpu"),
        (None, None, "auto", NO_GPU, "cpu"),
        ("numpy", None, None, {}, "numpy"),
        (None, "numpy", None, {}, "numpy"),
        (None, None, "numpy", {}, "numpy"),
        ("cpu", "numpy", "cuda", NO_GPU, "cpu"),
        ("numpy", "cpu", "cpu", {}, "numpy"),
        (None, "numpy", "cpu", {}, "numpy"),
        (None, "cpu", "numpy", {}, "cpu"),
        ("auto", "numpy", "numpy", {}, "cpu"),
        (None, "auto", "numpy", {}, "cpu"),
        ("cuda", None, None, {}, "cuda:0"),
        ("cuda:0", None, None, {}, "cuda:0"),
        ("cuda:1", "cpu", "numpy", {}, "cuda:1"),
        (None, "cuda:12", "numpy", {}, "cuda:12"),
        (None, None, "cuda", {}, "cuda:0"),
        # What is weaker is not even looked at.
        ("cpu", "nonsense", "nonsense", NO_GPU, "cpu"),
        (None, "cpu", "nonsense", NO_GPU, "cpu"),
    ],
)
def test_choose(argument, context, variable, missing, expected):
    before = dict(missing)
    assert choose(argument, context, variable, missing) == expected
    assert missing == before


@pytest.mark.parametrize(
    ("argument", "context", "variable", "source"),
    [
        ("cuda", None, None, "device"),
        ("cuda:3", "cpu", "cpu", "device"),
        (None, "cuda", "cpu", "use_device"),
        (None, None, "cuda", "FASTNN_DEVICE"),
        (None, None, "cuda:1", "FASTNN_DEVICE"),
    ],
)
def test_choose_never_falls_back(argument, context, variable, source):
    with pytest.raises(DeviceError) as caught:
        choose(argument, context, variable, NO_GPU)
    text = str(caught.value)
    assert text.startswith(source)
    assert repr(argument or context or variable) in text
    assert NO_GPU["cuda"] in text


@pytest.mark.parametrize(
    "name",
    ["gpu", "CPU", " cpu", "cpu ", "cuda:", "cuda:-1", "cuda:x", "cuda:1 ", "cuda1", "cpu:0"],
)
@pytest.mark.parametrize("source", ["device", "use_device", "FASTNN_DEVICE"])
def test_choose_unknown_name(name, source):
    place = ("device", "use_device", "FASTNN_DEVICE").index(source)
    asked = [None, None, None]
    asked[place] = name
    with pytest.raises(ValueError, match="unknown device") as caught:
        choose(*asked, {})
    text = str(caught.value)
    assert text.startswith(source)
    assert repr(name) in text
    for known in ALL_NAMES:
        assert known in text


@pytest.mark.parametrize("name", ["", "cuda:\u0661"])
def test_an_argument_that_is_no_name_is_unknown(name):
    with pytest.raises(ValueError, match="unknown device"):
        choose(name, None, None, {})


@pytest.mark.parametrize("wrong", [5, b"cpu", ["cpu"], 0.5, True])
def test_a_device_is_a_name(wrong):
    with pytest.raises(TypeError, match=type(wrong).__name__):
        choose(wrong, None, None, {})
    with pytest.raises(TypeError, match=type(wrong).__name__):
        F.sigmoid([0.0], device=wrong)
    with pytest.raises(TypeError, match=type(wrong).__name__), fastnn.use_device(wrong):
        pass
    with pytest.raises(TypeError, match=type(wrong).__name__):
        fastnn.Network([1, 1], ["sigmoid"], device=wrong)


# ------------------------------------------------------------------ selected, use_device


NAMES = (None, "auto", "cpu", "numpy")


@pytest.mark.parametrize("argument", NAMES)
@pytest.mark.parametrize("context", NAMES)
@pytest.mark.parametrize("variable", [*NAMES, ""])
def test_selected_is_choose(argument, context, variable, monkeypatch):
    if variable is not None:
        monkeypatch.setenv("FASTNN_DEVICE", variable)
    expected = choose(argument, context, variable, {})
    if context is None:
        assert selected(argument) == expected
        return
    with fastnn.use_device(context):
        assert selected(argument) == expected
        assert backend(argument).__name__ == f"fastnn.backends.{expected}"


def test_backends_are_picked_by_argument_context_and_variable(monkeypatch):
    calls = []
    for name in ("cpu", "numpy"):
        found = importlib.import_module(f"fastnn.backends.{name}")
        original = found.activation_forward

        def spy(*arguments, name=name, original=original):
            calls.append(name)
            original(*arguments)

        monkeypatch.setattr(found, "activation_forward", spy)
    F.sigmoid([0.0])
    F.sigmoid([0.0], device="numpy")
    with fastnn.use_device("numpy"):
        F.sigmoid([0.0])
        F.sigmoid([0.0], device="cpu")
    monkeypatch.setenv("FASTNN_DEVICE", "numpy")
    F.sigmoid([0.0])
    with fastnn.use_device("cpu"):
        F.sigmoid([0.0])
    F.sigmoid([0.0], device="auto")
    assert calls == ["cpu", "numpy", "numpy", "cpu", "numpy", "cpu", "cpu"]


def test_the_device_of_a_network_beats_context_and_variable(monkeypatch):
    calls = []
    found = importlib.import_module("fastnn.backends.numpy")
    original = found.network_forward
    monkeypatch.setattr(
        found, "network_forward", lambda *arguments: (calls.append(1), original(*arguments))
    )
    X = np.zeros((1, 2), np.float32)
    monkeypatch.setenv("FASTNN_DEVICE", "cpu")
    net = fastnn.Network([1, 1], ["sigmoid"], device="numpy")
    with fastnn.use_device("cpu"):
        net.forward(X)
    assert calls == [1]
    fastnn.Network([1, 1], ["sigmoid"]).forward(X)
    assert calls == [1]
    with fastnn.use_device("numpy"):
        fastnn.Network([1, 1], ["sigmoid"]).forward(X)
        fastnn.Network([1, 1], ["sigmoid"], device="cpu").forward(X)
    assert calls == [1, 1]


def test_use_device_nests_and_restores():
    assert selected() == "cpu"
    with fastnn.use_device("numpy") as outer:
        assert (outer, selected()) == ("numpy", "numpy")
        with fastnn.use_device("cpu") as inner:
            assert (inner, selected()) == ("cpu", "cpu")
            with fastnn.use_device("auto") as auto:
                assert (auto, selected()) == ("cpu", "cpu")
            assert selected() == "cpu"
        assert selected() == "numpy"
    assert selected() == "cpu"


def test_use_device_restores_after_an_exception():
    within = []

    def fail():
        with fastnn.use_device("numpy"):
            within.append(selected())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [*within, selected()] == ["numpy", "cpu"]
    with fastnn.use_device("numpy"):
        with pytest.raises(ValueError, match="unknown device 'gpu'"), fastnn.use_device("gpu"):
            pytest.fail("entered")
        assert selected() == "numpy"


def test_use_device_asks_for_nothing_that_is_missing(monkeypatch):
    monkeypatch.setattr(module, "missing_devices", lambda: NO_GPU)
    for name in ("cuda", "cuda:0", "cuda:7"):
        with pytest.raises(DeviceError, match="no driver was found"), fastnn.use_device(name):
            pytest.fail("entered")
        with pytest.raises(DeviceError, match="no driver was found"):
            F.sigmoid([0.0], device=name)
        with pytest.raises(DeviceError, match=r"device asks for .* no driver was found"):
            fastnn.Network([1, 1], ["sigmoid"], device=name)
    monkeypatch.setenv("FASTNN_DEVICE", "cuda")
    with pytest.raises(DeviceError, match="FASTNN_DEVICE asks for 'cuda'"):
        F.sigmoid([0.0])
    assert F.sigmoid([0.0], device="cpu") == 0.5
    with fastnn.use_device("numpy"):
        assert F.sigmoid([0.0]) == 0.5


def test_a_missing_device_leaves_parameters_alone(monkeypatch):
    monkeypatch.setattr(module, "missing_devices", lambda: NO_GPU)
    monkeypatch.setenv("FASTNN_DEVICE", "cuda")
    net = fastnn.Network([2, 3, 1], ["tanh", "sigmoid"])
    before = net.parameters.tobytes()
    with pytest.raises(DeviceError):
        net.fit(np.ones((2, 4), np.float32), [0, 1, 0, 1], epochs=1)
    assert net.parameters.tobytes() == before


def test_use_device_belongs_to_its_thread():
    seen = {}
    entered, looked = threading.Event(), threading.Event()

    def other():
        entered.wait(10)
        seen["before"] = selected()
        with fastnn.use_device("cpu"):
            seen["within"] = selected()
        seen["after"] = selected()
        looked.set()

    thread = threading.Thread(target=other)
    thread.start()
    with fastnn.use_device("numpy"):
        entered.set()
        assert looked.wait(10)
        seen["here"] = selected()
    thread.join()
    assert seen == {"before": "cpu", "within": "cpu", "after": "cpu", "here": "numpy"}


def test_use_device_belongs_to_its_task():
    async def one(name, others):
        with fastnn.use_device(name):
            await asyncio.sleep(0)
            others.append((name, selected()))
            await asyncio.sleep(0)
            return selected()

    async def both():
        seen = []
        ends = await asyncio.gather(one("numpy", seen), one("cpu", seen))
        return seen, ends

    seen, ends = asyncio.run(both())
    assert ends == ["numpy", "cpu"]
    assert all(name == found for name, found in seen)
    assert len(seen) == 2


def test_use_device_decorates():
    @fastnn.use_device("numpy")
    def compute():
        return selected()

    assert [compute(), selected(), compute()] == ["numpy", "cpu", "numpy"]


# ------------------------------------------------------------------ devices()


def test_devices():
    found = {d.name: d for d in fastnn.devices()}
    assert [d.name for d in fastnn.devices()][:2] == ["cpu", "numpy"]
    assert found["cpu"].available and found["numpy"].available
    assert any(name.startswith("cuda") for name in found)
    for d in found.values():
        assert isinstance(d.available, bool)
        assert len(d.detail) > 10
        if d.available:
            with fastnn.use_device(d.name):
                assert F.sigmoid([0.0]) == 0.5
        else:
            with pytest.raises(DeviceError) as caught, fastnn.use_device(d.name):
                pytest.fail("entered")
            assert d.detail in str(caught.value)


def test_a_missing_gpu_is_explained():
    missing = module.missing_devices()
    if "cuda" not in missing:
        pytest.skip("this machine has a GPU that fastnn can use")
    assert "cpu" not in missing and "numpy" not in missing
    assert len(missing["cuda"].split()) > 5
    assert "cpu" in missing["cuda"]  # and what to do instead


# ------------------------------------------------------------------ FASTNN_DEVICE, imports


def test_import_loads_nothing_heavy_and_starts_nothing():
    code = """
import sys, threading
import fastnn, fastnn.functional, fastnn.device
fastnn.Network([2, 3, 1], ["relu", "sigmoid"]); fastnn.Adam(); fastnn.datasets.xor()
heavy = {"numba", "llvmlite", "matplotlib", "tqdm", "pandas", "scipy", "cuda", "cupy", "torch"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}), threading.active_count())
"""
    done = run(code)
    assert (done.stdout, done.stderr) == ("[] 1\n", "")


@pytest.mark.parametrize("asked", ["numpy", "cpu"])
def test_the_variable_rules_the_process(asked):
    code = """
import sys
import fastnn, fastnn.functional as F
X, y = fastnn.datasets.xor()
net = fastnn.Network([2, 8, 1], ["tanh", "sigmoid"], seed=1)
history = net.fit(X, y, epochs=20, batch_size=2, optimizer=fastnn.Adam(0.05), validation=(X, y))
net.predict(X), net.gradient(X, y), F.softmax([[0.0], [1.0]])
F.gradient_step(net.parameters, net.parameters * 0, 0.1)
print("numba" in sys.modules, len(history.cost), history.cost[-1] < history.cost[0])
"""
    done = run(code, FASTNN_DEVICE=asked)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{asked == 'cpu'} 20 True\n"


def test_the_variable_may_ask_for_what_is_missing():
    missing = module.missing_devices()
    if "cuda" not in missing:
        pytest.skip("this machine has a GPU that fastnn can use")
    code = "import fastnn.functional as F\nF.sigmoid([0.0])"
    done = run(code, FASTNN_DEVICE="cuda")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("fastnn.device.DeviceError: FASTNN_DEVICE asks for 'cuda'")
    assert missing["cuda"] in last


@pytest.mark.parametrize("value", ["nonsense", "GPU", "cuda:x"])
def test_the_variable_may_be_nonsense(value):
    # The import succeeds: only a computation needs a device.
    code = "import fastnn.functional as F\nprint('imported')\nF.sigmoid([0.0])"
    done = run(code, FASTNN_DEVICE=value)
    assert (done.returncode, done.stdout) == (1, "imported\n")
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ValueError: FASTNN_DEVICE names the unknown device {value!r}")
    for known in ALL_NAMES:
        assert known in last


def test_an_empty_variable_is_no_variable(monkeypatch):
    monkeypatch.setenv("FASTNN_DEVICE", "")
    assert selected() == "cpu"


# ------------------------------------------------------------------ one name, every floor


def functions(found):
    """Return the public functions that a module defines itself."""
    return {
        name: f
        for name, f in vars(found).items()
        if inspect.isfunction(f) and f.__module__ == found.__name__ and not name.startswith("_")
    }


def test_backends_have_the_same_functions_and_parameters():
    cpu, reference = (
        functions(importlib.import_module(f"fastnn.backends.{name}")) for name in ("cpu", "numpy")
    )
    assert set(cpu) == set(reference)
    assert len(cpu) >= 14
    for name in cpu:
        ours = inspect.signature(cpu[name]).parameters
        theirs = dict(inspect.signature(reference[name]).parameters)
        # The reference alone can be told to compute in a narrower type.
        theirs.pop("dtype", None)
        assert list(ours) == list(theirs), name
        assert [p.default for p in ours.values()] == [p.default for p in theirs.values()], name


# Put together by the backends, from these kernels.
COMPOSED = {"linear_backward": {"input_gradient", "weight_gradient", "bias_gradient"}}


def test_every_kernel_stands_on_every_floor():
    reference = importlib.import_module("fastnn.kernels.reference")
    cpu = {}
    for name in ("activations", "linear", "losses", "optimizers", "query", "training"):
        cpu.update(vars(importlib.import_module(f"fastnn.kernels.cpu.{name}")))
    backends = functions(importlib.import_module("fastnn.backends.cpu"))
    # These make functions: of the kernel that trains, of network_forward for one example, and of
    # network_cost.
    names = (set(backends) - {"trainer", "predictor", "costs"}) | {"train"}
    kernels = (names - set(COMPOSED)).union(*COMPOSED.values())
    for name in names | kernels:
        assert callable(getattr(reference, name, None)), f"reference.{name}"
    for name in kernels:
        assert callable(cpu.get(name)), f"kernels/cpu has no {name}"
    assert set(COMPOSED) <= set(F.__all__)
    assert set(COMPOSED) <= set(functions(importlib.import_module("fastnn.backends.numpy")))
    # And each function of the public face is one of them.
    assert set(F.__all__) - {"sigmoid", "tanh", "relu", "leaky_relu", "softmax"} <= names


def test_the_reference_needs_no_compiler():
    code = "import sys, fastnn.kernels.reference\nprint('numba' in sys.modules)"
    assert run(code).stdout == "False\n"
