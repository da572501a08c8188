"""What is missing for a GPU, and what is said of it: a pure function, and a made-up driver."""

from __future__ import annotations

import ctypes
import importlib

import pytest

import fastnn
from fastnn import cuda_driver as module
from fastnn import device
from fastnn.cuda_driver import Found, explain

HERE = Found(True, 13, True, 13000, 0, 2)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Found(False, None, False, None, None, None), ["numba-cuda", "[cuda13]", "[cuda12]"]),
        (Found(False, 13, True, None, None, None), ["numba-cuda", "not installed"]),
        (Found(True, 13, False, None, None, None), ["no NVIDIA driver"]),
        (HERE._replace(version=12040), ["too old", "12.4", "CUDA 13", "[cuda12]", "Update"]),
        (HERE._replace(version=11080, toolkit=12), ["too old", "11.8", "CUDA 12"]),
        (HERE._replace(error=100, gpus=0), ["no GPU", "CUDA_VISIBLE_DEVICES"]),
        (HERE._replace(gpus=0), ["no GPU"]),
        (HERE._replace(error=999, gpus=None), ["does not start", "999", "nvidia-smi"]),
        (HERE._replace(error=None, gpus=None, forked=True), ["forked", "spawn", "forkserver"]),
    ],
)
def test_what_is_missing_is_said_with_what_to_do(found, words):
    text = explain(found)
    assert text is not None
    for word in words:
        assert word in text


@pytest.mark.parametrize(
    "found",
    [HERE, HERE._replace(toolkit=12), HERE._replace(toolkit=None), HERE._replace(version=13010)],
)
def test_nothing_is_missing(found):
    assert explain(found) is None


class Driver:
    """A driver's library with two GPUs."""

    def __init__(self, version=13000, error=0, count=2):
        self.version, self.error, self.count = version, error, count
        self.called = []

    def __getattr__(self, name):
        def call(*arguments):
            self.called.append(name)
            return self.answer(name, *arguments)

        return call

    def answer(self, name, *arguments):
        if name == "cuInit":
            return self.error
        if name in ("cuDriverGetVersion", "cuDeviceGetCount", "cuDeviceGet"):
            value = {
                "cuDriverGetVersion": self.version,
                "cuDeviceGetCount": self.count,
                "cuDeviceGet": arguments[-1],
            }[name]
            arguments[0]._obj.value = value
        elif name == "cuDeviceGetName":
            arguments[0].value = b"Make-believe 9000"
        elif name == "cuDeviceTotalMem_v2":
            arguments[0]._obj.value = 80 * 2**30
        elif name == "cuDeviceGetAttribute":
            arguments[0]._obj.value = {75: 9, 76: 0}[arguments[1]]
        else:
            raise AssertionError(f"{name} is not to be called: it may create a context")
        return 0


@pytest.fixture
def driver(monkeypatch):
    """Let a made-up driver be found."""
    made = Driver()
    monkeypatch.setattr(module, "simulated", lambda: False)
    monkeypatch.setattr(module, "_package", lambda: True)
    monkeypatch.setattr(module, "_toolkit", lambda: 13)
    monkeypatch.setattr(module, "_library", lambda: made)
    module.missing.cache_clear()
    module.gpus.cache_clear()
    yield made
    module.missing.cache_clear()
    module.gpus.cache_clear()


def test_gpus_are_listed_without_a_context(driver):
    assert device.missing_devices() == {}
    found = [d for d in fastnn.devices() if d.name.startswith("cuda")]
    assert [d.name for d in found] == ["cuda:0", "cuda:1"]
    assert all(d.available for d in found)
    assert found[0].detail == "Make-believe 9000, compute capability 9.0, 80.0 GiB"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"version": 12080}, "too old"),
        ({"error": 100}, "no GPU"),
        ({"count": 0}, "no GPU"),
        ({"error": 3}, "does not start"),
    ],
)
def test_the_driver_is_asked(driver, change, word):
    for name, value in change.items():
        setattr(driver, name, value)
    reason = device.missing_devices()["cuda"]
    assert word in reason
    assert "'cpu'" in reason
    assert [d.available for d in fastnn.devices() if d.name == "cuda"] == [False]
    with pytest.raises(fastnn.DeviceError, match=word), fastnn.use_device("cuda"):
        pytest.fail("entered")


def test_the_driver_is_not_asked_where_no_gpu_is_wanted(driver):
    with fastnn.use_device("cpu"), fastnn.use_device("numpy"):
        fastnn.functional.relu([1.0])
    assert driver.called == []


def test_a_forked_child_is_told_that_it_cannot_use_the_gpu(driver, monkeypatch):
    told = []
    monkeypatch.setattr(
        module.os, "register_at_fork", lambda after_in_child: told.append(after_in_child)
    )
    monkeypatch.setattr(module._Fork, "_watched", False)
    monkeypatch.setattr(module._Fork, "seen", False)
    assert module.missing() is None
    module.missing.cache_clear()
    assert module.missing() is None
    assert len(told) == 1
    told[0]()  # as the child does, before anything else
    driver.called.clear()
    with pytest.raises(fastnn.DeviceError, match="forked"):
        fastnn.functional.relu([1.0], device="cuda")
    assert "cuInit" not in driver.called
    assert [d.available for d in fastnn.devices() if d.name == "cuda"] == [False]
    assert fastnn.functional.relu([-1.0]).tolist() == [0]


def test_a_driver_that_did_not_start_is_no_reason_to_watch_forks(driver, monkeypatch):
    monkeypatch.setattr(module._Fork, "_watched", False)
    driver.error = 100
    assert "no GPU" in device.missing_devices()["cuda"]
    assert not module._Fork._watched


@pytest.mark.parametrize("value", ["1", "2"])
def test_the_simulator_is_a_gpu(driver, monkeypatch, value):
    monkeypatch.undo()
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", value)
    monkeypatch.setattr(module, "_package", lambda: True)
    assert module.missing() is None
    assert len(module.gpus()) == 1
    monkeypatch.setattr(module, "_package", lambda: False)
    module.missing.cache_clear()
    assert "numba-cuda" in module.missing()


@pytest.mark.parametrize("value", ["", "0", "no"])
def test_no_simulator(monkeypatch, value):
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", value)
    assert not module.simulated()


def test_a_library_that_is_not_there(monkeypatch):
    def refuse(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    assert module._library() is None


@pytest.mark.skipif(module._package(), reason="numba-cuda is here")
def test_networks_inside_kernels_say_what_they_need():
    with pytest.raises(ImportError, match=r"fastnn\.inside\.cuda needs numba-cuda: pip install"):
        importlib.import_module("fastnn.inside.cuda")
