"""``python -m fastnn check`` and ``warmup`` with a GPU, which is the simulator here."""

from __future__ import annotations

import re

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs numba-cuda: tox -e cudasim")

import fastnn
from fastnn import device, functional
from fastnn.__main__ import main
from fastnn.commands import check
from fastnn.kernels.codes import ACTIVATIONS

pytestmark = pytest.mark.simulator


def test_check_has_a_row_for_each_function(capsys):
    assert main(["--device", "cuda", "check"]) == 0
    shown = capsys.readouterr().out
    assert "device cuda:0" in shown and "device cpu" not in shown
    assert "all kernels pass" in shown and "FAILED" not in shown
    for name in set(functional.__all__) - set(ACTIVATIONS):
        assert len(re.findall(rf"^{name}\b.* float", shown, re.MULTILINE)) >= 2, name


def test_check_fails_where_a_kernel_of_the_gpu_is_wrong(monkeypatch, capsys):
    right = functional.bias_gradient
    monkeypatch.setattr(functional, "bias_gradient", lambda dZ: right(dZ) * np.float32(1.001))
    assert main(["--device", "cuda", "check", "--dtype", "float32"]) == 1
    shown = capsys.readouterr().out
    assert re.search(r"bias_gradient .*FAILED", shown) and "1 kernels FAILED" in shown


def test_without_a_name_the_cpu_and_the_gpus_are_meant(monkeypatch):
    assert device.computing() == ["cpu", "cuda:0"]
    for name in ("cpu", "numpy", "cuda:0"):
        with fastnn.use_device(name):
            assert device.computing() == [name]
    with fastnn.use_device("auto"):
        assert device.computing() == ["cpu", "cuda:0"]
    monkeypatch.setenv("FASTNN_DEVICE", "cpu")
    assert device.computing() == ["cpu"]
    done = []
    monkeypatch.delenv("FASTNN_DEVICE")
    monkeypatch.setattr(
        check, "rows", lambda dtype, few: done.append((device.selected(), few)) or {}
    )
    assert check.check(["float32"]) == 0
    assert done == [("cpu", False), ("cuda:0", True)]


def test_warmup_prepares_every_kernel_in_both_types(monkeypatch, capsys):
    from fastnn.kernels.cuda import driver

    prepared = set()
    monkeypatch.setattr(
        driver.Kernel, "prepare", lambda self, real: prepared.add((self.name, real))
    )
    assert main(["--device", "cuda", "warmup"]) == 0
    assert "cuda:0 ready" in capsys.readouterr().out
    wanted = {(name, real) for name in driver.KERNELS for real in (np.float32, np.float64)}
    assert prepared == wanted
    assert len(wanted) >= 50
